//! Owns the steps nobody waits for: messages on their way to `apply`, loaders, the reconciler, the operator.

use crate::config::Config;
use crate::ledger::VERSIONS_MAX;
use crate::mutants::Mutant;
use crate::properties;
use crate::requests::{free_loader, late_reserve, start_loader};
use crate::scripts;
use crate::state::{DEAD_TOKEN, Loader, Redis, Stage, State, Strategy};
use crate::steps::{Step, Successor};

/// Releases and late reserves of one request id.
pub(crate) fn messages_of_request(config: &Config, state: &State, id: usize, out: &mut Vec<Successor>) {
    let bit = 1 << id;
    if state.late_reserves & bit != 0 {
        late_reserve(config, state, id, out);
    }
    if state.releases & bit == 0 {
        return;
    }
    let mut next = *state;
    next.releases &= !bit;
    if config.faults.lose {
        out.push((Step::LoseRelease { id }, Ok(next)));
    }
    scripts::release(config, &mut next.redis, id);
    out.push((Step::Release { id, again: false }, Ok(next)));
    if config.faults.repeat {
        next.releases |= bit;
        out.push((Step::Release { id, again: true }, Ok(next)));
    }
}

/// Facts on their way.
pub(crate) fn facts(config: &Config, state: &State, out: &mut Vec<Successor>) {
    for version in 1..=state.ledger.rows {
        let bit = 1 << (version - 1);
        if state.facts & bit == 0 {
            continue;
        }
        let mut next = *state;
        next.facts &= !bit;
        if config.faults.lose {
            out.push((Step::LoseFact { version }, Ok(next)));
        }
        scripts::apply(config, &mut next.redis, state.ledger.fact(config, version));
        out.push((
            Step::Apply {
                version,
                again: false,
            },
            Ok(next),
        ));
        if config.faults.repeat {
            next.facts |= bit;
            out.push((Step::Apply { version, again: true }, Ok(next)));
        }
    }
}

/// Steps of the loader of one instance.
pub(crate) fn loader(config: &Config, state: &State, slot: usize, out: &mut Vec<Successor>) {
    let loader = state.loaders[slot];
    match loader.stage {
        Stage::None => read_early(config, state, slot, out),
        Stage::ReadEarly => {}
        Stage::Leased => read(config, state, slot, out),
        Stage::Read => {
            let owners = scripts::owners(config, &state.ledger, loader.version);
            if owners == 0 || config.is(Mutant::LoadForgetsIds) {
                load(config, state, slot, out);
            } else {
                remember(config, state, slot, out);
            }
        }
        Stage::Chunked => load(config, state, slot, out),
    }
    if config.faults.kill && loader.stage != Stage::None {
        let mut next = *state;
        end_loader(&mut next, slot);
        out.push((Step::LoaderDies { slot }, Ok(next)));
    }
}

fn read_early(config: &Config, state: &State, slot: usize, out: &mut Vec<Successor>) {
    let wanted = config.is(Mutant::LoadReadsBeforeLease) && free_loader(config, state) == Some(slot);
    if wanted && !state.redis.loaded() {
        let mut next = *state;
        let version = state.ledger.rows;
        next.loaders[slot] = Loader {
            stage: Stage::ReadEarly,
            version,
        };
        out.push((Step::ReadEarly { slot, version }, Ok(next)));
    }
}

/// Strategy, balance, version and request ids are read in one snapshot.
fn read(config: &Config, state: &State, slot: usize, out: &mut Vec<Successor>) {
    let mut next = *state;
    let off = match state.strategy {
        Strategy::RedisFirst => false,
        Strategy::Unloading => !config.is(Mutant::UnloadDeletesFirst),
        Strategy::DbOnly => true,
    };
    if off && !config.is(Mutant::LoadIgnoresStrategy) {
        end_loader(&mut next, slot);
        out.push((Step::Stop { slot }, Ok(next)));
        return;
    }
    let version = state.ledger.rows;
    next.loaders[slot] = Loader {
        stage: Stage::Read,
        version,
    };
    out.push((Step::Read { slot, version }, Ok(next)));
}

fn remember(config: &Config, state: &State, slot: usize, out: &mut Vec<Successor>) {
    let mut next = *state;
    let version = state.loaders[slot].version;
    let token = slot as u8 + 1;
    let accepted = scripts::remember(config, &state.ledger, &mut next.redis, token, version);
    if accepted {
        next.loaders[slot].stage = Stage::Chunked;
    } else {
        end_loader(&mut next, slot);
    }
    out.push((Step::Remember { slot, accepted }, Ok(next)));
}

