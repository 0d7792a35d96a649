//! The audit against real stores with the tables it reads.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::time::Duration;

use devstack::TestStack;
use devstack::books::orders;

async fn execute(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
}

async fn redis_do(url: &str, words: &[&str]) {
    let mut connection = redis::Client::open(url)
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    redis::cmd(words[0])
        .arg(&words[1..])
        .exec_async(&mut connection)
        .await
        .unwrap();
}

const TABLES: &str = "
    CREATE TABLE products (id bigint, stock bigint, stock_version bigint, stock_strategy text, purchase_limit bigint);
    CREATE TABLE stock_ledger (product_id bigint, stock_version bigint, direction text, quantity bigint,
        balance_after bigint, reason text, buyer_id text);
    INSERT INTO products VALUES (1, 7, 3, 'REDIS_FIRST'), (2, 0, 0, 'DB_ONLY');
    INSERT INTO stock_ledger VALUES (1, 1, 'IN', 10, 10, 'INITIAL'), (1, 2, 'OUT', 4, 6, 'ORDER_DECREMENT'),
        (1, 3, 'IN', 1, 7, 'ORDER_INCREMENT');";

#[tokio::test]
async fn the_audit_sees_the_ledger_and_the_gate() {
    let stack = TestStack::shared().await.unwrap();
    execute(&stack.database_url, TABLES).await;
    let books = stack
        .wait_until_balanced(&[1, 2], Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!(
        (books[0].stock, books[0].units_sold, books[0].movements),
        (7, 3, 3)
    );
    assert_eq!(
        (books[1].stock, books[1].movements, &books[1].gate),
        (0, 0, &None)
    );

    redis_do(&stack.redis_url, &["SET", "stock:{1}", "5"]).await;
    redis_do(
        &stack.redis_url,
        &["HSET", "stock:{1}:gate", "v", "3", "h:DEC-9", "2:1700000000000"],
    )
    .await;
    let error = stack
        .wait_until_balanced(&[1], Duration::from_millis(100))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("gate counter 5, but stock 7"), "{error}");
    assert!(error.contains("1 holds of 2 units are not settled"), "{error}");

    redis_do(&stack.redis_url, &["SET", "stock:{1}", "7"]).await;
    redis_do(&stack.redis_url, &["HDEL", "stock:{1}:gate", "h:DEC-9"]).await;
    stack
        .wait_until_balanced(&[1], Duration::from_secs(5))
        .await
        .unwrap();

    execute(
        &stack.database_url,
        "DELETE FROM stock_ledger WHERE stock_version = 2",
    )
    .await;
    let faults = stack.audit(&[1]).await.unwrap()[0].faults();
    assert!(
        faults.iter().any(|fault| fault.contains("does not follow")),
        "{faults:?}"
    );
    assert!(stack.audit(&[3]).await.is_err(), "no such product");
}

const ORDER_TABLES: &str = "
    CREATE TABLE stock_ledger (product_id bigint, direction text, quantity bigint, reason text, order_id bigint);
    INSERT INTO stock_ledger VALUES (1, 'IN', 10, 'INITIAL', NULL), (1, 'OUT', 2, 'ORDER_DECREMENT', 1),
        (1, 'OUT', 3, 'ORDER_DECREMENT', 2), (1, 'IN', 3, 'ORDER_INCREMENT', 2), (9, 'OUT', 1, 'ORDER_DECREMENT', 4);
    CREATE TABLE orders (id bigint, product_id bigint, quantity bigint, status text, fail_reason text,
        idempotency_key text, updated_at timestamptz DEFAULT now());
    CREATE TABLE saga (order_id bigint);
    CREATE TABLE outbox (order_id bigint, status text);
    INSERT INTO orders VALUES (1, 1, 2, 'CONFIRMED', NULL, 'a'), (2, 1, 3, 'CANCELLED', NULL, NULL),
        (3, 1, 4, 'FAILED', 'INSUFFICIENT_STOCK', NULL), (4, 9, 1, 'PENDING', NULL, NULL);
    INSERT INTO saga VALUES (4);
    INSERT INTO outbox VALUES (1, 'SENT'), (4, 'FAILED');";

#[tokio::test]
async fn the_audit_of_orders_sees_both_databases() {
    let stack = TestStack::shared().await.unwrap();
    let url = &stack.database_url;
    execute(url, ORDER_TABLES).await;
    let settled = async || orders::wait_until_settled(url, url, &[1], Duration::from_millis(100)).await;
    let books = settled().await.unwrap();
    assert_eq!(
        books.orders.len(),
        3,
        "orders of other products are nobody's concern"
    );
    assert_eq!(books.orders[0].key.as_deref(), Some("a"));

    let open = orders::open(url, &[1, 9]).await.unwrap();
    assert_eq!((open.pending, open.steps, open.unsent), (1, 1, 1));

    execute(
        url,
        "UPDATE orders SET status = 'FAILED', fail_reason = 'NO_ANSWER' WHERE id = 1",
    )
    .await;
    let error = settled().await.unwrap_err().to_string();
    assert!(
        error.contains("order 1 of 2 of product 1 is Failed, but took 2"),
        "{error}"
    );
    execute(url, "DELETE FROM orders WHERE id = 1").await;
    let error = settled().await.unwrap_err().to_string();
    assert!(
        error.contains("order 1 took 2 of product 1, and is not there"),
        "{error}"
    );
}
