//! The description of the API: one OpenAPI document per listener, each served at `/openapi.json` and browsable at
//! `/docs` beside the operations it describes, so that trying them out needs no other address.
//!
//! Which errors an operation answers with is said as a list of codes; status, sentence and example follow from the
//! code, as they do in the answers themselves. Health and metrics belong to `platform` and are not described here.

use std::collections::BTreeMap;

use actix_web::http::header::LOCATION;
use actix_web::web::{self, ServiceConfig, get};
use actix_web::{HttpResponse, Responder};
use contracts::error::ErrorCode::{
    self, BadRequest, IdempotencyKeyReused, InsufficientStock, InternalError, OrderVoided, PayloadTooLarge,
    ProductDiscontinued, ProductNotFound, PurchaseLimitExceeded, RetryLater, SaleNotOpen,
    UnsupportedMediaType, ValidationError,
};
use contracts::error::{ErrorBody, Locale};
use contracts::limits::REQUEST_ID_LENGTH_MAX;
use serde_json::{Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema, Type,
};
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi, PartialSchema};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{admin, products, stock};
use crate::domain::words::Unavailable;

/// What the public listener offers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "hotstock product-service",
        description = "Products and their stock. Every path also answers without the prefix `/v1`.\n\n\
            Every answer of 400 and above has the body `ErrorBody`; `Accept-Language: ko` asks for its message in \
            Korean. A path nobody has is 404 `NOT_FOUND`, a method a path does not have 405 `METHOD_NOT_ALLOWED`.\n\n\
            What moves stock needs an `Idempotency-Key`. A repetition with the same key and the same content has the \
            first one's answer and no further effect, so after a 5xx or no answer at all: repeat."
    ),
    paths(
        products::create,
        products::list,
        products::get,
        products::patch,
        products::discontinue,
        stock::decrease,
        stock::increase,
        stock::adjust,
        stock::movements,
    ),
    components(schemas(ErrorBody)),
    modifiers(&ErrorWords),
    tags(
        (name = "products", description = "Everything but their stock"),
        (name = "stock", description = "What moves it, and its record"),
    )
)]
struct PublicApi;

/// What the admin listener offers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "hotstock product-service, admin",
        description = "Making products hot, and measuring the gate against the database. Errors as in the public API."
    ),
    paths(
        admin::load, admin::unload, admin::audit, admin::reconcile,
        admin::breaker, admin::force_open, admin::reset,
    ),
    components(schemas(ErrorBody)),
    modifiers(&ErrorWords),
    tags(
        (name = "gate", description = "Redis in front of hot products"),
        (name = "breaker", description = "Whether this instance calls Redis at all"),
    )
)]
struct AdminApi;

/// Puts the words of the wire where the derived schema has the names of the variants: it does not see through the
/// macro that declares them.
struct ErrorWords;

impl Modify for ErrorWords {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let schemas = document
            .components
            .as_mut()
            .map(|components| &mut components.schemas);
        if let Some(RefOr::T(Schema::Object(code))) = schemas.and_then(|schemas| schemas.get_mut("ErrorCode"))
        {
            code.enum_values = Some(ErrorCode::ALL.iter().map(|code| json!(code)).collect());
        }
    }
}

/// The document of the public listener.
#[must_use]
pub fn public_document() -> utoipa::openapi::OpenApi {
    PublicApi::openapi()
}

/// The document of the admin listener.
#[must_use]
pub fn admin_document() -> utoipa::openapi::OpenApi {
    AdminApi::openapi()
}

/// Serves a document and the page to browse it with. The page is built in: it needs no other server.
pub(super) fn mount(cfg: &mut ServiceConfig, document: utoipa::openapi::OpenApi) {
    let document = web::Data::new(document);
    cfg.service(
        web::resource("/openapi.json")
            .app_data(document)
            .route(get().to(serve)),
    )
    .service(web::resource("/docs").route(get().to(redirect)))
    .service(SwaggerUi::new("/docs/{_:.*}").config(Config::from("/openapi.json")));
}

async fn serve(document: web::Data<utoipa::openapi::OpenApi>) -> impl Responder {
    web::Json(document)
}

/// The page's own links are relative to the folder.
async fn redirect() -> HttpResponse {
    HttpResponse::PermanentRedirect()
        .insert_header((LOCATION, "/docs/"))
        .finish()
}

