//! Owns the named configurations, in four groups: without faults, with faults, holes of the protocol as it is
//! written, and the same with what closes them.

use crate::config::{Amendments, Config, Faults, Promises, Remembers};

/// Without faults: everything is promised.
pub const WITHOUT_FAULTS: &[Config] = &[
    Config {
        name: "loaded",
        about: "loaded; 3 ids of 1, 1 and 2 units; restock and adjust",
        stock: 2,
        quantities: &[1, 1, 2],
        restocks: 1,
        adjusts: 1,
        starts_loaded: true,
        ..Config::BASE
    },
    Config {
        name: "loaded-three",
        about: "loaded; 3 ids with 2 attempts, 2 units",
        stock: 2,
        quantities: &[1, 1, 1],
        attempts: 2,
        starts_loaded: true,
        ..Config::BASE
    },
    Config {
        name: "loaded-retries",
        about: "loaded; 2 ids with 3 attempts; restock",
        attempts: 3,
        restocks: 1,
        starts_loaded: true,
        ..Config::BASE
    },
    Config {
        name: "loaded-void",
        about: "loaded; 2 ids with 2 attempts; clients give up or cancel; restock",
        attempts: 2,
        restocks: 1,
        cancels: 1,
        gives_up: true,
        starts_loaded: true,
        ..Config::BASE
    },
    Config {
        name: "loaded-limit",
        about: "loaded; purchase limit of 1, 2 of 3 ids are one buyer's; clients give up or cancel",
        stock: 2,
        quantities: &[1, 1, 1],
        limit: 1,
        limited_requests: 2,
        cancels: 1,
        gives_up: true,
        starts_loaded: true,
        ..Config::BASE
    },
    Config {
        name: "cold",
        about: "not loaded; 3 ids of 1, 1 and 2 units; restock; leases expire",
        stock: 2,
        quantities: &[1, 1, 2],
        restocks: 1,
        faults: SLOW_LOADS,
        ..Config::BASE
    },
    Config {
        name: "cold-limit",
        about: "not loaded; purchase limit of 1, 2 of 3 ids are one buyer's; a client cancels",
        stock: 2,
        quantities: &[1, 1, 1],
        limit: 1,
        limited_requests: 2,
        cancels: 1,
        ..Config::BASE
    },
    Config {
        name: "cold-retries",
        about: "not loaded; 2 ids with 2 attempts; restock; leases expire; no promise to retries (see hole-cold)",
        attempts: 2,
        restocks: 1,
        promises: Promises::EXACT,
        faults: SLOW_LOADS,
        ..Config::BASE
    },
    Config {
        name: "switch",
        about: "an operator unloads, loads and unloads; any path; leases expire",
        switches: 3,
        faults: Faults {
            any_path: true,
            ..SLOW_LOADS
        },
        ..Config::BASE
    },
];

