//! The database refuses what would break the books, whoever asks it to.

use std::time::Duration;

use anyhow::{Context, Result};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::fixture::{DB_ONLY, Shop, TestResult, new_order};

/// What the database says to a statement that it has to refuse.
async fn refusal(connection: &mut AsyncPgConnection, statement: &str) -> Result<String> {
    let refused = connection.batch_execute(statement).await.err();
    Ok(refused
        .with_context(|| format!("not refused: {statement}"))?
        .to_string())
}

/// A product with 10 units of which 3 were sold, and a connection to its database.
async fn sold() -> Result<(Shop, i64, AsyncPgConnection)> {
    let shop = Shop::shared().await?;
    let product = shop.product(DB_ONLY, 10).await?;
    shop.take(product, new_order(), 3).await?.remaining();
    let connection = AsyncPgConnection::establish(&shop.stack.database_url).await?;
    Ok((shop, product, connection))
}

#[tokio::test]
async fn the_ledger_is_append_only() -> TestResult {
    let (shop, product, mut connection) = sold().await?;
    for statement in [
        format!("UPDATE stock_ledger SET quantity = 1 WHERE product_id = {product}"),
        "UPDATE stock_ledger SET note = 'x' WHERE false".to_owned(),
        format!("DELETE FROM stock_ledger WHERE product_id = {product}"),
        "TRUNCATE stock_ledger".to_owned(),
        "TRUNCATE products CASCADE; TRUNCATE stock_ledger".to_owned(),
    ] {
        let refusal = refusal(&mut connection, &format!("BEGIN; {statement}")).await?;
        assert!(refusal.contains("append only"), "{statement}: {refusal}");
        connection.batch_execute("ROLLBACK").await?;
    }
    assert_eq!(shop.balanced(product).await?.movements, 2);
    Ok(())
}

#[tokio::test]
async fn a_ledger_row_follows_from_the_one_before() -> TestResult {
    let (shop, product, mut connection) = sold().await?;
    // Version, direction, quantity, balance after, reason, order.
    for (row, why) in [
        ("4, 'OUT', 1, 6, 'MANUAL', NULL", "does not follow"),
        ("3, 'OUT', 1, 7, 'MANUAL', NULL", "does not follow"),
        ("3, 'OUT', 1, 8, 'MANUAL', NULL", "does not follow"),
        ("3, 'IN', 1, 7, 'MANUAL', NULL", "does not follow"),
        ("2, 'OUT', 3, 7, 'MANUAL', NULL", "stock_ledger_version"),
        ("0, 'IN', 3, 3, 'MANUAL', NULL", "movement_version_check"),
        ("3, 'OUT', 8, -1, 'MANUAL', NULL", "stock_units_check"),
        (
            "3, 'IN', 999999999994, 1000000000001, 'MANUAL', NULL",
            "stock_units_check",
        ),
        ("3, 'OUT', 0, 7, 'MANUAL', NULL", "moved_units_check"),
        ("3, 'OUT', -1, 8, 'MANUAL', NULL", "moved_units_check"),
        ("3, 'AWAY', 1, 6, 'MANUAL', NULL", "direction_check"),
        ("3, 'OUT', 1, 6, 'THEFT', NULL", "movement_reason_check"),
        ("3, 'IN', 1, 8, 'ORDER_DECREMENT', 5", "does not fit"),
        ("3, 'OUT', 1, 6, 'ORDER_DECREMENT', NULL", "does not fit"),
        ("3, 'OUT', 1, 6, 'ORDER_INCREMENT', 5", "does not fit"),
        ("3, 'IN', 1, 8, 'INITIAL', NULL", "does not fit"),
        ("3, 'OUT', 1, 6, 'MANUAL', 5", "does not fit"),
        ("3, 'OUT', 1, 6, 'ORDER_DECREMENT', 0", "order_id_check"),
    ] {
        let refusal = refusal(&mut connection, &insert(product, &[row])).await?;
        assert!(refusal.contains(why), "({row}): {refusal}");
    }
    // Within one statement, and for the first row of all.
    for (product, rows) in [
        (
            product,
            ["3, 'OUT', 1, 6, 'MANUAL', NULL", "5, 'OUT', 1, 5, 'MANUAL', NULL"],
        ),
        (
            product,
            ["3, 'OUT', 1, 6, 'MANUAL', NULL", "4, 'OUT', 1, 6, 'MANUAL', NULL"],
        ),
        (
            product + 1_000_000,
            ["2, 'IN', 1, 1, 'MANUAL', NULL", "3, 'IN', 1, 2, 'MANUAL', NULL"],
        ),
        (
            product + 1_000_000,
            ["1, 'IN', 3, 4, 'INITIAL', NULL", "2, 'IN', 1, 5, 'MANUAL', NULL"],
        ),
    ] {
        let refusal = refusal(&mut connection, &insert(product, &rows)).await?;
        assert!(refusal.contains("does not follow"), "{rows:?}: {refusal}");
    }
    assert_eq!(shop.balanced(product).await?.movements, 2);
    Ok(())
}

