//! The configuration: `config/order-service.toml` is built in and documents every key; a file, the environment and
//! flags go before it.

use platform::config::{ConfigError, DatabaseConfig, LogConfig, ServerConfig, load};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The shipped file: the defaults, and their documentation.
const DEFAULTS: &str = include_str!("../../config/order-service.toml");

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Listeners and shutdown.
    pub server: ServerConfig,
    /// Log lines.
    pub log: LogConfig,
    /// Postgres.
    pub database: DatabaseConfig,
}

impl Config {
    /// Defaults, then `file`, then the environment, then `overrides` of the form `section.key=value`; all checked.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key that is unknown, of the wrong type or out of range.
    pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Self, ConfigError> {
        let config: Self = load(DEFAULTS, file, overrides)?;
        config.server.validate()?;
        config.log.validate()?;
        config.database.validate()?;
        Ok(config)
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
    fn every_key_of_the_shipped_file_is_commented() {
        let mut before = "";
        for line in DEFAULTS.lines() {
            if line.contains(" = ") && !line.starts_with('#') {
                assert!(before.starts_with("# "), "no comment above `{line}`");
            }
            before = line;
        }
    }

    #[test]
    fn a_value_out_of_range_is_refused() {
        let error = Config::load(None, &["database.pool_size=0".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("database.pool_size"), "{error}");
    }
}
