//! One measurement of a resync: Redis has forgotten 10,000 hot products; how long until all their gates are open again.

use std::time::{Duration, Instant};

use anyhow::Result;
use devstack::http::HttpClient;
use devstack::{Redis, RedisOptions, books};
use hyper::Method;

use crate::figures::{Figures, SECONDS, STEAL_PERCENT};
use crate::machine::CoreTicks;
use crate::stage::{Stage, connect, redis_connection};

/// Hot products.
pub(crate) const PRODUCTS: i64 = 10_000;
/// Units each of them has sold: what a gate has to remember.
const SOLD: i64 = 10;
const STOCK: i64 = 1000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Products, each with its first stock and its sales.
const FILL: &str = "\
    INSERT INTO products (name, price, stock, stock_version, status, stock_strategy) \
        SELECT 'Bench', 100, $2::bigint - $3::bigint, $3 + 1, 'ACTIVE', 'REDIS_FIRST' FROM generate_series(1, $1::bigint)";
const FILL_LEDGER: &str = "\
    INSERT INTO stock_ledger (product_id, stock_version, direction, quantity, balance_after, reason, order_id, request_id) \
        SELECT id, 1, 'IN', $1::bigint, $1, 'INITIAL', NULL, 'INITIAL-' || id FROM products \
        UNION ALL \
        SELECT id, sale + 1, 'OUT', 1, $1 - sale, 'ORDER_DECREMENT', id * 1000 + sale, 'DEC-' || id || '-' || sale \
        FROM products, generate_series(1, $2::bigint) sale";

/// Measures once, from the moment Redis is empty. That the service notices is not part of it: it is told to reconcile.
pub(crate) async fn measure(stage: &Stage) -> Result<Figures> {
    let database = stage.postgres.create_unique_database("resync").await?;
    let redis = Redis::start(RedisOptions::default()).await?;
    let start = || {
        stage.service("product-service", |options| {
            options.database_url(&database).redis_url(&redis.url())
        })
    };
    // Migrates; started again, it knows all products from the beginning.
    start().await?.stop().await?;
    let client = connect(&database).await?;
    client.execute(FILL, &[&PRODUCTS, &STOCK, &SOLD]).await?;
    client.execute(FILL_LEDGER, &[&STOCK, &SOLD]).await?;
    client.batch_execute("ANALYZE").await?;
    let rows = client.query("SELECT id FROM products", &[]).await?;
    let products: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let service = start().await?;
    let mut admin = HttpClient::new(&service.admin_url(), PATIENCE).map_err(anyhow::Error::msg)?;
    admin
        .request(Method::POST, "/admin/stock/reconcile", &[], "")
        .await?;
    wait_until_open(&redis, &products).await?;
    let mut connection = redis_connection(&redis.url()).await?;
    let steal = CoreTicks::now()?;
    let () = redis::cmd("FLUSHALL").query_async(&mut connection).await?;
    let begun = Instant::now();
    admin
        .request(Method::POST, "/admin/stock/reconcile", &[], "")
        .await?;
    wait_until_open(&redis, &products).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let steal_percent = steal.stolen_percent()?;
    books::wait_until_balanced(&database, Some(&redis.url()), &products, PATIENCE).await?;
    service.stop().await?;
    drop(client);
    stage.drop_database(&database).await?;
    stage.settle().await?;
    Ok(Figures::from([
        (SECONDS, seconds),
        (STEAL_PERCENT, steal_percent),
    ]))
}

/// A gate is open when its counter is there.
async fn wait_until_open(redis: &Redis, products: &[i64]) -> Result<()> {
    let connection = redis_connection(&redis.url()).await?;
    let mut exists = redis::cmd("EXISTS");
    for product in products {
        exists.arg(format!("stock:{{{product}}}"));
    }
    devstack::wait_for("all gates to be open", PATIENCE, || async {
        let open: Result<usize, _> = exists.query_async(&mut connection.clone()).await;
        match open {
            Ok(open) if open == products.len() => Ok(()),
            Ok(open) => Err(format!("{open} of {} are open", products.len())),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
}