fn load(config: &Config, state: &State, slot: usize, out: &mut Vec<Successor>) {
    let mut next = *state;
    let version = state.loaders[slot].version;
    let token = slot as u8 + 1;
    let accepted = scripts::load(config, &state.ledger, &mut next.redis, token, version);
    if config.faults.repeat {
        out.push((
            Step::Load {
                slot,
                version,
                accepted,
                again: true,
            },
            Ok(next),
        ));
    }
    end_loader(&mut next, slot);
    out.push((
        Step::Load {
            slot,
            version,
            accepted,
            again: false,
        },
        Ok(next),
    ));
}

/// The instance is done with its load; its token is never used again.
fn end_loader(next: &mut State, slot: usize) {
    next.loaders[slot] = Loader::default();
    for lease in [&mut next.redis.lease, &mut next.copy.lease] {
        if *lease == slot as u8 + 1 {
            *lease = DEAD_TOKEN;
        }
    }
}

/// What a reconciler may find. Peek and ledger are read at one moment here; what it does about it is a message and
/// may take any time, which covers a ledger that is read later: a row that is there stays there.
pub(crate) fn reconcile(config: &Config, state: &State, out: &mut Vec<Successor>) {
    let redis = &state.redis;
    if !scripts::is_loaded(config, redis) {
        let free = free_loader(config, state);
        if let (0, Strategy::RedisFirst, Some(slot)) = (redis.lease, state.strategy, free) {
            let mut next = *state;
            scripts::notice(config, &mut next.redis);
            scripts::take_lease(config, &mut next.redis, slot as u8 + 1);
            start_loader(&mut next, slot);
            out.push((Step::TakeLease { slot }, Ok(next)));
        }
        return;
    }
    if redis.v > state.ledger.rows || !properties::balanced(config, state) {
        let mut next = *state;
        next.redis = Redis::default();
        out.push((Step::ReconcileDelete, Ok(next)));
        return;
    }
    if config.faults.lose || config.faults.failovers > 0 || config.faults.unknown_commit {
        for version in 1..=state.ledger.rows {
            let bit = 1 << (version - 1);
            if !redis.contains(version) && state.facts & bit == 0 {
                let mut next = *state;
                next.facts |= bit;
                out.push((Step::ReconcileFact { version }, Ok(next)));
            }
        }
    }
    if config.faults.slow_holds {
        for id in (0..config.quantities.len()).filter(|id| redis.has_hold(*id)) {
            let mut next = *state;
            let taken = state.ledger.taken[id];
            if taken != 0 {
                next.facts |= 1 << (taken - 1);
            } else {
                next.releases |= 1 << id;
            }
            if next != *state {
                out.push((
                    Step::ReconcileHold {
                        id,
                        settles: taken != 0,
                    },
                    Ok(next),
                ));
            }
        }
    }
}

/// Adjustments, unload and load.
pub(crate) fn operator(config: &Config, state: &State, out: &mut Vec<Successor>) {
    for up in [true, false] {
        let allowed = if up {
            state.spent.restocks < config.restocks
        } else {
            state.spent.adjusts < config.adjusts && state.ledger.stock(config) > 0
        };
        if allowed && state.ledger.rows < VERSIONS_MAX {
            let mut next = *state;
            next.spent.restocks += u8::from(up);
            next.spent.adjusts += u8::from(!up);
            let version = next.ledger.adjust(up);
            next.facts |= 1 << (version - 1);
            out.push((Step::Adjust { up, version }, Ok(next)));
        }
    }
    match state.strategy {
        Strategy::RedisFirst if state.spent.switches < config.switches => {
            let mut next = *state;
            next.strategy = Strategy::Unloading;
            if config.is(Mutant::UnloadDeletesFirst) {
                next.redis = Redis::default();
            }
            next.spent.switches += 1;
            out.push((Step::SwitchOff, Ok(next)));
        }
        Strategy::RedisFirst => {}
        Strategy::Unloading => {
            let mut next = *state;
            if !config.is(Mutant::UnloadDeletesFirst) {
                next.redis = Redis::default();
            }
            next.strategy = Strategy::DbOnly;
            out.push((Step::DeleteKeys, Ok(next)));
        }
        Strategy::DbOnly if state.spent.switches < config.switches => {
            let mut next = *state;
            next.strategy = Strategy::RedisFirst;
            next.spent.switches += 1;
            out.push((Step::SwitchOn, Ok(next)));
        }
        Strategy::DbOnly => {}
    }
}
