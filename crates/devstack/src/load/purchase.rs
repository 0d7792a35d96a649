//! One purchase, whichever way it goes.

use clap::ValueEnum;
use contracts::order::PlaceOrder;
use http::Method;

use super::question::{Asked, Question};
use crate::http::{Answer, Fault, HttpClient};

/// The way buyers take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Via {
    /// Ask product-service to decrease the stock
    #[default]
    Decrease,
    /// Place orders that are answered when they are final (POST /v1/orders)
    V1,
    /// Place orders that are answered at once, their outcome comes by message (POST /v2/orders)
    V2,
}

/// What one buyer wants. Asked again, it is the same purchase: its key says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purchase {
    pub(super) via: Via,
    pub(super) product_id: i64,
    /// Unique to it.
    pub(super) number: i64,
    /// Who buys.
    pub(super) buyer: i64,
    pub(super) quantity: i64,
}

/// What a buyer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    Buy,
    GiveBack,
}

impl Via {
    /// Whether orders are placed.
    #[must_use]
    pub fn is_by_order(self) -> bool {
        self != Self::Decrease
    }
}

impl Purchase {
    /// Asks once. What was ordered is not given back here.
    pub(super) async fn ask(&self, intent: Intent, client: &mut HttpClient) -> Result<Answer, Fault> {
        let asked = match intent {
            Intent::Buy => Asked::Decrease,
            Intent::GiveBack => Asked::Cancel,
        };
        let path = match self.via {
            Via::Decrease => {
                let question = Question {
                    asked,
                    product_id: self.product_id,
                    order_id: self.number,
                    quantity: self.quantity,
                };
                return question.ask_for(self.buyer, client).await;
            }
            Via::V1 => "/v1/orders",
            Via::V2 => "/v2/orders",
        };
        let body = PlaceOrder {
            product_id: self.product_id,
            quantity: self.quantity,
            buyer_id: Some(format!("buyer-{}", self.buyer)),
        };
        // A plain struct of numbers and words: it can always be written.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let key = order_key(self.number);
        client
            .request(Method::POST, path, &[("Idempotency-Key", &key)], body)
            .await
    }
}

/// The idempotency key under which a buyer places his order.
pub(super) fn order_key(number: i64) -> String {
    format!("sale-{number}")
}
