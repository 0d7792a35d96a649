//! Buyers that go on until they are told to stop, some of whom ask twice or give back what they got.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::JoinHandle;

use crate::client::{Client, Told, fresh_order_id};

/// Buyers of each instance, and their pause between two orders.
const BUYERS: usize = 8;
const PAUSE: Duration = Duration::from_millis(15);

/// What somebody has asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asked {
    Decrease,
    Cancel,
    Restock,
}

/// One question and its answer.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Whom.
    pub(crate) instance: usize,
    pub(crate) asked: Asked,
    pub(crate) product: i64,
    pub(crate) order: i64,
    pub(crate) told: Told,
    pub(crate) took: Duration,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    sales: AtomicU64,
    lines: Mutex<Vec<Line>>,
}

pub(crate) struct Load {
    shared: Arc<Shared>,
    buyers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Buyers of all instances. Three of four orders are for the first product, the others for the second.
    pub(crate) fn start(urls: &[String], products: [i64; 2]) -> Self {
        let shared = Arc::new(Shared::default());
        let buyers = (0..BUYERS * urls.len())
            .map(|buyer| {
                let instance = buyer % urls.len();
                let buyer = Buyer {
                    client: Client::new(&urls[instance]),
                    instance,
                    shared: Arc::clone(&shared),
                };
                tokio::spawn(buyer.buy(products))
            })
            .collect();
        Self { shared, buyers }
    }

    /// Units sold so far of the product that never sells out.
    pub(crate) fn sales(&self) -> u64 {
        self.shared.sales.load(Ordering::Relaxed)
    }

    /// Ends it; what everybody was told.
    pub(crate) async fn end(self) -> Vec<Line> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for ended in join_all(self.buyers).await {
            ended.expect("no answer was a fault of the service");
        }
        std::mem::take(&mut *self.shared.lines.lock().unwrap())
    }
}

struct Buyer {
    client: Client,
    instance: usize,
    shared: Arc<Shared>,
}

impl Buyer {
    async fn buy(mut self, products: [i64; 2]) {
        while !self.shared.is_over.load(Ordering::Relaxed) {
            let order = fresh_order_id();
            let is_few = order % 4 == 0;
            let product = products[usize::from(is_few)];
            let told = self.ask(Asked::Decrease, product, order).await;
            if told.is_done() && !is_few {
                self.shared.sales.fetch_add(1, Ordering::Relaxed);
            }
            match order % 16 {
                // Who did not hear the answer, or does not believe it.
                3 | 8 => drop(self.ask(Asked::Decrease, product, order).await),
                7 | 12 if told.is_done() => drop(self.ask(Asked::Cancel, product, order).await),
                11 => drop(self.ask(Asked::Restock, product, order).await),
                _ => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask(&mut self, asked: Asked, product: i64, order: i64) -> Told {
        let started = Instant::now();
        let client = &mut self.client;
        let told = match asked {
            Asked::Decrease => client.decrease(product, order, 1).await,
            Asked::Cancel => client.cancel(product, order, 1).await,
            Asked::Restock => client.adjust(product, &format!("ADJ-{order}"), 1).await,
        };
        self.shared.lines.lock().unwrap().push(Line {
            instance: self.instance,
            asked,
            product,
            order,
            told: told.clone(),
            took: started.elapsed(),
        });
        told
    }
}

/// The answers of one run, counted.
pub(crate) struct Answers<'a>(pub(crate) &'a [Line]);

impl Answers<'_> {
    /// How many were told each thing.
    pub(crate) fn by_word(&self) -> BTreeMap<String, u64> {
        let mut words = BTreeMap::new();
        for line in self.0 {
            let word = match &line.told {
                Told::Done { .. } => "200".to_owned(),
                Told::Refused(code) => code.clone(),
                Told::Later => "503".to_owned(),
                Told::Nothing(fault) => fault.to_string(),
            };
            *words.entry(word).or_default() += 1;
        }
        words
    }

    pub(crate) fn count(&self, is_it: impl Fn(&Line) -> bool) -> usize {
        self.0.iter().filter(|line| is_it(line)).count()
    }

    /// Units that have to be gone from a product by what was told: at least and at most. They differ by those who
    /// were told nothing, or to come again.
    pub(crate) fn units_gone(&self, product: i64) -> (i64, i64) {
        let mut effects: HashMap<(Asked, i64), bool> = HashMap::new();
        for line in self.0.iter().filter(|line| line.product == product) {
            let is_done = effects.entry((line.asked, line.order)).or_insert(false);
            *is_done |= line.told.is_done();
        }
        let unknown: HashSet<(Asked, i64)> = self
            .0
            .iter()
            .filter(|line| matches!(line.told, Told::Later | Told::Nothing(_)))
            .map(|line| (line.asked, line.order))
            .collect();
        let (mut least, mut most) = (0, 0);
        for ((asked, order), is_done) in effects {
            let sign = if asked == Asked::Decrease { 1 } else { -1 };
            if is_done {
                least += sign;
                most += sign;
            } else if unknown.contains(&(asked, order)) {
                least += sign.min(0);
                most += sign.max(0);
            }
        }
        (least, most)
    }
}
