//! The gate: Redis in front of a hot product, so that only requests that can get stock reach the database.
//!
//! Owns every call to Redis. It filters and never decides: nothing that happens to it can oversell or lose a unit
//! (see the protocol in docs/ARCHITECTURE.md). Every call is bounded by one time limit; an error, a time-out or a
//! lying answer means "ask the database". What dies half-way leaves holds, which end when their fact arrives.

pub mod hot;
pub mod keys;
pub mod link;
pub mod load;
pub mod peek;
pub mod reserve;
pub mod scripts;
pub mod settle;

use std::time::Duration;

use deadpool_redis::{Manager, Pool, Runtime, Timeouts};
use redis::{AsyncConnectionConfig, RedisResult, Value};

use crate::config::{GateConfig, RedisConfig};
use crate::domain::request::ProductId;
use link::Link;

/// Redis gave no usable answer: the database decides instead.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// No answer within the time limit.
    #[error("no answer from Redis within the time limit")]
    Timeout,
    /// Redis, or the way to it, failed.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// No connection could be had.
    #[error("no connection to Redis: {0}")]
    Pool(#[from] deadpool_redis::PoolError),
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
}

impl Gate {
    /// Connects nothing yet: a Redis that is down now may be up when the first request comes.
    ///
    /// # Errors
    /// When the URL cannot be understood.
    pub fn new(redis: &RedisConfig, config: GateConfig) -> anyhow::Result<Self> {
        let limit = Duration::from_millis(redis.timeout_ms);
        let connection = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit))
            .set_pipeline_buffer_size(PIPELINE_BUFFER);
        let manager = Manager::new_with_config(redis.url.expose(), connection)?;
        let pool = Pool::builder(manager)
            .max_size(redis.pool_size)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(limit),
                create: Some(limit),
                recycle: Some(limit),
            })
            .build()?;
        Ok(Self { pool, limit, config })
    }

    /// A connection of one's own, for a flusher that calls all the time.
    #[must_use]
    pub fn link(&self) -> Link {
        Link::new(self.pool.clone(), self.limit)
    }

    /// Removes whatever the gate knows of a product: it is not loaded then.
    ///
    /// # Errors
    /// [`GateError`] when Redis did not confirm it.
    pub async fn purge(&self, product: ProductId) -> Result<(), GateError> {
        let mut command = redis::cmd("UNLINK");
        command.arg(&keys::all(product));
        let mut pipeline = redis::Pipeline::with_capacity(1);
        pipeline.add_command(command);
        self.link()
            .pipeline(&pipeline.ignore_errors().clone())
            .await?
            .into_iter()
            .try_for_each(|reply| reply.map(|_| ()).map_err(GateError::from))
    }

    /// Whether Redis answers at all.
    ///
    /// # Errors
    /// [`GateError`] when it does not.
    pub async fn ping(&self) -> Result<(), GateError> {
        let mut pipeline = redis::Pipeline::with_capacity(1);
        pipeline.cmd("PING").ignore_errors();
        self.link()
            .pipeline(&pipeline)
            .await?
            .into_iter()
            .try_for_each(|reply| reply.map(|_| ()).map_err(GateError::from))
    }
}

/// Commands the driver buffers before it writes; its default of 50 is below one batch over many products.
const PIPELINE_BUFFER: usize = 4096;

/// One reply per command of a pipeline.
type Replies = Vec<RedisResult<Value>>;
