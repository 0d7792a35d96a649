//! What a listener turns away, over real sockets: hostile connections, and more than there is room for. Beside each, others
//! are served.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod connections;
mod requests;
mod server;
