//! Publishing: batches, each message persistent and mandatory, each with the broker's word on it.

use std::time::Duration;

use contracts::messaging::{Route, TRACE_CONTEXT};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use lapin::{Confirmation, PublisherConfirm};
use tokio::time::Instant;

use super::{AmqpError, Broker, Link, declare, in_time};
use crate::metrics::{self, Words};
use crate::trace::{Kind, TraceContext, Work};

const PERSISTENT: u8 = 2;

/// A message to be published.
#[derive(Debug, Clone)]
pub struct Message {
    /// Exchange.
    pub exchange: &'static str,
    /// Routing key.
    pub key: &'static str,
    /// Key of the effect: what a consumer tells two deliveries of the same by.
    pub id: String,
    /// JSON.
    pub body: String,
    /// What caused it.
    pub trace_context: Option<TraceContext>,
    /// Whether it must reach a queue.
    pub mandatory: bool,
}

/// What the broker said of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// It has it.
    Confirmed,
    /// It has not, or nobody can say. The text says why.
    Failed(String),
}

/// Publishes. One batch at a time; the connection is made when it is needed, and made anew when it breaks.
pub struct Publisher {
    broker: Broker,
    name: &'static str,
    routes: &'static [Route],
    fanouts: &'static [&'static str],
    confirm_timeout: Duration,
    link: Link,
    open: Option<(Connection, Channel)>,
    counted: Words,
}

impl Publisher {
    /// Connects nothing yet. Before the first message, and whenever one could not be routed, it declares `routes` and
    /// `fanouts`.
    #[must_use]
    pub fn new(
        broker: Broker,
        name: &'static str,
        routes: &'static [Route],
        fanouts: &'static [&'static str],
        confirm_timeout: Duration,
    ) -> Self {
        Self {
            broker,
            name,
            routes,
            fanouts,
            confirm_timeout,
            link: Link::default(),
            open: None,
            counted: metrics::published(name),
        }
    }

    /// Whether it is connected.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link.clone()
    }

    /// Connects, if it is not connected.
    ///
    /// # Errors
    /// [`AmqpError`]: nothing can be published now.
    pub async fn ready(&mut self) -> Result<(), AmqpError> {
        if self
            .open
            .as_ref()
            .is_some_and(|(_, channel)| channel.status().connected())
        {
            return Ok(());
        }
        self.open = None;
        match self.connect().await {
            Ok(open) => {
                self.open = Some(open);
                self.link.up(self.name);
                Ok(())
            }
            Err(error) => {
                self.link.down(self.name, &error);
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<(Connection, Channel), AmqpError> {
        let connection = self.broker.connect(self.name).await?;
        let channel = in_time(connection.create_channel()).await?;
        declare(&channel, self.routes, self.fanouts).await?;
        in_time(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok((connection, channel))
    }

    /// Publishes a batch and waits for the broker's word on each, at most for the time set. One answer per message, in
    /// their order. After a failure the connection is made anew with the next batch, and the queues with it.
    ///
    /// # Errors
    /// [`AmqpError`] when there is no connection: nothing was published.
    pub async fn publish(&mut self, messages: &[Message]) -> Result<Vec<Published>, AmqpError> {
        self.ready().await?;
        let Some((_, channel)) = &self.open else {
            return Ok(vec![
                Published::Failed("not connected".to_owned());
                messages.len()
            ]);
        };
        let deadline = Instant::now() + self.confirm_timeout;
        let mut promised = Vec::with_capacity(messages.len());
        for message in messages {
            // Until its confirm.
            let work = Work::caused_by(message.trace_context, Kind::Producer, self.name, &message.id);
            let sent = tokio::time::timeout_at(deadline, send(channel, message, work.context)).await;
            promised.push((work, sent));
        }
        let mut published = Vec::with_capacity(messages.len());
        for (work, promise) in promised {
            let word = match promise {
                Ok(Ok(promise)) => word(tokio::time::timeout_at(deadline, promise).await),
                Ok(Err(error)) => Published::Failed(error.to_string()),
                Err(_) => Published::Failed("not sent in time".to_owned()),
            };
            if let Published::Failed(why) = &word {
                work.failed(why);
            }
            published.push(word);
        }
        for one in &published {
            self.counted.count(usize::from(*one != Published::Confirmed), 1);
        }
        if let Some(Published::Failed(why)) = published.iter().find(|one| **one != Published::Confirmed) {
            self.link.down(self.name, why);
            self.open = None;
        }
        Ok(published)
    }
}

async fn send(
    channel: &Channel,
    message: &Message,
    trace_context: Option<TraceContext>,
) -> lapin::Result<PublisherConfirm> {
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_message_id(message.id.as_str().into());
    if let Some(trace_context) = trace_context {
        let mut headers = FieldTable::default();
        headers.insert(
            TRACE_CONTEXT.into(),
            AMQPValue::LongString(trace_context.to_string().into()),
        );
        properties = properties.with_headers(headers);
    }
    let options = BasicPublishOptions {
        mandatory: message.mandatory,
        immediate: false,
    };
    channel
        .basic_publish(
            message.exchange.into(),
            message.key.into(),
            options,
            message.body.as_bytes(),
            properties,
        )
        .await
}

/// A message that came back is confirmed too: the broker has dealt with it, by not keeping it.
pub(super) fn word(
    confirmation: Result<lapin::Result<Confirmation>, tokio::time::error::Elapsed>,
) -> Published {
    match confirmation {
        Ok(Ok(Confirmation::Ack(None))) => Published::Confirmed,
        Ok(Ok(Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)))) => {
            Published::Failed(format!("returned: {}", returned.reply_text))
        }
        Ok(Ok(Confirmation::Nack(None))) => Published::Failed("refused by the broker".to_owned()),
        Ok(Ok(Confirmation::NotRequested)) => Published::Failed("the channel does not confirm".to_owned()),
        Ok(Err(error)) => Published::Failed(error.to_string()),
        Err(_) => Published::Failed("not confirmed in time".to_owned()),
    }
}
