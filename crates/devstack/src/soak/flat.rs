//! Whether a series of samples has grown: its last fifth against its second, by their medians.
//!
//! Pure. The first fifth is warming up: pools fill, caches and allocators take what they will keep.

use serde::Serialize;

/// Fewer samples say nothing.
pub const SAMPLES_LEAST: usize = 20;

/// How much a figure may grow: by a share of what it was, and a constant besides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Share of the earlier value.
    pub share: f64,
    /// In the unit of the figure.
    pub constant: f64,
}

/// One figure, early and late.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What was measured.
    pub what: String,
    /// `MB`, `ms` or nothing.
    pub unit: &'static str,
    /// Early in the run.
    pub early: f64,
    /// At its end.
    pub late: f64,
    /// What it may be at most at the end.
    pub most: f64,
    /// Whether it is more.
    pub is_crossed: bool,
}

impl Bound {
    /// Memory: 10 % and 8 MB.
    pub const MEMORY_MB: Self = Self {
        share: 0.1,
        constant: 8.0,
    };
    /// Descriptors and connections: 10 % and 16.
    pub const DESCRIPTORS: Self = Self {
        share: 0.1,
        constant: 16.0,
    };
    /// Threads: none more than 2.
    pub const THREADS: Self = Self {
        share: 0.0,
        constant: 2.0,
    };
    /// Latencies: twice as long and 20 ms, because others may use the machine too.
    pub const LATENCY_MS: Self = Self {
        share: 1.0,
        constant: 20.0,
    };

    /// Holds two values against it.
    #[must_use]
    pub fn judge(self, what: String, unit: &'static str, early: f64, late: f64) -> Finding {
        let most = early * (1.0 + self.share) + self.constant;
        Finding {
            what,
            unit,
            early,
            late,
            most,
            // Whatever is no number is no proof.
            is_crossed: late > most || late.is_nan() || most.is_nan(),
        }
    }

    /// Holds a series against it; `None` when it is too short.
    #[must_use]
    pub fn judge_series(self, what: String, unit: &'static str, values: &[f64]) -> Option<Finding> {
        if values.len() < SAMPLES_LEAST {
            return None;
        }
        let fifth = values.len() / 5;
        let early = median(&values[fifth..2 * fifth]);
        let late = median(&values[values.len() - fifth..]);
        Some(self.judge(what, unit, early, late))
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        count if count.is_multiple_of(2) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(series: impl Iterator<Item = f64>) -> Finding {
        let values: Vec<f64> = series.collect();
        Bound::MEMORY_MB
            .judge_series(String::from("memory"), "MB", &values)
            .unwrap()
    }

    #[test]
    fn a_leak_is_found_and_warming_up_is_none() {
        // 180 samples in 30 minutes, 0.15 MB each: 27 MB.
        let leaking = memory((0..180).map(|n| 60.0 + 0.15 * f64::from(n)));
        assert!(leaking.is_crossed, "{leaking:?}");
        let warming = memory((0..180).map(|n| if n < 30 { 20.0 + f64::from(n) } else { 50.0 }));
        assert!(!warming.is_crossed, "{warming:?}");
        let jagged = memory((0..180).map(|n| 60.0 + f64::from(n % 7)));
        assert!(!jagged.is_crossed, "{jagged:?}");
        // A single peak is no trend, and a late jump is one.
        let peak = memory((0..180).map(|n| if n == 170 { 500.0 } else { 60.0 }));
        assert!(!peak.is_crossed, "{peak:?}");
        let jump = memory((0..180).map(|n| if n > 140 { 90.0 } else { 60.0 }));
        assert!(jump.is_crossed, "{jump:?}");
    }

    #[test]
    fn leaked_descriptors_are_found() {
        let judge = |leak: f64| {
            let values: Vec<f64> = (0..60).map(|n| 50.0 + leak * f64::from(n)).collect();
            Bound::DESCRIPTORS
                .judge_series(String::from("descriptors"), "", &values)
                .unwrap()
        };
        assert!(judge(1.0).is_crossed && !judge(0.0).is_crossed);
    }

    #[test]
    fn too_few_samples_and_what_is_no_number_prove_nothing() {
        let few = Bound::THREADS.judge_series(String::new(), "", &[1.0; SAMPLES_LEAST - 1]);
        assert_eq!(few, None);
        assert!(Bound::THREADS.judge(String::new(), "", 1.0, f64::NAN).is_crossed);
    }
}
