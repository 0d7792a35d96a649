//! The course of a run: what happened in each slice of its time. Bounded: the longer the run, the longer a slice.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use super::tally::HIGHEST_US;

const SLICE_AT_FIRST: Duration = Duration::from_millis(100);
const SLICES_MAX: usize = 240;
const SIGNIFICANT_DIGITS: u8 = 2;

/// See the module.
#[derive(Clone, Debug)]
pub struct Course {
    /// How long a slice is.
    pub slice: Duration,
    /// From the start of the run, without gaps.
    pub slices: Vec<Slice>,
}

/// What was answered within one slice.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Buyers told that they got it.
    pub sales: u64,
    /// From intended start to last answer, of all buyers answered, in microseconds.
    pub latency_us: Histogram<u64>,
}

impl Course {
    pub(super) fn new() -> Self {
        Self {
            slice: SLICE_AT_FIRST,
            slices: Vec::new(),
        }
    }

    pub(super) fn record(&mut self, at: Duration, latency_us: u64) {
        if let Some(slice) = self.at(at) {
            slice.latency_us.saturating_record(latency_us);
        }
    }

    pub(super) fn record_sale(&mut self, at: Duration) {
        if let Some(slice) = self.at(at) {
            slice.sales += 1;
        }
    }

    /// The latencies of the first and of the last fifth of the run, to see whether it got slower.
    #[must_use]
    pub fn first_and_last_fifth(&self) -> Option<(Histogram<u64>, Histogram<u64>)> {
        let fifth = self.slices.len() / 5;
        let sum = |slices: &[Slice]| {
            let (first, rest) = slices.split_first()?;
            let mut sum = first.latency_us.clone();
            rest.iter().for_each(|slice| add(&mut sum, &slice.latency_us));
            Some(sum)
        };
        let last = self.slices.len() - fifth;
        Some((sum(&self.slices[..fifth])?, sum(&self.slices[last..])?))
    }

    fn at(&mut self, at: Duration) -> Option<&mut Slice> {
        let index = loop {
            let index = usize::try_from(at.as_micros() / self.slice.as_micros()).ok()?;
            if index < SLICES_MAX {
                break index;
            }
            self.halve();
        };
        while self.slices.len() <= index {
            self.slices.push(Slice::new().ok()?);
        }
        self.slices.get_mut(index)
    }

    fn halve(&mut self) {
        self.slice *= 2;
        let mut halved: Vec<Slice> = Vec::with_capacity(SLICES_MAX);
        for (index, slice) in std::mem::take(&mut self.slices).into_iter().enumerate() {
            match halved.last_mut() {
                Some(last) if index % 2 == 1 => {
                    last.sales += slice.sales;
                    add(&mut last.latency_us, &slice.latency_us);
                }
                _ => halved.push(slice),
            }
        }
        self.slices = halved;
    }
}

impl Slice {
    fn new() -> Result<Self> {
        Ok(Self {
            sales: 0,
            latency_us: Histogram::new_with_bounds(1, HIGHEST_US, SIGNIFICANT_DIGITS)?,
        })
    }
}

fn add(to: &mut Histogram<u64>, other: &Histogram<u64>) {
    // Same bounds: it can always be added.
    let _ = to.add(other);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_longer_slices_and_loses_nothing() {
        let mut course = Course::new();
        for second in 0..600 {
            let at = Duration::from_secs(second);
            course.record(at, 1_000 + second);
            course.record_sale(at);
        }
        assert!(course.slices.len() <= SLICES_MAX, "{}", course.slices.len());
        assert_eq!(course.slice, Duration::from_millis(3_200));
        let answers: u64 = course.slices.iter().map(|slice| slice.latency_us.len()).sum();
        let sales: u64 = course.slices.iter().map(|slice| slice.sales).sum();
        assert_eq!((answers, sales), (600, 600));
        let (first, last) = course.first_and_last_fifth().unwrap();
        assert!(first.max() < 1_150 && last.min() > 1_450, "{first:?} {last:?}");
    }
}
