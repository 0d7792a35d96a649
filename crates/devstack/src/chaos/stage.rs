//! The servers of one run: a Postgres and a Redis of its own, instances of product-service in front of them, and a
//! proxy on every way between.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::harm::Servers;
use crate::proxy::{Fault, Proxy};
use crate::servers::{Postgres, PostgresOptions, Redis, RedisOptions};
use crate::service::{Service, ServiceOptions};

/// What heals by itself does so sooner than in production, so that a run of seconds sees it happen; and Redis gets three
/// times as long as the shipped 50 ms, because a busy machine must not look like a fault.
const SETTINGS: [(&str, &str); 8] = [
    ("HOTSTOCK__SERVER__WORKERS", "1"),
    ("HOTSTOCK__GATE__HOLD_TTL_MS", "2000"),
    ("HOTSTOCK__GATE__LEASE_MS", "1000"),
    ("HOTSTOCK__REDIS__TIMEOUT_MS", "150"),
    ("HOTSTOCK__BREAKER__SLOW_MS", "100"),
    ("HOTSTOCK__BREAKER__DELAY_MS", "300"),
    ("HOTSTOCK__BREAKER__DELAY_MAX_MS", "1000"),
    // Not a line for each find.
    ("HOTSTOCK__LOG__FILTER", "warn"),
];

/// See the module. Dropping it ends everything.
pub struct Stage {
    /// What can be harmed.
    pub servers: Servers,
    /// Redis itself, not by way of a proxy.
    pub redis_url: String,
    ways_to_redis: Vec<Proxy>,
    ways_to_postgres: Vec<Proxy>,
}

impl Stage {
    /// Starts `instances` of the service at `program`. Logs go below `log_dir` and stay there.
    pub async fn set(program: &Path, instances: usize, log_dir: &Path) -> Result<Self> {
        let (postgres, redis) = tokio::try_join!(
            Postgres::start(PostgresOptions::default()),
            Redis::start(RedisOptions {
                gate_user: false,
                dir: Some(log_dir.join("redis")),
                ..RedisOptions::default()
            })
        )?;
        let database_url = postgres.create_database("product").await?;
        let redis_url = redis.url();
        let ways_to_redis = ways(redis.port(), instances)?;
        let ways_to_postgres = ways(postgres.port(), instances)?;
        let mut services = Vec::new();
        for (index, (to_redis, to_postgres)) in ways_to_redis.iter().zip(&ways_to_postgres).enumerate() {
            let dir: PathBuf = log_dir.join(format!("product-service-{}", index + 1));
            let options = ServiceOptions::new("product-service", program)
                .database_url(&to_postgres.url(&database_url)?)
                .redis_url(&to_redis.url(&redis_url)?)
                .log_dir(dir);
            let options = SETTINGS
                .iter()
                .fold(options, |options, (key, value)| options.env(key, value));
            services.push(Service::start(options).await?);
        }
        Ok(Self {
            servers: Servers {
                redis: Some(redis),
                rabbitmq: None,
                postgres,
                database_url,
                instances: services,
            },
            redis_url,
            ways_to_redis,
            ways_to_postgres,
        })
    }

    /// Public urls of the instances.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.servers.instances.iter().map(Service::url).collect()
    }

    /// Sets the fault of some ways, of one instance or of all; returns how much the proxies have harmed so far.
    pub fn set_ways(&self, to_postgres: bool, instance: Option<usize>, fault: &Fault) -> u64 {
        let ways = if to_postgres {
            &self.ways_to_postgres
        } else {
            &self.ways_to_redis
        };
        let chosen = ways
            .iter()
            .enumerate()
            .filter(|(index, _)| instance.is_none_or(|instance| instance == *index));
        let mut hits = 0;
        for (_, way) in chosen {
            let hit = way.hits();
            hits += hit.connections + hit.bytes;
            way.set(fault.clone());
        }
        hits
    }
}

fn ways(port: u16, count: usize) -> Result<Vec<Proxy>> {
    let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    (0..count).map(|_| Proxy::start(upstream)).collect()
}
