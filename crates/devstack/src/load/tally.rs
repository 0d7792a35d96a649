//! What the buyers of one run were told, counted.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use hdrhistogram::Histogram;

use super::buyer::{Ending, Outcome};
use super::course::Course;
use super::effort::Effort;
use super::orders::Line;
use super::purchase::Purchase;
use crate::http::Fault;

pub(super) const HIGHEST_US: u64 = 120_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;
const SLICE: Duration = Duration::from_millis(10);
/// 10,000 s: nobody looks at the course of a longer run.
const SLICES_MAX: usize = 1_000_000;

/// Counts and latencies of one run.
#[derive(Clone, Debug)]
pub struct Tally {
    /// One entry per product, in the order of the sale's ids.
    pub products: Vec<ProductTally>,
    /// Number of buyers by what they were told last: status and error code.
    pub answers: BTreeMap<String, u64>,
    /// Attempts without an answer, by kind. They were repeated with the same key.
    pub faults: BTreeMap<Fault, u64>,
    /// Answers marked as a replay.
    pub replays: u64,
    /// Arrivals turned away because too many were waiting: the open model only.
    pub dropped: u64,
    /// Buyers who do not know what became of them: no answer at all, or a 5xx.
    pub unknown: u64,
    /// From intended start to last answer, all buyers, in microseconds.
    pub latency_us: Histogram<u64>,
    /// The same, of successful buyers only. Of an accepted order: until it is CONFIRMED, by the clock of the database,
    /// that is until the transaction that confirms it begins.
    pub sale_latency_us: Histogram<u64>,
    /// From the start to the last answer.
    pub wall_time: Duration,
    /// From the start to the last success.
    pub sale_time: Duration,
    /// What happened when.
    pub course: Course,
    /// What it cost the load tool itself.
    pub effort: Effort,
    /// When it began.
    pub(super) started_at: SystemTime,
    /// Of buyers who place orders: all of them.
    pub(super) lines: Vec<Line>,
    /// Successes in each 10 ms from the start.
    sales_by_slice: Vec<u64>,
}

/// What the buyers of one product were told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProductTally {
    /// Buyers told that they got it.
    pub sales: u64,
    /// Their units.
    pub units_sold: i64,
    /// Units of buyers who do not know: no answer at all, or a 5xx.
    pub units_unknown: i64,
    /// Units sold and given back.
    pub units_given_back: i64,
    /// Units sold whose buyer does not know whether they are given back.
    pub units_perhaps_back: i64,
    /// Buyers who were refused.
    pub refusals: u64,
    /// The smallest quantity for which a buyer was told that it is sold out (`INSUFFICIENT_STOCK`).
    pub smallest_sold_out: Option<i64>,
}

impl Tally {
    pub(super) fn new(products: usize) -> Result<Self> {
        Ok(Self {
            products: vec![ProductTally::default(); products],
            answers: BTreeMap::new(),
            faults: BTreeMap::new(),
            replays: 0,
            dropped: 0,
            unknown: 0,
            latency_us: histogram()?,
            sale_latency_us: histogram()?,
            wall_time: Duration::ZERO,
            sale_time: Duration::ZERO,
            course: Course::new(),
            effort: Effort {
                clients: None,
                arrivals: None,
                lateness_us: histogram()?,
            },
            started_at: SystemTime::now(),
            lines: Vec::new(),
            sales_by_slice: Vec::new(),
        })
    }

    /// Counts one buyer. `latency` counts from his intended start, `at` from the start of the run.
    pub(super) fn record(
        &mut self,
        position: usize,
        purchase: &Purchase,
        outcome: Outcome,
        latency: Duration,
        at: Duration,
    ) {
        self.latency_us.saturating_record(microseconds(latency));
        self.course.record(at, microseconds(latency));
        self.wall_time = self.wall_time.max(at);
        match outcome.ending {
            Ending::Sold => self.record_sale(position, purchase.quantity, latency, at),
            Ending::Refused => {
                let is_sold_out = outcome.answer.ends_with("INSUFFICIENT_STOCK");
                self.record_refusal(position, purchase.quantity, is_sold_out);
            }
            // What becomes of it is counted when it is known.
            Ending::Accepted => {}
            Ending::Unknown => self.record_unknown(position, purchase.quantity),
        }
        self.unknown += u64::from(outcome.ending == Ending::Unknown);
        self.record_answer(outcome);
    }

