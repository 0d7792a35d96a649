//! Reconciles every hot product once a second.

use std::sync::Arc;
use std::time::Duration;

use crate::gate::GateError;
use crate::gate::hot::HotProducts;
use crate::metrics;
use crate::stock::reconcile::{Reconciler, SETTLED_WITHIN};

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// Reconciles for ever. While Redis or the database is away it changes nothing and tries again; while the
/// breaker is open it leaves Redis to the prober.
pub async fn run(reconciler: Reconciler, hot: Arc<HotProducts>) {
    let mut link = reconciler.gate.background_link();
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let gate = &reconciler.gate;
        let products = hot.all();
        // Watched: without traffic, this is who finds out that Redis is gone.
        let alive = gate.watched("ping", false, gate.ping()).await;
        let reconciled = match alive {
            Ok(()) => reconciler
                .reconcile(&mut link, &products, false, SETTLED_WITHIN)
                .await
                .map(|_| ()),
            Err(GateError::Open) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = reconciled {
            metrics::reconcile_failed(&error);
        }
    }
}
