//! What is done with stock: one file, one verb, each read from top to bottom.

pub mod admit;
pub mod audit;
pub mod decrease;
pub mod increase;
pub mod load;
pub mod reconcile;
pub mod settle;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::app::App;
use crate::domain::books::Decision;
use crate::domain::request::StockRequest;
use crate::domain::words::Unavailable;
use crate::ledger::lanes::Pending;

/// Hands a request to a queue and waits for its answer, at most until its deadline.
async fn submit(
    app: &App,
    request: StockRequest,
    queue: impl FnOnce(Pending),
) -> Result<Decision, Unavailable> {
    let deadline = Instant::now() + app.request_deadline;
    let (reply, answer) = oneshot::channel();
    let product = request.product();
    let raises = !matches!(request, StockRequest::Decrease(_));
    queue(Pending {
        request,
        may_hold: false,
        deadline,
        reply,
    });
    match tokio::time::timeout_at(deadline, answer).await {
        Ok(Ok(answer)) => answer.inspect(|decision| app.notices.notice(product, raises, decision)),
        Ok(Err(_)) => Err(Unavailable::Draining),
        Err(_) => Err(Unavailable::Deadline),
    }
}
