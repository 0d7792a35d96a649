//! What may happen to messages and to the broker.

use std::time::Duration;

use anyhow::{Context, Result};
use devstack::proxy::Fault;
use devstack::{RabbitMq, RabbitMqOptions, Signal, TestStack, wait_for};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeleteOptions};
use reqwest::Method;
use serde_json::json;

use crate::fixture::{PATIENCE, TestResult, World};

/// Publishes to an exchange, as somebody who does not know the rules.
async fn publish(world: &World, exchange: &str, key: &str, body: &[u8]) -> TestResult {
    let (_connection, channel) = world.channel().await?;
    channel.confirm_select(Default::default()).await?;
    let options = BasicPublishOptions::default();
    let confirm = channel.basic_publish(
        exchange.into(),
        key.into(),
        options,
        body,
        BasicProperties::default(),
    );
    assert!(confirm.await?.await?.is_ack());
    Ok(())
}

async fn until_lying_in(world: &World, queue: &str, messages: u32) -> TestResult {
    wait_for("messages in a queue", PATIENCE, async || {
        match world.lying_in(queue).await {
            Ok(found) if found == messages => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_in_the_middle_of_a_sale_loses_nothing() -> TestResult {
    let broker = RabbitMq::start(RabbitMqOptions::default()).await?;
    let world = World::on(TestStack::shared().await?, Some(broker.clone()), &[]).await?;
    let product = world.stocked(1000).await?;
    world.sale(product, 100).await?;
    world.sale(product, 100).await?;
    world.kill_broker().await?;
    world.sale(product, 100).await?;
    broker.restart().await?;
    world.sale(product, 100).await?;
    world.settled(product).await?;
    assert_eq!((world.count("CONFIRMED").await?, world.unsent().await?), (400, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_broker_only_delays() -> TestResult {
    let broker = RabbitMq::start(RabbitMqOptions::default()).await?;
    let world = World::on(TestStack::shared().await?, Some(broker.clone()), &[]).await?;
    let product = world.stocked(1000).await?;
    world.sale(product, 50).await?;
    broker.signal(Signal::STOP)?;
    world.sale(product, 50).await?;
    wait_for("the relay to have tried", PATIENCE, async || {
        match world
            .number("SELECT count(*) FROM outbox WHERE status = 'FAILED'")
            .await
        {
            Ok(1..) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    broker.signal(Signal::CONT)?;
    world.settled(product).await?;
    assert_eq!(
        (world.count("CONFIRMED").await?, world.stock(product).await?),
        (100, 900)
    );
    Ok(())
}

/// The broker has the messages, and its confirms are lost with the connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_between_publish_and_confirm_costs_no_order_and_doubles_none() -> TestResult {
    let world = World::with_broker(&[]).await?;
    let way = world.way_to_broker.as_ref().context("a broker")?;
    let product = world.stocked(1000).await?;
    world.sale(product, 50).await?;
    for _ in 0..2 {
        let swallowed = way.hits().bytes;
        way.set(Fault::DropReplies);
        world.sale(product, 50).await?;
        // Published: they lie in the queue, or have been asked for. Not confirmed: the rows say so.
        wait_for("confirms to be swallowed", PATIENCE, async || {
            let unsent = world.unsent().await.map_err(|error| error.to_string())?;
            let bytes = way.hits().bytes - swallowed;
            (unsent > 0 && bytes > 0)
                .then_some(())
                .ok_or(format!("{unsent} unsent, {bytes} bytes swallowed"))
        })
        .await?;
        let cut = way.hits().connections;
        way.set(Fault::Reset);
        wait_for("connections to be cut", PATIENCE, async || {
            let more = way.hits().connections - cut;
            (more > 3).then_some(()).ok_or(format!("{more} cut"))
        })
        .await?;
        way.set(Fault::Pass);
        world.settled(product).await?;
    }
    assert_eq!((world.count("CONFIRMED").await?, world.unsent().await?), (150, 0));
    assert_eq!(world.stock(product).await?, 850);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_that_vanish_are_declared_again() -> TestResult {
    let world = World::with_broker(&[("HOTSTOCK__SAGA__PENDING_DEADLINE_MS", "2000")]).await?;
    let product = world.stocked(1000).await?;
    for queue in ["stock.request.queue", "order.result.queue"] {
        world.sale(product, 20).await?;
        let (_connection, channel) = world.channel().await?;
        channel
            .queue_delete(queue.into(), QueueDeleteOptions::default())
            .await?;
        world.sale(product, 20).await?;
        // What lay in the queue is gone with it; those orders are asked for over HTTP.
        world.settled(product).await?;
        assert_eq!(world.lying_in(queue).await?, 0, "it is there again");
    }
    assert_eq!(world.count("CONFIRMED").await?, 80);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_goes_to_the_dead_letters_and_the_queue_flows() -> TestResult {
    let world = World::with_broker(&[]).await?;
    let product = world.stocked(100).await?;
    let request = |version: u32, quantity: i64| {
        json!({ "version": version, "requestId": "DEC-1", "orderId": 1, "productId": product, "quantity": quantity })
            .to_string()
            .into_bytes()
    };
    let large = vec![b'x'; 1_000_000];
    let poison = [
        b"not json".to_vec(),
        Vec::new(),
        request(9, 1),
        request(1, -1),
        large,
    ];
    let before = world.sale(product, 10).await?;
    for body in &poison {
        publish(&world, "stock.request.exchange", "stock.request.key", body).await?;
        publish(&world, "order.result.exchange", "order.result.key", body).await?;
    }
    let after = world.sale(product, 10).await?;
    for id in before.iter().chain(&after) {
        world.becomes(*id, "CONFIRMED").await?;
    }
    until_lying_in(&world, "stock.request.dlq", 5).await?;
    until_lying_in(&world, "order.result.dlq", 5).await?;
    assert_eq!(
        world.stock(product).await?,
        80,
        "a negative quantity adds nothing"
    );
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_delivered_three_times_has_its_effect_once() -> TestResult {
    let world = World::with_broker(&[]).await?;
    let product = world.stocked(100).await?;
    let ids = world.sale(product, 30).await?;
    for id in &ids {
        world.becomes(*id, "CONFIRMED").await?;
    }
    let request = |id: &i64| json!({ "version": 1, "requestId": format!("DEC-{id}"), "orderId": id, "productId": product, "quantity": 1 });
    let result = |id: &i64| {
        json!({
            "version": 1, "requestId": format!("DEC-{id}"), "orderId": id, "productId": product,
            "success": true, "error": null,
        })
    };
    // Newest first, and the results of some before the results of others.
    for id in ids.iter().rev() {
        for _ in 0..2 {
            let body = request(id).to_string();
            publish(
                &world,
                "stock.request.exchange",
                "stock.request.key",
                body.as_bytes(),
            )
            .await?;
            let body = result(id).to_string();
            publish(
                &world,
                "order.result.exchange",
                "order.result.key",
                body.as_bytes(),
            )
            .await?;
        }
    }
    for queue in ["stock.request.queue", "order.result.queue"] {
        until_lying_in(&world, queue, 0).await?;
    }
    world.settled(product).await?;
    assert_eq!(
        (world.count("CONFIRMED").await?, world.stock(product).await?),
        (30, 70)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_finds_no_queue_is_published_again() -> TestResult {
    let world = World::with_broker(&[]).await?;
    let product = world.stocked(10).await?;
    let first = world.place_later(product, 1).await?.id();
    world.becomes(first, "CONFIRMED").await?;
    world.unbind_requests().await?;
    let second = world.place_later(product, 1).await?.id();
    world.becomes(second, "CONFIRMED").await?;
    assert_eq!(
        world.number("SELECT max(attempts)::bigint FROM outbox").await?,
        1,
        "returned once, then routed"
    );
    world.settled(product).await
}

impl World {
    /// A message could not be delivered, and its order failed: the product and that order.
    pub(crate) async fn with_an_order_given_up() -> Result<(Self, i64, i64)> {
        let world = Self::with_broker(&[("HOTSTOCK__OUTBOX__ATTEMPTS_MAX", "1")]).await?;
        let product = world.stocked(10).await?;
        let first = world.place_later(product, 1).await?.id();
        world.becomes(first, "CONFIRMED").await?;
        world.unbind_requests().await?;
        let id = world.place_later(product, 2).await?.id();
        world.becomes(id, "FAILED").await?;
        Ok((world, product, id))
    }

    /// Removes the binding that leads requests to their queue.
    pub(crate) async fn unbind_requests(&self) -> TestResult {
        let (_connection, channel) = self.channel().await?;
        let (queue, exchange, key) = (
            "stock.request.queue",
            "stock.request.exchange",
            "stock.request.key",
        );
        channel
            .queue_unbind(queue.into(), exchange.into(), key.into(), Default::default())
            .await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_message_is_dead_its_order_fails_and_a_requeue_sends_both_again() -> TestResult {
    let (world, product, id) = World::with_an_order_given_up().await?;
    let failed = world.becomes(id, "FAILED").await?;
    assert_eq!(failed["failReason"], "OUTBOX_RETRY_EXHAUSTED");
    world.settled(product).await?;
    let dead = world.admin(Method::GET, "/admin/outbox?status=DEAD").await?;
    assert_eq!(
        (&dead.body["totalElements"], &dead.body["content"][0]["orderId"]),
        (&json!(1), &json!(id)),
        "{dead:?}"
    );
    assert!(
        dead.body["content"][0]["lastError"]
            .as_str()
            .is_some_and(|why| why.contains("NO_ROUTE")),
        "{dead:?}"
    );
    let message = dead.body["content"][0]["id"].as_i64().expect("an id");
    let requeued = world
        .admin(Method::POST, &format!("/admin/outbox/{message}/requeue"))
        .await?;
    assert_eq!(
        (requeued.status, &requeued.body["attempts"]),
        (202, &json!(0)),
        "{requeued:?}"
    );
    world.becomes(id, "CONFIRMED").await?;
    world.settled(product).await?;
    assert_eq!(world.stock(product).await?, 7);
    let sent = world
        .admin(Method::POST, &format!("/admin/outbox/{message}/requeue"))
        .await?;
    assert_eq!(
        (sent.status, sent.text("error")),
        (400, "INVALID_STATE"),
        "{sent:?}"
    );
    let none = world.admin(Method::POST, "/admin/outbox/999999/requeue").await?;
    assert_eq!(none.status, 404, "{none:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_one_frozen_in_the_middle_publish_what_has_its_effect_once() -> TestResult {
    let world = World::with_broker(&[("HOTSTOCK__OUTBOX__BATCH_MAX", "5")]).await?;
    let other = world.another().await?;
    let product = world.stocked(1000).await?;
    for _ in 0..3 {
        let frozen = async {
            tokio::time::timeout(Duration::from_millis(30), std::future::pending::<()>())
                .await
                .ok();
            other.signal(Signal::STOP)
        };
        let (sale, frozen) = tokio::join!(world.sale(product, 100), frozen);
        sale?;
        frozen?;
        wait_for(
            "the other relay to drain the outbox",
            PATIENCE,
            async || match world.unsent().await {
                Ok(0) => Ok(()),
                left => Err(format!("{left:?}")),
            },
        )
        .await?;
        other.signal(Signal::CONT)?;
    }
    world.settled(product).await?;
    assert_eq!(
        (world.count("CONFIRMED").await?, world.stock(product).await?),
        (300, 700)
    );
    Ok(())
}

/// A yes after the void, a no after the yes, the newest order first: none of them says more than it means.
#[tokio::test(flavor = "multi_thread")]
async fn results_in_another_order_than_they_were_decided_in_change_nothing() -> TestResult {
    let world = World::with_broker(&[]).await?;
    let product = world.stocked(20).await?;
    let ids = world.sale(product, 10).await?;
    for id in &ids {
        world.becomes(*id, "CONFIRMED").await?;
    }
    let result = |id: i64, error: Option<&str>| {
        json!({
            "version": 1, "requestId": format!("DEC-{id}"), "orderId": id, "productId": product,
            "success": error.is_none(), "error": error,
        })
        .to_string()
    };
    // Of these the stock is back, or on its way.
    for id in &ids[..5] {
        assert_eq!(world.cancel(*id).await?.status, 200);
    }
    for id in ids.iter().rev() {
        for said in [
            result(*id, None),
            result(*id, Some("INSUFFICIENT_STOCK")),
            result(*id, None),
        ] {
            publish(
                &world,
                "order.result.exchange",
                "order.result.key",
                said.as_bytes(),
            )
            .await?;
        }
    }
    until_lying_in(&world, "order.result.queue", 0).await?;
    // One more, behind all of them.
    let last = world.place_later(product, 1).await?.id();
    world.becomes(last, "CONFIRMED").await?;
    world.settled(product).await?;
    assert_eq!(
        (world.count("CONFIRMED").await?, world.count("CANCELLED").await?),
        (6, 5)
    );
    assert_eq!(world.stock(product).await?, 14);
    Ok(())
}
