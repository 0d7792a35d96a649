//! The outbox: messages stored with the change they tell of.

use chrono::{DateTime, Utc};
use contracts::messaging::StockRequest;
use contracts::order::{OutboxStatus, OutboxView};
use contracts::product::Page;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use platform::database::Pool;
use platform::named::named;
use platform::trace::TraceContext;

use super::DbError;
use super::saga::{reopen, request_of};
use super::schema::{orders, outbox};
use super::words::Stored;
use crate::domain::order::{FailReason, Order};

/// Tells every relay that there is something to publish, once this transaction is committed.
pub(super) async fn nudge(c: &mut AsyncPgConnection) -> Result<(), DbError> {
    Ok(c.batch_execute("-- outbox: nudge\nNOTIFY outbox").await?)
}

/// Stores the message of an attempt.
pub(super) async fn store(
    c: &mut AsyncPgConnection,
    order: &Order,
    request: &StockRequest,
    cause: Option<TraceContext>,
) -> Result<(), DbError> {
    let row = (
        outbox::order_id.eq(order.id),
        outbox::attempt.eq(order.attempt),
        outbox::event_type.eq("STOCK_DECREASE"),
        outbox::payload.eq(request.to_json()),
        outbox::trace_context.eq(cause.map(|cause| cause.to_string())),
    );
    named("outbox: store", diesel::insert_into(outbox::table).values(row))
        .execute(c)
        .await?;
    nudge(c).await
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = outbox, check_for_backend(Pg))]
pub(super) struct OutboxColumns {
    id: i64,
    order_id: i64,
    event_type: String,
    payload: String,
    status: String,
    attempts: i32,
    next_attempt_at: DateTime<Utc>,
    last_error: Option<String>,
    created_at: DateTime<Utc>,
    sent_at: Option<DateTime<Utc>>,
}

impl OutboxColumns {
    pub(super) fn view(self) -> Result<OutboxView, DbError> {
        Ok(OutboxView {
            id: self.id,
            order_id: self.order_id,
            event_type: self.event_type,
            payload: self.payload,
            status: OutboxStatus::stored(&self.status)?,
            attempts: self.attempts,
            next_attempt_at: self.next_attempt_at,
            last_error: self.last_error,
            created_at: self.created_at,
            sent_at: self.sent_at,
        })
    }
}

/// One page of messages, newest first.
///
/// # Errors
/// [`DbError`].
pub async fn list(
    pool: &Pool,
    status: Option<OutboxStatus>,
    page: i64,
    size: i64,
) -> Result<Page<OutboxView>, DbError> {
    let mut connection = pool.get().await?;
    let filtered = || {
        let rows = outbox::table.into_boxed::<Pg>();
        match status {
            Some(status) => rows.filter(outbox::status.eq(status.word())),
            None => rows,
        }
    };
    let total: i64 = filtered().count().get_result(&mut connection).await?;
    let rows: Vec<OutboxColumns> = filtered()
        .order(outbox::id.desc())
        .limit(size)
        .offset(page.saturating_mul(size))
        .select(OutboxColumns::as_select())
        .load(&mut connection)
        .await?;
    let content = rows
        .into_iter()
        .map(OutboxColumns::view)
        .collect::<Result<_, _>>()?;
    Ok(Page::new(content, page, size, total))
}

/// What became of a message that was to go again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requeued {
    /// It goes again.
    Done(OutboxView),
    /// It is neither FAILED nor DEAD.
    NotFailed(OutboxStatus),
    /// There is none.
    NotFound,
}

/// Sends a FAILED or DEAD message again, its attempts forgotten. An order that failed by it is PENDING again, under a
/// new attempt: the old one was given up for good, and its key with it.
///
/// # Errors
/// [`DbError`]; a commit may have happened.
pub async fn requeue(
    pool: &Pool,
    id: i64,
    watch_ms: i64,
    cause: Option<TraceContext>,
) -> Result<Requeued, DbError> {
    let mut connection = pool.get().await?;
    connection
        .transaction(async |c| requeue_locked(c, id, watch_ms, cause).await)
        .await
}

async fn requeue_locked(
    c: &mut AsyncPgConnection,
    id: i64,
    watch_ms: i64,
    cause: Option<TraceContext>,
) -> Result<Requeued, DbError> {
    let row = outbox::table
        .find(id)
        .select((outbox::order_id, outbox::status))
        .for_update();
    let row: Option<(i64, String)> = named("outbox: lock", row).get_result(c).await.optional()?;
    let Some((order_id, status)) = row else {
        return Ok(Requeued::NotFound);
    };
    let status = OutboxStatus::stored(&status)?;
    if !matches!(status, OutboxStatus::Failed | OutboxStatus::Dead) {
        return Ok(Requeued::NotFailed(status));
    }
    let failed_by_it = orders::table
        .find(order_id)
        .filter(orders::fail_reason.eq(FailReason::OutboxRetryExhausted.word()))
        .select(orders::id);
    let failed_by_it: Option<i64> = named("outbox: did its order fail by it", failed_by_it)
        .get_result(c)
        .await
        .optional()?;
    let reopened = match failed_by_it {
        Some(order_id) => reopen(c, order_id, watch_ms, cause).await?,
        None => None,
    };
    if let Some(order) = reopened {
        let change = diesel::update(outbox::table.find(id)).set((
            outbox::attempt.eq(order.attempt),
            outbox::payload.eq(request_of(&order).to_json()),
        ));
        named("outbox: next attempt", change).execute(c).await?;
    }
    let change = diesel::update(outbox::table.find(id))
        .set((
            outbox::status.eq(OutboxStatus::Pending.word()),
            outbox::attempts.eq(0),
            outbox::next_attempt_at.eq(diesel::dsl::now),
            // Whoever sends it again is its cause now; one without a name leaves it with the first.
            cause.map(|cause| outbox::trace_context.eq(cause.to_string())),
        ))
        .returning(OutboxColumns::as_returning());
    let row: OutboxColumns = named("outbox: requeue", change).get_result(c).await?;
    nudge(c).await?;
    Ok(Requeued::Done(row.view()?))
}
