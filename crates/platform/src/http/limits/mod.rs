//! What one connection, one client and one request may take of a service, and what happens beyond: it is turned away
//! before any store is touched, with the time to come back, and counted.
//!
//! In this order: connections, the head, who asks (`auth`), the body, the client's rate, the requests in flight. The body
//! comes before what sheds, so that a refused client keeps its connection and a slow one no place among those in flight.
//! Health is never shed; on the admin listener nothing has a rate or a place.
//!
//! Nothing here waits, but for a body that is still to come; nothing grows with the number of clients.

mod body;
mod connections;
mod in_flight;
mod rate;

pub(super) use body::{Last, Unread};
pub(crate) use connections::Connections;

use std::sync::Arc;

use actix_web::Error;
use actix_web::dev::ServiceRequest;
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LENGTH;
use contracts::error::ErrorCode;
use serde_json::json;
use std::time::Duration;
use utoipa::Modify;

use self::in_flight::{InFlight, Place};
use self::rate::Rate;
use super::Problem;
use super::auth::Shown;
use super::openapi::responses;
use super::watched::PROBES;
use crate::config::ServerConfig;
use crate::metrics::{Shed, shed};

/// The limits of one listener. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Limits {
    head_bytes: usize,
    body_bytes: usize,
    body_timeout: Duration,
    /// Of the public listener.
    requests: Option<Requests>,
}

#[derive(Clone)]
struct Requests {
    in_flight: Arc<InFlight>,
    rate: Option<Arc<Rate>>,
}

impl Limits {
    /// Of the public listener.
    pub(crate) fn public(config: &ServerConfig) -> Self {
        let limits = &config.limits;
        let rate = (limits.requests_per_s > 0).then(|| Rate::new(limits.requests_per_s, limits.burst));
        Self {
            requests: Some(Requests {
                in_flight: Arc::new(InFlight::new(limits.in_flight_max)),
                rate: rate.map(Arc::new),
            }),
            ..Self::admin(config)
        }
    }

    /// Of the admin listener.
    pub(crate) fn admin(config: &ServerConfig) -> Self {
        let limits = &config.limits;
        Self {
            head_bytes: limits.head_limit_bytes,
            body_bytes: config.body_limit_bytes,
            body_timeout: Duration::from_millis(limits.body_timeout_ms),
            requests: None,
        }
    }

    /// Looks at the size of the head. (Far larger ones, and ones of more than 96 fields, the server below has refused.)
    ///
    /// # Errors
    /// 431.
    pub(super) fn head(&self, request: &ServiceRequest) -> Result<(), Error> {
        let path = request.head().uri.path_and_query();
        let fields = request.headers().iter();
        let fields = fields.map(|(name, value)| name.as_str().len() + value.len());
        let size = path.map_or(0, |path| path.as_str().len()) + fields.sum::<usize>();
        if size <= self.head_bytes {
            return Ok(());
        }
        shed(Shed::Head);
        Err(InternalError::new("head", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).into())
    }

    /// Waits until the body is there, and puts it back for the handler.
    ///
    /// # Errors
    /// `PAYLOAD_TOO_LARGE`, 408, or what broke it off.
    pub(super) async fn body(&self, request: &mut ServiceRequest) -> Result<(), Error> {
        let announced = request.headers().get(CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: u64| length > self.body_bytes as u64) {
            return Err(Problem::new(ErrorCode::PayloadTooLarge).into());
        }
        body::arrive(request, self.body_bytes, self.body_timeout).await
    }

    /// A place among the requests in flight; kept until it is dropped.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS`, `RETRY_LATER`.
    pub(super) fn enter(&self, request: &ServiceRequest, shown: &Shown) -> Result<Option<Place>, Problem> {
        let Some(Requests { in_flight, rate }) = &self.requests else {
            return Ok(None);
        };
        if PROBES.contains(&request.path()) {
            return Ok(None);
        }
        if let Some(rate) = rate {
            let client = rate.client(shown, request.peer_addr().map(|peer| peer.ip()));
            rate.take(client).map_err(|seconds| {
                shed(Shed::Rate);
                Problem::new(ErrorCode::TooManyRequests).retry_after(seconds)
            })?;
        }
        let place = in_flight.enter().ok_or_else(|| {
            shed(Shed::InFlight);
            Problem::new(ErrorCode::RetryLater).details(json!({ "reason": Shed::InFlight.word() }))
        })?;
        Ok(Some(place))
    }
}

/// Fills a description of the public listener: any operation may meet the limit on a client's rate.
pub struct Limited;

impl Modify for Limited {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for item in document.paths.paths.values_mut() {
            for (_, operation) in super::openapi::operations(item) {
                let refusals = responses(&[ErrorCode::TooManyRequests], |_| serde_json::Value::Null);
                for (status, refusal) in refusals {
                    operation.responses.responses.entry(status).or_insert(refusal);
                }
            }
        }
    }
}
