//! The load tool: a flash sale over real HTTP, and whether the books are right afterwards.
//!
//! - [`sale`]: the buyers, each of them asking once, and what they were told
//! - [`tally`]: counts and latencies of one run
//! - [`verdict`]: what the buyers were told, held against the books

mod buyer;
pub mod sale;
pub mod tally;
pub mod verdict;

pub use sale::{FlashSale, Progress};
pub use tally::Tally;
pub use verdict::{ProductVerdict, Verdict};

use std::time::Duration;

use anyhow::Result;

use crate::books::{self, ProductBooks};

/// Settling is asynchronous; in health it takes milliseconds.
const BALANCE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the books are, for the verdict.
#[derive(Clone, Debug)]
pub struct Stores {
    /// Database of product-service.
    pub database_url: String,
    /// Its Redis; `None`: the gate is not part of the verdict.
    pub redis_url: Option<String>,
}

/// Runs the sale and judges it. Nobody else may trade the same products meanwhile.
///
/// An error means that it could not be run; wrong books are a verdict.
pub async fn flash_sale(sale: &FlashSale, stores: &Stores) -> Result<Verdict> {
    let redis_url = stores.redis_url.as_deref();
    let before = books::audit(&stores.database_url, redis_url, &sale.product_ids).await?;
    let tally = sale.run().await?;
    let balanced = books::wait_until_balanced(
        &stores.database_url,
        redis_url,
        &sale.product_ids,
        BALANCE_TIMEOUT,
    )
    .await;
    let after = match balanced {
        Ok(books) => books,
        Err(_) => books::audit(&stores.database_url, redis_url, &sale.product_ids).await?,
    };
    let products = before.iter().zip(&after).map(|(before, after)| {
        let position = sale
            .product_ids
            .iter()
            .position(|id| *id == after.product_id)
            .unwrap_or_default();
        ProductVerdict::new(before, after, &tally.products[position])
    });
    let products = products.collect();
    let faults = after.iter().flat_map(ProductBooks::faults).collect();
    Ok(Verdict {
        products,
        faults,
        tally,
    })
}
