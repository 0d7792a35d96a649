//! One client: a keep-alive connection over which buyer after buyer asks once.

use std::time::Duration;

use hyper::StatusCode;

use super::question::{Question, error_code};
use crate::http::{Answer, Fault, HttpClient};

const RETRIES: u32 = 3;
const RETRY_PAUSE: Duration = Duration::from_millis(50);

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

impl Outcome {
    /// Asks once. Asks again, with the same key, only when there was no answer: nobody asks twice for more.
    pub(super) async fn of(purchase: &Question, client: &mut HttpClient) -> Self {
        let mut faults = Vec::new();
        loop {
            match purchase.ask(client).await {
                Ok(answer) => return Self::answered(&answer, faults),
                Err(fault) => {
                    faults.push(fault);
                    if faults.len() > RETRIES as usize {
                        let answer = format!("no answer ({fault})");
                        return Self {
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
    let status = answer.status.as_str();
    if answer.status.is_success() {
        status.to_owned()
    } else {
        format!("{status} {}", error_code(answer))
    }
}
