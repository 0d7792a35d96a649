//! order-service: owns orders and, with the next issues, the saga that takes stock for them.
//!
//! In reading order:

pub mod app;
pub mod config;
pub mod db;
