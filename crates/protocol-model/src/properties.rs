//! Owns what must be true: in every state ([`check`]), at a refusal by the gate ([`refusal`]), and once quiet.

use std::fmt;

use crate::config::Config;
use crate::scripts::{self, Reserved};
use crate::state::{Client, Redis, SENTINEL, State, Strategy};

/// A property that a state or a step breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Stock below zero.
    Oversold,
    /// A request id took stock, or gave it back, twice.
    SecondEffect,
    /// A client that ended in a no owns units.
    NoButOwns,
    /// A request is answered yes though its units were given back, or are not there.
    YesButOwnsNothing,
    /// `counter = balance(v) + sum(m) - sum(holds)` does not hold.
    InvariantBroken,
    /// The buyer's units at the gate are not what ledger and holds say.
    BuyerBroken,
    /// A committed fact has been delivered and is not contained.
    FactForgotten,
    /// A buyer was refused though units were neither sold nor held.
    RefusedWhileUnheld,
    /// A request id that owns units was told that there are none.
    RetryToldSoldOut,
    /// Once quiet, in a run without faults, counter and stock differ or a hold is left.
    LeftOver,
    /// Once quiet, in a run without faults, fewer units are sold than could be.
    SoldTooFew,
    /// Once quiet and reconciled, counter and stock differ, a hold is left or the product is not loaded.
    Drift,
    /// Once quiet and reconciled, an owner is missing in the sold set and `k` does not show it.
    OwnerForgotten,
    /// The product is `DB_ONLY`, its keys were deleted, and the gate is loaded.
    LoadedThoughOff,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Violation::Oversold => "oversold: the stock is below zero",
            Violation::SecondEffect => "a request id has a second effect",
            Violation::NoButOwns => "told no, and owns units",
            Violation::YesButOwnsNothing => "told yes, and owns nothing",
            Violation::InvariantBroken => "counter = balance(v) + sum(m) - sum(holds) is broken",
            Violation::BuyerBroken => "the buyer's units at the gate are not his orders and holds",
            Violation::FactForgotten => "a fact was delivered and is not contained",
            Violation::RefusedWhileUnheld => "refused while units are unheld",
            Violation::RetryToldSoldOut => "the retry of a success is told sold out",
            Violation::LeftOver => "quiet without faults, and the gate is not the stock",
            Violation::SoldTooFew => "quiet without faults, and fewer than min(N, M) units are sold",
            Violation::Drift => "quiet and reconciled, and the gate is not the stock",
            Violation::OwnerForgotten => "quiet and reconciled, and an owner is not in the sold set",
            Violation::LoadedThoughOff => "DB_ONLY, and the gate is loaded",
        })
    }
}

/// What this state breaks, if anything.
pub fn check(config: &Config, state: &State) -> Result<(), Violation> {
    if state.ledger.stock(config) < 0 {
        return Err(Violation::Oversold);
    }
    for id in 0..config.quantities.len() {
        let owns = state.ledger.owns(id);
        match state.requests[id].client {
            Client::No | Client::Voided if owns => return Err(Violation::NoButOwns),
            Client::Yes if !owns => return Err(Violation::YesButOwnsNothing),
            _ => {}
        }
    }
    let loaded = scripts::is_loaded(config, &state.redis);
    if loaded && state.strategy == Strategy::DbOnly && config.faults.failovers == 0 {
        return Err(Violation::LoadedThoughOff);
    }
    if loaded && state.spent.corruptions == 0 {
        if !balanced(config, state) {
            return Err(Violation::InvariantBroken);
        }
        if !buyer_balanced(config, state) {
            return Err(Violation::BuyerBroken);
        }
        let known = |version: u8| state.redis.contains(version) || state.facts >> (version - 1) & 1 == 1;
        if config.promises.exact && !(1..=state.ledger.rows).all(known) {
            return Err(Violation::FactForgotten);
        }
    }
    if state.is_quiet() {
        quiet(config, state)
    } else {
        Ok(())
    }
}

/// `counter = balance(v) + sum(m) - sum(holds)`, which is what peek and one ledger row can tell.
pub fn balanced(config: &Config, state: &State) -> bool {
    let (redis, ledger) = (&state.redis, &state.ledger);
    let kept: i8 = kept(state)
        .map(|version| ledger.fact(config, version).delta)
        .sum();
    let held: i8 = held(config, redis).map(|id| config.quantities[id] as i8).sum();
    redis.counter == ledger.balance(config, redis.v) + kept - held
}

fn buyer_balanced(config: &Config, state: &State) -> bool {
    let (redis, ledger) = (&state.redis, &state.ledger);
    let contains = |version: u8| version != 0 && redis.contains(version);
    let units = |id: usize| {
        let times = i8::from(contains(ledger.taken[id])) - i8::from(contains(ledger.given[id]))
            + i8::from(redis.has_hold(id));
        times * config.quantities[id] as i8
    };
    redis.bought == config.limited_ids().map(units).sum::<i8>()
}

fn kept(state: &State) -> impl Iterator<Item = u8> {
    (1..=state.ledger.rows).filter(|version| state.redis.has_m(*version))
}

fn held(config: &Config, redis: &Redis) -> impl Iterator<Item = usize> {
    (0..config.quantities.len()).filter(|id| redis.has_hold(*id))
}

