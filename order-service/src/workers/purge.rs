//! Purge: removes messages that were sent long ago.

use std::time::Duration;

use platform::database::Pool;

use crate::db::relay::purge;
use crate::metrics;

/// How often, and how many rows at once: a purge must not hold the table for long.
const EVERY: Duration = Duration::from_secs(30);
const ROWS_MAX: i64 = 1000;

/// Purges, for ever.
pub async fn run(pool: Pool, keep_s: i64) {
    loop {
        match purge(&pool, keep_s, ROWS_MAX).await {
            Ok(rows) if i64::try_from(rows).is_ok_and(|rows| rows == ROWS_MAX) => continue,
            Ok(_) => {}
            Err(error) => metrics::purge_failed(&error),
        }
        tokio::time::sleep(EVERY).await;
    }
}
