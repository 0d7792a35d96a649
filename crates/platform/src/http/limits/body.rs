//! A body, waited for in front of the handlers: so long and no longer, so large and no larger.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::{InternalError, PayloadError};
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, BytesMut};
use actix_web::{Error, HttpMessage};
use contracts::error::ErrorCode;
use futures_util::{Stream, StreamExt};

use crate::http::Problem;
use crate::metrics::{Shed, shed};

/// Waits until all of the body is there, and puts it back.
pub(super) async fn arrive(request: &mut ServiceRequest, max: usize, timeout: Duration) -> Result<(), Error> {
    let mut payload = request.take_payload();
    if let Payload::H1 { payload: chunks } = &mut payload {
        let body = in_time(whole(chunks, max), timeout).await?;
        chunks.unread_data(body);
    }
    request.set_payload(payload);
    Ok(())
}

async fn whole(
    chunks: &mut (impl Stream<Item = Result<Bytes, PayloadError>> + Unpin),
    max: usize,
) -> Result<Bytes, Error> {
    let mut body = Bytes::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        if body.len() + chunk.len() > max {
            return Err(Problem::new(ErrorCode::PayloadTooLarge).into());
        }
        if body.is_empty() {
            body = chunk;
        } else {
            let mut longer = BytesMut::from(body);
            longer.extend_from_slice(&chunk);
            body = longer.freeze();
        }
    }
    Ok(body)
}

/// A body that came with its head is there at the second look: only one that is still to come gets a timer.
async fn in_time(
    reading: impl Future<Output = Result<Bytes, Error>>,
    timeout: Duration,
) -> Result<Bytes, Error> {
    let mut reading = pin!(reading);
    if let Some(read) = look_twice(reading.as_mut()).await {
        return read;
    }
    match tokio::time::timeout(timeout, reading).await {
        Ok(read) => read,
        Err(_) => {
            shed(Shed::Body);
            Err(InternalError::new("body", StatusCode::REQUEST_TIMEOUT).into())
        }
    }
}

async fn look_twice<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut looked = false;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if looked => Poll::Ready(None),
        Poll::Pending => {
            looked = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}
