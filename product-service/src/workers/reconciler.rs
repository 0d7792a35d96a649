//! Reconciles every hot product once a second, or less often where there are so many that it would do nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::gate::GateError;
use crate::gate::hot::HotProducts;
use crate::metrics;
use crate::stock::reconcile::{Reconciler, SETTLED_WITHIN};

/// The pause between two rounds: four times as long as the last one took, because a round over thousands of products keeps
/// Redis busy, which sells meanwhile; within these bounds.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Reconciles for ever. While Redis or the database is away it changes nothing and tries again; while the
/// breaker is open it leaves Redis to the prober.
pub async fn run(reconciler: Reconciler, hot: Arc<HotProducts>) {
    let mut link = reconciler.gate.background_link();
    loop {
        let begun = Instant::now();
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
        match reconciled {
            Ok(()) => metrics::reconciled(begun.elapsed()),
            Err(error) => metrics::reconcile_failed(&error),
        }
        tokio::time::sleep((4 * begun.elapsed()).clamp(PAUSE, PAUSE_MAX)).await;
    }
}
