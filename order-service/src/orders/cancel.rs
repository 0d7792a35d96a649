//! Cancel: a confirmed order's stock goes back, then it is CANCELLED. Until then it stays CONFIRMED.
//!
//! The step is written first. v1 does it within the request; v2 leaves it to the recovery worker. If this dies half-way,
//! recovery carries it on: a cancel that may have given stock back is never forgotten.

use std::sync::Arc;

use contracts::order::{Flow, OrderStatus};
use platform::trace::TraceContext;
use tokio::time::Instant;

use super::{WRITE_MARGIN, in_background};
use crate::app::App;
use crate::db::queue::Unavailable;
use crate::db::{DbError, orders, saga};
use crate::domain::order::Order;
use crate::saga::Step;

/// What became of a request to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is CANCELLED.
    Cancelled(Order),
    /// It is being cancelled; until the stock is back it stays CONFIRMED.
    UnderWay(Order),
    /// Its stock could not be given back, as far as is known: it stays CONFIRMED. Where an answer may have been lost,
    /// the cancel goes on without the client.
    NoAnswer(Order),
    /// Only CONFIRMED orders can be cancelled.
    InvalidState(Order),
    /// There is no such order.
    NotFound,
}

/// Why a cancel could not even begin.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    /// The database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// No word within the deadline, or no room.
    #[error("unavailable: {}", .0.word())]
    Unavailable(Unavailable),
}

impl From<Unavailable> for CancelError {
    fn from(why: Unavailable) -> Self {
        Self::Unavailable(why)
    }
}

/// Cancels an order: within the request (SYNC), or soon (ASYNC).
///
/// # Errors
/// [`CancelError`]; a cancel that had begun is carried on.
pub async fn cancel(
    app: &Arc<App>,
    id: i64,
    flow: Flow,
    cause: Option<TraceContext>,
) -> Result<Outcome, CancelError> {
    let deadline = Instant::now() + app.request_deadline;
    in_background(app, deadline, begin(Arc::clone(app), id, flow, cause, deadline)).await?
}

async fn begin(
    app: Arc<App>,
    id: i64,
    flow: Flow,
    cause: Option<TraceContext>,
    deadline: Instant,
) -> Result<Outcome, CancelError> {
    let lease = match flow {
        Flow::Sync => app.request_deadline + 2 * WRITE_MARGIN,
        Flow::Async => std::time::Duration::ZERO,
    };
    let begun = saga::begin_cancel(
        &app.pool,
        id,
        i64::try_from(lease.as_millis()).unwrap_or(i64::MAX),
        cause,
    )
    .await?;
    let Some(order) = orders::get(&app.pool, id).await? else {
        return Ok(Outcome::NotFound);
    };
    let under_way =
        begun || order.status == OrderStatus::Confirmed && saga::is_being_cancelled(&app.pool, id).await?;
    if !under_way {
        return Ok(Outcome::InvalidState(order));
    }
    match flow {
        Flow::Async => {
            app.recovery.notify_one();
            Ok(Outcome::UnderWay(order))
        }
        Flow::Sync if begun => {
            let concluded = app
                .runner
                .run_until(Step::Cancel, &order, cause, deadline)
                .await?;
            Ok(settled(concluded.order.unwrap_or(order)))
        }
        // Somebody else has begun: theirs is ours.
        Flow::Sync => Ok(settled(
            app.watch.until_cancelled(&app.pool, order, deadline).await,
        )),
    }
}

fn settled(order: Order) -> Outcome {
    match order.status {
        OrderStatus::Cancelled => Outcome::Cancelled(order),
        _ => Outcome::NoAnswer(order),
    }
}