fn insert(product: i64, rows: &[&str]) -> String {
    let rows: Vec<String> = rows
        .iter()
        .map(|row| format!("({product}, {row}, 'BY-HAND-{}')", new_order()))
        .collect();
    format!(
        "INSERT INTO stock_ledger (product_id, stock_version, direction, quantity, balance_after, reason, order_id, \
         request_id) VALUES {}",
        rows.join(", ")
    )
}

#[tokio::test]
async fn one_request_id_has_one_ledger_row() -> TestResult {
    let (shop, product, mut connection) = sold().await?;
    let again = format!(
        "INSERT INTO stock_ledger (product_id, stock_version, direction, quantity, balance_after, reason, request_id) \
         SELECT product_id, 3, 'OUT', 1, 6, 'MANUAL', request_id FROM stock_ledger \
         WHERE product_id = {product} AND stock_version = 2"
    );
    let refusal = refusal(&mut connection, &again).await?;
    assert!(refusal.contains("stock_ledger_request"), "{refusal}");
    shop.balanced(product).await?;
    Ok(())
}

#[tokio::test]
async fn a_product_row_stays_within_its_ranges() -> TestResult {
    let (shop, product, mut connection) = sold().await?;
    for change in [
        "stock = -1",
        "stock = 1000000000001",
        "stock = NULL",
        "stock_version = -1",
        "stock_version = 0",
        "price = -1",
        "name = ''",
        "status = 'GONE'",
        "stock_strategy = 'REDIS_ONLY'",
        "purchase_limit = 0",
        "sale_starts_at = now(), sale_ends_at = now()",
    ] {
        let statement = format!("UPDATE products SET {change} WHERE id = {product}");
        let refusal = refusal(&mut connection, &statement).await?;
        assert!(refusal.contains("constraint"), "{change}: {refusal}");
    }
    shop.balanced(product).await?;
    Ok(())
}

#[tokio::test]
async fn a_decrease_is_given_back_once_and_whole() -> TestResult {
    let (shop, product, mut connection) = sold().await?;
    let order = new_order();
    shop.take(product, order, 2).await?.remaining();
    shop.give_back(product, order, 2).await?.remaining();
    // Void id, voided id, quantity, reason, given back.
    for (row, why) in [
        (
            format!("'X-{order}', 'DEC-{order}', 2, 'ORDER_FAILED', 2"),
            "tombstones_give_back_once",
        ),
        (
            format!("'INC-{order}', 'Y-{order}', 2, 'ORDER_FAILED', 0"),
            "tombstones_pkey",
        ),
        (format!("'X-{order}', 'Y-{order}', 2, 'ORDER_FAILED', 1"), "check"),
        (
            format!("'X-{order}', 'Y-{order}', 0, 'ORDER_FAILED', 0"),
            "moved_units_check",
        ),
        (
            format!("'X-{order}', 'Y-{order}', 2, 'BORED', 0"),
            "void_reason_check",
        ),
        (format!("'X-{order}', 'X-{order}', 2, 'ORDER_FAILED', 0"), "check"),
    ] {
        let statement = format!(
            "INSERT INTO tombstones (void_id, voided_id, quantity, reason, given_back, product_id, order_id, \
             stock_after) VALUES ({row}, {product}, {order}, 9)"
        );
        let refusal = refusal(&mut connection, &statement).await?;
        assert!(refusal.contains(why), "({row}): {refusal}");
    }
    shop.balanced(product).await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Nullable<Text>)]
    names: Option<String>,
}

#[tokio::test]
async fn ids_are_compared_byte_by_byte_whatever_the_language_of_the_database() -> TestResult {
    let (_, _, mut connection) = sold().await?;
    let found: Found = diesel::sql_query(
        "SELECT string_agg(relname || '.' || attname || ' ' || collname, ', ' ORDER BY relname, attname) AS names
         FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid JOIN pg_collation ON attcollation = pg_collation.oid
         WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
           AND attname IN ('request_id', 'void_id', 'voided_id', 'buyer_id')",
    )
    .get_result(&mut connection)
    .await?;
    let all =
        "stock_ledger.buyer_id C, stock_ledger.request_id C, tombstones.void_id C, tombstones.voided_id C";
    assert_eq!(found.names.as_deref(), Some(all));
    Ok(())
}

