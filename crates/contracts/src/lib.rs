//! Wire types that both services share: bodies of the HTTP API, errors, limits. Only data: no I/O, no framework.

pub mod error;
pub mod limits;
pub mod messaging;
pub mod order;
pub mod product;
pub mod stock;
