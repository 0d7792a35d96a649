//! A ledger that is full already: rows of other products, as their sales would have left them.

use anyhow::Result;
use devstack::catalogue;

use crate::stage::{Stage, connect};

/// Rows per product and statement.
pub(crate) const ROWS: i64 = 250_000;

const FILL: &str = "\
    INSERT INTO stock_ledger (product_id, stock_version, direction, quantity, balance_after, reason, order_id, buyer_id, \
        request_id) \
    SELECT $1::bigint, sale + 1, 'OUT', 1, $2::bigint - sale, 'ORDER_DECREMENT', $1 * $2 + sale, 'buyer-' || sale, \
        'DEC-' || gen_random_uuid() FROM generate_series(1, $2::bigint) sale";

/// What would be filled row by row. The primary key stays: the trigger looks up the row before by it.
const DROP_INDEXES: &str = "\
    ALTER TABLE stock_ledger DROP CONSTRAINT stock_ledger_request; \
    DROP INDEX stock_ledger_order, stock_ledger_buyer";

/// How the migrations made them.
const INDEXES: &str = "\
    SELECT pg_get_indexdef(index) FROM unnest('{stock_ledger_request, stock_ledger_order, stock_ledger_buyer}'::regclass[]) index";

/// The index of request ids is left as full as insertions in random order leave one, not as full as a fresh one is.
const RESTORE_REQUEST_IDS: &str = "\
    ALTER INDEX stock_ledger_request RESET (fillfactor); \
    ALTER TABLE stock_ledger ADD CONSTRAINT stock_ledger_request UNIQUE USING INDEX stock_ledger_request";

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
    let indexes: Vec<String> = client
        .query(INDEXES, &[])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    client.batch_execute(DROP_INDEXES).await?;
    for _ in 0..times {
        let product = catalogue::create_product(&service.url(), "Sold before", 100, ROWS, false).await?;
        client.execute(FILL, &[&product, &ROWS]).await?;
        let sold = "UPDATE products SET stock = 0, stock_version = $2::bigint + 1 WHERE id = $1";
        client.execute(sold, &[&product, &ROWS]).await?;
        advance();
    }
    service.stop().await?;
    client.batch_execute("SET maintenance_work_mem = '1GB'").await?;
    for index in indexes {
        let is_of_request_ids = index.contains(" stock_ledger_request ");
        let fullness = if is_of_request_ids {
            " WITH (fillfactor = 70)"
        } else {
            ""
        };
        client.batch_execute(&(index + fullness)).await?;
    }
    client.batch_execute(RESTORE_REQUEST_IDS).await?;
    client.batch_execute("VACUUM ANALYZE").await?;
    stage.settle().await?;
    Ok(database)
}
