//! Steps of sagas: beginning and taking them up. What becomes of them is `conclude`'s.

use chrono::{TimeDelta, Utc};
use contracts::messaging::StockRequest;
use contracts::order::{Flow, OrderStatus};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use platform::database::Pool;
use platform::named::named;
use platform::trace::TraceContext;

use super::orders::OrderColumns;
use super::schema::{orders, saga};
use super::sql::{BeginCancel, TakeUpSteps};
use super::words::Stored;
use super::{DbError, outbox};
use crate::domain::attempt::Attempt;
use crate::domain::order::{Event, Order};
use crate::saga::Step;

/// A step that has been taken up: nobody else does so until the lease is over.
#[derive(Debug, Clone)]
pub struct Due {
    /// The step.
    pub step: Step,
    /// Which attempt it is about. Not always the one the order is in: a void may be of an earlier one.
    pub attempt: Attempt,
    /// How often it has been taken up, this time included.
    pub tries: i32,
    /// The order as it is now.
    pub order: Order,
    /// What caused it, as far as is known.
    pub trace_context: Option<TraceContext>,
}

/// Takes up what is due, at most `limit`, for `lease_ms`. Several instances may do this at once.
///
/// # Errors
/// [`DbError`].
pub async fn take_up(pool: &Pool, limit: i64, lease_ms: i64) -> Result<Vec<Due>, DbError> {
    let mut connection = pool.get().await?;
    let statement = TakeUpSteps {
        limit: &limit,
        lease_ms: &lease_ms,
    };
    let rows: Vec<(i32, String, i32, Option<String>, OrderColumns)> =
        named("saga: take up", statement).load(&mut connection).await?;
    rows.into_iter()
        .map(|(number, step, tries, trace_context, order)| {
            let order = order.order()?;
            let attempt = Attempt {
                order_id: order.id,
                number,
            };
            Ok(Due {
                step: Step::stored(&step)?,
                attempt,
                tries,
                order,
                trace_context: trace_context.and_then(|text| text.parse().ok()),
            })
        })
        .collect()
}

/// Begins to cancel an order, for whoever asked, who has the step for `lease_ms`. `false`: the order is not confirmed,
/// or somebody is cancelling it already.
///
/// # Errors
/// [`DbError`]; when the commit is unknown, the recovery worker carries the cancel on.
pub async fn begin_cancel(
    pool: &Pool,
    id: i64,
    lease_ms: i64,
    cause: Option<TraceContext>,
) -> Result<bool, DbError> {
    let mut connection = pool.get().await?;
    let statement = BeginCancel {
        id: &id,
        lease_ms: &lease_ms,
        trace_context: &cause.map(|cause| cause.to_string()),
    };
    let begun: Vec<i64> = named("saga: begin cancel", statement)
        .load(&mut connection)
        .await?;
    Ok(!begun.is_empty())
}

/// Whether a cancel of this order is under way.
///
/// # Errors
/// [`DbError`].
pub async fn is_being_cancelled(pool: &Pool, id: i64) -> Result<bool, DbError> {
    let mut connection = pool.get().await?;
    let step = saga::table
        .filter(saga::order_id.eq(id))
        .filter(saga::step.eq(Step::Cancel.word()))
        .select(saga::order_id);
    let found: Vec<i64> = named("saga: is being cancelled", step)
        .load(&mut connection)
        .await?;
    Ok(!found.is_empty())
}

/// Sends a failed order again, as a new attempt: by message, watched over for `watch_ms`, or at once by the recovery
/// worker. `None`: the order is not FAILED.
///
/// # Errors
/// [`DbError`]; a commit may have happened.
pub async fn retry(
    pool: &Pool,
    id: i64,
    watch_ms: i64,
    cause: Option<TraceContext>,
) -> Result<Option<Order>, DbError> {
    let mut connection = pool.get().await?;
    connection
        .transaction(async |c| {
            let Some(order) = reopen(c, id, watch_ms, cause).await? else {
                return Ok(None);
            };
            if order.flow == Flow::Async {
                outbox::store(c, &order, &request_of(&order), cause).await?;
            }
            Ok(Some(order))
        })
        .await
}

/// FAILED to PENDING, under the next attempt, with the step that takes its stock.
pub(super) async fn reopen(
    c: &mut AsyncPgConnection,
    id: i64,
    watch_ms: i64,
    cause: Option<TraceContext>,
) -> Result<Option<Order>, DbError> {
    let (leaves, enters): (OrderStatus, OrderStatus) = Event::Retried.transition();
    let change = diesel::update(orders::table.find(id).filter(orders::status.eq(leaves.word())))
        .set((
            orders::status.eq(enters.word()),
            orders::fail_reason.eq(None::<String>),
            orders::attempt.eq(orders::attempt + 1),
            orders::updated_at.eq(diesel::dsl::now),
        ))
        .returning(OrderColumns::as_returning());
    let row: Option<OrderColumns> = named("saga: reopen", change).get_result(c).await.optional()?;
    let Some(order) = row.map(OrderColumns::order).transpose()? else {
        return Ok(None);
    };
    let watch_ms = if order.flow == Flow::Async { watch_ms } else { 0 };
    let step = (
        saga::order_id.eq(order.id),
        saga::attempt.eq(order.attempt),
        saga::step.eq(Step::Decrease.word()),
        saga::next_try_at.eq(Utc::now() + TimeDelta::milliseconds(watch_ms)),
        saga::trace_context.eq(cause.map(|cause| cause.to_string())),
    );
    named("saga: first step", diesel::insert_into(saga::table).values(step))
        .execute(c)
        .await?;
    Ok(Some(order))
}

/// The message that asks for the stock of the attempt an order is in.
pub(super) fn request_of(order: &Order) -> StockRequest {
    StockRequest::new(
        order.attempt().decrease_id(),
        order.id,
        order.product_id,
        order.quantity,
        order.buyer_id.clone(),
    )
}
