//! Owns the steps of clients and of their attempts inside the service: send, reserve, decide, answer, give up, void.

use crate::config::Config;
use crate::ledger::{self, Decision};
use crate::mutants::Mutant;
use crate::properties::{self, Violation};
use crate::scripts::{self, Reserved};
use crate::state::{ATTEMPTS_MAX, Attempt, Client, DEAD_TOKEN, Stage, State};
use crate::steps::{Step, Successor};

/// What a client is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    /// Dead, or `RETRY_LATER`: the client must not conclude anything.
    Unknown,
}

/// Steps of the client of one request id.
pub(crate) fn client(config: &Config, state: &State, id: usize, out: &mut Vec<Successor>) {
    let request = state.requests[id];
    let asks = matches!(request.client, Client::Idle | Client::Waiting | Client::Yes);
    if asks && request.started < config.attempts {
        let mut next = *state;
        let changed = &mut next.requests[id];
        changed.abandon();
        changed.attempts[0] = Attempt::Sent;
        changed.started += 1;
        if changed.client == Client::Idle {
            changed.client = Client::Waiting;
        }
        out.push((
            Step::Send {
                id,
                attempt: request.started + 1,
            },
            Ok(next),
        ));
    }
    let answerable = request.attempts[0] != Attempt::None;
    if request.client == Client::Waiting && (config.gives_up || !answerable) {
        let mut next = *state;
        next.requests[id].abandon();
        next.requests[id].client = if config.is(Mutant::NoVoidAfterUnknown) {
            Client::No
        } else {
            Client::Voiding
        };
        out.push((Step::GiveUp { id }, Ok(next)));
    }
    if request.client == Client::Yes && state.spent.cancels < config.cancels {
        let mut next = *state;
        next.requests[id].abandon();
        next.requests[id].client = Client::Voiding;
        next.spent.cancels += 1;
        out.push((Step::Cancel { id }, Ok(next)));
    }
    if request.client == Client::Voiding {
        void(config, state, id, true, out);
        if config.faults.unknown_commit {
            void(config, state, id, false, out);
        }
    }
}

fn void(config: &Config, state: &State, id: usize, acknowledged: bool, out: &mut Vec<Successor>) {
    let mut next = *state;
    match ledger::void(config, &mut next.ledger, id) {
        Err(_) => out.push((
            Step::Void {
                id,
                gives: None,
                acknowledged,
            },
            Err(Violation::SecondEffect),
        )),
        Ok(gives) => {
            if let Some(version) = gives {
                next.facts |= 1 << (version - 1);
            }
            if acknowledged {
                next.requests[id].client = Client::Voided;
            }
            out.push((
                Step::Void {
                    id,
                    gives,
                    acknowledged,
                },
                Ok(next),
            ));
        }
    }
}

/// Steps of the attempts of one request id.
pub(crate) fn attempts(config: &Config, state: &State, id: usize, out: &mut Vec<Successor>) {
    let mut before = Attempt::None;
    for index in 0..ATTEMPTS_MAX {
        let attempt = state.requests[id].attempts[index];
        let same_as_before = index > 1 && attempt == before;
        before = attempt;
        if attempt == Attempt::None || same_as_before {
            continue;
        }
        let zombie = index > 0;
        if attempt == Attempt::Sent {
            reserve(config, state, id, index, out);
            if config.faults.late_reserve {
                let mut next = *state;
                next.late_reserves |= 1 << id;
                set(&mut next, id, index, Attempt::Plain);
                out.push((Step::StopWaiting { id, zombie }, Ok(next)));
            }
        }
        if attempt != Attempt::Sent || config.faults.any_path {
            decide(config, state, id, index, out);
        }
        if config.faults.kill {
            let mut next = *state;
            answer(config, &mut next, id, index, Answer::Unknown);
            out.push((Step::Die { id, zombie }, Ok(next)));
        }
    }
}

/// `reserve` runs and its answer arrives. (An answer that is lost is a late reserve that is not late.)
fn reserve(config: &Config, state: &State, id: usize, index: usize, out: &mut Vec<Successor>) {
    let mut next = *state;
    let Some(said) = run_reserve(config, &mut next, id) else {
        return;
    };
    let step = Step::Reserve {
        id,
        zombie: index > 0,
        answer: said,
    };
    match said {
        Reserved::Held => set(&mut next, id, index, Attempt::Held),
        Reserved::Replay | Reserved::Cold | Reserved::Load => set(&mut next, id, index, Attempt::Plain),
        Reserved::SoldOut | Reserved::Limit => {
            if let Some(violation) = properties::refusal(config, state, id, said) {
                out.push((step, Err(violation)));
                return;
            }
            answer(config, &mut next, id, index, Answer::No);
        }
    }
    out.push((step, Ok(next)));
}

