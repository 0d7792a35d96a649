//! What was measured: figures by name, over rounds.

use std::collections::BTreeMap;

use serde::Serialize;

/// What one measurement said, by name; the unit is part of the name.
pub(crate) type Figures = BTreeMap<&'static str, f64>;

/// Counted answers per second.
pub(crate) const PER_SECOND: &str = "per_second";
/// Median latency.
pub(crate) const P50_MS: &str = "p50_ms";
/// Latency that one in a hundred exceeds.
pub(crate) const P99_MS: &str = "p99_ms";
/// Answers that were neither yes nor no.
pub(crate) const OTHER_ANSWERS: &str = "other_answers";
/// Most memory the service had, 10^6 bytes.
pub(crate) const MEMORY_MB: &str = "memory_mb";
/// What Redis needs per sold unit, bytes.
pub(crate) const REDIS_BYTES: &str = "redis_bytes_per_unit";
/// How long it took.
pub(crate) const SECONDS: &str = "seconds";
/// Share of the machine's time that was given to its neighbours.
pub(crate) const STEAL_PERCENT: &str = "steal_percent";

/// Processor time of the clients per answer, microseconds; and of each program they set to work.
pub(crate) const CLIENT_US: &str = "client_us";
pub(crate) const PRODUCT_SERVICE_US: &str = "product_service_us";
pub(crate) const ORDER_SERVICE_US: &str = "order_service_us";
pub(crate) const RIVAL_US: &str = "rival_us";
pub(crate) const POSTGRES_US: &str = "postgres_us";
pub(crate) const REDIS_US: &str = "redis_us";
pub(crate) const BROKER_US: &str = "rabbitmq_us";
/// Share of the machine's time in which it had nothing to do.
pub(crate) const IDLE_PERCENT: &str = "idle_percent";

/// A figure over all rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// One per round, in their order.
    pub(crate) rounds: Vec<f64>,
}

impl Spread {
    /// `None` without values.
    pub(crate) fn of(rounds: Vec<f64>) -> Option<Self> {
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        } else {
            sorted[middle]
        };
        Some(Self {
            median,
            min,
            max,
            rounds,
        })
    }

    /// Round by round: what was measured close together is compared.
    pub(crate) fn ratio(&self, than: &Self) -> Option<Self> {
        let ratios = self
            .rounds
            .iter()
            .zip(&than.rounds)
            .map(|(one, other)| one / other);
        Self::of(ratios.collect())
    }
}

/// All rounds of everything.
#[derive(Debug, Default)]
pub(crate) struct Results {
    rounds: BTreeMap<&'static str, Vec<Figures>>,
}

impl Results {
    /// Adds a round of a subject.
    pub(crate) fn add(&mut self, subject: &'static str, figures: Figures) {
        self.rounds.entry(subject).or_default().push(figures);
    }

    /// A figure of a subject, if it was measured.
    pub(crate) fn spread(&self, subject: &str, figure: &str) -> Option<Spread> {
        let rounds = self.rounds.get(subject)?;
        Spread::of(
            rounds
                .iter()
                .filter_map(|figures| figures.get(figure).copied())
                .collect(),
        )
    }

    /// All figures of a subject.
    pub(crate) fn spreads(&self, subject: &str) -> BTreeMap<&'static str, Spread> {
        let names = self
            .rounds
            .get(subject)
            .into_iter()
            .flatten()
            .flat_map(BTreeMap::keys);
        names
            .filter_map(|name| Some((*name, self.spread(subject, name)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_and_both_ends() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of(vec![4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let (one, other) = (
            Spread::of(vec![10.0, 40.0]).unwrap(),
            Spread::of(vec![5.0, 10.0]).unwrap(),
        );
        assert_eq!(one.ratio(&other).unwrap().rounds, [2.0, 4.0]);
    }
}
