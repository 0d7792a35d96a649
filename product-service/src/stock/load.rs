//! Load and unload: a product becomes hot, or ceases to be. And loading again, whenever Redis has forgotten it.
//!
//! One task loads for the whole instance, everything that waits at once: after a Redis was emptied, thousands of hot
//! products come back in a few round trips. If it dies half-way, the leases run out and requests take new ones.

use std::collections::{BTreeMap, HashMap};
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
use crate::ledger::standing::{self, Reading, Standing};
use crate::ledger::{LedgerError, products};
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

/// A product's rules have changed: its gate is closed and opened anew with them. A load that had read the old ones loses its
/// lease with that. If this instance dies before, the reconciler finds the old rules.
pub async fn renew(app: &App, product: ProductId) {
    app.gate
        .purge(product)
        .await
        .unwrap_or_else(|error| metrics::purge_failed(product, &error));
    app.loader.load(product).await;
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
/// Request ids, and buyers, per step of a load.
const ENTRIES_PER_STEP: usize = 50_000;
/// And per call of a script: Lua passes on no more than 8000 values at once.
const ENTRIES_PER_CALL: usize = 3500;
/// How long [`Loader::load`] waits.
const LOAD_WAIT: Duration = Duration::from_secs(2);

impl Loader {
    /// Starts the loading task: products from this database, into this gate. It ends once every clone is dropped.
    #[must_use]
    pub fn start(gate: Arc<Gate>, pool: Pool, hot: Arc<HotProducts>) -> (Self, JoinHandle<()>) {
        let (batcher, mut batches) = queue("load", QUEUE_CAPACITY);
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
        while Instant::now() < until {
            // Given back before each pause: as many as wait here at once would leave the loading task without a connection.
            let leased = self.gate.lease(&mut self.gate.link(), &[product]).await;
            match leased.map(|mut leased| leased.pop()) {
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
        let mut link = self.gate.background_link();
        for _ in 0..TRIES {
            match self.load(&mut link, leases.clone()).await {
                Ok(()) => return,
                Err(error) => metrics::load_failed(leases.len(), &error),
            }
        }
    }

    async fn load(&self, link: &mut Link, leases: BTreeMap<ProductId, Lease>) -> Result<(), LoadError> {
        let mut loads = self.begin(leases).await?;
        while !loads.is_empty() {
            let sold = self.sold_ids(&mut loads).await?;
            let owned = self.owned(&mut loads).await?;
            self.remember(link, &mut loads, &sold, &owned).await?;
            let (complete, rest) = loads.into_iter().partition(Load::is_complete);
            loads = rest;
            self.open(link, complete).await?;
        }
        Ok(())
    }

    /// Where the products stand. Read under the leases, and before all else: what buyers own is read as of that version.
    /// Another instance may have made a product cold again: then there is nothing to load.
    async fn begin(&self, leases: BTreeMap<ProductId, Lease>) -> Result<Vec<Load>, LoadError> {
        let products: Vec<ProductId> = leases.keys().copied().collect();
        let any_version = vec![0; products.len()];
        let mut loads = Vec::with_capacity(products.len());
        for standing in standing::standings(&self.pool, &products, &any_version).await? {
            let Some(lease) = leases.get(&standing.product) else {
                continue;
            };
            if standing.hot {
                loads.push(Load::new(lease.clone(), standing));
            } else {
                self.hot.remove(standing.product);
                self.gate.purge(standing.product).await?;
            }
        }
        Ok(loads)
    }

    /// The next chunk of ids that got stock, by product.
    async fn sold_ids(&self, loads: &mut [Load]) -> Result<HashMap<ProductId, Vec<String>>, LoadError> {
        let readings: Vec<Reading<i64>> = loads
            .iter()
            .filter_map(|load| Some(load.reading(load.sold_below?)))
            .collect();
        let limit = chunk(readings.len());
        let mut chunks: HashMap<ProductId, Vec<standing::SoldId>> = HashMap::new();
        if !readings.is_empty() {
            let window = Duration::from_secs(self.gate.config.replay_window_s);
            for id in standing::sold_ids(&self.pool, &readings, window, limit).await? {
                chunks.entry(id.product).or_default().push(id);
            }
        }
        for load in loads.iter_mut().filter(|load| load.sold_below.is_some()) {
            load.sold_below = chunks
                .get(&load.standing.product)
                .filter(|ids| is_full(ids.len(), limit))
                .and_then(|ids| ids.last())
                .filter(|last| last.is_recent)
                .map(|last| last.version);
        }
        let recent = |ids: Vec<standing::SoldId>| ids.into_iter().filter(|id| id.is_recent);
        Ok(chunks
            .into_iter()
            .map(|(product, ids)| (product, recent(ids).map(|id| id.request_id).collect()))
            .collect())
    }

    /// The next chunk of what buyers own, by product.
    async fn owned(&self, loads: &mut [Load]) -> Result<HashMap<ProductId, Vec<standing::Owned>>, LoadError> {
        let readings: Vec<Reading<String>> = loads
            .iter()
            .filter_map(|load| Some(load.reading(load.owned_behind.clone()?)))
            .collect();
        let limit = chunk(readings.len());
        let mut chunks: HashMap<ProductId, Vec<standing::Owned>> = HashMap::new();
        if !readings.is_empty() {
            for owned in standing::owned(&self.pool, &readings, limit).await? {
                chunks.entry(owned.product).or_default().push(owned);
            }
        }
        for load in loads.iter_mut().filter(|load| load.owned_behind.is_some()) {
            load.owned_behind = chunks
                .get(&load.standing.product)
                .filter(|owned| is_full(owned.len(), limit))
                .and_then(|owned| owned.last())
                .map(|last| last.buyer.clone());
        }
        Ok(chunks)
    }

    /// Tells the gates their chunks, and keeps all leases alive.
    async fn remember(
        &self,
        link: &mut Link,
        loads: &mut Vec<Load>,
        sold: &HashMap<ProductId, Vec<String>>,
        owned: &HashMap<ProductId, Vec<standing::Owned>>,
    ) -> Result<(), LoadError> {
        let chunks: Vec<Remembered<'_>> = loads
            .iter()
            .map(|load| {
                let product = load.standing.product;
                let ids = sold.get(&product).into_iter().flatten().map(String::as_str);
                // Also who owns nothing any more: an earlier try under this lease may have told otherwise.
                let owned = owned.get(&product).into_iter().flatten();
                Remembered {
                    product,
                    lease: &load.lease,
                    ids: ids.collect(),
                    owned: owned.map(|owned| (owned.buyer.as_str(), owned.units)).collect(),
                }
            })
            .collect();
        let steps = self.gate.remember(link, &chunks).await?;
        let mut steps = steps.iter();
        loads.retain(|load| match steps.next() {
            Some(Ok(LoadStep::Remembered)) | None => true,
            Some(step) => {
                metrics::loaded(load.standing.product, step);
                false
            }
        });
        Ok(())
    }

    async fn open(&self, link: &mut Link, loads: Vec<Load>) -> Result<(), LoadError> {
        if loads.is_empty() {
            return Ok(());
        }
        let openings: Vec<Opening<'_>> = loads
            .iter()
            .map(|load| Opening {
                product: load.standing.product,
                lease: &load.lease,
                stock: load.standing.stock,
                version: load.standing.stock_version,
                rules: &load.standing.rules,
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

/// One product on its way behind the gate.
struct Load {
    lease: Lease,
    standing: Standing,
    /// Below which version request ids are still to be read, if any are.
    sold_below: Option<i64>,
    /// Behind which buyer there may be others, if the product has a limit.
    owned_behind: Option<String>,
}

impl Load {
    fn new(lease: Lease, standing: Standing) -> Self {
        Self {
            lease,
            sold_below: Some(i64::MAX),
            owned_behind: standing.rules.purchase_limit.map(|_| String::new()),
            standing,
        }
    }

    fn is_complete(&self) -> bool {
        self.sold_below.is_none() && self.owned_behind.is_none()
    }

    fn reading<T>(&self, from: T) -> Reading<T> {
        Reading {
            product: self.standing.product,
            version: self.standing.stock_version,
            from,
        }
    }
}

/// Entries of each product per step, when so many are loaded at once: neither many products nor a large one make a step
/// long.
fn chunk(products: usize) -> i64 {
    let entries = (ENTRIES_PER_STEP / products.max(1)).min(ENTRIES_PER_CALL);
    i64::try_from(entries).unwrap_or(i64::MAX)
}

fn is_full(entries: usize, limit: i64) -> bool {
    i64::try_from(entries).is_ok_and(|entries| entries >= limit)
}
