//! Instances of product-service on one database and one Redis.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use devstack::books::{GateBooks, ProductBooks};
use devstack::load::{FlashSale, Stores, Verdict, flash_sale};
use devstack::{Service, ServiceOptions, TestStack, catalogue, wait_for};
use futures_util::future::try_join_all;
use product_service::stock::audit::StockAudit;

use crate::client::{Client, Told, fresh_order_id};

/// Far more than settling takes, even on a busy machine.
const SETTLED: Duration = Duration::from_secs(10);

/// Connections of one sale at most.
const AT_ONCE_MAX: usize = 100;

pub(crate) struct Shop {
    pub(crate) stack: TestStack,
    pub(crate) services: Vec<Service>,
}

impl Shop {
    /// That many instances, started at the same time on an empty database.
    pub(crate) async fn open(instances: usize) -> Self {
        Self::open_with(instances, &[]).await
    }

    /// The same with further settings.
    pub(crate) async fn open_with(instances: usize, settings: &[(&str, &str)]) -> Self {
        let stack = TestStack::shared().await.unwrap();
        let options = patient(stack.service("product-service", env!("CARGO_BIN_EXE_product-service")));
        let options = settings
            .iter()
            .fold(options, |options, (key, value)| options.env(key, value));
        let starts = (0..instances).map(|_| Service::start(options.clone()));
        let services = try_join_all(starts).await.unwrap();
        Self { stack, services }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.services.iter().map(|service| service.url()).collect()
    }

    /// A client of instance `index`, counted round and round.
    pub(crate) fn client(&self, index: usize) -> Client {
        Client::new(&self.services[index % self.services.len()].url())
    }

    /// A new product; a hot one has its gate loaded.
    pub(crate) async fn product(&self, stock: i64, is_hot: bool) -> i64 {
        let url = self.services[0].url();
        catalogue::create_product(&url, "edition", 1_000, stock, is_hot)
            .await
            .unwrap()
    }

    /// One product for each run of a test.
    pub(crate) async fn products(&self, runs: usize, stock: i64, is_hot: bool) -> Vec<i64> {
        let mut products = Vec::with_capacity(runs);
        for _ in 0..runs {
            products.push(self.product(stock, is_hot).await);
        }
        products
    }

    /// Redis has forgotten the product: the first request will load it.
    pub(crate) async fn make_cold(&self, product: i64) {
        let client = redis::Client::open(self.stack.redis_url.as_str()).unwrap();
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        let removed: i64 = redis::cmd("UNLINK")
            .arg(&product_service::gate::keys::all(product))
            .query_async(&mut redis)
            .await
            .unwrap();
        assert_eq!(removed, 3);
    }

    /// Waits until every instance asks the gate first for this product: they look once a second which are hot.
    pub(crate) async fn wait_until_hot_everywhere(&self, product: i64) {
        for service in &self.services {
            wait_for("the product to be hot", SETTLED, || async {
                let before = gate_refusals(service).await;
                let mut client = Client::new(&service.url());
                let told = client.decrease(product, fresh_order_id(), 1_000_000).await;
                assert_eq!(told, Told::Refused("INSUFFICIENT_STOCK".to_owned()));
                if gate_refusals(service).await > before {
                    Ok(())
                } else {
                    Err("the database refused".to_owned())
                }
            })
            .await
            .unwrap();
        }
    }

    /// Buyers, up to 100 of them at once, each asking once, over all instances; and what the books say afterwards.
    pub(crate) async fn sell(&self, product: i64, buyers: u64, quantities: RangeInclusive<i64>) -> Verdict {
        let sale = FlashSale {
            quantities,
            concurrency: usize::try_from(buyers).unwrap().min(AT_ONCE_MAX),
            ..FlashSale::new(self.urls(), vec![product], buyers)
        };
        let verdict = flash_sale(&sale, &self.stores()).await.unwrap();
        assert!(verdict.is_true(), "{verdict}");
        let tally = &verdict.tally;
        assert!(
            tally.faults.is_empty(),
            "nobody may be left without an answer: {tally:?}"
        );
        let told = ["200", "400 INSUFFICIENT_STOCK"];
        assert!(
            tally.answers.keys().all(|answer| told.contains(&answer.as_str())),
            "{:?}",
            tally.answers
        );
        verdict
    }

