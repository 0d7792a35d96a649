//! Owns what can happen next: [`successors`] lists every step from a state. A step is one script, one transaction,
//! one message lost or one decision of a client; whatever lies between two steps may take any time.

use std::fmt;

use crate::config::Config;
use crate::ledger::Decision;
use crate::properties::Violation;
use crate::scripts::Reserved;
use crate::state::{LOADERS_MAX, State};
use crate::{faults, requests, workers};

/// One step, as it is told in a counter-example.
#[expect(
    missing_docs,
    reason = "id: the request id; zombie: an attempt nobody waits for; slot: the instance that loads"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client sends an attempt.
    Send { id: usize, attempt: u8 },
    /// `reserve` answers an attempt.
    Reserve {
        id: usize,
        zombie: bool,
        answer: Reserved,
    },
    /// The attempt stops waiting for `reserve`, which is still on its way.
    StopWaiting { id: usize, zombie: bool },
    /// That `reserve` arrives.
    LateReserve { id: usize, answer: Reserved },
    /// The transaction for an attempt, and its answer.
    Decide {
        id: usize,
        zombie: bool,
        decision: Decision,
    },
    /// The transaction commits, nobody learns it.
    CommitUnknown { id: usize, version: u8 },
    /// `RETRY_LATER`.
    Busy { id: usize, zombie: bool },
    /// The process of the attempt dies.
    Die { id: usize, zombie: bool },
    /// The client's deadline is over.
    GiveUp { id: usize },
    /// The order is cancelled after a yes.
    Cancel { id: usize },
    /// The transaction of a void.
    Void {
        id: usize,
        gives: Option<u8>,
        acknowledged: bool,
    },
    /// An adjustment by one commits.
    Adjust { up: bool, version: u8 },
    /// `apply` runs with one fact.
    Apply { version: u8, again: bool },
    /// A fact is lost.
    LoseFact { version: u8 },
    /// `apply` runs with one release.
    Release { id: usize, again: bool },
    /// A release is lost.
    LoseRelease { id: usize },
    /// A reconciler finds the product not loaded and takes the lease.
    TakeLease { slot: usize },
    /// Mutant: a loader reads before it has a lease.
    ReadEarly { slot: usize, version: u8 },
    /// A loader reads the database.
    Read { slot: usize, version: u8 },
    /// A loader finds the product `DB_ONLY` and stops.
    Stop { slot: usize },
    /// A loader puts the request ids into the sold set.
    Remember { slot: usize, accepted: bool },
    /// `load` runs.
    Load {
        slot: usize,
        version: u8,
        accepted: bool,
        again: bool,
    },
    /// A loader dies.
    LoaderDies { slot: usize },
    /// The lease is over by Redis' clock.
    LeaseExpires,
    /// Reconcile finds a hold past its deadline.
    ReconcileHold { id: usize, settles: bool },
    /// Reconcile finds a version that the gate does not contain.
    ReconcileFact { version: u8 },
    /// Reconcile finds the invariant broken and deletes the keys.
    ReconcileDelete,
    /// Redis is emptied.
    Flush,
    /// A replica or a dump stays behind at this state of Redis.
    Copy,
    /// Redis is that copy now.
    Failover,
    /// A key is lost.
    LoseKey { key: Key },
    /// The counter is changed by somebody else.
    CorruptCounter { by: i8 },
    /// `v` is changed by somebody else.
    CorruptV { by: i8 },
    /// A member of the sold set is lost.
    LoseId { id: usize },
    /// The product becomes `DB_ONLY` in the database.
    SwitchOff,
    /// The keys are deleted after that.
    DeleteKeys,
    /// The product becomes `REDIS_FIRST` again.
    SwitchOn,
}

/// One of the three keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `stock:{id}`
    Counter,
    /// `stock:{id}:gate`
    Gate,
    /// `stock:{id}:sold`
    Sold,
}

/// A step with the state it leads to, or with what it breaks.
pub type Successor = (Step, Result<State, Violation>);

/// Everything that can happen in this state. `out` is emptied first.
pub fn successors(config: &Config, state: &State, out: &mut Vec<Successor>) {
    out.clear();
    for id in 0..config.quantities.len() {
        requests::client(config, state, id, out);
        requests::attempts(config, state, id, out);
        workers::messages_of_request(config, state, id, out);
    }
    workers::facts(config, state, out);
    for slot in 0..LOADERS_MAX {
        workers::loader(config, state, slot, out);
    }
    workers::reconcile(config, state, out);
    workers::operator(config, state, out);
    faults::of_redis(config, state, out);
}

fn name(id: usize) -> char {
    char::from(b'A' + id as u8)
}

fn whose(id: usize, zombie: bool) -> String {
    format!(
        "{}{}",
        if zombie { "an earlier attempt of " } else { "" },
        name(id)
    )
}

fn again(again: bool) -> &'static str {
    if again { " (and will arrive again)" } else { "" }
}

impl fmt::Display for Decision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Sold(version) => write!(out, "sold, version {version}"),
            Decision::Replay(version) => write!(out, "replay of version {version}"),
            Decision::Voided => out.write_str("voided"),
            Decision::Limit => out.write_str("limit"),
            Decision::Insufficient => out.write_str("insufficient"),
            Decision::SecondEffect => out.write_str("sold a second time"),
        }
    }
}

