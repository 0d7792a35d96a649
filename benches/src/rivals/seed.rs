//! The algorithm of the project hotstock began with: DECRBY, and INCRBY when that went below zero, in two trips; the
//! idempotency record in a transaction of its own; then a transaction that locks the row, updates it and writes the
//! record. Pools and prepared statements are ours.

use anyhow::Result;
use redis::AsyncCommands;

use super::{EARLIER, Sale, Sold, Stores, commit, counter};

const REMEMBER: &str = "INSERT INTO idempotency (request_id) VALUES ($1) ON CONFLICT DO NOTHING";
const LOCK: &str = "SELECT stock FROM products WHERE id = $1 FOR UPDATE";
const UPDATE: &str = "UPDATE products SET stock = $2 WHERE id = $1";

pub(super) async fn sell(stores: &Stores, sale: &Sale<'_>) -> Sold {
    let counter = counter(sale.product);
    let left: i64 = stores.redis.get().await?.decr(&counter, sale.quantity).await?;
    if left < 0 {
        let () = stores.redis.get().await?.incr(&counter, sale.quantity).await?;
        return Ok(None);
    }
    let sold = record(stores, sale).await;
    if !matches!(sold, Ok(Some(_))) {
        let () = stores.redis.get().await?.incr(&counter, sale.quantity).await?;
    }
    sold
}

async fn record(stores: &Stores, sale: &Sale<'_>) -> Result<Option<i64>> {
    let mut client = stores.database.get().await?;
    let remember = client.prepare_cached(REMEMBER).await?;
    if client.execute(&remember, &[&sale.key]).await? == 0 {
        let earlier = client.prepare_cached(EARLIER).await?;
        return Ok(client
            .query_opt(&earlier, &[&sale.key])
            .await?
            .map(|row| row.get(0)));
    }
    let transaction = client.transaction().await?;
    let lock = transaction.prepare_cached(LOCK).await?;
    let Some(row) = transaction.query_opt(&lock, &[&sale.product]).await? else {
        return Ok(None);
    };
    let remaining = row.get::<_, i64>(0) - sale.quantity;
    if remaining < 0 {
        return Ok(None);
    }
    let update = transaction.prepare_cached(UPDATE).await?;
    transaction.execute(&update, &[&sale.product, &remaining]).await?;
    commit(transaction, sale, remaining).await
}
