//! The pages: the operators' console, and the public page of a sale with its buy button.

use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, web};
use contracts::error::ErrorCode;
use contracts::order::PlaceOrder;
use platform::http::Problem;
use platform::http::fields::Object;
use serde::Deserialize;
use serde_json::json;

use super::fields;
use super::problem::{ledger, not_found};
use crate::app::App;
use crate::domain::request::ProductId;
use crate::ledger::shown;
use crate::pages::orders::OrderError;
use crate::pages::{console, sale};

/// The console.
pub(super) async fn console(app: web::Data<App>) -> HttpResponse {
    console::page(&app.pages.orders_console_url)
}

/// Its snapshots.
pub(super) async fn console_events(app: web::Data<App>) -> Result<HttpResponse, Problem> {
    app.pages.console.stream(())
}

/// The page of a sale.
pub(super) async fn sale(
    app: web::Data<App>,
    product: web::Path<ProductId>,
) -> Result<HttpResponse, Problem> {
    let shown = app
        .in_time(shown::some(&app.pool, &[*product]))
        .await
        .map_err(ledger)?;
    Ok(sale::page(shown.first().ok_or_else(|| not_found(*product))?))
}

/// Its snapshots.
pub(super) async fn sale_events(
    app: web::Data<App>,
    product: web::Path<ProductId>,
) -> Result<HttpResponse, Problem> {
    app.pages.sales.stream(*product)
}

/// What a click of the buy button says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Purchase {
    quantity: i64,
    buyer_id: Option<String>,
}

/// A click of the buy button: handed on to order-service, and its answer handed back.
pub(super) async fn buy(
    app: web::Data<App>,
    product: web::Path<ProductId>,
    request: HttpRequest,
    body: web::Json<Object<Purchase>>,
) -> Result<HttpResponse, Problem> {
    let key = fields::idempotency_key(&request, None)?;
    let Object(purchase) = body.into_inner();
    let order = PlaceOrder {
        product_id: *product,
        quantity: purchase.quantity,
        buyer_id: purchase.buyer_id,
    };
    let authorization = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let placed = app.pages.orders.place(&order, key.as_str(), authorization).await;
    let answer = placed.map_err(|error| match error {
        OrderError::Full => Problem::new(ErrorCode::RetryLater).details(json!({ "reason": "queue_full" })),
        OrderError::Away(_) | OrderError::Request(_) => {
            Problem::new(ErrorCode::DependencyFailed).cause(&error)
        }
    })?;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    if !status.is_success() {
        return Err(handed_on(&answer.body));
    }
    let mut response = HttpResponse::build(status);
    if answer.replayed {
        response.insert_header(("Idempotency-Replayed", "true"));
    }
    Ok(response.content_type("application/json").body(answer.body))
}

/// order-service's refusal as ours: the same code, text and details.
fn handed_on(body: &[u8]) -> Problem {
    let Ok(error) = serde_json::from_slice::<contracts::error::ErrorBody>(body) else {
        return Problem::new(ErrorCode::DependencyFailed);
    };
    let problem = Problem::new(error.error).message(error.message);
    match error.details {
        Some(details) => problem.details(details),
        None => problem,
    }
}