/// With faults: safety, the invariant and no drift; more where it holds.
pub const WITH_FAULTS: &[Config] = &[
    Config {
        name: "flush",
        about: "emptied once, messages repeated, any path, lock waits too long; nobody is refused for nothing",
        restocks: 1,
        cancels: 1,
        promises: Promises {
            complete: false,
            ..Promises::EXACT
        },
        faults: Faults {
            flushes: 1,
            any_path: true,
            repeat: true,
            busy: true,
            ..SLOW_LOADS
        },
        ..Config::BASE
    },
    Config {
        name: "damage",
        about: "a key is lost, counter or v is changed, messages are lost, processes die; restock",
        restocks: 1,
        promises: Promises::SAFETY,
        starts_loaded: true,
        faults: Faults {
            key_losses: 1,
            corruptions: 1,
            lose: true,
            kill: true,
            any_path: true,
            slow_holds: true,
            ..Faults::NONE
        },
        ..Config::BASE
    },
    Config {
        name: "lost-id",
        about: "the sold set loses a member: retries are answered all the same",
        attempts: 2,
        promises: Promises {
            exact: false,
            ..Promises::ALL
        },
        starts_loaded: true,
        faults: Faults {
            lost_ids: 1,
            ..Faults::NONE
        },
        ..Config::BASE
    },
    Config {
        name: "failover",
        about: "loaded; 2 ids; failover to an older copy; messages are lost and repeated, processes die; void",
        cancels: 1,
        attempts: 2,
        promises: Promises::SAFETY,
        starts_loaded: true,
        faults: Faults {
            failovers: 1,
            any_path: true,
            lose: true,
            repeat: true,
            kill: true,
            slow_holds: true,
            ..SLOW_LOADS
        },
        ..Config::BASE
    },
    Config {
        name: "cold-losses",
        about: "not loaded; 2 ids with 2 attempts; emptied once; messages are lost, processes die",
        attempts: 2,
        promises: Promises::SAFETY,
        faults: Faults {
            flushes: 1,
            any_path: true,
            lose: true,
            kill: true,
            slow_holds: true,
            ..SLOW_LOADS
        },
        ..Config::BASE
    },
    Config {
        name: "limit-losses",
        about: "purchase limit of 1, 2 ids of one buyer; cancel; emptied once; messages lost and repeated, deaths",
        stock: 2,
        limit: 1,
        limited_requests: 2,
        cancels: 1,
        promises: Promises::SAFETY,
        faults: Faults {
            flushes: 1,
            any_path: true,
            lose: true,
            repeat: true,
            kill: true,
            slow_holds: true,
            ..SLOW_LOADS
        },
        ..Config::BASE
    },
    Config {
        name: "one-id",
        about: "1 id with 3 attempts; every fault of messages and processes; emptied once; void",
        quantities: &[1],
        attempts: 3,
        cancels: 1,
        gives_up: true,
        promises: Promises::SAFETY,
        faults: Faults {
            flushes: 1,
            ..Faults::EVERY_MESSAGE
        },
        ..Config::BASE
    },
    Config {
        name: "every-message",
        about: "loaded; 2 ids with 2 attempts; every fault of messages and processes",
        attempts: 2,
        promises: Promises::SAFETY,
        starts_loaded: true,
        faults: Faults::EVERY_MESSAGE,
        ..Config::BASE
    },
];

/// Too large for a test: on demand.
pub const DEEP: &[Config] = &[
    Config {
        name: "deep-flush",
        about: "not loaded; 2 ids; every fault of messages and processes; emptied once",
        promises: Promises::SAFETY,
        faults: Faults {
            flushes: 1,
            ..Faults::EVERY_MESSAGE
        },
        ..Config::BASE
    },
    Config {
        name: "deep-void",
        about: "loaded; 3 ids of 1, 1 and 2 units with 2 attempts; restock; void; no faults",
        stock: 2,
        quantities: &[1, 1, 2],
        attempts: 2,
        restocks: 1,
        cancels: 1,
        gives_up: true,
        starts_loaded: true,
        ..Config::BASE
    },
    Config {
        name: "deep-one",
        about: "1 id with 2 attempts; every fault; emptied once and one failover; void",
        quantities: &[1],
        attempts: 2,
        cancels: 1,
        gives_up: true,
        promises: Promises::SAFETY,
        faults: Faults {
            flushes: 1,
            failovers: 1,
            ..Faults::EVERY_MESSAGE
        },
        ..Config::BASE
    },
    Config {
        name: "deep-everything",
        about: "not loaded; 3 ids of 1, 1 and 2 units with 2 attempts; every fault, each of them; restock; void",
        stock: 2,
        quantities: &[1, 1, 2],
        attempts: 2,
        restocks: 1,
        cancels: 1,
        gives_up: true,
        promises: Promises::SAFETY,
        faults: Faults {
            flushes: 1,
            failovers: 1,
            key_losses: 1,
            ..Faults::EVERY_MESSAGE
        },
        ..Config::BASE
    },
];

