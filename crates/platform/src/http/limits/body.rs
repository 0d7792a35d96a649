//! A body, waited for in front of the handlers: so long and no longer, so large and no larger.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::{InternalError, PayloadError};
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, BytesMut};
use actix_web::{Error, HttpMessage, HttpResponse};
use futures_util::{Stream, StreamExt};

use crate::metrics::{Shed, shed};

/// Why a body is not taken: the status of the answer.
type Refused = StatusCode;

/// A body that is not read to its end. Kept until the answer is written, which then closes the connection: of a body in
/// chunks that nobody has any more the server would read on for as long as the client likes.
pub(in crate::http) struct Unread(#[expect(dead_code, reason = "kept, not read")] Payload);

/// What is written where a body is not read to its end.
pub(in crate::http) struct Last {
    text: Bytes,
    _unread: Option<Unread>,
}

impl Last {
    pub(in crate::http) fn new(text: String, unread: Option<Unread>) -> Self {
        Self {
            text: text.into(),
            _unread: unread,
        }
    }
}

impl MessageBody for Last {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.text.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Pin::new(&mut self.text).poll_next(context)
    }
}

/// Waits until all of the body is there, and puts it back.
///
/// # Errors
/// 413, 408, or 400 where it broke off; the connection is closed with the answer.
pub(super) async fn arrive(request: &mut ServiceRequest, max: usize, timeout: Duration) -> Result<(), Error> {
    let mut payload = request.take_payload();
    if let Payload::H1 { payload: chunks } = &mut payload {
        match in_time(whole(chunks, max), timeout).await {
            Ok(body) => chunks.unread_data(body),
            Err(status) => {
                let mut response = HttpResponse::new(status);
                response.extensions_mut().insert(Unread(payload));
                return Err(InternalError::from_response("body", response).into());
            }
        }
    }
    request.set_payload(payload);
    Ok(())
}

async fn whole(
    chunks: &mut (impl Stream<Item = Result<Bytes, PayloadError>> + Unpin),
    max: usize,
) -> Result<Bytes, Refused> {
    let mut body = Bytes::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| StatusCode::BAD_REQUEST)?;
        if body.len() + chunk.len() > max {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
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
    reading: impl Future<Output = Result<Bytes, Refused>>,
    timeout: Duration,
) -> Result<Bytes, Refused> {
    let mut reading = pin!(reading);
    if let Some(read) = look_twice(reading.as_mut()).await {
        return read;
    }
    tokio::time::timeout(timeout, reading).await.unwrap_or_else(|_| {
        shed(Shed::Body);
        Err(StatusCode::REQUEST_TIMEOUT)
    })
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
