//! The configuration: `config/product-service.toml` is built in and documents every key; a file, the environment and
//! flags go before it.

use std::path::{Path, PathBuf};

use platform::amqp::{self, AmqpError, Broker};
use platform::config::{
    AuthConfig, ConfigError, ConsoleConfig, DatabaseConfig, LogConfig, Secret, ServerConfig, TelemetryConfig,
    authorities_of_tls, http_peer, in_range, load,
};
use serde::{Deserialize, Serialize};

/// The shipped file: the defaults, and their documentation.
const DEFAULTS: &str = include_str!("../../config/product-service.toml");

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Listeners and deadlines.
    pub server: ServerConfig,
    /// Who may call.
    pub auth: AuthConfig,
    /// Log lines.
    pub log: LogConfig,
    /// Metrics and traces.
    pub telemetry: TelemetryConfig,
    /// Postgres.
    pub database: DatabaseConfig,
    /// Redis.
    pub redis: RedisConfig,
    /// When Redis is left alone.
    pub breaker: BreakerConfig,
    /// The gate in Redis.
    pub gate: GateConfig,
    /// The decision in Postgres.
    pub ledger: LedgerConfig,
    /// Messages.
    pub rabbitmq: RabbitMqConfig,
    /// What is measured.
    pub metrics: MetricsConfig,
    /// The operators' page.
    pub console: ConsoleConfig,
    /// The public page of a sale.
    pub sale: SaleConfig,
}

/// Section `[metrics]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// Hot products that have series of their own, 0..=1000.
    pub products_max: usize,
}

/// Section `[sale]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SaleConfig {
    /// Browsers that may watch sales at once, 1..=100000.
    pub viewers_max: usize,
    /// order-service's public API.
    pub orders_url: Secret,
    /// Who may have signed its certificate; empty: anybody on Mozilla's list.
    pub ca_file: PathBuf,
    /// Longest wait for its answer, ms, 100..=60000.
    pub orders_timeout_ms: u64,
    /// Orders that may be under way, 1..=100000.
    pub orders_in_flight_max: usize,
}

/// Section `[rabbitmq]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RabbitMqConfig {
    /// `amqp://user:password@host:port/virtual-host`, or `amqps://` for TLS.
    pub url: Secret,
    /// Who may have signed the broker's certificate; empty: anybody on Mozilla's list.
    pub ca_file: PathBuf,
    /// Messages under way at once, 1..=10000.
    pub prefetch: u16,
    /// Longest wait for the broker to confirm a result, ms, 100..=60000.
    pub confirm_timeout_ms: u64,
}

/// Section `[redis]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// `redis://[user:password@]host:port[/db]`, or `rediss://` for TLS.
    pub url: Secret,
    /// Who may have signed the server's certificate; empty: anybody on Mozilla's list.
    pub ca_file: PathBuf,
    /// Longest wait in all, ms, 1..=10000.
    pub timeout_ms: u64,
    /// Connections at most, 2..=1000.
    pub pool_size: usize,
}

/// Section `[breaker]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerConfig {
    /// Failures in a row that open it, 1..=1000.
    pub failures: u32,
    /// An answer that takes this long is a failure, ms, 1..=10000.
    pub slow_ms: u64,
    /// Window of the rate of failures that opens it too, s, 1..=3600.
    pub rate_window_s: u64,
    /// Time until the first probe, ms, 10..=600000.
    pub delay_ms: u64,
    /// Longest time between probes, ms, 10..=3600000.
    pub delay_max_ms: u64,
}

/// Section `[gate]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GateConfig {
    /// Requests that may wait, 1..=1000000.
    pub queue_capacity: usize,
    /// Requests per round trip at most, 1..=2000.
    pub flush_max: usize,
    /// How long a hold may stay unsettled, ms, 1000..=3600000.
    pub hold_ttl_ms: u64,
    /// How long a load may be silent, ms, 100..=600000.
    pub lease_ms: u64,
    /// Life of a product's keys, s, 60..=31536000.
    pub key_ttl_s: u64,
    /// How far back sold ids are remembered by a load, s, 0..=31536000.
    pub replay_window_s: u64,
    /// Facts and releases that may wait, 1..=10000000.
    pub settle_queue_capacity: usize,
}

/// Section `[ledger]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerConfig {
    /// Requests that may wait, 1..=1000000.
    pub queue_capacity: usize,
    /// Requests per transaction at most, 1..=10000.
    pub flush_max: usize,
    /// Products at most that wait for their locked row beside the main lane, 1..=100.
    pub lanes_max: usize,
    /// Longest transaction, ms, 100..=60000.
    pub transaction_limit_ms: u64,
}

const YEAR_S: u64 = 31_536_000;

impl RabbitMqConfig {
    /// How to connect. Reads the authorities.
    ///
    /// # Errors
    /// [`AmqpError`] when they or the URL cannot be used.
    pub fn broker(&self) -> Result<Broker, AmqpError> {
        Broker::new(&self.url, &self.ca_file)
    }
}

impl RedisConfig {
    /// Whether connections are encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.url.expose().starts_with("rediss://")
    }

    fn validate_tls(&self) -> Result<(), ConfigError> {
        let url = url::Url::parse(self.url.expose()).ok();
        let is_known = url
            .as_ref()
            .is_some_and(|url| matches!(url.scheme(), "redis" | "rediss") && url.has_host());
        // The driver's `#insecure` would believe any certificate; others of its words are none of ours.
        if !is_known || url.is_some_and(|url| url.fragment().is_some()) {
            return Err(ConfigError::OutOfRange {
                key: "redis.url".to_owned(),
                value: format!("`{}`", self.url),
                allowed: "a URL such as redis://user:password@host:6379/0, or rediss:// for TLS".to_owned(),
            });
        }
        authorities_of_tls("redis.ca_file", &self.ca_file, self.is_tls(), "rediss://")
    }
}

