//! The connection pool to the service's own Postgres, and its migrations.
//!
//! Every wait is bounded: for a free connection, for connecting, for a lock, for a statement, and for a server that
//! no longer acknowledges packets. The session settings are made once per connection, never per transaction.
//!
//! One thing is not bounded here: a server process that is stopped while its machine lives acknowledges packets and
//! answers nothing. Whoever must answer in time puts a deadline around the call.

use crate::config::{DatabaseConfig, Secret, postgres_options};
use crate::http::health::HealthBuilder;
use crate::metrics::{self, PoolState, PoolWaits};
use crate::tls::{self, TlsError};
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel::sql_types::{Bool, Text};
use diesel::{ConnectionError, QueryableByName};
use diesel_async::pooled_connection::deadpool::{BuildError, Object, PoolError};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

type Connections = diesel_async::pooled_connection::deadpool::Pool<AsyncPgConnection>;

/// A pool of connections. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    connections: Connections,
    waits: PoolWaits,
}

impl Pool {
    /// A connection. Waits for it at most `database.pool_wait_ms`.
    ///
    /// # Errors
    /// [`PoolError`]: none became free in time, or none could be made.
    pub async fn get(&self) -> Result<Object<AsyncPgConnection>, PoolError> {
        let asked = Instant::now();
        let connection = self.connections.get().await;
        self.waits.waited(asked.elapsed(), connection.is_ok());
        connection
    }
}

/// The advisory lock that lets one instance migrate at a time. Locks are per database, so one number serves all.
const MIGRATION_LOCK: i64 = i64::from_be_bytes(*b"hotstock");
const MIGRATION_LOCK_POLL: Duration = Duration::from_millis(200);
/// How long a migration may wait for a table in use: then it fails and can be repeated, instead of blocking everyone
/// who queues up behind it.
const MIGRATION_LOCK_TIMEOUT: &str = "SET lock_timeout = '10s'";
const MIGRATION_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_RETRY: Duration = Duration::from_secs(1);
/// One for each check of [`health_checks`].
const HEALTH_CONNECTIONS: usize = 2;
/// An instance that stops in the middle of a transaction must not keep its row locks for long.
const IDLE_IN_TRANSACTION_TIMEOUT_MS: u64 = 2_000;
/// Our statements look rows up by key and are prepared once per connection. A plan made while a table was empty reads
/// the whole table; without this it would be kept until the next ANALYZE, while the table grows under a sale.
const PLANS_OUTLIVE_SMALL_TABLES: &str = "SET enable_seqscan = off";
/// After this long without an acknowledgement the peer counts as gone (Linux only).
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);