/// What the protocol, as it is written, does not keep. A test asserts that each is still found.
pub const HOLES: &[Config] = &[
    HOLE_COLD,
    Config {
        name: "hole-cold-unsold",
        about: "the same, looked at from the end: two buyers, one unit, nobody has it",
        promises: Promises {
            complete: true,
            ..Promises::EXACT
        },
        ..HOLE_COLD
    },
    HOLE_RELEASE,
    HOLE_BUSY,
    HOLE_COPY,
    HOLE_FLUSH,
];

/// The holes, with the amendment that closes them. [`HOLES`]' `hole-flush` is a fault and stays.
pub const AMENDED: &[Config] = &[
    Config {
        name: "amended-cold",
        about: "hole-cold with restock and expiring leases; ids that were passed on are remembered",
        restocks: 1,
        faults: SLOW_LOADS,
        amendments: PASSED,
        ..HOLE_COLD
    },
    Config {
        name: "amended-admitted",
        about: "hole-cold with restock and expiring leases; ids that were admitted are remembered as well",
        restocks: 1,
        faults: SLOW_LOADS,
        amendments: ADMITTED,
        ..HOLE_COLD
    },
    Config {
        name: "amended-release",
        about: "hole-release; ids that were admitted are remembered",
        amendments: ADMITTED,
        ..HOLE_RELEASE
    },
    Config {
        name: "amended-busy",
        about: "hole-busy; ids that were admitted are remembered",
        amendments: ADMITTED,
        ..HOLE_BUSY
    },
    Config {
        name: "amended-copy",
        about: "hole-copy; load checks that its ids were remembered",
        amendments: Amendments::ALL,
        ..HOLE_COPY
    },
];

const SLOW_LOADS: Faults = Faults {
    lease_expiry: true,
    ..Faults::NONE
};
const PASSED: Amendments = Amendments {
    remembers: Remembers::Passed,
    checks_ids: false,
};
const ADMITTED: Amendments = Amendments {
    remembers: Remembers::Admitted,
    checks_ids: false,
};

const HOLE_COLD: Config = Config {
    name: "hole-cold",
    about: "not loaded; 2 ids with 2 attempts; no faults: a fact of the time before the load overtaken by a retry",
    attempts: 2,
    ..Config::BASE
};

const HOLE_RELEASE: Config = Config {
    name: "hole-release",
    about: "loaded; 2 ids with 3 attempts; adjust and restock; no faults: one attempt releases the hold of another",
    attempts: 3,
    restocks: 1,
    adjusts: 1,
    starts_loaded: true,
    ..Config::BASE
};

const HOLE_BUSY: Config = Config {
    name: "hole-busy",
    about: "loaded; 2 ids with 3 attempts; RETRY_LATER: one attempt releases the hold of another",
    attempts: 3,
    starts_loaded: true,
    promises: Promises {
        exact: true,
        complete: false,
        replays: true,
        owners: true,
    },
    faults: Faults {
        busy: true,
        ..Faults::NONE
    },
    ..Config::BASE
};

const HOLE_COPY: Config = Config {
    name: "hole-copy",
    about: "failover between remember and load: the older copy has the lease and not the ids",
    promises: Promises {
        owners: true,
        ..Promises::SAFETY
    },
    faults: Faults {
        failovers: 1,
        any_path: true,
        lease_expiry: true,
        kill: true,
        ..Faults::NONE
    },
    ..Config::BASE
};

const HOLE_FLUSH: Config = Config {
    name: "hole-flush",
    about: "loaded; emptied once: a hold is forgotten, its fact overtaken by load and retry",
    attempts: 2,
    starts_loaded: true,
    faults: Faults {
        flushes: 1,
        ..Faults::NONE
    },
    amendments: ADMITTED,
    ..Config::BASE
};

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Config> {
    WITHOUT_FAULTS
        .iter()
        .chain(WITH_FAULTS)
        .chain(DEEP)
        .chain(HOLES)
        .chain(AMENDED)
}

/// The configuration with this name.
pub fn find(name: &str) -> Option<&'static Config> {
    all().find(|config| config.name == name)
}
