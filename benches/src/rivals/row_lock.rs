//! A row lock per request: SELECT … FOR UPDATE, look for the key, update, record, commit. No Redis.

use super::{EARLIER, Sale, Sold, Stores, commit};

const LOCK: &str = "SELECT stock FROM products WHERE id = $1 FOR UPDATE";
const UPDATE: &str = "UPDATE products SET stock = $2 WHERE id = $1";

pub(super) async fn sell(stores: &Stores, sale: &Sale<'_>) -> Sold {
    let mut client = stores.database.get().await?;
    let transaction = client.transaction().await?;
    let lock = transaction.prepare_cached(LOCK).await?;
    let Some(row) = transaction.query_opt(&lock, &[&sale.product]).await? else {
        return Ok(None);
    };
    let stock: i64 = row.get(0);
    let earlier = transaction.prepare_cached(EARLIER).await?;
    if let Some(row) = transaction.query_opt(&earlier, &[&sale.key]).await? {
        return Ok(row.get(0));
    }
    let remaining = stock - sale.quantity;
    if remaining < 0 {
        return Ok(None);
    }
    let update = transaction.prepare_cached(UPDATE).await?;
    transaction.execute(&update, &[&sale.product, &remaining]).await?;
    commit(transaction, sale, remaining).await
}
