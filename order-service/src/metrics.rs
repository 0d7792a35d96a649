//! Every event of this service: its log line and its metric. Nothing else in the crate names a metric.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contracts::error::ErrorCode;
use contracts::order::{Flow, OrderStatus};
use metrics::{counter, gauge, histogram};
use platform::amqp::Link;
use platform::metrics::{at_scrape, dependency_up};

use crate::db::DbError;
use crate::db::backlog::{Backlog, Kind};
use crate::db::conclude::{Concluded, Conclusion};
use crate::db::queue::Unavailable;
use crate::db::relay::{RelayError, Relayed};
use crate::db::saga::Due;
use crate::domain::attempt::Attempt;
use crate::domain::order::FailReason;
use crate::product_client::Answer;
use crate::saga::{SAGA, Step};

const PLACED: &str = "hotstock_orders_placed_total";
const ENTERED: &str = "hotstock_orders_entered_total";
const FAILED: &str = "hotstock_orders_failed_total";
const CONFIRMATION: &str = "hotstock_order_confirmation_seconds";
const STEP_SECONDS: &str = "hotstock_saga_try_seconds";
const STEPS: &str = "hotstock_saga_tries_total";
const TAKEN_UP: &str = "hotstock_saga_taken_up_total";
pub(crate) const CONCLUDED: &str = "hotstock_orders_concluded_total";
const LATE: &str = "hotstock_late_successes_total";
const FLUSH: &str = "hotstock_orders_flush_size";
pub(crate) const FLUSH_SECONDS: &str = "hotstock_orders_flush_seconds";
const FLUSH_FAILURES: &str = "hotstock_orders_flush_failures_total";

const RELAY: &str = "hotstock_outbox_relay_size";
const RELAY_FAILURES: &str = "hotstock_outbox_relay_failures_total";
const RELAYED: &str = "hotstock_outbox_relayed_total";
pub(crate) const TURNED_AWAY: &str = "hotstock_orders_turned_away_total";
pub(crate) const RESULTS_DEAD: &str = "hotstock_stock_results_dead_total";
const RESULTS_HELD: &str = "hotstock_stock_results_held_total";

pub(crate) const ORDERS_PENDING: &str = "hotstock_orders_pending";
pub(crate) const ORDERS_PENDING_OLDEST: &str = "hotstock_orders_pending_oldest_seconds";
pub(crate) const OUTBOX: &str = "hotstock_outbox_messages";
pub(crate) const OUTBOX_OLDEST: &str = "hotstock_outbox_oldest_seconds";

const QUEUES: [&str; 2] = ["place", "conclude"];
const ANSWERS: [&str; 4] = ["done", "refused", "unknown", "unreached"];
const CONCLUSIONS: [&str; 5] = ["taken", "failed", "returned", "over", "again"];

/// What each metric says. Those of both services are described where they are made.
const HELP: &[(&str, &str)] = &[
    (PLACED, "Orders placed, by flow."),
    (ENTERED, "Orders that have entered a status."),
    (FAILED, "Orders that have failed, by reason."),
    (
        CONFIRMATION,
        "From an order being placed to its being confirmed, by the clock of the database, in seconds.",
    ),
    (
        STEPS,
        "Tries of a step of a saga, by what product-service answered.",
    ),
    (
        STEP_SECONDS,
        "How long product-service was waited for, in seconds.",
    ),
    (TAKEN_UP, "Steps the recovery worker has taken up."),
    (CONCLUDED, "Conclusions of steps, about to be written."),
    (LATE, "Stock that came too late for its order; it is given back."),
    (FLUSH, "Items written per transaction."),
    (FLUSH_SECONDS, "How long such a transaction took, in seconds."),
    (FLUSH_FAILURES, "Batches that could not be written."),
    (RELAY, "Messages per batch of the relay."),
    (
        RELAYED,
        "Messages the relay has dealt with, by what became of them.",
    ),
    (
        RELAY_FAILURES,
        "Batches of the relay that came to nothing; they are tried again.",
    ),
    (
        TURNED_AWAY,
        "Orders turned away at the door because the product is sold out.",
    ),
    (RESULTS_DEAD, "Results that nobody could act on: set aside."),
    (
        RESULTS_HELD,
        "Times a result was held because it could not be written.",
    ),
    (
        ORDERS_PENDING,
        "Orders whose outcome is open, counted up to 100,000.",
    ),
    (
        ORDERS_PENDING_OLDEST,
        "For how long the oldest of them has been PENDING, in seconds.",
    ),
    (
        OUTBOX,
        "Messages in the outbox that are not sent, counted up to 100,000.",
    ),
    (OUTBOX_OLDEST, "Age of the oldest of them, in seconds."),
];

