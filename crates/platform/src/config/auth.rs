//! Section `[auth]`: who may call. What it means is in [`crate::http::auth`].

use super::{ConfigError, Secret, in_range};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Shortest secret of HS256, bytes: as long as its hash (RFC 7518, section 3.2).
const SECRET_LENGTH_MIN: usize = 32;

/// Section `[auth]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    /// Whether callers are asked who they are.
    pub mode: AuthMode,
    /// Keys by their SHA-256, one text each: `service HASH`, `admin HASH`, `customer HASH BUYER`.
    pub keys: Vec<String>,
    /// A file with more of them, one per line; empty: none.
    pub keys_file: PathBuf,
    /// Who may read the metrics without a key.
    pub metrics: MetricsReaders,
    /// Tokens beside keys.
    pub jwt: JwtConfig,
}

/// Whether callers are asked who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Nobody is asked; only on loopback.
    Off,
    /// Everybody, but for what is open.
    On,
}

/// Who may read `/metrics` of the admin listener without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsReaders {
    /// Who comes from this machine.
    Loopback,
    /// Everybody who reaches the listener.
    Everybody,
    /// Nobody: an admin key is needed.
    Nobody,
}

/// Section `[auth.jwt]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// The one algorithm that is accepted, whatever a token says of itself.
    pub algorithm: JwtAlgorithm,
    /// The secret of HS256.
    pub secret: Secret,
    /// The issuer's public key for RS256, PEM.
    pub public_key_file: PathBuf,
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must have.
    pub audience: String,
    /// How far clocks may differ, s, 0..=300.
    pub leeway_s: u64,
}

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum JwtAlgorithm {
    /// No tokens, keys only.
    #[serde(rename = "none")]
    None,
    /// With a secret that both sides have.
    HS256,
    /// With an RSA key that only the issuer has.
    RS256,
}

impl AuthConfig {
    /// As shipped: nobody is asked, and only loopback is served.
    #[must_use]
    pub fn off() -> Self {
        Self {
            mode: AuthMode::Off,
            keys: Vec::new(),
            keys_file: PathBuf::new(),
            metrics: MetricsReaders::Loopback,
            jwt: JwtConfig {
                algorithm: JwtAlgorithm::None,
                secret: Secret::new(""),
                public_key_file: PathBuf::new(),
                issuer: String::new(),
                audience: String::new(),
                leeway_s: 30,
            },
        }
    }

    /// Checks what can be checked without reading files.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] naming the first key that is wrong; never shows a secret.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for line in &self.keys {
            crate::http::auth::parse_key(line).map_err(|allowed| wrong("auth.keys", "a line", allowed))?;
        }
        let no_keys = self.keys.is_empty() && self.keys_file.as_os_str().is_empty();
        if self.mode == AuthMode::On && no_keys && self.jwt.algorithm == JwtAlgorithm::None {
            let allowed = "at least one key, here or in auth.keys_file, or tokens by auth.jwt.algorithm";
            return Err(wrong("auth.keys", "empty while auth.mode is on", allowed));
        }
        self.jwt.validate()
    }
}

impl JwtConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        in_range("auth.jwt.leeway_s", self.leeway_s, 0..=300)?;
        if self.algorithm == JwtAlgorithm::None {
            return Ok(());
        }
        for (key, text) in [
            ("auth.jwt.issuer", &self.issuer),
            ("auth.jwt.audience", &self.audience),
        ] {
            if text.is_empty() {
                return Err(wrong(key, "empty", "a text that every token must have"));
            }
        }
        let secret = self.secret.expose().len();
        if self.algorithm == JwtAlgorithm::HS256 && secret < SECRET_LENGTH_MIN {
            let value = format!("{secret} bytes long");
            return Err(wrong("auth.jwt.secret", &value, "32 random bytes or more"));
        }
        if self.algorithm == JwtAlgorithm::RS256 && self.public_key_file.as_os_str().is_empty() {
            return Err(wrong("auth.jwt.public_key_file", "empty", "a PEM file"));
        }
        Ok(())
    }
}

pub(crate) fn wrong(key: &str, value: &str, allowed: &str) -> ConfigError {
    ConfigError::OutOfRange {
        key: key.to_owned(),
        value: value.to_owned(),
        allowed: allowed.to_owned(),
    }
}
