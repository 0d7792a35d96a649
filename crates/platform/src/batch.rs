//! Natural batching: while one flush is in flight, what arrives gathers; the next flush takes all of it, up to a cap.
//!
//! No timers: an idle queue hands out a single item at once, and under load one round trip or one commit carries
//! hundreds. The queue is bounded and refuses at once when full, so that waiting never piles up behind it. It can be
//! bounded by time too ([`queue_within`]): work that would be done too late for whoever waits is not taken on. Whoever
//! flushes owns what was queued: the submitter may go away (a client that hangs up), the work is done all the same.
//!
//! A flusher is a task with a plain loop:
//!
//! ```
//! # async fn flush(_: Vec<u32>) {}
//! # async fn example() {
//! let (batcher, mut batches) = platform::batch::queue("numbers", 1024);
//! let flusher = tokio::spawn(async move {
//!     while let Some(batch) = batches.next(256).await {
//!         flush(batch).await;
//!     }
//! });
//! batcher.submit(7).ok();
//! drop(batcher); // the last one gone: the flusher ends after the last item
//! flusher.await.ok();
//! # }
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::metrics::{self, QueueMarks};

/// A bounded queue of `capacity` items (at least 1): the side that submits, and the side that takes batches. `name` is its
/// label in the metrics.
#[must_use]
pub fn queue<T: Send + 'static>(name: &'static str, capacity: usize) -> (Batcher<T>, Batches<T>) {
    queue_within(name, capacity, Duration::MAX)
}

/// The same, and nothing is taken on that would wait longer than `wait_max`, as far as the time tells that full batches
/// take. One full batch may always wait.
#[must_use]
pub fn queue_within<T: Send + 'static>(
    name: &'static str,
    capacity: usize,
    wait_max: Duration,
) -> (Batcher<T>, Batches<T>) {
    let capacity = capacity.max(1);
    let (sender, receiver) = mpsc::channel(capacity);
    let room = Arc::new(AtomicUsize::new(capacity));
    // Weak: who only looks must not keep the queue open.
    let looking = sender.downgrade();
    let waiting = move || looking.upgrade().as_ref().map(waiting);
    let QueueMarks { wait, refused } = metrics::queue(name, capacity, waiting);
    (
        Batcher {
            queue: sender,
            room: Arc::clone(&room),
            refused,
        },
        Batches {
            receiver,
            wait,
            pace: Pace {
                room,
                capacity,
                wait_max,
                full: None,
                flush: Duration::ZERO,
            },
        },
    )
}

fn waiting<T>(sender: &mpsc::Sender<T>) -> usize {
    sender.max_capacity() - sender.capacity()
}

/// The queue was full, or its flusher has ended. The item comes back.
#[derive(Debug)]
pub struct Refused<T>(pub T);

/// The side that submits. Cheap to clone; the queue closes when the last clone is gone.
pub struct Batcher<T> {
    queue: mpsc::Sender<(Instant, T)>,
    /// Items that may wait now.
    room: Arc<AtomicUsize>,
    refused: ::metrics::Counter,
}

impl<T> Clone for Batcher<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            room: Arc::clone(&self.room),
            refused: self.refused.clone(),
        }
    }
}

impl<T> Batcher<T> {
    /// Queues one item for the next flush, or refuses at once.
    ///
    /// # Errors
    /// [`Refused`] with the item.
    pub fn submit(&self, item: T) -> Result<(), Refused<T>> {
        let refused = if waiting(&self.queue) >= self.room.load(Ordering::Relaxed) {
            item
        } else {
            match self.queue.try_send((Instant::now(), item)) {
                Ok(()) => return Ok(()),
                Err(refused) => refused.into_inner().1,
            }
        };
        self.refused.increment(1);
        Err(Refused(refused))
    }

    /// Items waiting at this moment.
    #[must_use]
    pub fn depth(&self) -> usize {
        waiting(&self.queue)
    }
}

/// The side that takes batches: one flusher, one flush at a time.
pub struct Batches<T> {
    receiver: mpsc::Receiver<(Instant, T)>,
    wait: ::metrics::Histogram,
    pace: Pace,
}

/// How fast batches are flushed, and so how many items may wait.
struct Pace {
    room: Arc<AtomicUsize>,
    capacity: usize,
    wait_max: Duration,
    /// The batch under way, if it was full: when it was taken, and its size.
    full: Option<(Instant, usize)>,
    /// How long a full batch takes: a mean that follows within a few.
    flush: Duration,
}

impl Pace {
    /// A batch of `size` was taken, `max` would have been possible.
    fn taken(&mut self, size: usize, max: usize) {
        if self.wait_max == Duration::MAX {
            return;
        }
        if size >= max {
            self.full = Some((Instant::now(), size));
        } else {
            // Everything that waited has been taken: there may be more room than was thought.
            self.full = None;
            let room = self.room.load(Ordering::Relaxed).saturating_add(max);
            self.room.store(room.min(self.capacity), Ordering::Relaxed);
        }
    }

    /// The batch that was taken has been flushed. Only full ones tell how fast it can be: small ones take as long for less.
    fn flushed(&mut self) {
        let Some((began, size)) = self.full.take() else {
            return;
        };
        let took = began.elapsed();
        self.flush = match self.flush {
            Duration::ZERO => took,
            mean => (mean * 3 + took) / 4,
        };
        let batches = self.wait_max.as_nanos() / self.flush.as_nanos().max(1);
        let room = usize::try_from(batches).map_or(usize::MAX, |batches| batches.saturating_mul(size));
        // A batch larger than the queue cannot be; less than one would leave the flusher idle.
        let room = room.max(size).min(self.capacity);
        self.room.store(room, Ordering::Relaxed);
    }
}

