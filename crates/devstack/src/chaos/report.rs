//! What the run of one seed has shown.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::judge::RETRY_LATER;
use super::watch::Counts;

/// See the module.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed; it repeats the faults.
    pub seed: u64,
    /// Faults by kind: how often they were made, and how often they hit something.
    pub faults: BTreeMap<String, Made>,
    /// How many questions were answered with each thing.
    pub answers: BTreeMap<String, u64>,
    /// Of those told 503, how many without a fault of Postgres, the way to it, or an instance.
    pub later_unexplained: u64,
    /// Orders told yes.
    pub sales: u64,
    /// The slowest answer that no fault of the asked instance has touched.
    pub slowest: Duration,
    /// What the instances have counted: openings of breakers, failed decisions, finds of the reconcilers.
    pub counts: Counts,
    /// From the end of the last fault until breakers were closed, gates loaded, and the books balanced.
    pub balanced_after: Option<Duration>,
    /// What is wrong; empty when every promise was kept.
    pub violations: Vec<String>,
}

/// How often a kind of fault was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Times.
    pub times: u64,
    /// Of them, times it hit something: a server that ran, connections, keys, sessions, bytes.
    pub hit: u64,
}

impl Report {
    /// Whether every promise was kept.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.violations.is_empty()
    }

    /// Faults made.
    #[must_use]
    pub fn faults_made(&self) -> Made {
        self.faults.values().fold(Made::default(), |sum, made| Made {
            times: sum.times + made.times,
            hit: sum.hit + made.hit,
        })
    }

    /// Questions answered 503.
    #[must_use]
    pub fn later(&self) -> u64 {
        self.answers.get(RETRY_LATER).copied().unwrap_or(0)
    }

    /// Questions without an answer.
    #[must_use]
    pub fn cut_off(&self) -> u64 {
        let silent = ["no connection", "connection broken", "timeout"];
        silent.iter().filter_map(|word| self.answers.get(*word)).sum()
    }
}

impl fmt::Display for Report {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Made { times, hit } = self.faults_made();
        write!(
            f,
            "seed {}: {times} faults, {hit} hit; {} sold, {} x 503 ({} unexplained), {} cut off, slowest {} ms; ",
            self.seed,
            self.sales,
            self.later(),
            self.later_unexplained,
            self.cut_off(),
            self.slowest.as_millis()
        )?;
        match (self.is_true(), self.balanced_after) {
            (true, Some(after)) => write!(f, "balanced after {} ms", after.as_millis())?,
            _ => write!(f, "WRONG: {} violations", self.violations.len())?,
        }
        let words = self
            .faults
            .iter()
            .map(|(kind, made)| match made.hit == made.times {
                true => format!("{kind} {}", made.times),
                false => format!("{kind} {} ({} hit)", made.times, made.hit),
            });
        write!(f, "\n    {}", words.collect::<Vec<_>>().join(", "))
    }
}
