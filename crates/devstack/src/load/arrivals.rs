//! When buyers arrive, if they do not wait for one another: at random (Poisson), at a rate, and in a spike.
//!
//! Pure: the same seed gives the same times. Who lets them in at these times is [`super::door`].

use std::iter::Peekable;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// The open model: arrivals do not know how fast the service is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Arrivals {
    /// Buyers per second on average, >= 0, at random intervals. 0: nobody comes but the spike.
    pub rate_per_second: f64,
    /// From 0 to the full rate in this time, evenly.
    pub ramp: Duration,
    /// More buyers, all at once.
    pub spike: Option<Spike>,
}

/// Buyers who come within a short time, at random moments of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spike {
    /// How many.
    pub buyers: u64,
    /// Within what time.
    pub within: Duration,
    /// From when on, from the start of the run.
    pub at: Duration,
}

impl Arrivals {
    /// Evenly distributed expectations, random moments: `rate_per_second` from the first moment on.
    #[must_use]
    pub fn at_rate(rate_per_second: f64) -> Self {
        Self {
            rate_per_second,
            ..Self::default()
        }
    }

    /// What makes no sense about it.
    pub fn check(&self) -> Result<(), String> {
        if !self.rate_per_second.is_finite() || self.rate_per_second < 0.0 {
            return Err(String::from(
                "the rate has to be a number of buyers per second above 0",
            ));
        }
        let spikes = self.spike.is_some_and(|spike| spike.buyers > 0);
        if self.rate_per_second == 0.0 && !spikes {
            return Err(String::from("nobody arrives: neither a rate nor a spike"));
        }
        Ok(())
    }

    /// The moments from the start of the run, in order; without end where there is a rate.
    pub fn schedule(&self, seed: u64) -> impl Iterator<Item = Duration> + Send + use<> {
        // Streams of their own: with a spike the others come when they would have come without it.
        let steady = Steady {
            rate_per_second: self.rate_per_second,
            ramp_s: self.ramp.as_secs_f64(),
            expected: 0.0,
            rng: SmallRng::seed_from_u64(seed),
        };
        let spike = self.spike.map(|spike| Rush {
            spike,
            passed: 0.0,
            left: spike.buyers,
            rng: SmallRng::seed_from_u64(seed.wrapping_add(1)),
        });
        Merged {
            steady: steady.peekable(),
            spike: spike.into_iter().flatten().peekable(),
        }
    }
}

/// A Poisson process whose rate rises and then stays: unit steps of its expectation, turned into times.
struct Steady {
    rate_per_second: f64,
    ramp_s: f64,
    /// How many were to be expected up to the last one.
    expected: f64,
    rng: SmallRng,
}

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.rate_per_second <= 0.0 {
            return None;
        }
        self.expected -= (1.0 - self.rng.random::<f64>()).ln();
        let while_rising = self.rate_per_second * self.ramp_s / 2.0;
        let at_s = if self.expected < while_rising {
            (2.0 * self.ramp_s * self.expected / self.rate_per_second).sqrt()
        } else {
            self.ramp_s + (self.expected - while_rising) / self.rate_per_second
        };
        Duration::try_from_secs_f64(at_s).ok()
    }
}

/// Uniform moments of the spike, in order and without a list of them.
struct Rush {
    spike: Spike,
    /// Share of the spike that is over.
    passed: f64,
    left: u64,
    rng: SmallRng,
}

impl Iterator for Rush {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.left == 0 {
            return None;
        }
        // The smallest of n uniform numbers is distributed like this.
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 buyers")]
        let share = 1.0 - self.rng.random::<f64>().powf(1.0 / self.left as f64);
        self.passed += (1.0 - self.passed) * share;
        self.left -= 1;
        Some(self.spike.at + self.spike.within.mul_f64(self.passed))
    }
}

struct Merged<A: Iterator, B: Iterator> {
    steady: Peekable<A>,
    spike: Peekable<B>,
}

