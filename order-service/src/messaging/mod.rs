//! Messages that come in: results of what was asked for.

pub mod results;
