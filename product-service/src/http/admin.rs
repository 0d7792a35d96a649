//! Admin: making products hot, and measuring the gate against the database.

use actix_web::web;
use contracts::product::{ProductView, StockStrategy};
use platform::http::Problem;
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::{AnyErrors, ProductErrors, ProductParam};
use super::problem::{ledger, not_found};
use crate::app::App;
use crate::domain::request::ProductId;
use crate::stock::audit::{self, StockAudit};
use crate::stock::load;

/// A product's strategy, and its gate beside the database.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Standing {
    stock_strategy: StockStrategy,
    #[serde(flatten)]
    audit: StockAudit,
}

/// Makes a product hot and loads its gate
#[utoipa::path(
    post, path = "/admin/products/{id}/load-stock-redis", tag = "gate", operation_id = "loadGate",
    params(ProductParam),
    responses((status = 200, description = "Hot; loaded too, if Redis answers", body = Standing), ProductErrors)
)]
pub(super) async fn load(
    app: web::Data<App>,
    product: web::Path<ProductId>,
) -> Result<web::Json<Standing>, Problem> {
    let loaded = load::load(&app, *product).await.map_err(ledger)?;
    standing(&app, loaded.ok_or_else(|| not_found(*product))?).await
}

/// Back to the database alone
#[utoipa::path(
    post, path = "/admin/products/{id}/unload-stock-redis", tag = "gate", operation_id = "unloadGate",
    params(ProductParam),
    responses((status = 200, description = "Not hot any more", body = Standing), ProductErrors)
)]
pub(super) async fn unload(
    app: web::Data<App>,
    product: web::Path<ProductId>,
) -> Result<web::Json<Standing>, Problem> {
    let unloaded = load::unload(&app, *product).await.map_err(ledger)?;
    standing(&app, unloaded.ok_or_else(|| not_found(*product))?).await
}

async fn standing(app: &App, product: ProductView) -> Result<web::Json<Standing>, Problem> {
    let audit = audit::audit_some(&app.gate, &app.pool, &[product.id])
        .await
        .map_err(ledger)?
        .pop();
    let audit = audit.ok_or_else(|| not_found(product.id))?;
    Ok(web::Json(Standing {
        stock_strategy: product.stock_strategy,
        audit,
    }))
}

/// The gate beside the database, for every hot product
#[utoipa::path(
    get, path = "/admin/stock/audit", tag = "gate", operation_id = "auditStock",
    responses((status = 200, description = "In the order of their ids", body = Vec<StockAudit>), AnyErrors)
)]
pub(super) async fn audit(app: web::Data<App>) -> Result<web::Json<Vec<StockAudit>>, Problem> {
    Ok(web::Json(
        audit::audit(&app.gate, &app.pool).await.map_err(ledger)?,
    ))
}