impl<A: Iterator<Item = Duration>, B: Iterator<Item = Duration>> Iterator for Merged<A, B> {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        match (self.steady.peek(), self.spike.peek()) {
            (Some(steady), Some(spike)) if spike < steady => self.spike.next(),
            (None, _) => self.spike.next(),
            _ => self.steady.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn within(arrivals: Arrivals, from: Duration, to: Duration) -> usize {
        let all = arrivals.schedule(7).take_while(|at| *at < to);
        all.filter(|at| *at >= from).count()
    }

    #[test]
    fn the_same_seed_gives_the_same_times_in_order() {
        let arrivals = Arrivals {
            rate_per_second: 1_000.0,
            ramp: SECOND,
            spike: Some(Spike {
                buyers: 500,
                within: Duration::from_millis(100),
                at: SECOND,
            }),
        };
        let times = |seed| arrivals.schedule(seed).take(5_000).collect::<Vec<_>>();
        assert_eq!(times(1), times(1));
        assert_ne!(times(1), times(2));
        assert!(times(1).is_sorted());
    }

    #[test]
    fn arrivals_are_random_at_the_given_rate() {
        let seconds = 400_u32;
        let mut counts = vec![0.0_f64; 400];
        for at in Arrivals::at_rate(100.0).schedule(3) {
            match counts.get_mut(usize::try_from(at.as_secs()).unwrap()) {
                Some(count) => *count += 1.0,
                None => break,
            }
        }
        let mean = counts.iter().sum::<f64>() / f64::from(seconds);
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / f64::from(seconds);
        assert!((97.0..103.0).contains(&mean), "{mean}");
        assert!(
            (75.0..130.0).contains(&variance),
            "as large as the mean: {variance}"
        );
    }

    #[test]
    fn on_a_ramp_the_rate_rises_evenly_and_then_stays() {
        let arrivals = Arrivals {
            ramp: 10 * SECOND,
            ..Arrivals::at_rate(1_000.0)
        };
        let close = |found: usize, expected: usize| found.abs_diff(expected) < expected / 10;
        let first_half = within(arrivals, Duration::ZERO, 5 * SECOND);
        let second_half = within(arrivals, 5 * SECOND, 10 * SECOND);
        let after = within(arrivals, 10 * SECOND, 15 * SECOND);
        assert!(close(first_half, 1_250), "{first_half}");
        assert!(close(second_half, 3_750), "{second_half}");
        assert!(close(after, 5_000), "{after}");
    }

    #[test]
    fn a_spike_comes_whole_and_in_its_time_and_moves_nobody_else() {
        let spike = Spike {
            buyers: 2_000,
            within: Duration::from_millis(200),
            at: 3 * SECOND,
        };
        let alone = Arrivals {
            spike: Some(spike),
            ..Arrivals::default()
        };
        let times: Vec<Duration> = alone.schedule(5).collect();
        assert_eq!(times.len(), 2_000);
        assert!(
            times
                .iter()
                .all(|at| (spike.at..=spike.at + spike.within).contains(at))
        );
        let first_half = times
            .iter()
            .filter(|at| **at < spike.at + spike.within / 2)
            .count();
        assert!((900..1_100).contains(&first_half), "{first_half}");

        let steady = Arrivals::at_rate(100.0);
        let both = Arrivals {
            spike: Some(spike),
            ..steady
        };
        let (from, to) = (Duration::ZERO, 10 * SECOND);
        assert_eq!(within(both, from, to), within(steady, from, to) + 2_000);
    }

    #[test]
    fn arrivals_of_nobody_are_refused() {
        assert!(Arrivals::default().check().is_err());
        for wrong in [f64::NAN, f64::INFINITY, -1.0] {
            assert!(Arrivals::at_rate(wrong).check().is_err(), "{wrong}");
        }
        assert!(Arrivals::at_rate(0.5).check().is_ok());
    }
}
