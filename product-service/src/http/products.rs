//! Products: everything but their stock.

use actix_web::http::header::{ETAG, HeaderName, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use contracts::product::{CreateProduct, Page, PatchProduct, ProductStatus, ProductView, StockStrategy};
use diesel::result::{DatabaseErrorKind, Error};
use platform::http::Problem;
use platform::http::auth::Caller;
use serde::Deserialize;
use utoipa::IntoParams;

use super::fields::{self, Object, invalid};
use super::openapi::{
    CreateErrors, DiscontinueErrors, IfMatchParam, ListErrors, PatchErrors, ProductErrors, ProductParam,
};
use super::problem::{ledger, not_found, stale};
use crate::app::App;
use crate::domain::request::ProductId;
use crate::ledger::LedgerError;
use crate::ledger::products::{self, Listing, Patched, SortBy};
use crate::metrics;
use crate::stock::load;

/// Creates a product
#[utoipa::path(
    post, path = "/v1/products", tag = "products", operation_id = "createProduct",
    request_body = CreateProduct,
    responses(
        (status = 201, description = "Created", body = ProductView,
            headers(("Location", description = "Path of the product"), ("ETag", description = "Its version"))),
        CreateErrors,
    )
)]
pub(super) async fn create(
    app: web::Data<App>,
    caller: Caller,
    body: web::Json<Object<CreateProduct>>,
) -> Result<HttpResponse, Problem> {
    fields::name(&body.name)?;
    fields::price(body.price)?;
    fields::stock(body.stock)?;
    body.purchase_limit.map_or(Ok(()), fields::purchase_limit)?;
    sale_window(body.sale_starts_at, body.sale_ends_at)?;
    let product = app
        .in_time(products::create(&app.pool, &body))
        .await
        .map_err(unwritten)?;
    if product.stock_strategy == StockStrategy::RedisFirst {
        app.hot.insert(product.id);
        app.loader.load(product.id).await;
    }
    metrics::product_event(product.id, "create", &caller);
    let location = format!("/v1/products/{}", product.id);
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, location))
        .insert_header(tag(&product))
        .json(product))
}

/// The version of a product, as an entity tag: its stock is not part of it.
fn tag(product: &ProductView) -> (HeaderName, String) {
    (ETAG, format!("\"{}\"", product.version))
}

/// Changes what is given, never stock
///
/// With `If-Match`, only the product that the client has seen: one that has changed since is 412.
#[utoipa::path(
    patch, path = "/v1/products/{id}", tag = "products", operation_id = "patchProduct",
    params(ProductParam, IfMatchParam),
    request_body = PatchProduct,
    responses(
        (status = 200, description = "Changed", body = ProductView,
            headers(("ETag", description = "Its version now"))),
        PatchErrors,
    )
)]
pub(super) async fn patch(
    app: web::Data<App>,
    caller: Caller,
    product: web::Path<ProductId>,
    request: HttpRequest,
    body: web::Json<Object<PatchProduct>>,
) -> Result<HttpResponse, Problem> {
    body.name.as_deref().map_or(Ok(()), fields::name)?;
    body.price.map_or(Ok(()), fields::price)?;
    body.purchase_limit
        .flatten()
        .map_or(Ok(()), fields::purchase_limit)?;
    sale_window(body.sale_starts_at.flatten(), body.sale_ends_at.flatten())?;
    let expected = fields::if_match(&request)?;
    let patched = change(&app, *product, &body, expected.as_deref()).await;
    let patched = changed(*product, patched.map_err(unwritten)?)?;
    metrics::product_event(*product, "patch", &caller);
    Ok(HttpResponse::Ok().insert_header(tag(&patched)).json(patched))
}

/// Changes a product, and tells its gate where that bears on its sale.
async fn change(
    app: &App,
    product: ProductId,
    patch: &PatchProduct,
    expected: Option<&[i64]>,
) -> Result<Patched, LedgerError> {
    let changed = app
        .in_time(products::patch(&app.pool, product, patch, expected))
        .await?;
    let changes_rules = patch.status.is_some()
        || patch.purchase_limit.is_some()
        || patch.sale_starts_at.is_some()
        || patch.sale_ends_at.is_some();
    let is_hot = matches!(&changed, Patched::Done(view) if view.stock_strategy == StockStrategy::RedisFirst);
    if changes_rules && is_hot {
        load::renew(app, product).await;
    }
    Ok(changed)
}

fn changed(product: ProductId, patched: Patched) -> Result<ProductView, Problem> {
    match patched {
        Patched::Done(view) => Ok(view),
        Patched::Stale(version) => Err(stale(product, version)),
        Patched::NotFound => Err(not_found(product)),
    }
}

const SALE_WINDOW: &str = "saleEndsAt must be later than saleStartsAt";

