//! The scripts in Redis: `reserve.lua` admits a batch for one product, `apply.lua` settles it.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use devstack::{Redis, RedisOptions};
use product_service::config::Config;
use product_service::domain::books::Fact;
use product_service::domain::request::{ProductId, Quantity, RequestId};
use product_service::domain::rules::SaleRules;
use product_service::domain::words::{Admission, LoadStep, Settled};
use product_service::gate::Gate;
use product_service::gate::link::Link;
use product_service::gate::load::{Leased, Opening};
use product_service::gate::reserve::Reservation;
use product_service::gate::settle::Settlement;

use crate::{BATCHES, group, runtime};

const PRODUCT: ProductId = 42;

/// A loaded gate, and how far its sale is.
struct Sale {
    gate: Gate,
    link: Link,
    version: i64,
    /// Lives as long as this.
    _redis: Redis,
}

/// Time spent in each script.
#[derive(Default)]
struct Spent {
    reserving: Duration,
    settling: Duration,
}

impl Sale {
    async fn begin() -> Self {
        let redis = Redis::start(RedisOptions::default()).await.expect("Redis");
        let mut config = Config::load(None, &[format!("redis.url={}", redis.url())]).expect("a config");
        config.redis.timeout_ms = 10_000;
        config.gate.hold_ttl_ms = 600_000;
        let gate = Gate::new(&config).expect("a gate");
        let mut link = gate.link();
        let leased = gate.lease(&mut link, &[PRODUCT]).await.expect("an answer").pop();
        let Some(Ok(Leased::Ours(lease))) = leased else {
            panic!("no lease: {leased:?}");
        };
        let opening = Opening {
            product: PRODUCT,
            lease: &lease,
            stock: 1_000_000_000,
            version: 1,
            rules: &SaleRules::default(),
        };
        let opened = gate.open(&mut link, &[opening]).await.expect("an answer").pop();
        assert!(matches!(opened, Some(Ok(LoadStep::Loaded))), "{opened:?}");
        Self {
            gate,
            link,
            version: 1,
            _redis: redis,
        }
    }

    /// So many requests for a unit each are admitted, then settled as sold.
    async fn sell(&mut self, requests: usize, spent: &mut Spent) {
        let facts: Vec<Fact> = (0..requests)
            .map(|_| {
                self.version += 1;
                Fact {
                    version: self.version,
                    signed_quantity: -1,
                    settles: RequestId::new(&format!("DEC-{}", self.version)).ok(),
                    buyer: None,
                }
            })
            .collect();
        let one = Quantity::new(1).expect("within the range");
        let ids = facts.iter().filter_map(|fact| fact.settles.as_ref());
        let reservation = Reservation {
            product: PRODUCT,
            requests: ids.map(|id| (id, one, None)).collect(),
        };
        let begun = Instant::now();
        let reserved = self
            .gate
            .reserve(&mut self.link, &[reservation])
            .await
            .expect("an answer")
            .pop();
        spent.reserving += begun.elapsed();
        let admissions = reserved.expect("one product").expect("no error").admissions;
        assert!(
            admissions.len() == requests && admissions.iter().all(|admission| *admission == Admission::Held)
        );
        let settlement = Settlement {
            facts,
            releases: Vec::new(),
        };
        let begun = Instant::now();
        let settled = self.gate.settle(&mut self.link, &[(PRODUCT, settlement)]).await;
        spent.settling += begun.elapsed();
        let settled = settled.expect("an answer").pop();
        assert!(matches!(settled, Some(Ok(Settled::Applied))), "{settled:?}");
    }
}

pub(crate) fn scripts(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut sale = runtime.block_on(Sale::begin());
    for (name, time) in [
        ("reserve.lua", (|spent| spent.reserving) as fn(&Spent) -> Duration),
        ("apply.lua", |spent| spent.settling),
    ] {
        let mut group = group(criterion, name);
        for requests in BATCHES {
            group.throughput(Throughput::Elements(requests as u64));
            group.bench_function(BenchmarkId::from_parameter(requests), |bencher| {
                bencher.iter_custom(|times| {
                    let mut spent = Spent::default();
                    for _ in 0..times {
                        runtime.block_on(sale.sell(requests, &mut spent));
                    }
                    time(&spent)
                });
            });
        }
        group.finish();
    }
}
