//! A ledger that is full already: rows of other products, as their sales would have left them.

use anyhow::Result;
use devstack::catalogue;

use crate::stage::{Stage, connect};

/// Rows per product and statement.
pub(crate) const ROWS: i64 = 500_000;

const FILL: &str = "\
    INSERT INTO stock_ledger (product_id, stock_version, direction, quantity, balance_after, reason, order_id, buyer_id, \
        request_id) \
    SELECT $1::bigint, sale + 1, 'OUT', 1, $2::bigint - sale, 'ORDER_DECREMENT', $1 * $2 + sale, 'buyer-' || sale, \
        'DEC-' || gen_random_uuid() FROM generate_series(1, $2::bigint) sale";

/// Makes a database whose ledger has so many times [`ROWS`] rows; its url. `advance` is called after each of them. The
/// schema's own triggers and constraints see to it that they are right.
pub(crate) async fn full_ledger(stage: &Stage, times: u64, advance: impl Fn()) -> Result<String> {
    let database = stage.postgres.create_unique_database("full").await?;
    let redis = stage.redis.create_database()?;
    let service = stage
        .service("product-service", |options| {
            options.database_url(&database).redis_url(&redis)
        })
        .await?;
    let client = connect(&database).await?;
    for _ in 0..times {
        let product = catalogue::create_product(&service.url(), "Sold before", 100, ROWS, false).await?;
        client.execute(FILL, &[&product, &ROWS]).await?;
        let sold = "UPDATE products SET stock = 0, stock_version = $2::bigint + 1 WHERE id = $1";
        client.execute(sold, &[&product, &ROWS]).await?;
        advance();
    }
    service.stop().await?;
    client.batch_execute("VACUUM ANALYZE").await?;
    stage.settle().await?;
    Ok(database)
}
