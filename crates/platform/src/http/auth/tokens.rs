//! JSON Web Tokens, of one algorithm, one issuer and one audience.
//!
//! A token that was good is remembered by its hash until it expires, so that a signature is verified once and not with
//! every request. The cryptography is ring's, as it is for TLS.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Once, PoisonError};

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Validation, get_current_timestamp};
use ring::hmac;
use ring::signature as rsa;
use serde::Deserialize;

use super::keys::is_buyer;
use super::{Hash, Identity, Role};
use crate::config::{ConfigError, JwtAlgorithm, JwtConfig, wrong};

/// Tokens remembered at most, 150 bytes each. One more, and all that have expired are forgotten, or all.
const REMEMBERED_MAX: usize = 20_000;

/// See the module.
pub(super) struct Tokens {
    key: DecodingKey,
    validation: Validation,
    good: Mutex<HashMap<Hash, Good>>,
}

struct Good {
    identity: Identity,
    /// Seconds since 1970.
    until: u64,
}

/// What is read of a token; everything else in it is left alone. Values of other types make it no token of ours.
#[derive(Deserialize)]
struct Claims {
    role: Role,
    sub: Option<String>,
    exp: u64,
    #[serde(rename = "nbf")]
    _not_before: Option<u64>,
}

impl Tokens {
    pub(super) fn new(config: &JwtConfig) -> Result<Self, ConfigError> {
        use_ring();
        let (algorithm, key) = match config.algorithm {
            JwtAlgorithm::RS256 => {
                let setting = "auth.jwt.public_key_file";
                let pem =
                    std::fs::read(&config.public_key_file).map_err(|source| ConfigError::Unreadable {
                        path: config.public_key_file.clone(),
                        source,
                    })?;
                let key = DecodingKey::from_rsa_pem(&pem)
                    .map_err(|error| wrong(setting, &error.to_string(), "an RSA public key in PEM"))?;
                (Algorithm::RS256, key)
            }
            JwtAlgorithm::HS256 | JwtAlgorithm::None => {
                let secret = config.secret.expose().as_bytes();
                (Algorithm::HS256, DecodingKey::from_secret(secret))
            }
        };
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        validation.validate_nbf = true;
        validation.leeway = config.leeway_s;
        Ok(Self {
            key,
            validation,
            good: Mutex::default(),
        })
    }

    /// Whose token this is. `hash` is the token's.
    pub(super) fn identify(&self, token: &str, hash: Hash) -> Option<Identity> {
        let now = get_current_timestamp();
        if let Some(good) = self
            .good
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&hash)
        {
            return (now < good.until).then(|| good.identity.clone());
        }
        let good = self.verify(token)?;
        let identity = good.identity.clone();
        let mut all = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED_MAX {
            all.retain(|_, good| now < good.until);
        }
        if all.len() >= REMEMBERED_MAX {
            all.clear();
        }
        all.insert(hash, good);
        Some(identity)
    }

    fn verify(&self, token: &str) -> Option<Good> {
        let claims: Claims = jsonwebtoken::decode(token, &self.key, &self.validation)
            .ok()?
            .claims;
        let buyer: Option<Arc<str>> = match claims.role {
            Role::Customer => Some(claims.sub.filter(|sub| is_buyer(sub))?.into()),
            Role::Service | Role::Admin => None,
        };
        let identity = Identity {
            role: claims.role,
            buyer,
        };
        let until = claims.exp.saturating_add(self.validation.leeway);
        Some(Good { identity, until })
    }
}

/// Tells the library of tokens to verify with ring: what it has built in would bring a second cryptography.
fn use_ring() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    static ONCE: Once = Once::new();
    // Somebody who was there before verifies too.
    ONCE.call_once(|| {
        let _ = PROVIDER.install_default();
    });
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    match (algorithm, key.kind()) {
        (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => {
            Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, secret))))
        }
        (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => Ok(Box::new(Rs256(der.clone()))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

struct Hs256(hmac::Key);

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], tag: &Vec<u8>) -> Result<(), signature::Error> {
        hmac::verify(&self.0, message, tag).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

/// The public key, DER.
struct Rs256(Vec<u8>);

impl Verifier<Vec<u8>> for Rs256 {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), signature::Error> {
        rsa::UnparsedPublicKey::new(&rsa::RSA_PKCS1_2048_8192_SHA256, &self.0)
            .verify(message, signed)
            .map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Rs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
