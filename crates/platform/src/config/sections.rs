//! The sections both services have. Field names are the keys; ranges are checked by `validate`.

use super::tls::{ServerTlsConfig, authorities_of_tls, http_peer, postgres_options};
use super::{ConfigError, Secret, wrong};
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::config::SslMode;

/// Checks that `value` lies in `range`.
///
/// # Errors
/// [`ConfigError::OutOfRange`] naming `key` (dotted) and the range.
pub fn in_range<T: PartialOrd + Display>(
    key: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    let allowed = format!("{} to {}", range.start(), range.end());
    Err(ConfigError::OutOfRange {
        key: key.to_owned(),
        value: value.to_string(),
        allowed,
    })
}

/// Section `[server]`: the two listeners.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and port of the public API. Port 0 takes a free one.
    pub bind: SocketAddr,
    /// Address and port of the admin API and the metrics; keep it off public networks.
    pub admin_bind: SocketAddr,
    /// Threads that serve the public API, 0..=1024; 0 is one per core.
    pub workers: usize,
    /// Largest request body, in bytes, 1024..=1048576.
    pub body_limit_bytes: usize,
    /// How long a request may wait for its outcome, in milliseconds, 50..=60000. Kept by the services, not here.
    pub request_deadline_ms: u64,
    /// How long an instance that is told to stop goes on serving while it says that it is not ready, so that balancers
    /// stop sending to it, in milliseconds, 0..=600000.
    pub shutdown_delay_ms: u64,
    /// How long requests in flight may take to end after that, in milliseconds, 0..=600000; rounded up to seconds.
    pub shutdown_grace_ms: u64,
    /// HTTPS.
    pub tls: ServerTlsConfig,
    /// What is turned away at the door.
    pub limits: LimitsConfig,
}

/// Section `[server.limits]`: how much connections, clients and requests may take.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Connections of each listener, 1..=1000000. One more is closed at once.
    pub connections_max: usize,
    /// How long the head of a connection's first request may take, in milliseconds, 100..=600000.
    pub head_timeout_ms: u64,
    /// How long a body may take after its head, in milliseconds, 100..=600000.
    pub body_timeout_ms: u64,
    /// How long a connection may be idle between requests, in milliseconds, 1000..=3600000.
    pub idle_timeout_ms: u64,
    /// Largest head, path and header fields in all, in bytes, 1024..=65536.
    pub head_limit_bytes: usize,
    /// Requests in flight on the public listener, 1..=1000000. Streams of events are not in flight.
    pub in_flight_max: usize,
    /// Requests per second of one client, 0..=1000000; 0: no limit.
    pub requests_per_s: u32,
    /// Requests that a client who has paused may make at once, 1..=1000000.
    pub burst: u32,
}

impl LimitsConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        in_range(
            "server.limits.connections_max",
            self.connections_max,
            1..=1_000_000,
        )?;
        for (key, value, least, most) in [
            (
                "server.limits.head_timeout_ms",
                self.head_timeout_ms,
                100,
                600_000,
            ),
            (
                "server.limits.body_timeout_ms",
                self.body_timeout_ms,
                100,
                600_000,
            ),
            (
                "server.limits.idle_timeout_ms",
                self.idle_timeout_ms,
                1_000,
                3_600_000,
            ),
        ] {
            in_range(key, value, least..=most)?;
        }
        in_range(
            "server.limits.head_limit_bytes",
            self.head_limit_bytes,
            1024..=65_536,
        )?;
        in_range("server.limits.in_flight_max", self.in_flight_max, 1..=1_000_000)?;
        in_range("server.limits.requests_per_s", self.requests_per_s, 0..=1_000_000)?;
        in_range("server.limits.burst", self.burst, 1..=1_000_000)
    }
}