const FLOWS: [Flow; 2] = [Flow::Sync, Flow::Async];
const STATUSES: [OrderStatus; 4] = [
    OrderStatus::Pending,
    OrderStatus::Confirmed,
    OrderStatus::Cancelled,
    OrderStatus::Failed,
];

/// Makes every series exist, at zero, with what it means: a dashboard must not find nothing where nothing has happened yet.
pub fn touch() {
    platform::metrics::describe(HELP);
    for flow in FLOWS {
        counter!(PLACED, "flow" => flow_word(flow)).absolute(0);
        drop(histogram!(CONFIRMATION, "flow" => flow_word(flow)));
    }
    for status in STATUSES {
        counter!(ENTERED, "status" => status_word(status)).absolute(0);
    }
    let refusals = ErrorCode::ALL.iter().map(|code| FailReason::Refused(*code));
    for reason in refusals.chain([FailReason::OutboxRetryExhausted]) {
        counter!(FAILED, "reason" => reason.word()).absolute(0);
    }
    for line in SAGA {
        let step = word(line.step);
        drop(histogram!(STEP_SECONDS, "step" => step));
        ANSWERS
            .iter()
            .for_each(|answer| counter!(STEPS, "step" => step, "answer" => *answer).absolute(0));
        counter!(TAKEN_UP, "step" => step).absolute(0);
    }
    CONCLUSIONS
        .iter()
        .for_each(|word| counter!(CONCLUDED, "conclusion" => *word).absolute(0));
    for queue in QUEUES {
        counter!(FLUSH_FAILURES, "queue" => queue).absolute(0);
        drop(histogram!(FLUSH, "queue" => queue));
        drop(histogram!(FLUSH_SECONDS, "queue" => queue));
    }
    drop(histogram!(RELAY));
    for outcome in ["sent", "failed", "dead"] {
        counter!(RELAYED, "outcome" => outcome).absolute(0);
    }
    for series in [LATE, RESULTS_DEAD, RESULTS_HELD, TURNED_AWAY, RELAY_FAILURES] {
        counter!(series).absolute(0);
    }
    for kind in Kind::ALL {
        backlog(&Backlog {
            kind,
            count: 0,
            oldest_s: 0.0,
        });
    }
}

/// Watches what can be read at once, whenever Prometheus asks: whether the broker is connected.
pub fn watch(links: [Link; 2]) {
    at_scrape(move || {
        dependency_up("postgres", DATABASE_UP.load(Ordering::Relaxed));
        dependency_up("rabbitmq", links.iter().all(Link::is_connected));
        true
    });
}

static DATABASE_UP: AtomicBool = AtomicBool::new(false);

/// Whether the database has answered the worker that asks it for the gauges.
pub fn database_up(up: bool) {
    DATABASE_UP.store(up, Ordering::Relaxed);
}

/// An order is written.
pub fn placed(flow: Flow) {
    counter!(PLACED, "flow" => flow_word(flow)).increment(1);
    entered(OrderStatus::Pending);
}

const fn flow_word(flow: Flow) -> &'static str {
    match flow {
        Flow::Sync => "sync",
        Flow::Async => "async",
    }
}

