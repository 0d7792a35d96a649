//! The description of the API: one OpenAPI document per listener, each served at `/openapi.json` and browsable at
//! `/docs` beside the operations it describes. Which errors an operation answers with is said as a list of codes.

use contracts::error::ErrorBody;
use contracts::error::ErrorCode::{
    self, BadRequest, DependencyFailed, Forbidden, IdempotencyInProgress, IdempotencyKeyReused,
    InsufficientStock, InternalError, InvalidState, NotFound, OrderNotFound, PayloadTooLarge, RetryLater,
    TooManyRequests, UnsupportedMediaType, ValidationError,
};
use platform::http::Limited;
use platform::http::auth::{ADMIN_SECURED, Secured};
use platform::http::openapi::{ErrorWords, idempotency_key, path_id};
use serde_json::{Value, json};
use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, OpenApi};

use super::{access, admin, dead_letters, events, orders};
use crate::db::queue::Unavailable;

const PUBLIC: Secured = Secured {
    rules: access::PUBLIC,
    by_password: false,
};

/// What the public listener offers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "hotstock order-service",
        description = "Orders. What is read under `/v1` is the same under `/v2`. Paths without either answer too, with the \
            flow the operator has chosen.\n\n\
            Every answer of 400 and above has the body `ErrorBody`; `Accept-Language: ko` asks for its message in \
            Korean. A path nobody has is 404 `NOT_FOUND`, a method a path does not have 405 `METHOD_NOT_ALLOWED`, \
            a fault that nobody foresaw 500 `INTERNAL_ERROR`.\n\n\
            With an `Idempotency-Key`, placing an order may be repeated: the same key and the same body are the same \
            order. Without one, a repetition is another order."
    ),
    servers((url = "/", description = "The listener this document comes from")),
    paths(
        orders::described::place_v1,
        orders::described::place_v2,
        orders::list,
        orders::get,
        events::events,
        orders::described::cancel_v1,
        orders::described::cancel_v2,
    ),
    components(schemas(ErrorBody)),
    modifiers(&ErrorWords, &PUBLIC, &Limited),
    tags((name = "orders", description = "Placing, cancelling, looking"))
)]
struct PublicApi;

/// What the admin listener offers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "hotstock order-service, admin",
        description = "What is stuck, and sending it again. Errors as in the public API."
    ),
    servers((url = "/", description = "The listener this document comes from")),
    paths(
        admin::stuck, admin::retry, admin::outbox, admin::requeue,
        dead_letters::list, dead_letters::replay, dead_letters::discard,
    ),
    components(schemas(ErrorBody)),
    modifiers(&ErrorWords, &ADMIN_SECURED),
    tags(
        (name = "orders", description = "Orders that failed or do not get on"),
        (name = "outbox", description = "Messages stored with the change they tell of"),
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

macro_rules! parameters {
    ($($(#[$doc:meta])* $name:ident = $parameter:expr;)+) => { $(
        $(#[$doc])*
        pub(super) struct $name;

        impl IntoParams for $name {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                vec![$parameter]
            }
        }
    )+ };
}

parameters! {
    /// The order in the path.
    OrderParam = path_id("The order");
    /// The stored message in the path.
    MessageParam = path_id("The message");
    /// The client's key.
    IdempotencyKeyParam = idempotency_key(Required::False);
}

/// Codes of what waits for the database, and of what it may refuse that it has to take.
const DATABASE: &[ErrorCode] = &[InternalError, RetryLater];
/// Codes of what waits for a queue: whatever goes wrong behind it, repeating is right.
const QUEUE: &[ErrorCode] = &[RetryLater];
/// Codes of a new order, whatever its flow.
const PLACE: &[ErrorCode] = &[
    InsufficientStock,
    ValidationError,
    BadRequest,
    PayloadTooLarge,
    UnsupportedMediaType,
    IdempotencyKeyReused,
];
/// Codes of an order in the path.
const ORDER: &[ErrorCode] = &[ValidationError, OrderNotFound];

platform::error_sets! {
    example;
    /// Of an operation without any input.
    AnyErrors = DATABASE;
    /// Of a listing.
    ListErrors = DATABASE, &[ValidationError];
    /// Of a listing of orders: a customer may not ask for those of another buyer.
    OrdersErrors = DATABASE, &[ValidationError, Forbidden];
    /// Of looking at an order.
    OrderErrors = DATABASE, ORDER;
    /// Of watching an order.
    EventErrors = DATABASE, ORDER, &[TooManyRequests];
    /// Of placing an order and seeing it to its end.
    PlaceErrors = QUEUE, PLACE, &[DependencyFailed, IdempotencyInProgress];
    /// Of placing an order.
    PlaceLaterErrors = QUEUE, PLACE;
    /// Of cancelling, and waiting for it.
    CancelErrors = DATABASE, ORDER, &[InvalidState, DependencyFailed];
    /// Of cancelling.
    CancelLaterErrors = DATABASE, ORDER, &[InvalidState];
    /// Of sending an order again.
    RetryErrors = DATABASE, ORDER, &[InvalidState];
    /// Of sending a message again.
    RequeueErrors = DATABASE, &[ValidationError, InvalidState, NotFound];
    /// Of dealing with dead letters.
    BrokerErrors = QUEUE, &[ValidationError];
}

/// Facts as an answer with this code has them.
fn example(code: ErrorCode) -> Value {
    match code {
        InsufficientStock => json!({ "productId": 42, "remainingStock": 0 }),
        InvalidState => json!({ "orderId": 17, "status": "PENDING" }),
        OrderNotFound | IdempotencyInProgress => json!({ "orderId": 17 }),
        DependencyFailed => json!({ "orderId": 17, "status": "FAILED", "failReason": "DEPENDENCY_FAILED" }),
        RetryLater => json!({ "reason": Unavailable::QueueFull.word() }),
        _ => Value::Null,
    }
}
