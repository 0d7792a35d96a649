//! Requests with the same key, at the same time, on several instances: one effect per key, and one answer.

use std::collections::HashMap;
use std::time::Duration;

use devstack::load::FlashSale;
use futures_util::future::join_all;

use crate::client::{Told, decrease_key, fresh_order_id};
use crate::shop::Shop;

const KEYS: usize = 60;
const TWINS: usize = 9;

/// Every order asks as often as it has twins, all over the instances and all at the same time.
async fn ask_all(shop: &Shop, product: i64, orders: &[i64]) -> HashMap<i64, Vec<Told>> {
    let mut clients: Vec<_> = (0..45).map(|index| (shop.client(index), Vec::new())).collect();
    let requests = orders.len() * TWINS;
    for request in 0..requests {
        // 7 is prime to the number of clients: the twins of a key are spread over all of them.
        let client = request * 7 % clients.len();
        clients[client].1.push(orders[request / TWINS]);
    }
    let asking = clients.into_iter().map(|(mut client, orders)| async move {
        let mut told = Vec::new();
        for order in orders {
            told.push((order, client.decrease(product, order, 1).await));
        }
        told
    });
    let mut by_order: HashMap<i64, Vec<Told>> = HashMap::new();
    for (order, told) in join_all(asking).await.into_iter().flatten() {
        by_order.entry(order).or_default().push(told);
    }
    assert!(by_order.values().all(|told| told.len() == TWINS));
    by_order
}

/// Whether the order got its unit; all of its twins have to have been told the same, and one of them first.
fn one_answer(order: i64, told: &[Told]) -> bool {
    let Told::Done { remaining, .. } = &told[0] else {
        let sold_out = Told::Refused("INSUFFICIENT_STOCK".to_owned());
        assert!(
            told.iter().all(|told| *told == sold_out),
            "order {order}: {told:?}"
        );
        return false;
    };
    let mut firsts = 0;
    for twin in told {
        match twin {
            Told::Done {
                remaining: his,
                is_replay,
            } if his == remaining => firsts += u32::from(!is_replay),
            other => panic!("order {order}: {other:?} among {told:?}"),
        }
    }
    assert_eq!(firsts, 1, "order {order}: {told:?}");
    true
}

async fn one_effect_per_key(stock: i64, keys_that_sell: usize, is_cold: bool) {
    let shop = Shop::open(3).await;
    let product = shop.product(stock, true).await;
    let other = shop.product(100, true).await;
    shop.wait_until_hot_everywhere(product).await;
    if is_cold {
        shop.make_cold(product).await;
    }
    let orders: Vec<i64> = (0..KEYS).map(|_| fresh_order_id()).collect();
    let crowd = FlashSale {
        concurrency: 48,
        ..FlashSale::new(shop.urls(), vec![other], 1_500)
    };
    let (told, crowd) = tokio::join!(ask_all(&shop, product, &orders), crowd.run());
    assert_eq!(crowd.unwrap().sales(), 100);
    let sold: Vec<i64> = orders
        .iter()
        .copied()
        .filter(|order| one_answer(*order, &told[order]))
        .collect();
    assert_eq!(sold.len(), keys_that_sell);

    // Much later, and sold out or not: every instance still says the same.
    for index in 0..shop.services.len() {
        let mut client = shop.client(index);
        for order in &orders {
            let again = client.decrease(product, *order, 1).await;
            let first = &told[order][0];
            match (&again, first) {
                (
                    Told::Done {
                        remaining,
                        is_replay: true,
                    },
                    Told::Done {
                        remaining: before, ..
                    },
                ) => assert_eq!(remaining, before),
                (Told::Refused(_), Told::Refused(_)) => assert_eq!(&again, first),
                _ => panic!("order {order}: {again:?} after {first:?}"),
            }
        }
    }
    let books = shop.wait_until_balanced(product, Duration::from_secs(2)).await;
    assert_eq!(books.units_sold, i64::try_from(keys_that_sell).unwrap());
    let ids = shop.stack.sold_request_ids(&[product]).await.unwrap();
    assert_eq!(ids, sold.iter().map(|order| decrease_key(*order)).collect());
    shop.assert_nothing_was_repaired().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_have_one_effect_and_one_answer() {
    one_effect_per_key(1_000, KEYS, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_have_one_effect_and_one_answer_when_not_everybody_gets_one() {
    one_effect_per_key(25, 25, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_have_one_effect_and_one_answer_while_the_gate_is_loaded() {
    one_effect_per_key(1_000, KEYS, true).await;
}
