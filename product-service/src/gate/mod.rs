//! The gate: Redis in front of a hot product, so that only requests that can get stock reach the database.
//!
//! Owns every call to Redis. It filters and never decides: nothing that happens to it can oversell or lose a unit
//! (see the protocol in docs/ARCHITECTURE.md). Every call is bounded: by one time limit where requests wait for it, by a
//! longer one for what is done in the background; an error, a time-out or a lying answer means "ask the database". What dies half-way leaves holds, which end when their fact arrives.

pub mod breaker;
pub mod hot;
pub mod keys;
pub mod link;
pub mod load;
pub mod peek;
pub mod reserve;
pub mod rules;
pub mod scripts;
pub mod settle;

use std::time::{Duration, Instant};

use deadpool_redis::{Manager, Pool, Runtime, Timeouts};
use platform::metrics::PoolState;
use platform::tls::{ca_pem, told};
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, RedisResult, TlsCertificates, Value};

use crate::config::{Config, GateConfig, RedisConfig};
use crate::domain::request::ProductId;
use crate::domain::words::BreakerState;
use crate::metrics;
use breaker::Breaker;
use link::Link;

/// Redis gave no usable answer: the database decides instead.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// No answer within the time limit.
    #[error("no answer from Redis within the time limit")]
    Timeout,
    /// Redis, or the way to it, failed.
    #[error("Redis: {}", told(.0))]
    Redis(#[from] redis::RedisError),
    /// No connection could be had.
    #[error("no connection to Redis: {}", told(.0))]
    Pool(#[from] deadpool_redis::PoolError),
    /// The breaker is open: Redis was not called.
    #[error("Redis is left alone: the breaker is open")]
    Open,
    /// The answer has a shape no script of ours gives.
    #[error("unexpected answer from a script: {0}")]
    Reply(String),
}

/// The way to Redis and the numbers that rule its use.
pub struct Gate {
    pool: Pool,
    limit: Duration,
    /// Lengths of holds and leases, life of the keys.
    pub config: GateConfig,
    /// Whether Redis is called at all.
    pub breaker: Breaker,
}

impl Gate {
    /// Connects nothing yet: a Redis that is down now may be up when the first request comes.
    ///
    /// # Errors
    /// When the URL cannot be understood, or the authorities cannot be read.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let redis = &config.redis;
        let limit = Duration::from_millis(redis.timeout_ms);
        let connection = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            // Each link has a limit of its own, within this one.
            .set_response_timeout(Some(limit.max(BACKGROUND_LIMIT)))
            .set_pipeline_buffer_size(PIPELINE_BUFFER);
        let manager = Manager::new_with_config(server(redis)?, connection)?;
        let pool = Pool::builder(manager)
            .max_size(redis.pool_size)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(limit),
                create: Some(limit),
                recycle: Some(limit),
            })
            .build()?;
        Ok(Self {
            pool,
            limit,
            config: config.gate.clone(),
            breaker: Breaker::new(&config.breaker),
        })
    }

    /// A connection of one's own, for a flusher that calls all the time.
    #[must_use]
    pub fn link(&self) -> Link {
        Link::new(self.pool.clone(), self.limit)
    }

    /// A connection for round trips over hundreds of products, which no request waits for. With the limit of requests
    /// they would fail on a busy machine, again and again, and what they load or reconcile would stay undone.
    #[must_use]
    pub fn background_link(&self) -> Link {
        Link::new(self.pool.clone(), self.limit.max(BACKGROUND_LIMIT))
    }

    /// Makes a call that the breaker watches, while it is closed. While it is half-open, calls go through unwatched
    /// if `helps_probing` says that they help: facts belong into gates that are being loaded.
    ///
    /// # Errors
    /// [`GateError::Open`] without calling; otherwise whatever the call returns.
    pub async fn watched<T>(
        &self,
        call: &'static str,
        helps_probing: bool,
        work: impl Future<Output = Result<T, GateError>>,
    ) -> Result<T, GateError> {
        let Some(permit) = self.breaker.permit() else {
            let through = helps_probing && self.breaker.state() == BreakerState::HalfOpen;
            return if through { work.await } else { Err(GateError::Open) };
        };
        let started = Instant::now();
        let result = work.await;
        let took = started.elapsed();
        metrics::gate_call(call, self.breaker.record(permit, result.is_ok(), took), took);
        result
    }

    /// Its connections, at this moment.
    #[must_use]
    pub fn pool_state(&self) -> PoolState {
        let status = self.pool.status();
        PoolState {
            max: status.max_size,
            size: status.size,
            idle: status.available,
            waiting: status.waiting,
        }
    }

    /// Removes whatever the gate knows of a product: it is not loaded then.
    ///
    /// # Errors
    /// [`GateError`] when Redis did not confirm it.
    pub async fn purge(&self, product: ProductId) -> Result<(), GateError> {
        let mut unlink = redis::cmd("UNLINK");
        unlink.arg(&keys::all(product));
        self.link().command(unlink).await
    }

    /// Whether Redis answers and knows every script.
    ///
    /// # Errors
    /// [`GateError`] when it does not.
    pub async fn ready(&self, link: &mut Link) -> Result<(), GateError> {
        self.ping().await?;
        for script in scripts::all() {
            script.load(link).await?;
        }
        Ok(())
    }

    /// Whether Redis answers at all.
    ///
    /// # Errors
    /// [`GateError`] when it does not.
    pub async fn ping(&self) -> Result<(), GateError> {
        self.link().command(redis::cmd("PING")).await
    }
}

/// Where Redis is, and who may have signed its certificate.
fn server(config: &RedisConfig) -> anyhow::Result<ConnectionInfo> {
    let url = config.url.expose();
    let client = match ca_pem("redis.ca_file", &config.ca_file)? {
        None => Client::open(url)?,
        Some(pem) => Client::build_with_tls(
            url,
            TlsCertificates {
                client_tls: None,
                root_cert: Some(pem),
            },
        )?,
    };
    Ok(client.get_connection_info().clone())
}

/// Longest wait for Redis in the background.
const BACKGROUND_LIMIT: Duration = Duration::from_secs(1);

/// Commands the driver buffers before it writes; its default of 50 is below one batch over many products.
const PIPELINE_BUFFER: usize = 4096;

/// One reply per command of a pipeline.
type Replies = Vec<RedisResult<Value>>;
