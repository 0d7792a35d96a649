//! The ordinary design, well done: a script takes the units in Redis in one round trip, then one transaction per request
//! looks for the key, updates the stock on condition and writes the record; if it fails, the units go back.

use std::sync::LazyLock;

use anyhow::Result;
use redis::{AsyncCommands, Script};

use super::{EARLIER, Sale, Sold, Stores, commit, counter};

/// Takes the units if there are enough: the counter after it, or -1.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local stock = tonumber(redis.call('GET', KEYS[1]) or '0') \
         if stock < tonumber(ARGV[1]) then return -1 end \
         return redis.call('DECRBY', KEYS[1], ARGV[1])",
    )
});
const UPDATE: &str = "UPDATE products SET stock = stock - $2 WHERE id = $1 AND stock >= $2 RETURNING stock";

pub(super) async fn sell(stores: &Stores, sale: &Sale<'_>) -> Sold {
    let counter = counter(sale.product);
    let mut redis = stores.redis.get().await?;
    let taken: i64 = TAKE
        .key(&counter)
        .arg(sale.quantity)
        .invoke_async(&mut redis)
        .await?;
    drop(redis);
    if taken < 0 {
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
    let transaction = client.transaction().await?;
    let earlier = transaction.prepare_cached(EARLIER).await?;
    if let Some(row) = transaction.query_opt(&earlier, &[&sale.key]).await? {
        return Ok(row.get(0));
    }
    let update = transaction.prepare_cached(UPDATE).await?;
    let Some(row) = transaction
        .query_opt(&update, &[&sale.product, &sale.quantity])
        .await?
    else {
        return Ok(None);
    };
    let remaining: i64 = row.get(0);
    commit(transaction, sale, remaining).await
}
