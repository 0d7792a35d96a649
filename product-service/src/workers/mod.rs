//! Loops without input, bounded and idempotent.

pub mod hot_products;
pub mod prober;
pub mod readings;
pub mod reconciler;