    pub(crate) fn stores(&self) -> Stores {
        Stores {
            database_url: self.stack.database_url.clone(),
            redis_url: Some(self.stack.redis_url.clone()),
            orders_url: None,
        }
    }

    /// Waits until nothing is under way: no hold, and gate and database agree.
    pub(crate) async fn wait_until_balanced(&self, product: i64, timeout: Duration) -> ProductBooks {
        let books = self.stack.wait_until_balanced(&[product], timeout).await;
        books.unwrap().remove(0)
    }

    /// Waits until the gate is loaded, however late, and agrees.
    pub(crate) async fn wait_until_loaded(&self, product: i64) -> GateBooks {
        wait_for("the gate to be loaded", SETTLED, || async {
            let books = self.wait_until_balanced(product, SETTLED).await;
            books.gate.ok_or_else(|| "not loaded".to_owned())
        })
        .await
        .unwrap()
    }

    /// No reconciler had to put right what only a mistake can make wrong. (A gate that is not loaded, or hears of a
    /// movement late, is none: these tests make the first happen, and a busy machine the second.)
    pub(crate) async fn assert_nothing_was_repaired(&self) {
        for service in &self.services {
            let mut finds = counters(service, "hotstock_reconcile_finds_total").await;
            assert!(finds.contains_key("drift"), "{finds:?}");
            finds.retain(|find, count| *count > 0 && find != "not_loaded" && find != "missed");
            assert!(finds.is_empty(), "{}: {finds:?}", service.name());
        }
    }

    /// How instance `index` sees one product.
    pub(crate) async fn audit(&self, index: usize, product: i64) -> StockAudit {
        let url = format!("{}/admin/stock/audit", self.services[index].admin_url());
        let audits: Vec<StockAudit> = reqwest::get(url).await.unwrap().json().await.unwrap();
        let audit = audits.into_iter().find(|audit| audit.product_id == product);
        audit.expect("a hot product")
    }
}

/// These tests ask what is sold, not how fast: a busy machine must not make a fault of it.
fn patient(options: ServiceOptions) -> ServiceOptions {
    [
        ("HOTSTOCK__SERVER__REQUEST_DEADLINE_MS", "30000"),
        ("HOTSTOCK__DATABASE__POOL_WAIT_MS", "10000"),
        ("HOTSTOCK__DATABASE__LOCK_TIMEOUT_MS", "10000"),
        ("HOTSTOCK__DATABASE__STATEMENT_TIMEOUT_MS", "10000"),
        ("HOTSTOCK__REDIS__TIMEOUT_MS", "10000"),
        ("HOTSTOCK__BREAKER__SLOW_MS", "10000"),
        ("HOTSTOCK__GATE__HOLD_TTL_MS", "600000"),
        ("HOTSTOCK__LEDGER__TRANSACTION_LIMIT_MS", "30000"),
    ]
    .into_iter()
    .fold(options, |options, (key, value)| options.env(key, value))
}

/// How many requests the gate of an instance has refused.
async fn gate_refusals(service: &Service) -> u64 {
    counters(service, "hotstock_gate_admissions_total").await["sold_out"]
}

/// One metric of an instance, by the value of its label.
async fn counters(service: &Service, metric: &str) -> HashMap<String, u64> {
    let url = format!("{}/metrics", service.admin_url());
    let text = reqwest::get(url).await.unwrap().text().await.unwrap();
    let series = text.lines().filter_map(|line| {
        let (label, count) = line.strip_prefix(metric)?.split_once("\"} ")?;
        Some((label.split_once('"')?.1.to_owned(), count.parse().unwrap()))
    });
    series.collect()
}
