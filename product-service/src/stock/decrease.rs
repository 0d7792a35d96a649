//! Decrease: an order takes units. The straight line of hotstock; read this file first.

use super::submit;
use crate::app::App;
use crate::domain::books::Decision;
use crate::domain::request::{Decrease, StockRequest};
use crate::domain::words::{BreakerState, Unavailable};

/// Takes units for an order, or says why not. Answers a success only after its ledger row is committed.
///
/// Hot products ask the gate first, which forwards what it admits; all others, and everything while the breaker is open, go
/// straight to the decision, which is the same for both. From here on the request belongs to the queues: if the
/// caller goes away, the answer is thrown away and the books stay right.
///
/// # Errors
/// [`Unavailable`] when there was no decision within the request's deadline.
pub async fn decrease(app: &App, decrease: Decrease) -> Result<Decision, Unavailable> {
    let gate = app.hot.contains(decrease.product) && app.gate.breaker.state() == BreakerState::Closed;
    submit(app, StockRequest::Decrease(decrease), |pending| {
        if gate {
            app.admission.submit(pending)
        } else {
            app.ledger.submit(pending)
        }
    })
    .await
}