impl<T> Batches<T> {
    /// Waits until something is queued and takes all of it, at most `max` items (at least 1), in order of arrival;
    /// `None` once the queue is closed and empty. Dropping the future loses nothing.
    pub async fn next(&mut self, max: usize) -> Option<Vec<T>> {
        self.pace.flushed();
        let max = max.max(1);
        let mut batch = Vec::new();
        self.receiver.recv_many(&mut batch, max).await;
        self.pace.taken(batch.len(), max);
        let (first, _) = batch.first()?;
        self.wait.record(first.elapsed());
        Some(batch.into_iter().map(|(_, item)| item).collect())
    }

    /// Takes what is queued at this moment, at most `max` items, without waiting.
    pub fn now(&mut self, max: usize) -> Vec<T> {
        self.pace.flushed();
        let batch: Vec<T> = std::iter::from_fn(|| self.receiver.try_recv().ok())
            .take(max)
            .map(|(_, item)| item)
            .collect();
        self.pace.taken(batch.len(), max);
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::sync::{Mutex, Semaphore};
    use tokio::task::JoinHandle;

    use super::*;

    /// A flusher that records its batches and waits for a permit before each.
    #[expect(clippy::type_complexity, reason = "four handles of one test fixture")]
    fn gated(
        capacity: usize,
        max: usize,
    ) -> (
        Batcher<u32>,
        JoinHandle<()>,
        Arc<Semaphore>,
        Arc<Mutex<Vec<Vec<u32>>>>,
    ) {
        let permits = Arc::new(Semaphore::new(0));
        let batches = Arc::new(Mutex::new(Vec::new()));
        let (gate, seen) = (permits.clone(), batches.clone());
        let (batcher, mut queued) = queue("test", capacity);
        let flusher = tokio::spawn(async move {
            while let Some(batch) = queued.next(max).await {
                gate.acquire().await.expect("open").forget();
                seen.lock().await.push(batch);
            }
        });
        (batcher, flusher, permits, batches)
    }

    #[tokio::test]
    async fn what_arrives_during_a_flush_leaves_with_the_next_one() {
        let (batcher, flusher, permits, batches) = gated(100, 50);
        batcher.submit(0).expect("room");
        while batcher.depth() > 0 {
            tokio::task::yield_now().await; // the first flush takes the lone item without waiting for company
        }
        for item in 1..=60 {
            batcher.submit(item).expect("room");
        }
        permits.add_permits(3);
        drop(batcher);
        flusher.await.expect("no panic");
        let batches = batches.lock().await;
        assert_eq!(batches[0], vec![0]);
        assert_eq!(batches[1], (1..=50).collect::<Vec<_>>());
        assert_eq!(batches[2], (51..=60).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_gives_the_item_back() {
        let (batcher, _flusher, _permits, _batches) = gated(2, 1);
        let refused = loop {
            match batcher.submit(7) {
                Ok(()) => tokio::task::yield_now().await,
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused.0, 7);
        assert_eq!(batcher.depth(), 2);
    }

    #[tokio::test]
    async fn what_would_wait_too_long_is_refused_until_the_pace_is_back() {
        let (batcher, mut batches) = queue_within("test", 1_000, Duration::from_millis(100));
        let fill = || {
            (0..1_000)
                .take_while(|item| batcher.submit(*item).is_ok())
                .count()
        };
        assert_eq!(fill(), 1_000, "nothing is known yet");
        while batcher.depth() > 900 {
            assert_eq!(batches.next(10).await.expect("open").len(), 10);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let room = batcher.room.load(Ordering::Relaxed);
        assert!((10..=70).contains(&room), "ten in 20 ms: {room} in 100 ms");
        assert_eq!(fill(), 0, "more than that waits");
        batches.next(1_000).await.expect("open");
        assert_eq!(fill(), 1_000, "all that waited was taken at once");
    }

    #[tokio::test]
    async fn the_flusher_ends_only_after_the_last_item() {
        let (batcher, flusher, permits, batches) = gated(10, 3);
        for item in 0..10 {
            batcher.submit(item).expect("room");
        }
        drop(batcher);
        let slow = tokio::spawn(async move {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                permits.add_permits(1);
            }
        });
        flusher.await.expect("no panic");
        slow.await.expect("no panic");
        let all: Vec<u32> = batches.lock().await.iter().flatten().copied().collect();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn every_item_is_flushed_once_in_order_in_batches_within_the_cap(items in 1_usize..300, max in 1_usize..40) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
            runtime.block_on(async {
                let (batcher, flusher, permits, batches) = gated(300, max);
                permits.add_permits(300);
                for item in 0..items {
                    batcher.submit(u32::try_from(item).expect("small")).expect("room");
                    if item % 7 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                drop(batcher);
                flusher.await.expect("no panic");
                let batches = batches.lock().await;
                prop_assert!(batches.iter().all(|batch| !batch.is_empty() && batch.len() <= max));
                let all: Vec<usize> = batches.iter().flatten().map(|item| *item as usize).collect();
                prop_assert_eq!(all, (0..items).collect::<Vec<_>>());
                Ok(())
            })?;
        }
    }
}