fn sale_window(starts_at: Option<DateTime<Utc>>, ends_at: Option<DateTime<Utc>>) -> Result<(), Problem> {
    starts_at.map_or(Ok(()), |at| fields::moment("saleStartsAt", at))?;
    ends_at.map_or(Ok(()), |at| fields::moment("saleEndsAt", at))?;
    match (starts_at, ends_at) {
        (Some(starts_at), Some(ends_at)) if ends_at <= starts_at => Err(invalid(SALE_WINDOW)),
        _ => Ok(()),
    }
}

/// Why a product was not written. Of its rules only the sale window can still be broken here: one end may have been
/// stored before, and the database tells moments apart less finely than the request.
fn unwritten(error: LedgerError) -> Problem {
    match error {
        LedgerError::Query(Error::DatabaseError(DatabaseErrorKind::CheckViolation, _)) => {
            invalid(SALE_WINDOW)
        }
        other => ledger(other),
    }
}

/// A product
#[utoipa::path(
    get, path = "/v1/products/{id}", tag = "products", operation_id = "getProduct",
    params(ProductParam),
    responses(
        (status = 200, description = "The product", body = ProductView,
            headers(("ETag", description = "Its version, for `If-Match`; stock is not part of it"))),
        ProductErrors,
    )
)]
pub(super) async fn get(app: web::Data<App>, product: web::Path<ProductId>) -> Result<HttpResponse, Problem> {
    let found = app
        .in_time(products::get(&app.pool, *product))
        .await
        .map_err(ledger)?;
    let found = found.ok_or_else(|| not_found(*product))?;
    Ok(HttpResponse::Ok().insert_header(tag(&found)).json(found))
}

/// Discontinues a product
///
/// It cannot be sold any more; its orders can still be cancelled.
#[utoipa::path(
    delete, path = "/v1/products/{id}", tag = "products", operation_id = "discontinueProduct",
    params(ProductParam, IfMatchParam),
    responses((status = 204, description = "Discontinued"), DiscontinueErrors)
)]
pub(super) async fn discontinue(
    app: web::Data<App>,
    caller: Caller,
    product: web::Path<ProductId>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let expected = fields::if_match(&request)?;
    let patch = PatchProduct {
        status: Some(ProductStatus::Discontinued),
        ..PatchProduct::default()
    };
    let patched = change(&app, *product, &patch, expected.as_deref()).await;
    changed(*product, patched.map_err(ledger)?)?;
    metrics::product_event(*product, "discontinue", &caller);
    Ok(HttpResponse::NoContent().finish())
}

/// Query of the catalogue.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Part of the name, in any case.
    query: Option<String>,
    /// Only products of this status.
    status: Option<ProductStatus>,
    /// Lowest price, inclusive.
    min_price: Option<i64>,
    /// Highest price, inclusive.
    max_price: Option<i64>,
    /// Which page, from 0.
    #[param(default = 0, minimum = 0, maximum = 2_147_483_647)]
    page: Option<i64>,
    /// Entries per page.
    #[param(default = 20, minimum = 1, maximum = 100)]
    size: Option<i64>,
    /// `id`, `name`, `price`, `stock`, `createdAt` or `updatedAt`, then `,asc` or `,desc`.
    #[param(default = "id,asc")]
    sort: Option<String>,
}

/// Lists products
#[utoipa::path(
    get, path = "/v1/products", tag = "products", operation_id = "listProducts",
    params(ListQuery),
    responses((status = 200, description = "One page", body = Page<ProductView>), ListErrors)
)]
pub(super) async fn list(
    app: web::Data<App>,
    query: web::Query<ListQuery>,
) -> Result<web::Json<Page<ProductView>>, Problem> {
    let query = query.into_inner();
    let (page, size) = fields::page(query.page, query.size)?;
    if query.query.as_deref().is_some_and(|text| text.contains('\0')) {
        return Err(invalid("query has a character no name can have"));
    }
    let (sort_by, descending) = sorting(query.sort.as_deref().unwrap_or("id"))?;
    let listing = Listing {
        query: query.query.filter(|text| !text.is_empty()),
        status: query.status,
        min_price: query.min_price,
        max_price: query.max_price,
        page,
        size,
        sort_by,
        descending,
    };
    Ok(web::Json(
        app.in_time(products::list(&app.pool, &listing))
            .await
            .map_err(ledger)?,
    ))
}

/// `price`, `price,asc` or `price,desc`.
fn sorting(text: &str) -> Result<(SortBy, bool), Problem> {
    let (field, direction) = text.split_once(',').unwrap_or((text, "asc"));
    let sort_by = match field {
        "id" => SortBy::Id,
        "name" => SortBy::Name,
        "price" => SortBy::Price,
        "stock" => SortBy::Stock,
        "createdAt" => SortBy::CreatedAt,
        "updatedAt" => SortBy::UpdatedAt,
        _ => {
            return Err(invalid(
                "sort is one of id, name, price, stock, createdAt, updatedAt",
            ));
        }
    };
    match direction {
        "asc" => Ok((sort_by, false)),
        "desc" => Ok((sort_by, true)),
        _ => Err(invalid("the direction of sort is asc or desc")),
    }
}
