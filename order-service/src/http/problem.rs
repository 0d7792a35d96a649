//! From outcomes and errors to status and body: the only such place.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use contracts::error::ErrorCode;
use contracts::order::{Flow, OrderStatus, OutboxStatus};
use platform::http::Problem;
use serde_json::json;

use crate::db::DbError;
use crate::db::outbox::Requeued;
use crate::db::queue::Unavailable;
use crate::domain::order::{FailReason, Order};
use crate::orders::cancel::{self, CancelError};
use crate::orders::{place, retry};

/// The answer to a request to place an order.
pub(super) fn placed(
    flow: Flow,
    outcome: Result<place::Outcome, Unavailable>,
) -> Result<HttpResponse, Problem> {
    match outcome.map_err(unavailable)? {
        place::Outcome::Order { order, replayed } => {
            if flow == Flow::Sync && order.fail_reason.as_deref() == Some(FailReason::NoAnswer.word()) {
                return Err(no_answer(&order));
            }
            let mut response = match flow {
                Flow::Sync => HttpResponse::Created(),
                Flow::Async => HttpResponse::Accepted(),
            };
            response.insert_header((LOCATION, format!("/v1/orders/{}", order.id)));
            if replayed {
                response.insert_header(("Idempotency-Replayed", "true"));
            }
            Ok(response.json(order.view()))
        }
        place::Outcome::SoldOut { product_id } => Err(Problem::new(ErrorCode::InsufficientStock)
            .details(json!({ "productId": product_id, "remainingStock": 0 }))),
        place::Outcome::KeyReused => Err(Problem::new(ErrorCode::IdempotencyKeyReused)),
        place::Outcome::InProgress(order) => {
            Err(Problem::new(ErrorCode::IdempotencyInProgress).details(json!({ "orderId": order.id })))
        }
    }
}

/// The answer to a request to cancel an order.
pub(super) fn cancelled(
    id: i64,
    outcome: Result<cancel::Outcome, CancelError>,
) -> Result<HttpResponse, Problem> {
    let outcome = outcome.map_err(|error| match error {
        CancelError::Db(error) => db(&error),
        CancelError::Unavailable(why) => unavailable(why),
    })?;
    match outcome {
        cancel::Outcome::Cancelled(order) => Ok(HttpResponse::Ok().json(order.view())),
        cancel::Outcome::UnderWay(order) => Ok(HttpResponse::Accepted().json(order.view())),
        cancel::Outcome::NoAnswer(order) => Err(no_answer(&order)),
        cancel::Outcome::InvalidState(order) => Err(invalid_state(&order)),
        cancel::Outcome::NotFound => Err(not_found(id)),
    }
}

/// The answer to an operator who sends an order again.
pub(super) fn retried(id: i64, outcome: Result<retry::Outcome, DbError>) -> Result<HttpResponse, Problem> {
    match outcome.map_err(|error| db(&error))? {
        retry::Outcome::Pending(order) => Ok(HttpResponse::Accepted().json(order.view())),
        retry::Outcome::InvalidState(order) => Err(invalid_state(&order)),
        retry::Outcome::NotFound => Err(not_found(id)),
    }
}

/// The answer to an operator who sends a message again.
pub(super) fn requeued(outcome: Result<Requeued, DbError>) -> Result<HttpResponse, Problem> {
    match outcome.map_err(|error| db(&error))? {
        Requeued::Done(message) => Ok(HttpResponse::Accepted().json(message)),
        Requeued::NotFailed(status) => Err(not_failed(status)),
        Requeued::NotFound => Err(Problem::new(ErrorCode::NotFound).message("The message does not exist.")),
    }
}

fn not_failed(status: OutboxStatus) -> Problem {
    Problem::new(ErrorCode::InvalidState).details(json!({ "status": status }))
}

/// product-service could not be asked, or did not say.
fn no_answer(order: &Order) -> Problem {
    Problem::new(ErrorCode::DependencyFailed).details(json!({
        "orderId": order.id, "status": order.status, "failReason": order.fail_reason,
    }))
}

fn invalid_state(order: &Order) -> Problem {
    let status: OrderStatus = order.status;
    Problem::new(ErrorCode::InvalidState).details(json!({ "orderId": order.id, "status": status }))
}

/// No such order.
pub(super) fn not_found(id: i64) -> Problem {
    Problem::new(ErrorCode::OrderNotFound).details(json!({ "orderId": id }))
}

/// Nothing is known to be written.
pub(super) fn unavailable(why: Unavailable) -> Problem {
    Problem::new(ErrorCode::RetryLater).details(json!({ "reason": why.word() }))
}

/// A query failed.
pub(super) fn db(error: &DbError) -> Problem {
    if error.is_ours() {
        Problem::internal(error)
    } else {
        unavailable(Unavailable::Database).cause(error)
    }
}
