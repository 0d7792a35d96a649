//! The certificate of the listeners, read at start and again when its files have changed.
//!
//! Renewed files are taken up with the first connection after they were written, at most once a second. While they cannot
//! be used (half written, a key that belongs to another certificate) the certificate before them is shown on.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{TlsError, certificates, provider, read};
use crate::config::ServerTlsConfig;

const CERT_KEY: &str = "server.tls.cert_file";
const KEY_KEY: &str = "server.tls.key_file";
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// What a listener accepts connections with; `None` where no certificate is configured.
///
/// # Errors
/// [`TlsError`] naming the key whose file is missing, cannot be read, or does not belong to the other.
pub fn listener(config: &ServerTlsConfig) -> Result<Option<ServerConfig>, TlsError> {
    if !config.is_on() {
        return Ok(None);
    }
    let shown = Shown::read(config.clone())?;
    let accepting = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(CERT_KEY, &config.cert_file, error))?;
    let accepting = accepting
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    Ok(Some(accepting))
}

/// When the two files were written; `None` where nobody can say.
type Written = [Option<SystemTime>; 2];

#[derive(Debug)]
struct Shown {
    files: ServerTlsConfig,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    certificate: Arc<CertifiedKey>,
    /// Of the files that were read last, whether or not they could be used.
    written: Written,
    looked_at: Instant,
}

impl Shown {
    fn read(files: ServerTlsConfig) -> Result<Self, TlsError> {
        // Before they are read: what is written meanwhile is read once more.
        let written = written(&files);
        let current = Current {
            certificate: Arc::new(certificate(&files)?),
            written,
            looked_at: Instant::now(),
        };
        let current = Mutex::new(current);
        Ok(Self { files, current })
    }

    fn current(&self) -> Arc<CertifiedKey> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked_at.elapsed() >= LOOKED_AT_EVERY {
            current.looked_at = Instant::now();
            let written = written(&self.files);
            if written != current.written {
                current.written = written;
                match certificate(&self.files) {
                    Ok(renewed) => {
                        current.certificate = Arc::new(renewed);
                        tracing::info!("the listeners show a renewed certificate");
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the listeners go on with the certificate they have");
                    }
                }
            }
        }
        Arc::clone(&current.certificate)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _asked: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

fn written(files: &ServerTlsConfig) -> Written {
    [&files.cert_file, &files.key_file].map(|path| path.metadata().and_then(|file| file.modified()).ok())
}

fn certificate(files: &ServerTlsConfig) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(CERT_KEY, &files.cert_file)?;
    let key = private_key(&files.key_file)?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
        let why = match error {
            rustls::Error::InconsistentKeys(_) => format!(
                "the key does not belong to the certificate of `{}` (key `{CERT_KEY}`)",
                files.cert_file.display()
            ),
            other => other.to_string(),
        };
        TlsError::new(KEY_KEY, &files.key_file, why)
    })
}

/// Without a word of what is in the file.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(KEY_KEY, path)?;
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| TlsError::new(KEY_KEY, path, "it has no private key in PEM"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use devstack::Certificates;

    fn files(of: &Certificates) -> ServerTlsConfig {
        ServerTlsConfig {
            cert_file: of.cert_file.clone(),
            key_file: of.key_file.clone(),
            admin: true,
        }
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_their_key() {
        let dir = tempfile::tempdir().unwrap();
        let ours = Certificates::create(&dir.path().join("ours")).unwrap();
        let others = Certificates::create(&dir.path().join("others")).unwrap();
        let (empty, nowhere) = (dir.path().join("empty"), dir.path().join("nowhere"));
        std::fs::write(&empty, "").unwrap();
        for (cert_file, key_file, named, why) in [
            (&nowhere, &ours.key_file, CERT_KEY, "No such file"),
            (&empty, &ours.key_file, CERT_KEY, "no certificate"),
            (&ours.key_file, &ours.key_file, CERT_KEY, "no certificate"),
            (&ours.cert_file, &nowhere, KEY_KEY, "No such file"),
            (&ours.cert_file, &ours.cert_file, KEY_KEY, "no private key"),
            (&ours.cert_file, &others.key_file, KEY_KEY, "does not belong"),
        ] {
            let (cert_file, key_file) = (cert_file.clone(), key_file.clone());
            let config = ServerTlsConfig {
                cert_file,
                key_file,
                admin: true,
            };
            let error = listener(&config).unwrap_err().to_string();
            assert!(error.starts_with(&format!("key `{named}` is `")), "{error}");
            assert!(error.contains(why) && !error.contains("PRIVATE"), "{error}");
        }
        assert!(listener(&ServerTlsConfig::off()).unwrap().is_none());
    }

    #[test]
    fn a_renewed_certificate_is_shown_and_half_of_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let ours = Certificates::create(dir.path()).unwrap();
        let shown = Shown::read(files(&ours)).unwrap();
        let later = || {
            let mut current = shown.current.lock().unwrap();
            current.looked_at = Instant::now().checked_sub(LOOKED_AT_EVERY).unwrap();
        };
        let first = shown.current().cert[0].clone();
        later();
        assert_eq!(shown.current().cert[0], first);

        std::fs::write(&ours.key_file, "-----BEGIN").unwrap();
        later();
        assert_eq!(shown.current().cert[0], first);
        Certificates::create(dir.path()).unwrap();
        // Nobody looks twice within a second.
        assert_eq!(shown.current().cert[0], first);
        later();
        assert_ne!(shown.current().cert[0], first);
    }
}
