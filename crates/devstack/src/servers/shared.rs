//! One Postgres, one Redis and one RabbitMQ for all tests of a process.
//!
//! They belong to no runtime, since every `#[tokio::test]` has its own, and nobody has to drop them: they end with
//! the process. Each test takes a database of its own on them; a test that kills a server starts a private one.

use std::sync::OnceLock;

use anyhow::{Result, anyhow};

use super::postgres::{Postgres, PostgresOptions};
use super::rabbitmq::{RabbitMq, RabbitMqOptions};
use super::redis::{Redis, RedisOptions};

static POSTGRES: OnceLock<Result<Postgres, String>> = OnceLock::new();
static REDIS: OnceLock<Result<Redis, String>> = OnceLock::new();
static RABBITMQ: OnceLock<Result<RabbitMq, String>> = OnceLock::new();

/// The process' shared Postgres, started by the first caller. If it is not installed the error says what installs it.
pub async fn shared_postgres() -> Result<&'static Postgres> {
    shared(
        &POSTGRES,
        || Postgres::start_blocking(&PostgresOptions::default()),
    )
    .await
}

/// The process' shared Redis, started by the first caller. If it is not installed the error says what installs it.
pub async fn shared_redis() -> Result<&'static Redis> {
    shared(&REDIS, || Redis::start_blocking(&RedisOptions::default())).await
}

/// The process' shared RabbitMQ, started by the first caller. If it is not installed the error says what installs it.
pub async fn shared_rabbitmq() -> Result<&'static RabbitMq> {
    shared(
        &RABBITMQ,
        || RabbitMq::start_blocking(&RabbitMqOptions::default()),
    )
    .await
}

async fn shared<T: Send + Sync>(
    cell: &'static OnceLock<Result<T, String>>,
    start: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<&'static T> {
    let started = tokio::task::spawn_blocking(|| {
        cell.get_or_init(|| start().map_err(|error| format!("{error:#}")))
            .as_ref()
    });
    started.await?.map_err(|error| anyhow!(error.clone()))
}
