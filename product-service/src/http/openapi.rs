//! The description of the API: one OpenAPI document per listener, each served at `/openapi.json` and browsable at
//! `/docs` beside the operations it describes, so that trying them out needs no other address.
//!
//! Which errors an operation answers with is said as a list of codes; status, sentence and example follow from the
//! code, as they do in the answers themselves. Health and metrics belong to `platform` and are not described here.

use contracts::error::ErrorBody;
use contracts::error::ErrorCode::{
    self, BadRequest, IdempotencyKeyReused, InsufficientStock, InternalError, OrderVoided, PayloadTooLarge,
    PreconditionFailed, ProductDiscontinued, ProductNotFound, PurchaseLimitExceeded, RetryLater, SaleNotOpen,
    UnsupportedMediaType, ValidationError,
};
use platform::http::Limited;
use platform::http::auth::{ADMIN_SECURED, Secured};
pub(super) use platform::http::openapi::mount;
use platform::http::openapi::{ErrorWords, idempotency_key, if_match, path_id};
use serde_json::{Value, json};
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, OpenApi};

use super::{access, admin, dead_letters, products, stock};
use crate::domain::words::Unavailable;

const PUBLIC: Secured = Secured {
    rules: access::PUBLIC,
    by_password: false,
};

/// What the public listener offers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "hotstock product-service",
        description = "Products and their stock. Every path also answers without the prefix `/v1`.\n\n\
            Every answer of 400 and above has the body `ErrorBody`; `Accept-Language: ko` asks for its message in \
            Korean. A path nobody has is 404 `NOT_FOUND`, a method a path does not have 405 `METHOD_NOT_ALLOWED`, \
            a fault that nobody foresaw 500 `INTERNAL_ERROR`.\n\n\
            What moves stock needs an `Idempotency-Key`. A repetition with the same key and the same content has the \
            first one's answer and no further effect, so after a 5xx or no answer at all: repeat."
    ),
    servers((url = "/", description = "The listener this document comes from")),
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
    modifiers(&ErrorWords, &PUBLIC, &Limited),
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
    servers((url = "/", description = "The listener this document comes from")),
    paths(
        admin::load, admin::unload, admin::audit, admin::reconcile,
        admin::breaker, admin::force_open, admin::reset,
        dead_letters::list, dead_letters::replay, dead_letters::discard,
    ),
    components(schemas(ErrorBody)),
    modifiers(&ErrorWords, &ADMIN_SECURED),
    tags(
        (name = "gate", description = "Redis in front of hot products"),
        (name = "breaker", description = "Whether this instance calls Redis at all"),
        (name = "dead letters", description = "Messages set aside"),
    )
)]
struct AdminApi;

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

/// The product in the path.
pub(super) struct ProductParam;

impl IntoParams for ProductParam {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![path_id("The product")]
    }
}

/// The key of a stock write.
pub(super) struct IdempotencyKeyParam;

impl IntoParams for IdempotencyKeyParam {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![idempotency_key(Required::True)]
    }
}

/// The version of a product that a change is meant for.
pub(super) struct IfMatchParam;

impl IntoParams for IfMatchParam {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![if_match()]
    }
}

/// Codes of what waits for a store, and of what a store may refuse that has to take it.
const STORES: &[ErrorCode] = &[InternalError, RetryLater];
/// Codes of what waits for a queue: whatever goes wrong behind it, repeating is right.
const QUEUE: &[ErrorCode] = &[RetryLater];
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

platform::error_sets! {
    example;
    /// Of an operation without any input.
    AnyErrors = STORES;
    /// Of an operation with a query.
    ListErrors = STORES, &[ValidationError];
    /// Of an operation on a product, without a body.
    ProductErrors = STORES, PRODUCT;
    /// Of creating a product.
    CreateErrors = STORES, BODY, &[ValidationError];
    /// Of changing a product.
    PatchErrors = STORES, BODY, PRODUCT, &[PreconditionFailed];
    /// Of discontinuing a product.
    DiscontinueErrors = STORES, PRODUCT, &[PreconditionFailed];
    /// Of a decrease.
    DecreaseErrors = QUEUE, BODY, PRODUCT, &[IdempotencyKeyReused], NOT_SOLD;
    /// Of an increase.
    IncreaseErrors = QUEUE, BODY, PRODUCT, &[IdempotencyKeyReused];
    /// Of an adjustment.
    AdjustErrors = QUEUE, BODY, PRODUCT, &[IdempotencyKeyReused, InsufficientStock];
    /// Of dealing with dead letters.
    BrokerErrors = QUEUE, &[ValidationError];
}

/// Facts as an answer with this code has them.
fn example(code: ErrorCode) -> Value {
    match code {
        InsufficientStock => json!({ "productId": 42, "remainingStock": 0 }),
        PurchaseLimitExceeded => json!({ "productId": 42, "purchaseLimit": 2 }),
        ProductNotFound | SaleNotOpen | ProductDiscontinued | OrderVoided | IdempotencyKeyReused => {
            json!({ "productId": 42 })
        }
        PreconditionFailed => json!({ "productId": 42, "version": 8 }),
        RetryLater => json!({ "reason": Unavailable::QueueFull.word() }),
        _ => Value::Null,
    }
}
