//! Retry: an operator sends a failed order, or a message that was given up, again.

use platform::http::auth::Caller;
use platform::trace::TraceContext;

use crate::app::App;
use crate::db::outbox::{self, Requeued};
use crate::db::{DbError, orders, saga};
use crate::domain::order::Order;
use crate::metrics;

/// What became of a retry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is PENDING again, under a new attempt.
    Pending(Order),
    /// Only FAILED orders can be retried.
    InvalidState(Order),
    /// There is no such order.
    NotFound,
}

/// Sends a failed order again, under keys of its own: what the attempts before have done or not done stays theirs.
///
/// # Errors
/// [`DbError`]; it may be PENDING again all the same.
pub async fn retry(
    app: &App,
    id: i64,
    caller: &Caller,
    cause: Option<TraceContext>,
) -> Result<Outcome, DbError> {
    if let Some(order) = saga::retry(&app.pool, id, app.pending_deadline_ms, cause).await? {
        metrics::retried_by_operator(order.attempt(), caller);
        app.recovery.notify_one();
        return Ok(Outcome::Pending(order));
    }
    Ok(match orders::get(&app.pool, id).await? {
        Some(order) => Outcome::InvalidState(order),
        None => Outcome::NotFound,
    })
}

/// Sends a message that failed again.
///
/// # Errors
/// [`DbError`]; it may be sent again all the same.
pub async fn requeue(
    app: &App,
    id: i64,
    caller: &Caller,
    cause: Option<TraceContext>,
) -> Result<Requeued, DbError> {
    let requeued = outbox::requeue(&app.pool, id, app.pending_deadline_ms, cause).await?;
    if matches!(requeued, Requeued::Done(_)) {
        metrics::requeued_by_operator(id, caller);
    }
    Ok(requeued)
}
