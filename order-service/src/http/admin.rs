//! What operators do and see.

use actix_web::{HttpRequest, HttpResponse, web};
use contracts::order::{OrderView, OutboxStatus, OutboxView, StuckOrder};
use contracts::product::Page;
use platform::http::Problem;
use platform::http::auth::Caller;
use platform::http::fields;
use platform::trace;
use serde::Deserialize;
use utoipa::IntoParams;

use super::openapi::{AnyErrors, ListErrors, MessageParam, OrderParam, RequeueErrors, RetryErrors};
use super::problem::{db, requeued, retried};
use crate::app::App;
use crate::db::{orders, outbox};
use crate::orders::retry;

/// Most stuck orders shown at once.
const STUCK_MAX: i64 = 100;

/// Sends a failed order again
///
/// It is `PENDING` again, under keys of its own: `DEC-{id}-{n}`.
#[utoipa::path(
    post, path = "/admin/orders/{id}/retry", tag = "orders", operation_id = "retryOrder",
    params(OrderParam),
    responses((status = 202, description = "The order, `PENDING`", body = OrderView), RetryErrors)
)]
pub(super) async fn retry(
    app: web::Data<App>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    retried(
        *id,
        retry::retry(&app, *id, &caller, trace::context(&request)).await,
    )
}

/// Steps of orders that are open for longer than the deadline of a pending order, oldest first, at most 100
#[utoipa::path(
    get, path = "/admin/orders/stuck", tag = "orders", operation_id = "stuckOrders",
    responses((status = 200, description = "What is not done, and why", body = Vec<StuckOrder>), AnyErrors)
)]
pub(super) async fn stuck(app: web::Data<App>) -> Result<web::Json<Vec<StuckOrder>>, Problem> {
    let stuck = orders::stuck(&app.pool, app.pending_deadline_ms, STUCK_MAX).await;
    Ok(web::Json(stuck.map_err(|error| db(&error))?))
}

/// Query of the outbox.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OutboxQuery {
    /// Only of this status.
    status: Option<OutboxStatus>,
    /// Which page, from 0.
    #[param(default = 0, minimum = 0, maximum = 2_147_483_647)]
    page: Option<i64>,
    /// Entries per page.
    #[param(default = 20, minimum = 1, maximum = 100)]
    size: Option<i64>,
}

/// Stored messages, newest first
#[utoipa::path(
    get, path = "/admin/outbox", tag = "outbox", operation_id = "listOutbox",
    params(OutboxQuery),
    responses((status = 200, description = "One page", body = Page<OutboxView>), ListErrors)
)]
pub(super) async fn outbox(
    app: web::Data<App>,
    query: web::Query<OutboxQuery>,
) -> Result<web::Json<Page<OutboxView>>, Problem> {
    let (page, size) = fields::page(query.page, query.size)?;
    let found = outbox::list(&app.pool, query.status, page, size).await;
    Ok(web::Json(found.map_err(|error| db(&error))?))
}

/// Sends a failed message again
///
/// Its attempts start anew. An order that failed because of it is `PENDING` again, under keys of its own.
#[utoipa::path(
    post, path = "/admin/outbox/{id}/requeue", tag = "outbox", operation_id = "requeueMessage",
    params(MessageParam),
    responses((status = 202, description = "The message, `PENDING`", body = OutboxView), RequeueErrors)
)]
pub(super) async fn requeue(
    app: web::Data<App>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    requeued(retry::requeue(&app, *id, &caller, trace::context(&request)).await)
}
