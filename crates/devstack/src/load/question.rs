//! What a client can ask about stock, as it goes over the wire, and what he is told.

use contracts::stock::{AdjustReason, AdjustStock, DecreaseByOrder, IncreaseByOrder, IncreaseReason};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::http::{Answer, Fault, HttpClient};

/// What somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// An order takes units.
    Decrease,
    /// The order gives them back.
    Cancel,
    /// Units are put in by hand.
    Restock,
}

/// One request about stock. Asked again, it is the same request: its key says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// What for.
    pub asked: Asked,
    /// The product.
    pub product_id: i64,
    /// The order; for a restock, its number.
    pub order_id: i64,
    /// Units.
    pub quantity: i64,
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// 200: done, now or before.
    Done {
        /// Stock after the movement.
        remaining: i64,
        /// Whether it was marked as done before.
        is_replay: bool,
    },
    /// 4xx: its error code.
    Refused(String),
    /// 5xx: its status and error code. Nobody knows what became of the request.
    Failed(String),
    /// No answer. Nobody knows either.
    Nothing(Fault),
}

impl Question {
    /// The idempotency key: `DEC-…`, `INC-…` or `ADJ-…` with the order's number.
    #[must_use]
    pub fn key(&self) -> String {
        let kind = match self.asked {
            Asked::Decrease => "DEC",
            Asked::Cancel => "INC",
            Asked::Restock => "ADJ",
        };
        format!("{kind}-{}", self.order_id)
    }

    /// Asks once. Every order is of a buyer of its own.
    pub async fn ask(&self, client: &mut HttpClient) -> Result<Answer, Fault> {
        self.ask_for(self.order_id, client).await
    }

    /// Asks once, for buyer number `buyer`.
    pub(super) async fn ask_for(&self, buyer: i64, client: &mut HttpClient) -> Result<Answer, Fault> {
        let (method, verb, body) = self.request(buyer);
        let path = format!("/v1/products/{}/stock/{verb}", self.product_id);
        let key = self.key();
        client
            .request(method, &path, &[("Idempotency-Key", &key)], body)
            .await
    }

    fn request(&self, buyer: i64) -> (Method, &'static str, Vec<u8>) {
        let Self {
            order_id, quantity, ..
        } = *self;
        let (method, verb, body) = match self.asked {
            Asked::Decrease => {
                let body = DecreaseByOrder {
                    order_id,
                    quantity,
                    buyer_id: Some(format!("buyer-{buyer}")),
                    request_id: None,
                };
                (Method::PATCH, "decrease-by-order", serde_json::to_vec(&body))
            }
            Asked::Cancel => {
                let body = IncreaseByOrder {
                    order_id,
                    quantity,
                    reason: IncreaseReason::OrderCancelled,
                    request_id: None,
                    voids: None,
                };
                (Method::PATCH, "increase-by-order", serde_json::to_vec(&body))
            }
            Asked::Restock => {
                let body = AdjustStock {
                    delta: quantity,
                    reason: AdjustReason::Manual,
                    note: None,
                };
                (Method::POST, "adjust", serde_json::to_vec(&body))
            }
        };
        // Plain structs of numbers and words: they can always be written.
        (method, verb, body.unwrap_or_default())
    }
}

impl Told {
    /// What an answer says, or that there was none.
    #[must_use]
    pub fn from_answer(answer: Result<&Answer, Fault>) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Done {
            remaining_stock: i64,
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => return Self::Nothing(fault),
        };
        if answer.status == StatusCode::OK {
            return match serde_json::from_slice::<Done>(&answer.body) {
                Ok(done) => Self::Done {
                    remaining: done.remaining_stock,
                    is_replay: answer.header("Idempotency-Replayed").is_some(),
                },
                Err(_) => Self::Failed(String::from("200 (unreadable)")),
            };
        }
        let code = Refusal::of(answer).error;
        if answer.status.is_client_error() {
            Self::Refused(code)
        } else {
            Self::Failed(format!("{} {code}", answer.status.as_str()))
        }
    }

    /// Whether it was done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done { .. })
    }

    /// Whether the client does not know what became of his request.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Nothing(_))
    }
}

/// What the body of an answer that is no success says.
#[derive(Deserialize)]
pub(super) struct Refusal {
    error: String,
    #[serde(default)]
    details: Value,
}

impl Refusal {
    /// Reads it; one without a code where it cannot be read.
    pub(super) fn of(answer: &Answer) -> Self {
        serde_json::from_slice(&answer.body).unwrap_or_else(|_| Self {
            error: String::from("(no error code)"),
            details: Value::Null,
        })
    }

    /// Its error code, with what its details name as the reason.
    pub(super) fn code_and_reason(&self) -> String {
        match self.details["reason"].as_str() {
            Some(reason) => format!("{} ({reason})", self.error),
            None => self.error.clone(),
        }
    }

    /// The order that its details name.
    pub(super) fn order(&self) -> Option<i64> {
        self.details["orderId"].as_i64()
    }
}
