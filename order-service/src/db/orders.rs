//! Reading orders.

use chrono::{DateTime, Utc};
use contracts::order::{Flow, OrderStatus, OrderView, StuckOrder};
use contracts::product::Page;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::database::Pool;
use platform::named::named;

use super::DbError;
use super::schema::{orders, saga};
use super::words::Stored;
use crate::domain::order::Order;
use crate::saga::Step;

/// An order as its row has it, without the client's key.
#[derive(Queryable, Selectable)]
#[diesel(table_name = orders, check_for_backend(Pg))]
pub(super) struct OrderColumns {
    id: i64,
    product_id: i64,
    buyer_id: Option<String>,
    quantity: i64,
    status: String,
    fail_reason: Option<String>,
    flow: String,
    attempt: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl OrderColumns {
    pub(super) fn order(self) -> Result<Order, DbError> {
        Ok(Order {
            id: self.id,
            product_id: self.product_id,
            buyer_id: self.buyer_id,
            quantity: self.quantity,
            status: OrderStatus::stored(&self.status)?,
            fail_reason: self.fail_reason,
            flow: Flow::stored(&self.flow)?,
            attempt: self.attempt,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

/// One order.
///
/// # Errors
/// [`DbError`].
pub async fn get(pool: &Pool, id: i64) -> Result<Option<Order>, DbError> {
    let mut connection = pool.get().await?;
    let row = orders::table.find(id).select(OrderColumns::as_select());
    let row = named("orders: get", row)
        .get_result(&mut connection)
        .await
        .optional()?;
    row.map(OrderColumns::order).transpose()
}

/// The order a client's key belongs to.
///
/// # Errors
/// [`DbError`].
pub async fn by_key(pool: &Pool, key: &str) -> Result<Option<Order>, DbError> {
    let mut connection = pool.get().await?;
    let row = orders::table
        .filter(orders::idempotency_key.eq(key))
        .select(OrderColumns::as_select());
    let row = named("orders: by key", row)
        .get_result(&mut connection)
        .await
        .optional()?;
    row.map(OrderColumns::order).transpose()
}

/// The orders with these ids, in no order; those that are not there are left out.
pub(super) async fn by_ids(c: &mut AsyncPgConnection, ids: &[i64]) -> Result<Vec<Order>, DbError> {
    let rows = orders::table
        .filter(orders::id.eq_any(ids))
        .select(OrderColumns::as_select());
    let rows: Vec<OrderColumns> = named("orders: by ids", rows).load(c).await?;
    rows.into_iter().map(OrderColumns::order).collect()
}

/// The same, on a connection of its own.
///
/// # Errors
/// [`DbError`].
pub async fn several(pool: &Pool, ids: &[i64]) -> Result<Vec<Order>, DbError> {
    by_ids(&mut *pool.get().await?, ids).await
}

/// Which orders to list, and which page of them.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Only of this buyer.
    pub buyer_id: Option<String>,
    /// Only of this product.
    pub product_id: Option<i64>,
    /// Only of this status.
    pub status: Option<OrderStatus>,
    /// Page, from 0.
    pub page: i64,
    /// Entries per page, 1..=100.
    pub size: i64,
}

/// One page of orders, newest first.
///
/// # Errors
/// [`DbError`].
pub async fn list(pool: &Pool, listing: &Listing) -> Result<Page<OrderView>, DbError> {
    let mut connection = pool.get().await?;
    let total: i64 = filtered(listing).count().get_result(&mut connection).await?;
    let rows: Vec<OrderColumns> = filtered(listing)
        .order(orders::id.desc())
        .limit(listing.size)
        .offset(listing.page.saturating_mul(listing.size))
        .select(OrderColumns::as_select())
        .load(&mut connection)
        .await?;
    let content = rows
        .into_iter()
        .map(|row| row.order().map(Order::view))
        .collect::<Result<_, _>>()?;
    Ok(Page::new(content, listing.page, listing.size, total))
}

fn filtered(listing: &Listing) -> orders::BoxedQuery<'_, Pg> {
    let mut rows = orders::table.into_boxed();
    if let Some(buyer_id) = &listing.buyer_id {
        rows = rows.filter(orders::buyer_id.eq(buyer_id));
    }
    if let Some(product_id) = listing.product_id {
        rows = rows.filter(orders::product_id.eq(product_id));
    }
    if let Some(status) = listing.status {
        rows = rows.filter(orders::status.eq(status.word()));
    }
    // No index contains the status; those whose outcome is open have a step, and these are few.
    if listing.status == Some(OrderStatus::Pending) {
        let open = saga::table.filter(saga::step.eq(Step::Decrease.word()));
        rows = rows.filter(orders::id.eq_any(open.select(saga::order_id)));
    }
    rows
}

type StepColumns = (String, i32, i32, Option<String>, DateTime<Utc>, DateTime<Utc>);

/// Steps that have been open for longer than `older_than_ms`, oldest first, at most `limit`.
///
/// # Errors
/// [`DbError`].
pub async fn stuck(pool: &Pool, older_than_ms: i64, limit: i64) -> Result<Vec<StuckOrder>, DbError> {
    let mut connection = pool.get().await?;
    let since = Utc::now() - chrono::TimeDelta::milliseconds(older_than_ms);
    let rows = saga::table
        .inner_join(orders::table.on(orders::id.eq(saga::order_id)))
        .filter(saga::created_at.lt(since))
        .order(saga::created_at)
        .limit(limit)
        .select((
            OrderColumns::as_select(),
            (
                saga::step,
                saga::attempt,
                saga::tries,
                saga::last_error,
                saga::next_try_at,
                saga::created_at,
            ),
        ));
    let rows: Vec<(OrderColumns, StepColumns)> = named("orders: stuck", rows).load(&mut connection).await?;
    rows.into_iter()
        .map(
            |(order, (step, attempt, tries, last_error, next_try_at, since))| {
                let order = order.order()?.view();
                Ok(StuckOrder {
                    order,
                    step,
                    attempt,
                    tries,
                    last_error,
                    next_try_at,
                    since,
                })
            },
        )
        .collect()
}
