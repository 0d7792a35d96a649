//! What was turned away at the door, by the limit it met; and how many connections there are.

use std::sync::LazyLock;

use metrics::{counter, gauge};

use super::{Words, at_scrape, count};

const SHED: &str = "hotstock_http_shed_total";
const CONNECTIONS: &str = "hotstock_http_connections";

pub(super) const HELP: &[(&str, &str)] = &[
    (
        SHED,
        "Connections and requests turned away at the door, by the limit they met.",
    ),
    (CONNECTIONS, "Connections that are open, by listener."),
];

/// The limit that was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shed {
    /// As many connections as there may be.
    Connection,
    /// A head too large.
    Head,
    /// A body that did not come in time.
    Body,
    /// A client's rate.
    Rate,
    /// As many requests in flight as there may be.
    InFlight,
}

impl Shed {
    const ALL: [Self; 5] = [
        Self::Connection,
        Self::Head,
        Self::Body,
        Self::Rate,
        Self::InFlight,
    ];

    /// The word for it, in metrics and answers.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Head => "head",
            Self::Body => "body",
            Self::Rate => "rate",
            Self::InFlight => "in_flight",
        }
    }
}

static COUNTS: LazyLock<Words> =
    LazyLock::new(|| Words::new(&Shed::ALL, |limit| counter!(SHED, "reason" => limit.word())));

/// Somebody was turned away.
pub(crate) fn shed(limit: Shed) {
    COUNTS.count(limit as usize, 1);
}

/// Watches the connections of a listener. `open` says how many there are, and nothing once the listener is gone.
pub(crate) fn connections(listener: &'static str, open: impl Fn() -> Option<usize> + Send + 'static) {
    LazyLock::force(&COUNTS);
    at_scrape(move || {
        let open = open();
        if let Some(open) = open {
            gauge!(CONNECTIONS, "listener" => listener).set(count(open));
        }
        open.is_some()
    });
}
