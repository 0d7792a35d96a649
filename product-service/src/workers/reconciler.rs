//! Reconciles every hot product once a second.

use std::sync::Arc;
use std::time::Duration;

use crate::gate::hot::HotProducts;
use crate::metrics;
use crate::stock::reconcile::Reconciler;

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// Reconciles for ever. While Redis or the database is away it changes nothing and tries again.
pub async fn run(reconciler: Reconciler, hot: Arc<HotProducts>) {
    let mut link = reconciler.gate.link();
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = reconciler.reconcile(&mut link, &hot.all(), false).await {
            metrics::reconcile_failed(&error);
        }
    }
}
