//! Faults in the middle of a sale, on real servers and from two instances: each is shown to have hit, is healed, and
//! ends with the same audit.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot set itself up has failed"
)]

#[path = "../concurrency/client.rs"]
mod client;
mod evidence;
mod frozen;
mod load;
mod points;
mod postgres;
mod postgres_transactions;
mod processes;
mod redis_data;
mod redis_errors;
mod redis_network;
mod redis_process;
mod report;
mod seconds;

mod shop;
mod trial;
