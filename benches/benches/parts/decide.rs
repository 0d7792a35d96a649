//! The transaction that sells, for a batch of decreases of one product: what of each commit one sale costs.

use std::path::Path;
use std::time::{Duration, Instant};

use contracts::stock::AdjustReason;
use criterion::{BenchmarkId, Criterion, Throughput};
use devstack::Postgres;
use platform::database::{Pool, migrate, pool};
use product_service::config::Config;
use product_service::domain::request::{
    Adjust, BuyerId, Decrease, ProductId, Quantity, RequestId, StockRequest,
};
use product_service::domain::words::Verdict;
use product_service::ledger::MIGRATIONS;
use product_service::ledger::decide::{Waiting, decide as decide_batch};
use tokio_postgres::NoTls;

use crate::{BATCHES, group, postgres, runtime};

const LIMIT: Duration = Duration::from_secs(10);
const PRODUCT: &str = "INSERT INTO products (name, price, stock, stock_version, status, stock_strategy) \
                       VALUES ('Bench', 100, 0, 0, 'ACTIVE', 'DB_ONLY') RETURNING id";

struct Sale {
    pool: Pool,
    product: ProductId,
    orders: i64,
    /// Lives as long as this.
    _postgres: Postgres,
}

impl Sale {
    async fn begin() -> Self {
        let postgres = postgres().await;
        let url = postgres.create_database("product").await.expect("a database");
        let config = Config::load(None, &[format!("database.url={url}")]).expect("a config");
        migrate(&config.database.url, Path::new(""), MIGRATIONS)
            .await
            .expect("tables");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("a connection");
        tokio::spawn(connection);
        let product = client.query_one(PRODUCT, &[]).await.expect("a product").get(0);
        let mut sale = Self {
            pool: pool("bench", &config.decision_database()).expect("a pool"),
            product,
            orders: 0,
            _postgres: postgres,
        };
        let stock = StockRequest::Adjust(Adjust {
            product,
            request_id: RequestId::new("first").expect("an id"),
            delta: 1_000_000_000,
            reason: AdjustReason::Manual,
            note: None,
        });
        sale.decide(&[stock]).await;
        sale
    }

    fn decreases(&mut self, count: usize) -> Vec<StockRequest> {
        let decrease = |order: i64| Decrease {
            product: self.product,
            request_id: RequestId::new(&format!("DEC-{order}")).expect("an id"),
            order_id: order,
            buyer: BuyerId::new(&format!("buyer-{order}")).ok(),
            quantity: Quantity::new(1).expect("within the range"),
        };
        let first = self.orders + 1;
        self.orders += count as i64;
        (first..=self.orders)
            .map(|order| StockRequest::Decrease(decrease(order)))
            .collect()
    }

    async fn decide(&mut self, requests: &[StockRequest]) -> Duration {
        let requests: Vec<&StockRequest> = requests.iter().collect();
        let begun = Instant::now();
        let decided = decide_batch(&self.pool, LIMIT, Waiting::Skip, &requests).await;
        let spent = begun.elapsed();
        let decided = decided.expect("a commit");
        let is_sold = |decision: &Option<_>| {
            decision
                .as_ref()
                .is_some_and(|decision: &product_service::domain::books::Decision| {
                    decision.verdict == Verdict::Done
                })
        };
        assert!(decided.iter().all(is_sold), "{decided:?}");
        spent
    }
}

pub(crate) fn decide(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut sale = runtime.block_on(Sale::begin());
    let mut group = group(criterion, "decide");
    for requests in BATCHES {
        group.throughput(Throughput::Elements(requests as u64));
        group.bench_function(BenchmarkId::from_parameter(requests), |bencher| {
            bencher.iter_custom(|times| {
                let mut spent = Duration::ZERO;
                for _ in 0..times {
                    let batch = sale.decreases(requests);
                    spent += runtime.block_on(sale.decide(&batch));
                }
                spent
            });
        });
    }
    group.finish();
}
