//! One client: a keep-alive connection over which buyer after buyer asks once.

use std::time::Duration;

use contracts::order::{OrderStatus, OrderView};
use http::StatusCode;
use serde::Deserialize;

use super::purchase::{Purchase, Via};
use super::question::error_code;
use crate::http::{Answer, Fault, HttpClient};

const RETRIES: u32 = 3;
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// How a purchase ended.
pub(super) struct Outcome {
    pub(super) ending: Ending,
    /// What was answered last: the status, and the error code if there is one.
    pub(super) answer: String,
    pub(super) is_replay: bool,
    /// The order, if the answer names one.
    pub(super) order_id: Option<i64>,
    /// Attempts that got no answer.
    pub(super) faults: Vec<Fault>,
}

/// What the buyer knows at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// He got it.
    Sold,
    /// His order is accepted; what becomes of it he is not told here.
    Accepted,
    /// He was refused.
    Refused,
    /// He does not know: no answer, or a 5xx, after which it may still have been sold.
    Unknown,
}

impl Outcome {
    /// Asks once. Asks again, with the same key, only when there was no answer: nobody asks twice for more.
    pub(super) async fn of(purchase: &Purchase, client: &mut HttpClient) -> Self {
        let mut faults = Vec::new();
        loop {
            match purchase.ask(client).await {
                Ok(answer) => return Self::answered(purchase.via, &answer, faults),
                Err(fault) => {
                    faults.push(fault);
                    if faults.len() > RETRIES as usize {
                        let answer = format!("no answer ({fault})");
                        return Self {
                            ending: Ending::Unknown,
                            answer,
                            is_replay: false,
                            order_id: None,
                            faults,
                        };
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    fn answered(via: Via, answer: &Answer, faults: Vec<Fault>) -> Self {
        let mut words = describe(answer);
        let (ending, order_id) = match answer.status {
            StatusCode::OK if via == Via::Decrease => (Ending::Sold, None),
            StatusCode::CREATED | StatusCode::ACCEPTED if via.is_by_order() => {
                match serde_json::from_slice::<OrderView>(&answer.body) {
                    Ok(order) => {
                        words = format!("{words} {:?}", order.status).to_uppercase();
                        if let Some(reason) = &order.fail_reason {
                            words = format!("{words} {reason}");
                        }
                        (ending_of(order.status), Some(order.id))
                    }
                    Err(_) => (Ending::Unknown, None),
                }
            }
            // The order is FAILED, whatever it may have taken goes back.
            StatusCode::FAILED_DEPENDENCY => (Ending::Refused, named_order(answer)),
            // An earlier attempt is not done.
            StatusCode::CONFLICT => (Ending::Unknown, None),
            status if status.is_client_error() => (Ending::Refused, None),
            _ => (Ending::Unknown, None),
        };
        Self {
            ending,
            answer: words,
            is_replay: answer.header("Idempotency-Replayed").is_some(),
            order_id,
            faults,
        }
    }
}

fn ending_of(status: OrderStatus) -> Ending {
    match status {
        OrderStatus::Confirmed => Ending::Sold,
        OrderStatus::Pending => Ending::Accepted,
        OrderStatus::Failed | OrderStatus::Cancelled => Ending::Refused,
    }
}

/// The order that the details of a refusal name.
fn named_order(answer: &Answer) -> Option<i64> {
    #[derive(Deserialize)]
    struct Problem {
        details: Details,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Details {
        order_id: i64,
    }
    let problem: Problem = serde_json::from_slice(&answer.body).ok()?;
    Some(problem.details.order_id)
}

fn describe(answer: &Answer) -> String {
    let status = answer.status.as_str();
    if answer.status.is_success() {
        status.to_owned()
    } else {
        format!("{status} {}", error_code(answer))
    }
}
