//! Free TCP ports on 127.0.0.1.
//!
//! They come from 20000..30000, below the range from which Linux and macOS give ports to outgoing connections: a
//! load test opens thousands of those, and one of them would sooner or later sit on the port of a server that is
//! just being restarted. Nothing can reserve a port for a child, so whoever starts a server tries again with another
//! port when it finds its port taken.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

const RANGE: std::ops::Range<u16> = 20_000..30_000;

static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port that nobody listens on now and that this process has not been given before.
pub fn free_port() -> Result<u16> {
    for _ in 0..2_000 {
        let port = rand::random_range(RANGE);
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if given.get_or_insert_default().insert(port) && is_free(port) {
            return Ok(port);
        }
    }
    bail!(
        "no free port on 127.0.0.1 between {} and {}",
        RANGE.start,
        RANGE.end
    )
}

/// `wanted` if nobody listens on it, else any free port.
pub fn free_port_preferring(wanted: u16) -> Result<u16> {
    if is_free(wanted) { Ok(wanted) } else { free_port() }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// Whether the text of a failed start says that the port was taken in the meantime.
pub(crate) fn is_port_taken(message: &str) -> bool {
    message.to_ascii_lowercase().contains("address already in use")
}
