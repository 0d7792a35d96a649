//! Throw-away certificates, and who the tools of this process believe.
//!
//! [`Certificates::create`] makes an authority and a certificate for this machine's loopback. From then on everything in this
//! library believes that authority, beside those of earlier calls: the load tool, the audits, the probes. Nothing else is
//! believed, and services believe only the file they are given.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Who is believed, PEM.
static BELIEVED: RwLock<String> = RwLock::new(String::new());

/// What a server shows, and who has signed it; PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// The authority.
    pub ca_file: PathBuf,
    /// The certificate, for `localhost`, 127.0.0.1 and ::1.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

impl Certificates {
    /// Makes an authority of its own and a certificate by it, as `ca.pem`, `cert.pem` and `key.pem` in `dir`, which is made if
    /// it is not there. The authority's key is forgotten.
    pub fn create(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut authority = CertificateParams::new(Vec::new())?;
        authority
            .distinguished_name
            .push(DnType::CommonName, "hotstock throw-away authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate()?;
        let ca = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);

        let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        let made = Self {
            ca_file: dir.join("ca.pem"),
            cert_file: dir.join("cert.pem"),
            key_file: dir.join("key.pem"),
        };
        std::fs::write(&made.ca_file, ca.pem())?;
        std::fs::write(&made.cert_file, certificate.pem())?;
        std::fs::write(&made.key_file, key.serialize_pem())?;
        believe(&made.ca_file)?;
        Ok(made)
    }

    /// The same certificate for a server that runs under another account and wants the key to itself.
    pub(crate) fn copy_to(&self, dir: &Path, user: Option<(u32, u32)>) -> Result<Self> {
        let copy = |file: &Path, name: &str| -> Result<PathBuf> {
            let copied = dir.join(name);
            std::fs::copy(file, &copied)?;
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&copied, mode)?;
            if let Some((uid, gid)) = user {
                std::os::unix::fs::chown(&copied, Some(uid), Some(gid))?;
            }
            Ok(copied)
        };
        Ok(Self {
            ca_file: copy(&self.ca_file, "ca.pem")?,
            cert_file: copy(&self.cert_file, "cert.pem")?,
            key_file: copy(&self.key_file, "key.pem")?,
        })
    }
}

/// From now on this process believes the authorities of a file.
pub fn believe(ca_file: &Path) -> Result<()> {
    let pem = std::fs::read_to_string(ca_file)
        .with_context(|| format!("cannot read certificates from {}", ca_file.display()))?;
    BELIEVED
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .push_str(&pem);
    Ok(())
}

fn believed() -> String {
    BELIEVED.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// What this process connects with.
#[must_use]
pub fn client() -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(believed().as_bytes()).flatten());
    ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// The same for Postgres: encrypted where the url says `sslmode=require`.
#[must_use]
pub fn postgres() -> MakeRustlsConnect {
    MakeRustlsConnect::new(client())
}

/// The same for Redis: encrypted where the url says `rediss://`.
pub fn redis(url: &str) -> Result<redis::Client> {
    if !url.starts_with("rediss://") {
        return Ok(redis::Client::open(url)?);
    }
    let certificates = redis::TlsCertificates {
        client_tls: None,
        root_cert: Some(believed().into_bytes()),
    };
    Ok(redis::Client::build_with_tls(url, certificates)?)
}

/// A connection to a port of this machine, for probes that have no runtime.
pub(crate) fn dial(port: u16, is_encrypted: bool, timeout: Duration) -> io::Result<Box<dyn Dialled>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    if !is_encrypted {
        return Ok(Box::new(stream));
    }
    let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
    let session = ClientConnection::new(Arc::new(client()), name).map_err(io::Error::other)?;
    Ok(Box::new(StreamOwned::new(session, stream)))
}

/// A connection, encrypted or not.
pub(crate) trait Dialled: Read + Write {}

impl<T: Read + Write> Dialled for T {}
