//! What can be done to a server of a stack, and undone. `cargo dev chaos` offers it by name.
//!
//! A harm that was begun and not ended leaves a server frozen or dead: whoever begins one has to see to its end.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::Signal;
use crate::servers::{Postgres, RabbitMq, Redis, Server};
use crate::service::Service;
use crate::tls;
use crate::wait::wait_for;

/// An instance cannot start while its database is away; the database comes back within this.
const REVIVE_TIMEOUT: Duration = Duration::from_secs(60);
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);

/// Harm to one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// kill -9 Redis; it comes back empty
    RedisKill,
    /// Freeze Redis: it accepts connections and says nothing
    RedisFreeze,
    /// Empty Redis, once
    RedisFlush,
    /// kill -9 Redis at the end; it comes back with a copy from the beginning
    RedisOldCopy,
    /// kill -9 Postgres with all its sessions; it comes back with what it had committed
    PostgresKill,
    /// Freeze Postgres
    PostgresFreeze,
    /// End every session of the product database, once
    PostgresSessions,
    /// kill -9 RabbitMQ; it comes back with what it had on disk
    RabbitmqKill,
    /// Freeze RabbitMQ
    RabbitmqFreeze,
    /// kill -9 an instance of product-service
    InstanceKill,
    /// Freeze an instance of product-service
    InstanceFreeze,
}

/// The servers that can be harmed.
#[derive(Clone)]
pub struct Servers {
    /// The gate's Redis, unless the stack runs without one.
    pub redis: Option<Redis>,
    /// The broker between the services, unless the stack runs without one.
    pub rabbitmq: Option<RabbitMq>,
    /// The database server.
    pub postgres: Postgres,
    /// Database of product-service.
    pub database_url: String,
    /// Instances of product-service.
    pub instances: Vec<Service>,
}

impl Harm {
    /// Its name on the command line, such as `redis-kill`.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether it is about an instance, and one has to be named.
    #[must_use]
    pub fn is_of_instance(self) -> bool {
        matches!(self, Self::InstanceKill | Self::InstanceFreeze)
    }

    /// The server it is about. An error if the stack has none of it.
    pub fn server(self, servers: &Servers, instance: usize) -> Result<Server> {
        Ok(match self {
            Self::RedisKill | Self::RedisFreeze | Self::RedisFlush | Self::RedisOldCopy => {
                Server::clone(redis(servers)?)
            }
            Self::PostgresKill | Self::PostgresFreeze | Self::PostgresSessions => {
                Server::clone(&servers.postgres)
            }
            Self::RabbitmqKill | Self::RabbitmqFreeze => {
                let rabbitmq = servers.rabbitmq.as_ref();
                Server::clone(rabbitmq.context("this stack runs without RabbitMQ")?)
            }
            Self::InstanceKill | Self::InstanceFreeze => {
                let instance = servers.instances.get(instance).with_context(|| {
                    let instances = servers.instances.len();
                    format!(
                        "there is no instance {} of product-service, only {instances}",
                        instance + 1
                    )
                })?;
                Server::clone(instance)
            }
        })
    }

    /// Does it; returns when it is done, with how much was hit: 0 when there was nothing to harm.
    pub async fn begin(self, servers: &Servers, instance: usize) -> Result<u64> {
        let server = self.server(servers, instance)?;
        match self {
            Self::RedisKill | Self::PostgresKill | Self::RabbitmqKill | Self::InstanceKill => {
                server.kill()?;
                Ok(1)
            }
            Self::RedisFreeze | Self::PostgresFreeze | Self::RabbitmqFreeze | Self::InstanceFreeze => {
                server.signal(Signal::STOP)?;
                Ok(1)
            }
            Self::RedisFlush => {
                let url = redis(servers)?.url();
                let keys = ask_redis(&url, &["DBSIZE"]).await?;
                ask_redis::<String>(&url, &["FLUSHALL"]).await?;
                Ok(keys)
            }
            Self::RedisOldCopy => {
                let url = redis(servers)?.url();
                let keys = ask_redis(&url, &["DBSIZE"]).await?;
                ask_redis::<String>(&url, &["SAVE"]).await?;
                Ok(keys)
            }
            Self::PostgresSessions => end_sessions(&servers.database_url).await,
        }
    }

    /// Undoes it; returns when the server answers again, on the same port.
    pub async fn end(self, servers: &Servers, instance: usize) -> Result<()> {
        let server = self.server(servers, instance)?;
        match self {
            Self::RedisKill | Self::PostgresKill | Self::RabbitmqKill | Self::InstanceKill => {
                revive(&server).await
            }
            Self::RedisFreeze | Self::PostgresFreeze | Self::RabbitmqFreeze | Self::InstanceFreeze => {
                server.signal(Signal::CONT)
            }
            Self::RedisFlush | Self::PostgresSessions => Ok(()),
            Self::RedisOldCopy => {
                server.kill()?;
                let revived = revive(&server).await;
                // Whatever happens: the next death has to find no copy.
                let copy = redis(servers)?.data_dir().join("dump.rdb");
                std::fs::remove_file(&copy).with_context(|| format!("cannot remove {}", copy.display()))?;
                revived
            }
        }
    }
}

fn redis(servers: &Servers) -> Result<&Redis> {
    servers.redis.as_ref().context("this stack runs without Redis")
}

async fn revive(server: &Server) -> Result<()> {
    wait_for("the server to start again", REVIVE_TIMEOUT, || async {
        server.restart().await.map_err(|error| format!("{error:#}"))
    })
    .await
}

/// One command to a Redis.
async fn ask_redis<T: redis::FromRedisValue>(url: &str, command: &[&str]) -> Result<T> {
    let client = tls::redis(url)?;
    let ask = async {
        let mut connection = client.get_multiplexed_async_connection().await?;
        let request = redis::cmd(command[0]).arg(&command[1..]).to_owned();
        request.query_async(&mut connection).await
    };
    let answer: redis::RedisResult<T> = tokio::time::timeout(REDIS_TIMEOUT, ask)
        .await
        .with_context(|| format!("Redis does not answer {command:?}"))?;
    answer.with_context(|| format!("Redis refuses {command:?}"))
}

/// Ends every other session of a database; returns how many there were.
async fn end_sessions(database_url: &str) -> Result<u64> {
    const END_SESSIONS: &str = "-- end_sessions\n\
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let (client, connection) = tokio_postgres::connect(database_url, tls::postgres()).await?;
    let connection = tokio::spawn(connection);
    let ended = client.query(END_SESSIONS, &[]).await;
    drop(client);
    let _ = connection.await;
    Ok(ended?.len() as u64)
}
