//! Placing: new orders, with the saga's row that watches over each and, for those asked for by message, the message.
//! All in one transaction, for as many as wait.

use std::collections::HashMap;
use std::time::Duration;

use contracts::messaging::StockRequest;
use contracts::order::Flow;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use platform::database::Pool;
use platform::named::named;
use platform::trace::TraceContext;

use super::orders::{self, OrderColumns};
use super::schema::orders as table;
use super::sql::{NextOrderIds, PlaceOrders};
use super::words::Stored;
use super::{DbError, outbox, repeated};
use crate::domain::attempt::Attempt;
use crate::domain::order::{NewOrder, Order};

/// An order to be placed.
#[derive(Debug)]
pub struct Place {
    /// The order.
    pub order: NewOrder,
    /// When the recovery worker looks after it, milliseconds from now.
    pub watch_ms: i64,
    /// What caused it.
    pub trace_context: Option<TraceContext>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// Written now.
    New(Order),
    /// Its key belongs to this order, which is what was asked for.
    Replay(Order),
    /// Its key belongs to another order.
    KeyReused,
}

/// Places a batch. Under a key that is known nothing is written.
///
/// # Errors
/// [`DbError`]: a commit may have happened.
pub fn place<'a>(
    pool: &'a Pool,
    limit: Duration,
    batch: &'a [Place],
) -> BoxFuture<'a, Result<Vec<Placed>, DbError>> {
    async move {
        let ids = repeated(limit, || next_ids(pool, batch.len())).await?;
        // With ids of their own the orders can be written again after a commit whose answer was lost.
        repeated(limit, || write(pool, &ids, batch)).await
    }
    .boxed()
}

async fn next_ids(pool: &Pool, count: usize) -> Result<Vec<i64>, DbError> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let mut connection = pool.get().await?;
    let ids = named("place: ids", NextOrderIds { count: &count });
    Ok(ids.load(&mut connection).await?)
}

async fn write(pool: &Pool, ids: &[i64], batch: &[Place]) -> Result<Vec<Placed>, DbError> {
    let mut connection = pool.get().await?;
    connection
        .transaction(async |c| write_locked(c, ids, batch).await)
        .await
}

async fn write_locked(
    c: &mut AsyncPgConnection,
    ids: &[i64],
    batch: &[Place],
) -> Result<Vec<Placed>, DbError> {
    let column = |of: fn(&Place) -> Option<&str>| batch.iter().map(of).collect::<Vec<_>>();
    let payloads: Vec<Option<String>> = ids
        .iter()
        .zip(batch)
        .map(|(id, place)| message(*id, &place.order))
        .collect();
    let asked_by_message = payloads.iter().any(Option::is_some);
    let statement = PlaceOrders {
        id: &ids.to_vec(),
        product_id: &batch.iter().map(|place| place.order.product_id).collect(),
        buyer_id: &column(|place| place.order.buyer_id.as_deref()),
        quantity: &batch.iter().map(|place| place.order.quantity).collect(),
        flow: &batch.iter().map(|place| place.order.flow.word()).collect(),
        idempotency_key: &column(|place| place.order.idempotency_key.as_deref()),
        watch_ms: &batch.iter().map(|place| place.watch_ms).collect(),
        payload: &payloads,
        trace_context: &batch
            .iter()
            .map(|place| place.trace_context.map(|context| context.to_string()))
            .collect(),
    };
    let rows: Vec<OrderColumns> = named("place: orders", statement).load(c).await?;
    let mut found: HashMap<i64, Order> = HashMap::with_capacity(rows.len());
    for row in rows {
        let order = row.order()?;
        found.insert(order.id, order);
    }
    let known = if found.len() < batch.len() {
        let unplaced: Vec<i64> = ids.iter().copied().filter(|id| !found.contains_key(id)).collect();
        // Ours, when this is a repetition after a commit whose answer was lost.
        for order in orders::by_ids(c, &unplaced).await? {
            found.insert(order.id, order);
        }
        by_keys(c, batch).await?
    } else {
        HashMap::new()
    };
    if asked_by_message {
        outbox::nudge(c).await?;
    }
    ids.iter()
        .zip(batch)
        .map(|(id, place)| {
            if let Some(order) = found.remove(id) {
                return Ok(Placed::New(order));
            }
            let key = place.order.idempotency_key.as_deref().unwrap_or_default();
            match known.get(key) {
                Some(order) if place.order.is_for(order) => Ok(Placed::Replay(order.clone())),
                Some(_) => Ok(Placed::KeyReused),
                None => Err(DbError::Stored(key.to_owned())),
            }
        })
        .collect()
}

/// The message that asks for the stock of an order placed under `id`.
fn message(id: i64, order: &NewOrder) -> Option<String> {
    let attempt = Attempt {
        order_id: id,
        number: 0,
    };
    let request = || {
        StockRequest::new(
            attempt.decrease_id(),
            id,
            order.product_id,
            order.quantity,
            order.buyer_id.clone(),
        )
    };
    (order.flow == Flow::Async).then(|| request().to_json())
}

/// The orders that the batch's keys belong to.
async fn by_keys(c: &mut AsyncPgConnection, batch: &[Place]) -> Result<HashMap<String, Order>, DbError> {
    let keys: Vec<&str> = batch
        .iter()
        .filter_map(|place| place.order.idempotency_key.as_deref())
        .collect();
    let rows = table::table.filter(table::idempotency_key.eq_any(keys)).select((
        table::idempotency_key.assume_not_null(),
        OrderColumns::as_select(),
    ));
    let rows: Vec<(String, OrderColumns)> = named("place: orders by key", rows).load(c).await?;
    rows.into_iter()
        .map(|(key, row)| Ok((key, row.order()?)))
        .collect()
}
