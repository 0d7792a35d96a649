//! Results on their way out: published in batches, each until the broker has confirmed it.

use std::time::Duration;

use contracts::messaging::{ORDER_RESULT, STOCK_REQUEST, StockResult};
use platform::amqp::{Broker, Message, Published, Publisher};
use platform::batch::{Batcher, Batches, queue};
use platform::trace::TraceContext;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::RabbitMqConfig;
use crate::metrics;

/// Results per batch at most.
const FLUSH_MAX: usize = 512;
/// Pause after a batch of which something was not confirmed.
const PAUSE: Duration = Duration::from_millis(500);

/// A result, the trace context of its request, and who waits for its confirm.
type Waiting = (Outgoing, oneshot::Sender<()>);

struct Outgoing {
    result: StockResult,
    trace_context: Option<TraceContext>,
}

/// Where results go. Cheap to clone.
#[derive(Clone)]
pub(super) struct Results {
    queue: Batcher<Waiting>,
}

impl Results {
    /// Starts the publishing task. It ends with `stop`, or when the last clone is gone.
    pub(super) fn start(
        broker: Broker,
        config: &RabbitMqConfig,
        stop: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        // Never full: no more messages are under way than the prefetch says.
        let (batcher, batches) = queue("results", usize::from(config.prefetch).max(1));
        let publisher = Publisher::new(
            broker,
            "stock results",
            &[STOCK_REQUEST, ORDER_RESULT],
            &[],
            Duration::from_millis(config.confirm_timeout_ms),
        );
        (
            Self { queue: batcher },
            tokio::spawn(run(publisher, batches, stop)),
        )
    }

    /// Publishes a result, until it is confirmed. `false`: it was not, because the service stops.
    pub(super) async fn publish(&self, result: StockResult, trace_context: Option<TraceContext>) -> bool {
        let (reply, confirmed) = oneshot::channel();
        let outgoing = Outgoing {
            result,
            trace_context,
        };
        self.queue.submit((outgoing, reply)).is_ok() && confirmed.await.is_ok()
    }
}

async fn run(mut publisher: Publisher, mut batches: Batches<Waiting>, stop: CancellationToken) {
    let mut left: Vec<Waiting> = Vec::new();
    loop {
        if left.is_empty() {
            match batches.next(FLUSH_MAX).await {
                Some(batch) => left = batch,
                None => return,
            }
        }
        let messages: Vec<Message> = left.iter().map(|(outgoing, _)| message(outgoing)).collect();
        let published = publisher.publish(&messages).await;
        let published =
            published.unwrap_or_else(|error| vec![Published::Failed(error.to_string()); messages.len()]);
        let mut again = Vec::new();
        for ((outgoing, reply), published) in left.into_iter().zip(published) {
            match published {
                Published::Confirmed => {
                    reply.send(()).ok();
                }
                Published::Failed(why) => {
                    metrics::result_not_confirmed(&why);
                    again.push((outgoing, reply));
                }
            }
        }
        left = again;
        if !left.is_empty() {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                // Those who wait hear it by the loss of their reply.
                () = stop.cancelled() => return,
            }
        }
    }
}

fn message(outgoing: &Outgoing) -> Message {
    let Outgoing {
        result,
        trace_context,
    } = outgoing;
    Message {
        exchange: ORDER_RESULT.exchange,
        key: ORDER_RESULT.key,
        id: result.request_id.clone(),
        body: result.to_json(),
        trace_context: *trace_context,
        mandatory: true,
    }
}
