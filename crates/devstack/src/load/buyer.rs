//! One client: a keep-alive connection over which buyer after buyer asks once.

use std::time::Duration;

use contracts::order::{OrderStatus, OrderView};
use http::StatusCode;

use super::purchase::{Intent, Purchase, Via};
use super::question::Refusal;
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
        let (answer, faults) = until_heard(purchase, Intent::Buy, client).await;
        Self::heard(purchase.via, answer, faults)
    }

    /// Gives it back, asking again in the same way. Sold means: it was given back.
    pub(super) async fn of_cancelling(purchase: &Purchase, client: &mut HttpClient) -> Self {
        let (answer, faults) = until_heard(purchase, Intent::GiveBack, client).await;
        let mut outcome = Self::heard(purchase.via, answer, faults);
        outcome.answer.insert_str(0, "cancel: ");
        outcome
    }

    fn heard(via: Via, answer: Result<Answer, Fault>, faults: Vec<Fault>) -> Self {
        match answer {
            Ok(answer) => Self::answered(via, &answer, faults),
            Err(fault) => Self {
                ending: Ending::Unknown,
                answer: format!("no answer ({fault})"),
                is_replay: false,
                order_id: None,
                faults,
            },
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
            StatusCode::FAILED_DEPENDENCY => (Ending::Refused, Refusal::of(answer).order()),
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

/// The answer, or the last lack of one; and all lacks of one.
async fn until_heard(
    purchase: &Purchase,
    intent: Intent,
    client: &mut HttpClient,
) -> (Result<Answer, Fault>, Vec<Fault>) {
    let mut faults = Vec::new();
    loop {
        match purchase.ask(intent, client).await {
            Ok(answer) => return (Ok(answer), faults),
            Err(fault) => {
                faults.push(fault);
                if faults.len() > RETRIES as usize {
                    return (Err(fault), faults);
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
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

fn describe(answer: &Answer) -> String {
    let status = answer.status.as_str();
    if answer.status.is_success() {
        status.to_owned()
    } else {
        format!("{status} {}", Refusal::of(answer).code_and_reason())
    }
}
