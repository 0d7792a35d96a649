//! The relay: publishes what the outbox holds. Any number of them may run.
//!
//! One batch is one transaction: take rows that nobody else has, publish them, mark what the broker has confirmed. If it
//! dies after publishing, the rows are published again: their request ids make the second time a replay. A relay that
//! freezes in the middle loses its rows with its session, soon.

use std::sync::Arc;
use std::time::Duration;

use contracts::messaging::{ORDER_RESULT, STOCK_REQUEST};
use platform::amqp::{Broker, Link, Message, Publisher};
use platform::database::Pool;
use tokio::sync::Notify;

use crate::config::{OutboxConfig, RabbitMqConfig};
use crate::db::relay::{Backoff, Stored, relay_batch};
use crate::metrics;

/// Publishes what is stored.
pub struct Relay {
    pool: Pool,
    publisher: Publisher,
    nudge: Arc<Notify>,
    recovery: Arc<Notify>,
    poll: Duration,
    batch_max: i64,
    backoff: Backoff,
}

impl Relay {
    /// Connects nothing yet. `nudge` wakes it; it wakes `recovery` when it has given a message up.
    #[must_use]
    pub fn new(
        pool: Pool,
        broker: Broker,
        rabbitmq: &RabbitMqConfig,
        config: &OutboxConfig,
        nudge: Arc<Notify>,
        recovery: Arc<Notify>,
    ) -> Self {
        let publisher = Publisher::new(
            broker,
            "outbox relay",
            &[STOCK_REQUEST, ORDER_RESULT],
            &[],
            Duration::from_millis(rabbitmq.confirm_timeout_ms),
        );
        Self {
            pool,
            publisher,
            nudge,
            recovery,
            poll: Duration::from_millis(config.poll_ms),
            batch_max: config.batch_max,
            backoff: Backoff {
                attempts_max: config.attempts_max,
                retry_ms: i64::try_from(config.retry_ms).unwrap_or(i64::MAX),
                retry_max_ms: i64::try_from(config.retry_max_ms).unwrap_or(i64::MAX),
            },
        }
    }

    /// Whether it is connected to the broker.
    #[must_use]
    pub fn link(&self) -> Link {
        self.publisher.link()
    }

    /// Publishes, for ever.
    pub async fn run(mut self) {
        loop {
            if !self.batch().await {
                tokio::time::timeout(self.poll, self.nudge.notified()).await.ok();
            }
        }
    }

    /// One batch. Says whether there may be more.
    async fn batch(&mut self) -> bool {
        // Without a broker no row is touched: that it is away is no failure of theirs.
        if self.publisher.ready().await.is_err() {
            return false;
        }
        let relayed = relay_batch(
            &self.pool,
            self.batch_max,
            self.backoff,
            &mut self.publisher,
            message,
        )
        .await;
        match relayed {
            Ok(relayed) => {
                metrics::relayed(&relayed);
                if relayed.dead > 0 {
                    self.recovery.notify_one();
                }
                relayed.taken == usize::try_from(self.batch_max).unwrap_or(usize::MAX)
            }
            Err(error) => {
                metrics::relay_failed(&error);
                false
            }
        }
    }
}

/// What a stored message is on the wire.
#[must_use]
pub fn message(stored: &Stored) -> Message {
    Message {
        exchange: STOCK_REQUEST.exchange,
        key: STOCK_REQUEST.key,
        id: stored.attempt.decrease_id(),
        body: stored.payload.clone(),
        trace_context: stored.trace_context,
        mandatory: true,
    }
}
