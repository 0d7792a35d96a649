//! Owns what a run explores: how much stock, which requests, which faults, which promises, which mutant.

use crate::mutants::Mutant;

/// What may go wrong. Messages are always delayed and reordered, clients are always impatient as far as the
/// number of attempts allows: neither is a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The breaker may be open: any request may go to the database at any time.
    pub any_path: bool,
    /// Facts and releases are lost.
    pub lose: bool,
    /// Facts, releases and loads arrive more than once.
    pub repeat: bool,
    /// Attempts and loaders die at any step (a killed process is several of these).
    pub kill: bool,
    /// `reserve` arrives after its caller has stopped waiting.
    pub late_reserve: bool,
    /// A commit happens, its outcome stays unknown, the transaction is repeated. A void's answer is lost.
    pub unknown_commit: bool,
    /// The row lock is not to be had in time: `RETRY_LATER`.
    pub busy: bool,
    /// A lease expires before its loader is done.
    pub lease_expiry: bool,
    /// Deadlines of holds pass while their requests are alive.
    pub slow_holds: bool,
    /// How often Redis is emptied (FLUSHALL, restart empty, the keys' life ends).
    pub flushes: u8,
    /// How often Redis fails over to an older copy of itself.
    pub failovers: u8,
    /// How often one of the keys is lost.
    pub key_losses: u8,
    /// How often the counter or `v` is changed by one by somebody else.
    pub corruptions: u8,
    /// How often a member of the sold set is lost.
    pub lost_ids: u8,
}

impl Faults {
    /// None.
    pub const NONE: Faults = Faults {
        any_path: false,
        lose: false,
        repeat: false,
        kill: false,
        late_reserve: false,
        unknown_commit: false,
        busy: false,
        lease_expiry: false,
        slow_holds: false,
        flushes: 0,
        failovers: 0,
        key_losses: 0,
        corruptions: 0,
        lost_ids: 0,
    };

    /// Every fault that is not counted.
    pub const EVERY_MESSAGE: Faults = Faults {
        any_path: true,
        lose: true,
        repeat: true,
        kill: true,
        late_reserve: true,
        unknown_commit: true,
        busy: true,
        lease_expiry: true,
        slow_holds: true,
        ..Faults::NONE
    };
}

/// Which promises beyond safety are checked. Safety is checked always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promises {
    /// Nobody is refused while units are unheld, no fact is forgotten, and once quiet nothing is left over.
    pub exact: bool,
    /// Once quiet, exactly min(N, M) units are sold (runs of unit quantities in which nobody gives back).
    pub complete: bool,
    /// A retry of a success is never told sold out.
    pub replays: bool,
    /// Once quiet and reconciled, every owner is in the sold set, or `k` shows that the set is short.
    pub owners: bool,
}

impl Promises {
    /// Safety only.
    pub const SAFETY: Promises = Promises {
        exact: false,
        complete: false,
        replays: false,
        owners: false,
    };
    /// Everything.
    pub const ALL: Promises = Promises {
        exact: true,
        complete: true,
        replays: true,
        owners: true,
    };
    /// Everything but what is promised to retries.
    pub const EXACT: Promises = Promises {
        complete: false,
        replays: false,
        ..Promises::ALL
    };
}

/// Which request ids the sold set remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Remembers {
    /// As the protocol is written: those of committed rows.
    #[default]
    Sold,
    /// Amendment: also those that `reserve` answers `cold` or `load`.
    Passed,
    /// Amendment: also those that `reserve` answers `held`; a give-back leaves them in the set.
    Admitted,
}

/// Changes of the protocol that are not in it: each closes a hole that the model found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amendments {
    /// What enters the sold set.
    pub remembers: Remembers,
    /// `load` refuses unless every id it is to find was remembered under its lease (`remember` counts them in the
    /// gate's hash, which an older copy of Redis takes back together with the set).
    pub checks_ids: bool,
}

impl Amendments {
    /// The protocol as it is written.
    pub const NONE: Amendments = Amendments {
        remembers: Remembers::Sold,
        checks_ids: false,
    };
    /// All of them.
    pub const ALL: Amendments = Amendments {
        remembers: Remembers::Admitted,
        checks_ids: true,
    };
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Initial stock.
    pub stock: u8,
    /// Quantity per request id.
    pub quantities: &'static [u8],
    /// Attempts per request id.
    pub attempts: u8,
    /// Loads that may be at work at the same time: one per instance.
    pub instances: usize,
    /// Units per buyer; 0: no limit.
    pub limit: u8,
    /// The first so many request ids are orders of one buyer; the others are of buyers with one order each.
    pub limited_requests: usize,
    /// Positive adjustments by one.
    pub restocks: u8,
    /// Negative adjustments by one.
    pub adjusts: u8,
    /// Orders that cancel after a yes.
    pub cancels: u8,
    /// Clients give up while an attempt is under way.
    pub gives_up: bool,
    /// Unloads and loads by an operator.
    pub switches: u8,
    /// The product is loaded in the first state.
    pub starts_loaded: bool,
    /// What may go wrong.
    pub faults: Faults,
    /// What is promised.
    pub promises: Promises,
    /// What is done that the protocol does not say.
    pub amendments: Amendments,
    /// The rule that is broken on purpose.
    pub mutant: Option<Mutant>,
}

impl Config {
    /// The protocol as it is written, one instance of everything; the named configurations depart from it.
    pub const BASE: Config = Config {
        name: "base",
        about: "",
        stock: 1,
        quantities: &[1, 1],
        attempts: 1,
        instances: 2,
        limit: 0,
        limited_requests: 0,
        restocks: 0,
        adjusts: 0,
        cancels: 0,
        gives_up: false,
        switches: 0,
        starts_loaded: false,
        faults: Faults::NONE,
        promises: Promises::ALL,
        amendments: Amendments::NONE,
        mutant: None,
    };

    /// This run, with one rule broken.
    pub fn with(self, mutant: Mutant) -> Config {
        Config {
            mutant: Some(mutant),
            ..self
        }
    }

    /// Whether this rule is broken.
    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Whether the request id is an order of the limited buyer.
    pub fn is_limited(&self, id: usize) -> bool {
        id < self.limited_requests
    }

    /// The orders of the limited buyer.
    pub fn limited_ids(&self) -> impl Iterator<Item = usize> {
        0..self.limited_requests
    }

    /// Whether two request ids differ in their names only.
    pub fn interchangeable(&self, a: usize, b: usize) -> bool {
        self.quantities[a] == self.quantities[b] && self.is_limited(a) == self.is_limited(b)
    }
}
