//! What the order table itself refuses, whatever the code above it does.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::path::Path;

use devstack::shared_postgres;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use platform::config::Secret;
use platform::database::migrate;

async fn migrated() -> AsyncPgConnection {
    let url = shared_postgres()
        .await
        .unwrap()
        .create_unique_database("orders")
        .await
        .unwrap();
    migrate(&Secret::new(&url), Path::new(""), order_service::db::migrations())
        .await
        .unwrap();
    AsyncPgConnection::establish(&url).await.unwrap()
}

#[tokio::test]
async fn an_order_is_pending_when_it_is_written_and_may_run_its_course() {
    let mut connection = migrated().await;
    connection
        .batch_execute(
            "INSERT INTO orders (product_id, quantity, flow) VALUES (1, 1000000, 'SYNC');
             INSERT INTO orders (product_id, buyer_id, quantity, flow) VALUES (1, 'b', 1, 'ASYNC');
             DO $$ BEGIN ASSERT (SELECT bool_and(status = 'PENDING') FROM orders); END $$;
             UPDATE orders SET status = 'CONFIRMED' WHERE id = 1 AND status = 'PENDING';
             UPDATE orders SET status = 'CANCELLED' WHERE id = 1 AND status = 'CONFIRMED';
             UPDATE orders SET status = 'FAILED', fail_reason = 'INSUFFICIENT_STOCK' WHERE id = 2;
             UPDATE orders SET status = 'PENDING', fail_reason = NULL WHERE id = 2 AND status = 'FAILED';",
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn impossible_orders_are_refused_by_the_table() {
    let mut connection = migrated().await;
    for (columns, values) in [
        ("product_id, quantity, flow", "0, 1, 'SYNC'"),
        ("product_id, quantity, flow", "1, 0, 'SYNC'"),
        ("product_id, quantity, flow", "1, -1, 'SYNC'"),
        ("product_id, quantity, flow", "1, 1000001, 'SYNC'"),
        ("product_id, quantity, flow", "1, 1, 'OTHER'"),
        ("product_id, quantity, flow, buyer_id", "1, 1, 'SYNC', ''"),
        (
            "product_id, quantity, flow, buyer_id",
            "1, 1, 'SYNC', repeat('b', 65)",
        ),
        ("product_id, quantity, flow, status", "1, 1, 'SYNC', 'LOST'"),
        ("product_id, quantity, flow, status", "1, 1, 'SYNC', 'FAILED'"),
        (
            "product_id, quantity, flow, fail_reason",
            "1, 1, 'SYNC', 'TIMEOUT'",
        ),
        (
            "product_id, quantity, flow, status, fail_reason",
            "1, 1, 'SYNC', 'FAILED', 'a sentence'",
        ),
    ] {
        let insert = format!("INSERT INTO orders ({columns}) VALUES ({values})");
        let error = connection
            .batch_execute(&insert)
            .await
            .expect_err(&insert)
            .to_string();
        assert!(error.contains("check constraint"), "{insert}: {error}");
    }
}

#[tokio::test]
async fn every_table_column_and_index_says_what_it_is_for() {
    let mut connection = migrated().await;
    connection
        .batch_execute(
            "DO $$ DECLARE silent text; BEGIN
                SELECT string_agg(name, ', ') INTO silent FROM (
                    SELECT oid, relname::text AS name, obj_description(oid) AS comment FROM pg_class
                    WHERE relkind IN ('r', 'i') AND oid NOT IN (SELECT indexrelid FROM pg_index WHERE indisprimary)
                    UNION ALL
                    SELECT oid, relname || '.' || attname, col_description(oid, attnum)
                    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0
                    WHERE relkind = 'r'
                ) AS named JOIN pg_class USING (oid)
                WHERE relnamespace = 'public'::regnamespace AND comment IS NULL AND name NOT LIKE '\\_\\_diesel%';
                ASSERT silent IS NULL, silent;
             END $$;",
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn keys_are_compared_byte_by_byte_whatever_the_language_of_the_database() {
    let mut connection = migrated().await;
    connection
        .batch_execute(
            "DO $$ DECLARE found text; BEGIN
                SELECT string_agg(attname || ' ' || collname, ', ' ORDER BY attname) INTO found
                FROM pg_attribute JOIN pg_collation ON attcollation = pg_collation.oid
                WHERE attrelid = 'orders'::regclass AND attname IN ('buyer_id', 'idempotency_key');
                ASSERT found = 'buyer_id C, idempotency_key C', found;
             END $$;",
        )
        .await
        .unwrap();
}
