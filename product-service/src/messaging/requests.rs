//! One request for stock, from its delivery to its acknowledgement.

use std::sync::Arc;
use std::time::Duration;

use contracts::messaging::{StockRequest, StockResult, Unreadable, read};
use platform::amqp::{Delivery, Handled, trace_context};
use platform::trace::{Kind, Work};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::results::Results;
use crate::app::App;
use crate::domain::refusal::refusal;
use crate::domain::request::{BuyerId, Decrease, Invalid, Quantity, RequestId};
use crate::metrics;
use crate::stock::decrease;

/// Pauses between tries while nobody can decide.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What a request needs. Cheap to clone.
#[derive(Clone)]
pub(super) struct Handler {
    pub(super) app: Arc<App>,
    pub(super) results: Results,
    pub(super) stop: CancellationToken,
}

impl Handler {
    pub(super) async fn handle(self, delivery: Delivery) -> Handled {
        let (request, asked) = match parse(&delivery.data) {
            Ok(parsed) => parsed,
            Err(unreadable) => {
                metrics::message_dead(&unreadable);
                return Handled::Dead;
            }
        };
        // What causes the decision is one with what its result causes.
        let cause = trace_context(&delivery);
        let work = Work::caused_by(cause, Kind::Consumer, "decide stock request", &request.request_id);
        let decided = self.decided(&request, asked);
        let Some(result) = decided.instrument(work.span).await else {
            return Handled::Left;
        };
        if self.results.publish(result, work.context).await {
            Handled::Done
        } else {
            Handled::Left
        }
    }

    /// The result, once somebody could decide: the message is held until then. `None`: the service stops.
    async fn decided(&self, request: &StockRequest, asked: Decrease) -> Option<StockResult> {
        let mut pause = PAUSE;
        loop {
            match decrease::decrease(&self.app, asked.clone()).await {
                Ok(decision) => {
                    metrics::message_decided(decision.verdict);
                    return Some(StockResult::new(request, refusal(decision.verdict)));
                }
                Err(why) => metrics::message_held(why),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return None,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

fn parse(bytes: &[u8]) -> Result<(StockRequest, Decrease), Unreadable> {
    let request: StockRequest = read(bytes)?;
    let refused = |invalid: Invalid| Unreadable(invalid.0);
    if request.order_id < 1 || request.product_id < 1 {
        return Err(Unreadable("orderId and productId must be at least 1".to_owned()));
    }
    let decrease = Decrease {
        product: request.product_id,
        request_id: RequestId::new(&request.request_id).map_err(refused)?,
        order_id: request.order_id,
        buyer: request
            .buyer_id
            .as_deref()
            .map(BuyerId::new)
            .transpose()
            .map_err(refused)?,
        quantity: Quantity::new(request.quantity).map_err(refused)?,
    };
    Ok((request, decrease))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_no_request_could_be_is_unreadable() {
        let good = StockRequest::new("DEC-1".into(), 1, 1, 1, None);
        assert!(parse(good.to_json().as_bytes()).is_ok());
        for bad in [
            StockRequest {
                quantity: -1,
                ..good.clone()
            },
            StockRequest {
                quantity: 0,
                ..good.clone()
            },
            StockRequest {
                order_id: 0,
                ..good.clone()
            },
            StockRequest {
                product_id: 0,
                ..good.clone()
            },
            StockRequest {
                request_id: String::new(),
                ..good.clone()
            },
            StockRequest {
                buyer_id: Some("a b".into()),
                ..good.clone()
            },
            StockRequest { version: 2, ..good },
        ] {
            assert!(parse(bad.to_json().as_bytes()).is_err(), "{bad:?}");
        }
    }
}
