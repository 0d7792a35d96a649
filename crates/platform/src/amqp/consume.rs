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
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use contracts::messaging::{Route, TRACE_CONTEXT, TRACE_CONTEXT_MAX};

use super::{AmqpError, Link, connect, declare_route, in_time, topology};
use crate::config::Secret;

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
    pub url: Secret,
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
        let handle = Arc::new(handle);
        loop {
            // Of this connection: its messages can be acknowledged on it only.
            let under_way = TaskTracker::new();
            let ended = tokio::select! {
                ended = self.consume(&under_way, &handle) => ended,
                () = self.stop.cancelled() => return,
            };
            match ended {
                Ok(Some(_connection)) => {
                    // The service stops. The connection stays until everything is acknowledged.
                    under_way.close();
                    under_way.wait().await;
                    return;
                }
                Ok(None) => self.link.down(self.name, &"the queue or the connection is gone"),
                Err(error) => self.link.down(self.name, &error),
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    /// Until the connection breaks (`None`), or the service stops (the connection).
    async fn consume<H, F>(
        &self,
        under_way: &TaskTracker,
        handle: &Arc<H>,
    ) -> Result<Option<Connection>, AmqpError>
    where
        H: Fn(Delivery) -> F + Send + Sync + 'static,
        F: Future<Output = Handled> + Send + 'static,
    {
        let connection = connect(&self.url, self.name).await?;
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
        let mut deliveries = in_time(consumer).await?;
        self.link.up(self.name);
        loop {
            let delivery = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(Some(connection)),
                delivery = deliveries.next() => delivery,
            };
            match delivery {
                Some(Ok(delivery)) => {
                    under_way.spawn(settle(delivery, Arc::clone(handle)));
                }
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(None),
            }
        }
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

/// The W3C trace context a message came with, if it is one that can be passed on: visible ASCII of a sane length.
#[must_use]
pub fn trace_context(delivery: &Delivery) -> Option<String> {
    let headers = delivery.properties.headers().as_ref()?;
    let bytes = match headers.inner().get(TRACE_CONTEXT)? {
        AMQPValue::LongString(text) => text.as_bytes(),
        AMQPValue::ShortString(text) => text.as_str().as_bytes(),
        _ => return None,
    };
    let text = std::str::from_utf8(bytes).ok()?;
    let is_sane = text.len() <= TRACE_CONTEXT_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_sane.then(|| text.to_owned())
}

async fn settle<H, F>(delivery: Delivery, handle: Arc<H>)
where
    H: Fn(Delivery) -> F,
    F: Future<Output = Handled>,
{
    let acker = delivery.acker.clone();
    let handled = AssertUnwindSafe(async { handle(delivery).await })
        .catch_unwind()
        .await;
    let nack = |requeue| BasicNackOptions {
        multiple: false,
        requeue,
    };
    // Where this fails the connection is gone, and the message is delivered again.
    match handled {
        Ok(Handled::Done) => acker.ack(BasicAckOptions::default()).await,
        Ok(Handled::Dead) => acker.nack(nack(false)).await,
        Ok(Handled::Left) | Err(_) => acker.nack(nack(true)).await,
    }
    .ok();
}
