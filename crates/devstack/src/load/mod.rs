//! The load tool: a flash sale over real HTTP, by decreases or by orders, and whether the books are right afterwards.
//!
//! - [`sale`]: the buyers, each of them asking once, and what they were told
//! - [`arrivals`]: when they come, if they do not wait for one another
//! - [`scenario`]: the sales there are, by name
//! - [`storm`]: replies that get lost, so that everybody asks again
//! - [`crowd`]: customers who go on until they are told to stop, ask twice, cancel and restock, and remember every answer
//! - [`question`]: what goes over the wire about stock, for both
//! - [`purchase`]: the ways to buy
//! - [`orders`]: what became of orders, held against the answers and the ledger
//! - [`tally`], [`course`]: counts and latencies of one run, and its course
//! - [`effort`]: what it cost the load tool itself, and whether that was what it measured
//! - [`threshold`]: figures that a run must not cross
//! - [`account`]: everything about a run, as JSON and as a page
//! - [`verdict`]: what the buyers were told, held against the books

pub mod account;
pub mod arrivals;
mod buyer;
pub mod course;
pub mod crowd;
mod door;
pub mod effort;
pub mod orders;
pub mod purchase;
pub mod question;
pub mod sale;
pub mod scenario;
pub mod storm;
pub mod tally;
pub mod threshold;
pub mod verdict;

pub use account::Account;
pub use arrivals::{Arrivals, Spike};
pub use orders::OrdersVerdict;
pub use purchase::Via;
pub use sale::{Choice, FlashSale, Progress};
pub use scenario::Scenario;
pub use storm::Storm;
pub use tally::Tally;
pub use threshold::Threshold;
pub use verdict::{ProductVerdict, Verdict};

use anyhow::{Context, Result};

use crate::books::{self, ProductBooks};

/// Where the books are, for the verdict.
#[derive(Clone, Debug)]
pub struct Stores {
    /// Database of product-service.
    pub database_url: String,
    /// Its Redis; `None`: the gate is not part of the verdict.
    pub redis_url: Option<String>,
    /// Database of order-service; needed when orders are placed.
    pub orders_url: Option<String>,
}

/// Runs the sale and judges it. Nobody else may trade the same products meanwhile.
///
/// Sales go on while Redis is down, and so does this; then the gate is left out of the verdict. An error means that
/// the sale could not be run; wrong books are a verdict.
pub async fn flash_sale(sale: &FlashSale, stores: &Stores) -> Result<Verdict> {
    let before = books::audit(&stores.database_url, None, &sale.product_ids).await?;
    let tally = sale.run().await?;
    judge(sale, stores, &before, tally).await
}

/// The verdict of a sale that is over, with the books from before it.
pub async fn judge(
    sale: &FlashSale,
    stores: &Stores,
    before: &[ProductBooks],
    mut tally: Tally,
) -> Result<Verdict> {
    let Stores {
        database_url,
        redis_url,
        orders_url,
    } = stores;
    let product_ids = &sale.product_ids;
    let orders = if sale.via.is_by_order() {
        let orders_url = orders_url.as_deref().context("no order database to audit")?;
        Some(orders::settle(sale, orders_url, database_url, &mut tally).await?)
    } else {
        None
    };
    let balanced = books::wait_until_balanced(
        database_url,
        redis_url.as_deref(),
        product_ids,
        sale.balanced_within,
    )
    .await;
    let (after, gate_fault) = match balanced {
        Ok(after) => (after, None),
        Err(_) => match books::audit(database_url, redis_url.as_deref(), product_ids).await {
            Ok(after) => (after, None),
            Err(error) => (
                books::audit(database_url, None, product_ids).await?,
                Some(format!("{error:#}")),
            ),
        },
    };
    let products = before.iter().zip(&after).map(|(before, after)| {
        let position = product_ids
            .iter()
            .position(|id| *id == after.product_id)
            .unwrap_or_default();
        ProductVerdict::new(before, after, &tally.products[position])
    });
    let products = products.collect();
    let mut faults: Vec<String> = after.iter().flat_map(ProductBooks::faults).collect();
    let owned_most = after
        .iter()
        .flat_map(|books| books.owned.0.values())
        .max()
        .copied();
    if let (Some(limit), Some(most)) = (sale.purchase_limit, owned_most)
        && most > limit
    {
        faults.push(format!("a buyer owns {most} units, {limit} are the limit"));
    }
    Ok(Verdict {
        products,
        faults,
        gate_fault,
        owned_most,
        orders,
        tally,
    })
}
