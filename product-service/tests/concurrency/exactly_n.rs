//! N units, more than N buyers of one unit each, all at once, each asking once: exactly N get one. In every run.
//!
//! This is exact whoever asks the gate and whoever does not (while it loads, say): a buyer is refused only while every
//! unit is sold or held, and a hold of one unit can fail only when the last one is sold.

use crate::shop::Shop;

const UNITS: i64 = 20;
const BUYERS: u64 = 60;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Decided by the database alone.
    DatabaseOnly,
    /// Hot, its gate loaded; instances that did not make it hot themselves have not heard of it yet.
    JustMade,
    /// Hot, its gate loaded, and every instance knows.
    Loaded,
    /// Hot, every instance knows, and the first request loads the gate.
    Cold,
}

async fn sell_out(instances: usize, start: Start, runs: usize) {
    let shop = Shop::open(instances).await;
    let products = shop.products(runs, UNITS, start != Start::DatabaseOnly).await;
    if matches!(start, Start::Loaded | Start::Cold) {
        shop.wait_until_hot_everywhere(products[runs - 1]).await;
    }
    for (run, mut product) in products.into_iter().enumerate() {
        match start {
            Start::DatabaseOnly | Start::Loaded => {}
            Start::JustMade => product = shop.product(UNITS, true).await,
            Start::Cold => shop.make_cold(product).await,
        }
        let verdict = shop.sell(product, BUYERS, 1..=1).await;
        assert_eq!(
            verdict.tally.answers["200"],
            u64::try_from(UNITS).unwrap(),
            "run {run}: {verdict}"
        );
        let judged = &verdict.products[0];
        assert_eq!((judged.sold_by_ledger, judged.remaining), (UNITS, 0), "run {run}");
        match judged.sold_by_gate {
            _ if start == Start::DatabaseOnly => assert_eq!(judged.sold_by_gate, None, "run {run}"),
            Some(units) => assert_eq!(units, UNITS, "run {run}"),
            None => assert_eq!(shop.wait_until_loaded(product).await.counter, 0, "run {run}"),
        }
    }
    shop.assert_nothing_was_repaired().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hot_product_on_one_instance() {
    sell_out(1, Start::Loaded, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hot_product_on_three_instances() {
    sell_out(3, Start::Loaded, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hot_product_that_two_of_three_instances_have_not_heard_of() {
    sell_out(3, Start::JustMade, 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_product_that_the_first_request_loads_on_one_instance() {
    sell_out(1, Start::Cold, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_product_that_the_first_request_loads_on_three_instances() {
    sell_out(3, Start::Cold, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_product_without_gate_on_one_instance() {
    sell_out(1, Start::DatabaseOnly, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_product_without_gate_on_three_instances() {
    sell_out(3, Start::DatabaseOnly, 20).await;
}