/// A `reserve` arrives whose caller has stopped waiting.
pub(crate) fn late_reserve(config: &Config, state: &State, id: usize, out: &mut Vec<Successor>) {
    let mut next = *state;
    next.late_reserves &= !(1 << id);
    if let Some(said) = run_reserve(config, &mut next, id) {
        out.push((Step::LateReserve { id, answer: said }, Ok(next)));
    }
}

/// Runs the script; whoever gets the lease starts to load. `None`: every instance is loading already, and the
/// script would grant one more lease; then this step waits, unless loaders may die, when it is one that died.
fn run_reserve(config: &Config, next: &mut State, id: usize) -> Option<Reserved> {
    let free = free_loader(config, next);
    let token = free.map_or(DEAD_TOKEN, |slot| slot as u8 + 1);
    let said = scripts::reserve(config, &mut next.redis, id, token);
    if said == Reserved::Load {
        match free {
            Some(slot) => start_loader(next, slot),
            None if !config.faults.kill => return None,
            None => {}
        }
    }
    Some(said)
}

/// An instance that is not loading.
pub(crate) fn free_loader(config: &Config, state: &State) -> Option<usize> {
    (0..config.instances).find(|slot| matches!(state.loaders[*slot].stage, Stage::None | Stage::ReadEarly))
}

/// The loader has been granted the lease.
pub(crate) fn start_loader(next: &mut State, slot: usize) {
    let loader = &mut next.loaders[slot];
    loader.stage = if loader.stage == Stage::ReadEarly {
        Stage::Read
    } else {
        Stage::Leased
    };
}

fn decide(config: &Config, state: &State, id: usize, index: usize, out: &mut Vec<Successor>) {
    let zombie = index > 0;
    let held = state.requests[id].attempts[index] == Attempt::Held;
    let mut next = *state;
    let decision = ledger::decide(config, &mut next.ledger, id, held);
    let step = Step::Decide { id, zombie, decision };
    match decision {
        Decision::SecondEffect => {
            out.push((step, Err(Violation::SecondEffect)));
            return;
        }
        Decision::Sold(version) | Decision::Replay(version) => {
            if !next.ledger.owns(id) {
                out.push((step, Err(Violation::YesButOwnsNothing)));
                return;
            }
            if let Decision::Sold(version) = decision
                && config.faults.unknown_commit
            {
                let mut unknown = next;
                let goes_on = if held { Attempt::Held } else { Attempt::Plain };
                set(&mut unknown, id, index, goes_on);
                out.push((Step::CommitUnknown { id, version }, Ok(unknown)));
            }
            next.facts |= 1 << (version - 1);
            answer(config, &mut next, id, index, Answer::Yes);
        }
        Decision::Voided | Decision::Limit | Decision::Insufficient => {
            release_if(&mut next, id, held);
            answer(config, &mut next, id, index, Answer::No);
        }
    }
    out.push((step, Ok(next)));
    if config.faults.busy {
        let mut next = *state;
        release_if(&mut next, id, held);
        answer(config, &mut next, id, index, Answer::Unknown);
        out.push((Step::Busy { id, zombie }, Ok(next)));
    }
}

fn release_if(next: &mut State, id: usize, held: bool) {
    if held {
        next.releases |= 1 << id;
    }
}

fn set(next: &mut State, id: usize, index: usize, attempt: Attempt) {
    next.requests[id].attempts[index] = attempt;
    next.requests[id].sort_zombies();
}

/// Ends an attempt. Only a waiting client listens, and only to its live attempt.
fn answer(config: &Config, next: &mut State, id: usize, index: usize, answer: Answer) {
    set(next, id, index, Attempt::None);
    let request = &mut next.requests[id];
    if index > 0 || request.client != Client::Waiting {
        return;
    }
    match answer {
        Answer::Yes => request.client = Client::Yes,
        Answer::No if request.unknown && !config.is(Mutant::NoVoidAfterUnknown) => {
            request.client = Client::Voiding;
        }
        Answer::No => request.client = Client::No,
        Answer::Unknown => request.unknown = true,
    }
}
