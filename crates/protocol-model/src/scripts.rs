//! Owns the scripts that change the keys of a product in Redis: [`reserve`], [`apply`], [`release`], [`remember`],
//! [`load`]. Each is one step, as Redis runs a script. They follow the files in `lua/` of the project; a batch is
//! the same as its parts one after the other, so one request, one fact or one release at a time is enough.

use crate::config::{Config, Remembers};
use crate::ledger::{Fact, Ledger, Settles};
use crate::mutants::Mutant;
use crate::state::{Redis, SENTINEL};

/// What `reserve` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// Not loaded; the lease is the caller's.
    Load,
    /// Not loaded and somebody else loads, or the sold set is short: ask the database.
    Cold,
    /// Units are held for this id.
    Held,
    /// The id got stock before.
    Replay,
    /// Fewer units than asked for.
    SoldOut,
    /// The buyer has his share.
    Limit,
}

/// Removes what is left of a product that lost one of its parts.
pub fn notice(config: &Config, redis: &mut Redis) {
    let half = (redis.has_counter || redis.has_v) && !is_loaded(config, redis);
    if half {
        *redis = Redis::default();
    }
}

/// Counter, `v` and the sold set all exist.
pub fn is_loaded(config: &Config, redis: &Redis) -> bool {
    redis.loaded() || (config.is(Mutant::HalfIsLoaded) && redis.has_counter)
}

/// Admits or refuses one request. `token` is the lease the caller offers to take.
pub fn reserve(config: &Config, redis: &mut Redis, id: usize, token: u8) -> Reserved {
    notice(config, redis);
    if !is_loaded(config, redis) {
        if config.is(Mutant::MissingIsZero) {
            return Reserved::SoldOut;
        }
        if config.amendments.remembers != Remembers::Sold {
            redis.sold |= 1 << id;
        }
        if redis.lease != 0 {
            return Reserved::Cold;
        }
        take_lease(config, redis, token);
        return Reserved::Load;
    }
    let quantity = config.quantities[id] as i8;
    if redis.has_hold(id) && !config.is(Mutant::ReserveIgnoresHold) {
        return Reserved::Held;
    }
    if redis.sold & (1 << id) != 0 && !config.is(Mutant::ReserveIgnoresSold) {
        return Reserved::Replay;
    }
    let limited = config.limit > 0 && config.is_limited(id);
    let over = limited && redis.bought + quantity > config.limit as i8;
    if redis.counter >= quantity && !over {
        redis.counter -= quantity;
        redis.holds |= 1 << id;
        if config.amendments.remembers == Remembers::Admitted {
            redis.k += u8::from(redis.sold & (1 << id) == 0);
            redis.sold |= 1 << id;
        }
        if limited && !config.is(Mutant::HoldSkipsBuyer) {
            redis.bought += quantity;
        }
        return Reserved::Held;
    }
    if (redis.sold.count_ones() as u8) < redis.k && !config.is(Mutant::ShortSetIsBelieved) {
        return Reserved::Cold;
    }
    if over { Reserved::Limit } else { Reserved::SoldOut }
}

/// The lease is granted. What an earlier load has left of the buyers' units was read at another version.
pub fn take_lease(config: &Config, redis: &mut Redis, token: u8) {
    redis.lease = token;
    redis.remembered = false;
    if !config.is(Mutant::LeaseKeepsBuyers) {
        redis.bought = 0;
    }
}

/// Tells the gate one committed row.
pub fn apply(config: &Config, redis: &mut Redis, fact: Fact) {
    notice(config, redis);
    let bit = 1 << (fact.version - 1);
    if !is_loaded(config, redis) {
        let keeps = redis.lease != 0 && !config.is(Mutant::ApplyKeepsNothing);
        if keeps {
            redis.m |= bit;
            if !config.is(Mutant::KeptFactsSkipSold) {
                remember_fact(config, redis, fact);
            }
        }
        return;
    }
    let (old, out_of_order) = (fact.version <= redis.v, redis.has_m(fact.version));
    let settled = match fact.settles {
        Settles::Nobody => None,
        Settles::Take(id) => Some(id),
        Settles::Give(id) => (!config.is(Mutant::GiveBackKeepsHold)).then_some(id),
    };
    let keeps_hold =
        config.is(Mutant::SettleKeepsHold) || (config.is(Mutant::OldFactKeepsHold) && (old || out_of_order));
    if let Some(id) = settled
        && !keeps_hold
    {
        release_held(config, redis, id);
    }
    let known = (old && !config.is(Mutant::OldFactCountsAgain))
        || (out_of_order && !config.is(Mutant::EarlyFactCountsAgain));
    if !known {
        redis.counter += fact.delta;
        redis.bought += bought(config, fact);
        if !old {
            redis.m |= bit;
        }
    }
    if config.is(Mutant::NewestVersionWins) {
        redis.v = redis.v.max(fact.version);
        redis.m &= !below(redis.v);
    }
    move_up(redis);
    remember_fact(config, redis, fact);
}

