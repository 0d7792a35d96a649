//! The sale: every buyer asks exactly once, as fast as answers come, or when he arrives.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Zipf};
use tokio::sync::oneshot;

use super::arrivals::Arrivals;
use super::buyer::{Ending, Outcome};
use super::door::Door;
use super::effort::ThreadTime;
use super::orders::Line;
use super::purchase::{Purchase, Via};
use super::tally::Tally;
use crate::http::HttpClient;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Settling is asynchronous; in health it takes milliseconds.
const BALANCED_WITHIN: Duration = Duration::from_secs(10);
const WAITING_MAX: usize = 16_384;
const NUMBERS: std::ops::Range<i64> = 1..1 << 62;
const QUANTITY_MAX: i64 = 1_000_000;

/// How buyers choose a product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// One after the other: every product gets as many.
    InTurn,
    /// By Zipf's law with this exponent, > 0: the n-th product n^exponent times less often than the first.
    Zipf(f64),
}

/// What to sell to how many, and how.
#[derive(Clone, Debug)]
pub struct FlashSale {
    /// The way buyers take.
    pub via: Via,
    /// Instances of the service on that way; clients are spread over them.
    pub urls: Vec<String>,
    /// What is sold; buyers are spread over them.
    pub product_ids: Vec<i64>,
    /// How they are.
    pub choice: Choice,
    /// Number of buyers in all.
    pub buyers: u64,
    /// All of them are one and the same person, each time with a key of its own.
    pub is_one_buyer: bool,
    /// What the products' purchase limit is, for the verdict: nobody may own more units.
    pub purchase_limit: Option<i64>,
    /// Units per buyer, within 1..=1,000,000. A range: buyers differ, evenly.
    pub quantities: RangeInclusive<i64>,
    /// The share of successful buyers who cancel at once, 0 to 1. By decreases only.
    pub cancel_ratio: f64,
    /// Clients, each with one keep-alive connection: how many buyers can ask at once.
    pub concurrency: usize,
    /// When buyers arrive, whether or not earlier ones are answered; `None`: as fast as answers come.
    pub arrivals: Option<Arrivals>,
    /// Arrivals that may wait for a free client, >= 1; more are turned away and counted.
    pub waiting_max: usize,
    /// No buyer begins after it; `None`: all of them do.
    pub lasts: Option<Duration>,
    /// How long the books may take to balance afterwards.
    pub balanced_within: Duration,
    /// Of arrivals, choices and cancellations: the same seed, the same sale.
    pub seed: u64,
    /// Counts while it runs, for whoever shows them.
    pub progress: Arc<Progress>,
}

/// How far a run is.
#[derive(Debug, Default)]
pub struct Progress {
    /// When the first buyer may begin.
    pub started: OnceLock<Instant>,
    /// Buyers done.
    pub buyers: AtomicU64,
    /// Of them, buyers told that they got it, or that their order is accepted.
    pub sales: AtomicU64,
    /// Arrivals turned away because too many were waiting.
    pub dropped: AtomicU64,
}

/// What all clients of a run share.
struct Run {
    sale: FlashSale,
    first_number: i64,
    door: Door,
    zipf: Option<Zipf<f64>>,
    tally: Mutex<Tally>,
}

impl FlashSale {
    /// A sale by decreases, as fast as answers come, one unit per buyer, 256 clients; the books balance within 10 s.
    #[must_use]
    pub fn new(urls: Vec<String>, product_ids: Vec<i64>, buyers: u64) -> Self {
        Self {
            via: Via::Decrease,
            urls,
            product_ids,
            choice: Choice::InTurn,
            buyers,
            is_one_buyer: false,
            purchase_limit: None,
            quantities: 1..=1,
            cancel_ratio: 0.0,
            concurrency: 256,
            arrivals: None,
            waiting_max: WAITING_MAX,
            lasts: None,
            balanced_within: BALANCED_WITHIN,
            seed: rand::random(),
            progress: Arc::default(),
        }
    }

