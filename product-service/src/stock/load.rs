//! Load and unload: a product becomes hot, or ceases to be. And loading again, whenever Redis has forgotten it.
//!
//! If a loader dies half-way its lease runs out, and the next request takes a new one.

use std::sync::Arc;
use std::time::Duration;

use platform::database::Pool;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::domain::request::ProductId;
use crate::domain::words::LoadStep;
use crate::gate::hot::HotProducts;
use crate::gate::link::Link;
use crate::gate::load::Leased;
use crate::gate::reserve::Lease;
use crate::gate::{Gate, GateError};
use crate::ledger::{LedgerError, products, standing};
use crate::metrics;
use contracts::product::{ProductView, StockStrategy};

/// Makes a product hot and opens its gate. While Redis is away the product is hot all the same, and its gate opens with
/// the first request after Redis is back. `None`: no such product.
///
/// # Errors
/// [`LedgerError`] when the database did not take it.
pub async fn load(app: &App, product: ProductId) -> Result<Option<ProductView>, LedgerError> {
    let Some((before, view)) = products::set_strategy(&app.pool, product, StockStrategy::RedisFirst).await?
    else {
        return Ok(None);
    };
    // Keys from an earlier time have missed every movement since.
    if before == StockStrategy::DbOnly {
        app.gate
            .purge(product)
            .await
            .unwrap_or_else(|error| metrics::purge_failed(product, &error));
    }
    app.hot.insert(product);
    app.loader.load(product).await;
    Ok(Some(view))
}

/// Back to the database alone: no request asks the gate any more, and its keys are gone. `None`: no such product.
///
/// # Errors
/// [`LedgerError`] when the database did not take it.
pub async fn unload(app: &App, product: ProductId) -> Result<Option<ProductView>, LedgerError> {
    let Some((_, view)) = products::set_strategy(&app.pool, product, StockStrategy::DbOnly).await? else {
        return Ok(None);
    };
    app.hot.remove(product);
    app.gate
        .purge(product)
        .await
        .unwrap_or_else(|error| metrics::purge_failed(product, &error));
    Ok(Some(view))
}

/// Why a load stopped.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Redis.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// The database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Loads products, a few at a time.
pub struct Loader {
    gate: Arc<Gate>,
    pool: Pool,
    hot: Arc<HotProducts>,
    permits: Semaphore,
}

/// Loads at a time, per instance: each takes a database connection.
const LOADS_MAX: usize = 4;
/// Sold ids per chunk.
const CHUNK: i64 = 2000;
/// How long `load` waits for somebody else's load.
const OTHERS_LOAD: Duration = Duration::from_secs(2);

impl Loader {
    /// Loads products from this database into this gate.
    #[must_use]
    pub fn new(gate: Arc<Gate>, pool: Pool, hot: Arc<HotProducts>) -> Self {
        Self {
            gate,
            pool,
            hot,
            permits: Semaphore::new(LOADS_MAX),
        }
    }

    /// Loads in the background, with a lease that fell to a request.
    pub fn spawn(self: &Arc<Self>, product: ProductId, lease: Lease) {
        let loader = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(_permit) = loader.permits.acquire().await else {
                return;
            };
            let result = loader.run(&mut loader.gate.link(), product, &lease).await;
            metrics::loaded(product, &result);
        });
    }

    /// Loads now, or waits until somebody else has. What fails is left to the next request.
    pub async fn load(&self, product: ProductId) {
        let until = tokio::time::Instant::now() + OTHERS_LOAD;
        while tokio::time::Instant::now() < until {
            let mut link = self.gate.link();
            let result = match self.gate.lease(&mut link, product).await {
                Ok(Leased::Loaded) => return,
                Ok(Leased::Theirs) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
                Ok(Leased::Ours(lease)) => self.run(&mut link, product, &lease).await,
                Err(error) => Err(error.into()),
            };
            metrics::loaded(product, &result);
            return;
        }
    }

    async fn run(&self, link: &mut Link, product: ProductId, lease: &Lease) -> Result<LoadStep, LoadError> {
        let Some(true) = standing::is_hot(&self.pool, product).await? else {
            self.hot.remove(product);
            self.gate.purge(product).await?;
            return Ok(LoadStep::LeaseLost);
        };
        let mut after = 0;
        loop {
            let window = Duration::from_secs(self.gate.config.replay_window_s);
            let (ids, last) = standing::sold_ids(&self.pool, product, after, window, CHUNK).await?;
            let step = self.gate.remember(link, product, lease, &ids).await?;
            if step != LoadStep::Remembered {
                return Ok(step);
            }
            match last {
                Some(last) => after = last,
                None => break,
            }
        }
        let Some((stock, version)) = standing::balance(&self.pool, product).await? else {
            return Ok(LoadStep::LeaseLost);
        };
        self.gate
            .open(link, product, lease, stock, version)
            .await
            .map_err(LoadError::from)
    }
}
