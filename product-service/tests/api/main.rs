//! product-service as its clients see it: a real process with a real Postgres and Redis, asked over HTTP.
//!
//! Every test that moves stock ends with the audit of the books (`Shop::balanced`).

mod fixture;

mod adjust;
mod idempotency;
mod increase;
mod listing;
mod movements;
mod products;
mod requests;