const fn status_word(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Pending => "pending",
        OrderStatus::Confirmed => "confirmed",
        OrderStatus::Cancelled => "cancelled",
        OrderStatus::Failed => "failed",
    }
}

fn entered(status: OrderStatus) {
    counter!(ENTERED, "status" => status_word(status)).increment(1);
}

/// What is not done, as it was counted just now.
#[expect(clippy::cast_precision_loss, reason = "counted up to 100,000")]
pub fn backlog(backlog: &Backlog) {
    let (count, oldest_s) = (backlog.count as f64, backlog.oldest_s);
    let status = match backlog.kind {
        Kind::OrderPending => {
            gauge!(ORDERS_PENDING).set(count);
            gauge!(ORDERS_PENDING_OLDEST).set(oldest_s);
            return;
        }
        Kind::MessagePending => "pending",
        Kind::MessageFailed => "failed",
        Kind::MessageDead => "dead",
    };
    gauge!(OUTBOX, "status" => status).set(count);
    gauge!(OUTBOX_OLDEST, "status" => status).set(oldest_s);
}

/// The backlog could not be counted.
pub fn backlog_failed(error: &DbError) {
    database_up(false);
    tracing::debug!(%error, "the backlog could not be counted; it is tried again");
}

const fn word(step: Step) -> &'static str {
    match step {
        Step::Decrease => "decrease",
        Step::Cancel => "cancel",
        Step::Void => "void",
    }
}

/// One try of a step, answered or not.
pub fn step_tried(step: Step, answer: &Answer, took: Duration) {
    histogram!(STEP_SECONDS, "step" => word(step)).record(took);
    let [done, refused, unknown, unreached] = ANSWERS;
    let answered = match answer {
        Answer::Done => done,
        Answer::Refused(_) => refused,
        Answer::Unknown(_) => unknown,
        Answer::Unreached(_) => unreached,
    };
    counter!(STEPS, "step" => word(step), "answer" => answered).increment(1);
    if let Answer::Unknown(why) | Answer::Unreached(why) = answer {
        tracing::debug!(step = word(step), why, "product-service gave no answer");
    }
}

/// product-service cannot be reached. Told once until it can be again.
pub fn product_away(why: &str) {
    tracing::warn!(why, "product-service cannot be reached");
}

/// product-service can be reached again.
pub fn product_back() {
    tracing::info!("product-service can be reached again");
}

/// A step has come to a conclusion, which is about to be written.
pub fn concluded(conclusion: &Conclusion) {
    let [taken, failed, returned, over, again] = CONCLUSIONS;
    let word = match conclusion {
        Conclusion::Taken => taken,
        Conclusion::Failed { .. } => failed,
        Conclusion::Returned => returned,
        Conclusion::Over(_) => over,
        Conclusion::Again { .. } => again,
    };
    counter!(CONCLUDED, "conclusion" => word).increment(1);
}

/// A conclusion is written.
pub fn status_changed(attempt: Attempt, concluded: &Concluded) {
    if concluded.too_late {
        counter!(LATE).increment(1);
        tracing::info!(%attempt, "stock was taken for an order that is not waiting any more; it is given back");
    }
    if let Some(order) = concluded.order.as_ref().filter(|_| concluded.changed) {
        entered(order.status);
        match order.status {
            OrderStatus::Confirmed if attempt.number == 0 => {
                let took = (order.updated_at - order.created_at).to_std().unwrap_or_default();
                histogram!(CONFIRMATION, "flow" => flow_word(order.flow)).record(took);
            }
            OrderStatus::Failed => {
                let reason = order.fail_reason.clone().unwrap_or_default();
                counter!(FAILED, "reason" => reason).increment(1);
            }
            _ => {}
        }
        tracing::debug!(%attempt, status = ?order.status, reason = order.fail_reason, "order");
    }
}

/// The recovery worker has taken a step up.
pub fn taken_up(due: &Due) {
    counter!(TAKEN_UP, "step" => word(due.step)).increment(1);
    tracing::debug!(attempt = %due.attempt, step = word(due.step), tries = due.tries, "taken up");
}

