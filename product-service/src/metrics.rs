//! Every event of this service: its log line and its metric. Nothing else in the crate names a metric.

pub mod products;

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use platform::amqp::Link;
use platform::http::auth::Caller;
use platform::metrics::{PoolWaits, Words, at_scrape, dependency_up, pool_state};

use crate::domain::request::ProductId;
use crate::domain::words::{
    Admission, BreakerState, CallResult, Find, LoadStep, Settled, Unavailable, Verdict,
};
use crate::gate::{Gate, GateError};
use crate::ledger::LedgerError;
use crate::ledger::failure::Failure;

pub(crate) const ADMISSIONS: &str = "hotstock_gate_admissions_total";
pub(crate) const DECISIONS: &str = "hotstock_decisions_total";
pub(crate) const UNDECIDED: &str = "hotstock_undecided_total";
const SETTLED: &str = "hotstock_gate_settled_total";
const SETTLE_DROPPED: &str = "hotstock_gate_settle_dropped_total";
const CALLS: &str = "hotstock_gate_calls_total";
const CALL_SECONDS: &str = "hotstock_gate_call_seconds";
const BREAKER_STATE: &str = "hotstock_breaker_state";
const BREAKER_SINCE: &str = "hotstock_breaker_state_seconds";
const BREAKER_TRANSITIONS: &str = "hotstock_breaker_transitions_total";
const LOADS: &str = "hotstock_gate_loads_total";
const DECIDE_FAILURES: &str = "hotstock_decide_failures_total";
const FINDS: &str = "hotstock_reconcile_finds_total";
const RECONCILE_SECONDS: &str = "hotstock_reconcile_seconds";
const RECONCILE_FAILURES: &str = "hotstock_reconcile_failures_total";
const GATE_BATCH: &str = "hotstock_gate_batch_size";
pub(crate) const GATE_SECONDS: &str = "hotstock_gate_batch_seconds";
const DECIDE_BATCH: &str = "hotstock_decide_batch_size";
pub(crate) const DECIDE_SECONDS: &str = "hotstock_decide_batch_seconds";
pub(crate) const MESSAGES_DEAD: &str = "hotstock_stock_requests_dead_total";
const MESSAGES_HELD: &str = "hotstock_stock_requests_held_total";
const RESULTS_UNCONFIRMED: &str = "hotstock_stock_results_unconfirmed_total";

/// Calls of Redis that the breaker watches, as a label.
const CALL_KINDS: [&str; 3] = ["reserve", "settle", "ping"];

/// What each metric says. Those of both services are described where they are made.
const HELP: &[(&str, &str)] = &[
    (ADMISSIONS, "Requests the gate has spoken about, by what it said."),
    (
        DECISIONS,
        "Requests answered, by outcome and by who answered: the gate, or the database.",
    ),
    (UNDECIDED, "Requests that got no decision, by reason."),
    (
        SETTLED,
        "Settlements the gate took notice of, one per product and batch.",
    ),
    (
        SETTLE_DROPPED,
        "Facts and releases that found no room on their way to the gate.",
    ),
    (
        CALLS,
        "Calls of Redis that the breaker watches, by what they mean to it.",
    ),
    (CALL_SECONDS, "How long such a call took, in seconds."),
    (BREAKER_STATE, "One-hot: 1 for the state the breaker is in."),
    (BREAKER_SINCE, "For how long it has been in it, in seconds."),
    (
        BREAKER_TRANSITIONS,
        "Changes of the breaker's state, by the state entered.",
    ),
    (LOADS, "Steps of loading gates."),
    (DECIDE_FAILURES, "Decision transactions that failed, or may have."),
    (
        FINDS,
        "What the reconciler has found; in health there is nothing.",
    ),
    (
        RECONCILE_SECONDS,
        "How long a round of the reconciler took, in seconds.",
    ),
    (RECONCILE_FAILURES, "Rounds of the reconciler that failed."),
    (GATE_BATCH, "Requests per round trip to the gate."),
    (GATE_SECONDS, "How long such a round trip took, in seconds."),
    (DECIDE_BATCH, "Requests per decision transaction."),
    (
        DECIDE_SECONDS,
        "How long a decision transaction took, its commit included, in seconds.",
    ),
    (
        MESSAGES_DEAD,
        "Stock requests that nobody could act on: set aside.",
    ),
    (
        MESSAGES_HELD,
        "Times a stock request was held because nobody could decide.",
    ),
    (
        RESULTS_UNCONFIRMED,
        "Results the broker did not confirm; they are published again.",
    ),
];

static ADMITTED: LazyLock<Words> = LazyLock::new(|| {
    Words::new(
        Admission::ALL,
        |word| counter!(ADMISSIONS, "outcome" => word.word()),
    )
});
static DECIDED: LazyLock<Words> = LazyLock::new(|| decisions("database"));
static REFUSED: LazyLock<Words> = LazyLock::new(|| decisions("gate"));

fn decisions(path: &'static str) -> Words {
    Words::new(
        Verdict::ALL,
        |word| counter!(DECISIONS, "outcome" => word.word(), "path" => path),
    )
}

