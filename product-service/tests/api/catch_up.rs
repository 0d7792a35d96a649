//! A gate that has missed thousands of movements of one product: it catches up, in bounded pieces.

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};

use crate::fixture::{REDIS_FIRST, Shop, TestResult};

/// Sells one unit each to so many orders, of which nobody tells the gate.
async fn sell_untold(shop: &Shop, product: i64, orders: i64) -> TestResult {
    let mut connection = AsyncPgConnection::establish(&shop.stack.database_url).await?;
    let sell = format!(
        "BEGIN;
         UPDATE products SET stock = stock - {orders}, stock_version = stock_version + {orders} WHERE id = {product};
         INSERT INTO stock_ledger (product_id, stock_version, direction, quantity, balance_after, reason, order_id,
                                   request_id)
         SELECT p.id, p.stock_version - {orders} + n, 'OUT', 1, p.stock + {orders} - n, 'ORDER_DECREMENT', n,
                'UNTOLD-' || p.id || '-' || n
         FROM products p, generate_series(1, {orders}) n WHERE p.id = {product};
         COMMIT"
    );
    connection.batch_execute(&sell).await?;
    Ok(())
}

#[tokio::test]
async fn a_gate_that_has_missed_thousands_of_movements_catches_up() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(REDIS_FIRST, 20_000).await?;
    shop.balanced(product).await?;
    sell_untold(&shop, product, 9_000).await?;
    assert_eq!(shop.balanced(product).await?.stock, 11_000);
    Ok(())
}

/// One settlement was lost, and thousands after it were not: all of them wait for the one.
#[tokio::test]
async fn a_gap_is_closed_however_many_movements_wait_behind_it() -> TestResult {
    const TELL_ALL_BUT_THE_FIRST: &str = "
        local orders, product = tonumber(ARGV[1]), ARGV[2]
        for n = 2, orders do
            redis.call('HSET', KEYS[2], 'm:' .. (n + 1), '-1')
            redis.call('SADD', KEYS[3], 'UNTOLD-' .. product .. '-' .. n)
        end
        redis.call('HINCRBY', KEYS[2], 'k', orders - 1)
        redis.call('DECRBY', KEYS[1], orders - 1)";
    let shop = Shop::shared().await?;
    let product = shop.product(REDIS_FIRST, 20_000).await?;
    shop.balanced(product).await?;
    let keys = ["", ":gate", ":sold"].map(|end| format!("stock:{{{product}}}{end}"));
    let [counter, gate, sold] = keys.each_ref().map(String::as_str);
    let name = product.to_string();
    // Both between two looks of the reconciler, or as good as: what it tells in between is told twice.
    shop.redis::<()>(&[
        "EVAL",
        TELL_ALL_BUT_THE_FIRST,
        "3",
        counter,
        gate,
        sold,
        "3000",
        &name,
    ])
    .await?;
    sell_untold(&shop, product, 3_000).await?;
    assert_eq!(shop.balanced(product).await?.stock, 17_000);
    Ok(())
}
