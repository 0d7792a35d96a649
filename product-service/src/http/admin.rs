//! Admin: making products hot, and measuring the gate against the database.

use actix_web::web;
use contracts::product::{ProductView, StockStrategy};
use platform::http::Problem;
use platform::http::auth::Caller;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::openapi::{AnyErrors, ListErrors, ProductErrors, ProductParam};
use super::problem::{gate, ledger, not_found};
use crate::app::App;
use crate::domain::request::ProductId;
use crate::gate::breaker::BreakerView;
use crate::ledger::standing;
use crate::metrics;
use crate::stock::audit::{self, StockAudit};
use crate::stock::load::{self, LoadError};
use crate::stock::reconcile::{Reconciled, SETTLED_WITHIN};

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
    caller: Caller,
    product: web::Path<ProductId>,
) -> Result<web::Json<Standing>, Problem> {
    let loaded = load::load(&app, *product).await.map_err(ledger)?;
    let loaded = loaded.ok_or_else(|| not_found(*product))?;
    metrics::product_event(*product, "load", &caller);
    standing(&app, loaded).await
}

/// Back to the database alone
#[utoipa::path(
    post, path = "/admin/products/{id}/unload-stock-redis", tag = "gate", operation_id = "unloadGate",
    params(ProductParam),
    responses((status = 200, description = "Not hot any more", body = Standing), ProductErrors)
)]
pub(super) async fn unload(
    app: web::Data<App>,
    caller: Caller,
    product: web::Path<ProductId>,
) -> Result<web::Json<Standing>, Problem> {
    let unloaded = load::unload(&app, *product).await.map_err(ledger)?;
    let unloaded = unloaded.ok_or_else(|| not_found(*product))?;
    metrics::product_event(*product, "unload", &caller);
    standing(&app, unloaded).await
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

/// Query of reconcile.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReconcileQuery {
    /// Only count, change nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Finds what gates were not told or have wrong, and puts it right
#[utoipa::path(
    post, path = "/admin/stock/reconcile", tag = "gate", operation_id = "reconcileStock",
    params(ReconcileQuery),
    responses((status = 200, description = "What was found; nothing, in health", body = Reconciled), ListErrors)
)]
pub(super) async fn reconcile(
    app: web::Data<App>,
    caller: Caller,
    query: web::Query<ReconcileQuery>,
) -> Result<web::Json<Reconciled>, Problem> {
    if !query.dry_run {
        metrics::reconciled_by_operator(&caller);
    }
    let products = standing::hot_products(&app.pool).await.map_err(ledger)?;
    let mut link = app.gate.background_link();
    let reconciled = app
        .reconciler
        .reconcile(&mut link, &products, query.dry_run, SETTLED_WITHIN)
        .await;
    reconciled.map(web::Json).map_err(|error| match error {
        LoadError::Gate(error) => gate(&error),
        LoadError::Ledger(error) => ledger(error),
    })
}

/// The breaker in front of Redis.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BreakerStanding {
    /// `closed`, `open` or `half_open`.
    state: &'static str,
    /// Held open by an operator: not probed until reset.
    forced: bool,
    /// How long it has been in this state, ms.
    since_ms: u128,
    /// How long until the next probe, ms, while open.
    next_probe_ms: Option<u128>,
    /// Changes of state since the start.
    transitions: u64,
}

impl From<BreakerView> for BreakerStanding {
    fn from(view: BreakerView) -> Self {
        Self {
            state: view.state.word(),
            forced: view.forced,
            since_ms: view.since.as_millis(),
            next_probe_ms: view.next_probe.map(|until| until.as_millis()),
            transitions: view.transitions,
        }
    }
}

/// State of the breaker of this instance
#[utoipa::path(
    get, path = "/admin/breaker", tag = "breaker", operation_id = "getBreaker",
    responses((status = 200, description = "As it is now", body = BreakerStanding))
)]
pub(super) async fn breaker(app: web::Data<App>) -> web::Json<BreakerStanding> {
    web::Json(app.gate.breaker.view().into())
}

/// Holds the breaker of this instance open until reset
#[utoipa::path(
    post, path = "/admin/breaker/force-open", tag = "breaker", operation_id = "forceBreakerOpen",
    responses((status = 200, description = "Open", body = BreakerStanding))
)]
pub(super) async fn force_open(app: web::Data<App>, caller: Caller) -> web::Json<BreakerStanding> {
    app.gate.breaker.force_open();
    metrics::breaker_event("force-open", &caller);
    breaker(app).await
}

/// Closes the breaker of this instance, and forgets its failures
#[utoipa::path(
    post, path = "/admin/breaker/reset", tag = "breaker", operation_id = "resetBreaker",
    responses((status = 200, description = "Closed", body = BreakerStanding))
)]
pub(super) async fn reset(app: web::Data<App>, caller: Caller) -> web::Json<BreakerStanding> {
    app.gate.breaker.reset();
    metrics::breaker_event("reset", &caller);
    breaker(app).await
}
