//! What the configuration says of TLS: the certificate of the listeners, and which connections are encrypted.

use super::{ConfigError, Secret, wrong};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tokio_postgres::config::SslMode;

/// Section `[server.tls]`: HTTPS on the listeners.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTlsConfig {
    /// The certificate and those between it and its authority, PEM; empty: plain HTTP.
    pub cert_file: PathBuf,
    /// The certificate's private key, PEM.
    pub key_file: PathBuf,
    /// Whether the admin listener is encrypted too.
    pub admin: bool,
}

impl ServerTlsConfig {
    /// Plain HTTP.
    #[must_use]
    pub fn off() -> Self {
        Self {
            cert_file: PathBuf::new(),
            key_file: PathBuf::new(),
            admin: true,
        }
    }

    /// Whether there is a certificate.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !is_empty(&self.cert_file)
    }

    /// Checks that there are both files or none, without reading them.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] naming the key that is missing.
    pub fn validate(&self) -> Result<(), ConfigError> {
        match (self.is_on(), !is_empty(&self.key_file)) {
            (true, false) => Err(wrong(
                "server.tls.key_file",
                "empty",
                "the key of server.tls.cert_file",
            )),
            (false, true) => Err(wrong(
                "server.tls.cert_file",
                "empty",
                "the certificate of server.tls.key_file",
            )),
            _ => Ok(()),
        }
    }
}

fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

/// Refuses authorities beside a connection that is not encrypted: whoever names them means that it is. `how` is what
/// makes it so.
///
/// # Errors
/// [`ConfigError::OutOfRange`] naming `key`.
pub fn authorities_of_tls(key: &str, ca_file: &Path, is_tls: bool, how: &str) -> Result<(), ConfigError> {
    if is_tls || is_empty(ca_file) {
        return Ok(());
    }
    let value = format!("`{}` while the connection is not encrypted", ca_file.display());
    Err(wrong(
        key,
        &value,
        &format!("nothing, or a file beside a URL with {how}"),
    ))
}

/// Checks where another program is asked over HTTP, and `ca_file` beside it.
///
/// # Errors
/// [`ConfigError::OutOfRange`] naming the key that is wrong; never shows a password.
pub fn http_peer(key: &str, url: &Secret, ca_key: &str, ca_file: &Path) -> Result<(), ConfigError> {
    let parsed = url::Url::parse(url.expose()).ok().filter(url::Url::has_host);
    match parsed.as_ref().map(url::Url::scheme) {
        Some("https") => Ok(()),
        Some("http") => authorities_of_tls(ca_key, ca_file, false, "https://"),
        _ => Err(wrong(
            key,
            &format!("`{url}`"),
            "a URL beginning with http:// or https://",
        )),
    }
}

/// What a URL of Postgres says, or `None` if it cannot be used.
///
/// Of `sslmode` it may say `disable` (as where it says nothing), `require` or `verify-full`, and the latter two are the
/// same: the server's certificate is always checked. `prefer` and `allow` fall back to plain text without a word, and
/// `verify-ca` believes a certificate of any other host: none of them is accepted.
pub(crate) fn postgres_options(url: &Secret) -> Option<tokio_postgres::Config> {
    let text = url.expose();
    let (mode, is_known) = match sslmode(text) {
        None | Some("disable") => (SslMode::Disable, true),
        Some("require" | "verify-full") => (SslMode::Require, true),
        Some(_) => (SslMode::Require, false),
    };
    // A word tokio-postgres does not know.
    let text = text.replacen("sslmode=verify-full", "sslmode=require", 1);
    let mut options: tokio_postgres::Config = text.parse().ok()?;
    options.ssl_mode(mode);
    is_known.then_some(options)
}

/// The last one counts, as with libpq.
fn sslmode(text: &str) -> Option<&str> {
    let settings: Vec<&str> = match text.split_once("://") {
        Some((_, rest)) => rest.split_once('?')?.1.split('&').collect(),
        None => text.split_whitespace().collect(),
    };
    settings
        .iter()
        .rev()
        .find_map(|setting| setting.strip_prefix("sslmode="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> Option<SslMode> {
        postgres_options(&Secret::from(url)).map(|options| options.get_ssl_mode())
    }

    #[test]
    fn postgres_is_encrypted_when_asked_for_and_never_perhaps() {
        for (query, meant) in [
            ("", Some(SslMode::Disable)),
            ("?sslmode=disable", Some(SslMode::Disable)),
            ("?sslmode=require", Some(SslMode::Require)),
            ("?application_name=x&sslmode=verify-full", Some(SslMode::Require)),
            ("?sslmode=prefer", None),
            ("?sslmode=allow", None),
            ("?sslmode=verify-ca", None),
            ("?sslmode=", None),
            ("?sslmode=verify-fully", None),
            ("?sslrootcert=/ca.pem", None),
        ] {
            assert_eq!(mode(&format!("postgres://u:p@h/db{query}")), meant, "{query}");
        }
        assert_eq!(mode("host=h user=u sslmode=require"), Some(SslMode::Require));
        assert_eq!(mode("host=h user=u"), Some(SslMode::Disable));
        assert_eq!(mode("host=h user=u sslmode=prefer"), None);
    }

    #[test]
    fn authorities_beside_plain_text_are_refused_by_name() {
        let file = Path::new("/ca.pem");
        for (url, named) in [
            ("http://h:80", Some("product.ca_file")),
            ("https://h", None),
            ("ftp://h", Some("product.url")),
            ("https://", Some("product.url")),
            ("h:8081", Some("product.url")),
        ] {
            let said = http_peer("product.url", &url.into(), "product.ca_file", file);
            let said = said.err().map(|error| error.to_string());
            let is_right = said
                .as_deref()
                .map(|said| named.is_some_and(|named| said.contains(named)));
            assert!(is_right.unwrap_or(named.is_none()), "{url}: {said:?}");
        }
    }

    #[test]
    fn a_certificate_without_a_key_is_refused_by_name_and_the_other_way_round() {
        for (cert, key, named) in [
            ("c", "", "server.tls.key_file"),
            ("", "k", "server.tls.cert_file"),
        ] {
            let tls = ServerTlsConfig {
                cert_file: cert.into(),
                key_file: key.into(),
                admin: true,
            };
            let error = tls.validate().unwrap_err().to_string();
            assert!(error.starts_with(&format!("key `{named}`")), "{error}");
        }
    }
}
