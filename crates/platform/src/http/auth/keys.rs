//! API keys, known by their hash only.

use std::sync::Arc;

use contracts::limits::BUYER_ID_LENGTH_MAX;
use subtle::ConstantTimeEq;

use super::{Hash, Identity, Role};
use crate::config::{ConfigError, wrong};

/// All keys that are valid now.
pub(super) struct Keys(Vec<Key>);

/// One of them.
pub struct Key {
    hash: Hash,
    identity: Identity,
}

const FORM: &str =
    "`service HASH`, `admin HASH` or `customer HASH BUYER`, HASH being the SHA-256 of the key, 64 hex digits";

impl Keys {
    /// Reads lines; `setting` is where they are, for the error.
    pub(super) fn parse<'a>(
        setting: &str,
        lines: impl Iterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        let keys = lines.enumerate().map(|(at, line)| {
            parse_key(line).map_err(|form| wrong(setting, &format!("wrong in entry {}", at + 1), form))
        });
        keys.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whose key has this hash. Compares with all of them, each to its last byte: how long it takes tells nothing.
    pub(super) fn identify(&self, hash: &Hash) -> Option<Identity> {
        let mut found = None;
        for key in &self.0 {
            if bool::from(key.hash.ct_eq(hash)) {
                found = Some(&key.identity);
            }
        }
        found.cloned()
    }
}

/// One line: role, hash, and of a customer the buyer.
///
/// # Errors
/// The form a line must have; never the line, in which somebody may have put the key itself.
pub fn parse_key(line: &str) -> Result<Key, &'static str> {
    let mut words = line.split_ascii_whitespace();
    let role = words.next().and_then(Role::from_word).ok_or(FORM)?;
    let hash = words.next().and_then(from_hex).ok_or(FORM)?;
    let buyer = words.next();
    if words.next().is_some() || (role == Role::Customer) != buyer.is_some() {
        return Err(FORM);
    }
    if buyer.is_some_and(|buyer| !is_buyer(buyer)) {
        return Err("a buyer is 1..=64 visible ASCII characters");
    }
    Ok(Key {
        hash,
        identity: Identity {
            role,
            buyer: buyer.map(Arc::from),
        },
    })
}

pub(super) fn is_buyer(text: &str) -> bool {
    (1..=BUYER_ID_LENGTH_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn from_hex(text: &str) -> Option<Hash> {
    let digits = text.as_bytes();
    let mut hash = Hash::default();
    if digits.len() != 2 * hash.len() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::super::hash;
    use super::*;

    /// `printf %s sesame | sha256sum`
    const SESAME: &str = "d0c04f4b1951e4aeaaec8223ed2039e542f3aae805a6fa7f6d794e5afff5d272";

    #[test]
    fn several_keys_of_a_role_are_valid_at_once() {
        let lines = [
            format!("admin {}", "00".repeat(32)),
            format!("admin {SESAME}"),
            format!("customer {} ada", "ab".repeat(32)),
        ];
        let keys = Keys::parse("auth.keys", lines.iter().map(String::as_str)).unwrap();
        let identity = keys.identify(&hash("sesame")).unwrap();
        assert_eq!((identity.role, identity.buyer), (Role::Admin, None));
        assert_eq!(keys.identify(&hash("Sesame")), None);
        let ada = keys.identify(&[0xab; 32]).unwrap();
        assert_eq!((ada.role, ada.buyer.as_deref()), (Role::Customer, Some("ada")));
    }

    #[test]
    fn a_line_of_another_form_is_refused_and_not_shown() {
        for line in [
            String::new(),
            "admin sesame".to_owned(),
            SESAME.to_owned(),
            format!("root {SESAME}"),
            format!("admin {SESAME}00"),
            format!("admin {}x", &SESAME[1..]),
            format!("admin {SESAME} ada"),
            format!("customer {SESAME}"),
            format!("customer {SESAME} {}", "a".repeat(65)),
            format!("customer {SESAME} ada lovelace"),
        ] {
            let error = Keys::parse("auth.keys", [line.as_str()].into_iter())
                .err()
                .unwrap();
            let error = error.to_string();
            assert!(error.contains("auth.keys"), "{line}: {error}");
            assert!(!error.contains("sesame") && !error.contains(SESAME), "{error}");
        }
    }
}
