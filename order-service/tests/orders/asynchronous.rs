//! v2: by message, when everything is well or product-service is not.

use devstack::{RabbitMq, RabbitMqOptions, TestStack, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{PATIENCE, Reply, TestResult, World};

impl World {
    /// `POST /v2/orders` of one product.
    pub(crate) async fn place_later(&self, product: i64, quantity: i64) -> anyhow::Result<Reply> {
        let reply = self
            .post(
                "/v2/orders",
                &json!({ "productId": product, "quantity": quantity }),
            )
            .await?;
        assert_eq!(
            (reply.status, reply.text("status"), reply.text("flow")),
            (202, "PENDING", "ASYNC"),
            "{reply:?}"
        );
        Ok(reply)
    }

    /// So many orders at once; the ids of those that were let in.
    pub(crate) async fn sale(&self, product: i64, orders: usize) -> anyhow::Result<Vec<i64>> {
        let body = json!({ "productId": product, "quantity": 1 });
        let replies =
            futures_util::future::join_all((0..orders).map(|_| self.post("/v2/orders", &body))).await;
        let mut ids = Vec::new();
        for reply in replies {
            let reply = reply?;
            match reply.status {
                202 => ids.push(reply.id()),
                _ => assert_eq!(
                    (reply.status, reply.text("error")),
                    (400, "INSUFFICIENT_STOCK"),
                    "{reply:?}"
                ),
            }
        }
        Ok(ids)
    }

    pub(crate) async fn count(&self, status: &str) -> anyhow::Result<i64> {
        self.number(&format!("SELECT count(*) FROM orders WHERE status = '{status}'"))
            .await
    }

    pub(crate) async fn unsent(&self) -> anyhow::Result<i64> {
        self.number("SELECT count(*) FROM outbox WHERE status <> 'SENT'")
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_accepted_at_once_and_confirmed_by_message() -> TestResult {
    let world = World::with_broker(&[]).await?;
    let product = world.stocked(10).await?;
    let reply = world.place_later(product, 3).await?;
    assert_eq!(
        reply.headers["location"],
        format!("/v1/orders/{}", reply.id()).as_str()
    );
    world.becomes(reply.id(), "CONFIRMED").await?;
    assert_eq!(world.stock(product).await?, 7);
    let without_version = world
        .post("/orders", &json!({ "productId": product, "quantity": 1 }))
        .await?;
    assert_eq!(
        (without_version.status, without_version.text("flow")),
        (202, "ASYNC")
    );
    let too_many = world.place_later(product, 100).await?;
    let failed: Value = world.becomes(too_many.id(), "FAILED").await?;
    assert_eq!(failed["failReason"], "INSUFFICIENT_STOCK");
    world.settled(product).await?;
    assert_eq!(world.unsent().await?, 0);
    for service in [&world.order, &world.product] {
        let ready: Value = reqwest::get(format!("{}/readyz", service.url()))
            .await?
            .json()
            .await?;
        assert_eq!(ready["checks"]["rabbitmq"], "ok", "{ready}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_sale_exactly_n_are_confirmed_and_the_outbox_drains() -> TestResult {
    let world = World::with_broker(&[]).await?;
    let product = world
        .stocked_with(100, &json!({ "stockStrategy": "REDIS_FIRST" }))
        .await?;
    let let_in = i64::try_from(world.sale(product, 300).await?.len())?;
    world.settled(product).await?;
    assert_eq!(
        (world.count("CONFIRMED").await?, world.count("FAILED").await?),
        (100, let_in - 100)
    );
    assert_eq!(world.unsent().await?, 0);
    assert_eq!(
        world.lying_in("stock.request.dlq").await? + world.lying_in("order.result.dlq").await?,
        0
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_product_service_is_down_orders_wait_and_then_confirm() -> TestResult {
    let world = World::with_broker(&[]).await?;
    let product = world.stocked(50).await?;
    world.product.kill()?;
    world.sale(product, 20).await?;
    assert_eq!(world.count("PENDING").await?, 20);
    world.product.restart().await?;
    world.settled(product).await?;
    assert_eq!(world.count("CONFIRMED").await?, 20);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_orders_are_asked_for_over_http_past_their_deadline() -> TestResult {
    let broker = RabbitMq::start(RabbitMqOptions::default()).await?;
    let settings = [("HOTSTOCK__SAGA__PENDING_DEADLINE_MS", "500")];
    let world = World::on(TestStack::shared().await?, Some(broker), &settings).await?;
    let product = world.stocked(50).await?;
    world.kill_broker().await?;
    let ids = world.sale(product, 20).await?;
    for id in &ids {
        world.becomes(*id, "CONFIRMED").await?;
    }
    // Their messages are still there. Published late, they are replays and change nothing.
    assert_eq!(world.unsent().await?, 20);
    assert_eq!(
        world.number("SELECT max(attempts)::bigint FROM outbox").await?,
        0,
        "nothing was tried"
    );
    world.broker.as_ref().expect("ours").restart().await?;
    wait_for("the outbox to drain", PATIENCE, async || {
        match world.unsent().await {
            Ok(0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    world.settled(product).await?;
    assert_eq!(
        (world.count("CONFIRMED").await?, world.stock(product).await?),
        (20, 30)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_nobody_answers_fails_in_the_end_and_owns_nothing() -> TestResult {
    let settings = [
        ("HOTSTOCK__SAGA__PENDING_DEADLINE_MS", "300"),
        ("HOTSTOCK__SAGA__TRIES_MAX", "2"),
        ("HOTSTOCK__SAGA__RETRY_MAX_MS", "500"),
    ];
    let world = World::with_broker(&settings).await?;
    let product = world.stocked(10).await?;
    world.product.signal(devstack::Signal::STOP)?;
    let id = world.place_later(product, 4).await?.id();
    let failed = world.becomes(id, "FAILED").await?;
    assert_eq!(failed["failReason"], "DEPENDENCY_FAILED");
    // Now it gets all at once: the message, what was asked over HTTP, and the void. In any order.
    world.product.signal(devstack::Signal::CONT)?;
    world.settled(product).await?;
    wait_for("the stock to be back", PATIENCE, async || {
        match world.stock(product).await {
            Ok(10) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    assert_eq!(
        world.order(id).await?.text("status"),
        "FAILED",
        "a late success changes nothing"
    );
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_order_of_v2_goes_by_message_under_its_next_key() -> TestResult {
    let world = World::with_broker(&[]).await?;
    let product = world.stocked(1).await?;
    let id = world.place_later(product, 2).await?.id();
    world.becomes(id, "FAILED").await?;
    let more = json!({ "delta": 5, "reason": "MANUAL" });
    let url = format!("{}/v1/products/{product}/stock/adjust", world.product.url());
    let adjusted = reqwest::Client::new()
        .post(url)
        .header("Idempotency-Key", "more")
        .json(&more)
        .send()
        .await?;
    assert_eq!(adjusted.status(), 200);
    let retried = world
        .admin(Method::POST, &format!("/admin/orders/{id}/retry"))
        .await?;
    assert_eq!(retried.status, 202, "{retried:?}");
    world.becomes(id, "CONFIRMED").await?;
    let sold = world.stack.sold_request_ids(&[product]).await?;
    assert!(sold.contains(&format!("DEC-{id}-1")), "{sold:?}");
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sent_messages_are_purged_when_they_are_old_enough() -> TestResult {
    let world = World::with_broker(&[("HOTSTOCK__OUTBOX__KEEP_S", "0")]).await?;
    let product = world.stocked(50).await?;
    world.sale(product, 20).await?;
    world.settled(product).await?;
    wait_for("an empty outbox", PATIENCE, async || {
        match world.number("SELECT count(*) FROM outbox").await {
            Ok(0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_context_of_a_request_goes_with_its_message_and_with_the_result() -> TestResult {
    const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let world = World::with_broker(&[]).await?;
    let product = world.stocked(10).await?;
    // Somebody listens, on both ways.
    let (_connection, channel) = world.channel().await?;
    for side in ["stock.request", "order.result"] {
        let copies = format!("copies of {side}");
        channel
            .queue_declare(copies.as_str().into(), Default::default(), Default::default())
            .await?;
        let (exchange, key) = (format!("{side}.exchange"), format!("{side}.key"));
        let (exchange, key) = (exchange.as_str().into(), key.as_str().into());
        channel
            .queue_bind(
                copies.as_str().into(),
                exchange,
                key,
                Default::default(),
                Default::default(),
            )
            .await?;
    }
    let body = json!({ "productId": product, "quantity": 1 });
    let order = world
        .ask(Method::POST, "/v2/orders")
        .header("traceparent", CONTEXT);
    let id = Reply::to(order.json(&body)).await?.id();
    world.becomes(id, "CONFIRMED").await?;
    for side in ["stock.request", "order.result"] {
        let copies = format!("copies of {side}");
        let copy = channel
            .basic_get(copies.as_str().into(), Default::default())
            .await?;
        let copy = copy.unwrap_or_else(|| panic!("no {side} message"));
        let context = platform::amqp::trace_context(&copy.delivery);
        assert_eq!(context, CONTEXT.parse().ok(), "{side}");
    }
    world.settled(product).await
}
