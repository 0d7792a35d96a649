//! What the console shows, twice a second while somebody watches.
//!
//! Orders, outbox and backlog are shared by all instances and read from Postgres; conclusions, times and the broker are
//! this instance's, read back from its recorder.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use contracts::order::{OrderView, OutboxView};
use platform::amqp::Link;
use platform::console::event_log;
use platform::console::live::Live;
use platform::console::reading::{Reading, Window, quantile};
use platform::database::Pool;
use platform::telemetry::Metrics;
use serde::Serialize;
use tokio::time::Instant;

use crate::db::DbError;
use crate::db::newest::{newest, troubled};
use crate::metrics;

/// How often.
const EVERY: Duration = Duration::from_millis(500);
/// Orders shown.
const ORDERS_MAX: i64 = 30;
/// Messages shown of each status that needs somebody.
const MESSAGES_MAX: i64 = 20;

/// What the console is fed from.
pub struct Sources {
    /// The database.
    pub pool: Pool,
    /// The connections to the broker.
    pub links: [Link; 2],
    /// The recorder.
    pub recorded: Metrics,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot<'a> {
    at_ms: i64,
    instance: &'a str,
    viewers: usize,
    broker_answers: bool,
    /// Whether the database has answered: if not, rows are as they were last seen.
    database_answers: bool,
    /// By the numbers of orders, so of all instances.
    orders_per_s: Option<f64>,
    /// By conclusion, per second.
    concluded: BTreeMap<String, f64>,
    turned_away_per_s: f64,
    write_p99_s: Option<f64>,
    pending: f64,
    pending_oldest_s: f64,
    /// By status.
    outbox: BTreeMap<String, f64>,
    outbox_oldest_s: BTreeMap<String, f64>,
    set_aside: f64,
    orders: &'a [OrderView],
    messages: &'a [OutboxView],
    events: Vec<event_log::Line>,
}

struct Sample {
    recorded: Reading,
    last_order: Option<i64>,
}

/// Shows snapshots, for ever.
pub async fn run(sources: Sources, instance: String, live: Live<()>) {
    let mut window = Window::default();
    let (mut orders, mut messages) = (Vec::new(), Vec::new());
    let mut read_at = Instant::now();
    loop {
        live.due(read_at, EVERY).await;
        read_at = Instant::now();
        let read = read(&sources.pool).await;
        let database_answers = read.is_ok();
        match read {
            Ok(read) => (orders, messages) = read,
            Err(error) => metrics::console_failed(&error),
        }
        let recorded = Reading::parse(&sources.recorded.render());
        let sum = |name| recorded.by(name, "").values().sum();
        let mut snapshot = Snapshot {
            at_ms: Utc::now().timestamp_millis(),
            instance: &instance,
            viewers: live.viewers(),
            broker_answers: sources.links.iter().all(|link| link.check().is_ok()),
            database_answers,
            orders_per_s: None,
            concluded: BTreeMap::new(),
            turned_away_per_s: 0.0,
            write_p99_s: None,
            pending: sum(metrics::ORDERS_PENDING),
            pending_oldest_s: sum(metrics::ORDERS_PENDING_OLDEST),
            outbox: recorded.by(metrics::OUTBOX, "status"),
            outbox_oldest_s: recorded.by(metrics::OUTBOX_OLDEST, "status"),
            set_aside: sum(metrics::RESULTS_DEAD),
            orders: &orders,
            messages: &messages,
            events: event_log::latest(),
        };
        let last_order = orders.first().map(|order: &OrderView| order.id);
        let sample = Sample { recorded, last_order };
        if let Some((first, last, seconds)) = window.add(Instant::now(), sample) {
            rates(&mut snapshot, first, last, seconds);
        }
        live.show(&(), &snapshot);
    }
}

async fn read(pool: &Pool) -> Result<(Vec<OrderView>, Vec<OutboxView>), DbError> {
    Ok((
        newest(pool, ORDERS_MAX).await?,
        troubled(pool, MESSAGES_MAX).await?,
    ))
}

#[expect(clippy::cast_precision_loss, reason = "orders of one second")]
fn rates(snapshot: &mut Snapshot<'_>, first: &Sample, last: &Sample, seconds: f64) {
    let grown = |name, label| {
        let before = first.recorded.by(name, label);
        let mut grown = last.recorded.by(name, label);
        for (word, count) in &mut grown {
            *count = (*count - before.get(word).unwrap_or(&0.0)) / seconds;
        }
        grown
    };
    snapshot.concluded = grown(metrics::CONCLUDED, "conclusion");
    snapshot.turned_away_per_s = grown(metrics::TURNED_AWAY, "").values().sum();
    let buckets = |sample: &Sample| sample.recorded.buckets(metrics::FLUSH_SECONDS);
    snapshot.write_p99_s = quantile(&buckets(first), &buckets(last), 0.99);
    let placed = last.last_order.unwrap_or(0) - first.last_order.unwrap_or(0);
    snapshot.orders_per_s = snapshot.database_answers.then(|| placed as f64 / seconds);
}
