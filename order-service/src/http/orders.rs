//! Orders: placing, cancelling, looking.

use actix_web::{HttpRequest, HttpResponse, web};
use contracts::error::ErrorCode;
use contracts::order::{Flow, OrderStatus, OrderView, PlaceOrder};
use contracts::product::Page;
use platform::http::Problem;
use platform::http::auth::Caller;
use platform::http::fields::{self, Object, invalid};
use platform::trace;
use serde::Deserialize;
use utoipa::IntoParams;

use super::openapi::{
    CancelErrors, CancelLaterErrors, IdempotencyKeyParam, OrderErrors, OrderParam, OrdersErrors, PlaceErrors,
    PlaceLaterErrors,
};
use super::problem::{cancelled, db, not_found, placed};
use crate::app::App;
use crate::db::orders;
use crate::domain::order::{NewOrder, Order};
use crate::orders::{cancel, place};

pub(super) async fn place(
    app: web::Data<App>,
    caller: Caller,
    request: HttpRequest,
    body: web::Json<Object<PlaceOrder>>,
) -> Result<HttpResponse, Problem> {
    let flow = flow(&request);
    let key = fields::idempotency_key(&request)?;
    let Object(mut body) = body.into_inner();
    body.buyer_id = on_behalf_of(&caller, body.buyer_id)?;
    let order = NewOrder::new(body, flow, key).map_err(|refused| invalid(refused.0))?;
    let cause = trace::context(&request);
    placed(flow, place::place(&app.into_inner(), order, cause).await)
}

pub(super) async fn cancel(
    app: web::Data<App>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<i64>,
) -> Result<HttpResponse, Problem> {
    if caller.buyer().is_some() {
        seen_by(&app, &caller, *id).await?;
    }
    let cause = trace::context(&request);
    cancelled(
        *id,
        cancel::cancel(&app.into_inner(), *id, flow(&request), cause).await,
    )
}

/// The flow of the path, as the URL table says.
fn flow(request: &HttpRequest) -> Flow {
    request.app_data().copied().unwrap_or(Flow::Async)
}

/// One order
#[utoipa::path(
    get, path = "/v1/orders/{id}", tag = "orders", operation_id = "getOrder",
    params(OrderParam),
    responses((status = 200, description = "The order", body = OrderView), OrderErrors)
)]
pub(super) async fn get(
    app: web::Data<App>,
    caller: Caller,
    id: web::Path<i64>,
) -> Result<web::Json<OrderView>, Problem> {
    Ok(web::Json(seen_by(&app, &caller, *id).await?.view()))
}

/// An order, if the caller may know of it: to a customer, the orders of others are not there.
pub(super) async fn seen_by(app: &App, caller: &Caller, id: i64) -> Result<Order, Problem> {
    let order = orders::get(&app.pool, id).await.map_err(|error| db(&error))?;
    let order = order.filter(|order| caller.buyer().is_none() || caller.buyer() == order.buyer_id.as_deref());
    order.ok_or_else(|| not_found(id))
}

/// The buyer a request is for. A customer need not name himself, and may not name another.
fn on_behalf_of(caller: &Caller, named: Option<String>) -> Result<Option<String>, Problem> {
    match (caller.buyer(), named) {
        (None, named) => Ok(named),
        (Some(own), None) => Ok(Some(own.to_owned())),
        (Some(own), Some(named)) if own == named => Ok(Some(named)),
        (Some(_), Some(_)) => {
            Err(Problem::new(ErrorCode::Forbidden)
                .message("This key is for the orders of its own buyer only."))
        }
    }
}

/// Query of the orders.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only of this buyer.
    buyer_id: Option<String>,
    /// Only of this product.
    product_id: Option<i64>,
    /// Only of this status.
    status: Option<OrderStatus>,
    /// Which page, from 0.
    #[param(default = 0, minimum = 0, maximum = 2_147_483_647)]
    page: Option<i64>,
    /// Entries per page.
    #[param(default = 20, minimum = 1, maximum = 100)]
    size: Option<i64>,
}

/// Orders, newest first
#[utoipa::path(
    get, path = "/v1/orders", tag = "orders", operation_id = "listOrders",
    params(ListQuery),
    responses((status = 200, description = "One page", body = Page<OrderView>), OrdersErrors)
)]
pub(super) async fn list(
    app: web::Data<App>,
    caller: Caller,
    query: web::Query<ListQuery>,
) -> Result<web::Json<Page<OrderView>>, Problem> {
    let query = query.into_inner();
    let (page, size) = fields::page(query.page, query.size)?;
    if query.buyer_id.as_deref().is_some_and(|text| text.contains('\0')) {
        return Err(invalid("buyerId has a character no buyer has"));
    }
    let listing = orders::Listing {
        buyer_id: on_behalf_of(&caller, query.buyer_id)?,
        product_id: query.product_id,
        status: query.status,
        page,
        size,
    };
    let found = orders::list(&app.pool, &listing).await;
    Ok(web::Json(found.map_err(|error| db(&error))?))
}

/// How the operations that differ only by their flow are described.
pub(super) mod described {
    use super::{
        CancelErrors, CancelLaterErrors, IdempotencyKeyParam, OrderParam, OrderView, PlaceErrors,
        PlaceLaterErrors, PlaceOrder,
    };

    /// Places an order and sees it to its end
    ///
    /// Answers with the final order: `CONFIRMED`, or `FAILED` with its `failReason`. 424 when product-service gave no
    /// answer in time: the order is `FAILED` too, and whatever it may have taken is given back.
    #[utoipa::path(
        post, path = "/v1/orders", tag = "orders", operation_id = "placeOrder",
        params(IdempotencyKeyParam), request_body = PlaceOrder,
        responses(
            (status = 201, description = "The final order", body = OrderView,
                headers(("Location", description = "The order"),
                    ("Idempotency-Replayed", description = "`true` when an earlier request made it"))),
            PlaceErrors,
        )
    )]
    #[expect(dead_code, reason = "a description")]
    fn place_v1() {}

    /// Places an order; its outcome comes later
    #[utoipa::path(
        post, path = "/v2/orders", tag = "orders", operation_id = "placeOrderLater",
        params(IdempotencyKeyParam), request_body = PlaceOrder,
        responses(
            (status = 202, description = "The order, `PENDING`", body = OrderView,
                headers(("Location", description = "The order"),
                    ("Idempotency-Replayed", description = "`true` when an earlier request made it"))),
            PlaceLaterErrors,
        )
    )]
    #[expect(dead_code, reason = "a description")]
    fn place_v2() {}

    /// Cancels a confirmed order
    ///
    /// Only `CONFIRMED` orders can be cancelled. 424: its stock could not be given back yet, the order is still
    /// `CONFIRMED`.
    #[utoipa::path(
        post, path = "/v1/orders/{id}/cancel", tag = "orders", operation_id = "cancelOrder",
        params(OrderParam),
        responses((status = 200, description = "The order, `CANCELLED`", body = OrderView), CancelErrors)
    )]
    #[expect(dead_code, reason = "a description")]
    fn cancel_v1() {}

    /// Cancels a confirmed order, soon
    #[utoipa::path(
        post, path = "/v2/orders/{id}/cancel", tag = "orders", operation_id = "cancelOrderLater",
        params(OrderParam),
        responses((status = 202, description = "`CONFIRMED` until its stock is back", body = OrderView), CancelLaterErrors)
    )]
    #[expect(dead_code, reason = "a description")]
    fn cancel_v2() {}
}
