//! Keeps this instance's list of hot products: other instances make products hot too.

use std::sync::Arc;
use std::time::Duration;

use platform::database::Pool;

use crate::gate::hot::HotProducts;
use crate::ledger::standing;
use crate::metrics;

/// How old the list may be.
const EVERY: Duration = Duration::from_secs(1);

/// Reads the list once a second, for ever. While the database cannot be read, the old list stands.
pub async fn run(pool: Pool, hot: Arc<HotProducts>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        hot.refresh();
        match standing::hot_products(&pool).await {
            Ok(products) => hot.replace(products.into_iter().collect()),
            Err(error) => metrics::hot_products_failed(&error),
        }
    }
}
