//! A conditional UPDATE per request, as fast as it can be made: update and record are one statement, one round trip, and
//! the row stays locked for no longer than that and its commit. No Redis.

use tokio_postgres::error::SqlState;

use super::{EARLIER, Sale, Sold, Stores};

const SELL: &str = "WITH sold AS (\
        UPDATE products SET stock = stock - $2 WHERE id = $1 AND stock >= $2 RETURNING stock) \
     INSERT INTO ledger (request_id, product_id, order_id, quantity, remaining_stock) \
     SELECT $3, $1, $4, $2, stock FROM sold RETURNING remaining_stock";

pub(super) async fn sell(stores: &Stores, sale: &Sale<'_>) -> Sold {
    let client = stores.database.get().await?;
    let sell = client.prepare_cached(SELL).await?;
    let sold = client
        .query_opt(&sell, &[&sale.product, &sale.quantity, &sale.key, &sale.order])
        .await;
    match sold {
        Ok(row) => Ok(row.map(|row| row.get(0))),
        // The key is there: nothing was taken, the answer is the first one's.
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            let earlier = client.prepare_cached(EARLIER).await?;
            Ok(client
                .query_opt(&earlier, &[&sale.key])
                .await?
                .map(|row| row.get(0)))
        }
        Err(error) => Err(error.into()),
    }
}
