//! The servers of a run, and what is started on them for one measurement.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Result, ensure};
use devstack::{
    Durability, Postgres, PostgresOptions, RabbitMq, RabbitMqOptions, Redis, RedisOptions, Service,
    ServiceOptions,
};
use tokio_postgres::{Client, NoTls};

use crate::rivals::Design;

/// Postgres, Redis and, for orders, RabbitMQ: private, and the same for all designs.
pub(crate) struct Stage {
    /// Commits are on disk before they are answered.
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
    pub(crate) rabbitmq: Option<RabbitMq>,
    /// Folder of the services' binaries.
    programs: PathBuf,
}

/// A rival's process. It ends with this value.
pub(crate) struct Rival {
    child: Child,
    /// Its port on this machine.
    pub(crate) port: u16,
}

impl Stage {
    /// Starts the servers.
    pub(crate) async fn start(programs: PathBuf, with_rabbitmq: bool) -> Result<Self> {
        let options = PostgresOptions {
            durability: Durability::Full,
            ..PostgresOptions::default()
        };
        let rabbitmq = async {
            Ok(match with_rabbitmq {
                true => Some(RabbitMq::start(RabbitMqOptions::default()).await?),
                false => None,
            })
        };
        let (postgres, redis, rabbitmq) = tokio::try_join!(
            Postgres::start(options),
            Redis::start(RedisOptions::default()),
            rabbitmq
        )?;
        Ok(Self {
            postgres,
            redis,
            rabbitmq,
            programs,
        })
    }

    /// Starts a service; nobody else may be running.
    pub(crate) async fn service(
        &self,
        name: &str,
        configure: impl FnOnce(ServiceOptions) -> ServiceOptions,
    ) -> Result<Service> {
        let program = self.programs.join(name);
        ensure!(
            program.exists(),
            "{} is missing: cargo build --release -p {name}",
            program.display()
        );
        let options = ServiceOptions::new(name, program).env("HOTSTOCK__LOG__FILTER", "warn");
        Service::start(configure(options)).await
    }

    /// Starts a rival: this program, told to serve.
    pub(crate) async fn rival(&self, design: Design, database: &str, redis: &str) -> Result<Rival> {
        let port = devstack::ports::free_port()?;
        let child = Command::new(std::env::current_exe()?)
            .args(["serve", design.word(), "--bind", &format!("127.0.0.1:{port}")])
            .args(["--database", database, "--redis", redis])
            .spawn()?;
        let rival = Rival { child, port };
        devstack::wait_for(design.word(), Duration::from_secs(10), || async {
            let connected = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
            connected.map(drop).map_err(|error| error.to_string())
        })
        .await?;
        Ok(rival)
    }

    /// Removes a database and everything in it.
    pub(crate) async fn drop_database(&self, url: &str) -> Result<()> {
        let name = url.rsplit('/').next().unwrap_or_default();
        let client = connect(&self.postgres.url("postgres")).await?;
        client
            .batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
            .await?;
        Ok(())
    }

    /// What the measurement begins with: no dirty pages of the one before.
    pub(crate) async fn settle(&self) -> Result<()> {
        let client = connect(&self.postgres.url("postgres")).await?;
        client.batch_execute("CHECKPOINT").await?;
        Ok(())
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A connection for preparing and checking.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // Ends with the client.
    tokio::spawn(connection);
    Ok(client)
}

/// Likewise.
pub(crate) async fn redis_connection(url: &str) -> Result<redis::aio::MultiplexedConnection> {
    Ok(redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?)
}
