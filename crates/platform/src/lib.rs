//! What both services run on: natural batching, configuration, telemetry, the HTTP edge, the database pool,
//! consuming and publishing messages, the two listeners and their shutdown. Knows no word of the domain: neither product nor order.
//!
//! In reading order:

pub mod amqp;
pub mod batch;
pub mod config;
pub mod console;
pub mod database;
pub mod http;
pub mod http_client;
pub mod metrics;
pub mod named;
pub mod serve;
pub mod telemetry;
pub mod tls;
pub mod trace;
pub mod transaction;
