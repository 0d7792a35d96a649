//! Dead letters, for operators: looking at them, putting them back, dropping them. Each call has a connection of its own
//! and takes so many messages at most.

use std::time::Duration;

use contracts::messaging::{DeadLetter, Route};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};
use tokio::time::Instant;

use super::publish::{Published, word};
use super::{AmqpError, Broker, declare_route, in_time};

/// Characters of a body that are shown.
const BODY_SHOWN_MAX: usize = 1000;
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);
const NAME: &str = "dead letters";

/// The dead letters of a route.
#[derive(Clone)]
pub struct DeadLetters {
    /// The broker.
    pub broker: Broker,
    /// The route.
    pub route: Route,
}

impl DeadLetters {
    /// The first `max` of them. They stay where they are.
    ///
    /// # Errors
    /// [`AmqpError`].
    pub async fn list(&self, max: usize) -> Result<Vec<DeadLetter>, AmqpError> {
        let (connection, channel) = self.open().await?;
        let mut letters = Vec::new();
        while letters.len() < max {
            match self.next(&channel).await? {
                Some(delivery) => letters.push(shown(&delivery)),
                None => break,
            }
        }
        // Not acknowledged: with the channel gone they lie where they lay.
        close(connection, channel).await?;
        Ok(letters)
    }

    /// Puts the first `max` back where they came from, each only when the broker has confirmed it. Says how many.
    ///
    /// # Errors
    /// [`AmqpError`]; one may then be in both queues, which does no harm.
    pub async fn replay(&self, max: usize) -> Result<usize, AmqpError> {
        let (connection, channel) = self.open().await?;
        in_time(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        let mut replayed = 0;
        while replayed < max {
            let Some(delivery) = self.next(&channel).await? else {
                break;
            };
            let options = BasicPublishOptions {
                mandatory: true,
                immediate: false,
            };
            // Without the history of its death, which would end it again.
            let properties = delivery.properties.clone().with_headers(FieldTable::default());
            let (exchange, key) = (self.route.exchange.into(), self.route.key.into());
            let promise =
                in_time(channel.basic_publish(exchange, key, options, &delivery.data, properties)).await?;
            let confirmed = tokio::time::timeout_at(Instant::now() + CONFIRM_TIMEOUT, promise).await;
            if word(confirmed) != Published::Confirmed {
                return Err(AmqpError::Timeout(CONFIRM_TIMEOUT));
            }
            in_time(delivery.acker.ack(BasicAckOptions::default())).await?;
            replayed += 1;
        }
        close(connection, channel).await?;
        Ok(replayed)
    }

    /// Drops the first `max` for good. Says how many.
    ///
    /// # Errors
    /// [`AmqpError`].
    pub async fn discard(&self, max: usize) -> Result<usize, AmqpError> {
        let (connection, channel) = self.open().await?;
        let mut discarded = 0;
        while discarded < max {
            let Some(delivery) = self.next(&channel).await? else {
                break;
            };
            in_time(delivery.acker.ack(BasicAckOptions::default())).await?;
            discarded += 1;
        }
        close(connection, channel).await?;
        Ok(discarded)
    }

    async fn open(&self) -> Result<(Connection, Channel), AmqpError> {
        let connection = self.broker.connect(NAME).await?;
        let channel = in_time(connection.create_channel()).await?;
        declare_route(&channel, &self.route).await?;
        Ok((connection, channel))
    }

    /// How many there are, without taking any.
    async fn count(&self, channel: &Channel) -> Result<u32, AmqpError> {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel.queue_declare(self.route.dead_queue.into(), passive, FieldTable::default());
        Ok(in_time(queue).await?.message_count())
    }

    async fn next(&self, channel: &Channel) -> Result<Option<Delivery>, AmqpError> {
        let got =
            in_time(channel.basic_get(self.route.dead_queue.into(), BasicGetOptions::default())).await?;
        Ok(got.map(|got| got.delivery))
    }
}

/// Everything sent before it has arrived when this is answered: acknowledgements, and the lack of them.
async fn close(connection: Connection, channel: Channel) -> Result<(), AmqpError> {
    in_time(channel.close(200, "done".into())).await?;
    drop(connection);
    Ok(())
}

fn shown(delivery: &Delivery) -> DeadLetter {
    let headers = delivery.properties.headers();
    let reason = headers
        .as_ref()
        .and_then(|headers| headers.inner().get("x-first-death-reason"));
    let reason = match reason {
        Some(AMQPValue::LongString(reason)) => Some(reason.to_string()),
        _ => None,
    };
    DeadLetter {
        message_id: delivery.properties.message_id().as_ref().map(ToString::to_string),
        reason,
        bytes: delivery.data.len(),
        body: String::from_utf8_lossy(&delivery.data)
            .chars()
            .take(BODY_SHOWN_MAX)
            .collect(),
    }
}

/// How often dead letters are counted.
const COUNTED_EVERY: Duration = Duration::from_secs(5);

/// Counts the dead letters of a route for the metrics, for ever, over one connection that is made anew when it breaks.
/// While there is no broker nobody knows how many there are, and the number vanishes from the metrics after a while.
pub async fn count_dead_letters(letters: DeadLetters) {
    crate::metrics::dead_letters(letters.route.dead_queue, 0);
    let mut open = None;
    loop {
        if open.is_none() {
            open = letters.open().await.ok();
        }
        if let Some((_, channel)) = &open {
            match letters.count(channel).await {
                Ok(messages) => crate::metrics::dead_letters(letters.route.dead_queue, messages),
                Err(_) => open = None,
            }
        }
        tokio::time::sleep(COUNTED_EVERY).await;
    }
}
