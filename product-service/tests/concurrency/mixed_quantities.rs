//! Buyers who want one, two or three units: never more is sold than there is, and in the end nothing is left that a
//! refused buyer could have had.
//!
//! The second half is exact in whatever order buyers come, as long as all of them ask the same judge: his number only
//! falls, because every hold ends in a sale (the gate never promises more than the database has). So who was refused
//! wanted more than was left at that moment, and that is more than is left in the end.
//!
//! While a gate loads there are two judges. Who goes past the gate can take a part of what a hold was promised; the
//! hold then fails in the database, and its rest comes free after the gate has refused others. But a hold, too, fails
//! only when fewer units are left than it wants. So then less is left than the largest quantity anybody asked for.

use crate::shop::Shop;

const UNITS: i64 = 40;
const BUYERS: u64 = 60;
const MOST: i64 = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Judge {
    Database,
    Gate,
    /// Database first, then the gate that the first request loads.
    Both,
}

async fn sell(instances: usize, judge: Judge, runs: usize) {
    let shop = Shop::open(instances).await;
    let products = shop.products(runs, UNITS, judge != Judge::Database).await;
    if judge != Judge::Database {
        shop.wait_until_hot_everywhere(products[runs - 1]).await;
    }
    for (run, product) in products.into_iter().enumerate() {
        if judge == Judge::Both {
            shop.make_cold(product).await;
        }
        let verdict = shop.sell(product, BUYERS, 1..=MOST).await;
        let judged = &verdict.products[0];
        let smallest_refused = verdict.tally.products[0].smallest_sold_out;
        let smallest_refused = smallest_refused.expect("more is wanted than there is");
        assert_eq!(judged.oversold(), 0, "run {run}: {verdict}");
        let bound = if judge == Judge::Both {
            MOST
        } else {
            smallest_refused
        };
        assert!(
            judged.remaining < bound,
            "run {run}: {} left, though {smallest_refused} were refused; {verdict}",
            judged.remaining
        );
        if judge == Judge::Both {
            let gate = shop.wait_until_loaded(product).await;
            assert_eq!(gate.counter, judged.remaining, "run {run}");
        }
    }
    shop.assert_nothing_was_repaired().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn judged_by_the_gate_on_one_instance() {
    sell(1, Judge::Gate, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn judged_by_the_gate_on_three_instances() {
    sell(3, Judge::Gate, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn judged_by_the_database_and_then_the_gate_on_three_instances() {
    sell(3, Judge::Both, 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn judged_by_the_database_on_three_instances() {
    sell(3, Judge::Database, 20).await;
}
