//! What both services measure alike: requests, queues, pools, messages, the process and its runtime. Nothing else in this
//! crate names a metric.
//!
//! Three ways a number gets in. Counters and histograms are kept by whoever does the work, through handles made once:
//! naming a series costs an allocation and a look-up, which a request cannot afford. What can be read at once (a depth, a
//! state) is read when Prometheus asks ([`at_scrape`]). What has to be asked for (the database) is set by one worker of the
//! service, on a timer. A gauge that nobody has set for [`FORGOTTEN_AFTER`] vanishes: no number is better than an old one.

mod http;
mod pools;
mod queues;
mod shed;

pub(crate) use http::begin;
pub use http::{Route, document, route};
pub(crate) use pools::pool;
pub use pools::{PoolState, PoolWaits, pool_state};
pub use queues::refused_ahead;
pub(crate) use queues::{QueueMarks, queue};
pub(crate) use shed::{Shed, connections, shed};

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::{Counter, SharedString, counter, describe_counter, gauge};
use tokio::runtime::{Handle, RuntimeMetrics};

/// Gauges that nobody has set for this long vanish.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

const BUILD: &str = "hotstock_build_info";
const DEPENDENCY_UP: &str = "hotstock_dependency_up";
const DELIVERIES: &str = "hotstock_amqp_deliveries_total";
const PUBLISHED: &str = "hotstock_amqp_published_total";
const DEAD_LETTERS: &str = "hotstock_dead_letters";
const TOKIO_WORKERS: &str = "hotstock_tokio_workers";
const TOKIO_TASKS: &str = "hotstock_tokio_alive_tasks";
const TOKIO_QUEUE: &str = "hotstock_tokio_global_queue_tasks";
const TOKIO_BUSY: &str = "hotstock_tokio_busy_ratio";

/// What each metric says, for whoever meets it in Prometheus.
const HELP: &[(&str, &str)] = &[
    (BUILD, "1; the labels say what is running."),
    (
        DEPENDENCY_UP,
        "Whether what the service stands on answers it: 1 yes, 0 no.",
    ),
    (
        DELIVERIES,
        "Messages delivered to a consumer; redelivered: it, or somebody, had this one before.",
    ),
    (PUBLISHED, "Messages published, by the broker's word on them."),
    (DEAD_LETTERS, "Messages that lie in a dead letter queue."),
    (
        TOKIO_WORKERS,
        "Threads of the runtime that queues and workers run on.",
    ),
    (TOKIO_TASKS, "Tasks of that runtime that have not ended."),
    (
        TOKIO_QUEUE,
        "Tasks of that runtime that wait for a thread in the shared queue.",
    ),
    (
        TOKIO_BUSY,
        "Share of the time since the last scrape in which its threads were busy.",
    ),
];

/// Says what metrics mean. Every metric has to be in such a list, once.
pub fn describe(help: &[(&'static str, &'static str)]) {
    for (name, text) in help {
        // The exporter keeps one text per name, whatever it is called for.
        describe_counter!(*name, *text);
    }
}

type Read = Box<dyn FnMut() -> bool + Send>;

static READS: Mutex<Vec<Read>> = Mutex::new(Vec::new());

/// Has `read` set gauges whenever Prometheus asks. It must not wait for anything. Once it says `false`, what it read is
/// gone, and it is not called again.
pub fn at_scrape(read: impl FnMut() -> bool + Send + 'static) {
    lock(&READS).push(Box::new(read));
}

pub(crate) fn read_all() {
    lock(&READS).retain_mut(|read| read());
}

/// Sets up what every service has. `version`: of the program.
///
/// # Panics
/// Outside a tokio runtime.
pub fn install(service: &'static str, version: &'static str) {
    for help in [HELP, http::HELP, pools::HELP, queues::HELP, shed::HELP] {
        describe(help);
    }
    let process = metrics_process::Collector::default();
    process.describe();
    let mut busy = Busy::of(Handle::current().metrics());
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    at_scrape(move || {
        gauge!(BUILD, "service" => service, "version" => version, "profile" => profile).set(1.0);
        process.collect();
        busy.read();
        http::read_in_flight();
        true
    });
}

/// The runtime, and how long its threads had been busy when it was last read.
struct Busy {
    runtime: RuntimeMetrics,
    at: Instant,
    busy: Duration,
}

impl Busy {
    fn of(runtime: RuntimeMetrics) -> Self {
        let busy = busy_time(&runtime);
        Self {
            runtime,
            at: Instant::now(),
            busy,
        }
    }

    fn read(&mut self) {
        gauge!(TOKIO_WORKERS).set(count(self.runtime.num_workers()));
        gauge!(TOKIO_TASKS).set(count(self.runtime.num_alive_tasks()));
        gauge!(TOKIO_QUEUE).set(count(self.runtime.global_queue_depth()));
        let busy = busy_time(&self.runtime);
        let time = self.at.elapsed().as_secs_f64() * count(self.runtime.num_workers());
        if time > 0.0 {
            gauge!(TOKIO_BUSY).set((busy.saturating_sub(self.busy).as_secs_f64() / time).min(1.0));
        }
        (self.at, self.busy) = (Instant::now(), busy);
    }
}

fn busy_time(runtime: &RuntimeMetrics) -> Duration {
    (0..runtime.num_workers())
        .map(|worker| runtime.worker_total_busy_duration(worker))
        .sum()
}

/// Whether a dependency answers.
pub fn dependency_up(dependency: &'static str, up: bool) {
    gauge!(DEPENDENCY_UP, "dependency" => dependency).set(if up { 1.0 } else { 0.0 });
}

/// How many messages lie in a dead letter queue.
pub fn dead_letters(queue: &'static str, messages: u32) {
    gauge!(DEAD_LETTERS, "queue" => queue).set(f64::from(messages));
}

/// Counters of one name, one for each word of a closed list: there from the start, and cheap to count with.
pub struct Words(Vec<Counter>);

impl Words {
    /// `counter` makes the counter of one word. The place of a word in `words` is its index.
    pub fn new<W: Copy>(words: &[W], counter: impl Fn(W) -> Counter) -> Self {
        Self(
            words
                .iter()
                .map(|word| {
                    let counter = counter(*word);
                    counter.absolute(0);
                    counter
                })
                .collect(),
        )
    }

    /// Counts; a word that is not in the list is not counted.
    pub fn count(&self, word: usize, times: u64) {
        if let Some(counter) = self.0.get(word) {
            counter.increment(times);
        }
    }
}

/// Deliveries of one consumer: first ones, and those that somebody had before.
pub(crate) fn deliveries(consumer: &'static str) -> Words {
    Words::new(
        &["false", "true"],
        |redelivered| counter!(DELIVERIES, "consumer" => consumer, "redelivered" => redelivered),
    )
}

/// Messages of one publisher: confirmed, and not.
pub(crate) fn published(publisher: &'static str) -> Words {
    Words::new(
        &["confirmed", "failed"],
        |outcome| counter!(PUBLISHED, "publisher" => publisher, "outcome" => outcome),
    )
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::from(u32::MAX), f64::from)
}

fn label(text: &str) -> SharedString {
    SharedString::from(text.to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
