//! Where buyers come in: one after the other as clients get free, or at the moments of a schedule.
//!
//! In the open model a thread of its own sleeps from moment to moment, because the timers of the runtime are only exact
//! to a millisecond or two. Arrivals that no client can take wait here, so many at most; more are turned away and
//! counted. Nothing here waits for the service: that is the point of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tokio::sync::{Mutex, mpsc};

use super::effort::ThreadTime;
use super::sale::{FlashSale, Progress};
use super::tally::histogram;

/// A buyer who has come in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Counted from 0.
    pub(super) index: u64,
    /// When he was to ask.
    pub(super) intended: Instant,
}

/// See the module.
pub(super) struct Door {
    start: Instant,
    /// No buyer comes in after it.
    closes: Option<Instant>,
    buyers: u64,
    next_index: AtomicU64,
    waiting: Option<Mutex<mpsc::Receiver<Arrival>>>,
    lateness_us: std::sync::Mutex<Histogram<u64>>,
}

struct Arrival {
    intended: Instant,
    let_in: Instant,
}

/// The thread that lets buyers in; returns how many it turned away, and what it cost.
pub(super) type Doorman = JoinHandle<(u64, Option<ThreadTime>)>;

impl Door {
    /// Opens it at `start`. With a doorman in the open model.
    pub(super) fn open(sale: &FlashSale, start: Instant) -> Result<(Self, Option<Doorman>)> {
        let closes = sale.lasts.map(|lasts| start + lasts);
        let mut door = Self {
            start,
            closes,
            buyers: sale.buyers,
            next_index: AtomicU64::new(0),
            waiting: None,
            lateness_us: std::sync::Mutex::new(histogram()?),
        };
        let Some(arrivals) = sale.arrivals else {
            return Ok((door, None));
        };
        let (sender, receiver) = mpsc::channel(sale.waiting_max);
        door.waiting = Some(Mutex::new(receiver));
        let schedule = arrivals.schedule(sale.seed);
        let buyers = usize::try_from(sale.buyers).unwrap_or(usize::MAX);
        let lasts = sale.lasts.unwrap_or(Duration::MAX);
        let moments = schedule.take(buyers).take_while(move |at| *at <= lasts);
        let progress = Arc::clone(&sale.progress);
        let doorman = std::thread::Builder::new()
            .name(String::from("arrivals"))
            .spawn(move || let_in(moments, start, &sender, &progress))
            .context("no thread for arrivals")?;
        Ok((door, Some(doorman)))
    }

    /// The next buyer, when he comes; `None` when no more will.
    pub(super) async fn next(&self) -> Option<Entry> {
        let intended = match &self.waiting {
            None => {
                let now = Instant::now();
                self.closes.is_none_or(|closes| now <= closes).then_some(now)?
            }
            Some(waiting) => self.next_arrival(waiting).await?,
        };
        let index = self.next_index.fetch_add(1, Ordering::Relaxed);
        (index < self.buyers).then_some(Entry { index, intended })
    }

    async fn next_arrival(&self, waiting: &Mutex<mpsc::Receiver<Arrival>>) -> Option<Instant> {
        let mut waiting = waiting.lock().await;
        // How late we are ourselves: who had to wait for a free client is late because of the service.
        let (arrival, begun) = match waiting.try_recv() {
            Ok(arrival) => (arrival.let_in, arrival),
            Err(_) => {
                let arrival = waiting.recv().await?;
                (Instant::now(), arrival)
            }
        };
        let lateness = arrival.saturating_duration_since(begun.intended);
        self.lateness_us
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .saturating_record(u64::try_from(lateness.as_micros()).unwrap_or(u64::MAX));
        Some(begun.intended)
    }

    /// From the start to now.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// From the start to then.
    pub(super) fn since_start(&self, then: Instant) -> Duration {
        then.saturating_duration_since(self.start)
    }

    /// How late buyers were let in, by our own fault, in microseconds.
    pub(super) fn lateness_us(&self) -> Histogram<u64> {
        let lateness_us = self.lateness_us.lock();
        lateness_us.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn let_in(
    moments: impl Iterator<Item = Duration>,
    start: Instant,
    waiting: &mpsc::Sender<Arrival>,
    progress: &Progress,
) -> (u64, Option<ThreadTime>) {
    let begun = ThreadTime::now();
    let mut turned_away = 0;
    for moment in moments {
        let intended = start + moment;
        let early = intended.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            std::thread::sleep(early);
        }
        let let_in = Instant::now();
        match waiting.try_send(Arrival { intended, let_in }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                turned_away += 1;
                progress.dropped.fetch_add(1, Ordering::Relaxed);
            }
            // The run is over, or nobody waits for it any more.
            Err(mpsc::error::TrySendError::Closed(_)) => break,
        }
    }
    (turned_away, ThreadTime::since(begun))
}
