//! What the console shows of orders and messages: the newest, by index, without counting the rest.

use contracts::order::{OrderView, OutboxStatus, OutboxView};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use platform::database::Pool;
use platform::named::named;

use super::DbError;
use super::orders::OrderColumns;
use super::outbox::OutboxColumns;
use super::schema::{orders, outbox};
use super::words::Stored;

/// The newest orders.
///
/// # Errors
/// [`DbError`].
pub async fn newest(pool: &Pool, limit: i64) -> Result<Vec<OrderView>, DbError> {
    let mut connection = pool.get().await?;
    let rows = orders::table
        .order(orders::id.desc())
        .limit(limit)
        .select(OrderColumns::as_select());
    let rows: Vec<OrderColumns> = named("console: orders", rows).load(&mut connection).await?;
    rows.into_iter().map(|row| Ok(row.order()?.view())).collect()
}

/// The newest messages that could not be published: first those given up, then those that are tried again.
///
/// # Errors
/// [`DbError`].
pub async fn troubled(pool: &Pool, limit_each: i64) -> Result<Vec<OutboxView>, DbError> {
    let mut connection = pool.get().await?;
    let mut messages = Vec::new();
    for status in [OutboxStatus::Dead, OutboxStatus::Failed] {
        let rows = outbox::table
            .filter(outbox::status.eq(status.word()))
            // Always true then; in the words of the index, so that the planner sees that it has them.
            .filter(diesel::dsl::sql::<diesel::sql_types::Bool>(
                "status IN ('FAILED', 'DEAD')",
            ))
            .order(outbox::id.desc())
            .limit(limit_each)
            .select(OutboxColumns::as_select());
        let rows: Vec<OutboxColumns> = named("console: messages", rows).load(&mut connection).await?;
        for row in rows {
            messages.push(row.view()?);
        }
    }
    Ok(messages)
}
