//! Ranges of values that cross a service boundary. Both services refuse what lies outside with `VALIDATION_ERROR`.

/// Most units one request may move: 1..=1,000,000 (spec section 1).
pub const QUANTITY_MAX: i64 = 1_000_000;

/// Most units a product may have: 10^12. Far below 2^53, up to which the numbers of Lua are exact.
pub const STOCK_MAX: i64 = 1_000_000_000_000;

/// Highest price, in minor units of the currency: 10^15.
pub const PRICE_MAX: i64 = 1_000_000_000_000_000;

/// Longest product name, in characters.
pub const NAME_LENGTH_MAX: usize = 200;

/// Longest request id (`Idempotency-Key`), in visible ASCII characters.
pub const REQUEST_ID_LENGTH_MAX: usize = 128;

/// Longest buyer id, in visible ASCII characters.
pub const BUYER_ID_LENGTH_MAX: usize = 64;

/// Longest note of an adjustment, in characters.
pub const NOTE_LENGTH_MAX: usize = 500;

/// Most entries on one page of a listing.
pub const PAGE_SIZE_MAX: i64 = 100;
