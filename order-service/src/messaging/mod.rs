//! Messages that come in: results of what was asked for, and what is sold out.

pub mod availability;
pub mod results;
