//! Pools of connections: how many are in use, who waits, for how long, and who waited in vain.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, gauge, histogram};

use super::{at_scrape, count};

const CONNECTIONS: &str = "hotstock_pool_connections";
const MAX: &str = "hotstock_pool_connections_max";
const WAITING: &str = "hotstock_pool_waiting";
const WAIT: &str = "hotstock_pool_wait_seconds";
const FAILURES: &str = "hotstock_pool_failures_total";

pub(super) const HELP: &[(&str, &str)] = &[
    (CONNECTIONS, "Connections of a pool, in use and idle."),
    (MAX, "Connections it may have."),
    (WAITING, "Callers that wait for one."),
    (WAIT, "From asking for a connection to having it, in seconds."),
    (FAILURES, "Callers that got none: in time, or at all."),
];

/// A pool at one moment.
#[derive(Debug, Clone, Copy)]
pub struct PoolState {
    /// Connections it may have.
    pub max: usize,
    /// Connections it has.
    pub size: usize,
    /// Of those, not in use.
    pub idle: usize,
    /// Callers that wait.
    pub waiting: usize,
}

/// Says what a pool is like at this moment; to be called at each scrape.
pub fn pool_state(pool: &'static str, state: PoolState) {
    gauge!(CONNECTIONS, "pool" => pool, "state" => "in_use")
        .set(count(state.size.saturating_sub(state.idle)));
    gauge!(CONNECTIONS, "pool" => pool, "state" => "idle").set(count(state.idle));
    gauge!(MAX, "pool" => pool).set(count(state.max));
    gauge!(WAITING, "pool" => pool).set(count(state.waiting));
}

/// What a pool counts itself.
#[derive(Clone)]
pub struct PoolWaits {
    wait: Histogram,
    failures: Counter,
}

impl PoolWaits {
    /// Those of a pool that somebody else watches.
    #[must_use]
    pub fn of(pool: &'static str) -> Self {
        let failures = counter!(FAILURES, "pool" => pool);
        failures.absolute(0);
        Self {
            wait: histogram!(WAIT, "pool" => pool),
            failures,
        }
    }

    /// A caller has waited, and got a connection or not.
    pub fn waited(&self, took: Duration, got_one: bool) {
        if got_one {
            self.wait.record(took);
        } else {
            self.failures.increment(1);
        }
    }
}

/// Watches a pool. `state` says nothing once the pool is gone.
pub(crate) fn pool(name: &'static str, state: impl Fn() -> Option<PoolState> + Send + 'static) -> PoolWaits {
    at_scrape(move || {
        let state = state();
        if let Some(state) = state {
            pool_state(name, state);
        }
        state.is_some()
    });
    PoolWaits::of(name)
}
