//! Recovery: takes up every step that is due, whoever began it and however that ended. Any number of instances may do
//! this at once.
//!
//! In health it finds cancels of v2 and little else; each step it takes up is counted.

use std::sync::Arc;
use std::time::Duration;

use platform::database::Pool;
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use crate::config::SagaConfig;
use crate::db::saga::take_up;
use crate::metrics;
use crate::saga::run::Runner;

/// How often it looks, when nobody nudges it.
const EVERY: Duration = Duration::from_millis(250);

/// Takes up what is due, for ever. What it has begun runs as tasks of `tasks`.
pub async fn run(pool: Pool, runner: Runner, nudge: Arc<Notify>, tasks: TaskTracker, config: SagaConfig) {
    let places = Arc::new(Semaphore::new(config.concurrency));
    let lease_ms = i64::try_from(config.lease_ms).unwrap_or(i64::MAX);
    loop {
        let Ok(first) = places.clone().acquire_owned().await else {
            return;
        };
        let free = places.available_permits() + 1;
        let due = match take_up(&pool, i64::try_from(free).unwrap_or(1), lease_ms).await {
            Ok(due) => due,
            Err(error) => {
                metrics::recovery_failed(&error);
                Vec::new()
            }
        };
        let more = due.len() == free;
        drop(first);
        for due in due {
            metrics::taken_up(&due);
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let runner = runner.clone();
            tasks.spawn(async move {
                if let Err(why) = runner.run_due(&due).await {
                    metrics::step_not_written(due.attempt, why);
                }
                drop(place);
            });
        }
        if !more {
            tokio::time::timeout(EVERY, nudge.notified()).await.ok();
        }
    }
}
