//! Owns the state: everything a step may read or change, small enough to keep millions of them.
//!
//! Request ids with the same quantity and buyer are interchangeable, and so are the loaders of the instances;
//! [`State::canonical`] renames them so that states which differ only by names are one.

use crate::config::Config;
use crate::ledger::Ledger;

/// How many request ids a configuration may have.
pub const REQUESTS_MAX: usize = 3;
/// How many attempts of one request id may exist.
pub const ATTEMPTS_MAX: usize = 3;
/// How many loaders may be at work (one per instance).
pub const LOADERS_MAX: usize = 2;

/// Where the client of a request id stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Client {
    /// Nothing sent yet.
    #[default]
    Idle,
    /// Asked, no answer that ends it yet.
    Waiting,
    /// Told yes.
    Yes,
    /// Told no, with no attempt of unknown outcome.
    No,
    /// Gave up, was told no after an unknown attempt, or cancels: voids until acknowledged.
    Voiding,
    /// Its void was acknowledged.
    Voided,
}

/// Where one attempt of a request stands inside the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Attempt {
    /// Not there: not started, answered or dead.
    #[default]
    None,
    /// On its way; the next thing is `reserve` or, with the breaker open, the database.
    Sent,
    /// Has to be decided; `reserve` said `held`.
    Held,
    /// Has to be decided; `reserve` said `replay`, `cold` or `load`, or failed.
    Plain,
}

/// A request id with its client and its attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// The client.
    pub client: Client,
    /// First the attempt whose answer the client waits for, then the zombies, sorted.
    pub attempts: [Attempt; ATTEMPTS_MAX],
    /// Attempts started so far.
    pub started: u8,
    /// The client has had an attempt with unknown outcome.
    pub unknown: bool,
}

impl Request {
    /// Turns the live attempt, if there is one, into a zombie: the client no longer listens to it.
    pub fn abandon(&mut self) {
        if self.attempts[0] == Attempt::None {
            return;
        }
        let live = std::mem::take(&mut self.attempts[0]);
        if let Some(free) = self.attempts[1..].iter_mut().find(|a| **a == Attempt::None) {
            *free = live;
        }
        self.unknown = true;
        self.sort_zombies();
    }

    /// Zombies of one request differ in nothing but what they do next.
    pub fn sort_zombies(&mut self) {
        self.attempts[1..].sort_unstable_by(|a, b| b.cmp(a));
    }
}

/// A lease or loader token that nobody holds any more.
pub const DEAD_TOKEN: u8 = LOADERS_MAX as u8 + 1;
/// The member of the sold set that `load` puts there.
pub const SENTINEL: u8 = 1 << 7;

/// The keys of the product in Redis. Sets are bit sets: of request ids, or of versions (bit `version - 1`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Redis {
    /// `stock:{id}`; meaningless unless `has_counter`.
    pub counter: i8,
    /// The counter exists.
    pub has_counter: bool,
    /// Field `v`; meaningless unless `has_v`.
    pub v: u8,
    /// Field `v` exists.
    pub has_v: bool,
    /// Fields `m:<version>`.
    pub m: u8,
    /// Field `k`.
    pub k: u8,
    /// Field `t`: 0 none or expired, else the token of a loader.
    pub lease: u8,
    /// Fields `h:<request id>`.
    pub holds: u8,
    /// The set of request ids that got stock, with its sentinel. An empty set does not exist.
    pub sold: u8,
    /// Amendment `checks_ids`: the ids were remembered under the lease of now.
    pub remembered: bool,
    /// Field `b:<buyer>` of the one buyer who is limited.
    pub bought: i8,
}

impl Redis {
    /// Counter, `v` and the sold set all exist.
    pub fn loaded(&self) -> bool {
        self.has_counter && self.has_v && self.sold != 0
    }

    /// The hold of this request id exists.
    pub fn has_hold(&self, id: usize) -> bool {
        self.holds & (1 << id) != 0
    }

    /// The version is contained in the counter.
    pub fn contains(&self, version: u8) -> bool {
        version <= self.v || self.has_m(version)
    }

    /// The field `m:<version>` exists.
    pub fn has_m(&self, version: u8) -> bool {
        self.m & (1 << (version - 1)) != 0
    }
}

/// How far a load has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Stage {
    /// No load.
    #[default]
    None,
    /// A mutant only: has read the database and has no lease yet.
    ReadEarly,
    /// Has been granted the lease.
    Leased,
    /// Has read the database.
    Read,
    /// Has put the request ids into the sold set; `load` is on its way.
    Chunked,
}

/// The background load of one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Loader {
    /// How far it has come.
    pub stage: Stage,
    /// The version at which it read the database.
    pub version: u8,
}

