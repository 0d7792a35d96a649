//! What a run cost the load tool itself, and whether that was what it measured.

use std::time::Duration;

use hdrhistogram::Histogram;

/// A thread that was busy for a larger share of the run had no time left to be faster.
const BUSY_MOST: f64 = 0.9;
/// Lateness of our own that is nothing.
const LATE_LEAST: Duration = Duration::from_millis(1);
/// Lateness of our own that falsifies latencies: a larger share of their p99.
const LATE_MOST: f64 = 0.1;

/// Time of one thread, as the kernel has it (Linux).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadTime {
    /// On a core.
    pub running: Duration,
    /// Ready to run, without a core.
    pub waiting: Duration,
}

impl ThreadTime {
    /// Of this thread so far; `None` where the kernel does not say.
    pub(super) fn now() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        let mut fields = text.split_whitespace().map(|field| field.parse().ok());
        let mut next = || fields.next().flatten().map(Duration::from_nanos);
        Some(Self {
            running: next()?,
            waiting: next()?,
        })
    }

    /// Of this thread since `begun`.
    pub(super) fn since(begun: Option<Self>) -> Option<Self> {
        let (begun, now) = (begun?, Self::now()?);
        Some(Self {
            running: now.running.saturating_sub(begun.running),
            waiting: now.waiting.saturating_sub(begun.waiting),
        })
    }
}

/// What a run cost the load tool itself.
#[derive(Clone, Debug)]
pub struct Effort {
    /// Of the thread that carries the clients.
    pub clients: Option<ThreadTime>,
    /// Of the thread that lets buyers in, in the open model.
    pub arrivals: Option<ThreadTime>,
    /// How late buyers came in by our own fault, in microseconds; empty in the closed model.
    pub lateness_us: Histogram<u64>,
}

impl Effort {
    /// Time on a core, of all threads; `None` where the kernel does not say.
    #[must_use]
    pub fn cpu(&self) -> Option<Duration> {
        let arrivals = self.arrivals.unwrap_or_default().running;
        Some(self.clients?.running + arrivals)
    }

    /// The share of the run in which the busiest thread ran or waited for a core, 0 to 1; 0 where nobody says.
    #[must_use]
    pub fn busy_ratio(&self, wall_time: Duration) -> f64 {
        let busy = |thread: Option<ThreadTime>| {
            let thread = thread.unwrap_or_default();
            (thread.running + thread.waiting).as_secs_f64() / wall_time.as_secs_f64().max(1e-9)
        };
        busy(self.clients).max(busy(self.arrivals)).min(1.0)
    }

    /// Why the figures say more about the load tool than about the service, if they do.
    #[must_use]
    pub fn warning(&self, wall_time: Duration, latency_us: &Histogram<u64>) -> Option<String> {
        let busy = self.busy_ratio(wall_time);
        if busy > BUSY_MOST {
            return Some(format!(
                "the load tool was the bottleneck: its thread ran, or waited for a core, {:.0} % of the time",
                busy * 100.0
            ));
        }
        let late = Duration::from_micros(self.lateness_us.value_at_quantile(0.99));
        let p99 = Duration::from_micros(latency_us.value_at_quantile(0.99));
        (late > LATE_LEAST && late > p99.mul_f64(LATE_MOST)).then(|| {
            format!(
                "the load tool was late by itself: p99 {:.1} ms of the {:.1} ms measured",
                late.as_secs_f64() * 1e3,
                p99.as_secs_f64() * 1e3
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tally::histogram;
    use super::*;

    const WALL_TIME: Duration = Duration::from_secs(10);

    fn effort(running_s: u64, waiting_s: u64, late_us: u64) -> Effort {
        let mut lateness_us = histogram().unwrap();
        lateness_us.saturating_record(late_us);
        Effort {
            clients: Some(ThreadTime {
                running: Duration::from_secs(running_s),
                waiting: Duration::from_secs(waiting_s),
            }),
            arrivals: None,
            lateness_us,
        }
    }

    fn warning(effort: &Effort) -> Option<String> {
        let mut latency_us = histogram().unwrap();
        latency_us.saturating_record(20_000);
        effort.warning(WALL_TIME, &latency_us)
    }

    #[test]
    fn a_client_that_has_time_left_and_is_punctual_is_no_bottleneck() {
        assert_eq!(warning(&effort(5, 3, 900)), None);
        assert_eq!(warning(&effort(5, 3, 1_500)), None, "less than a tenth of 20 ms");
    }

    #[test]
    fn a_busy_or_late_client_says_so() {
        let busy = warning(&effort(6, 4, 0)).unwrap();
        assert!(busy.contains("bottleneck") && busy.contains("100 %"), "{busy}");
        let late = warning(&effort(5, 0, 3_000)).unwrap();
        assert!(late.contains("late by itself: p99 3.0 ms"), "{late}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_kernel_knows_what_a_thread_cost() {
        let begun = ThreadTime::now();
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
        let cost = ThreadTime::since(begun).unwrap();
        let busy = cost.running + cost.waiting;
        assert!(busy > Duration::from_millis(20), "{cost:?}");
    }
}