/// Makes every series exist, at zero, with what it means: a dashboard must not find nothing where nothing has happened yet.
pub fn touch() {
    platform::metrics::describe(HELP);
    products::describe();
    for words in [&ADMITTED, &DECIDED, &REFUSED] {
        LazyLock::force(words);
    }
    LazyLock::force(&REDIS_WAITS);
    Unavailable::ALL
        .iter()
        .for_each(|word| counter!(UNDECIDED, "reason" => word.word()).absolute(0));
    Settled::ALL
        .iter()
        .for_each(|word| counter!(SETTLED, "outcome" => word.word()).absolute(0));
    LoadStep::ALL
        .iter()
        .for_each(|word| counter!(LOADS, "outcome" => word.word()).absolute(0));
    for call in CALL_KINDS {
        drop(histogram!(CALL_SECONDS, "call" => call));
        for result in CallResult::ALL {
            counter!(CALLS, "call" => call, "result" => result.word()).absolute(0);
        }
    }
    Find::ALL
        .iter()
        .for_each(|word| counter!(FINDS, "find" => word.word()).absolute(0));
    BreakerState::ALL
        .iter()
        .for_each(|state| counter!(BREAKER_TRANSITIONS, "to" => state.word()).absolute(0));
    for series in [
        SETTLE_DROPPED,
        DECIDE_FAILURES,
        MESSAGES_DEAD,
        MESSAGES_HELD,
        RESULTS_UNCONFIRMED,
        RECONCILE_FAILURES,
    ] {
        counter!(series).absolute(0);
    }
    for series in [
        GATE_BATCH,
        GATE_SECONDS,
        DECIDE_BATCH,
        DECIDE_SECONDS,
        RECONCILE_SECONDS,
    ] {
        drop(histogram!(series));
    }
}

/// Watches what can be read at once, whenever Prometheus asks: breaker, connections to Redis and to the broker.
pub fn watch(gate: &Arc<Gate>, broker: Link) {
    let gate = Arc::downgrade(gate);
    at_scrape(move || {
        let Some(gate) = gate.upgrade() else {
            return false;
        };
        let breaker = gate.breaker.view();
        for state in BreakerState::ALL {
            gauge!(BREAKER_STATE, "state" => state.word()).set(if *state == breaker.state {
                1.0
            } else {
                0.0
            });
        }
        gauge!(BREAKER_SINCE).set(breaker.since.as_secs_f64());
        pool_state("redis", gate.pool_state());
        dependency_up("redis", breaker.state == BreakerState::Closed || breaker.forced);
        dependency_up("postgres", DATABASE_UP.load(Ordering::Relaxed));
        dependency_up("rabbitmq", broker.is_connected());
        true
    });
}

static DATABASE_UP: AtomicBool = AtomicBool::new(false);
static REDIS_WAITS: LazyLock<PoolWaits> = LazyLock::new(|| PoolWaits::of("redis"));

/// Whether the database has answered the worker that asks it for the gauges.
pub fn database_up(up: bool) {
    DATABASE_UP.store(up, Ordering::Relaxed);
}

/// Somebody has asked for a connection to Redis, and got one or not.
pub fn redis_waited(took: Duration, got_one: bool) {
    REDIS_WAITS.waited(took, got_one);
}

/// Products could not be read for the gauges.
pub fn readings_failed(error: &LedgerError) {
    database_up(false);
    tracing::debug!(%error, "products could not be read for the metrics; it is tried again");
}

/// The gate has spoken about one request.
pub fn admission(admission: Admission) {
    ADMITTED.count(admission as usize, 1);
}

/// The gate has refused one request; the database is not asked.
pub fn refused_by_gate(verdict: Verdict) {
    REFUSED.count(verdict as usize, 1);
}

/// The gate's queue was full.
pub fn gate_queue_full() {
    tracing::debug!("the gate's queue is full");
}

/// One call of Redis that the breaker watches.
pub fn gate_call(call: &'static str, result: CallResult, took: Duration) {
    histogram!(CALL_SECONDS, "call" => call).record(took);
    counter!(CALLS, "call" => call, "result" => result.word()).increment(1);
}

/// The breaker has changed its state.
pub fn breaker_changed(state: BreakerState) {
    counter!(BREAKER_TRANSITIONS, "to" => state.word()).increment(1);
    tracing::warn!(state = state.word(), "breaker");
}

/// A probe has failed: Redis is left alone for longer.
pub fn probe_failed(error: &impl Display) {
    tracing::warn!(%error, "probe failed");
}

/// One round trip to the gate, answered or not.
pub fn gate_batch(requests: usize, took: Duration) {
    histogram!(GATE_BATCH).record(size(requests));
    histogram!(GATE_SECONDS).record(took);
}

/// The gate did not answer; `requests` go to the decision without it.
pub fn gate_failed(error: &GateError, requests: usize) {
    tracing::warn!(%error, requests, "the gate did not answer; the database decides");
}