/// How often each bounded step was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spent {
    /// Positive adjustments.
    pub restocks: u8,
    /// Negative adjustments.
    pub adjusts: u8,
    /// Orders cancelled after a yes.
    pub cancels: u8,
    /// Redis emptied.
    pub flushes: u8,
    /// Copies of Redis taken.
    pub copies: u8,
    /// Failovers to the copy.
    pub failovers: u8,
    /// Keys lost.
    pub key_losses: u8,
    /// The counter or `v` changed by somebody else.
    pub corruptions: u8,
    /// Members of the sold set lost.
    pub lost_ids: u8,
    /// Unloads and loads by an operator.
    pub switches: u8,
}

/// Whether the product is hot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Strategy {
    /// `REDIS_FIRST`.
    #[default]
    RedisFirst,
    /// `DB_ONLY` in the database; the keys are still to be deleted.
    Unloading,
    /// `DB_ONLY`, and the keys were deleted.
    DbOnly,
}

/// Everything there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    /// Clients and attempts.
    pub requests: [Request; REQUESTS_MAX],
    /// Postgres.
    pub ledger: Ledger,
    /// Redis.
    pub redis: Redis,
    /// An older copy of Redis (a replica that fell behind, a dump), while one exists.
    pub copy: Redis,
    /// Facts on their way to `apply`, by version.
    pub facts: u8,
    /// Releases on their way to `apply`, by request id.
    pub releases: u8,
    /// `reserve` calls still on their way whose caller has given up waiting, by request id.
    pub late_reserves: u8,
    /// Loads.
    pub loaders: [Loader; LOADERS_MAX],
    /// `DB_ONLY` or `REDIS_FIRST`.
    pub strategy: Strategy,
    /// Bounded steps.
    pub spent: Spent,
}

impl State {
    /// The first state of a configuration.
    pub fn initial(config: &Config) -> State {
        let mut state = State::default();
        if config.starts_loaded {
            state.redis = Redis {
                counter: config.stock as i8,
                has_counter: true,
                has_v: true,
                sold: SENTINEL,
                k: 1,
                ..Redis::default()
            };
        }
        state
    }

    /// Nothing is on its way and nobody is at work.
    pub fn is_quiet(&self) -> bool {
        self.facts == 0
            && self.releases == 0
            && self.late_reserves == 0
            && self.strategy != Strategy::Unloading
            && self.loaders.iter().all(|l| l.stage == Stage::None)
            && self
                .requests
                .iter()
                .all(|r| r.attempts.iter().all(|a| *a == Attempt::None))
    }

    /// A copy of Redis exists.
    pub fn has_copy(&self) -> bool {
        self.spent.copies > self.spent.failovers
    }

    /// The same state under the names that sort first.
    pub fn canonical(mut self, config: &Config) -> State {
        if self.loader_rank(0) < self.loader_rank(1) {
            self.swap_loaders();
        }
        let count = config.quantities.len();
        for pass in 1..count {
            for left in 0..count - pass {
                let right = left + 1;
                if config.interchangeable(left, right) && self.request_rank(left) < self.request_rank(right) {
                    self.swap_requests(left, right);
                }
            }
        }
        self
    }

    fn loader_rank(&self, slot: usize) -> (Loader, bool, bool) {
        let token = slot as u8 + 1;
        (
            self.loaders[slot],
            self.redis.lease == token,
            self.copy.lease == token,
        )
    }

    fn swap_loaders(&mut self) {
        self.loaders.swap(0, 1);
        for lease in [&mut self.redis.lease, &mut self.copy.lease] {
            *lease = match *lease {
                1 => 2,
                2 => 1,
                other => other,
            };
        }
    }

    fn request_rank(&self, id: usize) -> (Request, u8, u8, u8) {
        let sets = [
            self.redis.holds,
            self.redis.sold,
            self.copy.holds,
            self.copy.sold,
            self.releases,
            self.late_reserves,
            self.ledger.tombstones,
        ];
        let bits = sets.iter().fold(0, |bits, set| bits << 1 | (set >> id & 1));
        (
            self.requests[id],
            self.ledger.taken[id],
            self.ledger.given[id],
            bits,
        )
    }

    fn swap_requests(&mut self, a: usize, b: usize) {
        self.requests.swap(a, b);
        self.ledger.taken.swap(a, b);
        self.ledger.given.swap(a, b);
        for set in [
            &mut self.redis.holds,
            &mut self.redis.sold,
            &mut self.copy.holds,
            &mut self.copy.sold,
            &mut self.releases,
            &mut self.late_reserves,
            &mut self.ledger.tombstones,
        ] {
            let differ = (*set >> a ^ *set >> b) & 1;
            *set ^= differ << a | differ << b;
        }
    }
}
