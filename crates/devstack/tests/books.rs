//! The audit against real stores with the tables it reads.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::time::Duration;

use devstack::TestStack;

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
