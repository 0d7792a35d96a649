//! Wakes the relay when somebody stores a message, in this instance or another. A wake-up that is lost costs no more than
//! the relay's own poll.

use std::sync::Arc;
use std::time::Duration;

use platform::database::Pool;
use tokio::sync::Notify;

use crate::db::DbError;
use crate::db::relay::Listening;
use crate::metrics;

/// How often a silent connection is asked whether it is still there, and the pause before a new one.
const CHECK_EVERY: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);

/// Listens, for ever.
pub async fn run(pool: Pool, nudge: Arc<Notify>) {
    loop {
        let ended = async {
            let mut listening = Listening::begin(&pool).await?;
            // What was stored while nobody listened.
            nudge.notify_one();
            loop {
                if listening.heard(CHECK_EVERY).await? {
                    nudge.notify_one();
                }
            }
        };
        let Err::<std::convert::Infallible, DbError>(error) = ended.await;
        metrics::listen_failed(&error);
        tokio::time::sleep(PAUSE).await;
    }
}
