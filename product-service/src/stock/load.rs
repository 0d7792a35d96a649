//! Load and unload: a product becomes hot, or ceases to be. And loading again, whenever Redis has forgotten it.
//!
//! One task loads for the whole instance, everything that waits at once: after a Redis was emptied, thousands of hot
//! products come back in a few round trips. If it dies half-way, the leases run out and requests take new ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::product::{ProductView, StockStrategy};
use platform::batch::{Batcher, queue};
use platform::database::Pool;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::app::App;
use crate::domain::request::ProductId;
use crate::domain::words::LoadStep;
use crate::gate::hot::HotProducts;
use crate::gate::link::Link;
use crate::gate::load::{Leased, Opening, Remembered};
use crate::gate::reserve::Lease;
use crate::gate::{Gate, GateError};
use crate::ledger::{LedgerError, products, standing};
use crate::metrics;

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

/// The way to the loading task. Cheap to clone.
#[derive(Clone)]
pub struct Loader {
    queue: Batcher<(ProductId, Lease)>,
    gate: Arc<Gate>,
}

/// Products per load: a few hundred make the round trips few, and none of them long.
const PRODUCTS_MAX: usize = 500;
/// Leases that may wait. A lease that finds no room runs out and is granted again.
const QUEUE_CAPACITY: usize = 20_000;
/// Sold ids per step of a load.
const IDS_PER_STEP: i64 = 5000;
/// How long [`Loader::load`] waits.
const LOAD_WAIT: Duration = Duration::from_secs(2);

impl Loader {
    /// Starts the loading task: products from this database, into this gate. It ends once every clone is dropped.
    #[must_use]
    pub fn start(gate: Arc<Gate>, pool: Pool, hot: Arc<HotProducts>) -> (Self, JoinHandle<()>) {
        let (batcher, mut batches) = queue(QUEUE_CAPACITY);
        let loading = Loading {
            gate: gate.clone(),
            pool,
            hot,
        };
        let task = tokio::spawn(async move {
            while let Some(leases) = batches.next(PRODUCTS_MAX).await {
                loading.persist(leases.into_iter().collect()).await;
            }
        });
        (Self { queue: batcher, gate }, task)
    }

    /// Has a product loaded, in the background, with a lease that was granted.
    pub fn submit(&self, product: ProductId, lease: Lease) {
        // Refused: the lease runs out, and the next request is granted a new one.
        self.queue.submit((product, lease)).ok();
    }

    /// Has a product loaded and waits for it, for a moment. What fails is left to the next request.
    pub async fn load(&self, product: ProductId) {
        let until = Instant::now() + LOAD_WAIT;
        let mut link = self.gate.link();
        while Instant::now() < until {
            match self
                .gate
                .lease(&mut link, &[product])
                .await
                .map(|mut leased| leased.pop())
            {
                Ok(Some(Ok(Leased::Ours(lease)))) => self.submit(product, lease),
                Ok(Some(Ok(Leased::Theirs))) => tokio::time::sleep(Duration::from_millis(5)).await,
                Ok(Some(Ok(Leased::Loaded))) | Ok(None) => return,
                Ok(Some(Err(error))) | Err(error) => return metrics::load_failed(1, &error),
            }
        }
    }
}

/// What the loading task works with.
struct Loading {
    gate: Arc<Gate>,
    pool: Pool,
    hot: Arc<HotProducts>,
}

/// How often a load is tried. A lease whose load was given up keeps everybody else from loading until it runs out.
const TRIES: usize = 3;

impl Loading {
    /// Loads, with a connection that the pool has just found to be alive: loads are rare, and the last one may have been
    /// made before Redis was restarted.
    async fn persist(&self, leases: BTreeMap<ProductId, Lease>) {
        let mut link = self.gate.link();
        for _ in 0..TRIES {
            match self.load(&mut link, leases.clone()).await {
                Ok(()) => return,
                Err(error) => metrics::load_failed(leases.len(), &error),
            }
        }
    }

    async fn load(&self, link: &mut Link, mut leases: BTreeMap<ProductId, Lease>) -> Result<(), LoadError> {
        self.leave_out_cold(&mut leases).await?;
        let window = Duration::from_secs(self.gate.config.replay_window_s);
        let mut after = (0, 0);
        while !leases.is_empty() {
            let products: Vec<ProductId> = leases.keys().copied().collect();
            let sold = standing::sold_ids(&self.pool, &products, after, window, IDS_PER_STEP).await?;
            self.remember(link, &mut leases, &sold).await?;
            // Ids come in the order of products: all but the last of a full step are complete.
            let more = i64::try_from(sold.len()).is_ok_and(|ids| ids >= IDS_PER_STEP);
            let open_below = match sold.last() {
                Some(last) if more => {
                    after = (last.product, last.version);
                    last.product
                }
                _ => ProductId::MAX,
            };
            let still = leases.split_off(&open_below);
            self.open(link, &std::mem::replace(&mut leases, still)).await?;
        }
        Ok(())
    }

    /// Another instance may have made a product cold again: then there is nothing to load.
    async fn leave_out_cold(&self, leases: &mut BTreeMap<ProductId, Lease>) -> Result<(), LoadError> {
        let products: Vec<ProductId> = leases.keys().copied().collect();
        let hot = standing::hot_among(&self.pool, &products).await?;
        for product in products.into_iter().filter(|product| !hot.contains(product)) {
            leases.remove(&product);
            self.hot.remove(product);
            self.gate.purge(product).await?;
        }
        Ok(())
    }

    async fn remember(
        &self,
        link: &mut Link,
        leases: &mut BTreeMap<ProductId, Lease>,
        sold: &[standing::SoldId],
    ) -> Result<(), LoadError> {
        let chunks: Vec<Remembered<'_>> = leases
            .iter()
            .map(|(product, lease)| {
                let first = sold.partition_point(|id| id.product < *product);
                let past = sold.partition_point(|id| id.product <= *product);
                let ids = sold[first..past]
                    .iter()
                    .map(|id| id.request_id.as_str())
                    .collect();
                Remembered {
                    product: *product,
                    lease,
                    ids,
                }
            })
            .collect();
        let steps = self.gate.remember(link, &chunks).await?;
        let lost: Vec<ProductId> = chunks
            .iter()
            .zip(steps)
            .filter(|(_, step)| !matches!(step, Ok(LoadStep::Remembered)))
            .map(|(chunk, step)| {
                metrics::loaded(chunk.product, &step);
                chunk.product
            })
            .collect();
        lost.iter().for_each(|product| drop(leases.remove(product)));
        Ok(())
    }

    async fn open(&self, link: &mut Link, leases: &BTreeMap<ProductId, Lease>) -> Result<(), LoadError> {
        if leases.is_empty() {
            return Ok(());
        }
        let products: Vec<ProductId> = leases.keys().copied().collect();
        let balances = standing::balances(&self.pool, &products).await?;
        let openings: Vec<Opening<'_>> = balances
            .iter()
            .filter_map(|(product, stock, version)| {
                let lease = leases.get(product)?;
                Some(Opening {
                    product: *product,
                    lease,
                    stock: *stock,
                    version: *version,
                })
            })
            .collect();
        let steps = self.gate.open(link, &openings).await?;
        openings
            .iter()
            .zip(&steps)
            .for_each(|(opening, step)| metrics::loaded(opening.product, step));
        Ok(())
    }
}
