//! What a fault has left in the metrics of the instances and at the proxies: proof that it hit.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use devstack::Service;
use devstack::http::HttpClient;
use devstack::proxy::Hits;
use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::shop::Shop;

/// For what an instance's admin listener is asked.
const TIMEOUT: Duration = Duration::from_secs(5);
const WATCH_EVERY: Duration = Duration::from_millis(25);

/// Counters, by name and label value, of one instance.
type Counters = BTreeMap<String, u64>;

/// The counters of every instance at one moment.
pub(crate) struct Snapshot {
    instances: Vec<Counters>,
    hits: Vec<Hits>,
}

impl Snapshot {
    pub(crate) async fn of(shop: &Shop) -> Self {
        let mut instances = Vec::new();
        for service in &shop.services {
            instances.push(counters(service).await.unwrap_or_default());
        }
        let proxies = shop.proxies.iter().chain(&shop.postgres_proxies);
        let hits = proxies.map(|proxy| proxy.hits()).collect();
        Self { instances, hits }
    }

    /// Whether every breaker was closed.
    pub(crate) fn all_closed(&self) -> bool {
        self.instances
            .iter()
            .all(|counters| counters.get("breaker_state closed") == Some(&1))
    }

    /// What has happened since.
    pub(crate) async fn since(&self, shop: &Shop) -> Evidence {
        self.until(&Self::of(shop).await)
    }

    /// What has happened up to a later moment.
    pub(crate) fn until(&self, now: &Self) -> Evidence {
        let grown = |(new, old): (&Counters, &Counters)| -> Counters {
            let by = |(name, count): (&String, &u64)| {
                let by = count.saturating_sub(old.get(name).copied().unwrap_or(0));
                (by > 0).then(|| (name.clone(), by))
            };
            new.iter().filter_map(by).collect()
        };
        Evidence {
            instances: now.instances.iter().zip(&self.instances).map(grown).collect(),
            hits: now
                .hits
                .iter()
                .zip(&self.hits)
                .map(|(now, before)| now.connections - before.connections + now.bytes - before.bytes)
                .sum(),
        }
    }
}

/// What has happened between two moments.
pub(crate) struct Evidence {
    pub(crate) instances: Vec<Counters>,
    /// Connections and bytes the proxies have harmed.
    pub(crate) hits: u64,
}

impl Evidence {
    /// One counter of all instances.
    pub(crate) fn sum(&self, counter: &str) -> u64 {
        self.instances
            .iter()
            .filter_map(|counters| counters.get(counter))
            .sum()
    }

    /// Whether the breaker of every instance has opened.
    pub(crate) fn all_opened(&self) -> bool {
        self.instances
            .iter()
            .all(|counters| counters.contains_key(OPENED))
    }

    /// What the reconcilers have found, in words.
    pub(crate) fn finds(&self) -> String {
        let mut finds: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, count) in self.instances.iter().flatten() {
            if let Some(find) = name.strip_prefix("reconcile_finds ") {
                *finds.entry(find).or_default() += count;
            }
        }
        let words = finds.iter().map(|(find, count)| format!("{find} {count}"));
        words.collect::<Vec<_>>().join(", ")
    }
}

pub(crate) const OPENED: &str = "breaker_transitions open";

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = |result: &str| -> u64 {
            ["reserve", "settle", "ping"]
                .iter()
                .map(|call| self.sum(&format!("gate_calls {call} {result}")))
                .sum()
        };
        write!(
            f,
            "opened {}, calls failed {} slow {}, proxy {}, decisions failed {}",
            self.sum(OPENED),
            calls("failed"),
            calls("slow"),
            self.hits,
            self.sum("decide_failures")
        )
    }
}

/// All counters of an instance: `hotstock_gate_calls_total{call="ping",result="failed"} 3` is `gate_calls ping failed`.
async fn counters(service: &Service) -> Option<Counters> {
    let mut client = HttpClient::new(&service.admin_url(), TIMEOUT).ok()?;
    let answer = client.request(Method::GET, "/metrics", &[], "").await.ok()?;
    let text = String::from_utf8_lossy(&answer.body);
    let parsed = text.lines().filter_map(|line| {
        let (series, count) = line.strip_prefix("hotstock_")?.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let name = name
            .strip_suffix("_total")
            .or((name == "breaker_state").then_some(name))?;
        let values: Vec<&str> = labels.split('"').skip(1).step_by(2).collect();
        let name = [&[name], &values[..]].concat().join(" ");
        Some((name, count.parse().ok()?))
    });
    Some(parsed.collect())
}

/// Looks at the breakers all the time and remembers when each opened first and closed last.
pub(crate) struct Watch {
    is_over: Arc<AtomicBool>,
    watchers: Vec<JoinHandle<Vec<(Instant, bool)>>>,
}

impl Watch {
    pub(crate) fn start(shop: &Shop) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let watchers = shop
            .services
            .iter()
            .map(|service| tokio::spawn(watch(service.clone(), is_over.clone())))
            .collect();
        Self { is_over, watchers }
    }

    /// When every breaker that opened at all had opened, and when all of them were closed again.
    pub(crate) async fn end(self) -> (Option<Instant>, Option<Instant>) {
        self.is_over.store(true, Ordering::Relaxed);
        let (mut opened, mut closed) = (None, None);
        for watcher in self.watchers {
            let line = watcher.await.unwrap();
            opened = opened.max(line.iter().find(|(_, is_closed)| !is_closed).map(|(at, _)| *at));
            closed = closed.max(line.last().filter(|(_, is_closed)| *is_closed).map(|(at, _)| *at));
        }
        (opened, closed)
    }
}

/// An answer passes through so many processes, and on a busy machine each has to wait for its turn.
const PROCESSES: u32 = 4;

/// How late this machine is, by the longest that this process was kept waiting for its turn.
pub(crate) struct Lateness {
    worst_us: Arc<AtomicU64>,
    clock: JoinHandle<()>,
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.clock.abort();
    }
}

impl Lateness {
    pub(crate) fn start() -> Self {
        const TICK: Duration = Duration::from_millis(10);
        let worst_us = Arc::new(AtomicU64::new(0));
        let worst = Arc::clone(&worst_us);
        let clock = tokio::spawn(async move {
            loop {
                let due = Instant::now() + TICK;
                tokio::time::sleep_until(due.into()).await;
                let late = due.elapsed().as_micros();
                worst.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self { worst_us, clock }
    }

    /// What of the slowest answer's time may be the machine's own: a few ms when nobody else uses it.
    pub(crate) fn excuse(&self) -> Duration {
        PROCESSES * Duration::from_micros(self.worst_us.load(Ordering::Relaxed))
    }
}

/// Each change between closed and not closed.
async fn watch(service: Service, is_over: Arc<AtomicBool>) -> Vec<(Instant, bool)> {
    let mut line = Vec::new();
    let mut was_closed = true;
    let mut client = HttpClient::new(&service.admin_url(), TIMEOUT).unwrap();
    while !is_over.load(Ordering::Relaxed) {
        if let Ok(answer) = client.request(Method::GET, "/admin/breaker", &[], "").await {
            let breaker: Value = serde_json::from_slice(&answer.body).unwrap();
            let is_closed = breaker["state"] == "closed";
            if is_closed != was_closed {
                line.push((Instant::now(), is_closed));
                was_closed = is_closed;
            }
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
    line
}