    /// Runs it without judging: what the buyers were told. Connections are opened before the clock starts.
    ///
    /// One thread of its own carries all clients: what it takes from the machine is small and known.
    ///
    /// An error if it makes no sense or nobody can be reached.
    pub async fn run(&self) -> Result<Tally> {
        self.check()?;
        let sale = self.clone();
        // The one thread ends when nobody waits for it any more.
        let (waits, nobody_waits) = oneshot::channel::<()>();
        let thread = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                tokio::select! {
                    tally = sale.run_here() => tally,
                    _ = nobody_waits => bail!("nobody waits for the sale any more"),
                }
            })
        });
        let tally = thread.await.context("the load tool failed")?;
        drop(waits);
        tally
    }

    async fn run_here(self) -> Result<Tally> {
        let clients = self.connect().await?;
        let begun = ThreadTime::now();
        let start = Instant::now();
        // Whoever watches watches the first run.
        let _ = self.progress.started.set(start);
        let (door, doorman) = Door::open(&self, start)?;
        let zipf = match self.choice {
            Choice::InTurn => None,
            #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53 products")]
            Choice::Zipf(exponent) => Some(Zipf::new(self.product_ids.len() as f64, exponent)?),
        };
        let run = Arc::new(Run {
            first_number: rand::random_range(NUMBERS),
            door,
            zipf,
            tally: Mutex::new(Tally::new(self.product_ids.len())?),
            sale: self,
        });
        let clients: Vec<_> = clients
            .into_iter()
            .map(|client| tokio::spawn(Arc::clone(&run).serve_buyers(client)))
            .collect();
        for client in clients {
            client.await.context("a client of the load tool failed")?;
        }
        let mut tally = run.tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tally.effort.clients = ThreadTime::since(begun);
        tally.effort.lateness_us = run.door.lateness_us();
        if let Some(doorman) = doorman {
            // He is gone: nobody would have left before him.
            let (dropped, cost) = doorman.join().map_err(|_| anyhow!("the arrivals failed"))?;
            (tally.dropped, tally.effort.arrivals) = (dropped, cost);
        }
        Ok(tally)
    }

    /// What makes no sense about it. Running it checks it too.
    pub fn check(&self) -> Result<()> {
        if self.urls.is_empty() || self.product_ids.is_empty() {
            bail!("a sale needs at least one url and one product");
        }
        if HashSet::<_>::from_iter(&self.product_ids).len() < self.product_ids.len() {
            bail!("a product is named twice");
        }
        if self.buyers == 0 || self.concurrency == 0 || self.waiting_max == 0 {
            bail!("a sale needs at least one buyer, one client and one place to wait");
        }
        let (least, most) = (*self.quantities.start(), *self.quantities.end());
        if least < 1 || most < least || most > QUANTITY_MAX {
            bail!("units per buyer have to be within 1..={QUANTITY_MAX}, not {least}..={most}");
        }
        if !(0.0..=1.0).contains(&self.cancel_ratio) {
            bail!("the share of buyers who cancel has to be within 0..=1");
        }
        if self.cancel_ratio > 0.0 && self.via.is_by_order() {
            bail!("buyers cancel what they decreased, not orders");
        }
        if matches!(self.choice, Choice::Zipf(exponent) if !exponent.is_finite() || exponent <= 0.0) {
            bail!("the exponent of Zipf's law has to be above 0");
        }
        let arrivals = self.arrivals.as_ref().map(Arrivals::check);
        arrivals.unwrap_or(Ok(())).map_err(anyhow::Error::msg)
    }

    async fn connect(&self) -> Result<Vec<HttpClient>> {
        let count = usize::try_from(self.buyers)
            .unwrap_or(usize::MAX)
            .min(self.concurrency);
        let mut clients = Vec::with_capacity(count);
        for index in 0..count {
            let url = &self.urls[index % self.urls.len()];
            let mut client = HttpClient::new(url, REQUEST_TIMEOUT).map_err(anyhow::Error::msg)?;
            client
                .connect()
                .await
                .with_context(|| format!("cannot connect client {} to {url}", index + 1))?;
            clients.push(client);
        }
        Ok(clients)
    }
}

impl Run {
    /// One client: takes the next buyer until there is none.
    async fn serve_buyers(self: Arc<Self>, mut client: HttpClient) {
        while let Some(entry) = self.door.next().await {
            // Of this buyer, whoever serves him.
            let mut rng = SmallRng::seed_from_u64(self.sale.seed ^ entry.index);
            let (position, purchase) = self.purchase(entry.index, &mut rng);
            let outcome = Outcome::of(&purchase, &mut client).await;
            let (latency, at) = (entry.intended.elapsed(), self.door.elapsed());
            let progress = &self.sale.progress;
            progress.buyers.fetch_add(1, Ordering::Relaxed);
            if matches!(outcome.ending, Ending::Sold | Ending::Accepted) {
                progress.sales.fetch_add(1, Ordering::Relaxed);
            }
            let cancels = outcome.ending == Ending::Sold
                && self.sale.cancel_ratio > 0.0
                && rng.random_bool(self.sale.cancel_ratio);
            {
                let mut tally = self.tally();
                if purchase.via.is_by_order() {
                    tally.lines.push(Line {
                        number: purchase.number,
                        position,
                        asked_at: self.door.since_start(entry.intended),
                        ending: outcome.ending,
                        order_id: outcome.order_id,
                    });
                }
                tally.record(position, &purchase, outcome, latency, at);
            }
            if cancels {
                let outcome = Outcome::of_cancelling(&purchase, &mut client).await;
                self.tally().record_cancelling(position, &purchase, outcome);
            }
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What buyer number `index` buys, and that product's place in the list.
    fn purchase(&self, index: u64, rng: &mut SmallRng) -> (usize, Purchase) {
        let sale = &self.sale;
        let products = sale.product_ids.len() as u64;
        let position = match self.zipf {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole numbers from 1 to the number of products"
            )]
            Some(zipf) => (zipf.sample(rng) as usize).clamp(1, sale.product_ids.len()) - 1,
            None => usize::try_from(index % products).unwrap_or_default(),
        };
        let kinds = sale.quantities.end() - sale.quantities.start() + 1;
        let index = i64::try_from(index).unwrap_or_default();
        // By round, not by buyer: otherwise a product could get buyers of one kind only.
        let round = index / i64::try_from(products).unwrap_or(1);
        let quantity = sale.quantities.start() + round % kinds;
        let purchase = Purchase {
            via: sale.via,
            product_id: sale.product_ids[position],
            number: self.first_number + index,
            buyer: if sale.is_one_buyer {
                self.first_number
            } else {
                self.first_number + index
            },
            quantity,
        };
        (position, purchase)
    }
}
