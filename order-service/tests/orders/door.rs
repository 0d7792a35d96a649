//! Sold out at the door: orders of a product that has nothing left are turned away without a row.

use devstack::wait_for;
use reqwest::Method;
use serde_json::json;

use crate::fixture::{PATIENCE, Reply, TestResult, World};

/// Orders until one is turned away at the door; nothing of it is written.
async fn until_turned_away(world: &World, product: i64) -> TestResult {
    wait_for("the door to close", PATIENCE, async || {
        let before = world
            .number("SELECT count(*) FROM orders")
            .await
            .map_err(|error| error.to_string())?;
        let body = json!({ "productId": product, "quantity": 1 });
        let reply = world
            .post("/v2/orders", &body)
            .await
            .map_err(|error| error.to_string())?;
        let after = world
            .number("SELECT count(*) FROM orders")
            .await
            .map_err(|error| error.to_string())?;
        if reply.status == 400 && before == after {
            Ok(reply)
        } else {
            Err(format!("{reply:?}"))
        }
    })
    .await
    .map(|reply| {
        assert_eq!(reply.text("error"), "INSUFFICIENT_STOCK");
        assert_eq!(
            reply.body["details"],
            json!({ "productId": product, "remainingStock": 0 })
        );
    })
}

/// Orders until one is let in.
async fn until_let_in(world: &World, product: i64) -> anyhow::Result<i64> {
    wait_for("the door to open", PATIENCE, async || {
        let body = json!({ "productId": product, "quantity": 1 });
        let reply = world
            .post("/v2/orders", &body)
            .await
            .map_err(|error| error.to_string())?;
        if reply.status == 202 {
            Ok(reply.id())
        } else {
            Err(format!("{reply:?}"))
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sold_out_product_is_turned_away_and_a_cancel_opens_the_door_again() -> TestResult {
    // Never forgotten: it is the word of new stock that opens the door.
    let world = World::with_broker(&[("HOTSTOCK__ORDERS__SOLD_OUT_TTL_MS", "60000")]).await?;
    let product = world.stocked(1).await?;
    let id = world.place_later(product, 1).await?.id();
    world.becomes(id, "CONFIRMED").await?;
    until_turned_away(&world, product).await?;
    let synchronous = world.place(product, 1).await?;
    assert_eq!(
        (synchronous.status, synchronous.text("error")),
        (400, "INSUFFICIENT_STOCK"),
        "{synchronous:?}"
    );
    assert_eq!(world.cancel(id).await?.status, 200);
    let next = until_let_in(&world, product).await?;
    world.becomes(next, "CONFIRMED").await?;
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_word_of_new_stock_delays_for_a_moment_only() -> TestResult {
    let world = World::with_broker(&[]).await?;
    let product = world.stocked(5).await?;
    let (_connection, channel) = world.channel().await?;
    // There is stock, and the last that was heard says otherwise.
    let lie = json!({ "version": 1, "productId": product, "soldOut": true }).to_string();
    let publish = async || -> TestResult {
        let exchange = "stock.availability.exchange".into();
        channel
            .basic_publish(
                exchange,
                "".into(),
                Default::default(),
                lie.as_bytes(),
                Default::default(),
            )
            .await?;
        Ok(())
    };
    wait_for("the lie to be believed", PATIENCE, async || {
        publish().await.map_err(|error| error.to_string())?;
        let body = json!({ "productId": product, "quantity": 1000 });
        let reply = world
            .post("/v2/orders", &body)
            .await
            .map_err(|error| error.to_string())?;
        if reply.status == 400 {
            Ok(())
        } else {
            Err(format!("{reply:?}"))
        }
    })
    .await?;
    let started = std::time::Instant::now();
    let id = until_let_in(&world, product).await?;
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    world.becomes(id, "CONFIRMED").await?;
    world.settled(product).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_of_a_sold_out_product_gets_its_order() -> TestResult {
    let world = World::with_broker(&[("HOTSTOCK__ORDERS__SOLD_OUT_TTL_MS", "60000")]).await?;
    let product = world.stocked(1).await?;
    let place = async || {
        let body = json!({ "productId": product, "quantity": 1 });
        Reply::to(
            world
                .ask(Method::POST, "/v1/orders")
                .header("Idempotency-Key", "k")
                .json(&body),
        )
        .await
    };
    let first = place().await?;
    assert_eq!(first.text("status"), "CONFIRMED", "{first:?}");
    until_turned_away(&world, product).await?;
    let again = place().await?;
    assert_eq!((again.status, again.id()), (201, first.id()), "{again:?}");
    world.settled(product).await
}
