//! Consuming: each message in a task of its own, as many at once as the prefetch allows, acknowledged when it is dealt
//! with.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use contracts::messaging::{Route, TRACE_CONTEXT};

use super::acks::{Acks, Word};
use super::{AmqpError, Broker, Link, declare_route, in_time, topology};
use crate::metrics::{self, Words};
use crate::trace::TraceContext;

/// Pause before the connection is made anew.
const PAUSE: Duration = Duration::from_millis(500);

/// Where messages come from.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// The queue of a route, declared if it is not there.
    Route(Route),
    /// Everything that a fanout exchange says, from now on: a queue of this consumer alone, gone with its connection.
    Fanout(&'static str),
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// It is dealt with: acknowledged.
    Done,
    /// Nobody can act on it: to the dead letters.
    Dead,
    /// Not dealt with, because the service stops: it is delivered again, to somebody else.
    Left,
}

/// A consumer that connects again whenever its connection breaks or its queue vanishes.
pub struct Consumer {
    /// The broker.
    pub broker: Broker,
    /// The name of its connection.
    pub name: &'static str,
    /// Where messages come from.
    pub source: Source,
    /// Messages at once.
    pub prefetch: u16,
    /// Whether it is connected.
    pub link: Link,
    /// Ends it.
    pub stop: CancellationToken,
}

impl Consumer {
    /// Consumes until `stop`; then waits for what is under way. A `handle` that panics has its message delivered again,
    /// until the queue's delivery limit sends it to the dead letters.
    pub async fn run<H, F>(self, handle: H)
    where
        H: Fn(Delivery) -> F + Send + Sync + 'static,
        F: Future<Output = Handled> + Send + 'static,
    {
        let (handle, deliveries) = (Arc::new(handle), metrics::deliveries(self.name));
        loop {
            match self.consume(&handle, &deliveries).await {
                Ok(()) if self.stop.is_cancelled() => return,
                Ok(()) => self.link.down(self.name, &"the queue or the connection is gone"),
                Err(error) => self.link.down(self.name, &error),
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Until the queue or the connection is gone, or the service stops and everything under way is dealt with.
    async fn consume<H, F>(&self, handle: &Arc<H>, counted: &Words) -> Result<(), AmqpError>
    where
        H: Fn(Delivery) -> F + Send + Sync + 'static,
        F: Future<Output = Handled> + Send + 'static,
    {
        let (_connection, channel, mut deliveries) = tokio::select! {
            begun = self.begin() => begun?,
            () = self.stop.cancelled() => return Ok(()),
        };
        self.link.up(self.name);
        let mut acks = Acks::new(self.prefetch);
        // Never full: no more messages are under way than the prefetch says.
        let (settle, mut settled) = mpsc::channel(usize::from(self.prefetch).max(1));
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                _ = settled.recv_many(&mut batch, usize::from(self.prefetch)) => {
                    tell(&channel, acks.settled(batch.drain(..))).await?;
                }
                delivery = deliveries.next() => match delivery {
                    Some(Ok(delivery)) => {
                        acks.delivered(delivery.delivery_tag);
                        counted.count(usize::from(delivery.redelivered), 1);
                        tokio::spawn(handled(delivery, Arc::clone(handle), settle.clone()));
                    }
                    Some(Err(error)) => return Err(error.into()),
                    None => return Ok(()),
                },
            }
        }
        drop(settle);
        while settled.recv_many(&mut batch, usize::from(self.prefetch)).await > 0 {
            tell(&channel, acks.settled(batch.drain(..))).await?;
        }
        Ok(())
    }

    async fn begin(&self) -> Result<(Connection, Channel, lapin::Consumer), AmqpError> {
        let connection = self.broker.connect(self.name).await?;
        let channel = in_time(connection.create_channel()).await?;
        let queue = self.declare(&channel).await?;
        in_time(channel.basic_qos(self.prefetch, BasicQosOptions::default())).await?;
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(
            queue.as_str().into(),
            self.name.into(),
            options,
            FieldTable::default(),
        );
        let deliveries = in_time(consumer).await?;
        Ok((connection, channel, deliveries))
    }

    async fn declare(&self, channel: &Channel) -> Result<String, AmqpError> {
        match &self.source {
            Source::Route(route) => {
                declare_route(channel, route).await?;
                Ok(route.queue.to_owned())
            }
            Source::Fanout(exchange) => {
                topology::declare(channel, &[], &[exchange]).await?;
                let options = QueueDeclareOptions {
                    exclusive: true,
                    auto_delete: true,
                    ..QueueDeclareOptions::default()
                };
                let queue = in_time(channel.queue_declare("".into(), options, FieldTable::default())).await?;
                let name = queue.name().as_str().to_owned();
                let binding = channel.queue_bind(
                    name.as_str().into(),
                    (*exchange).into(),
                    "".into(),
                    QueueBindOptions::default(),
                    FieldTable::default(),
                );
                in_time(binding).await?;
                Ok(name)
            }
        }
    }
}

/// The W3C trace context a message came with, if it is one.
#[must_use]
pub fn trace_context(delivery: &Delivery) -> Option<TraceContext> {
    let headers = delivery.properties.headers().as_ref()?;
    let bytes = match headers.inner().get(TRACE_CONTEXT)? {
        AMQPValue::LongString(text) => text.as_bytes(),
        AMQPValue::ShortString(text) => text.as_str().as_bytes(),
        _ => return None,
    };
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Handles a message and says what became of it. Where nobody hears that any more the connection is gone, and the message
/// is delivered again.
async fn handled<H, F>(delivery: Delivery, handle: Arc<H>, settle: mpsc::Sender<(u64, Handled)>)
where
    H: Fn(Delivery) -> F,
    F: Future<Output = Handled>,
{
    let tag = delivery.delivery_tag;
    let handled = AssertUnwindSafe(async { handle(delivery).await })
        .catch_unwind()
        .await;
    settle.send((tag, handled.unwrap_or(Handled::Left))).await.ok();
}

async fn tell(channel: &Channel, words: Vec<Word>) -> Result<(), AmqpError> {
    let nack = |requeue| BasicNackOptions {
        multiple: false,
        requeue,
    };
    for word in words {
        match word {
            Word::Ack(tag) => channel.basic_ack(tag, BasicAckOptions::default()).await,
            Word::AckUpTo(tag) => channel.basic_ack(tag, BasicAckOptions { multiple: true }).await,
            Word::Dead(tag) => channel.basic_nack(tag, nack(false)).await,
            Word::Again(tag) => channel.basic_nack(tag, nack(true)).await,
        }?;
    }
    Ok(())
}
