//! Declaring what `contracts::messaging` names. Declaring twice is declaring once.

use contracts::messaging::{DELIVERY_LIMIT, Route};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use super::{AmqpError, in_time};

/// Declares routes and fanout exchanges, all durable.
///
/// # Errors
/// [`AmqpError`], for example when something of the same name is there with other properties.
pub async fn declare(channel: &Channel, routes: &[Route], fanouts: &[&str]) -> Result<(), AmqpError> {
    for route in routes {
        declare_route(channel, route).await?;
    }
    for fanout in fanouts {
        exchange(channel, fanout, ExchangeKind::Fanout).await?;
    }
    Ok(())
}

/// Declares one route: exchange, queue, and where its dead letters go.
///
/// # Errors
/// As [`declare`].
pub async fn declare_route(channel: &Channel, route: &Route) -> Result<(), AmqpError> {
    exchange(channel, route.dead_exchange, ExchangeKind::Direct).await?;
    queue(channel, route.dead_queue, FieldTable::default()).await?;
    bind(channel, route.dead_queue, route.dead_exchange, route.dead_key).await?;
    exchange(channel, route.exchange, ExchangeKind::Topic).await?;
    let mut arguments = FieldTable::default();
    let text = |text: &str| AMQPValue::LongString(text.into());
    arguments.insert("x-dead-letter-exchange".into(), text(route.dead_exchange));
    arguments.insert("x-dead-letter-routing-key".into(), text(route.dead_key));
    // A message that ends its consumer every time must not do so for ever.
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
    queue(channel, route.queue, arguments).await?;
    bind(channel, route.queue, route.exchange, route.key).await
}

async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind) -> Result<(), AmqpError> {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    in_time(channel.exchange_declare(name.into(), kind, options, FieldTable::default())).await
}

async fn queue(channel: &Channel, name: &str, mut arguments: FieldTable) -> Result<(), AmqpError> {
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    in_time(channel.queue_declare(name.into(), options, arguments)).await?;
    Ok(())
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), AmqpError> {
    let options = QueueBindOptions::default();
    in_time(channel.queue_bind(
        queue.into(),
        exchange.into(),
        key.into(),
        options,
        FieldTable::default(),
    ))
    .await
}
