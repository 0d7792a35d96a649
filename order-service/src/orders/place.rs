//! Place: a client orders. The straight line of this service; read this file first.
//!
//! Both flows begin with the same transaction: the order, PENDING, and the saga's row that watches over it. v1 then takes
//! the stock within the request; v2 has written the message that asks for it in the same transaction and is done.

use std::sync::Arc;

use contracts::order::{Flow, OrderStatus};
use platform::trace::TraceContext;
use tokio::time::Instant;

use super::{WRITE_MARGIN, in_background};
use crate::app::App;
use crate::db::orders;
use crate::db::place::{Place, Placed};
use crate::db::queue::Unavailable;
use crate::domain::order::{NewOrder, Order};
use crate::metrics;
use crate::saga::Step;

/// What became of a request to place an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The order, as it is now. `replayed`: an earlier request with the same key made it.
    Order {
        /// The order.
        order: Order,
        /// Whether it was there before.
        replayed: bool,
    },
    /// The product is sold out: turned away at the door, nothing is written.
    SoldOut {
        /// The product.
        product_id: i64,
    },
    /// The key belongs to an order with another content.
    KeyReused,
    /// An earlier request with the same key is not done, and does not get done within this one's deadline.
    InProgress(Order),
}

/// Places an order and, in flow SYNC, sees it to its end.
///
/// # Errors
/// [`Unavailable`] when nothing is known to be written; unless a queue was full, the order may be there all the same,
/// and then it is finished: a client that gave a key finds out by asking again.
pub async fn place(
    app: &Arc<App>,
    order: NewOrder,
    trace_context: Option<TraceContext>,
) -> Result<Outcome, Unavailable> {
    let deadline = Instant::now() + app.request_deadline;
    // Under a known key there is an order to show, sold out or not.
    if app.sold_out.contains(order.product_id) && !is_known(app, &order).await? {
        metrics::turned_away();
        return Ok(Outcome::SoldOut {
            product_id: order.product_id,
        });
    }
    match order.flow {
        Flow::Async => {
            let watch_ms = app.pending_deadline_ms;
            let placing = app.placing.ask(Place {
                order,
                watch_ms,
                trace_context,
            });
            let placed = tokio::time::timeout_at(deadline, placing).await;
            Ok(match placed.map_err(|_| Unavailable::Deadline)?? {
                Placed::New(order) => {
                    metrics::placed(order.flow);
                    Outcome::Order {
                        order,
                        replayed: false,
                    }
                }
                Placed::Replay(order) => Outcome::Order {
                    order,
                    replayed: true,
                },
                Placed::KeyReused => Outcome::KeyReused,
            })
        }
        Flow::Sync => {
            in_background(
                app,
                deadline,
                place_and_settle(Arc::clone(app), order, trace_context, deadline),
            )
            .await?
        }
    }
}

async fn is_known(app: &App, order: &NewOrder) -> Result<bool, Unavailable> {
    let Some(key) = &order.idempotency_key else {
        return Ok(false);
    };
    let known = orders::by_key(&app.pool, key).await;
    Ok(known.map_err(|_| Unavailable::Database)?.is_some())
}

async fn place_and_settle(
    app: Arc<App>,
    order: NewOrder,
    trace_context: Option<TraceContext>,
    deadline: Instant,
) -> Result<Outcome, Unavailable> {
    // Recovery looks after it once this task must have ended, one way or the other.
    let lease = app.request_deadline + 2 * WRITE_MARGIN;
    let watch_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    match app
        .placing
        .ask(Place {
            order,
            watch_ms,
            trace_context,
        })
        .await?
    {
        Placed::New(order) => {
            metrics::placed(order.flow);
            let concluded = app
                .runner
                .run_until(Step::Decrease, &order, trace_context, deadline)
                .await?;
            let order = concluded.order.unwrap_or(order);
            Ok(Outcome::Order {
                order,
                replayed: false,
            })
        }
        Placed::Replay(order) => {
            let order = app.watch.until_final(&app.pool, order, deadline).await;
            Ok(match order.status {
                OrderStatus::Pending => Outcome::InProgress(order),
                _ => Outcome::Order {
                    order,
                    replayed: true,
                },
            })
        }
        Placed::KeyReused => Ok(Outcome::KeyReused),
    }
}
