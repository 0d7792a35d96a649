//! Bodies of the stock API.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `PATCH /v1/products/{id}/stock/decrease-by-order`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DecreaseByOrder {
    /// The order that takes the units, >= 1.
    #[schema(minimum = 1)]
    pub order_id: i64,
    /// Units, 1..=1,000,000.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub quantity: i64,
    /// Who buys: 1..=64 visible ASCII characters. Required where the product limits purchases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub buyer_id: Option<String>,
    /// Must equal the `Idempotency-Key` header when given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// `PATCH /v1/products/{id}/stock/increase-by-order`: voids the order's decrease.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IncreaseByOrder {
    /// The order that took the units, >= 1.
    #[schema(minimum = 1)]
    pub order_id: i64,
    /// Units, exactly what the order took.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub quantity: i64,
    /// Why.
    pub reason: IncreaseReason,
    /// Must equal the `Idempotency-Key` header when given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The decrease's request id. `INC-{x}` voids `DEC-{x}` by itself; a client with other keys names it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voids: Option<String>,
}

/// Why an order's decrease is voided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IncreaseReason {
    /// A confirmed order was cancelled.
    OrderCancelled,
    /// An order failed, perhaps without knowing what became of its decrease.
    OrderFailed,
}

/// `POST /v1/products/{id}/stock/adjust`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdjustStock {
    /// Signed units, not 0; the resulting stock must stay within 0..=10^12.
    pub delta: i64,
    /// Why.
    pub reason: AdjustReason,
    /// For the record, at most 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub note: Option<String>,
}

/// Why stock was adjusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AdjustReason {
    /// Somebody decided to: a delivery, a give-away.
    Manual,
    /// A count differed from the record.
    Adjust,
}

/// Answer to every movement of stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StockAnswer {
    /// Always true: refusals are errors.
    pub success: bool,
    /// The product's stock after this movement. A replay shows the stock after the first one.
    pub remaining_stock: i64,
    /// `OK`.
    pub message: String,
}

/// Whether a movement put units in or took them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Direction {
    /// Stock rose.
    In,
    /// Stock fell.
    Out,
}

/// Why a movement happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MovementReason {
    /// The stock a product was created with.
    Initial,
    /// An order took units.
    OrderDecrement,
    /// An order's decrease was voided.
    OrderIncrement,
    /// Adjusted by decision.
    Manual,
    /// Adjusted after a count.
    Adjust,
}

/// One row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MovementView {
    /// Identity.
    pub id: i64,
    /// The product.
    pub product_id: i64,
    /// 1 for the product's first movement, then without a gap.
    pub stock_version: i64,
    /// In or out.
    pub direction: Direction,
    /// Units, > 0.
    pub quantity: i64,
    /// The product's stock after this movement.
    pub balance_after: i64,
    /// Why.
    pub reason: MovementReason,
    /// The order, for movements by order.
    pub order_id: Option<i64>,
    /// The buyer, where one was given.
    pub buyer_id: Option<String>,
    /// The key under which this happened, once.
    pub request_id: String,
    /// For the record.
    pub note: Option<String>,
    /// When.
    pub created_at: DateTime<Utc>,
}
