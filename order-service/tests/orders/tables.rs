//! What the tables themselves see to: what a change of status costs, and which words they take.

use devstack::wait_for;

use crate::fixture::{PATIENCE, TestResult, World};

const ORDERS: i64 = 300;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_status_writes_to_no_index() -> TestResult {
    let world = World::start().await?;
    let product = world.stocked(ORDERS).await?;
    world
        .number(&format!(
            "WITH placed AS (INSERT INTO orders (product_id, quantity, flow) \
             SELECT {product}, 1, 'SYNC' FROM generate_series(1, {ORDERS}) RETURNING id), \
             steps AS (INSERT INTO saga (order_id, attempt, step, next_try_at) \
             SELECT id, 0, 'DECREASE', now() FROM placed RETURNING 1) \
             SELECT count(*) FROM steps"
        ))
        .await?;
    // The recovery worker asks for them over HTTP: every row has two versions on its page for a while.
    world.settled(product).await?;
    let column = async |name: &str| {
        let query = format!("SELECT {name} FROM pg_stat_user_tables WHERE relname = 'orders'");
        world.number(&query).await.map_err(|error| error.to_string())
    };
    wait_for("the updates to be counted", PATIENCE, async || {
        match column("n_tup_upd").await? {
            ORDERS => Ok(()),
            other => Err(format!("{other} of {ORDERS}")),
        }
    })
    .await?;
    assert_eq!(column("n_tup_hot_upd").await, Ok(ORDERS));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_reasons_are_words_of_their_alphabet() -> TestResult {
    let world = World::start().await?;
    let insert = async |status: &str, key: &str, reason: &str| {
        let query = format!(
            "INSERT INTO orders (product_id, quantity, flow, status, idempotency_key, fail_reason) \
             VALUES (1, 1, 'SYNC', '{status}', {key}, {reason}) RETURNING id"
        );
        world.number(&query).await
    };
    for key in ["'!~'", "'a'", "repeat('k', 128)", "NULL"] {
        insert("CONFIRMED", key, "NULL").await?;
    }
    for key in [
        "''",
        "'a b'",
        "'a'||chr(9)",
        "'a'||chr(10)",
        "'schlüssel'",
        "chr(127)",
        "repeat('k', 129)",
    ] {
        assert!(insert("CONFIRMED", key, "NULL").await.is_err(), "{key}");
    }
    for reason in ["'X'", "'OUT_OF_STOCK_2'", "repeat('X', 64)"] {
        insert("FAILED", "NULL", reason).await?;
    }
    for reason in [
        "''",
        "'x'",
        "'_X'",
        "'2X'",
        "'X Y'",
        "'X'||chr(10)",
        "'Ü'",
        "repeat('X', 65)",
    ] {
        assert!(insert("FAILED", "NULL", reason).await.is_err(), "{reason}");
    }
    Ok(())
}
