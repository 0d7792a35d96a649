//! Bodies of the product API.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// Whether a product may be sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ProductStatus {
    /// May be sold.
    Active,
    /// Deleted for buyers: cannot be sold any more; its orders can still be cancelled.
    Discontinued,
}

/// Which way a decrease of this product goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StockStrategy {
    /// Straight to the database decision.
    DbOnly,
    /// Hot: the gate in Redis first; only admitted requests reach the database.
    RedisFirst,
}

/// `POST /v1/products`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateProduct {
    /// 1..=200 characters, not blank.
    #[schema(min_length = 1, max_length = 200, example = "Limited edition")]
    pub name: String,
    /// Minor units of the currency, 0..=10^15.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64, example = 4900)]
    pub price: i64,
    /// Units to begin with, 0..=10^12.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64, example = 100)]
    pub stock: i64,
    /// `DB_ONLY` unless given.
    #[serde(default)]
    pub stock_strategy: Option<StockStrategy>,
    /// Most units one buyer may own, 1..=1,000,000; no limit unless given.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub purchase_limit: Option<i64>,
    /// First moment at which the product may be bought.
    #[serde(default)]
    pub sale_starts_at: Option<DateTime<Utc>>,
    /// First moment at which it may not be bought any more.
    #[serde(default)]
    pub sale_ends_at: Option<DateTime<Utc>>,
}

/// `PATCH /v1/products/{id}`: only the fields given are written; stock is none of them. `null` removes a limit or
/// an end of the sale window.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PatchProduct {
    /// 1..=200 characters, not blank.
    #[serde(
        default,
        deserialize_with = "not_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// Minor units of the currency, 0..=10^15.
    #[serde(
        default,
        deserialize_with = "not_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = i64, required = false, minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    pub price: Option<i64>,
    /// `ACTIVE` puts a discontinued product back on sale.
    #[serde(
        default,
        deserialize_with = "not_null",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = ProductStatus, required = false)]
    pub status: Option<ProductStatus>,
    /// Units per buyer, 1..=1,000,000, or `null` for none.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1_000_000)]
    pub purchase_limit: Option<Option<i64>>,
    /// Start of the sale window, or `null` for none.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<DateTime<Utc>>)]
    pub sale_starts_at: Option<Option<DateTime<Utc>>>,
    /// End of the sale window, or `null` for none.
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<DateTime<Utc>>)]
    pub sale_ends_at: Option<Option<DateTime<Utc>>>,
}

/// A product as every answer shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProductView {
    /// Identity.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Minor units of the currency.
    pub price: i64,
    /// Units available, as committed in the database.
    pub stock: i64,
    /// Number of committed movements.
    pub stock_version: i64,
    /// Whether it may be sold.
    pub status: ProductStatus,
    /// Which way its decreases go.
    pub stock_strategy: StockStrategy,
    /// Units per buyer, if limited.
    pub purchase_limit: Option<i64>,
    /// Start of the sale window, if any.
    pub sale_starts_at: Option<DateTime<Utc>>,
    /// End of the sale window, if any.
    pub sale_ends_at: Option<DateTime<Utc>>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When a column of it changed last.
    pub updated_at: DateTime<Utc>,
    /// Number of its changes, those of stock apart. In quotes it is the `ETag`.
    pub version: i64,
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The entries.
    pub content: Vec<T>,
    /// Which page this is, from 0.
    pub page: i64,
    /// How many entries a page holds at most.
    pub size: i64,
    /// How many entries match in all.
    pub total_elements: i64,
    /// How many pages they fill.
    pub total_pages: i64,
}

impl<T> Page<T> {
    /// A page with its totals; `size` is at least 1.
    #[must_use]
    pub fn new(content: Vec<T>, page: i64, size: i64, total_elements: i64) -> Self {
        let size = size.max(1);
        let total_pages = total_elements / size + i64::from(total_elements % size != 0);
        Self {
            content,
            page,
            size,
            total_elements,
            total_pages,
        }
    }
}

/// Absent is `None`, `null` is `Some(None)`: what a PATCH has to tell apart.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(value).map(Some)
}

/// Absent is `None`; `null` is an error, for the column has none.
fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}
