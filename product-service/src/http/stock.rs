//! Stock: the requests that move it, and its record.

use actix_web::{HttpRequest, HttpResponse, web};
use contracts::product::Page;
use contracts::stock::{AdjustStock, DecreaseByOrder, IncreaseByOrder, MovementView, StockAnswer};
use platform::http::Problem;
use platform::http::auth::Caller;
use serde::Deserialize;
use utoipa::IntoParams;

use super::fields::{self, Object};
use super::openapi::{
    AdjustErrors, DecreaseErrors, IdempotencyKeyParam, IncreaseErrors, ProductErrors, ProductParam,
};
use super::problem::{answer, ledger, not_found};
use crate::app::App;
use crate::domain::request::{Adjust, BuyerId, Decrease, Increase, ProductId, Quantity, RequestId};
use crate::domain::words::Verdict;
use crate::ledger::{movements, products};
use crate::metrics;
use crate::stock::{decrease, increase};

/// An order takes units
///
/// Answers 200 only after the movement is committed.
#[utoipa::path(
    patch, path = "/v1/products/{id}/stock/decrease-by-order", tag = "stock", operation_id = "decreaseByOrder",
    params(ProductParam, IdempotencyKeyParam),
    request_body = DecreaseByOrder,
    responses(
        (status = 200, description = "Taken, now or before under this key", body = StockAnswer,
            headers(("Idempotency-Replayed", description = "`true` when it was taken before"))),
        DecreaseErrors,
    )
)]
pub(super) async fn decrease(
    app: web::Data<App>,
    product: web::Path<ProductId>,
    request: HttpRequest,
    body: web::Json<Object<DecreaseByOrder>>,
) -> Result<HttpResponse, Problem> {
    let decrease = Decrease {
        product: *product,
        request_id: fields::idempotency_key(&request, body.request_id.as_deref())?,
        order_id: fields::order_id(body.order_id)?,
        buyer: body
            .buyer_id
            .as_deref()
            .map(BuyerId::new)
            .transpose()
            .map_err(fields::refused)?,
        quantity: Quantity::new(body.quantity).map_err(fields::refused)?,
    };
    answer(*product, decrease::decrease(&app, decrease).await)
}

/// Voids an order's decrease
///
/// Gives back exactly what the decrease took, once. Where it took nothing, or has not arrived yet, nothing is given
/// back, and the decrease is refused from now on.
#[utoipa::path(
    patch, path = "/v1/products/{id}/stock/increase-by-order", tag = "stock", operation_id = "increaseByOrder",
    params(ProductParam, IdempotencyKeyParam),
    request_body = IncreaseByOrder,
    responses(
        (status = 200, description = "Void, now or before under this key", body = StockAnswer,
            headers(("Idempotency-Replayed", description = "`true` when it was voided before"))),
        IncreaseErrors,
    )
)]
pub(super) async fn increase(
    app: web::Data<App>,
    product: web::Path<ProductId>,
    request: HttpRequest,
    body: web::Json<Object<IncreaseByOrder>>,
) -> Result<HttpResponse, Problem> {
    let request_id = fields::idempotency_key(&request, body.request_id.as_deref())?;
    let named = body
        .voids
        .as_deref()
        .map(RequestId::new)
        .transpose()
        .map_err(fields::refused)?;
    let increase = Increase {
        product: *product,
        voids: Increase::voided(&request_id, named).map_err(fields::refused)?,
        request_id,
        order_id: fields::order_id(body.order_id)?,
        quantity: Quantity::new(body.quantity).map_err(fields::refused)?,
        reason: body.reason,
    };
    answer(*product, increase::increase(&app, increase).await)
}

/// Corrects stock by hand
#[utoipa::path(
    post, path = "/v1/products/{id}/stock/adjust", tag = "stock", operation_id = "adjustStock",
    params(ProductParam, IdempotencyKeyParam),
    request_body = AdjustStock,
    responses(
        (status = 200, description = "Adjusted, now or before under this key", body = StockAnswer,
            headers(("Idempotency-Replayed", description = "`true` when it was adjusted before"))),
        AdjustErrors,
    )
)]
pub(super) async fn adjust(
    app: web::Data<App>,
    caller: Caller,
    product: web::Path<ProductId>,
    request: HttpRequest,
    body: web::Json<Object<AdjustStock>>,
) -> Result<HttpResponse, Problem> {
    let Object(body) = body.into_inner();
    let request_id = fields::idempotency_key(&request, None)?;
    Adjust::check(body.delta, body.note.as_deref()).map_err(fields::refused)?;
    let adjust = Adjust {
        product: *product,
        request_id,
        delta: body.delta,
        reason: body.reason,
        note: body.note,
    };
    let decision = increase::adjust(&app, adjust).await;
    if matches!(&decision, Ok(decision) if decision.verdict == Verdict::Done) {
        metrics::product_event(*product, "adjust", &caller);
    }
    answer(*product, decision)
}

/// Query of the ledger.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct MovementsQuery {
    /// Only the movement of this key.
    request_id: Option<String>,
    /// Only movements of this order.
    order_id: Option<i64>,
    /// Which page, from 0.
    #[param(default = 0, minimum = 0, maximum = 2_147_483_647)]
    page: Option<i64>,
    /// Entries per page.
    #[param(default = 20, minimum = 1, maximum = 100)]
    size: Option<i64>,
}

/// The ledger of a product, newest first
#[utoipa::path(
    get, path = "/v1/products/{id}/stock/movements", tag = "stock", operation_id = "listMovements",
    params(ProductParam, MovementsQuery),
    responses((status = 200, description = "One page", body = Page<MovementView>), ProductErrors)
)]
pub(super) async fn movements(
    app: web::Data<App>,
    product: web::Path<ProductId>,
    query: web::Query<MovementsQuery>,
) -> Result<web::Json<Page<MovementView>>, Problem> {
    let query = query.into_inner();
    let (page, size) = fields::page(query.page, query.size)?;
    if let Some(request_id) = &query.request_id {
        RequestId::new(request_id).map_err(fields::refused)?;
    }
    let listing = movements::Listing {
        request_id: query.request_id,
        order_id: query.order_id,
        page,
        size,
    };
    let found = app
        .in_time(movements::list(&app.pool, *product, &listing))
        .await
        .map_err(ledger)?;
    if found.total_elements == 0 {
        app.in_time(products::get(&app.pool, *product))
            .await
            .map_err(ledger)?
            .ok_or_else(|| not_found(*product))?;
    }
    Ok(web::Json(found))
}
