//! What hotstock wants to reach, and whether it did.

use devstack::report::number;
use serde::Serialize;

use crate::figures::{MEMORY_MB, P50_MS, P99_MS, PER_SECOND, REDIS_BYTES, Results, SECONDS, Spread};
use crate::plan::HOTSTOCK;

/// A figure of a subject, held against a limit or against another subject.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    what: &'static str,
    /// Whose figure.
    pub(crate) subject: &'static str,
    figure: &'static str,
    /// Compared, round by round, with the same figure of this one.
    pub(crate) than: Option<&'static str>,
    bound: Bound,
    unit: Unit,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    Times,
    Percent,
    PerSecond,
    Ms,
    S,
    Mb,
    B,
}

/// Whether a goal was met.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    /// The figure.
    pub(crate) what: &'static str,
    /// The goal, as people write it.
    pub(crate) goal: String,
    /// In the unit of the goal.
    pub(crate) value: Spread,
    /// The limit, in the same unit.
    pub(crate) limit: f64,
    pub(crate) unit: &'static str,
    /// Else at most.
    pub(crate) is_at_least: bool,
    pub(crate) met: bool,
}

const fn relative(
    what: &'static str,
    subject: &'static str,
    than: &'static str,
    limit: f64,
    unit: Unit,
) -> Goal {
    Goal {
        what,
        subject,
        figure: PER_SECOND,
        than: Some(than),
        bound: Bound::AtLeast(limit),
        unit,
    }
}

const fn absolute(
    what: &'static str,
    subject: &'static str,
    figure: &'static str,
    bound: Bound,
    unit: Unit,
) -> Goal {
    Goal {
        what,
        subject,
        figure,
        than: None,
        bound,
        unit,
    }
}

/// All goals, in the order of the table.
pub(crate) const GOALS: [Goal; 20] = [
    relative(
        "sales/s, one hot product: times the ordinary design",
        HOTSTOCK,
        "ordinary",
        30.0,
        Unit::Times,
    ),
    relative(
        "… of a PATCH that does nothing",
        HOTSTOCK,
        "nothing",
        50.0,
        Unit::Percent,
    ),
    relative(
        "with Redis dead, of the same",
        "redis_dead",
        HOTSTOCK,
        90.0,
        Unit::Percent,
    ),
    relative(
        "sold-out answers/s, of a PATCH that does nothing",
        "sold_out",
        "nothing",
        90.0,
        Unit::Percent,
    ),
    absolute(
        "p99 at 256 connections",
        HOTSTOCK,
        P99_MS,
        Bound::AtMost(10.0),
        Unit::Ms,
    ),
    absolute(
        "p50, one client",
        "one_client",
        P50_MS,
        Bound::AtMost(1.5),
        Unit::Ms,
    ),
    relative(
        "1,000 hot products alike, of one",
        "products_uniform",
        HOTSTOCK,
        80.0,
        Unit::Percent,
    ),
    relative(
        "1,000 hot products, zipf(1.1), of one",
        "products_zipf",
        HOTSTOCK,
        80.0,
        Unit::Percent,
    ),
    relative(
        "random request ids, of ordered ones",
        "random_ids",
        HOTSTOCK,
        90.0,
        Unit::Percent,
    ),
    relative(
        "a ledger that is full already, of an empty one",
        "full_ledger",
        HOTSTOCK,
        90.0,
        Unit::Percent,
    ),
    relative(
        "… with random request ids too",
        "full_ledger_random_ids",
        HOTSTOCK,
        90.0,
        Unit::Percent,
    ),
    relative(
        "a commit costs 2 ms more: times the ordinary",
        "slow_commit",
        "slow_commit_ordinary",
        80.0,
        Unit::Times,
    ),
    absolute(
        "v2 orders, placed to CONFIRMED",
        "orders_v2",
        PER_SECOND,
        Bound::AtLeast(8000.0),
        Unit::PerSecond,
    ),
    absolute(
        "v1 orders",
        "orders_v1",
        PER_SECOND,
        Bound::AtLeast(4000.0),
        Unit::PerSecond,
    ),
    absolute(
        "resync of 10,000 hot products",
        "resync",
        SECONDS,
        Bound::AtMost(2.0),
        Unit::S,
    ),
    relative(
        "metrics and traces on, of off",
        "watched",
        "unwatched",
        95.0,
        Unit::Percent,
    ),
    absolute(
        "service memory under full load",
        HOTSTOCK,
        MEMORY_MB,
        Bound::AtMost(100.0),
        Unit::Mb,
    ),
    absolute(
        "… with 1,000 hot products",
        "products_uniform",
        MEMORY_MB,
        Bound::AtMost(100.0),
        Unit::Mb,
    ),
    absolute(
        "… with a full ledger, random ids",
        "full_ledger_random_ids",
        MEMORY_MB,
        Bound::AtMost(100.0),
        Unit::Mb,
    ),
    absolute(
        "Redis per sold unit",
        HOTSTOCK,
        REDIS_BYTES,
        Bound::AtMost(150.0),
        Unit::B,
    ),
];

impl Unit {
    fn word(self) -> &'static str {
        match self {
            Self::Times => "times",
            Self::Percent => "%",
            Self::PerSecond => "/s",
            Self::Ms => "ms",
            Self::S => "s",
            Self::Mb => "MB",
            Self::B => "B",
        }
    }
}

impl Goal {
    /// `None` where it was not measured.
    pub(crate) fn judge(&self, results: &Results) -> Option<Outcome> {
        let own = results.spread(self.subject, self.figure)?;
        let mut value = match self.than {
            Some(than) => own.ratio(&results.spread(than, self.figure)?)?,
            None => own,
        };
        if matches!(self.unit, Unit::Percent) {
            value = Spread::of(value.rounds.iter().map(|ratio| ratio * 100.0).collect())?;
        }
        let (is_at_least, limit, met) = match self.bound {
            Bound::AtLeast(limit) => (true, limit, value.median >= limit),
            Bound::AtMost(limit) => (false, limit, value.median <= limit),
        };
        let sign = if is_at_least { ">=" } else { "<=" };
        // Limits are round: shown without decimals they do not have.
        let shown = if limit < 1000.0 {
            limit.to_string()
        } else {
            number(limit)
        };
        Some(Outcome {
            what: self.what,
            goal: format!("{sign} {shown} {}", self.unit.word()),
            value,
            limit,
            unit: self.unit.word(),
            is_at_least,
            met,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figures;
    use crate::plan::SUBJECTS;

    #[test]
    fn every_goal_is_about_something_that_is_measured() {
        for goal in GOALS {
            for key in std::iter::once(goal.subject).chain(goal.than) {
                assert!(SUBJECTS.iter().any(|subject| subject.key == key), "{key}");
            }
        }
    }

    #[test]
    fn a_goal_is_met_by_its_median_and_compared_round_by_round() {
        let mut results = Results::default();
        for (ours, theirs) in [(300.0, 10.0), (100.0, 2.0), (310.0, 10.0)] {
            results.add(HOTSTOCK, Figures::from([(PER_SECOND, ours)]));
            results.add("ordinary", Figures::from([(PER_SECOND, theirs)]));
        }
        let outcome = GOALS[0].judge(&results).unwrap();
        assert_eq!(
            (outcome.value.min, outcome.value.median, outcome.value.max),
            (30.0, 31.0, 50.0)
        );
        assert!(outcome.met);
        assert_eq!(outcome.goal, ">= 30 times");
        assert!(GOALS[1].judge(&results).is_none(), "nothing was not measured");
    }
}
