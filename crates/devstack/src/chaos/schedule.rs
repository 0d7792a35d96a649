//! Which faults, where and when: from the seed alone, so that a seed repeats them.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::harm::Harm;
use crate::proxy;

/// From the beginning of one fault to that of the next, ms. The longest is a promise: at least one every 3 s.
const GAP_MS: std::ops::RangeInclusive<u64> = 300..=3_000;
/// How long a fault lasts, ms.
const LASTS_MS: std::ops::RangeInclusive<u64> = 200..=3_000;

/// Where something can fail. One fault at a time in each place; several places may fail at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Redis itself.
    Redis,
    /// The ways of the instances to it.
    WaysToRedis,
    /// Postgres itself.
    Postgres,
    /// The ways of the instances to it.
    WaysToPostgres,
    /// An instance. One at a time, so that somebody is there to sell.
    Instance,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Redis,
        Self::WaysToRedis,
        Self::Postgres,
        Self::WaysToPostgres,
        Self::Instance,
    ];
}

/// What fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A server, and which instance if it is one.
    Server(Harm, usize),
    /// The ways to a store: of one instance, or of all.
    Ways(proxy::Fault, Option<usize>),
}

/// A fault, its place and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// From the beginning of the run.
    pub at: Duration,
    /// How long.
    pub lasts: Duration,
    /// Where.
    pub place: Place,
    /// What.
    pub fault: Fault,
}

/// All faults of a run of `seconds` with so many instances, in the order of their beginning. They begin within it.
#[must_use]
pub fn schedule(seed: u64, seconds: u64, instances: usize) -> Vec<Planned> {
    let mut rng = StdRng::seed_from_u64(seed);
    let end_ms = seconds * 1_000;
    let mut at_ms = rng.random_range(GAP_MS) / 2;
    let mut free_at_ms = [0; Place::ALL.len()];
    let mut planned = Vec::new();
    while at_ms < end_ms {
        let free: Vec<usize> = (0..Place::ALL.len())
            .filter(|place| free_at_ms[*place] <= at_ms)
            .collect();
        // A gap of at least GAP_MS and faults of at most LASTS_MS can fill all places; then this turn is left out.
        if let Some(&index) = free.choose(&mut rng) {
            let place = Place::ALL[index];
            let lasts_ms = rng.random_range(LASTS_MS);
            free_at_ms[index] = at_ms + lasts_ms;
            planned.push(Planned {
                at: Duration::from_millis(at_ms),
                lasts: Duration::from_millis(lasts_ms),
                place,
                fault: fault(&mut rng, place, instances),
            });
        }
        at_ms += rng.random_range(GAP_MS);
    }
    planned
}

fn fault(rng: &mut StdRng, place: Place, instances: usize) -> Fault {
    let harms: &[Harm] = match place {
        Place::Redis => &[
            Harm::RedisKill,
            Harm::RedisFreeze,
            Harm::RedisFlush,
            Harm::RedisOldCopy,
        ],
        Place::Postgres => &[Harm::PostgresKill, Harm::PostgresFreeze, Harm::PostgresSessions],
        Place::Instance => &[Harm::InstanceKill, Harm::InstanceFreeze],
        Place::WaysToRedis | Place::WaysToPostgres => {
            let fault = way_fault(rng);
            let instance = rng.random_bool(0.5).then(|| rng.random_range(0..instances));
            return Fault::Ways(fault, instance);
        }
    };
    let instance = rng.random_range(0..instances);
    // No list is empty.
    Fault::Server(harms.choose(rng).copied().unwrap_or(Harm::RedisFlush), instance)
}

fn way_fault(rng: &mut StdRng) -> proxy::Fault {
    match rng.random_range(0..6) {
        0 => proxy::Fault::Refuse,
        1 => proxy::Fault::Silence,
        2 => proxy::Fault::Reset,
        3 => {
            let least_ms = rng.random_range(2..150);
            proxy::Fault::Latency(least_ms..=least_ms + rng.random_range(1..100))
        }
        4 => proxy::Fault::CutAfter(rng.random_range(10..4_000)),
        _ => proxy::Fault::DropReplies,
    }
}

impl Planned {
    /// The kind of the fault, whichever instance it is about.
    #[must_use]
    pub fn kind(&self) -> String {
        let way = match self.place {
            Place::WaysToPostgres => "postgres",
            _ => "redis",
        };
        let what = match &self.fault {
            Fault::Server(harm, _) => return harm.name(),
            Fault::Ways(proxy::Fault::Pass, _) => "pass",
            Fault::Ways(proxy::Fault::Refuse, _) => "refused",
            Fault::Ways(proxy::Fault::Silence, _) => "silent",
            Fault::Ways(proxy::Fault::Reset, _) => "reset",
            Fault::Ways(proxy::Fault::Latency(_), _) => "late",
            Fault::Ways(proxy::Fault::CutAfter(_), _) => "cut",
            Fault::Ways(proxy::Fault::DropReplies, _) => "replies-lost",
        };
        format!("{way}-{what}")
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.at.as_millis();
        write!(f, "{ms:>6} ms  {} for {} ms", self.kind(), self.lasts.as_millis())?;
        match &self.fault {
            Fault::Server(harm, instance) if harm.is_of_instance() => {
                write!(f, ", instance {}", instance + 1)
            }
            Fault::Server(..) => Ok(()),
            Fault::Ways(fault, Some(instance)) => write!(f, ", instance {} ({fault:?})", instance + 1),
            Fault::Ways(fault, None) => write!(f, ", all instances ({fault:?})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueEnum;

    use super::*;

    #[test]
    fn a_seed_repeats_its_schedule_and_another_one_has_another() {
        assert_eq!(schedule(7, 30, 3), schedule(7, 30, 3));
        assert_ne!(schedule(7, 30, 3), schedule(8, 30, 3));
    }

    #[test]
    fn something_fails_at_least_every_three_seconds_and_only_one_thing_in_a_place() {
        for seed in 0..500 {
            let planned = schedule(seed, 30, 3);
            let mut last = Duration::ZERO;
            for fault in &planned {
                assert!(fault.at - last <= Duration::from_secs(3), "seed {seed}: {fault}");
                last = fault.at;
            }
            assert!(
                Duration::from_secs(30) - last <= Duration::from_secs(3),
                "seed {seed}"
            );
            for place in Place::ALL {
                let there: Vec<_> = planned.iter().filter(|fault| fault.place == place).collect();
                for pair in there.windows(2) {
                    assert!(
                        pair[0].at + pair[0].lasts <= pair[1].at,
                        "seed {seed}: {} {}",
                        pair[0],
                        pair[1]
                    );
                }
            }
        }
    }

    #[test]
    fn twenty_seeds_of_thirty_seconds_make_every_kind_of_fault() {
        let kinds: BTreeSet<String> = (1..=20)
            .flat_map(|seed| schedule(seed, 30, 3))
            .map(|planned| planned.kind())
            .collect();
        // A run's own stack has no RabbitMQ.
        let harms = Harm::value_variants().iter().map(|harm| harm.name());
        let harms = harms.filter(|name| !name.starts_with("rabbitmq"));
        assert_eq!(kinds.len(), harms.count() + 2 * 6, "{kinds:?}");
    }
}
