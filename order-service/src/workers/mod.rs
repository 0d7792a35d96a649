//! Loops without input, bounded and idempotent.

pub mod purge;
pub mod recovery;
