//! Loops without input, bounded and idempotent.

pub mod backlog;
pub mod purge;
pub mod recovery;
