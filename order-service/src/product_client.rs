//! product-service over HTTP: the two requests that the saga makes.
//!
//! What is unclear here stays unclear for the saga: only an answer that says so in the service's own words counts as a
//! refusal, everything else as no answer.

use std::time::Duration;

use contracts::error::{ErrorBody, ErrorCode};
use contracts::messaging::TRACE_CONTEXT;
use contracts::stock::{DecreaseByOrder, IncreaseByOrder};
use platform::config::Secret;
use platform::trace::{Kind, TraceContext, Work};
use reqwest::{Client, RequestBuilder, Response};
use tokio::time::Instant;

use crate::config::ProductConfig;
use crate::domain::attempt::Attempt;
use crate::domain::order::Order;
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
    client: Client,
    url: String,
    key: Secret,
    timeout: Duration,
}

impl ProductClient {
    /// Connects nothing yet.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn new(config: &ProductConfig) -> reqwest::Result<Self> {
        let client = Client::builder()
            .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
            .tcp_nodelay(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            client,
            key: config.key.clone(),
            url: config.url.expose().trim_end_matches('/').to_owned(),
            timeout: Duration::from_millis(config.timeout_ms),
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
        let mut request = self.patch(order, what, &key);
        if let Some(context) = work.context {
            request = request.header(TRACE_CONTEXT, context.to_string());
        }
        let request = match action {
            Action::Decrease => {
                let body = DecreaseByOrder {
                    order_id: order.id,
                    quantity: order.quantity,
                    buyer_id: order.buyer_id.clone(),
                    request_id: None,
                };
                request.json(&body)
            }
            Action::Increase(reason) => {
                let body = IncreaseByOrder {
                    order_id: order.id,
                    quantity: order.quantity,
                    reason,
                    request_id: None,
                    voids: None,
                };
                request.json(&body)
            }
        };
        let answer = match request.timeout(left).send().await {
            Ok(response) => read(response).await,
            Err(error) if error.is_connect() => Answer::Unreached(explain(&error)),
            Err(error) => Answer::Unknown(explain(&error)),
        };
        if let Answer::Unknown(why) | Answer::Unreached(why) = &answer {
            work.failed(why);
        }
        answer
    }

    fn patch(&self, order: &Order, what: &str, key: &str) -> RequestBuilder {
        let url = format!("{}/v1/products/{}/stock/{what}", self.url, order.product_id);
        let request = self.client.patch(url).header("Idempotency-Key", key);
        match self.key.expose() {
            "" => request,
            key => request.bearer_auth(key),
        }
    }
}

async fn read(response: Response) -> Answer {
    let status = response.status();
    if status.is_success() {
        return Answer::Done;
    }
    match response.json::<ErrorBody>().await {
        Ok(body) if is_refusal(body.error) => Answer::Refused(body.error),
        Ok(body) => Answer::Unknown(format!("{status}: {}", body.error)),
        Err(error) => Answer::Unknown(format!("{status}: {}", explain(&error))),
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

/// The error with its causes, without the address, which may have a password.
fn explain(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "timeout".to_owned()
    } else {
        "no answer".to_owned()
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
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
