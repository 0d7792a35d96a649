//! The recorder's own numbers, read back from what a scrape shows: rates and quantiles for the console, at no cost to
//! whoever counts. Once a round, while somebody watches.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// All series at one moment.
#[derive(Debug, Default)]
pub struct Reading {
    series: HashMap<String, Vec<(String, f64)>>,
}

impl Reading {
    /// From the Prometheus text format. Lines that are none of ours are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut reading = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            if let Ok(value) = value.parse() {
                let of_name = reading.series.entry(name.to_owned()).or_default();
                of_name.push((labels.trim_end_matches('}').to_owned(), value));
            }
        }
        reading
    }

    /// The sum of a counter or gauge by one label, over all others.
    #[must_use]
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for (labels, value) in self.series.get(name).into_iter().flatten() {
            let of_label = label_value(labels, label).unwrap_or_default();
            *sums.entry(of_label.to_owned()).or_default() += value;
        }
        sums
    }

    /// How often a histogram was recorded into, up to each of its edges; over all labels.
    #[must_use]
    pub fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let mut buckets: Vec<(f64, f64)> = self
            .by(&format!("{name}_bucket"), "le")
            .into_iter()
            .filter_map(|(edge, count)| Some((edge.replace("+Inf", "inf").parse().ok()?, count)))
            .collect();
        buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        buckets
    }
}

fn label_value<'a>(labels: &'a str, label: &str) -> Option<&'a str> {
    // No value of ours has a comma or a quote in it.
    labels
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| *name == label)
        .map(|(_, value)| value.trim_matches('"'))
}

/// The value below which `share` of what was recorded between two readings lies, interpolated within its bucket; none
/// when nothing was recorded.
#[must_use]
pub fn quantile(before: &[(f64, f64)], after: &[(f64, f64)], share: f64) -> Option<f64> {
    let grown: Vec<(f64, f64)> = after
        .iter()
        .map(|(edge, count)| {
            let same_edge = before.iter().find(|(other, _)| other == edge);
            (*edge, count - same_edge.map_or(0.0, |(_, count)| *count))
        })
        .collect();
    let rank = grown.last()?.1 * share;
    if rank <= 0.0 {
        return None;
    }
    let (mut low, mut below) = (0.0, 0.0);
    for (edge, count) in grown {
        if count >= rank {
            let within = edge.is_finite() && count > below;
            return Some(if within {
                low + (edge - low) * (rank - below) / (count - below)
            } else {
                low
            });
        }
        (low, below) = (edge, count);
    }
    None
}

/// Samples of the last second or so, for rates.
#[derive(Debug)]
pub struct Window<T> {
    samples: VecDeque<(Instant, T)>,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self {
            samples: VecDeque::new(),
        }
    }
}

impl<T> Window<T> {
    /// How far back a rate looks.
    const SPAN: Duration = Duration::from_secs(1);
    /// Samples older than this say nothing: nobody watched meanwhile.
    const STALE: Duration = Duration::from_secs(5);

    /// Adds a sample. Gives the oldest within the window, the new one, and the seconds between; none where there is
    /// but one.
    pub fn add(&mut self, at: Instant, sample: T) -> Option<(&T, &T, f64)> {
        self.samples.push_back((at, sample));
        while self.samples.len() > 2 && at - self.samples[1].0 >= Self::SPAN {
            self.samples.pop_front();
        }
        while self.samples.len() > 1 && at - self.samples[0].0 > Self::STALE {
            self.samples.pop_front();
        }
        let ((begun, first), (_, last)) = (self.samples.front()?, self.samples.back()?);
        let seconds = (at - *begun).as_secs_f64();
        (seconds > 0.0).then_some((first, last, seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP decided_total Decisions.\n# TYPE decided_total counter\n\
        decided_total{outcome=\"done\",path=\"gate\"} 3\ndecided_total{outcome=\"done\",path=\"database\"} 4\n\
        decided_total{outcome=\"replay\",path=\"gate\"} 1\nopen 1\n\
        took_seconds_bucket{le=\"0.001\"} 10\ntook_seconds_bucket{le=\"0.01\"} 90\ntook_seconds_bucket{le=\"+Inf\"} 100\n";

    #[test]
    fn counters_are_summed_over_other_labels() {
        let reading = Reading::parse(TEXT);
        let sums = reading.by("decided_total", "outcome");
        assert_eq!(
            sums,
            [("done".to_owned(), 7.0), ("replay".to_owned(), 1.0)].into()
        );
        assert_eq!(reading.by("open", "outcome"), [(String::new(), 1.0)].into());
        assert!(reading.by("nobody", "outcome").is_empty());
    }

    #[test]
    fn a_quantile_is_of_what_was_recorded_between() {
        let after = Reading::parse(TEXT).buckets("took_seconds");
        let median = quantile(&[], &after, 0.5).expect("recorded");
        assert!((median - 0.0055).abs() < 1e-9, "{median}");
        // Beyond the last edge: at least that.
        assert_eq!(quantile(&[], &after, 0.99), Some(0.01));
        assert_eq!(quantile(&after, &after, 0.99), None);
    }

    #[test]
    fn a_window_spans_about_a_second_and_forgets_what_is_stale() {
        let (mut window, start) = (Window::default(), Instant::now());
        assert!(window.add(start, 0).is_none());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(window.add(at(500), 5), Some((&0, &5, 0.5)));
        window.add(at(1000), 10);
        assert_eq!(window.add(at(1500), 15), Some((&5, &15, 1.0)));
        assert!(window.add(at(60_000), 20).is_none());
    }
}