    /// Counts one buyer who gave back what he had got.
    pub(super) fn record_cancelling(&mut self, position: usize, purchase: &Purchase, outcome: Outcome) {
        let product = &mut self.products[position];
        match outcome.ending {
            Ending::Sold => product.units_given_back += purchase.quantity,
            Ending::Unknown => product.units_perhaps_back += purchase.quantity,
            // He keeps it.
            Ending::Refused | Ending::Accepted => {}
        }
        self.record_answer(outcome);
    }

    fn record_answer(&mut self, outcome: Outcome) {
        self.replays += u64::from(outcome.is_replay);
        for fault in outcome.faults {
            *self.faults.entry(fault).or_default() += 1;
        }
        *self.answers.entry(outcome.answer).or_default() += 1;
    }

    pub(super) fn record_sale(&mut self, position: usize, quantity: i64, latency: Duration, at: Duration) {
        let product = &mut self.products[position];
        product.sales += 1;
        product.units_sold += quantity;
        self.sale_time = self.sale_time.max(at);
        self.course.record_sale(at);
        self.sale_latency_us.saturating_record(microseconds(latency));
        let slice = slice(at);
        if slice < SLICES_MAX {
            let slices = self.sales_by_slice.len().max(slice + 1);
            self.sales_by_slice.resize(slices, 0);
            self.sales_by_slice[slice] += 1;
        }
    }

    pub(super) fn record_refusal(&mut self, position: usize, quantity: i64, is_sold_out: bool) {
        let product = &mut self.products[position];
        product.refusals += 1;
        if is_sold_out {
            let smallest = product.smallest_sold_out.unwrap_or(quantity);
            product.smallest_sold_out = Some(smallest.min(quantity));
        }
    }

    pub(super) fn record_unknown(&mut self, position: usize, quantity: i64) {
        self.products[position].units_unknown += quantity;
    }

    /// Buyers told that they got it, of all products.
    #[must_use]
    pub fn sales(&self) -> u64 {
        self.products.iter().map(|product| product.sales).sum()
    }

    /// Buyers who were to come: answered or not, and turned away.
    #[must_use]
    pub fn arrivals(&self) -> u64 {
        self.latency_us.len() + self.dropped
    }

    /// The share of arrivals that got no answer, a 5xx, or were turned away, 0 to 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    pub fn error_ratio(&self) -> f64 {
        (self.unknown + self.dropped) as f64 / self.arrivals().max(1) as f64
    }

    /// Why the figures say more about the load tool than about the service, if they do.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.effort.warning(self.wall_time, &self.latency_us)
    }

    /// Buyers, whatever they were told, per second of the run.
    #[must_use]
    pub fn answers_per_second(&self) -> f64 {
        per_second(self.latency_us.len(), self.wall_time)
    }

    /// Sales per second of a part of the run, to 10 ms. Both times count from the start.
    #[must_use]
    pub fn sales_per_second_within(&self, from: Duration, to: Duration) -> f64 {
        let (first, end) = (slice(from), slice(to));
        let sales = self.sales_by_slice.iter().take(end).skip(first).sum();
        let slices = u32::try_from(end.saturating_sub(first)).unwrap_or(u32::MAX);
        per_second(sales, SLICE * slices)
    }

    /// Sales per second, counted up to the last sale: what follows it has nothing left to sell.
    #[must_use]
    pub fn sales_per_second(&self) -> f64 {
        per_second(self.sales(), self.sale_time)
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(HIGHEST_US)
}

fn slice(at: Duration) -> usize {
    usize::try_from(at.as_millis() / SLICE.as_millis()).unwrap_or(usize::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
pub(super) fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() {
        0.0
    } else {
        count as f64 / time.as_secs_f64()
    }
}

pub(super) fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, HIGHEST_US, SIGNIFICANT_DIGITS)?)
}
