//! What the console shows, twice a second while somebody watches.
//!
//! Stock, gate and what was sold are shared by all instances and read from Postgres and Redis; breaker, answers and times
//! are this instance's, read back from its recorder. While the breaker is open Redis is left alone here too.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::Utc;
use platform::console::event_log;
use platform::console::live::Live;
use platform::console::reading::{Reading, Window, quantile};
use serde::Serialize;
use tokio::time::Instant;

use super::Sources;
use crate::domain::request::ProductId;
use crate::domain::words::{Admission, BreakerState, Verdict};
use crate::http::admin::BreakerStanding;
use crate::ledger::LedgerError;
use crate::ledger::shown::{self, Shown};
use crate::metrics;
use crate::stock::audit::{GateAudit, audit_some};

/// How often.
const EVERY: Duration = Duration::from_millis(500);
/// Hot products shown: the newest. Reading more would keep Redis and Postgres busy for a page nobody can overlook.
const HOT_MAX: i64 = 50;
/// Others shown, to be made hot.
const OTHERS_MAX: i64 = 6;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot<'a> {
    at_ms: i64,
    instance: &'a str,
    viewers: usize,
    breaker: BreakerStanding,
    /// Whether the database has answered: if not, `products` are as they were last seen.
    database_answers: bool,
    hot_products: usize,
    /// Of the products shown, by all instances.
    sold_per_s: Option<f64>,
    answers: Option<Answers>,
    gate_p99_s: Option<f64>,
    decide_p99_s: Option<f64>,
    set_aside: f64,
    products: &'a [Card],
    events: Vec<event_log::Line>,
}

/// Answers of this instance, per second.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answers {
    /// Stock moved.
    moved: f64,
    /// Answered as before, under the same key.
    replayed: f64,
    /// Fewer units than asked for.
    sold_out: f64,
    /// Over the buyer's limit.
    limit: f64,
    /// Outside the sale, or discontinued.
    closed: f64,
    /// Refused for any other reason.
    refused: f64,
    /// Told to try again.
    undecided: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Card {
    id: ProductId,
    name: String,
    hot: bool,
    discontinued: bool,
    stock: i64,
    supplied: i64,
    sold: i64,
    sold_per_s: Option<f64>,
    sale_starts_at_ms: Option<i64>,
    sale_ends_at_ms: Option<i64>,
    gate: Option<GateAudit>,
}

struct Sample {
    recorded: Reading,
    sold: HashMap<ProductId, i64>,
}

/// Shows snapshots, for ever.
pub(super) async fn run(sources: Sources, instance: String, live: Live<()>) {
    let mut window = Window::default();
    let mut cards: Vec<Card> = Vec::new();
    let mut read_at = Instant::now();
    loop {
        live.due(read_at, EVERY).await;
        read_at = Instant::now();
        let read = read(&sources).await;
        let database_answers = read.is_ok();
        match read {
            Ok(read) => cards = read,
            Err(error) => metrics::console_failed(&error),
        }
        let sample = Sample {
            recorded: Reading::parse(&sources.recorded.render()),
            sold: cards.iter().map(|card| (card.id, card.sold)).collect(),
        };
        let span = window.add(Instant::now(), sample);
        for card in &mut cards {
            card.sold_per_s = span.and_then(|(first, _, seconds)| {
                let before = first.sold.get(&card.id)?;
                Some(units(card.sold - before) / seconds)
            });
        }
        let sold_per_s = cards.iter().map(|card| card.sold_per_s).sum::<Option<f64>>();
        let p99 = |name| {
            span.and_then(|(first, last, _)| {
                quantile(&first.recorded.buckets(name), &last.recorded.buckets(name), 0.99)
            })
        };
        live.show(
            &(),
            &Snapshot {
                at_ms: Utc::now().timestamp_millis(),
                instance: &instance,
                viewers: live.viewers(),
                breaker: sources.gate.breaker.view().into(),
                database_answers,
                hot_products: sources.hot.all().len(),
                sold_per_s: sold_per_s.filter(|_| database_answers),
                answers: span.map(|(first, last, seconds)| answers(&first.recorded, &last.recorded, seconds)),
                gate_p99_s: p99(metrics::GATE_SECONDS),
                decide_p99_s: p99(metrics::DECIDE_SECONDS),
                set_aside: span.map_or(0.0, |(_, last, _)| {
                    last.recorded.by(metrics::MESSAGES_DEAD, "").values().sum()
                }),
                products: &cards,
                events: event_log::latest(),
            },
        );
    }
}

async fn read(sources: &Sources) -> Result<Vec<Card>, LedgerError> {
    let shown = shown::newest(&sources.pool, HOT_MAX, OTHERS_MAX).await?;
    let mut cards: Vec<Card> = shown.into_iter().map(card).collect();
    let hot: Vec<ProductId> = cards.iter().filter(|card| card.hot).map(|card| card.id).collect();
    if !hot.is_empty() && sources.gate.breaker.state() != BreakerState::Open {
        let audits = audit_some(&sources.gate, &sources.pool, &hot).await?;
        let mut gates: HashMap<_, _> = audits
            .into_iter()
            .map(|audit| (audit.product_id, audit.gate))
            .collect();
        for card in &mut cards {
            card.gate = gates.remove(&card.id).flatten();
        }
    }
    Ok(cards)
}

fn card(shown: Shown) -> Card {
    let sold = shown.sold();
    let product = shown.product;
    Card {
        id: product.id,
        name: product.name,
        hot: product.stock_strategy == contracts::product::StockStrategy::RedisFirst,
        discontinued: product.status == contracts::product::ProductStatus::Discontinued,
        stock: product.stock,
        supplied: shown.supplied,
        sold,
        sold_per_s: None,
        sale_starts_at_ms: product.sale_starts_at.map(|at| at.timestamp_millis()),
        sale_ends_at_ms: product.sale_ends_at.map(|at| at.timestamp_millis()),
        gate: None,
    }
}

fn answers(before: &Reading, after: &Reading, seconds: f64) -> Answers {
    let grown = |name, label| {
        let before = before.by(name, label);
        let mut grown: BTreeMap<String, f64> = after.by(name, label);
        grown
            .iter_mut()
            .for_each(|(word, count)| *count = (*count - before.get(word).unwrap_or(&0.0)) / seconds);
        grown
    };
    let mut answers = Answers {
        undecided: grown(metrics::UNDECIDED, "reason").values().sum(),
        ..Answers::default()
    };
    let gate = grown(metrics::ADMISSIONS, "outcome");
    for admission in Admission::ALL {
        let count = gate.get(admission.word()).copied().unwrap_or(0.0);
        match admission {
            // Not answered yet: the database decides.
            Admission::Held | Admission::Replay | Admission::Cold => {}
            Admission::SoldOut => answers.sold_out += count,
            Admission::Limit => answers.limit += count,
            Admission::NotOpen | Admission::Discontinued => answers.closed += count,
            Admission::BuyerRequired => answers.refused += count,
        }
    }
    let database = grown(metrics::DECISIONS, "outcome");
    for verdict in Verdict::ALL {
        let count = database.get(verdict.word()).copied().unwrap_or(0.0);
        match verdict {
            Verdict::Done => answers.moved += count,
            Verdict::Replay => answers.replayed += count,
            Verdict::Insufficient => answers.sold_out += count,
            Verdict::Limit => answers.limit += count,
            Verdict::NotOpen | Verdict::Discontinued => answers.closed += count,
            _ => answers.refused += count,
        }
    }
    answers
}

#[expect(clippy::cast_precision_loss, reason = "at most 10^12")]
fn units(units: i64) -> f64 {
    units as f64
}
