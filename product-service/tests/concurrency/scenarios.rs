//! The scenarios of the load tool, small, on two real instances: each ends in balanced books, and shows what it is about.

use std::time::Duration;

use devstack::catalogue;
use devstack::load::{Arrivals, FlashSale, Scenario, Storm, Verdict, flash_sale};

use crate::shop::Shop;

const CLIENTS: usize = 50;

fn sale(shop: &Shop, scenario: Scenario, products: Vec<i64>, buyers: u64) -> FlashSale {
    scenario.shape(FlashSale {
        concurrency: CLIENTS,
        seed: 1,
        ..FlashSale::new(shop.urls(), products, buyers)
    })
}

async fn run(shop: &Shop, sale: &FlashSale) -> Verdict {
    let verdict = flash_sale(sale, &shop.stores()).await.unwrap();
    assert!(verdict.is_true(), "{verdict}");
    verdict
}

fn answered(verdict: &Verdict, answer: &str) -> u64 {
    verdict.tally.answers.get(answer).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_buyer_gets_no_more_than_the_limit_however_often_he_asks() {
    let shop = Shop::open(2).await;
    let product = shop.product(100, true).await;
    let limit = Scenario::OneBuyer.purchase_limit().unwrap();
    catalogue::limit_purchases(&shop.services[0].url(), product, limit)
        .await
        .unwrap();
    let verdict = run(&shop, &sale(&shop, Scenario::OneBuyer, vec![product], 1_000)).await;
    assert_eq!(verdict.products[0].sold_by_ledger, limit, "{verdict}");
    assert_eq!(verdict.owned_most, Some(limit), "{verdict}");
    assert_eq!(answered(&verdict, "200"), 2, "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_retry_storm_everybody_asks_again_and_nobody_gets_it_twice() {
    let shop = Shop::open(2).await;
    let product = shop.product(1_000_000, true).await;
    let mut sale = FlashSale {
        lasts: Some(Duration::from_secs(3)),
        ..sale(&shop, Scenario::RetryStorm, vec![product], 1_000_000)
    };
    let storm = Storm::start(&mut sale).unwrap();
    let verdict = run(&shop, &sale).await;
    assert!(storm.storms() > 1 && storm.connections_hit() > 0, "{verdict}");
    assert!(
        verdict.tally.replays > 0,
        "what was lost was asked again\n{verdict}"
    );
    assert_eq!(
        verdict.tally.error_ratio(),
        0.0,
        "and heard in the end\n{verdict}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_zipf_catalogue_the_first_product_is_wanted_most() {
    let shop = Shop::open(2).await;
    let products = shop.products(20, 30, true).await;
    let verdict = run(&shop, &sale(&shop, Scenario::Zipf, products, 1_000)).await;
    let tally = &verdict.tally.products;
    let buyers: Vec<u64> = tally
        .iter()
        .map(|product| product.sales + product.refusals)
        .collect();
    assert_eq!(buyers.iter().sum::<u64>(), 1_000);
    // By the law 30 % want the first and 14 % the second.
    assert!((250..350).contains(&buyers[0]), "{buyers:?}");
    assert!((100..180).contains(&buyers[1]), "{buyers:?}");
    assert!(buyers[0] > 10 * buyers[19], "{buyers:?}");
    assert_eq!((tally[0].sales, tally[0].refusals), (30, buyers[0] - 30));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_is_sold_again_and_only_once() {
    let shop = Shop::open(2).await;
    let product = shop.product(100, true).await;
    let verdict = run(&shop, &sale(&shop, Scenario::CancelMix, vec![product], 3_000)).await;
    let tally = &verdict.tally;
    let back = tally.products[0].units_given_back;
    assert!(back > 10, "{verdict}");
    assert_eq!(i64::try_from(answered(&verdict, "cancel: 200")).unwrap(), back);
    assert!(tally.sales() > 100, "sold again\n{verdict}");
    assert_eq!(
        verdict.products[0].sold_to_clients,
        i64::try_from(tally.sales()).unwrap() - back
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soak_has_a_course() {
    let shop = Shop::open(2).await;
    let products = shop.products(5, 1_000_000, true).await;
    let soak = FlashSale {
        arrivals: Some(Arrivals::at_rate(200.0)),
        lasts: Some(Duration::from_secs(3)),
        ..sale(&shop, Scenario::Soak, products, 1_000_000)
    };
    let verdict = run(&shop, &soak).await;
    assert!((450..750).contains(&verdict.tally.sales()), "{verdict}");
    assert!(answered(&verdict, "cancel: 200") > 10, "{verdict}");
    let (first, last) = verdict.tally.course.first_and_last_fifth().unwrap();
    assert!(first.len() > 50 && last.len() > 50, "{first:?} {last:?}");
}
