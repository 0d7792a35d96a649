//! Who may do what on the public listener. A path that is not here is not there once callers are asked for a key.
//!
//! A customer may use all of it, for orders of his own: see `orders::seen_by` and `orders::on_behalf_of`.

use platform::http::auth::Role::{Admin, Customer, Service};
use platform::http::auth::{Rule, Who};

const ANY_ROLE: Who = Who::Only(&[Customer, Service, Admin]);

/// What is asked most comes first.
pub const PUBLIC: &[Rule] = &[
    Rule {
        path: "/orders",
        methods: &[("POST", ANY_ROLE), ("GET", ANY_ROLE)],
    },
    Rule {
        path: "/orders/{}",
        methods: &[("GET", ANY_ROLE)],
    },
    Rule {
        path: "/orders/{}/cancel",
        methods: &[("POST", ANY_ROLE)],
    },
    Rule {
        path: "/orders/{}/events",
        methods: &[("GET", ANY_ROLE)],
    },
];