/// Why the database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// `database.url` cannot be parsed. The URL is shown masked.
    #[error("`{0}` is not a Postgres URL")]
    Url(Secret),
    /// The authorities cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The pool could not be built.
    #[error("the connection pool cannot be built: {0}")]
    Build(#[from] BuildError),
    /// No connection in time, or none at all.
    #[error("no connection to Postgres: {0}")]
    Pool(#[from] PoolError),
    /// Connecting failed.
    #[error("cannot connect to Postgres: {0}")]
    Connect(#[from] ConnectionError),
    /// Connecting took too long.
    #[error("connecting to Postgres took longer than {0:?}")]
    ConnectTimeout(Duration),
    /// A statement failed.
    #[error("Postgres refused a statement: {0}")]
    Query(#[from] diesel::result::Error),
    /// A migration failed; it was rolled back, the ones before it stay.
    #[error("a migration failed: {0}")]
    Migration(String),
    /// Migrations are missing; their versions.
    #[error("migrations are missing: {0}")]
    Pending(String),
}

/// Builds the pool; `name` is its label in the metrics. Does not connect yet, so that a service can start before its database and report it missing.
///
/// Connections live on the runtime that calls this, whichever thread asks for one: a connection opened by an HTTP
/// worker would otherwise die with that worker at shutdown, while the queues behind it still drain.
///
/// # Errors
/// [`DatabaseError::Url`], [`DatabaseError::Tls`] or [`DatabaseError::Build`].
///
/// # Panics
/// Outside a tokio runtime.
pub fn pool(name: &'static str, config: &DatabaseConfig) -> Result<Pool, DatabaseError> {
    let connect_timeout = Duration::from_millis(config.connect_timeout_ms);
    let server = Server::new(&config.url, &config.ca_file, connect_timeout)?;
    let settings = format!(
        "SET lock_timeout = {}; SET statement_timeout = {}; \
         SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_TIMEOUT_MS}; {PLANS_OUTLIVE_SMALL_TABLES}",
        config.lock_timeout_ms, config.statement_timeout_ms
    );
    let runtime = Handle::current();
    let mut manager = ManagerConfig::<AsyncPgConnection>::default();
    // No round trip per checkout. A connection whose socket has closed, or that was dropped in the middle of a
    // transaction, is recognised without asking the server and replaced.
    manager.recycling_method = RecyclingMethod::Fast;
    manager.custom_setup = Box::new(move |_url| {
        let (server, settings) = (server.clone(), settings.clone());
        // The time-out is inside the task: the pool's own one would leave the task waiting for ever.
        let opened = runtime.spawn(async move {
            match tokio::time::timeout(connect_timeout, open_with(&server, &settings)).await {
                Ok(opened) => opened,
                Err(_) => Err(ConnectionError::BadConnection(format!(
                    "no answer in {connect_timeout:?}"
                ))),
            }
        });
        Box::pin(async move {
            opened
                .await
                .unwrap_or_else(|stopped| Err(ConnectionError::BadConnection(stopped.to_string())))
        })
    });
    let manager = AsyncDieselConnectionManager::new_with_config(config.url.expose(), manager);
    let connections = Connections::builder(manager)
        .max_size(config.pool_size)
        .wait_timeout(Some(Duration::from_millis(config.pool_wait_ms)))
        .create_timeout(Some(connect_timeout))
        // The most recently used first: its prepared statements are warm.
        .queue_mode(deadpool::managed::QueueMode::Lifo)
        .runtime(deadpool::Runtime::Tokio1)
        .build()?;
    let watched = connections.weak();
    let waits = metrics::pool(name, move || {
        let status = watched.upgrade()?.status();
        Some(PoolState {
            max: status.max_size,
            size: status.size,
            idle: status.available,
            waiting: status.waiting,
        })
    });
    Ok(Pool { connections, waits })
}

/// One round trip to the server, for readiness.
///
/// # Errors
/// [`DatabaseError::Pool`] or [`DatabaseError::Query`].
pub async fn ping(pool: &Pool) -> Result<(), DatabaseError> {
    let mut connection = pool.get().await?;
    connection.batch_execute("SELECT 1").await?;
    Ok(())
}

/// Applies the migrations that are missing and returns their versions, oldest first. `ca_file` is `database.ca_file`.
///
/// Several instances may call this at once: they take turns under an advisory lock, and those that come later find
/// nothing left to do. Each migration is one transaction; if this dies half-way the lock goes with the connection and
/// the next start carries on. The short statement time-out of the pool does not apply. Needs a direct connection: a
/// pooler that shares sessions between transactions would lose the lock.
///
/// # Errors
/// [`DatabaseError`]; a failed migration is rolled back.
pub async fn migrate(
    url: &Secret,
    ca_file: &Path,
    migrations: EmbeddedMigrations,
) -> Result<Vec<String>, DatabaseError> {
    let server = Server::new(url, ca_file, MIGRATION_CONNECT_TIMEOUT)?;
    let mut connection = tokio::time::timeout(MIGRATION_CONNECT_TIMEOUT, open(&server))
        .await
        .map_err(|_| DatabaseError::ConnectTimeout(MIGRATION_CONNECT_TIMEOUT))??;
    connection.batch_execute("SET statement_timeout = 0").await?;
    take_migration_lock(&mut connection).await?;
    connection.batch_execute(MIGRATION_LOCK_TIMEOUT).await?;
    // Diesel's migrations are synchronous inside; a blocking thread lets them run on any kind of runtime.
    let applied = tokio::task::spawn_blocking(move || {
        let mut harness = AsyncMigrationHarness::new(connection);
        let applied = harness
            .run_pending_migrations(migrations)
            .map_err(|error| error.to_string());
        applied.map(|versions| versions.iter().map(MigrationVersion::to_string).collect())
    });
    match applied.await {
        Ok(applied) => applied.map_err(DatabaseError::Migration),
        Err(stopped) => Err(DatabaseError::Migration(stopped.to_string())),
    }
}

/// [`migrate`], but waits for a server that cannot be reached yet: a service may start before its database. It tries
/// once a second and logs why it could not.
///
/// # Errors
/// As [`migrate`], except for failures to connect.
pub async fn migrate_when_reachable(
    url: &Secret,
    ca_file: &Path,
    migrations: fn() -> EmbeddedMigrations,
) -> Result<Vec<String>, DatabaseError> {
    loop {
        match migrate(url, ca_file, migrations()).await {
            Err(error @ (DatabaseError::Connect(_) | DatabaseError::ConnectTimeout(_))) => {
                tracing::warn!(%error, "waiting for the database to migrate it");
                tokio::time::sleep(CONNECT_RETRY).await;
            }
            settled => return settled,
        }
    }
}

/// Adds the critical checks `postgres` (it answers) and `migrations` (none is missing) to the service's health.
///
/// They have connections of their own, so that a pool which is busy selling does not look like a database that is
/// gone: an instance must not be taken out of rotation for being under load.
///
/// # Errors
/// As [`pool`].
///
/// # Panics
/// Outside a tokio runtime.
pub fn health_checks(
    health: HealthBuilder,
    config: &DatabaseConfig,
    migrations: fn() -> EmbeddedMigrations,
) -> Result<HealthBuilder, DatabaseError> {
    let asked = pool(
        "health",
        &DatabaseConfig {
            pool_size: HEALTH_CONNECTIONS,
            ..config.clone()
        },
    )?;
    let asked_too = asked.clone();
    let postgres = move || {
        let asked = asked.clone();
        async move { ping(&asked).await }
    };
    let migrated = move || {
        let asked = asked_too.clone();
        async move {
            let missing = pending(&asked, &migrations()).await?;
            if missing.is_empty() {
                Ok(())
            } else {
                Err(DatabaseError::Pending(missing.join(", ")))
            }
        }
    };
    Ok(health
        .critical("postgres", postgres)
        .critical("migrations", migrated))
}

/// The versions that are not applied yet, oldest first; empty when the database is ready for this program. Versions
/// the database has beyond ours are fine: a newer program may be rolling out.
///
/// # Errors
/// [`DatabaseError::Pool`] or [`DatabaseError::Query`].
pub async fn pending(pool: &Pool, migrations: &EmbeddedMigrations) -> Result<Vec<String>, DatabaseError> {
    let mut wanted = versions(migrations)?;
    let mut connection = pool.get().await?;
    let table = diesel::sql_query("SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS yes")
        .get_result::<Answer>(&mut connection)
        .await?;
    if table.yes {
        let applied = diesel::sql_query("SELECT version::text AS version FROM __diesel_schema_migrations")
            .load::<Applied>(&mut connection)
            .await?;
        wanted.retain(|version| !applied.iter().any(|row| row.version == *version));
    }
    Ok(wanted)
}

/// Oldest first. A function of its own: migrations cannot be held across an await.
fn versions(migrations: &EmbeddedMigrations) -> Result<Vec<String>, DatabaseError> {
    let known: Vec<Box<dyn Migration<Pg>>> = migrations
        .migrations()
        .map_err(|error| DatabaseError::Migration(error.to_string()))?;
    let mut versions: Vec<String> = known.iter().map(|one| one.name().version().to_string()).collect();
    versions.sort();
    Ok(versions)
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

#[derive(QueryableByName)]
struct Applied {
    #[diesel(sql_type = Text)]
    version: String,
}

/// Waits by asking again rather than inside the server: a session that waits there holds a snapshot, and a
/// `CREATE INDEX CONCURRENTLY` of the instance that has the lock would wait for that snapshot for ever.
async fn take_migration_lock(connection: &mut AsyncPgConnection) -> Result<(), DatabaseError> {
    let mut told = false;
    loop {
        let taken = diesel::sql_query(format!("SELECT pg_try_advisory_lock({MIGRATION_LOCK}) AS yes"))
            .get_result::<Answer>(connection)
            .await?;
        if taken.yes {
            return Ok(());
        }
        if !told {
            tracing::info!("another instance is migrating this database; waiting for it");
            told = true;
        }
        tokio::time::sleep(MIGRATION_LOCK_POLL).await;
    }
}

/// A server, and how to connect to it.
#[derive(Clone)]
struct Server {
    options: tokio_postgres::Config,
    /// `None`: in the clear.
    tls: Option<MakeRustlsConnect>,
}

impl Server {
    fn new(url: &Secret, ca_file: &Path, connect_timeout: Duration) -> Result<Self, DatabaseError> {
        let mut options = connect_options(url)?;
        options.connect_timeout(connect_timeout);
        let tls = match options.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(MakeRustlsConnect::new(tls::client("database.ca_file", ca_file)?)),
        };
        Ok(Self { options, tls })
    }
}

fn connect_options(url: &Secret) -> Result<tokio_postgres::Config, DatabaseError> {
    let mut options = postgres_options(url).ok_or_else(|| DatabaseError::Url(url.clone()))?;
    if options.get_application_name().is_none() {
        let program = std::env::current_exe().ok();
        let name = program
            .as_deref()
            .and_then(|path| path.file_stem())
            .and_then(|name| name.to_str());
        options.application_name(name.unwrap_or("hotstock"));
    }
    options.keepalives_idle(KEEPALIVE_IDLE);
    options.tcp_user_timeout(UNACKNOWLEDGED_TIMEOUT);
    Ok(options)
}

async fn open_with(server: &Server, settings: &str) -> diesel::ConnectionResult<AsyncPgConnection> {
    let mut connection = open(server).await?;
    // Plain `SET` rather than start-up options: connection poolers refuse those they do not know.
    connection
        .batch_execute(settings)
        .await
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

/// Opens a connection; diesel sets its time zone to UTC.
async fn open(server: &Server) -> diesel::ConnectionResult<AsyncPgConnection> {
    let failed = |error: tokio_postgres::Error| ConnectionError::BadConnection(tls::told(&error));
    match server.tls.clone() {
        None => {
            let (client, connection) = server
                .options
                .connect(tokio_postgres::NoTls)
                .await
                .map_err(failed)?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await
        }
        Some(tls) => {
            let (client, connection) = server.options.connect(tls).await.map_err(failed)?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await
        }
    }
}
