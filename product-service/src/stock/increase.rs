//! Increase and adjust: what gives back or corrects. Neither asks the gate, which only ever refuses buyers; it is told
//! afterwards, like of every movement.

use super::submit;
use crate::app::App;
use crate::domain::books::Decision;
use crate::domain::request::{Adjust, Increase, StockRequest};
use crate::domain::words::Unavailable;

/// Voids an order's decrease: what it took comes back, once, and it takes nothing any more.
///
/// # Errors
/// [`Unavailable`] when there was no decision within the request's deadline.
pub async fn increase(app: &App, increase: Increase) -> Result<Decision, Unavailable> {
    submit(app, StockRequest::Increase(increase), |pending| {
        app.ledger.submit(pending)
    })
    .await
}

/// Corrects stock by hand.
///
/// # Errors
/// [`Unavailable`] when there was no decision within the request's deadline.
pub async fn adjust(app: &App, adjust: Adjust) -> Result<Decision, Unavailable> {
    submit(app, StockRequest::Adjust(adjust), |pending| {
        app.ledger.submit(pending)
    })
    .await
}
