//! Who buys in a soak: three sales at the same time, one for each way to buy, each with products of its own. So what
//! its buyers were told can be held against the books of just these products.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};

use super::restock::Restocking;
use super::stage::Stage;
use crate::books::{self, ProductBooks};
use crate::catalogue;
use crate::load::{self, Arrivals, Choice, FlashSale, Progress, Stores, Tally, Verdict, Via};

/// Of the buyers who got something by a decrease.
pub const CANCEL_RATIO: f64 = 0.3;
/// Most buyers want the same few products.
const ZIPF_EXPONENT: f64 = 1.1;
/// The books of a long sale are long to read.
const BALANCED_WITHIN: Duration = Duration::from_secs(120);
/// In the open model buyers wait for a free client; so there are more of them.
const CLIENTS_OPEN: usize = 2;

/// One way to buy.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// Which.
    pub via: Via,
    /// Products sold by it.
    pub products: usize,
    /// Clients when it is found out what fits.
    clients: usize,
}

/// All of them.
pub const LANES: [Lane; 3] = [
    Lane {
        via: Via::Decrease,
        products: 20,
        clients: 192,
    },
    Lane {
        via: Via::V1,
        products: 5,
        clients: 32,
    },
    Lane {
        via: Via::V2,
        products: 5,
        clients: 32,
    },
];

/// Buyers of each lane per second; `None`: as fast as answers come.
pub type Rates = Option<[f64; LANES.len()]>;

impl Lane {
    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.via {
            Via::Decrease => "decreases",
            Via::V1 => "orders v1",
            Via::V2 => "orders v2",
        }
    }

    fn sale(&self, stage: &Stage, product_ids: Vec<i64>, lasts: Duration, rate: Option<f64>) -> FlashSale {
        let front = if self.via.is_by_order() {
            &stage.order_front
        } else {
            &stage.product_front
        };
        FlashSale {
            via: self.via,
            choice: Choice::Zipf(ZIPF_EXPONENT),
            cancel_ratio: if self.via.is_by_order() { 0.0 } else { CANCEL_RATIO },
            concurrency: self.clients * rate.map_or(1, |_| CLIENTS_OPEN),
            arrivals: rate.map(Arrivals::at_rate),
            lasts: Some(lasts),
            balanced_within: BALANCED_WITHIN,
            ..FlashSale::new(vec![front.url()], product_ids, 1 << 40)
        }
    }
}

/// One sale of each lane, under way at the same time.
pub struct Sales {
    sales: Vec<FlashSale>,
    stores: Stores,
    product_ids: Vec<i64>,
    front: String,
    stock: i64,
}

/// What everybody was told, not judged yet.
pub struct Told {
    before: Vec<ProductBooks>,
    tallies: Vec<Tally>,
    restocked: HashMap<i64, i64>,
}

/// How it went.
pub struct Sold {
    /// Of each lane, in their order.
    pub verdicts: Vec<Verdict>,
    /// Units put in meanwhile.
    pub restocked: i64,
}

impl Sales {
    /// New products of `stock` units for every lane; what is sold is put in again. Nothing is sold yet.
    pub async fn prepare(stage: &Stage, stock: i64, lasts: Duration, rates: Rates) -> Result<Self> {
        let front = stage.product_front.url();
        let (mut sales, mut all) = (Vec::new(), Vec::new());
        for (index, lane) in LANES.iter().enumerate() {
            let mut product_ids = Vec::new();
            for number in 1..=lane.products {
                let name = format!("{} {number}", lane.name());
                product_ids.push(catalogue::create_product(&front, &name, 1_000, stock, true).await?);
            }
            all.extend(&product_ids);
            sales.push(lane.sale(stage, product_ids, lasts, rates.map(|rates| rates[index])));
        }
        for product_id in &all {
            catalogue::load_gate(&stage.products[0].admin_url(), *product_id).await?;
        }
        Ok(Self {
            sales,
            stores: stage.stores(),
            product_ids: all,
            front,
            stock,
        })
    }

    /// How far each of them is.
    #[must_use]
    pub fn progress(&self) -> Vec<Arc<Progress>> {
        self.sales.iter().map(|sale| Arc::clone(&sale.progress)).collect()
    }

    /// Sells until the time is over, restocking meanwhile.
    pub async fn sell(&self) -> Result<Told> {
        let before = books::audit(&self.stores.database_url, None, &self.product_ids).await?;
        let restocking = Restocking::start(&self.front, &self.product_ids, self.stock)?;
        let [decreases, v1, v2] = &self.sales[..] else {
            bail!("there is a sale for each lane");
        };
        let (decreases, v1, v2) = tokio::try_join!(decreases.run(), v1.run(), v2.run())?;
        Ok(Told {
            before,
            tallies: vec![decreases, v1, v2],
            restocked: restocking.end().await?,
        })
    }

    /// Holds what was told against the books.
    pub async fn judge(&self, told: Told) -> Result<Sold> {
        let mut verdicts = Vec::new();
        for (sale, tally) in self.sales.iter().zip(told.tallies) {
            let before = told.before.iter();
            let mut before: Vec<_> = before
                .filter(|books| sale.product_ids.contains(&books.product_id))
                .cloned()
                .collect();
            // What was put in was there to be sold.
            for books in &mut before {
                books.stock += told.restocked.get(&books.product_id).copied().unwrap_or(0);
            }
            verdicts.push(load::judge(sale, &self.stores, &before, tally).await?);
        }
        Ok(Sold {
            verdicts,
            restocked: told.restocked.values().sum(),
        })
    }
}
