//! The configuration: `config/order-service.toml` is built in and documents every key; a file, the environment and
//! flags go before it.

use contracts::order::Flow;
use platform::amqp::{self, AmqpError, Broker};
use platform::config::{
    AuthConfig, ConfigError, ConsoleConfig, DatabaseConfig, LogConfig, Secret, ServerConfig, TelemetryConfig,
    http_peer, in_range, load,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The shipped file: the defaults, and their documentation.
const DEFAULTS: &str = include_str!("../../config/order-service.toml");

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Listeners and shutdown.
    pub server: ServerConfig,
    /// Who may call.
    pub auth: AuthConfig,
    /// Log lines.
    pub log: LogConfig,
    /// Metrics and traces.
    pub telemetry: TelemetryConfig,
    /// Postgres.
    pub database: DatabaseConfig,
    /// product-service over HTTP.
    pub product: ProductConfig,
    /// Orders.
    pub orders: OrdersConfig,
    /// The saga.
    pub saga: SagaConfig,
    /// Messages.
    pub rabbitmq: RabbitMqConfig,
    /// Messages stored.
    pub outbox: OutboxConfig,
    /// The operators' page.
    pub console: ConsoleConfig,
}

/// Section `[rabbitmq]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RabbitMqConfig {
    /// `amqp://user:password@host:port/virtual-host`, or `amqps://` for TLS.
    pub url: Secret,
    /// Who may have signed the broker's certificate; empty: anybody on Mozilla's list.
    pub ca_file: PathBuf,
    /// Results under way at once, 1..=10000.
    pub prefetch: u16,
    /// Longest wait for the broker to confirm a batch, ms, 100..=1500.
    pub confirm_timeout_ms: u64,
}

/// Section `[outbox]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxConfig {
    /// Messages per batch at most, 1..=5000.
    pub batch_max: i64,
    /// How often the relay looks when nobody wakes it, ms, 10..=60000.
    pub poll_ms: u64,
    /// Failures after which a message is DEAD, 1..=1000.
    pub attempts_max: i32,
    /// First pause after a failure, ms, 1..=60000.
    pub retry_ms: u64,
    /// Longest pause, ms, 1..=3600000.
    pub retry_max_ms: u64,
    /// How long sent messages are kept, s, 0..=31536000.
    pub keep_s: i64,
}

/// Section `[product]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProductConfig {
    /// `http://host:port` or `https://host:port`.
    pub url: Secret,
    /// Who may have signed its certificate; empty: anybody on Mozilla's list.
    pub ca_file: PathBuf,
    /// Its key of role service; empty: none is shown.
    pub key: Secret,
    /// Longest wait for one answer, ms, 10..=60000.
    pub timeout_ms: u64,
    /// Longest wait for a connection, ms, 1..=60000.
    pub connect_timeout_ms: u64,
}

/// Section `[orders]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OrdersConfig {
    /// The flow of paths without a version.
    pub default_flow: Version,
    /// Orders, and conclusions about them, that may wait to be written, 1..=1000000.
    pub queue_capacity: usize,
    /// Of those, per transaction at most, 1..=10000.
    pub flush_max: usize,
    /// Longest transaction, ms, 100..=60000.
    pub transaction_limit_ms: u64,
    /// Requests of v1 that may be under way, 1..=100000.
    pub in_flight_max: usize,
    /// Clients that may watch orders, 1..=100000.
    pub viewers_max: usize,
    /// How long a product is believed to be sold out, ms, 0..=60000.
    pub sold_out_ttl_ms: u64,
}

/// A version of the order API, which is a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// Synchronous.
    V1,
    /// Asynchronous.
    V2,
}

impl Version {
    /// The flow it stands for.
    #[must_use]
    pub const fn flow(self) -> Flow {
        match self {
            Self::V1 => Flow::Sync,
            Self::V2 => Flow::Async,
        }
    }
}

/// Section `[saga]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SagaConfig {
    /// First pause between two tries, ms, 1..=60000.
    pub retry_ms: u64,
    /// Longest pause, ms, 1..=3600000.
    pub retry_max_ms: u64,
    /// Tries of a decrease by recovery, 1..=1000.
    pub tries_max: i32,
    /// Steps that recovery works at, at once, 1..=1000.
    pub concurrency: usize,
    /// How long a step taken up is left to whoever has it, ms, 100..=600000.
    pub lease_ms: u64,
    /// How long an order of v2 may be PENDING before it is asked again, ms, 100..=86400000.
    pub pending_deadline_ms: u64,
}

