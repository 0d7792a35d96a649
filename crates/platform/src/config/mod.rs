//! Configuration in layers: shipped file, own file, environment, flags. The later layer wins.
//!
//! The shipped `config/<service>.toml` is embedded by its service and is the single source of the defaults and of
//! the set of keys: **a key exists if the shipped file has it**. So every key can be documented in one place, and an
//! unknown one is refused by name whichever layer it comes from. This is why the layers are merged here in a few
//! lines rather than by the `config` crate, which lets an unknown key of the environment pass.
//!
//! This module is the only place that reads the environment.

mod auth;
mod layers;
mod secret;
mod sections;
mod tls;

pub(crate) use auth::wrong;
pub use auth::{AuthConfig, AuthMode, JwtAlgorithm, JwtConfig, MetricsReaders};
pub use layers::{ConfigError, load};
pub use secret::Secret;
pub use sections::{
    ConsoleConfig, DatabaseConfig, LimitsConfig, LogConfig, LogFormat, ServerConfig, TelemetryConfig,
    in_range,
};

pub(crate) use tls::postgres_options;
pub use tls::{ServerTlsConfig, authorities_of_tls, http_peer};

use serde::Serialize;

/// The effective configuration as TOML, secrets masked: what `<service> config` prints.
///
/// A value TOML cannot express (none of the sections here has one) gives a comment saying so.
pub fn print<T: Serialize>(config: &T) -> String {
    toml::to_string(config)
        .unwrap_or_else(|error| format!("# the configuration cannot be printed: {error}\n"))
}
