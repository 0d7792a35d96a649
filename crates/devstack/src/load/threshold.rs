//! Figures that a run must not cross: `p99>20ms`, `error_ratio>0.01`.

use std::fmt;
use std::str::FromStr;

use super::tally::Tally;

const FIGURES: &str = "pN such as p50, p99 or p99.9, max, mean (times: 20ms, 1.5s, 800us); error_ratio, dropped_ratio \
                       (0.01 or 1%); dropped, sales, sales_per_second, answers_per_second (numbers)";

/// Something that must not become true.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    figure: Figure,
    comparison: Comparison,
    /// In the unit of the figure: seconds, a ratio or a number.
    bound: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    /// Of the latencies of all buyers, 0 to 1.
    Quantile(f64),
    Max,
    Mean,
    ErrorRatio,
    DroppedRatio,
    Dropped,
    Sales,
    SalesPerSecond,
    AnswersPerSecond,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// How a run did against one threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The threshold as it was given.
    pub threshold: String,
    /// The figure of the run, in words; what was to be measured and was not says so.
    pub found: String,
    /// Whether it is true, which it must not be. What was not measured counts as crossed.
    pub is_crossed: bool,
}

impl Threshold {
    /// Holds it against a run.
    #[must_use]
    pub fn judge(&self, tally: &Tally) -> Finding {
        let value = self.figure.of(tally);
        let is_crossed = value.is_none_or(|value| match self.comparison {
            Comparison::Above => value > self.bound,
            Comparison::AtLeast => value >= self.bound,
            Comparison::Below => value < self.bound,
            Comparison::AtMost => value <= self.bound,
        });
        Finding {
            threshold: self.text.clone(),
            found: value.map_or_else(
                || String::from("nobody was answered"),
                |value| self.figure.in_words(value),
            ),
            is_crossed,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_crossed { "CROSSED" } else { "kept" };
        write!(f, "{word}: {}", self.found)
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The longer ones first: > is the beginning of >=.
        let comparisons = [
            (">=", Comparison::AtLeast),
            ("<=", Comparison::AtMost),
            (">", Comparison::Above),
            ("<", Comparison::Below),
        ];
        let split = |(sign, comparison)| Some((text.split_once(sign)?, comparison));
        let ((name, bound), comparison) = comparisons
            .into_iter()
            .find_map(split)
            .ok_or_else(|| format!("{text:?} compares nothing: FIGURE>BOUND, also >=, < or <="))?;
        let figure = Figure::named(name.trim())?;
        let bound = figure.parse_bound(bound.trim())?;
        Ok(Self {
            text: text.to_owned(),
            figure,
            comparison,
            bound,
        })
    }
}

impl Figure {
    fn named(name: &str) -> Result<Self, String> {
        let quantile = name
            .strip_prefix('p')
            .and_then(|percent| percent.parse::<f64>().ok());
        Ok(match name {
            "max" => Self::Max,
            "mean" => Self::Mean,
            "error_ratio" => Self::ErrorRatio,
            "dropped_ratio" => Self::DroppedRatio,
            "dropped" => Self::Dropped,
            "sales" => Self::Sales,
            "sales_per_second" => Self::SalesPerSecond,
            "answers_per_second" => Self::AnswersPerSecond,
            _ => match quantile {
                Some(percent) if (0.0..=100.0).contains(&percent) => Self::Quantile(percent / 100.0),
                _ => return Err(format!("there is no figure {name:?}; there are {FIGURES}")),
            },
        })
    }

