//! Pages for people: the operators' console and the public page of a sale.
//!
//! Owns what they show and how often it is read: one reading a round for all who watch, none while nobody does, a
//! bounded number of products. It moves no stock: what operators do goes through the admin API, what buyers do through
//! order-service. If it dies half-way, nothing but a page is stale.

pub mod console;
pub mod orders;
pub mod sale;
pub mod snapshot;

use std::sync::Arc;

use platform::console::instance;
use platform::console::live::Live;
use platform::database::Pool;
use platform::telemetry::Metrics;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::request::ProductId;
use crate::gate::Gate;
use crate::gate::hot::HotProducts;
use orders::OrderClient;

/// What the handlers of the pages get.
pub struct Pages {
    /// Who watches the console.
    pub console: Live<()>,
    /// Who watches which sale.
    pub sales: Live<ProductId>,
    /// Where the buy button leads.
    pub orders: OrderClient,
    /// Where order-service's console is, as browsers reach it; empty: nowhere.
    pub orders_console_url: String,
}

/// What they are fed from.
pub struct Sources {
    /// The database.
    pub pool: Pool,
    /// Redis.
    pub gate: Arc<Gate>,
    /// Which products are hot.
    pub hot: Arc<HotProducts>,
    /// The recorder.
    pub recorded: Metrics,
}

impl Pages {
    /// Starts the two workers, which do nothing until somebody watches.
    ///
    /// # Errors
    /// When the client of order-service cannot be built.
    pub fn start(
        config: &Config,
        sources: Sources,
        stop: &CancellationToken,
    ) -> anyhow::Result<(Self, [JoinHandle<()>; 2])> {
        let pages = Self {
            console: Live::new(config.console.viewers_max, stop.clone()),
            sales: Live::new(config.sale.viewers_max, stop.clone()),
            orders: OrderClient::new(&config.sale)?,
            orders_console_url: config.console.other_url.clone(),
        };
        let instance = instance("product-service", config.server.bind);
        let watching = [
            tokio::spawn(sale::run(sources.pool.clone(), pages.sales.clone())),
            tokio::spawn(snapshot::run(sources, instance, pages.console.clone())),
        ];
        Ok((pages, watching))
    }
}
