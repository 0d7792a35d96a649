//! What is measured, and for how long.

use std::time::Duration;

use devstack::load::Via;

use crate::clients::{Choice, Counted, Keys};
use crate::rivals::Design;
use crate::sale::{Sale, Watching};

/// How long one measurement takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Before anything is counted.
    pub(crate) warm_up: Duration,
    /// What is counted.
    pub(crate) measured: Duration,
}

/// One thing that is measured, again in each round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    /// As the command line and the JSON name it.
    pub(crate) key: &'static str,
    /// As people read it.
    pub(crate) what: &'static str,
    /// What is done.
    pub(crate) work: Work,
}

/// How a subject is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    Sale(Sale),
    Orders(Via),
    Resync,
}

const fn sale(key: &'static str, what: &'static str, sale: Sale) -> Subject {
    Subject {
        key,
        what,
        work: Work::Sale(sale),
    }
}

const fn rival(key: &'static str, what: &'static str, design: Design) -> Subject {
    let plain = Sale {
        rival: Some(design),
        ..Sale::PLAIN
    };
    sale(key, what, plain)
}

/// What the others are compared with.
pub(crate) const HOTSTOCK: &str = "hotstock";

/// Everything, in the order of a round: what is compared stands close together.
pub(crate) const SUBJECTS: [Subject; 22] = [
    sale(HOTSTOCK, "hotstock, one hot product", Sale::PLAIN),
    rival(
        "ordinary",
        "gate, then a transaction per request",
        Design::Ordinary,
    ),
    rival("row_lock", "row lock per request", Design::RowLock),
    rival(
        "conditional_update",
        "conditional UPDATE per request",
        Design::ConditionalUpdate,
    ),
    rival("seed", "the seed's algorithm", Design::Seed),
    rival("nothing", "a PATCH that does nothing", Design::Nothing),
    sale(
        "sold_out",
        "hotstock, sold out",
        Sale {
            counted: Counted::SoldOut,
            ..Sale::PLAIN
        },
    ),
    sale(
        "redis_dead",
        "hotstock, Redis dead",
        Sale {
            without_redis: true,
            ..Sale::PLAIN
        },
    ),
    sale(
        "unwatched",
        "hotstock, neither metrics nor traces",
        Sale {
            watching: Watching::Nothing,
            ..Sale::PLAIN
        },
    ),
    sale(
        "watched",
        "hotstock, metrics and traces",
        Sale {
            watching: Watching::MetricsAndTraces,
            ..Sale::PLAIN
        },
    ),
    sale(
        "one_client",
        "hotstock, one client",
        Sale {
            connections: 1,
            ..Sale::PLAIN
        },
    ),
    sale(
        "ordinary_one_client",
        "ordinary, one client",
        Sale {
            rival: Some(Design::Ordinary),
            connections: 1,
            ..Sale::PLAIN
        },
    ),
    sale(
        "products_uniform",
        "hotstock, 1,000 hot products alike",
        Sale {
            products: 1000,
            ..Sale::PLAIN
        },
    ),
    sale(
        "products_zipf",
        "hotstock, 1,000 hot products, zipf(1.1)",
        Sale {
            products: 1000,
            choice: Choice::Zipf,
            ..Sale::PLAIN
        },
    ),
    sale(
        "random_ids",
        "hotstock, random request ids",
        Sale {
            keys: Keys::Random,
            ..Sale::PLAIN
        },
    ),
    sale(
        "full_ledger",
        "hotstock, ledger full already",
        Sale {
            full_ledger: true,
            ..Sale::PLAIN
        },
    ),
    sale(
        "full_ledger_random_ids",
        "hotstock, ledger full, random ids",
        Sale {
            keys: Keys::Random,
            full_ledger: true,
            ..Sale::PLAIN
        },
    ),
    sale(
        "slow_commit",
        "hotstock, a commit costs 2 ms more",
        Sale {
            slow_commit: true,
            ..Sale::PLAIN
        },
    ),
    sale(
        "slow_commit_ordinary",
        "ordinary, a commit costs 2 ms more",
        Sale {
            rival: Some(Design::Ordinary),
            slow_commit: true,
            ..Sale::PLAIN
        },
    ),
    Subject {
        key: "orders_v2",
        what: "orders v2, placed to CONFIRMED",
        work: Work::Orders(Via::V2),
    },
    Subject {
        key: "orders_v1",
        what: "orders v1",
        work: Work::Orders(Via::V1),
    },
    Subject {
        key: "resync",
        what: "resync of 10,000 hot products",
        work: Work::Resync,
    },
];
