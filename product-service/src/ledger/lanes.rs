//! The ledger's queue: what waits for a decision, and who decides it when.
//!
//! The main lane takes everything that waits and decides it in one transaction, leaving out products whose row somebody
//! else has locked. Those are tried again with the next batch; if they stay locked, each gets a lane of its own, which
//! waits for the row up to the lock time-out while the main lane goes on. So one stuck product delays nobody else, and
//! a product sold by several instances waits its turn in the database.
//!
//! If the process dies here, requests that were not committed have had no effect, and their holds end by their deadline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use platform::batch::{Batcher, Batches, Refused, queue_within};
use platform::database::Pool;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::decide::{Waiting, decide};
use super::failure::{Failure, failure};
use crate::config::LedgerConfig;
use crate::domain::books::Decision;
use crate::domain::request::{ProductId, StockRequest};
use crate::domain::words::Unavailable;
use crate::metrics;
use crate::stock::settle::{Settle, Settler};

/// A request on its way to a decision.
#[derive(Debug)]
pub struct Pending {
    /// What is asked.
    pub request: StockRequest,
    /// Whether the gate may hold units for it, which then have to be released when it gets none.
    pub may_hold: bool,
    /// Past it nobody waits for the answer: it is dropped undecided.
    pub deadline: Instant,
    /// Where the answer goes. Whoever waited may be gone.
    pub reply: oneshot::Sender<Result<Decision, Unavailable>>,
}

/// The ledger's queue. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    queue: Batcher<Pending>,
    settler: Settler,
}

impl Ledger {
    /// Starts the main lane. The task ends, after the last request was answered, once every clone is dropped. What would
    /// wait longer than `wait_max` is not taken on.
    #[must_use]
    pub fn start(
        pool: Pool,
        settler: Settler,
        config: &LedgerConfig,
        wait_max: Duration,
    ) -> (Self, JoinHandle<()>) {
        let (batcher, batches) = queue_within("decide", config.queue_capacity, wait_max);
        let decider = Decider {
            pool,
            settler: settler.clone(),
            limit: Duration::from_millis(config.transaction_limit_ms),
        };
        let lanes = Lanes {
            decider: Arc::new(decider),
            again: Vec::new(),
            waiting: HashMap::new(),
            lanes: JoinSet::new(),
            lanes_max: config.lanes_max,
            flush_max: config.flush_max,
            stalled: false,
        };
        (
            Self {
                queue: batcher,
                settler,
            },
            tokio::spawn(lanes.run(batches)),
        )
    }

    /// Queues a request; a full queue answers it at once.
    pub fn submit(&self, pending: Pending) {
        if let Err(Refused(pending)) = self.queue.submit(pending) {
            metrics::ledger_queue_full();
            pending.give_up(&self.settler, Unavailable::QueueFull);
        }
    }
}

impl Pending {
    /// Answers that there is no decision, and that nothing was moved: whatever the gate holds is released.
    pub fn give_up(self, settler: &Settler, why: Unavailable) {
        if self.may_hold {
            settler.submit(Settle::release(&self.request));
        }
        metrics::undecided(why);
        self.reply.send(Err(why)).ok();
    }

    fn answer(self, settler: &Settler, decision: Decision) {
        metrics::decided(decision.verdict);
        let settle = match &decision.fact {
            Some(fact) => Some(Settle::Fact(self.request.product(), fact.clone())),
            None => self.may_hold.then(|| Settle::release(&self.request)),
        };
        self.reply.send(Ok(decision)).ok();
        if let Some(settle) = settle {
            settler.submit(settle);
        }
    }
}

/// How often the main lane tries a locked product before the product gets a lane of its own.
const TRIES: u8 = 3;

struct Lanes {
    decider: Arc<Decider>,
    /// Left over by the main lane, with how often it tried.
    again: Vec<(Pending, u8)>,
    /// What has arrived for products that have a lane: for its next turn.
    waiting: HashMap<ProductId, Vec<Pending>>,
    lanes: JoinSet<(ProductId, Option<Failure>)>,
    lanes_max: usize,
    flush_max: usize,
    /// All that the last turn took up was locked, and no lane is free: what is left over waits for something to happen.
    stalled: bool,
}

impl Lanes {
    async fn run(mut self, mut batches: Batches<Pending>) {
        let mut open = true;
        while open || !self.lanes.is_empty() || !self.again.is_empty() {
            if !self.again.is_empty() && !self.stalled {
                let batch = batches.now(self.flush_max);
                self.decide(batch).await;
                continue;
            }
            tokio::select! {
                batch = batches.next(self.flush_max), if open => match batch {
                    Some(batch) => self.decide(batch).await,
                    None => open = false,
                },
                Some(ended) = self.lanes.join_next() => {
                    self.stalled = false;
                    if let Ok((product, failure)) = ended {
                        self.lane_ended(product, failure);
                    }
                }
            }
        }
    }