#[tokio::test]
async fn every_table_and_every_column_that_needs_it_has_a_comment() -> TestResult {
    let (_, _, mut connection) = sold().await?;
    let found: Found = diesel::sql_query(
        "SELECT string_agg(name, ', ') AS names FROM (
            SELECT relname::text AS name, obj_description(oid) AS comment, relnamespace FROM pg_class WHERE relkind = 'r'
            UNION ALL
            SELECT relname || '.' || attname, col_description(oid, attnum), relnamespace
            FROM pg_class JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND NOT attisdropped
            WHERE relkind = 'r' AND attname NOT IN
                ('id', 'name', 'product_id', 'order_id', 'direction', 'quantity', 'reason', 'note', 'created_at',
                 'updated_at')
         ) AS named
         WHERE relnamespace = 'public'::regnamespace AND comment IS NULL AND name NOT LIKE '\\_\\_diesel%'",
    )
    .get_result(&mut connection)
    .await?;
    assert_eq!(found.names, None);
    Ok(())
}

#[derive(QueryableByName)]
struct Reads {
    #[diesel(sql_type = BigInt)]
    inserted: i64,
    #[diesel(sql_type = BigInt)]
    read: i64,
}

/// Enough for a plan that reads everything to show, in batches like those of a sale.
const SALES: i64 = 3000;

/// Sells [`SALES`] units of a product with these fields on a fresh database, each to a buyer of his own, and returns how many rows of
/// the ledger were read for it, by whatever way, as the server counts them.
async fn read_by_a_sale(fields: &Value) -> Result<i64> {
    let shop = Shop::alone().await?;
    let product = shop.product_with(DB_ONLY, 10_000, fields).await?;
    for _ in 0..SALES / 100 {
        let batch = (0..100).map(|_| async {
            let order = new_order();
            shop.take_for(product, order, 1, &format!("buyer-{order}")).await
        });
        for answer in join_all(batch).await {
            answer?.remaining();
        }
    }
    let mut connection = AsyncPgConnection::establish(&shop.stack.database_url).await?;
    let counted = "SELECT n_tup_ins AS inserted, (seq_tup_read + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes i \
                   WHERE i.relid = t.relid))::bigint AS read FROM pg_stat_user_tables t WHERE relname = 'stock_ledger'";
    // The server's counters lag behind by a second.
    let reads = loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let reads: Reads = diesel::sql_query(counted).get_result(&mut connection).await?;
        if reads.inserted > SALES {
            break reads;
        }
    };
    shop.balanced(product).await?;
    Ok(reads.read)
}

/// Statements are prepared once per connection. On a fresh database that is while the tables are empty, when reading all
/// of them looks cheapest: a sale must not go on doing so while they grow.
#[tokio::test]
async fn a_sale_on_a_fresh_database_finds_rows_by_key_and_never_reads_the_whole_ledger() -> TestResult {
    let read = read_by_a_sale(&json!({})).await?;
    assert!(read < SALES, "{read} rows read to insert {SALES}");
    Ok(())
}

/// The same for what buyers own.
#[tokio::test]
async fn a_sale_with_a_purchase_limit_reads_its_buyers_rows_and_no_others() -> TestResult {
    let read = read_by_a_sale(&json!({ "purchaseLimit": 1 })).await?;
    assert!(read < SALES, "{read} rows read to insert {SALES}");
    Ok(())
}

#[tokio::test]
async fn more_locked_products_than_lanes_delay_no_other_product() -> TestResult {
    const LOCKED: usize = 12; // ledger.lanes_max is 8
    let shop = Shop::with_shipped_lock_timeout().await?;
    let free = shop.product(DB_ONLY, 100).await?;
    let mut locked = Vec::new();
    for _ in 0..LOCKED {
        locked.push(shop.product(DB_ONLY, 10).await?);
    }
    let mut session = AsyncPgConnection::establish(&shop.stack.database_url).await?;
    let ids = locked
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let lock = format!("BEGIN; SELECT id FROM products WHERE id IN ({ids}) FOR UPDATE");
    session.batch_execute(&lock).await?;

    let begun = std::time::Instant::now();
    let stuck = join_all(locked.iter().map(|product| shop.take(*product, new_order(), 1)));
    let others = async {
        for _ in 0..20 {
            shop.take(free, new_order(), 1).await?.remaining();
        }
        anyhow::Ok(begun.elapsed())
    };
    let (stuck, others) = tokio::join!(stuck, others);
    for reply in stuck {
        reply?.refused(503, "RETRY_LATER");
    }
    let (all, others) = (begun.elapsed(), others?);
    assert!(all < Duration::from_secs(3), "{all:?}");
    println!("20 sales of a free product took {others:?}, {LOCKED} refusals {all:?}");
    session.batch_execute("ROLLBACK").await?;
    for product in locked.into_iter().chain([free]) {
        shop.balanced(product).await?;
    }
    Ok(())
}