impl ServerConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] naming the first key that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        in_range("server.workers", self.workers, 0..=1024)?;
        in_range("server.body_limit_bytes", self.body_limit_bytes, 1024..=1_048_576)?;
        in_range(
            "server.request_deadline_ms",
            self.request_deadline_ms,
            50..=60_000,
        )?;
        in_range("server.shutdown_delay_ms", self.shutdown_delay_ms, 0..=600_000)?;
        in_range("server.shutdown_grace_ms", self.shutdown_grace_ms, 0..=600_000)?;
        self.limits.validate()?;
        if self.bind == self.admin_bind && self.bind.port() != 0 {
            return Err(ConfigError::OutOfRange {
                key: "server.admin_bind".to_owned(),
                value: self.admin_bind.to_string(),
                allowed: "an address other than server.bind".to_owned(),
            });
        }
        self.tls.validate()
    }

    /// `workers` with 0 resolved to the number of cores.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            workers => workers,
        }
    }

    /// `request_deadline_ms` as a duration.
    pub fn request_deadline(&self) -> Duration {
        Duration::from_millis(self.request_deadline_ms)
    }

    /// `shutdown_delay_ms` as a duration.
    pub fn shutdown_delay(&self) -> Duration {
        Duration::from_millis(self.shutdown_delay_ms)
    }

    /// `shutdown_grace_ms` as a duration.
    pub fn shutdown_grace(&self) -> Duration {
        Duration::from_millis(self.shutdown_grace_ms)
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For a person at a terminal.
    Human,
    /// One JSON object per line.
    Json,
}

/// Section `[log]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// `human` or `json`.
    pub format: LogFormat,
    /// What is logged, in `tracing` directives: `info`, `info,product_service=debug`.
    pub filter: String,
}

/// Section `[telemetry]`: what is measured, and who is told.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Whether metrics are kept. Without them `/metrics` is empty.
    pub metrics: bool,
    /// Where spans go: the OTLP address for traces over HTTP. Empty: nowhere.
    pub otlp_url: Secret,
    /// Who may have signed the collector's certificate; empty: anybody on Mozilla's list.
    pub ca_file: PathBuf,
    /// Share of the requests that begin a trace, 0..=1.
    pub sample_ratio: f64,
}

impl TelemetryConfig {
    /// Checks address and range.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] naming the first key that is wrong; never shows a password.
    pub fn validate(&self) -> Result<(), ConfigError> {
        in_range("telemetry.sample_ratio", self.sample_ratio, 0.0..=1.0)?;
        if self.otlp_url.expose().is_empty() {
            return authorities_of_tls("telemetry.ca_file", &self.ca_file, false, "https://");
        }
        http_peer(
            "telemetry.otlp_url",
            &self.otlp_url,
            "telemetry.ca_file",
            &self.ca_file,
        )
    }
}

impl LogConfig {
    /// Checks that the filter can be parsed.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] naming `log.filter`.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match tracing_subscriber::EnvFilter::try_new(&self.filter) {
            Ok(_) => Ok(()),
            Err(error) => Err(ConfigError::OutOfRange {
                key: "log.filter".to_owned(),
                value: format!("`{}`", self.filter),
                allowed: format!("a list of tracing directives such as `info` ({error})"),
            }),
        }
    }
}

/// Section `[database]`: the service's own Postgres database.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `postgres://user:password@host:port/database`.
    pub url: Secret,
    /// The same database as its owner, to migrate it; empty: as in `url`.
    pub owner_url: Secret,
    /// Who may have signed the server's certificate; empty: anybody on Mozilla's list.
    pub ca_file: PathBuf,
    /// Connections at most, 1..=1000.
    pub pool_size: usize,
    /// How long a caller waits for a free connection, in milliseconds, 1..=60000.
    pub pool_wait_ms: u64,
    /// How long a statement waits for a row lock, in milliseconds, 1..=60000.
    pub lock_timeout_ms: u64,
    /// How long a statement may run, in milliseconds, 1..=600000.
    pub statement_timeout_ms: u64,
    /// How long connecting may take, in milliseconds, 1..=60000.
    pub connect_timeout_ms: u64,
}

impl DatabaseConfig {
    /// Where migrations connect: as the owner of the tables, if there is one beside the user of every day.
    #[must_use]
    pub fn migration_url(&self) -> &Secret {
        if self.owner_url.expose().is_empty() {
            &self.url
        } else {
            &self.owner_url
        }
    }

