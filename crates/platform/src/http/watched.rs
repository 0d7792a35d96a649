//! One request as those see it who read the log or collect traces: its span, and its line at debug. Where nobody does,
//! a request pays for two flags.

use std::any::Any;
use std::time::Instant;

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderMap;
use actix_web::{Error, HttpMessage};
use tracing::Span;
use uuid::Uuid;

use crate::trace::{self, LOGGED, Work};

/// Asked every few seconds by whoever looks whether the service is there; no part of anything.
pub(super) const PROBES: [&str; 3] = ["/livez", "/readyz", "/metrics"];
/// Headers by which clients name a request, the first one wins. One without a name gets one.
const NAMES: [&str; 2] = ["idempotency-key", "x-request-id"];
/// A name may be this long; a longer one is none.
const NAME_MAX: usize = 128;

pub(super) struct Watched {
    work: Work,
    request_id: String,
    method: String,
    path: String,
    begun: Instant,
}

impl Watched {
    /// `None`: nobody looks. Leaves the context of what it causes with the request.
    pub(super) fn begin(request: &ServiceRequest) -> Option<Self> {
        if !trace::is_watched() || PROBES.contains(&request.path()) {
            return None;
        }
        let given = request_id(request.headers());
        let request_id = given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
        let method = request.method().to_string();
        let work = Work::begun_by(trace::of_headers(request.headers()), &method, &request_id);
        if work.span.is_none() {
            return None;
        }
        if let Some(context) = work.context {
            request.extensions_mut().insert(context);
        }
        Some(Self {
            work,
            request_id,
            method,
            path: request.path().to_owned(),
            begun: Instant::now(),
        })
    }

    pub(super) fn span(&self) -> Span {
        self.work.span.clone()
    }

    /// `answer`: an answer, or an error that will be one, or a panic.
    pub(super) fn end<B>(self, answer: &Result<Result<ServiceResponse<B>, Error>, Box<dyn Any + Send>>) {
        let (status, route) = match answer {
            Ok(Ok(response)) => (response.status().as_u16(), response.request().match_pattern()),
            Ok(Err(error)) => (error.as_response_error().status_code().as_u16(), None),
            Err(_panic) => (500, None),
        };
        // A path nobody has would make a name of its own per guess.
        let route = route.unwrap_or_else(|| "(no route)".to_owned());
        self.work.answered(|| format!("{} {route}", self.method), status);
        tracing::debug!(
            target: LOGGED,
            parent: None,
            request_id = self.request_id,
            trace_id = self.work.context.map(|context| tracing::field::display(context.trace_id())),
            method = self.method,
            route,
            path = self.path,
            status,
            took_us = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            "request"
        );
    }
}

/// What the request is called by its client, if that can be shown: visible ASCII.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&str> {
    let named = |header: &str| {
        let name = headers.get(header)?.to_str().ok()?;
        let is_sane = name.len() <= NAME_MAX && name.bytes().all(|byte| byte.is_ascii_graphic());
        is_sane.then(|| name.trim_matches('"'))
    };
    NAMES.into_iter().find_map(named)
}
