//! From outcomes and errors to status and body: the only such place.

use actix_web::HttpResponse;
use contracts::error::ErrorCode;
use contracts::stock::StockAnswer;
use platform::http::Problem;
use serde_json::json;

use crate::domain::books::Decision;
use crate::domain::refusal::refusal;
use crate::domain::request::ProductId;
use crate::domain::words::{Unavailable, Verdict};
use crate::gate::GateError;
use crate::ledger::LedgerError;
use crate::ledger::failure::{Failure, failure};

/// The answer to a request that was decided, or why there was no decision.
pub(super) fn answer(
    product: ProductId,
    decision: Result<Decision, Unavailable>,
) -> Result<HttpResponse, Problem> {
    let decision = decision.map_err(unavailable)?;
    let Some(code) = refusal(decision.verdict) else {
        return Ok(success(&decision));
    };
    let problem = Problem::new(code);
    Err(match decision.verdict {
        Verdict::Insufficient => {
            problem.details(json!({ "productId": product, "remainingStock": decision.stock }))
        }
        Verdict::Limit => problem.details(json!({ "productId": product, "purchaseLimit": decision.limit })),
        Verdict::BuyerRequired => problem.message("this product limits purchases: buyerId is required"),
        Verdict::Overflow => problem.message("stock would exceed the most a product may have"),
        Verdict::Mismatch => {
            problem.message("the decrease to be voided was for another product, order or quantity")
        }
        _ => problem.details(json!({ "productId": product })),
    })
}

fn success(decision: &Decision) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    if decision.verdict == Verdict::Replay {
        response.insert_header(("Idempotency-Replayed", "true"));
    }
    response.json(StockAnswer {
        success: true,
        remaining_stock: decision.stock,
        message: "OK".to_owned(),
    })
}

fn unavailable(why: Unavailable) -> Problem {
    Problem::new(ErrorCode::RetryLater).details(json!({ "reason": why.word() }))
}

/// No such product.
pub(super) fn not_found(product: ProductId) -> Problem {
    Problem::new(ErrorCode::ProductNotFound).details(json!({ "productId": product }))
}

/// The product has changed since the client read it.
pub(super) fn stale(product: ProductId, version: i64) -> Problem {
    Problem::new(ErrorCode::PreconditionFailed).details(json!({ "productId": product, "version": version }))
}

/// A query failed.
pub(super) fn ledger(error: LedgerError) -> Problem {
    match failure(&error) {
        Failure::Nothing(why) => unavailable(why).cause(&error),
        Failure::Again | Failure::Unknown => unavailable(Unavailable::Database).cause(&error),
        Failure::Refused => Problem::internal(&error),
    }
}

/// Redis did not answer an operator. (Buyers never see this: for them the database decides.)
pub(super) fn gate(error: &GateError) -> Problem {
    Problem::new(ErrorCode::RetryLater)
        .details(json!({ "reason": "redis" }))
        .cause(error)
}
