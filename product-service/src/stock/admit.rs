//! Admit: what waits for hot products is shown to the gate, all of it in one round trip; what may get stock goes on to
//! the decision, what cannot is answered here.
//!
//! If Redis errs, is slow or lies, everything goes on to the decision: nobody is refused because of Redis. Whatever it
//! may have held then ends with the fact or the release of the same request id.

use std::collections::HashMap;
use std::sync::Arc;

use platform::batch::{Batcher, Refused, queue};
use tokio::task::JoinHandle;

use super::load::Loader;
use super::settle::Settler;
use crate::config::GateConfig;
use crate::domain::books::Decision;
use crate::domain::request::{ProductId, StockRequest};
use crate::domain::words::{Admission, Unavailable, Verdict};
use crate::gate::link::Link;
use crate::gate::reserve::{Reservation, Reserved};
use crate::gate::{Gate, GateError};
use crate::ledger::lanes::{Ledger, Pending};
use crate::metrics;

/// The gate's queue. Cheap to clone.
#[derive(Clone)]
pub struct AdmissionQueue {
    queue: Batcher<Pending>,
    settler: Settler,
}

impl AdmissionQueue {
    /// Starts the admitting task. It ends, after the last request was answered or forwarded, once every clone is
    /// dropped.
    #[must_use]
    pub fn start(
        gate: Arc<Gate>,
        ledger: Ledger,
        settler: Settler,
        loader: Loader,
        config: &GateConfig,
    ) -> (Self, JoinHandle<()>) {
        let (batcher, mut batches) = queue("admit", config.queue_capacity);
        let flush_max = config.flush_max;
        let admitter = Admitter { gate, ledger, loader };
        let flusher = tokio::spawn(async move {
            let mut link = admitter.gate.link();
            while let Some(batch) = batches.next(flush_max).await {
                admitter.admit(&mut link, batch).await;
            }
        });
        (
            Self {
                queue: batcher,
                settler,
            },
            flusher,
        )
    }

    /// Queues a request; a full queue answers it at once.
    pub fn submit(&self, pending: Pending) {
        if let Err(Refused(pending)) = self.queue.submit(pending) {
            metrics::gate_queue_full();
            pending.give_up(&self.settler, Unavailable::QueueFull);
        }
    }
}

struct Admitter {
    gate: Arc<Gate>,
    ledger: Ledger,
    loader: Loader,
}

impl Admitter {
    async fn admit(&self, link: &mut Link, batch: Vec<Pending>) {
        let size = batch.len();
        let mut products: HashMap<ProductId, Vec<Pending>> = HashMap::new();
        for pending in batch {
            products
                .entry(pending.request.product())
                .or_default()
                .push(pending);
        }
        let products: Vec<(ProductId, Vec<Pending>)> = products.into_iter().collect();
        let reservations: Vec<Reservation<'_>> = products.iter().map(reservation).collect();
        let started = std::time::Instant::now();
        let call = self.gate.reserve(link, &reservations);
        let reserved = self.gate.watched("reserve", false, call).await;
        metrics::gate_batch(size, started.elapsed());
        drop(reservations);
        match reserved {
            Ok(reserved) => {
                for ((product, batch), reserved) in products.into_iter().zip(reserved) {
                    match reserved {
                        Ok(reserved) => self.sort(product, batch, &reserved),
                        Err(error) => self.forward_all(batch, &error),
                    }
                }
            }
            Err(error) => products
                .into_iter()
                .for_each(|(_, batch)| self.forward_all(batch, &error)),
        }
    }

    /// The gate has spoken: each goes its way.
    fn sort(&self, product: ProductId, batch: Vec<Pending>, reserved: &Reserved) {
        if let Some(lease) = &reserved.lease {
            self.loader.submit(product, lease.clone());
        }
        for (mut pending, admission) in batch.into_iter().zip(&reserved.admissions) {
            metrics::admission(*admission);
            match admission {
                Admission::Held => {
                    pending.may_hold = true;
                    self.ledger.submit(pending);
                }
                Admission::Replay | Admission::Cold => self.ledger.submit(pending),
                Admission::Discontinued => refuse(pending, Verdict::Discontinued, reserved),
                Admission::NotOpen => refuse(pending, Verdict::NotOpen, reserved),
                Admission::BuyerRequired => refuse(pending, Verdict::BuyerRequired, reserved),
                Admission::Limit => refuse(pending, Verdict::Limit, reserved),
                Admission::SoldOut => refuse(pending, Verdict::Insufficient, reserved),
            }
        }
    }

    /// No word from the gate. It may hold units for any of them all the same.
    fn forward_all(&self, batch: Vec<Pending>, error: &GateError) {
        metrics::gate_failed(error, batch.len());
        for mut pending in batch {
            pending.may_hold = true;
            self.ledger.submit(pending);
        }
    }
}

/// Answers without the database.
fn refuse(pending: Pending, verdict: Verdict, reserved: &Reserved) {
    metrics::refused_by_gate(verdict);
    let refusal = Decision {
        verdict,
        stock: reserved.counter.max(0),
        limit: reserved.limit,
        fact: None,
    };
    pending.reply.send(Ok(refusal)).ok();
}

fn reservation((product, batch): &(ProductId, Vec<Pending>)) -> Reservation<'_> {
    let requests = batch.iter().filter_map(|pending| match &pending.request {
        StockRequest::Decrease(decrease) => {
            Some((&decrease.request_id, decrease.quantity, decrease.buyer.as_ref()))
        }
        StockRequest::Increase(_) | StockRequest::Adjust(_) => None,
    });
    Reservation {
        product: *product,
        requests: requests.collect(),
    }
}