/// Whether the gate may refuse this request in this state. Units are unheld when they are in stock, when no
/// undecided request holds them, and when the gate has been told of them: a restock or a give-back that is still
/// on its way is no unit yet.
pub fn refusal(config: &Config, state: &State, id: usize, said: Reserved) -> Option<Violation> {
    let ledger = &state.ledger;
    if config.promises.replays && ledger.owns(id) {
        return Some(Violation::RetryToldSoldOut);
    }
    if !config.promises.exact {
        return None;
    }
    let quantity = |id: usize| config.quantities[id] as i8;
    // A hold stands for a take that is not contained yet; a hold for an owner that is contained holds nothing.
    let contained = |version: u8| version != 0 && state.redis.contains(version);
    let undecided = |id: &usize| {
        let new = ledger.taken[*id] == 0 || (ledger.given[*id] != 0 && contained(ledger.taken[*id]));
        state.redis.has_hold(*id) && new
    };
    let on_its_way = |version: &u8| state.facts >> (version - 1) & 1 == 1 && !state.redis.contains(*version);
    let held: i8 = (0..config.quantities.len()).filter(undecided).map(quantity).sum();
    let coming: i8 = (1..=ledger.rows)
        .filter(on_its_way)
        .map(|version| ledger.fact(config, version).delta.max(0))
        .sum();
    let unheld = ledger.stock(config) - held - coming;
    let mut refused_wrongly = unheld >= quantity(id);
    if said == Reserved::Limit {
        let holds: i8 = config.limited_ids().filter(undecided).map(quantity).sum();
        let leaving: i8 = config
            .limited_ids()
            .filter(|id| ledger.given[*id] != 0 && on_its_way(&ledger.given[*id]))
            .map(quantity)
            .sum();
        let bought = ledger.bought(config, ledger.rows) + holds + leaving;
        refused_wrongly &= bought + quantity(id) <= config.limit as i8;
    }
    refused_wrongly.then_some(Violation::RefusedWhileUnheld)
}

fn quiet(config: &Config, state: &State) -> Result<(), Violation> {
    let settled = |redis: &Redis| {
        redis.counter == state.ledger.stock(config)
            && redis.holds == 0
            && redis.v == state.ledger.rows
            && redis.m == 0
            && redis.bought == state.ledger.bought(config, state.ledger.rows)
    };
    if config.promises.exact && scripts::is_loaded(config, &state.redis) && !settled(&state.redis) {
        return Err(Violation::LeftOver);
    }
    if config.promises.complete && sold_too_few(config, state) {
        return Err(Violation::SoldTooFew);
    }
    if state.strategy != Strategy::RedisFirst {
        return Ok(());
    }
    let redis = reconciled(config, state);
    if !redis.loaded() || !settled(&redis) {
        return Err(Violation::Drift);
    }
    if !config.promises.owners {
        return Ok(());
    }
    let owners = scripts::owners(config, &state.ledger, state.ledger.rows) | SENTINEL;
    if redis.sold & owners != owners && redis.sold.count_ones() as u8 >= redis.k {
        return Err(Violation::OwnerForgotten);
    }
    Ok(())
}

/// N buyers of one unit each, M units: exactly min(N, M) are sold. Only runs in which nobody gives back of his own
/// accord: a void then follows a no, and is as good as one.
fn sold_too_few(config: &Config, state: &State) -> bool {
    let units = config.quantities.iter().all(|quantity| *quantity == 1);
    let moved = config.restocks + config.adjusts + config.limit + config.cancels > 0 || config.gives_up;
    let count = |client: Client| state.requests.iter().filter(|r| r.client == client).count();
    let (yes, no) = (count(Client::Yes), count(Client::No) + count(Client::Voided));
    let open = count(Client::Waiting) + count(Client::Voiding) > 0;
    units && !moved && !open && yes != (yes + no).min(usize::from(config.stock))
}

/// Redis after reconcilers have done all they find to do, with every deadline past.
fn reconciled(config: &Config, state: &State) -> Redis {
    let ledger = &state.ledger;
    let mut redis = state.redis;
    for _ in 0..4 {
        redis.lease = 0;
        scripts::notice(config, &mut redis);
        if !scripts::is_loaded(config, &redis) {
            scripts::take_lease(config, &mut redis, 1);
            if !config.is(crate::mutants::Mutant::LoadForgetsIds) {
                scripts::remember(config, ledger, &mut redis, 1, ledger.rows);
            }
            scripts::load(config, ledger, &mut redis, 1, ledger.rows);
        }
        let now = State { redis, ..*state };
        if redis.v > ledger.rows || !balanced(config, &now) {
            redis = Redis::default();
            continue;
        }
        for id in 0..config.quantities.len() {
            if redis.has_hold(id) && ledger.taken[id] != 0 {
                scripts::apply(config, &mut redis, ledger.fact(config, ledger.taken[id]));
            } else if redis.has_hold(id) {
                scripts::release(config, &mut redis, id);
            }
        }
        for version in redis.v + 1..=ledger.rows {
            if !redis.contains(version) {
                scripts::apply(config, &mut redis, ledger.fact(config, version));
            }
        }
    }
    redis
}
