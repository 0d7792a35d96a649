//! TLS, as client and on the listeners: rustls with ring.
//!
//! Owns which certificates are believed and which are shown. A client believes those that the authorities of its `ca_file`
//! have signed for the host it asked for, and without a file those of Mozilla's list, as it was when this was built;
//! nothing turns that off. Whoever asks for TLS gets it or an error, never plain text. TLS 1.2 at least.

mod listener;

pub use listener::listener;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("key `{key}` is `{}`: {why}", path.display())]
pub struct TlsError {
    /// The key that names the file.
    pub key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl TlsError {
    fn new(key: &'static str, path: &Path, why: impl ToString) -> Self {
        let (path, why) = (path.to_path_buf(), why.to_string());
        Self { key, path, why }
    }
}

/// What a client connects with. `ca_file` has the authorities that are believed, PEM; empty: Mozilla's list. It is read
/// now and not again.
///
/// # Errors
/// [`TlsError`] naming `key`, when the file cannot be read or has no certificate.
pub fn client(key: &'static str, ca_file: &Path) -> Result<ClientConfig, TlsError> {
    let roots = if ca_file.as_os_str().is_empty() {
        RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned())
    } else {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(key, ca_file)? {
            roots
                .add(certificate)
                .map_err(|error| TlsError::new(key, ca_file, error))?;
        }
        roots
    };
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(key, ca_file, error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The text of a `ca_file`, for a client that makes its own of it; `None` where there is no file.
///
/// # Errors
/// As [`client`].
pub fn ca_pem(key: &'static str, ca_file: &Path) -> Result<Option<Vec<u8>>, TlsError> {
    if ca_file.as_os_str().is_empty() {
        return Ok(None);
    }
    client(key, ca_file)?;
    read(key, ca_file).map(Some)
}

/// An error with its causes, on one line. What rustls says of certificates is put into words.
#[must_use]
pub fn told(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some show their cause themselves.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    for (word, meant) in CERTIFICATE_WORDS {
        text = text.replace(word, meant);
    }
    text
}

/// What rustls says of a certificate whose authority is not believed, and the same for people.
const CERTIFICATE_WORDS: [(&str, &str); 2] = [
    (
        "peer certificate: UnknownIssuer",
        "peer certificate: certificate signed by unknown authority (the ones believed are those of ca_file)",
    ),
    (
        "peer certificate: BadSignature",
        "peer certificate: certificate signed by unknown authority (one of the same name is in ca_file, with another key)",
    ),
];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::new(key, path, error))
}

/// All of a file, at least one.
fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(key, path)?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(TlsError::new(key, path, "it has no certificate in PEM")),
        Err(error) => Err(TlsError::new(key, path, error)),
    }
}