    fn parse_bound(self, text: &str) -> Result<f64, String> {
        let units: &[(&str, f64)] = match self {
            Self::Quantile(_) | Self::Max | Self::Mean => &[("ms", 1e-3), ("us", 1e-6), ("s", 1.0)],
            Self::ErrorRatio | Self::DroppedRatio => &[("%", 0.01), ("", 1.0)],
            _ => &[("", 1.0)],
        };
        let number = |text: &str| {
            let number = text.trim().parse::<f64>().ok();
            number.filter(|number| number.is_finite() && *number >= 0.0)
        };
        let found = units
            .iter()
            .find_map(|(unit, size)| Some(number(text.strip_suffix(unit)?)? * size));
        found.ok_or_else(|| {
            let kind = match self {
                Self::Quantile(_) | Self::Max | Self::Mean => "a time such as 20ms, 1.5s or 800us",
                Self::ErrorRatio | Self::DroppedRatio => "a ratio such as 0.01 or 1%",
                _ => "a number",
            };
            format!("{text:?} is not {kind}")
        })
    }

    /// In its unit; `None` if there is nothing to take it from.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn of(self, tally: &Tally) -> Option<f64> {
        let latency = &tally.latency_us;
        let seconds = |us: f64| (!latency.is_empty()).then_some(us / 1e6);
        match self {
            Self::Quantile(quantile) => seconds(latency.value_at_quantile(quantile) as f64),
            Self::Max => seconds(latency.max() as f64),
            Self::Mean => seconds(latency.mean()),
            Self::ErrorRatio => Some(tally.error_ratio()),
            Self::DroppedRatio => Some(tally.dropped as f64 / tally.arrivals().max(1) as f64),
            Self::Dropped => Some(tally.dropped as f64),
            Self::Sales => Some(tally.sales() as f64),
            Self::SalesPerSecond => Some(tally.sales_per_second()),
            Self::AnswersPerSecond => Some(tally.answers_per_second()),
        }
    }

    fn in_words(self, value: f64) -> String {
        match self {
            Self::Quantile(_) | Self::Max | Self::Mean => format!("{:.1} ms", value * 1e3),
            Self::ErrorRatio | Self::DroppedRatio => format!("{value:.4}"),
            _ => format!("{value:.0}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Threshold, String> {
        text.parse()
    }

    /// 98 answers of 10 ms, two of 100 ms without an outcome, and 25 arrivals turned away.
    fn tally() -> Tally {
        let mut tally = Tally::new(1).unwrap();
        tally.latency_us.saturating_record_n(10_000, 98);
        tally.latency_us.saturating_record_n(100_000, 2);
        tally.unknown = 2;
        tally.dropped = 25;
        tally
    }

    #[test]
    fn a_threshold_is_crossed_when_it_is_true() {
        for (text, is_crossed) in [
            ("p50>20ms", false),
            ("p50<20ms", true),
            ("p99>20ms", true),
            ("p99 > 0.2s", false),
            ("p99.9>=99000us", true),
            ("p98>10.1ms", false),
            ("max<=0.05s", false),
            ("mean>11ms", true),
            ("error_ratio>0.2", true),
            ("error_ratio>22%", false),
            ("dropped_ratio>=0.2", true),
            ("dropped>25", false),
            ("sales<1", true),
            ("sales_per_second>0", false),
            ("answers_per_second>0", false),
        ] {
            let finding = parsed(text).unwrap().judge(&tally());
            assert_eq!(finding.is_crossed, is_crossed, "{text}: {finding}");
        }
    }

    #[test]
    fn a_latency_that_nobody_measured_counts_as_crossed() {
        let finding = parsed("p99>20ms").unwrap().judge(&Tally::new(1).unwrap());
        assert!(finding.is_crossed, "{finding}");
        assert_eq!(finding.to_string(), "CROSSED: nobody was answered");
    }

    #[test]
    fn what_is_no_threshold_is_told_why() {
        for (text, why) in [
            ("p99=20ms", "compares nothing"),
            ("", "compares nothing"),
            ("p101>20ms", "there is no figure \"p101\""),
            ("latency>20ms", "there are pN"),
            ("p99>20", "is not a time such as 20ms"),
            ("p99>ms", "is not a time"),
            ("p99>-1ms", "is not a time"),
            ("error_ratio>1ms", "is not a ratio such as 0.01 or 1%"),
            ("error_ratio>NaN", "is not a ratio"),
            ("sales>many", "is not a number"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