    /// One turn of the main lane.
    async fn decide(&mut self, batch: Vec<Pending>) {
        self.stalled = false;
        while let Some(ended) = self.lanes.try_join_next() {
            if let Ok((product, failure)) = ended {
                self.lane_ended(product, failure);
            }
        }
        let mut tries = Vec::with_capacity(batch.len());
        let mut turn = Vec::with_capacity(batch.len());
        for (pending, tried) in self
            .again
            .drain(..)
            .chain(batch.into_iter().map(|pending| (pending, 0)))
        {
            match self.waiting.get_mut(&pending.request.product()) {
                Some(lane) if lane.len() < self.flush_max => lane.push(pending),
                Some(_) => pending.give_up(&self.decider.settler, Unavailable::QueueFull),
                None => {
                    turn.push(pending);
                    tries.push(tried);
                }
            }
        }
        if turn.is_empty() {
            return;
        }
        let size = turn.len();
        let left = self.decider.decide(Waiting::Skip, turn).await.left;
        self.stalled = left.len() == size && self.lanes.len() >= self.lanes_max;
        let mut stuck: HashMap<ProductId, Vec<Pending>> = HashMap::new();
        for (index, pending) in left {
            let tried = tries[index] + 1;
            let product = pending.request.product();
            if tried >= TRIES
                && (stuck.contains_key(&product) || self.lanes.len() + stuck.len() < self.lanes_max)
            {
                stuck.entry(product).or_default().push(pending);
            } else {
                self.again.push((pending, tried.min(TRIES)));
            }
        }
        for (product, batch) in stuck {
            self.waiting.insert(product, Vec::new());
            self.open_lane(product, batch);
        }
    }

    fn open_lane(&mut self, product: ProductId, batch: Vec<Pending>) {
        let decider = Arc::clone(&self.decider);
        self.lanes
            .spawn(async move { (product, decider.decide(Waiting::Wait, batch).await.failure) });
    }

    /// The lane takes its next turn, or closes. When its row stayed locked for the whole time-out, those who have
    /// arrived meanwhile are told at once: they would wait as long again.
    fn lane_ended(&mut self, product: ProductId, failure: Option<Failure>) {
        let next = self.waiting.remove(&product).unwrap_or_default();
        match failure {
            Some(Failure::Nothing(why)) => {
                next.into_iter()
                    .for_each(|pending| pending.give_up(&self.decider.settler, why));
            }
            _ if next.is_empty() => {}
            _ => {
                self.waiting.insert(product, Vec::new());
                self.open_lane(product, next);
            }
        }
    }
}

/// What a turn leaves behind.
#[derive(Default)]
struct Turn {
    /// Requests whose product was locked, with their place in the batch.
    left: Vec<(usize, Pending)>,
    /// Why nothing of it was decided, if so.
    failure: Option<Failure>,
}

/// Decides batches and answers those who wait.
struct Decider {
    pool: Pool,
    settler: Settler,
    limit: Duration,
}

/// How often a decision is repeated, with the same request ids, when its outcome is unknown or the database asked for
/// a repetition; and the pause before each.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(15);

impl Decider {
    async fn decide(&self, waiting: Waiting, batch: Vec<Pending>) -> Turn {
        let (batch, late): (Vec<_>, Vec<_>) = {
            let now = Instant::now();
            batch
                .into_iter()
                .enumerate()
                .partition(|(_, pending)| pending.deadline > now)
        };
        late.into_iter()
            .for_each(|(_, pending)| pending.give_up(&self.settler, Unavailable::Deadline));
        if batch.is_empty() {
            return Turn::default();
        }
        match self.attempt(waiting, &batch).await {
            Ok(decisions) => self.answer(batch, decisions),
            Err(Failure::Refused) if batch.len() > 1 => self.one_by_one(waiting, batch).await,
            Err(failure) => {
                batch
                    .into_iter()
                    .for_each(|(_, pending)| self.fail(pending, failure));
                Turn {
                    left: Vec::new(),
                    failure: Some(failure),
                }
            }
        }
    }

    async fn attempt(
        &self,
        waiting: Waiting,
        batch: &[(usize, Pending)],
    ) -> Result<Vec<Option<Decision>>, Failure> {
        let requests: Vec<&StockRequest> = batch.iter().map(|(_, pending)| &pending.request).collect();
        let mut attempt = 0;
        loop {
            let started = Instant::now();
            let error = match decide(&self.pool, self.limit, waiting, &requests).await {
                Ok(decisions) => {
                    metrics::decide_batch(requests.len(), started.elapsed());
                    return Ok(decisions);
                }
                Err(error) => error,
            };
            attempt += 1;
            let failure = failure(&error);
            metrics::decide_failed(&error, failure, requests.len());
            match failure {
                Failure::Again | Failure::Unknown if attempt < ATTEMPTS => {
                    tokio::time::sleep(PAUSE * attempt).await;
                }
                Failure::Again => return Err(Failure::Nothing(Unavailable::Database)),
                other => return Err(other),
            }
        }
    }

    /// One request that the database refuses must not take the others with it.
    async fn one_by_one(&self, waiting: Waiting, batch: Vec<(usize, Pending)>) -> Turn {
        let mut turn = Turn::default();
        for one in batch {
            let one = vec![one];
            match self.attempt(waiting, &one).await {
                Ok(decisions) => turn.left.extend(self.answer(one, decisions).left),
                Err(failure) => one
                    .into_iter()
                    .for_each(|(_, pending)| self.fail(pending, failure)),
            }
        }
        turn
    }

    fn answer(&self, batch: Vec<(usize, Pending)>, decisions: Vec<Option<Decision>>) -> Turn {
        let mut turn = Turn::default();
        for ((index, pending), decision) in batch.into_iter().zip(decisions) {
            match decision {
                Some(decision) => pending.answer(&self.settler, decision),
                None => turn.left.push((index, pending)),
            }
        }
        turn
    }

    /// No decision. A hold whose outcome is unknown stays: by its deadline the ledger tells what became of it.
    fn fail(&self, mut pending: Pending, failure: Failure) {
        let why = match failure {
            Failure::Nothing(why) => why,
            Failure::Again | Failure::Refused => Unavailable::Database,
            Failure::Unknown => {
                pending.may_hold = false;
                Unavailable::Database
            }
        };
        pending.give_up(&self.settler, why);
    }
}
