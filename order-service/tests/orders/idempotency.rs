//! Placing an order again under the same `Idempotency-Key`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{Reply, TestResult, World};

async fn place(world: &World, path: &str, key: &str, body: &Value) -> anyhow::Result<Reply> {
    Reply::to(
        world
            .ask(Method::POST, path)
            .header("Idempotency-Key", key)
            .json(body),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_and_body_are_the_same_order_on_every_path() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(10).await?;
    let body = json!({ "productId": product, "quantity": 2, "buyerId": "b" });
    let first = place(&world, "/v1/orders", "k-1", &body).await?;
    assert_eq!(
        (first.status, first.text("status")),
        (201, "CONFIRMED"),
        "{first:?}"
    );
    assert!(!first.headers.contains_key("idempotency-replayed"));
    for (path, status) in [("/v1/orders", 201), ("/v2/orders", 202), ("/orders", 202)] {
        let again = place(&world, path, "\"k-1\"", &body).await?;
        assert_eq!((again.status, &again.body), (status, &first.body), "{again:?}");
        assert_eq!(again.headers["idempotency-replayed"], "true");
    }
    assert_eq!(world.stock(product).await?, 8);
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_with_another_body_is_refused() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(10).await?;
    let body = json!({ "productId": product, "quantity": 2 });
    place(&world, "/v1/orders", "k-2", &body).await?;
    for other in [
        json!({ "productId": product, "quantity": 3 }),
        json!({ "productId": product + 1, "quantity": 2 }),
        json!({ "productId": product, "quantity": 2, "buyerId": "b" }),
    ] {
        let reply = place(&world, "/v1/orders", "k-2", &other).await?;
        assert_eq!(
            (reply.status, reply.text("error")),
            (422, "IDEMPOTENCY_KEY_REUSED"),
            "{reply:?}"
        );
    }
    assert_eq!(world.stock(product).await?, 8);
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_at_once_are_one_order_and_both_get_its_outcome() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(100).await?;
    let body = json!({ "productId": product, "quantity": 1 });
    for round in 0..5 {
        let key = format!("twins-{round}");
        let twins =
            futures_util::future::join_all((0..8).map(|_| place(&world, "/v1/orders", &key, &body))).await;
        let twins: Vec<Reply> = twins.into_iter().collect::<Result<_, _>>()?;
        for twin in &twins {
            assert_eq!((twin.status, twin.text("status")), (201, "CONFIRMED"), "{twin:?}");
            assert_eq!(twin.id(), twins[0].id());
        }
    }
    assert_eq!(world.stock(product).await?, 95);
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_keys_and_bodies_are_refused_in_both_languages() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(1).await?;
    let good = json!({ "productId": product, "quantity": 1 });
    let reply = place(&world, "/v1/orders", "a b", &good).await?;
    assert_eq!(
        (reply.status, reply.text("error")),
        (400, "VALIDATION_ERROR"),
        "{reply:?}"
    );
    for (body, error) in [
        (json!({ "productId": product, "quantity": 0 }), "VALIDATION_ERROR"),
        (
            json!({ "productId": product, "quantity": -1 }),
            "VALIDATION_ERROR",
        ),
        (json!({ "productId": 0, "quantity": 1 }), "VALIDATION_ERROR"),
        (
            json!({ "productId": product, "quantity": 1, "price": 1 }),
            "BAD_REQUEST",
        ),
        (json!([product, 1]), "BAD_REQUEST"),
        (json!({ "productId": product }), "BAD_REQUEST"),
    ] {
        let request = world
            .ask(Method::POST, "/v2/orders")
            .header("Accept-Language", "ko")
            .json(&body);
        let reply = Reply::to(request).await?;
        assert_eq!((reply.status, reply.text("error")), (400, error), "{reply:?}");
        assert!(!reply.text("message").is_ascii(), "{reply:?}");
    }
    assert_eq!(world.number("SELECT count(*) FROM orders").await?, 0);
    world.settled(product).await
}
