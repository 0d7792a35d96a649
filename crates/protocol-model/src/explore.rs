//! Owns the search: breadth-first over all states, each kept whole and compared whole, so that "exhaustive" means
//! it. The first violation is the shortest one; it is told as the numbered steps that lead to it.

use std::fmt;

use crate::config::Config;
use crate::hash;
use crate::properties::{self, Violation};
use crate::state::State;
use crate::steps::{self, Step, Successor};

const EMPTY: u32 = u32::MAX;
const CHUNK: usize = 1 << 16;

/// How a search ended.
#[derive(Debug)]
pub enum End {
    /// Every reachable state was looked at.
    Exhaustive,
    /// The limit of states was reached; nothing was found so far.
    Capped,
    /// A property is broken.
    Violated(Trace),
}

/// What a search found.
#[derive(Debug)]
pub struct Report {
    /// Different states.
    pub states: usize,
    /// Steps from the first state to the farthest.
    pub depth: usize,
    /// How it ended.
    pub end: End,
}

/// A shortest way to a violation.
#[derive(Debug)]
pub struct Trace {
    /// Each step with the state after it; the last step has none if it is itself the violation.
    pub steps: Vec<(Step, Option<State>)>,
    /// What is broken.
    pub violation: Violation,
}

impl fmt::Display for Trace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (step, state)) in self.steps.iter().enumerate() {
            writeln!(out, "{:>3}. {step}", index + 1)?;
            if let Some(state) = state {
                writeln!(out, "       {}", tell(state))?;
            }
        }
        writeln!(out, "     => {}", self.violation)
    }
}

fn tell(state: &State) -> String {
    let redis = &state.redis;
    let gate = if redis.loaded() {
        format!(
            "counter {} v {} m {:b} holds {:03b} k {}",
            redis.counter, redis.v, redis.m, redis.holds, redis.k
        )
    } else {
        format!("not loaded, lease {} m {:b}", redis.lease, redis.m)
    };
    format!(
        "[{gate} sold {:03b} | ledger version {} taken {:?} given {:?} | facts on their way {:b}]",
        redis.sold & 7,
        state.ledger.rows,
        state.ledger.taken,
        state.ledger.given,
        state.facts,
    )
}

/// All states found so far, in the order in which they were found.
struct Arena {
    chunks: Vec<Vec<State>>,
    parents: Vec<u32>,
    /// Open addressing: where a state is, and a part of its hash, so that few others are looked at.
    table: Vec<(u32, u32)>,
}

impl Arena {
    fn new() -> Arena {
        Arena {
            chunks: Vec::new(),
            parents: Vec::new(),
            table: vec![(EMPTY, 0); 1 << 12],
        }
    }

    fn len(&self) -> usize {
        self.parents.len()
    }

    fn get(&self, index: usize) -> &State {
        &self.chunks[index / CHUNK][index % CHUNK]
    }

    /// Adds the state unless it is known. Answers whether it is new.
    fn add(&mut self, state: &State, parent: u32) -> bool {
        if self.len() * 3 > self.table.len() * 2 {
            self.grow();
        }
        let mask = self.table.len() - 1;
        let hash = hash::of(state);
        let tag = (hash >> 32) as u32;
        let mut slot = hash as usize & mask;
        while self.table[slot].0 != EMPTY {
            let (index, other) = self.table[slot];
            if other == tag && self.get(index as usize) == state {
                return false;
            }
            slot = (slot + 1) & mask;
        }
        self.table[slot] = (self.len() as u32, tag);
        if self.len().is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(*state);
        }
        self.parents.push(parent);
        true
    }

    fn grow(&mut self) {
        let mask = self.table.len() * 2 - 1;
        let mut table = vec![(EMPTY, 0); mask + 1];
        for index in 0..self.len() {
            let hash = hash::of(self.get(index));
            let mut slot = hash as usize & mask;
            while table[slot].0 != EMPTY {
                slot = (slot + 1) & mask;
            }
            table[slot] = (index as u32, (hash >> 32) as u32);
        }
        self.table = table;
    }
}

/// Explores a configuration up to `states_max` states. `progress` is called after each depth with states and depth.
pub fn explore(config: &Config, states_max: usize, mut progress: impl FnMut(usize, usize)) -> Report {
    let mut arena = Arena::new();
    let first = State::initial(config).canonical(config);
    arena.add(&first, EMPTY);
    if let Err(violation) = properties::check(config, &first) {
        return report(
            &arena,
            0,
            End::Violated(Trace {
                steps: Vec::new(),
                violation,
            }),
        );
    }
    let mut next = Vec::new();
    let (mut at, mut depth) = (0, 0);
    while at < arena.len() {
        let level_end = arena.len();
        while at < level_end {
            let state = *arena.get(at);
            steps::successors(config, &state, &mut next);
            for (_, successor) in &next {
                let broken = match successor {
                    Err(violation) => Some(*violation),
                    Ok(after) => visit(config, &mut arena, after, at),
                };
                if let Some(violation) = broken {
                    let trace = trace(config, &arena, at, violation);
                    return report(&arena, depth + 1, End::Violated(trace));
                }
            }
            if arena.len() >= states_max {
                return report(&arena, depth + 1, End::Capped);
            }
            at += 1;
        }
        depth += 1;
        progress(arena.len(), depth);
    }
    report(&arena, depth - 1, End::Exhaustive)
}

fn visit(config: &Config, arena: &mut Arena, after: &State, parent: usize) -> Option<Violation> {
    let after = after.canonical(config);
    if arena.add(&after, parent as u32) {
        properties::check(config, &after).err()
    } else {
        None
    }
}

fn report(arena: &Arena, depth: usize, end: End) -> Report {
    Report {
        states: arena.len(),
        depth,
        end,
    }
}

/// Walks the way to the state at `last` again, under the names of the first state, and takes the step that breaks.
fn trace(config: &Config, arena: &Arena, last: usize, violation: Violation) -> Trace {
    let mut way = Vec::new();
    let mut at = last as u32;
    while at != EMPTY {
        way.push(*arena.get(at as usize));
        at = arena.parents[at as usize];
    }
    way.reverse();
    let mut steps = Vec::new();
    let mut state = State::initial(config);
    let mut next = Vec::new();
    for target in way.iter().skip(1) {
        steps::successors(config, &state, &mut next);
        let leads = |(_, after): &&Successor| after.is_ok_and(|after| after.canonical(config) == *target);
        if let Some((step, Ok(after))) = next.iter().find(leads) {
            steps.push((*step, Some(*after)));
            state = *after;
        }
    }
    steps::successors(config, &state, &mut next);
    let breaks = |(_, after): &&Successor| match after {
        Err(broken) => *broken == violation,
        Ok(after) => properties::check(config, &after.canonical(config)) == Err(violation),
    };
    if let Some((step, after)) = next.iter().find(breaks) {
        steps.push((*step, after.ok()));
    }
    Trace { steps, violation }
}
