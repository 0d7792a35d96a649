//! Instances that end under load: told to (SIGTERM) or killed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use devstack::wait_for;
use futures_util::future::join_all;

use crate::client::{Told, decrease_key, fresh_order_id};
use crate::shop::Shop;

const CLIENTS: usize = 32;
/// Sales before the end comes.
const WARM: usize = 150;

/// How the clients of one run know where it stands.
#[derive(Default)]
struct Run {
    sales: AtomicUsize,
    is_over: AtomicBool,
}

/// Buys one unit after the other, until the run is over, stock is sold out or the instance is gone.
async fn buy(shop: &Shop, instance: usize, product: i64, run: &Run) -> Vec<(i64, Told)> {
    let mut client = shop.client(instance);
    let mut book = Vec::new();
    while !run.is_over.load(Ordering::Relaxed) {
        let order = fresh_order_id();
        let told = client.decrease(product, order, 1).await;
        let goes_on = matches!(told, Told::Done { .. } | Told::Later);
        run.sales
            .fetch_add(usize::from(told.is_done()), Ordering::Relaxed);
        book.push((order, told));
        if !goes_on {
            break;
        }
    }
    book
}

/// All clients, half of them on each instance, while `end` happens once sales are well under way. What they were told.
async fn buy_while(shop: &Shop, product: i64, end: impl Future<Output = ()>) -> Vec<(i64, Told)> {
    let run = Run::default();
    let clients = (0..CLIENTS).map(|client| buy(shop, client % 2, product, &run));
    let ending = async {
        wait_for("sales", Duration::from_secs(20), || async {
            let sales = run.sales.load(Ordering::Relaxed);
            if sales >= WARM {
                Ok(())
            } else {
                Err(format!("{sales}"))
            }
        })
        .await
        .unwrap();
        end.await;
        let before = run.sales.load(Ordering::Relaxed);
        wait_for("the other instance to go on", Duration::from_secs(20), || async {
            let sales = run.sales.load(Ordering::Relaxed) - before;
            if sales >= 20 {
                Ok(())
            } else {
                Err(format!("{sales} sales"))
            }
        })
        .await
        .unwrap();
        run.is_over.store(true, Ordering::Relaxed);
    };
    let (books, ()) = tokio::join!(join_all(clients), ending);
    books.into_iter().flatten().collect()
}

/// Everybody who was told that he got one is in the ledger.
async fn assert_promises_kept(shop: &Shop, product: i64, told: &[(i64, Told)]) {
    let ids = shop.stack.sold_request_ids(&[product]).await.unwrap();
    for (order, told) in told.iter().filter(|(_, told)| told.is_done()) {
        assert!(ids.contains(&decrease_key(*order)), "order {order}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_loses_nothing_that_was_accepted() {
    let shop = Shop::open(2).await;
    for is_hot in [true, false, true] {
        let product = shop.product(900_000, is_hot).await;
        if is_hot {
            shop.wait_until_hot_everywhere(product).await;
        }
        let told = buy_while(&shop, product, async {
            assert_eq!(shop.services[0].terminate().await.unwrap(), 0, "exit code");
        })
        .await;
        assert_promises_kept(&shop, product, &told).await;
        let is_unknown = |told: &Told| matches!(told, Told::Nothing(_));
        let unknown: Vec<i64> = told
            .iter()
            .filter(|(_, told)| is_unknown(told))
            .map(|(order, _)| *order)
            .collect();
        assert!(!unknown.is_empty(), "the instance's clients found it gone");
        // Who got no answer was never begun with.
        let ids = shop.stack.sold_request_ids(&[product]).await.unwrap();
        let begun = unknown.iter().find(|order| ids.contains(&decrease_key(**order)));
        assert_eq!(begun, None);
        // Not a single hold is left over.
        let books = shop.wait_until_balanced(product, Duration::from_secs(2)).await;
        assert_eq!(books.gate.is_some(), is_hot);
        shop.services[0].restart().await.unwrap();
    }
    shop.assert_nothing_was_repaired().await;
}

/// The same requests once more, through instance 0: whoever was told yes is told the same yes. How many have one now.
async fn ask_again(shop: &Shop, product: i64, told: &[(i64, Told)]) -> i64 {
    let mut client = shop.client(0);
    let mut sold = 0;
    for (order, before) in told {
        let again = client.decrease(product, *order, 1).await;
        sold += i64::from(again.is_done());
        match (before, &again) {
            (
                Told::Done { remaining, .. },
                Told::Done {
                    remaining: same,
                    is_replay: true,
                },
            ) => assert_eq!(same, remaining),
            (Told::Done { .. }, other) => panic!("order {order} had {before:?}, now {other:?}"),
            (_, Told::Done { .. } | Told::Refused(_)) => {}
            (_, other) => panic!("order {order}: {other:?}"),
        }
    }
    sold
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_instance_has_promised_is_in_the_ledger_and_nothing_is_oversold() {
    const STOCK: i64 = 1_500;
    const BUYERS: u64 = 1_500;
    let shop = Shop::open(2).await;
    for _ in 0..3 {
        let product = shop.product(STOCK, true).await;
        shop.wait_until_hot_everywhere(product).await;
        let told = buy_while(&shop, product, async { shop.services[0].kill().unwrap() }).await;
        assert_promises_kept(&shop, product, &told).await;
        // Holds of the dead may be left, but they are accounted for.
        let gate = shop.audit(1, product).await.gate.expect("loaded");
        assert_eq!(gate.drift, Some(0), "{gate:?}");

        // Everybody asks once more, under his key, and whoever had a yes gets the same one.
        shop.services[0].restart().await.unwrap();
        let askers = told
            .chunks(told.len().div_ceil(16))
            .map(|told| ask_again(&shop, product, told));
        let sold: i64 = join_all(askers).await.into_iter().sum();
        let books = shop.wait_until_balanced(product, Duration::from_secs(2)).await;
        assert_eq!(books.units_sold, sold);
        // What is left can still be had, to the last unit.
        let verdict = shop.sell(product, BUYERS, 1..=1).await;
        assert_eq!(verdict.products[0].remaining, 0, "{verdict}");
        assert_eq!(
            shop.wait_until_balanced(product, Duration::from_secs(2))
                .await
                .units_sold,
            STOCK
        );
    }
}
