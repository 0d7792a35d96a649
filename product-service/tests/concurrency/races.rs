//! Sales racing with restocks and cancels: everything adds up, and the gate never drifts, not even for a moment.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;

use crate::client::{Told, fresh_order_id};
use crate::shop::Shop;

const BUYERS: usize = 24;
const ORDERS_PER_BUYER: usize = 40;
const RESTOCKS: i64 = 60;
const INITIAL: i64 = 50;

/// What everybody together was told, units.
#[derive(Default)]
struct Sums {
    sold: AtomicI64,
    cancelled: AtomicI64,
    restocked: AtomicI64,
    refused: AtomicI64,
}

/// Buys one to three units again and again, and cancels every third order that went through; some cancels go twice.
async fn buy_and_cancel(shop: &Shop, product: i64, index: usize, sums: &Sums) {
    let mut client = shop.client(index);
    // Cancels go through another instance than the sale.
    let mut other = shop.client(index + 1);
    for round in 0..ORDERS_PER_BUYER {
        let order = fresh_order_id();
        let quantity = 1 + i64::try_from((index + round) % 3).unwrap();
        match client.decrease(product, order, quantity).await {
            Told::Done { .. } => {
                sums.sold.fetch_add(quantity, Ordering::Relaxed);
                if (index + round).is_multiple_of(3) {
                    for is_replay in [false, true].into_iter().take(1 + round % 2) {
                        match other.cancel(product, order, quantity).await {
                            Told::Done {
                                is_replay: replay, ..
                            } => assert_eq!(replay, is_replay),
                            told => panic!("cancel: {told:?}"),
                        }
                    }
                    sums.cancelled.fetch_add(quantity, Ordering::Relaxed);
                }
            }
            Told::Refused(code) => {
                assert_eq!(code, "INSUFFICIENT_STOCK");
                sums.refused.fetch_add(1, Ordering::Relaxed);
            }
            told => panic!("{told:?}"),
        }
    }
}

async fn restock(shop: &Shop, product: i64, sums: &Sums) {
    let mut client = shop.client(2);
    for round in 0..RESTOCKS {
        let units = 1 + round % 7;
        let told = client
            .adjust(product, &format!("restock-{product}-{round}"), units)
            .await;
        assert!(told.is_done(), "{told:?}");
        sums.restocked.fetch_add(units, Ordering::Relaxed);
    }
}

/// Measures again and again; returns how often, and how often something was under way.
async fn watch(shop: &Shop, product: i64, is_over: &AtomicBool) -> (usize, usize) {
    let (mut looks, mut busy) = (0, 0);
    while !is_over.load(Ordering::Relaxed) {
        let audit = shop.audit(looks % shop.services.len(), product).await;
        if let Some(gate) = audit.gate {
            assert_eq!(gate.drift, Some(0), "look {looks}: {gate:?}");
            looks += 1;
            busy += usize::from(gate.holds + gate.facts > 0);
        }
    }
    (looks, busy)
}

async fn race(is_cold: bool) {
    let shop = Shop::open(3).await;
    let product = shop.product(INITIAL, true).await;
    shop.wait_until_hot_everywhere(product).await;
    if is_cold {
        shop.make_cold(product).await;
    }
    let sums = Sums::default();
    let is_over = AtomicBool::new(false);
    let trade = async {
        let buyers = (0..BUYERS).map(|index| buy_and_cancel(&shop, product, index, &sums));
        tokio::join!(join_all(buyers), restock(&shop, product, &sums));
        is_over.store(true, Ordering::Relaxed);
    };
    let ((), (looks, busy)) = tokio::join!(trade, watch(&shop, product, &is_over));
    assert!(
        looks > 5 && busy > 0,
        "{looks} looks, {busy} while something was under way"
    );

    let books = shop.wait_until_balanced(product, Duration::from_secs(2)).await;
    let [sold, cancelled, restocked, refused] =
        [sums.sold, sums.cancelled, sums.restocked, sums.refused].map(AtomicI64::into_inner);
    assert!(
        cancelled > 0 && refused > 0,
        "cancelled {cancelled}, refused {refused}"
    );
    assert_eq!(books.units_sold, sold - cancelled);
    assert_eq!(books.units_in, INITIAL + restocked + cancelled);
    assert_eq!(books.stock, INITIAL + restocked + cancelled - sold);
    let gate = shop.audit(0, product).await.gate.expect("loaded");
    assert_eq!((gate.drift, gate.holds, gate.facts), (Some(0), 0, 0));
    assert_eq!(gate.counter, books.stock);
    shop.assert_nothing_was_repaired().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_restocks_and_cancels_add_up_without_drift() {
    race(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_restocks_and_cancels_add_up_without_drift_while_the_gate_is_loaded() {
    race(true).await;
}
