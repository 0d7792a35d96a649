//! Customers who go on until they are told to stop: they buy, ask again when they hear nothing or do not believe it,
//! ask two instances at once, cancel, and restock. Every answer is remembered, which bounds a run to minutes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rand::Rng;
use tokio::task::JoinHandle;

use super::question::{Asked, Question, Told};
use crate::http::HttpClient;

/// Between what one customer does and the next. Without it the machine would have no time left for faults.
const PAUSE: Duration = Duration::from_millis(10);
/// Whoever hears nothing asks again so many times, after up to so many ms.
const REPEATS: u32 = 3;
const REPEAT_PAUSE_MS: u64 = 200;

/// Who asks whom for what.
#[derive(Clone, Debug)]
pub struct Crowd {
    /// Instances of product-service; everybody asks all of them.
    pub product_urls: Vec<String>,
    /// What is sold, evenly.
    pub product_ids: Vec<i64>,
    /// Customers at the same time.
    pub customers: usize,
    /// How long one waits for an answer.
    pub patience: Duration,
}

/// One question and its answer.
#[derive(Clone, Debug)]
pub struct Line {
    /// What was asked.
    pub question: Question,
    /// Which instance was asked, by its place in the list.
    pub instance: usize,
    /// What it said.
    pub told: Told,
    /// When it was asked.
    pub asked_at: Instant,
    /// How long the answer took, or its lack.
    pub took: Duration,
}

/// A crowd at work. Dropping it ends it.
pub struct Shopping {
    shared: Arc<Shared>,
    customers: Vec<JoinHandle<()>>,
}

struct Shared {
    crowd: Crowd,
    is_over: AtomicBool,
    next_order_id: AtomicU64,
    sales: AtomicU64,
    lines: Mutex<Vec<Line>>,
}

impl Crowd {
    /// Starts it. An error if an url is none.
    pub fn start(self) -> Result<Shopping> {
        let shared = Arc::new(Shared {
            is_over: AtomicBool::new(false),
            next_order_id: AtomicU64::new(1),
            sales: AtomicU64::new(0),
            lines: Mutex::default(),
            crowd: self,
        });
        let mut customers = Vec::new();
        for _ in 0..shared.crowd.customers {
            let clients = shared.clients()?;
            customers.push(tokio::spawn(Arc::clone(&shared).shop(clients)));
        }
        Ok(Shopping { shared, customers })
    }
}

impl Shopping {
    /// Orders told yes so far.
    #[must_use]
    pub fn sales(&self) -> u64 {
        self.shared.sales.load(Ordering::Relaxed)
    }

    /// Lets everybody hear the end of his last question; returns all questions and answers.
    pub async fn end(mut self) -> Result<Vec<Line>> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for customer in std::mem::take(&mut self.customers) {
            customer.await.context("a customer failed")?;
        }
        let mut lines = self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *lines))
    }
}

impl Drop for Shopping {
    fn drop(&mut self) {
        self.customers.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    fn clients(&self) -> Result<Vec<HttpClient>> {
        let client = |url: &String| HttpClient::new(url, self.crowd.patience).map_err(anyhow::Error::msg);
        self.crowd.product_urls.iter().map(client).collect()
    }

    async fn shop(self: Arc<Self>, mut clients: Vec<HttpClient>) {
        while !self.is_over.load(Ordering::Relaxed) {
            self.buy(&mut clients).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One order, and what becomes of it.
    async fn buy(&self, clients: &mut [HttpClient]) {
        let products = &self.crowd.product_ids;
        let order_id = self.next_order_id.fetch_add(1, Ordering::Relaxed);
        let order = Question {
            asked: Asked::Decrease,
            product_id: products[rand::random_range(0..products.len())],
            order_id: i64::try_from(order_id).unwrap_or(i64::MAX),
            quantity: rand::random_range(1..=3),
        };
        let habit = rand::random_range(0..16);
        let told = if habit == 0 {
            self.ask_two_at_once(clients, &order).await
        } else {
            self.ask_until_heard(clients, &order).await
        };
        if told.is_done() {
            self.sales.fetch_add(1, Ordering::Relaxed);
        }
        let with = |asked| Question { asked, ..order };
        match habit {
            // He does not believe it.
            1 | 2 => drop(self.ask(clients, &order).await),
            3 | 4 => drop(self.ask_until_heard(clients, &with(Asked::Cancel)).await),
            // His own order, late, after its cancellation: it takes nothing any more.
            5 => {
                self.ask_until_heard(clients, &with(Asked::Cancel)).await;
                self.ask(clients, &order).await;
            }
            6 => drop(self.ask_until_heard(clients, &with(Asked::Restock)).await),
            _ => {}
        }
    }

    async fn ask_until_heard(&self, clients: &mut [HttpClient], question: &Question) -> Told {
        let mut told = self.ask(clients, question).await;
        for _ in 0..REPEATS {
            if !told.is_unknown() || self.is_over.load(Ordering::Relaxed) {
                break;
            }
            let pause_ms = rand::rng().random_range(0..REPEAT_PAUSE_MS);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            told = self.ask(clients, question).await;
        }
        told
    }

    /// The same key to two instances at the same time; returns the better answer.
    async fn ask_two_at_once(&self, clients: &mut [HttpClient], question: &Question) -> Told {
        let [first, second, ..] = clients else {
            return self.ask(clients, question).await;
        };
        let (one, other) = tokio::join!(self.ask_of(0, first, question), self.ask_of(1, second, question));
        if one.is_done() { one } else { other }
    }

    async fn ask(&self, clients: &mut [HttpClient], question: &Question) -> Told {
        let instance = rand::random_range(0..clients.len());
        self.ask_of(instance, &mut clients[instance], question).await
    }

    async fn ask_of(&self, instance: usize, client: &mut HttpClient, question: &Question) -> Told {
        let asked_at = Instant::now();
        let answer = question.ask(client).await;
        let told = Told::from_answer(answer.as_ref().map_err(|fault| *fault));
        let line = Line {
            question: *question,
            instance,
            told: told.clone(),
            asked_at,
            took: asked_at.elapsed(),
        };
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
        told
    }
}
