//! Keys for a stack that asks for them: random ones, made when it starts, gone when it stops.

use ring::digest::{SHA256, digest};

/// One key of each role.
#[derive(Clone)]
pub struct Keys {
    /// Looks after everything.
    pub admin: String,
    /// Places orders and moves stock for everybody.
    pub service: String,
    /// The buyer ada's.
    pub customer: String,
}

impl Keys {
    /// Fresh ones.
    #[must_use]
    pub fn random() -> Self {
        let key = |role: &str| format!("{role}-{:032x}", rand::random::<u128>());
        Self {
            admin: key("admin"),
            service: key("service"),
            customer: key("customer"),
        }
    }

    /// The settings of a service that asks for them; they have the hashes only.
    #[must_use]
    pub fn settings(&self) -> [(&'static str, String); 2] {
        let lines = [
            format!("admin {}", hash(&self.admin)),
            format!("service {}", hash(&self.service)),
            format!("customer {} ada", hash(&self.customer)),
        ];
        [
            ("HOTSTOCK__AUTH__MODE", "on".to_owned()),
            ("HOTSTOCK__AUTH__KEYS", format!("{lines:?}")),
        ]
    }
}

/// The url with a key in it, for [`crate::http::HttpClient`]; without one, the url.
#[must_use]
pub fn shown(url: &str, key: Option<&str>) -> String {
    match key {
        Some(key) => url.replacen("://", &format!("://{key}@"), 1),
        None => url.to_owned(),
    }
}

fn hash(key: &str) -> String {
    let hash = digest(&SHA256, key.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