/// The request id of a sale enters the sold set, that of a give-back leaves it. `k` follows while loaded.
fn remember_fact(config: &Config, redis: &mut Redis, fact: Fact) {
    let before = redis.sold.count_ones();
    let leaves = !config.is(Mutant::GiveBackStaysSold) && config.amendments.remembers != Remembers::Admitted;
    match fact.settles {
        Settles::Take(id) if !config.is(Mutant::FactsSkipSold) => redis.sold |= 1 << id,
        Settles::Give(id) if leaves => redis.sold &= !(1 << id),
        _ => {}
    }
    if is_loaded(config, redis) {
        redis.k = (redis.k + redis.sold.count_ones() as u8).saturating_sub(before as u8);
    }
}

/// Units the limited buyer has by this fact.
fn bought(config: &Config, fact: Fact) -> i8 {
    match fact.settles {
        Settles::Take(id) | Settles::Give(id) if config.is_limited(id) => -fact.delta,
        _ => 0,
    }
}

/// Moves `v` up over the gapless run of kept facts.
fn move_up(redis: &mut Redis) {
    while redis.v < 8 && redis.has_m(redis.v + 1) {
        redis.m &= !(1 << redis.v);
        redis.v += 1;
    }
}

/// The bits of all versions up to this one.
fn below(version: u8) -> u8 {
    ((1u16 << version) - 1) as u8
}

fn release_held(config: &Config, redis: &mut Redis, id: usize) {
    if redis.has_hold(id) {
        redis.holds &= !(1 << id);
        give_back(config, redis, id);
    }
}

fn give_back(config: &Config, redis: &mut Redis, id: usize) {
    redis.counter += config.quantities[id] as i8;
    if config.is_limited(id) && !config.is(Mutant::HoldSkipsBuyer) {
        redis.bought -= config.quantities[id] as i8;
    }
}

/// Ends a hold that came to nothing.
pub fn release(config: &Config, redis: &mut Redis, id: usize) {
    notice(config, redis);
    if config.is(Mutant::ReleaseIsBlind) && redis.loaded() {
        redis.holds &= !(1 << id);
        give_back(config, redis, id);
    } else {
        release_held(config, redis, id);
    }
}

/// Puts the request ids that own stock at `version` into the sold set, and the units of the buyer beside it, for the
/// holder of the lease. A buyer the ledger does not know is left alone.
pub fn remember(config: &Config, ledger: &Ledger, redis: &mut Redis, token: u8, version: u8) -> bool {
    notice(config, redis);
    if is_loaded(config, redis) || redis.lease != token {
        return false;
    }
    redis.sold |= owners(config, ledger, version);
    if config.limited_ids().any(|id| ledger.knows_at(id, version)) {
        redis.bought = ledger.bought(config, version);
    }
    redis.remembered = config.amendments.checks_ids;
    true
}

/// The set of request ids that own stock at a version.
pub fn owners(config: &Config, ledger: &Ledger, version: u8) -> u8 {
    let ids = 0..config.quantities.len();
    ids.filter(|id| ledger.owns_at(*id, version))
        .fold(0, |set, id| set | 1 << id)
}

/// Opens the gate with the balance that was read at `version`. Answers whether it was taken.
pub fn load(config: &Config, ledger: &Ledger, redis: &mut Redis, token: u8, version: u8) -> bool {
    notice(config, redis);
    if is_loaded(config, redis) {
        if !config.is(Mutant::LoadOverwrites) {
            return false;
        }
    } else if redis.lease != token && !config.is(Mutant::LoadWithoutLease) {
        return false;
    }
    if config.amendments.checks_ids && !redis.remembered && owners(config, ledger, version) != 0 {
        return false;
    }
    redis.m &= !below(version);
    if config.is(Mutant::LoadDropsKept) {
        redis.m = 0;
    }
    redis.counter = ledger.balance(config, version);
    for kept in (version + 1..=ledger.rows).filter(|n| redis.m & 1 << (n - 1) != 0) {
        let fact = ledger.fact(config, kept);
        redis.counter += fact.delta;
        if !config.is(Mutant::KeptFactsSkipBuyer) {
            redis.bought += bought(config, fact);
        }
    }
    redis.v = version;
    move_up(redis);
    (redis.has_counter, redis.has_v) = (true, true);
    redis.sold |= SENTINEL;
    redis.k = redis.sold.count_ones() as u8;
    redis.remembered = false;
    redis.lease = 0;
    true
}
