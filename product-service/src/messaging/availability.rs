//! Telling order-service what is sold out, and what is not any more, so that it can turn orders away at its door.
//!
//! A hint, never needed: it is thrown away when there is no room or no broker, order-service forgets it after a few
//! seconds, and the next order that gets through to a decision says it again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use contracts::messaging::{AVAILABILITY_EXCHANGE, Availability};
use platform::amqp::{Broker, Message, Publisher};
use platform::batch::{Batcher, Batches, queue};

use crate::config::RabbitMqConfig;
use crate::domain::books::Decision;
use crate::domain::request::ProductId;
use crate::domain::words::Verdict;
use crate::metrics;

/// Notices that may wait.
const QUEUE_CAPACITY: usize = 1000;
/// A product is not said to be sold out more often than this.
const EVERY: Duration = Duration::from_millis(500);
/// Products of which it is remembered when that was said.
const REMEMBERED_MAX: usize = 10_000;

/// Where decisions are noticed. Cheap to clone.
#[derive(Clone)]
pub struct Notices {
    queue: Batcher<Availability>,
    said: Arc<Mutex<HashMap<ProductId, Instant>>>,
}

impl Notices {
    /// The side that notices, and what it has to say, for [`run`].
    #[must_use]
    pub fn new() -> (Self, Batches<Availability>) {
        let (queue, batches) = queue("availability", QUEUE_CAPACITY);
        (
            Self {
                queue,
                said: Arc::default(),
            },
            batches,
        )
    }

    /// Notices what a decision says about the product's stock, if it is news.
    /// `raises`: whether the request may have raised it.
    pub fn notice(&self, product: ProductId, raises: bool, decision: &Decision) {
        if decision.verdict == Verdict::Done && decision.stock == 0 && !raises {
            metrics::sold_out(product);
        }
        let sold_out = match decision.verdict {
            Verdict::Done | Verdict::Insufficient if decision.stock == 0 => true,
            Verdict::Done if raises => false,
            _ => return,
        };
        if sold_out && !self.is_news(product) {
            return;
        }
        self.queue.submit(Availability::new(product, sold_out)).ok();
    }

    /// While a product is sold out, every refusal comes by here: whoever finds the list taken leaves it to the next.
    fn is_news(&self, product: ProductId) -> bool {
        let Ok(mut said) = self.said.try_lock() else {
            return false;
        };
        let now = Instant::now();
        if said
            .get(&product)
            .is_some_and(|at| now.duration_since(*at) < EVERY)
        {
            return false;
        }
        if said.len() >= REMEMBERED_MAX {
            said.clear();
        }
        said.insert(product, now);
        true
    }
}

/// Publishes notices, for ever. What cannot be published is forgotten.
pub async fn run(broker: Broker, config: RabbitMqConfig, mut notices: Batches<Availability>) {
    let timeout = Duration::from_millis(config.confirm_timeout_ms);
    let fanouts: &[&str] = &[AVAILABILITY_EXCHANGE];
    let mut publisher = Publisher::new(broker, "stock availability", &[], fanouts, timeout);
    while let Some(batch) = notices.next(QUEUE_CAPACITY).await {
        let messages: Vec<Message> = batch.iter().map(message).collect();
        // Its link tells the log.
        publisher.publish(&messages).await.ok();
    }
}

fn message(notice: &Availability) -> Message {
    Message {
        exchange: AVAILABILITY_EXCHANGE,
        key: "",
        id: notice.product_id.to_string(),
        body: notice.to_json(),
        trace_context: None,
        mandatory: false,
    }
}
