//! Who may do what. One check, in front of every route of both listeners: [`admit`].
//!
//! What a caller may do is a table ([`Rule`]) beside the service's URL table; a path that is not in it is not there. The
//! description of the API is filled from the same table. A caller shows a key or a token as `Authorization: Bearer …`;
//! on the admin listener a browser may show a key as the password of `Basic`. Of keys only hashes are known here.
//!
//! It keeps nothing but the hashes of tokens that were good, a bounded number. It may not log what callers show.

mod caller;
mod keys;
mod rules;
mod tokens;

pub use caller::Caller;
pub use keys::parse_key;
pub use rules::{ADMIN, ADMIN_SECURED, OPEN, Role, Rule, Secured, Who};

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use actix_web::HttpMessage;
use actix_web::dev::ServiceRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::error::ErrorCode;
use ring::digest::{SHA256, digest};

use self::keys::Keys;
use self::tokens::Tokens;
use super::Problem;
use crate::config::{AuthConfig, AuthMode, ConfigError, JwtAlgorithm, MetricsReaders};

/// Longest credential that is looked at, bytes: a token with a long list of claims.
const CREDENTIAL_LENGTH_MAX: usize = 4096;
const BEARER: &str = r#"Bearer realm="hotstock""#;
const BEARER_WRONG: &str = r#"Bearer realm="hotstock", error="invalid_token""#;
const BASIC: &str = r#"Basic realm="hotstock", charset="UTF-8""#;

/// SHA-256 of something secret.
type Hash = [u8; 32];

/// What is known of callers; `None`: nobody is asked. Cheap to clone.
#[derive(Clone)]
pub struct Auth(Option<Arc<Known>>);

struct Known {
    keys: Keys,
    tokens: Option<Tokens>,
    metrics: MetricsReaders,
}

/// Who somebody has shown to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    role: Role,
    /// Of a customer: always.
    buyer: Option<Arc<str>>,
}

impl Auth {
    /// Nobody is asked.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Reads what the section names.
    ///
    /// # Errors
    /// [`ConfigError`] naming the key whose file cannot be read or has no keys in it.
    pub fn load(config: &AuthConfig) -> Result<Self, ConfigError> {
        if config.mode == AuthMode::Off {
            return Ok(Self::off());
        }
        let mut keys = Keys::parse("auth.keys", config.keys.iter().map(String::as_str))?;
        if !config.keys_file.as_os_str().is_empty() {
            let text = read(&config.keys_file)?;
            let lines = text.lines().map(str::trim);
            let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
            keys.extend(Keys::parse("auth.keys_file", lines)?);
        }
        let tokens = match config.jwt.algorithm {
            JwtAlgorithm::None => None,
            JwtAlgorithm::HS256 | JwtAlgorithm::RS256 => Some(Tokens::new(&config.jwt)?),
        };
        Ok(Self(Some(Arc::new(Known {
            keys,
            tokens,
            metrics: config.metrics,
        }))))
    }

