//! What the pages of both services are made of: one shell, its style and script, and live snapshots.
//!
//! Owns the look, the Content-Security-Policy and the stream; knows no domain word: what a page shows is its service's.
//! Nothing here is on the way of a request that sells. Snapshots are built only while somebody watches, once for all
//! viewers; whoever dies half-way leaves a page that says it is stale and asks again.

pub mod assets;
pub mod event_log;
pub mod live;
pub mod reading;
pub mod shell;

use std::net::SocketAddr;

/// How a page names the instance it sees: service, machine (where it is known; containers all listen on the same address),
/// address and process.
#[must_use]
pub fn instance(service: &str, bind: SocketAddr) -> String {
    let machine = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let machine = machine.trim();
    let on = if machine.is_empty() { "" } else { " on " };
    let process = std::process::id();
    format!("{service}{on}{machine}, {bind}, process {process}")
}
