//! The table of who may do what, and the description of the API filled from it.

use contracts::error::ErrorCode::{self, Forbidden, Unauthorized};
use serde::Deserialize;
use serde_json::Value;
use utoipa::Modify;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};

use crate::http::openapi::{operations, responses};

/// What a caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A buyer: his own orders.
    Customer,
    /// Another program of the shop: orders and stock of everybody.
    Service,
    /// A person who looks after it.
    Admin,
}

impl Role {
    const ALL: [Self; 3] = [Self::Customer, Self::Service, Self::Admin];

    /// The word in keys, tokens and descriptions.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Service => "service",
            Self::Admin => "admin",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }
}

/// Who may do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Also who shows no key.
    Everybody,
    /// Callers of these roles.
    Only(&'static [Role]),
}

/// A path and who may use it.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Without its version. `{}` stands for any one part, `*` at the end for whatever follows.
    pub path: &'static str,
    /// By method. Another method is for the roles of the first: they are told that there is none.
    pub methods: &'static [(&'static str, Who)],
}

/// What is open on every listener: health.
const HEALTH: [Rule; 2] = [open("/livez"), open("/readyz")];

/// What is open on the public listener of every service: health, and the description of the API.
pub const OPEN: &[Rule] = &[
    HEALTH[0],
    HEALTH[1],
    open("/openapi.json"),
    open("/docs"),
    open("/docs/*"),
];

/// The admin listener of every service: health is open, all else is for admins.
pub const ADMIN: &[Rule] = &[
    HEALTH[0],
    HEALTH[1],
    Rule {
        path: "/*",
        methods: &[("*", Who::Only(&[Role::Admin]))],
    },
];

const fn open(path: &'static str) -> Rule {
    Rule {
        path,
        methods: &[("*", Who::Everybody)],
    }
}

/// Who may use a method of a path; `None`: no rule names the path.
pub(super) fn find(rules: &[Rule], method: &str, path: &str) -> Option<Who> {
    let plain = ["/v1/", "/v2/"]
        .iter()
        .find(|version| path.starts_with(**version))
        .map_or(path, |_| &path[3..]);
    let rule = rules.iter().find(|rule| matches(rule.path, plain))?;
    let by_method = rule.methods.iter().find(|(name, _)| [method, "*"].contains(name));
    by_method.or(rule.methods.first()).map(|(_, who)| *who)
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut parts) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), parts.next()) {
            (Some("*"), Some(_)) | (None, None) => return true,
            (Some("{}"), Some(part)) if !part.is_empty() => {}
            (Some(wanted), Some(part)) if wanted == part => {}
            _ => return false,
        }
    }
}

/// Fills a description from the table: who may do what, and the two errors of those who may not.
pub struct Secured {
    /// The table of the listener that is described.
    pub rules: &'static [Rule],
    /// Whether a browser may show a key as a password too.
    pub by_password: bool,
}

/// The admin listener of either service.
pub const ADMIN_SECURED: Secured = Secured {
    rules: ADMIN,
    by_password: true,
};

impl Modify for Secured {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let schemes = [
            (
                "bearer",
                HttpAuthScheme::Bearer,
                "An API key, or a token where the operator accepts them.",
            ),
            (
                "password",
                HttpAuthScheme::Basic,
                "An API key as the password, under any name: for browsers.",
            ),
        ];
        let schemes = &schemes[..if self.by_password { 2 } else { 1 }];
        let components = document.components.get_or_insert_default();
        for (name, scheme, description) in schemes {
            let scheme = HttpBuilder::new()
                .scheme(scheme.clone())
                .description(Some(*description))
                .build();
            components.add_security_scheme(*name, SecurityScheme::Http(scheme));
        }
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                match find(self.rules, method, path) {
                    Some(Who::Only(roles)) => {
                        let words = roles.iter().map(|role| role.word());
                        let words: Vec<&str> = words.collect();
                        let shown = schemes.iter();
                        let shown = shown.map(|(name, ..)| SecurityRequirement::new(*name, words.clone()));
                        operation.security = Some(shown.collect());
                        let codes: &[ErrorCode] = if may_be_forbidden(method, roles) {
                            &[Unauthorized, Forbidden]
                        } else {
                            &[Unauthorized]
                        };
                        let refusals = responses(codes, |_| Value::Null);
                        operation.responses.responses.extend(refusals);
                    }
                    Some(Who::Everybody) | None => operation.security = Some(Vec::new()),
                }
            }
        }
    }
}

/// What changes something is forbidden to pages of other sites, whatever key they show.
fn may_be_forbidden(method: &str, roles: &[Role]) -> bool {
    method != "GET" || Role::ALL.iter().any(|role| !roles.contains(role))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &[Rule] = &[
        Rule {
            path: "/things/{}/parts",
            methods: &[("GET", Who::Everybody), ("POST", Who::Only(&[Role::Service]))],
        },
        Rule {
            path: "/pages/*",
            methods: &[("*", Who::Everybody)],
        },
    ];

    #[test]
    fn the_rule_of_a_path_is_found_under_every_version_and_nowhere_else() {
        for path in ["/things/1/parts", "/v1/things/1/parts", "/v2/things/x/parts"] {
            assert_eq!(
                find(RULES, "POST", path),
                Some(Who::Only(&[Role::Service])),
                "{path}"
            );
            assert_eq!(find(RULES, "GET", path), Some(Who::Everybody), "{path}");
        }
        for path in [
            "/things//parts",
            "/things/1/parts/",
            "/things/1",
            "/v3/things/1/parts",
            "/v1/v1/things/1/parts",
            "/v1things/1/parts",
            "//things/1/parts",
            "",
            "/",
        ] {
            assert_eq!(find(RULES, "GET", path), None, "{path}");
        }
        assert_eq!(find(RULES, "GET", "/pages/a/b"), Some(Who::Everybody));
        assert_eq!(find(RULES, "GET", "/pages"), None);
    }

    #[test]
    fn on_the_admin_listener_all_but_health_is_for_admins() {
        for path in [
            "/admin/breaker",
            "/",
            "/console",
            "/docs/",
            "/nothing",
            "/livez/x",
        ] {
            assert_eq!(
                find(ADMIN, "GET", path),
                Some(Who::Only(&[Role::Admin])),
                "{path}"
            );
        }
        assert_eq!(find(ADMIN, "GET", "/livez"), Some(Who::Everybody));
    }
}
