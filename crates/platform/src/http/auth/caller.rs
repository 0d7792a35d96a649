//! Whom a request is for, as its handler and the log see it.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};

use super::{Hash, Identity, Role};

/// Who asks, as far as a handler has to know. As text it is for the log: the role, and how the hash of what was shown
/// begins, by which an operator finds the key in the configuration. Never the key, never the buyer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nobody is asked who he is (`auth.mode = "off"`).
    Anybody,
    /// Uses what is open to everybody, and was not asked.
    Stranger,
    /// Has shown a key or a token.
    Known(Known),
}

/// Somebody who has shown a key or a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    identity: Identity,
    /// The first bytes of the hash of what he has shown.
    fingerprint: [u8; 4],
}

impl Caller {
    pub(super) fn known(identity: Identity, hash: &Hash) -> Self {
        let [first, second, third, fourth, ..] = *hash;
        Self::Known(Known {
            identity,
            fingerprint: [first, second, third, fourth],
        })
    }

    /// The one buyer he may act for; `None`: all.
    #[must_use]
    pub fn buyer(&self) -> Option<&str> {
        match self {
            Self::Anybody | Self::Stranger => None,
            Self::Known(known) => known.identity.buyer.as_deref(),
        }
    }

    /// Whether he may say that a trace is collected, which costs memory and network.
    #[must_use]
    pub fn may_have_traces_collected(&self) -> bool {
        match self {
            Self::Anybody => true,
            Self::Stranger => false,
            Self::Known(known) => known.identity.role != Role::Customer,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("anybody"),
            Self::Stranger => f.write_str("stranger"),
            Self::Known(known) => {
                write!(f, "{} ", known.identity.role.word())?;
                let mut bytes = known.fingerprint.iter();
                bytes.try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

impl FromRequest for Caller {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Self>().cloned();
        ready(Ok(caller.unwrap_or(Self::Anybody)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash;
    use super::*;

    fn shown(role: Role) -> Caller {
        let buyer = (role == Role::Customer).then(|| "ada".into());
        Caller::known(Identity { role, buyer }, &hash("sesame"))
    }

    #[test]
    fn the_log_sees_the_role_and_how_the_hash_of_the_key_begins() {
        assert_eq!(shown(Role::Admin).to_string(), "admin d0c04f4b");
        assert_eq!(shown(Role::Customer).to_string(), "customer d0c04f4b");
        assert_eq!(Caller::Anybody.to_string(), "anybody");
    }

    #[test]
    fn only_programs_and_operators_have_traces_collected() {
        let may = |role| shown(role).may_have_traces_collected();
        assert!(may(Role::Service) && may(Role::Admin) && !may(Role::Customer));
        assert!(Caller::Anybody.may_have_traces_collected() && !Caller::Stranger.may_have_traces_collected());
    }
}
