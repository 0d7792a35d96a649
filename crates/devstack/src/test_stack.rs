//! What an integration test of product-service starts with: an empty database and an empty Redis.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::books::{self, ProductBooks};
use crate::servers::{Postgres, PostgresOptions, Redis, RedisOptions, shared_postgres, shared_redis};
use crate::service::ServiceOptions;

/// A database and a Redis that belong to one test.
#[derive(Clone)]
pub struct TestStack {
    /// The server the database is on.
    pub postgres: Postgres,
    /// The server the Redis database is on.
    pub redis: Redis,
    /// Url of the test's own, empty database.
    pub database_url: String,
    /// Url of the test's own, empty Redis database.
    pub redis_url: String,
}

impl TestStack {
    /// Fresh databases on the servers that all tests of this process share: cheap. Do not harm the servers.
    pub async fn shared() -> Result<Self> {
        let (postgres, redis) = tokio::try_join!(shared_postgres(), shared_redis())?;
        Self::on(postgres.clone(), redis.clone()).await
    }

    /// Servers of its own, for a test that kills, freezes or fills them.
    pub async fn private() -> Result<Self> {
        let (postgres, redis) = tokio::try_join!(
            Postgres::start(PostgresOptions::default()),
            Redis::start(RedisOptions::default())
        )?;
        Self::on(postgres, redis).await
    }

    /// Options of a service on these stores; start as many instances as wanted from clones of them.
    #[must_use]
    pub fn service(&self, name: &str, program: impl AsRef<Path>) -> ServiceOptions {
        ServiceOptions::new(name, program.as_ref())
            .database_url(&self.database_url)
            .redis_url(&self.redis_url)
    }

    /// The books of some products, as they are now.
    pub async fn audit(&self, product_ids: &[i64]) -> Result<Vec<ProductBooks>> {
        books::audit(&self.database_url, Some(&self.redis_url), product_ids).await
    }

    /// Waits until the books of some products balance; fails with what is wrong.
    pub async fn wait_until_balanced(
        &self,
        product_ids: &[i64],
        timeout: Duration,
    ) -> Result<Vec<ProductBooks>> {
        books::wait_until_balanced(&self.database_url, Some(&self.redis_url), product_ids, timeout).await
    }

    /// Request ids under which orders took units of these products, by the ledger.
    pub async fn sold_request_ids(&self, product_ids: &[i64]) -> Result<HashSet<String>> {
        books::sold_request_ids(&self.database_url, product_ids).await
    }

    async fn on(postgres: Postgres, redis: Redis) -> Result<Self> {
        let database_url = postgres.create_unique_database("product").await?;
        let redis_url = redis.create_database()?;
        Ok(Self {
            postgres,
            redis,
            database_url,
            redis_url,
        })
    }
}
