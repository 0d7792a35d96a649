//! A queue in front of a transaction: what waits is written together, and everybody hears after the commit.
//!
//! Whoever asks may go away; what was queued is written all the same. If the process dies, what was not committed has
//! not happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use platform::batch::{Batcher, queue_within};
use platform::database::Pool;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::DbError;

/// Why nothing is known to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// The queue is full: nothing was written.
    QueueFull,
    /// The service is stopping.
    Draining,
    /// The database failed, or could not be reached; a commit may have happened.
    Database,
    /// The request's deadline passed first.
    Deadline,
}

impl Unavailable {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::QueueFull, Self::Draining, Self::Database, Self::Deadline];

    /// The word for it, in answers and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Draining => "draining",
            Self::Database => "database",
            Self::Deadline => "deadline",
        }
    }
}

/// Writes a batch in one transaction, of at most this duration; one answer per item, in their order.
pub type Write<I, A> = for<'a> fn(&'a Pool, Duration, &'a [I]) -> BoxFuture<'a, Result<Vec<A>, DbError>>;

type Waiting<I, A> = (I, oneshot::Sender<Result<A, Unavailable>>);

/// The side that asks. Cheap to clone.
pub struct Queue<I, A> {
    name: &'static str,
    waiting: Batcher<Waiting<I, A>>,
    flush_max: usize,
    /// How long a transaction takes, microseconds: a mean that follows within a few.
    flush_us: Arc<AtomicU64>,
}

impl<I, A> Clone for Queue<I, A> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            waiting: self.waiting.clone(),
            flush_max: self.flush_max,
            flush_us: Arc::clone(&self.flush_us),
        }
    }
}

/// How large a queue is, and how long its transaction may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Items that may wait.
    pub capacity: usize,
    /// Longest wait: what would wait longer is not taken on.
    pub wait_max: Duration,
    /// Items per transaction at most.
    pub flush_max: usize,
    /// Longest transaction.
    pub transaction: Duration,
}

impl<I: Send + Sync + 'static, A: Send + 'static> Queue<I, A> {
    /// Starts the flusher. It ends, after the last item was written, once every clone is dropped.
    #[must_use]
    pub fn start(
        name: &'static str,
        pool: Pool,
        limits: Limits,
        write: Write<I, A>,
    ) -> (Self, JoinHandle<()>) {
        let (batcher, mut batches) = queue_within::<Waiting<I, A>>(name, limits.capacity, limits.wait_max);
        let flush_us = Arc::new(AtomicU64::new(0));
        let pace = Arc::clone(&flush_us);
        let flusher = tokio::spawn(async move {
            while let Some(batch) = batches.next(limits.flush_max).await {
                let (items, replies): (Vec<I>, Vec<_>) = batch.into_iter().unzip();
                let started = std::time::Instant::now();
                match write(&pool, limits.transaction, &items).await {
                    Ok(answers) => {
                        let took = started.elapsed();
                        follow(&pace, took);
                        crate::metrics::flushed(name, items.len(), took);
                        for (reply, answer) in replies.into_iter().zip(answers) {
                            reply.send(Ok(answer)).ok();
                        }
                    }
                    Err(error) => {
                        crate::metrics::flush_failed(name, items.len(), &error);
                        for reply in replies {
                            reply.send(Err(Unavailable::Database)).ok();
                        }
                    }
                }
            }
        });
        let queue = Self {
            name,
            waiting: batcher,
            flush_max: limits.flush_max,
            flush_us,
        };
        (queue, flusher)
    }

    /// Finds room for an item that will be queued later, behind `ahead` others that will be or are. For items that may not
    /// be refused any more when they come, because they tell of what has been done.
    ///
    /// # Errors
    /// [`Unavailable::QueueFull`]: it would wait longer than `wait_max`, as far as the time tells that transactions take. One
    /// full batch may always wait.
    pub fn expect_room(&self, ahead: usize, wait_max: Duration) -> Result<(), Unavailable> {
        let batches = ahead.max(self.waiting.depth()) / self.flush_max.max(1);
        let flush = Duration::from_micros(self.flush_us.load(Ordering::Relaxed));
        if flush.saturating_mul(u32::try_from(batches).unwrap_or(u32::MAX)) <= wait_max {
            return Ok(());
        }
        platform::metrics::refused_ahead(self.name);
        Err(Unavailable::QueueFull)
    }

    /// Queues an item and waits until it is written.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn ask(&self, item: I) -> Result<A, Unavailable> {
        let (reply, answer) = oneshot::channel();
        self.waiting
            .submit((item, reply))
            .map_err(|_| Unavailable::QueueFull)?;
        answer.await.unwrap_or(Err(Unavailable::Draining))
    }
}

/// Only the flusher calls this.
fn follow(flush_us: &AtomicU64, took: Duration) {
    let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let mean = match flush_us.load(Ordering::Relaxed) {
        0 => took,
        mean => mean.saturating_mul(3).saturating_add(took) / 4,
    };
    flush_us.store(mean, Ordering::Relaxed);
}
