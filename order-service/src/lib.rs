//! order-service: owns orders and the saga that takes stock for them.
//!
//! In reading order: [`orders`] has the verbs, `orders/place.rs` first; [`saga`] the table of what is done for an order,
//! and what undoes it; [`domain`] the rules; [`db`] the store; [`product_client`] the way to
//! product-service over HTTP, [`outbox`] and [`messaging`] the one by message; [`http`] and
//! [`console`] the outside; [`app`] how it is put together.

pub mod orders;

pub mod saga;

pub mod domain;

pub mod db;

pub mod product_client;

pub mod outbox;

pub mod messaging;

pub mod http;

pub mod console;

pub mod app;
pub mod config;
pub mod metrics;
pub mod workers;