/// What became of a step could not be written; it is taken up again.
pub fn step_not_written(attempt: Attempt, why: Unavailable) {
    tracing::warn!(%attempt, why = why.word(), "what became of a step could not be written; it is done again");
}

/// The recovery worker could not look.
pub fn recovery_failed(error: &DbError) {
    tracing::warn!(%error, "recovery could not look for work; it tries again");
}

/// What the console shows could not be read; it shows what it saw last.
pub fn console_failed(error: &DbError) {
    tracing::debug!(%error, "the console's numbers could not be read");
}

/// Watched orders could not be looked at.
pub fn watch_failed(error: &DbError) {
    tracing::debug!(%error, "watched orders could not be looked at");
}

/// A transaction failed; unless it is for good, it is repeated.
pub fn transaction_failed(error: &impl Display) {
    tracing::warn!(%error, "a transaction failed");
}

/// A batch is written.
pub fn flushed(queue: &'static str, items: usize, took: Duration) {
    histogram!(FLUSH, "queue" => queue).record(size(items));
    histogram!(FLUSH_SECONDS, "queue" => queue).record(took);
}

/// A batch could not be written.
pub fn flush_failed(queue: &'static str, items: usize, error: &DbError) {
    counter!(FLUSH_FAILURES, "queue" => queue).increment(1);
    tracing::error!(queue, items, %error, "a batch could not be written");
}

/// An operator has sent an order again.
pub fn retried_by_operator(attempt: Attempt) {
    entered(OrderStatus::Pending);
    tracing::info!(audit = true, action = "retry", %attempt, "an operator has sent an order again");
}

/// An operator has sent a message again.
pub fn requeued_by_operator(outbox_id: i64) {
    tracing::info!(
        audit = true,
        action = "requeue",
        outbox_id,
        "an operator has sent a message again"
    );
}

/// The relay has published a batch.
pub fn relayed(relayed: &Relayed) {
    if relayed.taken > 0 {
        histogram!(RELAY).record(size(relayed.taken));
        counter!(RELAYED, "outcome" => "sent").increment(relayed.sent as u64);
        counter!(RELAYED, "outcome" => "failed")
            .increment((relayed.taken - relayed.sent - relayed.dead) as u64);
        counter!(RELAYED, "outcome" => "dead").increment(relayed.dead as u64);
    }
    if relayed.dead > 0 {
        tracing::error!(
            messages = relayed.dead,
            "messages were given up; their orders have failed"
        );
    }
}

/// The relay could not publish a batch; it tries again.
pub fn relay_failed(error: &RelayError) {
    counter!(RELAY_FAILURES).increment(1);
    tracing::warn!(%error, "the relay could not publish; it tries again");
}

/// Nobody hears of stored messages for a moment; the relay polls.
pub fn listen_failed(error: &DbError) {
    tracing::warn!(%error, "nobody hears of stored messages; the relay polls meanwhile");
}

/// Sent messages could not be purged.
pub fn purge_failed(error: &DbError) {
    tracing::warn!(%error, "sent messages could not be purged; it is tried again");
}

/// A result that nobody can act on goes to the dead letters.
pub fn result_dead(why: &str) {
    counter!(RESULTS_DEAD).increment(1);
    tracing::warn!(why, "a result is set aside");
}

/// A result is held, because it cannot be written at the moment.
pub fn result_held(why: Unavailable) {
    counter!(RESULTS_HELD).increment(1);
    tracing::debug!(why = why.word(), "a result is held");
}

/// An order of a sold-out product was turned away at the door.
pub fn turned_away() {
    counter!(TURNED_AWAY).increment(1);
}

/// A notice of availability could not be read.
pub fn notice_unreadable(why: &str) {
    tracing::warn!(why, "a notice of availability could not be read");
}

#[expect(clippy::cast_precision_loss, reason = "batch sizes are small")]
fn size(items: usize) -> f64 {
    items as f64
}
