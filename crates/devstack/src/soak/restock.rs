//! What keeps the shelves full: a product of which less than half is left is put up to what it had, by hand, as an operator
//! would.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::task::JoinHandle;

use crate::http::HttpClient;
use crate::load::question::{Asked, Question, Told};

const INTERVAL: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);
/// Whoever hears nothing of a restock asks again, under the same key.
const TRIES: u32 = 5;

/// Somebody who restocks. Dropping it ends it.
pub(super) struct Restocking {
    end: tokio::sync::oneshot::Sender<()>,
    work: JoinHandle<Result<HashMap<i64, i64>>>,
}

impl Restocking {
    pub(super) fn start(product_url: &str, product_ids: &[i64], full: i64) -> Result<Self> {
        let client = HttpClient::new(product_url, PATIENCE).map_err(anyhow::Error::msg)?;
        let (end, ended) = tokio::sync::oneshot::channel();
        let work = tokio::spawn(restock(client, product_ids.to_vec(), full, ended));
        Ok(Self { end, work })
    }

    /// Units put in, by product.
    pub(super) async fn end(self) -> Result<HashMap<i64, i64>> {
        let _ = self.end.send(());
        self.work.await.context("the restocking failed")?
    }
}

async fn restock(
    mut client: HttpClient,
    product_ids: Vec<i64>,
    full: i64,
    mut ended: tokio::sync::oneshot::Receiver<()>,
) -> Result<HashMap<i64, i64>> {
    #[derive(Deserialize)]
    struct Product {
        stock: i64,
    }
    let mut restocked = HashMap::new();
    let mut number: i64 = rand::random_range(1..1 << 60);
    loop {
        for &product_id in &product_ids {
            let path = format!("/v1/products/{product_id}");
            let product: Product = client.get_json(&path).await.map_err(anyhow::Error::msg)?;
            if product.stock >= full / 2 {
                continue;
            }
            number += 1;
            let question = Question {
                asked: Asked::Restock,
                product_id,
                order_id: number,
                quantity: full - product.stock,
            };
            put_in(&mut client, question).await?;
            *restocked.entry(product_id).or_default() += question.quantity;
        }
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            _ = &mut ended => return Ok(restocked),
        }
    }
}

async fn put_in(client: &mut HttpClient, question: Question) -> Result<()> {
    let mut last = None;
    for _ in 0..TRIES {
        let answer = question.ask(client).await;
        let told = Told::from_answer(answer.as_ref().map_err(|fault| *fault));
        if told.is_done() {
            return Ok(());
        }
        let is_unknown = told.is_unknown();
        last = Some(told);
        if !is_unknown {
            break;
        }
        tokio::time::sleep(INTERVAL).await;
    }
    bail!("product {} cannot be restocked: {last:?}", question.product_id)
}