impl fmt::Display for Reserved {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Reserved::Load => "load",
            Reserved::Cold => "cold",
            Reserved::Held => "held",
            Reserved::Replay => "replay",
            Reserved::SoldOut => "sold_out",
            Reserved::Limit => "limit",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Step::Send { .. }
            | Step::Reserve { .. }
            | Step::StopWaiting { .. }
            | Step::LateReserve { .. }
            | Step::Decide { .. }
            | Step::CommitUnknown { .. }
            | Step::Busy { .. }
            | Step::Die { .. }
            | Step::GiveUp { .. }
            | Step::Cancel { .. }
            | Step::Void { .. } => self.tell_request(out),
            _ => self.tell_rest(out),
        }
    }
}

impl Step {
    fn tell_request(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Step::Send { id, attempt } => write!(out, "{} is sent, attempt {attempt}", name(id)),
            Step::Reserve { id, zombie, answer } => {
                write!(out, "reserve for {}: {answer}", whose(id, zombie))
            }
            Step::StopWaiting { id, zombie } => {
                write!(
                    out,
                    "{} stops waiting for reserve, which is still on its way",
                    whose(id, zombie)
                )
            }
            Step::LateReserve { id, answer } => write!(out, "the late reserve for {}: {answer}", name(id)),
            Step::Decide { id, zombie, decision } => {
                write!(out, "decide for {}: {decision}", whose(id, zombie))
            }
            Step::CommitUnknown { id, version } => {
                write!(
                    out,
                    "decide for {}: sold, version {version}, but the outcome stays unknown",
                    name(id)
                )
            }
            Step::Busy { id, zombie } => write!(out, "decide for {}: retry later", whose(id, zombie)),
            Step::Die { id, zombie } => write!(out, "the process that serves {} dies", whose(id, zombie)),
            Step::GiveUp { id } => write!(out, "the client of {} gives up and will void", name(id)),
            Step::Cancel { id } => write!(out, "the order of {} is cancelled", name(id)),
            Step::Void {
                id,
                gives,
                acknowledged,
            } => {
                write!(out, "void of {}: ", name(id))?;
                match gives {
                    Some(version) => write!(out, "gives back, version {version}")?,
                    None => write!(out, "nothing to give back")?,
                }
                out.write_str(if acknowledged { "" } else { ", not acknowledged" })
            }
            _ => Ok(()),
        }
    }

    fn tell_rest(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Step::Adjust { up, version } => {
                write!(
                    out,
                    "{} by one, version {version}",
                    if up { "restock" } else { "adjust down" }
                )
            }
            Step::Apply { version, again: more } => write!(out, "apply of fact {version}{}", again(more)),
            Step::LoseFact { version } => write!(out, "fact {version} is lost"),
            Step::Release { id, again: more } => write!(out, "release of {}{}", name(id), again(more)),
            Step::LoseRelease { id } => write!(out, "the release of {} is lost", name(id)),
            Step::TakeLease { slot } => write!(out, "loader {slot} takes the lease"),
            Step::ReadEarly { slot, version } => {
                write!(out, "loader {slot} reads version {version}, no lease")
            }
            Step::Read { slot, version } => {
                write!(out, "loader {slot} reads the database at version {version}")
            }
            Step::Stop { slot } => write!(out, "loader {slot} finds the product DB_ONLY and stops"),
            Step::Remember { slot, accepted } => {
                write!(
                    out,
                    "remember of loader {slot}: {}",
                    if accepted { "remembered" } else { "lease_lost" }
                )
            }
            Step::Load {
                slot,
                version,
                accepted,
                again: more,
            } => {
                let said = if accepted { "loaded" } else { "refused" };
                write!(
                    out,
                    "load of loader {slot} with version {version}: {said}{}",
                    again(more)
                )
            }
            Step::LoaderDies { slot } => write!(out, "loader {slot} dies"),
            Step::LeaseExpires => out.write_str("the lease expires"),
            Step::ReconcileHold { id, settles } => {
                let does = if settles {
                    "sends its fact"
                } else {
                    "sends a release"
                };
                write!(
                    out,
                    "reconcile: the hold of {} is past its deadline, {does}",
                    name(id)
                )
            }
            Step::ReconcileFact { version } => write!(out, "reconcile: sends fact {version}"),
            Step::ReconcileDelete => out.write_str("reconcile: the invariant is broken, deletes the keys"),
            Step::Flush => out.write_str("Redis is emptied"),
            Step::Copy => out.write_str("a copy of Redis stays behind here"),
            Step::Failover => out.write_str("failover to that copy"),
            Step::LoseKey { key } => write!(out, "the key of {key:?} is lost"),
            Step::CorruptCounter { by } => write!(out, "the counter changes by {by}"),
            Step::CorruptV { by } => write!(out, "v changes by {by}"),
            Step::LoseId { id } => write!(out, "{} vanishes from the sold set", name(id)),
            Step::SwitchOff => out.write_str("the product becomes DB_ONLY"),
            Step::DeleteKeys => out.write_str("its keys are deleted"),
            Step::SwitchOn => out.write_str("the product becomes REDIS_FIRST"),
            _ => Ok(()),
        }
    }
}
