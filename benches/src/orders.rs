//! One measurement of orders: both services and RabbitMQ, bought by the load tool, judged over both databases.

use anyhow::{Context, Result, ensure};
use devstack::catalogue;
use devstack::load::{self, FlashSale, Stores, Via};

use crate::cost::Cost;
use crate::figures::{Figures, P50_MS, P99_MS, PER_SECOND};
use crate::plan::Pace;
use crate::stage::{Stage, redis_connection};

const PLENTY: i64 = 100_000_000;
const BUYERS_MAX: u64 = 100_000_000;

/// Measures once: orders per second, from the first one placed to the last one CONFIRMED. An error if an order is not
/// final, owns by the ledger something else than it says, or is not what its buyer was told.
pub(crate) async fn measure(stage: &Stage, via: Via, pace: Pace) -> Result<Figures> {
    let rabbitmq = stage.rabbitmq.as_ref().context("RabbitMQ is not there")?;
    let amqp = rabbitmq.create_virtual_host()?;
    let stores = Stores {
        database_url: stage.postgres.create_unique_database("stock").await?,
        redis_url: Some(stage.redis.create_database()?),
        orders_url: Some(stage.postgres.create_unique_database("orders").await?),
    };
    let redis = stores.redis_url.clone().unwrap_or_default();
    let orders_url = stores.orders_url.clone().unwrap_or_default();
    let products = stage
        .service("product-service", |options| {
            options
                .database_url(&stores.database_url)
                .redis_url(&redis)
                .amqp_url(&amqp)
        })
        .await?;
    let orders = stage
        .service("order-service", |options| {
            let options = options.database_url(&orders_url).amqp_url(&amqp);
            options.env("HOTSTOCK__PRODUCT__URL", &products.url())
        })
        .await?;
    let product = catalogue::create_product(&products.url(), "Bench", 100, PLENTY, true).await?;
    let mut sale = FlashSale::new(vec![orders.url()], vec![product], BUYERS_MAX);
    sale.via = via;
    sale.lasts = Some(pace.warm_up);
    ensure!(
        load::flash_sale(&sale, &stores).await?.is_true(),
        "the books are wrong after the warm-up"
    );
    // The orders of a sale have to be all there are of its product.
    let product = catalogue::create_product(&products.url(), "Bench", 100, PLENTY, true).await?;
    sale.product_ids = vec![product];
    sale.lasts = Some(pace.measured);
    let cost = Cost::begin()?;
    let verdict = load::flash_sale(&sale, &stores).await?;
    let mut figures = Figures::new();
    cost.add_to(&mut figures, verdict.tally.sale_latency_us.len())?;
    ensure!(verdict.is_true(), "the books are wrong:\n{verdict}");
    orders.stop().await?;
    products.stop().await?;
    let mut connection = redis_connection(&redis).await?;
    let () = redis::cmd("FLUSHDB").query_async(&mut connection).await?;
    stage.drop_database(&stores.database_url).await?;
    stage.drop_database(&orders_url).await?;
    stage.settle().await?;
    let ms = |quantile| verdict.tally.sale_latency_us.value_at_quantile(quantile) as f64 / 1e3;
    figures.extend([
        (PER_SECOND, verdict.tally.sales_per_second()),
        (P50_MS, ms(0.5)),
        (P99_MS, ms(0.99)),
    ]);
    Ok(figures)
}
