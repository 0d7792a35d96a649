//! The mistakes of the seed's code that lie in order-service, each with the test that would see it again.
//!
//! Some of them have theirs beside the fault that brings them about:
//! - unroutable lost: `broker::a_message_that_finds_no_queue_is_published_again`
//! - two relays publishing twice: `broker::two_relays_one_frozen_in_the_middle_publish_what_has_its_effect_once`
//! - requeue leaving the order FAILED:
//!   `broker::an_exhausted_message_is_dead_its_order_fails_and_a_requeue_sends_both_again`
//! - poison result looping: `broker::poison_goes_to_the_dead_letters_and_the_queue_flows`

use devstack::proxy::Fault;
use devstack::{RabbitMq, RabbitMqOptions, Signal, TestStack, wait_for};
use lapin::options::BasicConsumeOptions;
use serde_json::json;

use crate::fixture::{PATIENCE, TestResult, World};

#[tokio::test(flavor = "multi_thread")]
async fn cancel_compensation_does_not_replay_the_decrease() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(10).await?;
    let id = world.place(product, 4).await?.id();
    assert_eq!(world.cancel(id).await?.status, 200);
    assert_eq!(
        world.stock(product).await?,
        10,
        "a replayed DEC key would have answered OK and moved nothing"
    );
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn compensation_is_not_skipped_for_the_failing_step() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(10).await?;
    // The step itself fails, after its effect.
    world.way.set(Fault::DropReplies);
    assert_eq!(world.place(product, 4).await?.status, 424);
    assert_eq!(
        world
            .number("SELECT count(*) FROM saga WHERE step = 'VOID'")
            .await?,
        1
    );
    world.way.set(Fault::Pass);
    world.settled(product).await?;
    assert_eq!(world.stock(product).await?, 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_is_pending_for_ever_after_a_5xx() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(10).await?;
    // The product's row is locked by somebody else for longer than the request may take: product-service answers 503.
    let (client, connection) =
        tokio_postgres::connect(&world.stack.database_url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    client
        .batch_execute(&format!(
            "BEGIN; SELECT FROM products WHERE id = {product} FOR UPDATE"
        ))
        .await?;
    let reply = world.place(product, 1).await?;
    assert_eq!(reply.status, 424, "{reply:?}");
    assert_eq!(
        world
            .number("SELECT count(*) FROM orders WHERE status = 'PENDING'")
            .await?,
        0
    );
    client.batch_execute("ROLLBACK").await?;
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_is_rolled_back_while_its_stock_is_taken() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(10).await?;
    world.way.set(Fault::DropReplies);
    let reply = world.place(product, 1).await?;
    let id = reply.body["details"]["orderId"]
        .as_i64()
        .expect("the order is named");
    assert_eq!(
        world.order(id).await?.status,
        200,
        "written before anybody was asked, and still there"
    );
    world.way.set(Fault::Pass);
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_negative_quantity_adds_no_stock() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(10).await?;
    let reply = world
        .post("/v1/orders", &json!({ "productId": product, "quantity": -5 }))
        .await?;
    assert_eq!(
        (reply.status, reply.text("error")),
        (400, "VALIDATION_ERROR"),
        "{reply:?}"
    );
    assert_eq!(world.stock(product).await?, 10);
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_of_a_refusal_arrives_whole() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked_with(10, &json!({ "purchaseLimit": 1 })).await?;
    let body = json!({ "productId": product, "quantity": 2, "buyerId": "b" });
    let reply = world.post("/v1/orders", &body).await?;
    assert_eq!(
        (reply.text("status"), reply.text("failReason")),
        ("FAILED", "PURCHASE_LIMIT_EXCEEDED"),
        "{reply:?}"
    );
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_is_pending_for_ever_after_a_lost_result() -> TestResult {
    let world = World::with_broker(&[("HOTSTOCK__SAGA__PENDING_DEADLINE_MS", "1500")]).await?;
    let product = world.stocked(10).await?;
    // Somebody else takes every other result in, and loses it.
    let (_connection, channel) = world.channel().await?;
    let consumer = channel.basic_consume(
        "order.result.queue".into(),
        "thief".into(),
        BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        },
        Default::default(),
    );
    let _stolen = consumer.await?;
    let ids = world.sale(product, 4).await?;
    for id in ids {
        world.becomes(id, "CONFIRMED").await?;
    }
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_success_is_not_ignored() -> TestResult {
    let world = World::with_broker(&[]).await?;
    let product = world.stocked(1).await?;
    let id = world.place_later(product, 5).await?.id();
    world.becomes(id, "FAILED").await?;
    let more = json!({ "delta": 9, "reason": "MANUAL" });
    let url = format!("{}/v1/products/{product}/stock/adjust", world.product.url());
    reqwest::Client::new()
        .post(url)
        .header("Idempotency-Key", "more")
        .json(&more)
        .send()
        .await?;
    // The same request once more, as a broker may deliver it: now there is stock, and it is taken.
    let request = json!({ "version": 1, "requestId": format!("DEC-{id}"), "orderId": id, "productId": product, "quantity": 5 });
    let (_connection, channel) = world.channel().await?;
    let (exchange, key) = ("stock.request.exchange".into(), "stock.request.key".into());
    let body = request.to_string();
    channel
        .basic_publish(
            exchange,
            key,
            Default::default(),
            body.as_bytes(),
            Default::default(),
        )
        .await?;
    wait_for("the stock to be taken and given back", PATIENCE, async || {
        let books = world
            .stack
            .audit(&[product])
            .await
            .map_err(|error| error.to_string())?
            .remove(0);
        // Initial, adjusted, taken, given back.
        if (books.movements, books.stock) == (4, 10) {
            Ok(())
        } else {
            Err(format!("{books:?}"))
        }
    })
    .await?;
    assert_eq!(world.order(id).await?.text("status"), "FAILED");
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_is_not_marked_sent_without_a_confirm() -> TestResult {
    let broker = RabbitMq::start(RabbitMqOptions::default()).await?;
    let world = World::on(TestStack::shared().await?, Some(broker.clone()), &[]).await?;
    let product = world.stocked(10).await?;
    let first = world.place_later(product, 1).await?.id();
    world.becomes(first, "CONFIRMED").await?;
    // It takes what is sent and confirms nothing.
    broker.signal(Signal::STOP)?;
    world.place_later(product, 1).await?;
    wait_for("the relay to give up waiting", PATIENCE, async || {
        match world
            .number("SELECT count(*) FROM outbox WHERE status = 'FAILED'")
            .await
        {
            Ok(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    broker.signal(Signal::CONT)?;
    world.settled(product).await?;
    assert_eq!(world.stock(product).await?, 8);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_20_orders_a_second_go_through_the_outbox() -> TestResult {
    let world = World::with_broker(&[]).await?;
    let product = world.stocked(1000).await?;
    let started = std::time::Instant::now();
    world.sale(product, 500).await?;
    wait_for("all to be confirmed", PATIENCE, async || {
        match world.count("CONFIRMED").await {
            Ok(500) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    // One row per 50 ms would take 25 s.
    assert!(started.elapsed().as_secs() < 12, "{:?}", started.elapsed());
    world.settled(product).await
}