/// The gate took notice of facts and releases of one product.
pub fn settled(result: &Result<Settled, GateError>) {
    match result {
        Ok(settled) => counter!(SETTLED, "outcome" => settled.word()).increment(1),
        Err(error) => settle_failed(error, 0),
    }
}

/// The gate took no notice; it is told `left` more times, then the reconciler is left to it.
pub fn settle_failed(error: &GateError, left: usize) {
    tracing::warn!(%error, left, "the gate was not told what was committed");
}

/// A fact or release found no room.
pub fn settle_dropped() {
    counter!(SETTLE_DROPPED).increment(1);
}

/// A product's gate could not be looked at.
pub fn peek_failed(error: &GateError) {
    tracing::warn!(%error, "the gate cannot be looked at");
}

/// A product's keys could not be removed.
pub fn purge_failed(product: ProductId, error: &GateError) {
    tracing::warn!(%error, product, "the keys of a product could not be removed");
}

/// The load of one product has ended.
pub fn loaded(product: ProductId, result: &Result<LoadStep, GateError>) {
    match result {
        Ok(step) => {
            counter!(LOADS, "outcome" => step.word()).increment(1);
            tracing::debug!(product, outcome = step.word(), "load");
        }
        Err(error) => load_failed(1, error),
    }
}

/// Products could not be loaded.
pub fn load_failed(products: usize, error: &impl Display) {
    tracing::warn!(products, %error, "a load failed; it is tried again, by the next requests at the latest");
}

/// The ledger's queue was full.
pub fn ledger_queue_full() {
    tracing::debug!("the ledger's queue is full");
}

/// One decision transaction that committed.
pub fn decide_batch(requests: usize, took: Duration) {
    histogram!(DECIDE_BATCH).record(size(requests));
    histogram!(DECIDE_SECONDS).record(took);
}

/// One decision transaction that did not, as far as is known.
pub fn decide_failed(error: &LedgerError, failure: Failure, requests: usize) {
    counter!(DECIDE_FAILURES).increment(1);
    tracing::warn!(%error, failure = failure.word(), requests, "a decision failed");
}

/// One request was decided.
pub fn decided(verdict: Verdict) {
    DECIDED.count(verdict as usize, 1);
}

/// One request got no decision.
pub fn undecided(why: Unavailable) {
    counter!(UNDECIDED, "reason" => why.word()).increment(1);
}

/// The reconciler found something that in health is not there, so many times for one product.
pub fn found(product: ProductId, find: Find, times: u64) {
    counter!(FINDS, "find" => find.word()).increment(times);
    match find {
        Find::Drift | Find::Ahead | Find::Unreadable => {
            tracing::error!(
                product,
                find = find.word(),
                "the gate contradicts the ledger; it is loaded anew"
            );
        }
        _ => tracing::info!(product, find = find.word(), times, "reconciled"),
    }
}

/// A round of the reconciler is over.
pub fn reconciled(took: Duration) {
    histogram!(RECONCILE_SECONDS).record(took);
}

/// Products could not be reconciled.
pub fn reconcile_failed(error: &impl Display) {
    counter!(RECONCILE_FAILURES).increment(1);
    tracing::warn!(%error, "reconciling failed; it is tried again");
}

/// The list of hot products could not be refreshed.
pub fn hot_products_failed(error: &LedgerError) {
    tracing::warn!(%error, "the list of hot products could not be refreshed");
}

/// What the console or a sale page shows could not be read; it shows what it saw last.
pub fn console_failed(error: &LedgerError) {
    tracing::debug!(%error, "a page's numbers could not be read");
}

/// Somebody did something to a product.
pub fn product_event(product: ProductId, action: &'static str, caller: &Caller) {
    tracing::info!(audit = true, action, %caller, product, "a product is changed");
}

/// An operator did something to the breaker.
pub fn breaker_event(action: &'static str, caller: &Caller) {
    tracing::info!(audit = true, action, %caller, "an operator has moved the breaker");
}

/// An operator had gates put right.
pub fn reconciled_by_operator(caller: &Caller) {
    tracing::info!(audit = true, action = "reconcile", %caller, "an operator has had gates put right");
}

/// The last unit of a product went.
pub fn sold_out(product: ProductId) {
    tracing::info!(product, "sold out");
}

/// A message that nobody can act on goes to the dead letters.
pub fn message_dead(why: &impl Display) {
    counter!(MESSAGES_DEAD).increment(1);
    tracing::warn!(%why, "a message is set aside");
}

/// A message is decided.
pub fn message_decided(verdict: Verdict) {
    tracing::debug!(verdict = verdict.word(), "a message is decided");
}

/// A message is held, because nobody can decide at the moment.
pub fn message_held(why: Unavailable) {
    counter!(MESSAGES_HELD).increment(1);
    tracing::debug!(why = why.word(), "a message is held");
}

/// A result was not confirmed by the broker; it is published again.
pub fn result_not_confirmed(why: &str) {
    counter!(RESULTS_UNCONFIRMED).increment(1);
    tracing::debug!(why, "a result was not confirmed");
}

#[expect(clippy::cast_precision_loss, reason = "batch sizes are small")]
fn size(requests: usize) -> f64 {
    requests as f64
}
