//! A value that must not appear in logs, errors or the printed configuration.

use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

const MASK: &str = "***";

/// A URL that may hold a password. `Debug`, `Display` and `Serialize` show it masked
/// (`postgres://user:***@host/db`); only [`Secret::expose`] gives the real text.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The real text. Call it where the value is used, never to keep or print it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Hides the password and every query value whose name sounds like one. What is not a URL (a `key=value`
    /// connection string, for example) is hidden as a whole: showing nothing is better than guessing.
    fn masked(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let Ok(mut url) = url::Url::parse(&self.0) else {
            return MASK.to_owned();
        };
        // An `@` behind the host is most likely the end of a password whose `/` or `?` was not escaped.
        let rest = [Some(url.path()), url.query(), url.fragment()];
        if url.cannot_be_a_base() || rest.into_iter().flatten().any(|part| part.contains('@')) {
            return MASK.to_owned();
        }
        if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
            return MASK.to_owned();
        }
        if url.query().is_some() {
            let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
            url.query_pairs_mut()
                .clear()
                .extend_pairs(pairs.iter().map(|(name, value)| {
                    let shown = if sounds_secret(name) { MASK } else { value.as_str() };
                    (name.as_str(), shown)
                }));
        }
        url.to_string()
    }
}

fn sounds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "secret", "token", "key"]
        .iter()
        .any(|word| name.contains(word))
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret(text.to_owned())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.masked())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_password_of_a_url_is_hidden() {
        for (text, shown) in [
            ("", ""),
            (
                "postgres://user:pa55@host:5432/db",
                "postgres://user:***@host:5432/db",
            ),
            ("postgres://user@host/db", "postgres://user@host/db"),
            ("redis://:pa55@host:6379/0", "redis://:***@host:6379/0"),
            ("postgres:///db?host=/tmp/x", "postgres:///db?host=%2Ftmp%2Fx"),
            (
                "postgres://h/db?user=u&password=pa55",
                "postgres://h/db?user=u&password=***",
            ),
            ("host=localhost password=pa55", "***"),
            ("mailto:pa55", "***"),
            ("postgres://user:12/pa55@host/db", "***"),
        ] {
            assert_eq!(Secret::from(text).to_string(), shown, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_view_of_a_secret_shows_its_password(password in "[a-zA-Z0-9!$%&()+,./:;<=>?@^_~-]{8,30}") {
            // Whether it parses as a URL or not, the password is nowhere to be seen.
            let secret = Secret::new(format!("postgres://user:{password}@host/db"));
            let json = serde_json::to_string(&secret).unwrap();
            for view in [secret.to_string(), format!("{secret:?}"), json] {
                prop_assert!(!view.contains(&password), "{}", view);
            }
            prop_assert!(secret.expose().contains(&password));
        }
    }
}
