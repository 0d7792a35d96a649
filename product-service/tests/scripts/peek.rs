//! `peek.lua`

use std::time::Duration;

use devstack::wait_for;
use product_service::gate::peek::Peek;

use crate::fixture::{Fixture, adjustment, sale};

#[tokio::test]
async fn a_product_that_is_not_loaded_has_nothing_to_show() {
    let mut gate = Fixture::empty().await;
    assert_eq!(gate.try_peek().await.unwrap(), None);
    let _lease = gate.lease().await;
    gate.settle(&[sale(2, 1, "a")], &[]).await;
    assert_eq!(
        gate.try_peek().await.unwrap(),
        None,
        "not while somebody loads it either"
    );
    assert_eq!(gate.hash().await.len(), 2, "and leaves lease and facts alone");
}

#[tokio::test]
async fn the_sums_of_one_moment_are_shown() {
    let mut gate = Fixture::loaded(100, 4).await;
    gate.admissions(&[("a", 10), ("b", 20)]).await;
    gate.settle(&[sale(5, 3, "c"), sale(8, 4, "d"), adjustment(7, 50)], &[])
        .await;
    let expected = Peek {
        counter: 100 - 30 - 3 - 4 + 50,
        version: 5,
        holds: 2,
        held_units: 30,
        facts: 2,
        facts_units: 46,
        sold: 3,
        sold_expected: 3,
        rules: ":::0".to_owned(),
        overdue: Vec::new(),
        fact_versions: vec![7, 8],
    };
    for look in ["the first", "another: looking changes nothing"] {
        let mut peek = gate.peek().await;
        peek.fact_versions.sort_unstable();
        assert_eq!(peek, expected, "{look}");
    }
}

#[tokio::test]
async fn holds_past_their_deadline_are_named_and_stay() {
    let mut gate = Fixture::with(|config| config.hold_ttl_ms = 30).await;
    gate.load(10, 1).await;
    gate.admissions(&[("a", 1), ("b:1", 2)]).await;
    let gate = tokio::sync::Mutex::new(gate);
    let peek = wait_for("both to be overdue", Duration::from_secs(5), || async {
        let peek = gate.lock().await.peek().await;
        if peek.overdue.len() == 2 {
            Ok(peek)
        } else {
            Err(format!("{peek:?}"))
        }
    });
    let mut peek = peek.await.unwrap();
    peek.overdue.sort();
    assert_eq!(peek.overdue, ["a", "b:1"]);
    assert_eq!((peek.counter, peek.holds, peek.held_units), (7, 2, 3));
}

#[tokio::test]
async fn many_products_are_shown_in_the_order_asked() {
    let mut gate = Fixture::loaded(1, 1).await;
    for (product, stock) in [(7, 70), (9, 90)] {
        gate.product = product;
        gate.load(stock, 1).await;
    }
    let peeks = gate.gate.peek(&mut gate.link, &[9, 8, 42, 7]).await.unwrap();
    let counters: Vec<Option<i64>> = peeks
        .into_iter()
        .map(|peek| peek.unwrap().map(|peek| peek.counter))
        .collect();
    assert_eq!(counters, [Some(90), None, Some(1), Some(70)]);
}
