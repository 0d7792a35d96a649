//! The mistakes of the seed's code that lie in order-service, each with the test that would see it again.

use devstack::proxy::Fault;
use serde_json::json;

use crate::fixture::{TestResult, World};

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
