//! Results: what became of an order's stock, as product-service says. Any number of times, in any order.
//!
//! A result is acknowledged when what it means is committed, so that none is lost; written any number of times it means
//! the same. While the database is away, results are held.

use std::time::Duration;

use contracts::messaging::{StockResult, Unreadable, read};
use platform::amqp::{Delivery, Handled, trace_context};
use platform::trace::{Kind, Work};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::db::conclude::Conclusion;
use crate::domain::attempt::Attempt;
use crate::domain::order::FailReason;
use crate::metrics;
use crate::saga::run::Runner;

/// Pauses between tries while the database is away.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What a result needs. Cheap to clone.
#[derive(Clone)]
pub struct Handler {
    /// Writes down what a result means.
    pub runner: Runner,
    /// The service stops.
    pub stop: CancellationToken,
}

impl Handler {
    /// One result, until it is written.
    pub async fn handle(self, delivery: Delivery) -> Handled {
        let (attempt, conclusion) = match parse(&delivery.data) {
            Ok(parsed) => parsed,
            Err(unreadable) => {
                metrics::result_dead(&unreadable.0);
                return Handled::Dead;
            }
        };
        let cause = trace_context(&delivery);
        let work = Work::caused_by(
            cause,
            Kind::Consumer,
            "conclude stock result",
            &attempt.decrease_id(),
        );
        self.written(attempt, conclusion).instrument(work.span).await
    }

    async fn written(&self, attempt: Attempt, conclusion: Conclusion) -> Handled {
        let mut pause = PAUSE;
        loop {
            match self.runner.write(attempt, conclusion.clone()).await {
                Ok(concluded) if concluded.order.is_some() => return Handled::Done,
                Ok(_) => {
                    metrics::result_dead("there is no such order");
                    return Handled::Dead;
                }
                Err(why) => metrics::result_held(why),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return Handled::Left,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

fn parse(bytes: &[u8]) -> Result<(Attempt, Conclusion), Unreadable> {
    let result: StockResult = read(bytes)?;
    let attempt = Attempt::of_decrease(&result.request_id)
        .filter(|attempt| attempt.order_id == result.order_id)
        .ok_or_else(|| Unreadable("requestId is not one of this order".to_owned()))?;
    let conclusion = match (result.success, result.error) {
        (true, None) => Conclusion::Taken,
        // Whatever else of this attempt may still be delivered and succeed is given back when its result comes.
        (false, Some(code)) => Conclusion::Failed {
            reason: FailReason::Refused(code),
            void: false,
        },
        _ => return Err(Unreadable("success and error contradict each other".to_owned())),
    };
    Ok((attempt, conclusion))
}

#[cfg(test)]
mod tests {
    use contracts::error::ErrorCode;
    use contracts::messaging::StockRequest;

    use super::*;

    #[test]
    fn a_result_says_what_became_of_which_attempt() {
        let request = StockRequest::new("DEC-17-2".into(), 17, 1, 1, None);
        let attempt = Attempt {
            order_id: 17,
            number: 2,
        };
        let taken = StockResult::new(&request, None);
        assert_eq!(
            parse(taken.to_json().as_bytes()),
            Ok((attempt, Conclusion::Taken))
        );
        let code = ErrorCode::InsufficientStock;
        let refused = StockResult::new(&request, Some(code));
        let failed = Conclusion::Failed {
            reason: FailReason::Refused(code),
            void: false,
        };
        assert_eq!(parse(refused.to_json().as_bytes()), Ok((attempt, failed)));
        for bad in [
            StockResult {
                order_id: 18,
                ..taken.clone()
            },
            StockResult {
                request_id: "x".into(),
                ..taken.clone()
            },
            StockResult {
                success: false,
                ..taken.clone()
            },
            StockResult {
                error: Some(code),
                ..taken.clone()
            },
            StockResult { version: 7, ..taken },
        ] {
            assert!(parse(bad.to_json().as_bytes()).is_err(), "{bad:?}");
        }
    }
}
