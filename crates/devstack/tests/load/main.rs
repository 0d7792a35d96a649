//! The load tool against a small shop: whether it finds out every lie, and measures what it says.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod exit;
mod open_model;
mod shop;

use devstack::load::{Arrivals, FlashSale, Verdict};

use shop::{Shop, run};

fn sold(verdict: &Verdict) -> Vec<i64> {
    verdict
        .products
        .iter()
        .map(|product| product.sold_to_clients)
        .collect()
}

#[tokio::test]
async fn an_honest_shop_is_found_right() {
    let verdict = run(Shop::Honest, 100, 1..=1).await;
    assert!(verdict.is_true(), "{verdict}");
    assert_eq!(sold(&verdict), [20, 20]);
    assert_eq!(verdict.tally.answers["200"], 40);
    assert_eq!(verdict.tally.answers["400 INSUFFICIENT_STOCK"], 60);
    assert_eq!(verdict.tally.latency_us.len(), 100);
    assert!(
        verdict
            .products
            .iter()
            .all(|product| product.left_though_refused == 0)
    );

    let few = run(Shop::Honest, 10, 1..=3).await;
    assert!(few.is_true(), "{few}");
    assert_eq!(sold(&few), [9, 9], "five buyers each, of 1, 2, 3, 1, 2");
}

#[tokio::test]
async fn every_lie_is_found_out() {
    let oversells = run(Shop::Oversells, 100, 1..=1).await;
    assert!(!oversells.is_true(), "{oversells}");
    assert_eq!(
        oversells
            .products
            .iter()
            .map(|product| product.oversold())
            .sum::<i64>(),
        60
    );
    let hides = run(Shop::HidesSales, 10, 1..=1).await;
    assert!(!hides.is_true(), "{hides}");
    let sells_nothing = run(Shop::SellsNothing, 10, 1..=1).await;
    assert!(
        sells_nothing.is_true(),
        "nothing sold twice or lost: {sells_nothing}"
    );
    assert_eq!(
        sells_nothing.products[0].left_though_refused, 20,
        "but refused without need"
    );
}

#[tokio::test]
async fn an_unknown_outcome_is_neither_a_sale_nor_a_lie() {
    let once = run(Shop::HangsUpOnce, 30, 1..=1).await;
    assert!(once.is_true(), "{once}");
    assert_eq!(sold(&once), [15, 15], "asked again with the same key");
    assert_eq!(once.tally.faults.values().sum::<u64>(), 30);

    let always = run(Shop::HangsUpAlways, 10, 1..=1).await;
    assert!(always.is_true(), "{always}");
    assert_eq!((sold(&always), always.products[0].unknown), (vec![0, 0], 5));
    let fails = run(Shop::FailsAfterSelling, 10, 1..=1).await;
    assert!(fails.is_true(), "{fails}");
    assert_eq!(fails.products[0].unknown, 5);
}

#[tokio::test]
async fn a_sale_that_cannot_be_run_is_an_error() {
    let sale = FlashSale::new(vec!["http://127.0.0.1:1".into()], vec![1], 1);
    let error = format!("{:#}", sale.run().await.unwrap_err());
    assert!(
        error.contains("cannot connect client 1 to http://127.0.0.1:1"),
        "{error}"
    );
    let no_rate = FlashSale {
        arrivals: Some(Arrivals::at_rate(f64::NAN)),
        ..sale.clone()
    };
    assert!(no_rate.run().await.unwrap_err().to_string().contains("rate"));
    let no_quantity = FlashSale {
        quantities: 0..=1,
        ..sale
    };
    assert!(
        no_quantity
            .run()
            .await
            .unwrap_err()
            .to_string()
            .contains("units per buyer")
    );
}
