//! product-service as its clients see it: a real process with a real Postgres and Redis, asked over HTTP.
//!
//! Every test that moves stock ends with the audit of the books (`Shop::balanced`).

mod fixture;

mod adjust;
mod admin;
mod catch_up;
mod database;
mod idempotency;
mod increase;
mod listing;
mod mistakes;
mod movements;
mod products;
mod redis_away;
mod requests;
mod rules;
mod rules_at_the_gate;