    /// Checks every range, and that the URL can be parsed.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] naming the first key that is wrong; never shows the password.
    pub fn validate(&self) -> Result<(), ConfigError> {
        in_range("database.pool_size", self.pool_size, 1..=1000)?;
        in_range("database.pool_wait_ms", self.pool_wait_ms, 1..=60_000)?;
        in_range("database.lock_timeout_ms", self.lock_timeout_ms, 1..=60_000)?;
        in_range(
            "database.statement_timeout_ms",
            self.statement_timeout_ms,
            1..=600_000,
        )?;
        in_range("database.connect_timeout_ms", self.connect_timeout_ms, 1..=60_000)?;
        for (key, url) in [
            ("database.url", &self.url),
            ("database.owner_url", self.migration_url()),
        ] {
            let Some(options) = postgres_options(url) else {
                let allowed = "a URL such as postgres://user:password@host:5432/database; after it, for TLS, \
                               ?sslmode=require or verify-full (which are the same here; prefer, allow and verify-ca are none)";
                return Err(wrong(key, &format!("`{url}`"), allowed));
            };
            let is_tls = options.get_ssl_mode() != SslMode::Disable;
            authorities_of_tls("database.ca_file", &self.ca_file, is_tls, "?sslmode=require")?;
        }
        Ok(())
    }
}

/// Section `[console]`: the operators' page.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConsoleConfig {
    /// Browsers that may watch at once, 1..=1000.
    pub viewers_max: usize,
    /// Where the other service's console is, as browsers reach it; empty: no link.
    pub other_url: String,
}

impl ConsoleConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] naming the key that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        in_range("console.viewers_max", self.viewers_max, 1..=1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ServerConfig {
        ServerConfig {
            bind: ([127, 0, 0, 1], 80).into(),
            admin_bind: ([127, 0, 0, 1], 81).into(),
            workers: 0,
            body_limit_bytes: 16_384,
            request_deadline_ms: 1_000,
            shutdown_delay_ms: 0,
            shutdown_grace_ms: 10_000,
            tls: ServerTlsConfig::off(),
            limits: LimitsConfig {
                connections_max: 100,
                head_timeout_ms: 5_000,
                body_timeout_ms: 5_000,
                idle_timeout_ms: 75_000,
                head_limit_bytes: 16_384,
                in_flight_max: 100,
                requests_per_s: 0,
                burst: 100,
            },
        }
    }

    fn database() -> DatabaseConfig {
        DatabaseConfig {
            url: "postgres://user:pa55@localhost/db".into(),
            owner_url: "".into(),
            ca_file: PathBuf::new(),
            pool_size: 8,
            pool_wait_ms: 100,
            lock_timeout_ms: 200,
            statement_timeout_ms: 1_000,
            connect_timeout_ms: 1_000,
        }
    }

    #[test]
    fn sensible_sections_are_valid() {
        server().validate().unwrap();
        database().validate().unwrap();
        LogConfig {
            format: LogFormat::Json,
            filter: "info,actix_web=warn".into(),
        }
        .validate()
        .unwrap();
        assert!(server().worker_count() >= 1);
    }

    #[test]
    fn a_value_out_of_range_is_named_with_its_range() {
        let error = ServerConfig {
            workers: 5_000,
            ..server()
        }
        .validate()
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "key `server.workers` is 5000, allowed is 0 to 1024"
        );
        let error = DatabaseConfig {
            pool_size: 0,
            ..database()
        }
        .validate()
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "key `database.pool_size` is 0, allowed is 1 to 1000"
        );
        let error = ServerConfig {
            admin_bind: server().bind,
            ..server()
        }
        .validate()
        .unwrap_err();
        assert!(error.to_string().contains("server.admin_bind"), "{error}");
        let error = LogConfig {
            format: LogFormat::Human,
            filter: "info,=".into(),
        }
        .validate()
        .unwrap_err();
        assert!(error.to_string().contains("log.filter"), "{error}");
    }

    #[test]
    fn a_bad_database_url_is_refused_without_its_password() {
        let url = "postgres://user:pa55@localhost:notaport/db".into();
        let error = DatabaseConfig { url, ..database() }
            .validate()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("database.url") && !error.contains("pa55"),
            "{error}"
        );
    }

    #[test]
    fn the_printed_configuration_hides_the_password_and_can_be_read_again() {
        let text = super::super::print(&database());
        assert!(
            text.contains("postgres://user:***@localhost/db") && !text.contains("pa55"),
            "{text}"
        );
        let again: DatabaseConfig = toml::from_str(&text).unwrap();
        assert_eq!(again.pool_size, 8);
    }
}
