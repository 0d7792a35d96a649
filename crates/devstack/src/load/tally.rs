//! What the buyers of one run were told, counted.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use super::buyer::{Ending, Outcome};
use super::question::Question;
use crate::http::Fault;

const HIGHEST_US: u64 = 120_000_000;
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
    /// Sales whose answer was marked as a replay.
    pub replays: u64,
    /// From intended start to last answer, all buyers, in microseconds.
    pub latency_us: Histogram<u64>,
    /// The same, of successful buyers only.
    pub sale_latency_us: Histogram<u64>,
    /// From the start to the last answer.
    pub wall_time: Duration,
    /// From the start to the last success.
    pub sale_time: Duration,
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
            latency_us: histogram()?,
            sale_latency_us: histogram()?,
            wall_time: Duration::ZERO,
            sale_time: Duration::ZERO,
            sales_by_slice: Vec::new(),
        })
    }

    /// Counts one buyer. `latency` counts from his intended start, `at` from the start of the run.
    pub(super) fn record(
        &mut self,
        position: usize,
        purchase: &Question,
        outcome: Outcome,
        latency: Duration,
        at: Duration,
    ) {
        let latency_us = u64::try_from(latency.as_micros()).unwrap_or(HIGHEST_US);
        self.latency_us.saturating_record(latency_us);
        self.wall_time = self.wall_time.max(at);
        let product = &mut self.products[position];
        match outcome.ending {
            Ending::Sold => {
                product.sales += 1;
                product.units_sold += purchase.quantity;
                self.sale_time = self.sale_time.max(at);
                self.sale_latency_us.saturating_record(latency_us);
                let slice = slice(at);
                if slice < SLICES_MAX {
                    let slices = self.sales_by_slice.len().max(slice + 1);
                    self.sales_by_slice.resize(slices, 0);
                    self.sales_by_slice[slice] += 1;
                }
            }
            Ending::Refused => {
                product.refusals += 1;
                if outcome.answer.ends_with("INSUFFICIENT_STOCK") {
                    let smallest = product.smallest_sold_out.unwrap_or(purchase.quantity);
                    product.smallest_sold_out = Some(smallest.min(purchase.quantity));
                }
            }
            Ending::Unknown => product.units_unknown += purchase.quantity,
        }
        self.replays += u64::from(outcome.is_replay);
        for fault in outcome.faults {
            *self.faults.entry(fault).or_default() += 1;
        }
        *self.answers.entry(outcome.answer).or_default() += 1;
    }

    /// Buyers told that they got it, of all products.
    #[must_use]
    pub fn sales(&self) -> u64 {
        self.products.iter().map(|product| product.sales).sum()
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

fn slice(at: Duration) -> usize {
    usize::try_from(at.as_millis() / SLICE.as_millis()).unwrap_or(usize::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() {
        0.0
    } else {
        count as f64 / time.as_secs_f64()
    }
}

fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, HIGHEST_US, SIGNIFICANT_DIGITS)?)
}
