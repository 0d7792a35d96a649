//! The database of a consumer is down: messages are held, none is dropped or set aside.
//!
//! A few seconds unless `HOTSTOCK_OUTAGE_S` says how many. Nothing counts the tries, so a longer outage is more of the
//! same; two minutes: `HOTSTOCK_OUTAGE_S=120 cargo test -p order-service --test orders outages`.

use std::time::{Duration, Instant};

use devstack::{Postgres, PostgresOptions, Service, Signal, TestStack, shared_rabbitmq, wait_for};

use crate::fixture::{PATIENCE, TestResult, World};

/// How long the database stays down, once messages are held.
fn outage() -> Duration {
    let seconds = std::env::var("HOTSTOCK_OUTAGE_S").ok();
    let seconds = seconds.map_or(Ok(3), |seconds| seconds.parse());
    Duration::from_secs(seconds.unwrap_or_else(|error| panic!("HOTSTOCK_OUTAGE_S: {error}")))
}

/// Waits until messages were held so often, and the outage has lasted.
async fn outlast(service: &Service, series: &str, times: u64) -> TestResult {
    let started = Instant::now();
    wait_for("the outage to be over", outage() + PATIENCE, async || {
        let metrics = reqwest::get(format!("{}/metrics", service.admin_url())).await;
        let text = metrics.map_err(|error| error.to_string())?.text().await;
        let text = text.map_err(|error| error.to_string())?;
        let held = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let held: u64 = held.and_then(|held| held.parse().ok()).unwrap_or_default();
        if held >= times && started.elapsed() >= outage() {
            println!("{series} {held} after {:?}", started.elapsed());
            return Ok(());
        }
        Err(format!("held {held} times, {:?}", started.elapsed()))
    })
    .await
}

/// Nothing lies among the dead letters, and everything was confirmed.
async fn all_confirmed(world: &World, product: i64, orders: i64) -> TestResult {
    let before = Instant::now();
    world.settled(product).await?;
    println!("settled {:?} after the outage", before.elapsed());
    assert_eq!(world.count("CONFIRMED").await?, orders);
    for queue in ["stock.request.dlq", "order.result.dlq"] {
        assert_eq!(world.lying_in(queue).await?, 0, "{queue}");
    }
    Ok(())
}

/// Orders are asked for over HTTP only long after.
const LATE: (&str, &str) = ("HOTSTOCK__SAGA__PENDING_DEADLINE_MS", "600000");

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_of_product_service_is_down_requests_are_held() -> TestResult {
    let postgres = Postgres::start(PostgresOptions::default()).await?;
    let mut stack = TestStack::shared().await?;
    let orders_url = stack.postgres.create_unique_database("orders").await?;
    stack.database_url = postgres.create_unique_database("product").await?;
    let broker = shared_rabbitmq().await?.clone();
    let world = World::on_databases(stack, orders_url, Some(broker), &[LATE]).await?;
    let product = world.stocked(100).await?;
    postgres.kill()?;
    world.sale(product, 30).await?;
    outlast(&world.product, "hotstock_stock_requests_held_total", 90).await?;
    assert_eq!(world.lying_in("stock.request.dlq").await?, 0);
    assert_eq!(world.count("PENDING").await?, 30);
    postgres.restart().await?;
    all_confirmed(&world, product, 30).await
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_of_order_service_is_down_results_are_held() -> TestResult {
    let postgres = Postgres::start(PostgresOptions::default()).await?;
    let stack = TestStack::shared().await?;
    let orders_url = postgres.create_unique_database("orders").await?;
    let broker = shared_rabbitmq().await?.clone();
    let world = World::on_databases(stack, orders_url, Some(broker), &[LATE]).await?;
    let product = world.stocked(100).await?;
    // Asked for, and decided only once nobody can write down what became of them.
    world.product.signal(Signal::STOP)?;
    world.sale(product, 30).await?;
    wait_for("the outbox to drain", PATIENCE, async || {
        match world.unsent().await {
            Ok(0) => Ok(()),
            left => Err(format!("{left:?}")),
        }
    })
    .await?;
    postgres.kill()?;
    world.product.signal(Signal::CONT)?;
    outlast(&world.order, "hotstock_stock_results_held_total", 90).await?;
    assert_eq!(world.stock(product).await?, 70, "decided");
    assert_eq!(world.lying_in("order.result.dlq").await?, 0);
    postgres.restart().await?;
    all_confirmed(&world, product, 30).await
}
