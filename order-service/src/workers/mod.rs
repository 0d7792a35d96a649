//! Loops without input, bounded and idempotent.

pub mod recovery;
