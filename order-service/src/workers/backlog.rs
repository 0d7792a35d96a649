//! Backlog: counts what is not done, for the gauges. Every instance counts all of it. If it dies or the database is away,
//! the gauges vanish after a while.

use std::time::Duration;

use platform::database::Pool;

use crate::db::backlog::backlog;
use crate::metrics;

/// How often.
const EVERY: Duration = Duration::from_secs(2);

/// Counts, for ever.
pub async fn run(pool: Pool) {
    loop {
        match backlog(&pool).await {
            Ok(backlog) => {
                metrics::database_up(true);
                backlog.iter().for_each(metrics::backlog);
            }
            Err(error) => metrics::backlog_failed(&error),
        }
        tokio::time::sleep(EVERY).await;
    }
}