impl Config {
    /// Defaults, then `file`, then the environment, then `overrides` of the form `section.key=value`; all checked.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key that is unknown, of the wrong type or out of range.
    pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Self, ConfigError> {
        let config: Self = load(DEFAULTS, file, overrides)?;
        config.server.validate()?;
        config.auth.validate()?;
        config.log.validate()?;
        config.telemetry.validate()?;
        config.database.validate()?;
        config.product.validate()?;
        config.orders.validate()?;
        config.saga.validate()?;
        config.rabbitmq.validate()?;
        config.outbox.validate()?;
        config.console.validate()?;
        Ok(config)
    }

    /// The database section as queues and workers use it: connections of their own, so that listings never keep an order
    /// waiting.
    #[must_use]
    pub fn writing_database(&self) -> DatabaseConfig {
        DatabaseConfig {
            pool_size: WRITERS,
            ..self.database.clone()
        }
    }
}

/// Who writes: placing, concluding, recovery, the relay; who listens for it; and one to spare.
const WRITERS: usize = 6;

impl RabbitMqConfig {
    /// How to connect. Reads the authorities.
    ///
    /// # Errors
    /// [`AmqpError`] when they or the URL cannot be used.
    pub fn broker(&self) -> Result<Broker, AmqpError> {
        Broker::new(&self.url, &self.ca_file)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        amqp::validate(&self.url, &self.ca_file)?;
        in_range("rabbitmq.prefetch", self.prefetch, 1..=10_000)?;
        // The relay's transaction waits for it, and Postgres ends one that is idle for 2 s.
        in_range("rabbitmq.confirm_timeout_ms", self.confirm_timeout_ms, 100..=1500)
    }
}

impl OutboxConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        in_range("outbox.batch_max", self.batch_max, 1..=5000)?;
        in_range("outbox.poll_ms", self.poll_ms, 10..=60_000)?;
        in_range("outbox.attempts_max", self.attempts_max, 1..=1000)?;
        in_range("outbox.retry_ms", self.retry_ms, 1..=60_000)?;
        in_range("outbox.retry_max_ms", self.retry_max_ms, 1..=3_600_000)?;
        in_range("outbox.keep_s", self.keep_s, 0..=31_536_000)
    }
}

impl ProductConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        http_peer("product.url", &self.url, "product.ca_file", &self.ca_file)?;
        in_range("product.timeout_ms", self.timeout_ms, 10..=60_000)?;
        in_range("product.connect_timeout_ms", self.connect_timeout_ms, 1..=60_000)
    }
}

impl OrdersConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        in_range("orders.queue_capacity", self.queue_capacity, 1..=1_000_000)?;
        in_range("orders.flush_max", self.flush_max, 1..=10_000)?;
        in_range(
            "orders.transaction_limit_ms",
            self.transaction_limit_ms,
            100..=60_000,
        )?;
        in_range("orders.in_flight_max", self.in_flight_max, 1..=100_000)?;
        in_range("orders.viewers_max", self.viewers_max, 1..=100_000)?;
        in_range("orders.sold_out_ttl_ms", self.sold_out_ttl_ms, 0..=60_000)
    }
}

impl SagaConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        in_range("saga.retry_ms", self.retry_ms, 1..=60_000)?;
        in_range("saga.retry_max_ms", self.retry_max_ms, 1..=3_600_000)?;
        in_range("saga.tries_max", self.tries_max, 1..=1000)?;
        in_range("saga.concurrency", self.concurrency, 1..=1000)?;
        in_range("saga.lease_ms", self.lease_ms, 100..=600_000)?;
        in_range(
            "saga.pending_deadline_ms",
            self.pending_deadline_ms,
            100..=86_400_000,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_is_complete_and_valid() {
        let config = Config::load(None, &[]).unwrap();
        assert_eq!(config.server.bind.port(), 8080);
        assert!(config.server.admin_bind.ip().is_loopback());
    }

    #[test]
    fn the_keys_and_defaults_operators_see() {
        insta::assert_snapshot!(platform::config::print(&Config::load(None, &[]).unwrap()));
    }

    #[test]
    fn a_value_out_of_range_is_refused() {
        for (flag, named) in [
            ("database.pool_size=0", "database.pool_size"),
            ("product.ca_file=/ca.pem", "product.ca_file"),
            ("rabbitmq.ca_file=/ca.pem", "rabbitmq.ca_file"),
            ("database.url=postgres://h/db?sslmode=prefer", "database.url"),
            ("server.tls.key_file=/key.pem", "server.tls.cert_file"),
        ] {
            let error = Config::load(None, &[flag.to_owned()]).unwrap_err();
            assert!(error.to_string().contains(named), "{flag}: {error}");
        }
    }
}
