//! Who may do what on the public listener. A path that is not here is not there once callers are asked for a key.

use platform::http::auth::Role::{Admin, Customer, Service};
use platform::http::auth::Who::{Everybody, Only};
use platform::http::auth::{Rule, Who};

const PROGRAMS: Who = Only(&[Service]);
const OPERATORS: Who = Only(&[Admin]);
const EITHER: Who = Only(&[Service, Admin]);

/// What is asked most comes first.
pub const PUBLIC: &[Rule] = &[
    // Stock moves for orders, and order-service alone knows of those.
    Rule {
        path: "/products/{}/stock/decrease-by-order",
        methods: &[("PATCH", PROGRAMS)],
    },
    Rule {
        path: "/products/{}/stock/increase-by-order",
        methods: &[("PATCH", PROGRAMS)],
    },
    // The shop's window.
    Rule {
        path: "/products/{}",
        methods: &[("GET", Everybody), ("PATCH", OPERATORS), ("DELETE", OPERATORS)],
    },
    Rule {
        path: "/products",
        methods: &[("GET", Everybody), ("POST", OPERATORS)],
    },
    Rule {
        path: "/products/{}/stock/adjust",
        methods: &[("POST", EITHER)],
    },
    // It names buyers.
    Rule {
        path: "/products/{}/stock/movements",
        methods: &[("GET", EITHER)],
    },
    // The page of a sale. What is bought there is order-service's to allow: it is shown the same key.
    Rule {
        path: "/sale/{}",
        methods: &[("GET", Everybody)],
    },
    Rule {
        path: "/sale/{}/events",
        methods: &[("GET", Everybody)],
    },
    Rule {
        path: "/sale/assets/{}",
        methods: &[("GET", Everybody)],
    },
    Rule {
        path: "/sale/{}/orders",
        methods: &[("POST", Only(&[Customer, Service, Admin]))],
    },
];
