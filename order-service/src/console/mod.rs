//! The operators' console: orders, outbox, dead letters.
//!
//! Owns what it shows and how often it is read: one reading a round for all who watch, none while nobody does, a bounded
//! number of rows. What operators do goes through the admin API. If it dies half-way, nothing but a page is stale.

pub mod page;
pub mod snapshot;
