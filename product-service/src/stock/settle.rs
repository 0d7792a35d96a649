//! Settle: after the commit, in the background, the gate is told what happened.
//!
//! Bounded: when Redis is slower than the sales, what does not fit is dropped and counted. Nothing is lost by that: the
//! facts are in the ledger, holds have a deadline, and the reconciler looks for both. If the process dies, the same.

use std::collections::HashMap;
use std::sync::Arc;

use platform::batch::{Batcher, queue};
use tokio::task::JoinHandle;

use crate::config::GateConfig;
use crate::domain::books::Fact;
use crate::domain::request::{ProductId, RequestId, StockRequest};
use crate::gate::link::Link;
use crate::gate::settle::Settlement;
use crate::gate::{Gate, GateError};
use crate::metrics;

/// One thing to tell the gate.
#[derive(Debug)]
pub enum Settle {
    /// A committed movement.
    Fact(ProductId, Fact),
    /// This request gets nothing: a hold it may have ends.
    Release(ProductId, RequestId),
}

impl Settle {
    /// The release of whatever a request may hold.
    #[must_use]
    pub fn release(request: &StockRequest) -> Self {
        Self::Release(request.product(), request.request_id().clone())
    }
}

/// The way to the settling task. Cheap to clone.
#[derive(Clone)]
pub struct Settler {
    queue: Batcher<Settle>,
}

impl Settler {
    /// Starts the settling task. It ends, after the last item, once every clone is dropped.
    #[must_use]
    pub fn start(gate: Arc<Gate>, config: &GateConfig) -> (Self, JoinHandle<()>) {
        let (batcher, mut batches) = queue("settle", config.settle_queue_capacity);
        let flush_max = config.flush_max;
        let flusher = tokio::spawn(async move {
            let mut link = gate.link();
            while let Some(batch) = batches.next(flush_max).await {
                let settlements = by_product(batch);
                tell(&gate, &mut link, &settlements).await;
            }
        });
        (Self { queue: batcher }, flusher)
    }

    /// Queues one item; a full queue drops it.
    pub fn submit(&self, settle: Settle) {
        if self.queue.submit(settle).is_err() {
            metrics::settle_dropped();
        }
    }
}

/// How often the gate is told the same: it costs nothing to be told twice.
const TRIES: usize = 3;

async fn tell(gate: &Gate, link: &mut Link, settlements: &[(ProductId, Settlement)]) {
    for left in (0..TRIES).rev() {
        match gate.watched("settle", true, gate.settle(link, settlements)).await {
            Ok(results) => return results.iter().for_each(metrics::settled),
            Err(GateError::Open) => return,
            Err(error) => metrics::settle_failed(&error, left),
        }
    }
}

fn by_product(batch: Vec<Settle>) -> Vec<(ProductId, Settlement)> {
    let mut products: HashMap<ProductId, Settlement> = HashMap::new();
    for settle in batch {
        match settle {
            Settle::Fact(product, fact) => products.entry(product).or_default().facts.push(fact),
            Settle::Release(product, id) => products.entry(product).or_default().releases.push(id),
        }
    }
    products.into_iter().collect()
}
