//! The stampede: every buyer asks exactly once, all at the same time or at a given rate.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::sync::oneshot;

use super::buyer::{Ending, Outcome};
use super::orders::Line;
use super::purchase::{Purchase, Via};
use super::tally::Tally;
use crate::http::HttpClient;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Settling is asynchronous; in health it takes milliseconds.
const BALANCED_WITHIN: Duration = Duration::from_secs(10);
const NUMBERS: std::ops::Range<i64> = 1..1 << 62;
const QUANTITY_MAX: i64 = 1_000_000;

/// What to sell to how many, and how.
#[derive(Clone, Debug)]
pub struct FlashSale {
    /// The way buyers take.
    pub via: Via,
    /// Instances of the service on that way; clients are spread over them.
    pub urls: Vec<String>,
    /// What is sold; buyers are spread over them.
    pub product_ids: Vec<i64>,
    /// Number of buyers in all.
    pub buyers: u64,
    /// Units per buyer, within 1..=1,000,000. A range: buyers differ, evenly.
    pub quantities: RangeInclusive<i64>,
    /// Clients, each with one keep-alive connection: how many buyers can ask at once.
    pub concurrency: usize,
    /// Buyers per second, whether or not earlier ones are answered; `None`: as fast as answers come.
    pub rate_per_second: Option<f64>,
    /// No buyer begins after it; `None`: all of them do.
    pub lasts: Option<Duration>,
    /// How long the books may take to balance afterwards.
    pub balanced_within: Duration,
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
}

/// What all clients of a run share.
struct Run {
    sale: FlashSale,
    first_number: i64,
    next_buyer: AtomicU64,
    start: Instant,
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
            buyers,
            quantities: 1..=1,
            concurrency: 256,
            rate_per_second: None,
            lasts: None,
            balanced_within: BALANCED_WITHIN,
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

    async fn run_here(&self) -> Result<Tally> {
        let clients = self.connect().await?;
        let start = Instant::now();
        // Whoever watches watches the first run.
        let _ = self.progress.started.set(start);
        let run = Arc::new(Run {
            sale: self.clone(),
            first_number: rand::random_range(NUMBERS),
            next_buyer: AtomicU64::new(0),
            start,
            tally: Mutex::new(Tally::new(self.product_ids.len())?),
        });
        let clients: Vec<_> = clients
            .into_iter()
            .map(|client| tokio::spawn(Arc::clone(&run).serve_buyers(client)))
            .collect();
        for client in clients {
            client.await.context("a client of the load tool failed")?;
        }
        let tally = run.tally.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(tally.clone())
    }

    fn check(&self) -> Result<()> {
        if self.urls.is_empty() || self.product_ids.is_empty() {
            bail!("a sale needs at least one url and one product");
        }
        if HashSet::<_>::from_iter(&self.product_ids).len() < self.product_ids.len() {
            bail!("a product is named twice");
        }
        if self.buyers == 0 || self.concurrency == 0 {
            bail!("a sale needs at least one buyer and one client");
        }
        let (least, most) = (*self.quantities.start(), *self.quantities.end());
        if least < 1 || most < least || most > QUANTITY_MAX {
            bail!("units per buyer have to be within 1..={QUANTITY_MAX}, not {least}..={most}");
        }
        if self
            .rate_per_second
            .is_some_and(|rate| !rate.is_finite() || rate <= 0.0)
        {
            bail!("the rate has to be a number of buyers per second above 0");
        }
        Ok(())
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
        loop {
            let index = self.next_buyer.fetch_add(1, Ordering::Relaxed);
            let is_over = |at: Instant| self.sale.lasts.is_some_and(|lasts| at > self.start + lasts);
            if index >= self.sale.buyers || is_over(Instant::now()) {
                return;
            }
            // Open loop: a buyer who has to wait for a free client has waited, and his latency says so.
            let intended_start = match self.sale.rate_per_second {
                Some(rate) => {
                    let at = self.start + offset(index, rate);
                    if is_over(at) {
                        return;
                    }
                    tokio::time::sleep_until(at.into()).await;
                    at
                }
                None => Instant::now(),
            };
            let (position, purchase) = self.purchase(index);
            let outcome = Outcome::of(&purchase, &mut client).await;
            self.sale.progress.buyers.fetch_add(1, Ordering::Relaxed);
            if matches!(outcome.ending, Ending::Sold | Ending::Accepted) {
                self.sale.progress.sales.fetch_add(1, Ordering::Relaxed);
            }
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            if purchase.via.is_by_order() {
                tally.lines.push(Line {
                    number: purchase.number,
                    position,
                    asked_at: intended_start.saturating_duration_since(self.start),
                    ending: outcome.ending,
                    order_id: outcome.order_id,
                });
            }
            tally.record(
                position,
                &purchase,
                outcome,
                intended_start.elapsed(),
                self.start.elapsed(),
            );
        }
    }

    /// What buyer number `index` buys, and that product's place in the list.
    fn purchase(&self, index: u64) -> (usize, Purchase) {
        let sale = &self.sale;
        let products = sale.product_ids.len() as u64;
        let position = usize::try_from(index % products).unwrap_or_default();
        let kinds = sale.quantities.end() - sale.quantities.start() + 1;
        let index = i64::try_from(index).unwrap_or_default();
        // By round, not by buyer: otherwise a product could get buyers of one kind only.
        let round = index / i64::try_from(products).unwrap_or(1);
        let quantity = sale.quantities.start() + round % kinds;
        let purchase = Purchase {
            via: sale.via,
            product_id: sale.product_ids[position],
            number: self.first_number + index,
            quantity,
        };
        (position, purchase)
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 buyers")]
fn offset(index: u64, rate_per_second: f64) -> Duration {
    // Far beyond any run where it does not fit.
    Duration::try_from_secs_f64(index as f64 / rate_per_second).unwrap_or(Duration::from_secs(86_400))
}
