//! Probes Redis while the breaker is open: the only one who does, one probe at a time.
//!
//! A probe is a PING, all scripts, and every hot product reconciled from the database; only then is the breaker closed.
//! None of that is needed for safety. It avoids useless admissions and early refusals right after an outage.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::gate::hot::HotProducts;
use crate::ledger::standing;
use crate::metrics;
use crate::stock::load::LoadError;
use crate::stock::reconcile::{Reconciler, SETTLED_WITHIN};

/// How often the breaker is asked whether a probe is due.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// How long the hot products may take to come back within one probe.
const RESYNC_LIMIT: Duration = Duration::from_secs(30);

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("hot products were not all back after {RESYNC_LIMIT:?}")]
    Resync,
}

/// Probes whenever one is due, for ever.
pub async fn run(reconciler: Reconciler, hot: Arc<HotProducts>) {
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let breaker = &reconciler.gate.breaker;
        if !breaker.may_probe() {
            continue;
        }
        let probed = probe(&reconciler, &hot).await;
        breaker.probed(probed.is_ok());
        if let Err(error) = probed {
            metrics::probe_failed(&error);
        }
    }
}

async fn probe(reconciler: &Reconciler, hot: &HotProducts) -> Result<(), ProbeError> {
    let mut link = reconciler.gate.background_link();
    reconciler.gate.ready(&mut link).await.map_err(LoadError::from)?;
    let products = standing::hot_products(&reconciler.pool)
        .await
        .map_err(LoadError::from)?;
    hot.replace(products.iter().copied().collect());
    let until = Instant::now() + RESYNC_LIMIT;
    // First every movement there is, for nobody has told this gate of any; then until nothing is found any more.
    let mut settled_within = Duration::ZERO;
    while Instant::now() < until {
        let reconciled = reconciler
            .reconcile(&mut link, &products, false, settled_within)
            .await?;
        if reconciled.finds.is_empty() {
            return Ok(());
        }
        settled_within = SETTLED_WITHIN;
        tokio::time::sleep(ASK_EVERY).await;
    }
    Err(ProbeError::Resync)
}
