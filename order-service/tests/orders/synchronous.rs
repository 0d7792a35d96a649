//! v1: the saga within the request.

use devstack::proxy::Fault;
use serde_json::json;

use crate::fixture::{TestResult, World};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_confirmed_and_its_stock_is_taken() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(10).await?;
    let reply = world
        .post(
            "/v1/orders",
            &json!({ "productId": product, "quantity": 3, "buyerId": "b" }),
        )
        .await?;
    assert_eq!(reply.status, 201, "{reply:?}");
    assert_eq!(
        (reply.text("status"), reply.text("flow"), reply.text("buyerId")),
        ("CONFIRMED", "SYNC", "b")
    );
    assert_eq!(
        reply.headers["location"],
        format!("/v1/orders/{}", reply.id()).as_str()
    );
    assert_eq!(world.stock(product).await?, 7);
    let shown = world.order(reply.id()).await?;
    assert_eq!((shown.status, &shown.body), (200, &reply.body));
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_fails_the_order_and_says_why() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(1).await?;
    let closed = world
        .stocked_with(5, &json!({ "saleEndsAt": "2001-01-01T00:00:00Z" }))
        .await?;
    for (product, quantity, reason) in [
        (product, 2, "INSUFFICIENT_STOCK"),
        (closed, 1, "SALE_NOT_OPEN"),
        (product + 1_000, 1, "PRODUCT_NOT_FOUND"),
    ] {
        let reply = world.place(product, quantity).await?;
        assert_eq!(
            (reply.status, reply.text("status"), reply.text("failReason")),
            (201, "FAILED", reason),
            "{reply:?}"
        );
    }
    // A refused order took nothing: there is nothing to give back.
    assert_eq!(world.number("SELECT count(*) FROM saga").await?, 0);
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn product_service_out_of_reach_is_424_and_the_void_is_acknowledged_later() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(5).await?;
    world.way.set(Fault::Refuse);
    let reply = world.place(product, 1).await?;
    assert_eq!(
        (reply.status, reply.text("error")),
        (424, "DEPENDENCY_FAILED"),
        "{reply:?}"
    );
    let id = reply.body["details"]["orderId"]
        .as_i64()
        .expect("the order is named");
    let order = world.order(id).await?;
    assert_eq!(
        (order.text("status"), order.text("failReason")),
        ("FAILED", "DEPENDENCY_FAILED")
    );
    assert_eq!(
        world
            .number("SELECT count(*) FROM saga WHERE step = 'VOID'")
            .await?,
        1
    );
    world.way.set(Fault::Pass);
    world.settled(product).await?;
    assert_eq!(world.stock(product).await?, 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_once_is_asked_for_again_under_the_same_key() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(5).await?;
    world.way.set(Fault::DropReplies);
    let (placed, ()) = tokio::join!(world.place(product, 2), async {
        // The stock is taken, and nobody hears of it.
        devstack::wait_for(
            "the stock to be taken",
            crate::fixture::PATIENCE,
            async || match world.stock(product).await {
                Ok(3) => Ok(()),
                other => Err(format!("{other:?}")),
            },
        )
        .await
        .expect("taken");
        world.way.set(Fault::Pass);
    });
    let reply = placed?;
    assert_eq!(
        (reply.status, reply.text("status")),
        (201, "CONFIRMED"),
        "{reply:?}"
    );
    assert_eq!(world.stock(product).await?, 3, "taken once");
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_taken_under_a_lost_answer_comes_back_when_the_order_has_failed() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(5).await?;
    world.way.set(Fault::DropReplies);
    let reply = world.place(product, 2).await?;
    assert_eq!(reply.status, 424, "{reply:?}");
    assert_eq!(
        world.stock(product).await?,
        3,
        "taken by an order that has failed"
    );
    world.way.set(Fault::Pass);
    world.settled(product).await?;
    assert_eq!(world.stock(product).await?, 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn n_units_and_more_buyers_confirm_exactly_n() -> TestResult {
    let world = World::start().await?;
    let product = world
        .stocked_with(20, &json!({ "stockStrategy": "REDIS_FIRST" }))
        .await?;
    let replies = futures_util::future::join_all((0..60).map(|_| world.place(product, 1))).await;
    let mut confirmed = 0;
    for reply in replies {
        let reply = reply?;
        assert_eq!(reply.status, 201, "{reply:?}");
        match reply.text("status") {
            "CONFIRMED" => confirmed += 1,
            status => assert_eq!(
                (status, reply.text("failReason")),
                ("FAILED", "INSUFFICIENT_STOCK")
            ),
        }
    }
    assert_eq!(confirmed, 20);
    world.settled(product).await
}