impl Config {
    /// Defaults, then `file`, then the environment, then `overrides` of the form `section.key=value`; checked.
    ///
    /// # Errors
    /// [`ConfigError`] names the key that is unknown, of the wrong type or out of range.
    pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Self, ConfigError> {
        let config: Self = load(DEFAULTS, file, overrides)?;
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.server.validate()?;
        self.auth.validate()?;
        self.log.validate()?;
        self.telemetry.validate()?;
        self.database.validate()?;
        self.redis.validate_tls()?;
        in_range("redis.timeout_ms", self.redis.timeout_ms, 1..=10_000)?;
        in_range("redis.pool_size", self.redis.pool_size, 2..=1000)?;
        in_range("breaker.failures", self.breaker.failures, 1..=1000)?;
        in_range("breaker.slow_ms", self.breaker.slow_ms, 1..=10_000)?;
        in_range("breaker.rate_window_s", self.breaker.rate_window_s, 1..=3600)?;
        in_range("breaker.delay_ms", self.breaker.delay_ms, 10..=600_000)?;
        in_range("breaker.delay_max_ms", self.breaker.delay_max_ms, 10..=3_600_000)?;
        in_range("gate.queue_capacity", self.gate.queue_capacity, 1..=1_000_000)?;
        in_range("gate.flush_max", self.gate.flush_max, 1..=2000)?;
        in_range("gate.hold_ttl_ms", self.gate.hold_ttl_ms, 1000..=3_600_000)?;
        in_range("gate.lease_ms", self.gate.lease_ms, 100..=600_000)?;
        in_range("gate.key_ttl_s", self.gate.key_ttl_s, 60..=YEAR_S)?;
        in_range("gate.replay_window_s", self.gate.replay_window_s, 0..=YEAR_S)?;
        in_range(
            "gate.settle_queue_capacity",
            self.gate.settle_queue_capacity,
            1..=10_000_000,
        )?;
        in_range("ledger.queue_capacity", self.ledger.queue_capacity, 1..=1_000_000)?;
        in_range("ledger.flush_max", self.ledger.flush_max, 1..=10_000)?;
        in_range("ledger.lanes_max", self.ledger.lanes_max, 1..=100)?;
        in_range(
            "ledger.transaction_limit_ms",
            self.ledger.transaction_limit_ms,
            100..=60_000,
        )?;
        in_range("metrics.products_max", self.metrics.products_max, 0..=1000)?;
        amqp::validate(&self.rabbitmq.url, &self.rabbitmq.ca_file)?;
        in_range("rabbitmq.prefetch", self.rabbitmq.prefetch, 1..=10_000)?;
        in_range(
            "rabbitmq.confirm_timeout_ms",
            self.rabbitmq.confirm_timeout_ms,
            100..=60_000,
        )?;
        self.console.validate()?;
        in_range("sale.viewers_max", self.sale.viewers_max, 1..=100_000)?;
        http_peer(
            "sale.orders_url",
            &self.sale.orders_url,
            "sale.ca_file",
            &self.sale.ca_file,
        )?;
        in_range(
            "sale.orders_timeout_ms",
            self.sale.orders_timeout_ms,
            100..=60_000,
        )?;
        in_range(
            "sale.orders_in_flight_max",
            self.sale.orders_in_flight_max,
            1..=100_000,
        )
    }

    /// The database section as the decisions use it: connections of their own, so that listings and loads never keep
    /// a sale waiting. One for the main lane, one for each lane beside it.
    #[must_use]
    pub fn decision_database(&self) -> DatabaseConfig {
        DatabaseConfig {
            pool_size: self.ledger.lanes_max + 1,
            ..self.database.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_is_valid_and_complete() {
        let config = Config::load(None, &[]).expect("the shipped file");
        assert_eq!(config.server.body_limit_bytes, 16_384);
    }

    /// A changed default shows here as a change of a committed file.
    #[test]
    fn the_keys_and_defaults_operators_see() {
        let config = Config::load(None, &[]).expect("the shipped file");
        insta::assert_snapshot!(platform::config::print(&config));
    }

    #[test]
    fn a_wrong_key_is_named() {
        for (flag, named) in [
            ("gate.flush_max=2001", "gate.flush_max"),
            ("gate.flush_mx=1", "flush_mx"),
            ("redis.timeout_ms=soon", "redis.timeout_ms"),
            ("ledger.lanes_max=0", "ledger.lanes_max"),
            ("redis.url=rediss://127.0.0.1/#insecure", "redis.url"),
            ("redis.ca_file=/ca.pem", "redis.ca_file"),
            ("rabbitmq.ca_file=/ca.pem", "rabbitmq.ca_file"),
            ("database.ca_file=/ca.pem", "database.ca_file"),
            ("telemetry.ca_file=/ca.pem", "telemetry.ca_file"),
            ("sale.ca_file=/ca.pem", "sale.ca_file"),
            ("server.tls.cert_file=/cert.pem", "server.tls.key_file"),
        ] {
            let error = Config::load(None, &[flag.to_owned()])
                .expect_err(flag)
                .to_string();
            assert!(error.contains(named), "{flag}: {error}");
        }
    }
}