/// The product in the path.
pub(super) struct ProductParam;

impl IntoParams for ProductParam {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            ParameterBuilder::new()
                .name("id")
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some("The product"))
                .schema(Some(i64::schema()))
                .build(),
        ]
    }
}

/// The key of a stock write.
pub(super) struct IdempotencyKeyParam;

impl IntoParams for IdempotencyKeyParam {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let key = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(REQUEST_ID_LENGTH_MAX))
            .pattern(Some("^[!-~]+$"))
            .build();
        vec![
            ParameterBuilder::new()
                .name("Idempotency-Key")
                .parameter_in(ParameterIn::Header)
                .required(Required::True)
                .description(Some(
                    "1..=128 visible ASCII characters, bare or quoted; one effect per key",
                ))
                .schema(Some(key))
                .build(),
        ]
    }
}

/// Codes any operation may answer with.
const ANY: &[ErrorCode] = &[InternalError, RetryLater];
/// Codes of a body that cannot be taken.
const BODY: &[ErrorCode] = &[BadRequest, PayloadTooLarge, UnsupportedMediaType];
/// Codes of a product in the path.
const PRODUCT: &[ErrorCode] = &[ValidationError, ProductNotFound];
/// Why a decrease is refused.
const NOT_SOLD: &[ErrorCode] = &[
    InsufficientStock,
    SaleNotOpen,
    PurchaseLimitExceeded,
    ProductDiscontinued,
    OrderVoided,
];

/// Declares sets of errors, each a type that stands for them in `responses(…)`.
macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $($codes:expr),+;)+) => { $(
        $(#[$doc])*
        pub(super) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                responses(&[$($codes),+].concat())
            }
        }
    )+ };
}

errors! {
    /// Of an operation without any input.
    AnyErrors = ANY;
    /// Of a listing.
    ListErrors = ANY, &[ValidationError];
    /// Of an operation on a product, without a body.
    ProductErrors = ANY, PRODUCT;
    /// Of creating a product.
    CreateErrors = ANY, BODY, &[ValidationError];
    /// Of changing a product.
    PatchErrors = ANY, BODY, PRODUCT;
    /// Of a decrease.
    DecreaseErrors = ANY, BODY, PRODUCT, &[IdempotencyKeyReused], NOT_SOLD;
    /// Of an increase.
    IncreaseErrors = ANY, BODY, PRODUCT, &[IdempotencyKeyReused];
    /// Of an adjustment.
    AdjustErrors = ANY, BODY, PRODUCT, &[IdempotencyKeyReused, InsufficientStock];
}

/// One response per status, with every code it may carry.
fn responses(codes: &[ErrorCode]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<ErrorCode>> = BTreeMap::new();
    for code in ErrorCode::ALL.iter().filter(|code| codes.contains(code)) {
        by_status.entry(code.status()).or_default().push(*code);
    }
    by_status
        .into_iter()
        .map(|(status, codes)| (status.to_string(), response(status, &codes).into()))
        .collect()
}

fn response(status: u16, codes: &[ErrorCode]) -> Response {
    let words: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
    let examples = codes.iter().map(|code| {
        let example = ExampleBuilder::new().value(Some(example(*code))).build();
        (code.as_str(), example)
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("ErrorBody")))
        .examples_from_iter(examples)
        .build();
    let response = ResponseBuilder::new()
        .description(words.join(", "))
        .content("application/json", content);
    if status != RetryLater.status() {
        return response.build();
    }
    let retry_after = HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::Integer)))
        .description(Some("When to repeat, in seconds"))
        .build();
    response.header("Retry-After", retry_after).build()
}

fn example(code: ErrorCode) -> Value {
    let details = match code {
        InsufficientStock => json!({ "productId": 42, "remainingStock": 0 }),
        PurchaseLimitExceeded => json!({ "productId": 42, "purchaseLimit": 2 }),
        ProductNotFound | SaleNotOpen | ProductDiscontinued | OrderVoided | IdempotencyKeyReused => {
            json!({ "productId": 42 })
        }
        RetryLater => json!({ "reason": Unavailable::QueueFull.word() }),
        _ => Value::Null,
    };
    json!({ "error": code, "message": code.message(Locale::En), "details": details })
}
