//! What is done with orders: one file, one verb, each read from top to bottom.

pub mod cancel;
pub mod place;
pub mod retry;
pub mod sold_out;
pub mod watch;

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Instrument;

use crate::app::App;
use crate::db::queue::Unavailable;

/// What is left of a request after its deadline, for writing down what became of it.
const WRITE_MARGIN: Duration = Duration::from_millis(1000);

/// Runs `work` as a task of the application, which a client that hangs up does not end, and waits for what it says until
/// a moment after `deadline`. At most `in_flight_max` of them run at once, and no more than can be concluded in half of a
/// request's deadline; one more is refused before it has begun: what becomes of it would be nobody's any more.
async fn in_background<T: Send + 'static>(
    app: &App,
    deadline: Instant,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Unavailable> {
    app.runner
        .expect_room(app.tasks.len(), app.request_deadline / 2)?;
    let permit = app.in_flight.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Unavailable::QueueFull)?;
    let (reply, answer) = oneshot::channel();
    let work = async move {
        reply.send(work.await).ok();
        drop(permit);
    };
    app.tasks.spawn(work.in_current_span());
    match tokio::time::timeout_at(deadline + WRITE_MARGIN, answer).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err(Unavailable::Draining),
        Err(_) => Err(Unavailable::Deadline),
    }
}
