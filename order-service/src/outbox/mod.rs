//! The outbox's way to the broker: the relay, and who wakes it.

pub mod listen;
pub mod relay;
