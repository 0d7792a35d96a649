//! Criterion: what each part of the way of a sale costs by itself, with the services' own code on private servers.
//!
//! Elements are requests (or messages), so that a batch of 256 can be compared with 256 batches of one. Commits are on
//! disk, as in production. `cargo bench -p benches -- --save-baseline before`, then `--baseline before`, compares.

#![expect(clippy::expect_used, reason = "a bench that cannot set itself up has failed")]

mod answers;
mod batching;
mod decide;
mod gate;
mod http;
mod orders;

use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use devstack::{Durability, Postgres, PostgresOptions};
use tokio::runtime::Runtime;

/// Requests per batch.
const BATCHES: [usize; 3] = [1, 16, 256];

/// A group of benches, short: the noise of servers does not become less by more samples.
fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    group
}

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime")
}

/// One whose commits are on disk.
async fn postgres() -> Postgres {
    let options = PostgresOptions {
        durability: Durability::Full,
        ..PostgresOptions::default()
    };
    Postgres::start(options).await.expect("Postgres")
}

criterion_group!(
    parts,
    gate::scripts,
    decide::decide,
    batching::queue_of,
    http::parse,
    http::render,
    orders::insert,
    orders::relay
);
criterion_main!(parts);
