//! What there is to say in seconds: how soon breakers open, and how soon ten thousand products are back behind the gate.

use std::time::{Duration, Instant};

use devstack::proxy::Fault;
use devstack::{Signal, wait_for};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

use crate::evidence::{Snapshot, Watch};
use crate::points::session;
use crate::report::measured;
use crate::shop::{Opening, PLENTY, Shop, gate_key};
use crate::trial::warm;

/// A breaker opens within this time of the death of Redis, under load.
const OPENED: Duration = Duration::from_secs(1);
/// Whoever waits for something that is not judged by its time.
const SOON: Duration = Duration::from_secs(30);
const HOT_PRODUCTS: i64 = 10_000;
/// From the return of Redis until all of them are back. The aim is 2 s; this is for a build without optimisation on a busy
/// machine.
const ALL_BACK: Duration = Duration::from_secs(10);

/// With the limits the service is shipped with.
#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_opens_within_a_second_of_the_death_of_redis() {
    let shop = Shop::open(Opening {
        shipped_limits: true,
        ..Opening::default()
    })
    .await;
    let products = [shop.product(PLENTY).await, shop.product(PLENTY).await];
    let load = warm(&shop, products).await;
    let redis = &shop.stack.redis;
    all_closed(&shop).await;
    let took = all_opened(&shop, async || redis.kill().unwrap()).await;
    measured("Redis killed under load: until all breakers are open", took);
    redis.restart().await.unwrap();
    all_closed(&shop).await;
    let took = all_opened(&shop, async || redis.signal(Signal::STOP).unwrap()).await;
    measured("Redis stopped under load: until all breakers are open", took);
    redis.signal(Signal::CONT).unwrap();
    load.end().await;
    shop.stack.wait_until_balanced(&products, SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_products_are_back_behind_the_gate_seconds_after_redis() {
    let shop = Shop::direct().await;
    let products = [shop.product(PLENTY).await, shop.product(PLENTY).await];
    let everything = many_products(&shop, HOT_PRODUCTS).await;
    all_loaded(&shop, everything.len()).await;
    // Buyers, so that somebody notices at once that Redis is gone; they are idle when it comes back.
    let load = warm(&shop, products).await;
    all_closed(&shop).await;
    all_opened(&shop, async || shop.stack.redis.kill().unwrap()).await;
    load.end().await;
    shop.stack.redis.restart().await.unwrap();
    let back = Instant::now();
    all_loaded(&shop, everything.len()).await;
    let loaded = back.elapsed();
    all_closed(&shop).await;
    let closed = back.elapsed();
    measured("Redis back, empty: until 10,000 hot products are loaded", loaded);
    measured("Redis back, empty: until all breakers are closed on them", closed);
    assert!(closed < ALL_BACK, "{closed:?}");
    shop.stack.wait_until_balanced(&everything, SOON).await.unwrap();
}

/// A round trip over hundreds of products takes several times as long as one of a request, and nobody waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn many_products_are_reconciled_however_slow_the_way_to_redis() {
    let shop = Shop::open(Opening {
        proxied: true,
        // Each 16 KiB of a reply are so late: one time for a request, three times for the sums of 500 products.
        fault: Fault::Latency(115..=125),
        settings: &[
            ("HOTSTOCK__REDIS__TIMEOUT_MS", "300"),
            ("HOTSTOCK__BREAKER__SLOW_MS", "250"),
        ],
        ..Opening::default()
    })
    .await;
    let products = many_products(&shop, 500).await;
    all_loaded(&shop, products.len()).await;
    shop.redis::<()>(&["SET", &gate_key(products[499], ""), "7"])
        .await;
    shop.stack.wait_until_balanced(&products, SOON).await.unwrap();
}

/// Harms Redis; how long until the breaker of every instance is open.
async fn all_opened(shop: &Shop, harm: impl AsyncFnOnce()) -> Duration {
    let before = Snapshot::of(shop).await;
    let watch = Watch::start(shop);
    let harmed = Instant::now();
    harm().await;
    wait_for("open breakers", SOON, || async {
        let seen = before.since(shop).await;
        seen.all_opened().then_some(()).ok_or(seen.to_string())
    })
    .await
    .unwrap();
    let (opened, _) = watch.end().await;
    let took = opened.unwrap().saturating_duration_since(harmed);
    assert!(took < OPENED, "{took:?}");
    took
}

async fn all_closed(shop: &Shop) {
    wait_for("closed breakers", SOON, || async {
        let now = Snapshot::of(shop).await;
        now.all_closed().then_some(()).ok_or("not closed".to_owned())
    })
    .await
    .unwrap_or_else(|error| panic!("{error:#}\n{}", shop.logs()));
}

/// Waits until so many products are loaded: each has a counter then.
async fn all_loaded(shop: &Shop, products: usize) {
    wait_for("loaded products", SOON, || async {
        // Only counters end with the brace.
        let count = "return #redis.call('KEYS', 'stock:{*}')";
        let loaded: usize = shop.redis(&["EVAL", count, "0"]).await;
        (loaded == products)
            .then_some(())
            .ok_or(format!("{loaded} are loaded"))
    })
    .await
    .unwrap_or_else(|error| panic!("{error:#}\n{}", shop.logs()));
}

/// Makes so many hot products of ten units each, by SQL: one by one they would take a minute. Returns all there are.
async fn many_products(shop: &Shop, count: i64) -> Vec<i64> {
    let insert = format!(
        "WITH p AS (INSERT INTO products (name, price, stock, stock_version, status, stock_strategy) \
         SELECT 'edition', 1000, 10, 1, 'ACTIVE', 'REDIS_FIRST' FROM generate_series(1, {count}) RETURNING id) \
         INSERT INTO stock_ledger (product_id, stock_version, direction, quantity, balance_after, reason, request_id) \
         SELECT id, 1, 'IN', 10, 10, 'INITIAL', 'INITIAL-' || id FROM p"
    );
    let mut session = session(&shop.stack).await;
    session.batch_execute(&insert).await.unwrap();
    let all = diesel::sql_query("SELECT id FROM products ORDER BY id");
    let all: Vec<Id> = all.load(&mut session).await.unwrap();
    all.into_iter().map(|row| row.id).collect()
}

#[derive(diesel::QueryableByName)]
struct Id {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    id: i64,
}
