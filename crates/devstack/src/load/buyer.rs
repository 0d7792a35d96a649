//! One client: a keep-alive connection over which buyer after buyer asks once.

use std::time::Duration;

use contracts::stock::DecreaseByOrder;
use hyper::{Method, StatusCode};
use serde::Deserialize;

use crate::http::{Answer, Fault, HttpClient};

const RETRIES: u32 = 3;
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// One purchase to be made.
pub(super) struct Purchase {
    pub(super) product_id: i64,
    pub(super) order_id: i64,
    pub(super) quantity: i64,
}

/// How a purchase ended.
pub(super) struct Outcome {
    pub(super) ending: Ending,
    /// What was answered last: the status, and the error code if there is one.
    pub(super) answer: String,
    pub(super) is_replay: bool,
    /// Attempts that got no answer.
    pub(super) faults: Vec<Fault>,
}

/// What the buyer knows at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// He got it.
    Sold,
    /// He was refused.
    Refused,
    /// He does not know: no answer, or a 5xx, after which it may still have been sold.
    Unknown,
}

impl Purchase {
    /// Asks once. Asks again, with the same key, only when there was no answer: nobody asks twice for more.
    pub(super) async fn make(&self, client: &mut HttpClient) -> Outcome {
        let body = DecreaseByOrder {
            order_id: self.order_id,
            quantity: self.quantity,
            buyer_id: Some(format!("buyer-{}", self.order_id)),
            request_id: None,
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let path = format!("/v1/products/{}/stock/decrease-by-order", self.product_id);
        let key = format!("DEC-{}", self.order_id);
        let headers = [("Idempotency-Key", key.as_str())];
        let mut faults = Vec::new();
        loop {
            match client.request(Method::PATCH, &path, &headers, body.clone()).await {
                Ok(answer) => return Outcome::answered(&answer, faults),
                Err(fault) => {
                    faults.push(fault);
                    if faults.len() > RETRIES as usize {
                        let answer = format!("no answer ({fault})");
                        return Outcome {
                            ending: Ending::Unknown,
                            answer,
                            is_replay: false,
                            faults,
                        };
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }
}

impl Outcome {
    fn answered(answer: &Answer, faults: Vec<Fault>) -> Self {
        let ending = match answer.status {
            StatusCode::OK => Ending::Sold,
            status if status.is_server_error() => Ending::Unknown,
            _ => Ending::Refused,
        };
        let is_replay = answer.headers.contains_key("Idempotency-Replayed");
        Self {
            ending,
            answer: describe(answer),
            is_replay,
            faults,
        }
    }
}

fn describe(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct Problem<'a> {
        #[serde(borrow)]
        error: &'a str,
    }
    let status = answer.status.as_str();
    if answer.status.is_success() {
        return status.to_owned();
    }
    match serde_json::from_slice::<Problem<'_>>(&answer.body) {
        Ok(problem) => format!("{status} {}", problem.error),
        Err(_) => format!("{status} (no error code)"),
    }
}
