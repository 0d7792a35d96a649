//! Bodies of the order API.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderStatus {
    /// Its outcome is open.
    Pending,
    /// Its stock is taken.
    Confirmed,
    /// It was confirmed; its stock is given back.
    Cancelled,
    /// It keeps no stock.
    Failed,
}

/// How an order's stock is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Flow {
    /// Within the request, over HTTP (v1).
    Sync,
    /// By message (v2).
    Async,
}

/// `POST /v1/orders`, `/v2/orders`, `/orders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlaceOrder {
    /// The product, >= 1.
    #[schema(minimum = 1, example = 42)]
    pub product_id: i64,
    /// Units, 1..=1,000,000.
    #[schema(minimum = 1, maximum = 1_000_000, example = 1)]
    pub quantity: i64,
    /// Who buys: 1..=64 visible ASCII characters. Required where the product limits purchases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub buyer_id: Option<String>,
}

/// An order as every answer shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderView {
    /// Identity.
    pub id: i64,
    /// The product.
    pub product_id: i64,
    /// Who buys, where the client said so.
    pub buyer_id: Option<String>,
    /// Units ordered.
    pub quantity: i64,
    /// Where it stands.
    pub status: OrderStatus,
    /// Why it failed, as a word; null unless `FAILED`.
    pub fail_reason: Option<String>,
    /// How its stock is asked for.
    pub flow: Flow,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When its status changed last.
    pub updated_at: DateTime<Utc>,
}

/// A step of an order's saga that is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StuckOrder {
    /// The order as it is now.
    pub order: OrderView,
    /// What is still to be done: `DECREASE`, `CANCEL` or `VOID`.
    pub step: String,
    /// Which of the order's attempts this is about: 0, and one more for each retry by an operator.
    pub attempt: i32,
    /// How often the recovery worker has tried.
    pub tries: i32,
    /// Why it is not done, as far as is known.
    pub last_error: Option<String>,
    /// When it is tried next.
    pub next_try_at: DateTime<Utc>,
    /// Since when it is open.
    pub since: DateTime<Utc>,
}

/// Where a stored message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboxStatus {
    /// To be published.
    Pending,
    /// The broker has confirmed it.
    Sent,
    /// Publishing failed; it is tried again.
    Failed,
    /// Publishing failed for good.
    Dead,
}

/// A stored message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutboxView {
    /// Identity.
    pub id: i64,
    /// The order it is about.
    pub order_id: i64,
    /// `STOCK_DECREASE`.
    pub event_type: String,
    /// The message, as JSON text.
    pub payload: String,
    /// Where it stands.
    pub status: OutboxStatus,
    /// How often publishing failed.
    pub attempts: i32,
    /// When it is published next.
    pub next_attempt_at: DateTime<Utc>,
    /// Why publishing failed last.
    pub last_error: Option<String>,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// When the broker confirmed it.
    pub sent_at: Option<DateTime<Utc>>,
}
