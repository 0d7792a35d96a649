//! Memory, descriptors and threads of each process, looked at again and again; and what the stores say of themselves.
//!
//! A process that is restarted begins a new life: what it has by then says nothing about what the one before it had.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_postgres::NoTls;

use super::stage::Stage;
use crate::servers::Server;

/// Sessions of all databases but ours.
const CONNECTIONS: &str = "-- soak: connections\n\
    SELECT count(*) - 1 FROM pg_stat_activity WHERE backend_type = 'client backend'";

/// The gate's memory of the request ids that got stock, a set for each product (`lua/gate.lua`). A soak has few products.
const SOLD_SETS: &str = "stock:*:sold";

/// What one process has, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// From the start of the run, s.
    pub at_s: f64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Open descriptors, besides the connections of those it serves: how many of those there are is their matter.
    pub descriptors: u64,
    /// Connections of those it serves.
    pub connections: u64,
    /// Threads.
    pub threads: u64,
}

/// One process from its start to its end.
#[derive(Clone, Debug, Serialize)]
pub struct Life {
    /// Which instance.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// In order.
    pub samples: Vec<Sample>,
}

/// What a store says of itself: moments (s from the start) and values.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stores {
    /// `used_memory` of Redis, bytes.
    pub redis_bytes: Vec<(f64, f64)>,
    /// Request ids that got stock and that Redis remembers for as long as their product is sold.
    pub remembered: Vec<(f64, f64)>,
    /// Connections to Postgres.
    pub connections: Vec<(f64, f64)>,
}

/// Everything that was looked at.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Samples {
    /// Every life of every process.
    pub lives: Vec<Life>,
    /// The stores.
    pub stores: Stores,
}

/// Looks, until it is ended or dropped.
pub struct Sampler {
    end: tokio::sync::oneshot::Sender<()>,
    looking: JoinHandle<Samples>,
}

impl Sampler {
    /// Begins to look, once in `interval`. `since`: the start of the run.
    pub async fn start(stage: &Stage, interval: Duration, since: Instant) -> Result<Self> {
        let watched = stage.watched();
        let redis = redis::Client::open(stage.redis_url())?;
        let redis = redis.get_multiplexed_async_connection().await?;
        let (postgres, connection) = tokio_postgres::connect(&stage.stores().database_url, NoTls).await?;
        tokio::spawn(connection);
        let (end, mut ended) = tokio::sync::oneshot::channel();
        let looking = tokio::spawn(async move {
            let mut samples = Samples::default();
            let mut tick = tokio::time::interval(interval);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = tick.tick() => {}
                    _ = &mut ended => return samples,
                }
                let at_s = since.elapsed().as_secs_f64();
                samples.look(&watched, at_s);
                // A store that is too busy to answer has no sample; too few of them are a finding.
                let _ = samples.ask(redis.clone(), &postgres, at_s).await;
            }
        });
        Ok(Self { end, looking })
    }

    /// What was seen.
    pub async fn end(self) -> Result<Samples> {
        let _ = self.end.send(());
        self.looking.await.context("the sampler failed")
    }
}

impl Samples {
    fn look(&mut self, watched: &[(String, Server)], at_s: f64) {
        for (name, server) in watched {
            let pid = server.pid();
            // Gone: it is being restarted.
            let Some(sample) = sample(pid, server.port(), at_s) else {
                continue;
            };
            let life = self
                .lives
                .iter_mut()
                .find(|life| life.pid == pid && life.name == *name);
            match life {
                Some(life) => life.samples.push(sample),
                None => self.lives.push(Life {
                    name: name.clone(),
                    pid,
                    samples: vec![sample],
                }),
            }
        }
    }

    async fn ask(
        &mut self,
        mut redis: MultiplexedConnection,
        postgres: &tokio_postgres::Client,
        at_s: f64,
    ) -> Result<()> {
        let info: String = redis::cmd("INFO").arg("memory").query_async(&mut redis).await?;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        let used = used.context("Redis does not say what memory it uses")?;
        let sold_sets: Vec<String> = redis::cmd("KEYS").arg(SOLD_SETS).query_async(&mut redis).await?;
        let mut sizes = redis::pipe();
        for set in &sold_sets {
            sizes.scard(set);
        }
        let sizes: Vec<f64> = sizes.query_async(&mut redis).await?;
        let connections: i64 = postgres.query_one(CONNECTIONS, &[]).await?.try_get(0)?;
        self.stores.redis_bytes.push((at_s, used.trim().parse()?));
        self.stores.remembered.push((at_s, sizes.iter().sum()));
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53 connections")]
        self.stores.connections.push((at_s, connections as f64));
        Ok(())
    }
}

/// From `/proc` (Linux); `None` when there is no such process. `port`: where it listens.
fn sample(pid: u32, port: u16, at_s: f64) -> Option<Sample> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| -> Option<u64> {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        value.split_whitespace().next()?.parse().ok()
    };
    let connections = established(&std::fs::read_to_string("/proc/net/tcp").ok()?, port);
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    Some(Sample {
        at_s,
        rss_bytes: field("VmRSS:")? * 1024,
        // Connections come and go between the two looks.
        descriptors: descriptors.saturating_sub(connections),
        connections,
        threads: field("Threads:")?,
    })
}

/// How many connections to `port` are established, by `/proc/net/tcp`. One that the other side has closed is none: who
/// keeps it open leaks it.
fn established(table: &str, port: u16) -> u64 {
    const ESTABLISHED: &str = "01";
    let local_port = format!(":{port:04X}");
    let of_port = table.lines().skip(1).filter(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next(), fields.nth(1));
        local.is_some_and(|local| local.ends_with(&local_port)) && state == Some(ESTABLISHED)
    });
    of_port.count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_seen_with_all_it_has_and_nothing_is_seen_of_one_that_is_gone() {
        let ours = sample(std::process::id(), 1, 1.5).unwrap();
        let file = std::fs::File::open("/proc/self/status").unwrap();
        let with_one_more = sample(std::process::id(), 1, 2.0).unwrap();
        drop(file);
        assert!(ours.rss_bytes > 1 << 20 && ours.threads >= 1, "{ours:?}");
        // Tests beside this one open and close theirs.
        assert!(with_one_more.descriptors >= 4, "{with_one_more:?}");
        assert_eq!(sample(u32::MAX, 1, 0.0), None);
    }

    #[test]
    fn a_connection_counts_for_who_was_called_until_the_caller_has_closed_it() {
        let count = |port| established(&std::fs::read_to_string("/proc/net/tcp").unwrap(), port);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(count(port), 0);
        let caller = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (called, from) = listener.accept().unwrap();
        assert_eq!((count(port), count(from.port())), (1, 1));
        drop(caller);
        // The kernel hears of it on its own time.
        let closed = (0..1_000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            count(port) == 0
        });
        assert!(closed);
        drop(called);
    }
}
