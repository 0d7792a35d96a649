//! Orders: the transaction that writes a batch of them with their sagas and messages, and the relay that publishes those.

use std::path::Path;
use std::time::{Duration, Instant};

use contracts::messaging::STOCK_REQUEST;
use contracts::order::Flow;
use criterion::{BenchmarkId, Criterion, Throughput};
use devstack::{Postgres, RabbitMq, RabbitMqOptions};
use order_service::config::Config;
use order_service::db;
use order_service::db::place::{Place, Placed, place};
use order_service::db::relay::{Backoff, relay_batch};
use order_service::domain::order::NewOrder;
use order_service::outbox::relay::message;
use platform::amqp::{Broker, Publisher};
use platform::config::Secret;
use platform::database::{Pool, migrate, pool};

use crate::{BATCHES, group, postgres, runtime};

const LIMIT: Duration = Duration::from_secs(10);
const BACKOFF: Backoff = Backoff {
    attempts_max: 10,
    retry_ms: 200,
    retry_max_ms: 30_000,
};

struct Orders {
    pool: Pool,
    placed: usize,
    /// Lives as long as this.
    _postgres: Postgres,
}

impl Orders {
    async fn begin() -> Self {
        let postgres = postgres().await;
        let url = postgres.create_database("orders").await.expect("a database");
        let config = Config::load(None, &[format!("database.url={url}")]).expect("a config");
        migrate(&config.database.url, Path::new(""), db::migrations())
            .await
            .expect("tables");
        Self {
            pool: pool("bench", &config.writing_database()).expect("a pool"),
            placed: 0,
            _postgres: postgres,
        }
    }

    async fn place(&mut self, count: usize, flow: Flow) -> Duration {
        let order = |number: usize| Place {
            order: NewOrder {
                product_id: 1,
                buyer_id: Some(format!("buyer-{number}")),
                quantity: 1,
                flow,
                idempotency_key: Some(format!("order-{number}")),
            },
            watch_ms: 600_000,
            trace_context: None,
        };
        let batch: Vec<Place> = (self.placed..self.placed + count).map(order).collect();
        self.placed += count;
        let begun = Instant::now();
        let placed = place(&self.pool, LIMIT, &batch).await;
        let spent = begun.elapsed();
        let placed = placed.expect("a commit");
        assert!(placed.len() == count && placed.iter().all(|placed| matches!(placed, Placed::New(_))));
        spent
    }
}

pub(crate) fn insert(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut orders = runtime.block_on(Orders::begin());
    let mut group = group(criterion, "order insert");
    for count in BATCHES {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter_custom(|times| {
                (0..times)
                    .map(|_| runtime.block_on(orders.place(count, Flow::Async)))
                    .sum()
            });
        });
    }
    group.finish();
}

pub(crate) fn relay(criterion: &mut Criterion) {
    let runtime = runtime();
    let rabbitmq = RabbitMq::start(RabbitMqOptions::default());
    let rabbitmq = runtime.block_on(rabbitmq).expect("RabbitMQ");
    let mut orders = runtime.block_on(Orders::begin());
    let url = Secret::new(rabbitmq.url());
    let broker = Broker::new(&url, Path::new("")).expect("a broker");
    let mut publisher = Publisher::new(broker, "bench", &[STOCK_REQUEST], &[], LIMIT);
    let mut group = group(criterion, "relay publish");
    for count in BATCHES {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter_custom(|times| {
                let mut spent = Duration::ZERO;
                for _ in 0..times {
                    runtime.block_on(orders.place(count, Flow::Async));
                    let begun = Instant::now();
                    let max = count as i64;
                    let batch = relay_batch(&orders.pool, max, BACKOFF, &mut publisher, message);
                    let relayed = runtime.block_on(batch).expect("a batch");
                    spent += begun.elapsed();
                    assert_eq!(relayed.sent, count, "{relayed:?}");
                }
                spent
            });
        });
    }
    group.finish();
}
