//! Crashes: either service killed, again and again, in the middle of a sale by message. Afterwards every order is final and
//! the books balance.

use std::time::Duration;

use devstack::Service;
use devstack::proxy::Fault;
use rand::Rng;

use crate::fixture::{TestResult, World};

/// Leases and deadlines that end while a test waits.
const SHORT: [(&str, &str); 4] = [
    ("HOTSTOCK__SERVER__REQUEST_DEADLINE_MS", "1500"),
    ("HOTSTOCK__SAGA__LEASE_MS", "1500"),
    ("HOTSTOCK__SAGA__PENDING_DEADLINE_MS", "3000"),
    ("HOTSTOCK__OUTBOX__BATCH_MAX", "10"),
];

/// Kills and restarts `victim` so many times, each at a moment nobody chose, while `sell` is going on.
async fn killed_during<T>(
    victim: &Service,
    times: usize,
    sell: impl Future<Output = T>,
) -> anyhow::Result<T> {
    let killing = async {
        for _ in 0..times {
            let moment = Duration::from_millis(rand::rng().random_range(0..150));
            tokio::time::timeout(moment, std::future::pending::<()>())
                .await
                .ok();
            victim.kill()?;
            victim.restart().await?;
        }
        anyhow::Ok(())
    };
    let (sold, killed) = tokio::join!(sell, killing);
    killed?;
    Ok(sold)
}

/// Orders in both flows, one after the other, whatever becomes of each answer.
async fn sell(world: &World, product: i64, orders: usize) {
    for order in 0..orders {
        let path = if order % 3 == 0 {
            "/v1/orders"
        } else {
            "/v2/orders"
        };
        let body = serde_json::json!({ "productId": product, "quantity": 1 });
        world.post(path, &body).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn order_service_killed_again_and_again_loses_no_order() -> TestResult {
    let world = World::with_broker(&SHORT).await?;
    let product = world.stocked(10_000).await?;
    killed_during(&world.order, 6, sell(&world, product, 400)).await?;
    sell(&world, product, 30).await;
    world.settled(product).await?;
    assert!(world.count("CONFIRMED").await? >= 30);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn product_service_killed_again_and_again_loses_no_order() -> TestResult {
    let world = World::with_broker(&SHORT).await?;
    let product = world.stocked(10_000).await?;
    killed_during(&world.product, 4, sell(&world, product, 200)).await?;
    sell(&world, product, 30).await;
    world.settled(product).await?;
    assert!(world.count("CONFIRMED").await? >= 30);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cancels_and_voids_interrupted_by_kills_are_finished_once() -> TestResult {
    let world = World::with_broker(&SHORT).await?;
    let product = world.stocked(10_000).await?;
    let ids = world.sale(product, 60).await?;
    for id in &ids {
        world.becomes(*id, "CONFIRMED").await?;
    }
    let cancelling = async {
        for (at, id) in ids.iter().enumerate() {
            // Every other answer is lost on its way: the stock is back and nobody heard.
            world.way.set(if at % 2 == 0 {
                Fault::DropReplies
            } else {
                Fault::Pass
            });
            let path = if at % 3 == 0 { "/v2" } else { "/v1" };
            let request = world.ask(reqwest::Method::POST, &format!("{path}/orders/{id}/cancel"));
            tokio::time::timeout(Duration::from_millis(100), request.send())
                .await
                .ok();
        }
    };
    killed_during(&world.order, 4, cancelling).await?;
    world.way.set(Fault::Pass);
    world.settled(product).await?;
    assert_eq!(world.count("PENDING").await? + world.count("FAILED").await?, 0);
    assert_eq!(
        world.stock(product).await?,
        10_000 - world.count("CONFIRMED").await?
    );
    Ok(())
}
