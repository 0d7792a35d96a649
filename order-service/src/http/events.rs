//! The events of one order, as server-sent events, until it is final.

use std::sync::Arc;

use actix_web::web::Bytes;
use actix_web::{HttpResponse, web};
use contracts::error::ErrorCode;
use contracts::order::OrderView;
use futures_util::stream;
use platform::http::Problem;
use platform::http::auth::Caller;
use utoipa::ToSchema;

use super::openapi::{EventErrors, OrderParam};
use super::orders::seen_by;
use crate::app::App;
use crate::domain::order::Order;
use crate::orders::watch::{Viewer, is_final};

/// One event of the stream.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a description")]
pub(super) struct OrderEvent {
    /// `order`.
    event: String,
    /// An `OrderView`, as JSON.
    data: String,
}

/// The order's status, as it changes
///
/// Server-sent events named `order`, each with the order; the first is the order as it is now, the last the final one.
#[utoipa::path(
    get, path = "/v1/orders/{id}/events", tag = "orders", operation_id = "orderEvents",
    params(OrderParam),
    responses(
        (status = 200, description = "The events; the data of each is an `OrderView`", body = OrderEvent, content_type = "text/event-stream"),
        EventErrors,
    )
)]
pub(super) async fn events(
    app: web::Data<App>,
    caller: Caller,
    id: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    let order = seen_by(&app, &caller, *id).await?;
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header(("Cache-Control", "no-store"));
    if is_final(order.status) {
        return Ok(response.body(event(order)));
    }
    let viewer = app.watch.view(order.clone());
    let viewer = viewer.ok_or_else(|| Problem::new(ErrorCode::TooManyRequests))?;
    let first = stream::iter([Ok::<_, actix_web::Error>(event(order.clone()))]);
    let changes = stream::unfold((viewer, app.into_inner(), order), next);
    Ok(response.streaming(futures_util::StreamExt::chain(first, changes)))
}

type Watching = (Viewer, Arc<App>, Order);

/// The next status that was not shown yet; the end after a final one, or when the service stops.
async fn next((mut viewer, app, shown): Watching) -> Option<(Result<Bytes, actix_web::Error>, Watching)> {
    if is_final(shown.status) {
        return None;
    }
    loop {
        let order = viewer.order();
        if (order.status, order.attempt) != (shown.status, shown.attempt) {
            return Some((Ok(event(order.clone())), (viewer, app, order)));
        }
        tokio::select! {
            alive = viewer.changed() => if !alive { return None },
            () = app.stop.cancelled() => return None,
        }
    }
}

fn event(order: Order) -> Bytes {
    let view: OrderView = order.view();
    let json = serde_json::to_string(&view).unwrap_or_default();
    Bytes::from(format!("event: order\ndata: {json}\n\n"))
}
