//! product-service over HTTP: the two requests that the saga makes.
//!
//! What is unclear here stays unclear for the saga: only an answer that says so in the service's own words counts as a
//! refusal, everything else as no answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use contracts::error::{ErrorBody, ErrorCode};
use contracts::messaging::TRACE_CONTEXT;
use contracts::stock::{DecreaseByOrder, IncreaseByOrder};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response};
use platform::config::Secret;
use platform::http_client::{HttpClient, HttpClientError, NoAnswer, Peer};
use platform::trace::{Kind, TraceContext, Work};
use serde::Serialize;
use tokio::time::Instant;

use crate::config::ProductConfig;
use crate::domain::attempt::Attempt;
use crate::domain::order::Order;
use crate::metrics;
use crate::saga::Action;

/// What product-service said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done, now or before.
    Done,
    /// It refuses: nothing was done by this request.
    Refused(ErrorCode),
    /// No answer, or none that says: it may be done, now or later.
    Unknown(String),
    /// No connection: this request cannot have arrived.
    Unreached(String),
}

/// Asks product-service. Cheap to clone; connections are kept.
#[derive(Clone)]
pub struct ProductClient {
    client: HttpClient,
    key: Secret,
    timeout: Duration,
    /// Whether the last try reached nobody.
    is_away: Arc<AtomicBool>,
}

impl ProductClient {
    /// Connects nothing yet.
    ///
    /// # Errors
    /// [`HttpClientError`] naming the key that is wrong.
    pub fn new(config: &ProductConfig) -> Result<Self, HttpClientError> {
        let client = HttpClient::new(Peer {
            url: &config.url,
            url_key: "product.url",
            ca_file: &config.ca_file,
            ca_key: "product.ca_file",
            connect_timeout: Duration::from_millis(config.connect_timeout_ms),
        })?;
        Ok(Self {
            client,
            key: config.key.clone(),
            timeout: Duration::from_millis(config.timeout_ms),
            is_away: Arc::default(),
        })
    }

    /// How long one try may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// One try of an action, for an attempt of an order, at most until `deadline`.
    pub async fn ask(
        &self,
        action: Action,
        attempt: Attempt,
        order: &Order,
        cause: Option<TraceContext>,
        deadline: Instant,
    ) -> Answer {
        let left = deadline
            .saturating_duration_since(Instant::now())
            .min(self.timeout);
        let (what, key) = match action {
            Action::Decrease => ("decrease-by-order", attempt.decrease_id()),
            Action::Increase(_) => ("increase-by-order", attempt.increase_id()),
        };
        let work = Work::caused_by(cause, Kind::Client, what, &key);
        let request = match action {
            Action::Decrease => {
                let body = DecreaseByOrder {
                    order_id: order.id,
                    quantity: order.quantity,
                    buyer_id: order.buyer_id.clone(),
                    request_id: None,
                };
                self.patch(order, what, &key, work.context, &body)
            }
            Action::Increase(reason) => {
                let body = IncreaseByOrder {
                    order_id: order.id,
                    quantity: order.quantity,
                    reason,
                    request_id: None,
                    voids: None,
                };
                self.patch(order, what, &key, work.context, &body)
            }
        };
        let answer = match request {
            Ok(request) => match self.client.send(request, left).await {
                Ok(response) => read(&response),
                Err(error @ NoAnswer::Unreached(_)) => Answer::Unreached(error.to_string()),
                Err(error) => Answer::Unknown(error.to_string()),
            },
            Err(error) => Answer::Unreached(format!("not a request: {error}")),
        };
        if let Answer::Unknown(why) | Answer::Unreached(why) = &answer {
            work.failed(why);
        }
        self.tell(&answer);
        answer
    }

    /// Tells the log when product-service cannot be reached, and why, and when it can be again.
    fn tell(&self, answer: &Answer) {
        match answer {
            Answer::Unreached(why) if !self.is_away.swap(true, Ordering::Relaxed) => {
                metrics::product_away(why)
            }
            Answer::Unreached(_) => {}
            _ if self.is_away.load(Ordering::Relaxed) && self.is_away.swap(false, Ordering::Relaxed) => {
                metrics::product_back();
            }
            _ => {}
        }
    }

    fn patch(
        &self,
        order: &Order,
        what: &str,
        key: &str,
        context: Option<TraceContext>,
        body: &impl Serialize,
    ) -> Result<Request<Bytes>, http::Error> {
        let path = format!("/v1/products/{}/stock/{what}", order.product_id);
        let mut request = self
            .client
            .request(Method::PATCH, &path)
            .header("Idempotency-Key", key)
            .header(CONTENT_TYPE, "application/json")
            .body(Bytes::from(serde_json::to_vec(body).unwrap_or_default()))?;
        if let Some(context) = context {
            let context = HeaderValue::try_from(context.to_string())?;
            request
                .headers_mut()
                .insert(HeaderName::from_static(TRACE_CONTEXT), context);
        }
        if !self.key.expose().is_empty() {
            let mut bearer = HeaderValue::try_from(format!("Bearer {}", self.key.expose()))?;
            bearer.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        Ok(request)
    }
}

fn read(response: &Response<Bytes>) -> Answer {
    let status = response.status();
    if status.is_success() {
        return Answer::Done;
    }
    match serde_json::from_slice::<ErrorBody>(response.body()) {
        Ok(body) if is_refusal(body.error) => Answer::Refused(body.error),
        Ok(body) => Answer::Unknown(format!("{status}: {}", body.error)),
        Err(error) => Answer::Unknown(format!("{status}: {error}")),
    }
}

/// Whether product-service refuses what was asked, rather than being unable to say.
fn is_refusal(code: ErrorCode) -> bool {
    use ErrorCode::{
        BadRequest, IdempotencyKeyReused, InsufficientStock, InvalidState, OrderVoided, ProductDiscontinued,
        ProductNotFound, PurchaseLimitExceeded, SaleNotOpen, ValidationError,
    };
    matches!(
        code,
        InsufficientStock
            | SaleNotOpen
            | PurchaseLimitExceeded
            | ValidationError
            | BadRequest
            | InvalidState
            | OrderVoided
            | ProductDiscontinued
            | ProductNotFound
            | IdempotencyKeyReused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_is_no_refusal_may_be_asked_again() {
        for &code in ErrorCode::ALL {
            let refusal = is_refusal(code);
            assert!(!refusal || (400..500).contains(&code.status()), "{code}");
            assert!(refusal || !matches!(code.status(), 400 | 422), "{code}");
        }
    }
}