    /// Whether nobody is asked.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.0.is_none()
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source: io::Error| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// The check of one listener.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) auth: Auth,
    /// The first that names the path counts.
    pub(crate) rules: [&'static [Rule]; 2],
    /// Whether browsers are asked for a key, and `/metrics` is here.
    pub(crate) is_admin: bool,
}

/// What somebody has shown, to tell clients apart.
pub(crate) enum Shown {
    /// Nothing, or nobody asked.
    Nothing,
    /// A buyer's key or token: whichever of his it was.
    Buyer(Arc<str>),
    /// The hash of another key or token.
    Credential(Hash),
}

/// Lets a request in, or says why not. Leaves its [`Caller`] with it where callers are asked.
///
/// # Errors
/// `UNAUTHORIZED`, `FORBIDDEN`, or `NOT_FOUND` for a path that is in no table.
pub(super) fn admit(request: &ServiceRequest) -> Result<Shown, Problem> {
    // Only an application that was not built by `serve` has none.
    let Some(door) = request.app_data::<Door>() else {
        return Ok(Shown::Nothing);
    };
    refuse_other_sites(request)?;
    let Some(known) = &door.auth.0 else {
        return Ok(Shown::Nothing);
    };
    match door.who_may(known, request)? {
        Who::Everybody => {
            request.extensions_mut().insert(Caller::Stranger);
            Ok(Shown::Nothing)
        }
        Who::Only(roles) => {
            let (identity, hash) = door.identify(known, request)?;
            if !roles.contains(&identity.role) {
                return Err(Problem::new(ErrorCode::Forbidden));
            }
            let shown = match &identity.buyer {
                Some(buyer) => Shown::Buyer(Arc::clone(buyer)),
                None => Shown::Credential(hash),
            };
            request.extensions_mut().insert(Caller::known(identity, &hash));
            Ok(shown)
        }
    }
}

/// A page of another site may not make a browser change anything here, with or without a key that it remembers.
fn refuse_other_sites(request: &ServiceRequest) -> Result<(), Problem> {
    if request.method().is_safe() {
        return Ok(());
    }
    match request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes) {
        Some(b"cross-site" | b"same-site") => {
            Err(Problem::new(ErrorCode::Forbidden).message("Pages of other sites may not change anything."))
        }
        _ => Ok(()),
    }
}

impl Door {
    fn who_may(&self, known: &Known, request: &ServiceRequest) -> Result<Who, Problem> {
        // The path as the router reads it, its escapes resolved.
        let path = request.match_info().as_str();
        if self.is_admin
            && path == "/metrics"
            && known.shows_metrics_to(request.peer_addr().map(|it| it.ip()))
        {
            return Ok(Who::Everybody);
        }
        let found = self
            .rules
            .iter()
            .find_map(|rules| rules::find(rules, request.method().as_str(), path));
        found.ok_or_else(|| Problem::new(ErrorCode::NotFound))
    }

    fn identify(&self, known: &Known, request: &ServiceRequest) -> Result<(Identity, Hash), Problem> {
        let mut shown = request.headers().get_all(AUTHORIZATION);
        let Some(first) = shown.next() else {
            return Err(self.unauthorized(BEARER));
        };
        // Of two, somebody in between may have checked the other one.
        let only = Some(first).filter(|_| shown.next().is_none());
        let identity = only.and_then(|value| value.to_str().ok()).and_then(|text| {
            let (scheme, credential) = text.split_once(' ')?;
            if scheme.eq_ignore_ascii_case("Bearer") {
                known.identify(credential.trim())
            } else if self.is_admin && scheme.eq_ignore_ascii_case("Basic") {
                known.identify(&password(credential.trim())?)
            } else {
                None
            }
        });
        identity.ok_or_else(|| {
            self.unauthorized(BEARER_WRONG)
                .message("The API key or token is not valid.")
        })
    }

    fn unauthorized(&self, challenge: &'static str) -> Problem {
        let challenge = if self.is_admin { BASIC } else { challenge };
        Problem::new(ErrorCode::Unauthorized).challenge(challenge)
    }
}

impl Known {
    fn identify(&self, credential: &str) -> Option<(Identity, Hash)> {
        if credential.len() > CREDENTIAL_LENGTH_MAX {
            return None;
        }
        let hash = hash(credential);
        let identity = match &self.tokens {
            // Keys have no dots.
            Some(tokens) if credential.contains('.') => tokens.identify(credential, hash),
            _ => self.keys.identify(&hash),
        };
        identity.map(|identity| (identity, hash))
    }

    fn shows_metrics_to(&self, reader: Option<IpAddr>) -> bool {
        match self.metrics {
            MetricsReaders::Everybody => true,
            MetricsReaders::Loopback => reader.is_some_and(|reader| reader.is_loopback()),
            MetricsReaders::Nobody => false,
        }
    }
}

fn hash(secret: &str) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    hash
}

/// Of `Basic`; the name before it is anybody's.
fn password(credential: &str) -> Option<String> {
    let text = String::from_utf8(STANDARD.decode(credential).ok()?).ok()?;
    text.split_once(':').map(|(_name, password)| password.to_owned())
}
