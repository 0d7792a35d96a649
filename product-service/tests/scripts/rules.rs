//! What a sale is bound to apart from how much there is, as the gate keeps it.

use chrono::{TimeDelta, Utc};
use product_service::domain::rules::SaleRules;
use product_service::domain::words::Admission::{
    BuyerRequired, Cold, Discontinued, Held, Limit, NotOpen, Replay, SoldOut,
};
use product_service::domain::words::{LoadStep, Settled};

use crate::fixture::{BUYERS, Fixture, GATE, SOLD, adjustment, give_back, sale};

/// Product 42 with a purchase limit, loaded.
async fn limited(stock: i64, limit: i64) -> Fixture {
    let mut gate = Fixture::empty().await;
    gate.rules.purchase_limit = Some(limit);
    gate.load(stock, 1).await;
    gate
}

#[tokio::test]
async fn a_buyer_holds_and_owns_no_more_than_the_limit_over_all_his_orders() {
    let mut gate = limited(100, 3).await;
    let batch = [
        ("ann/1", 2),
        ("ann/2", 2),
        ("bob/1", 3),
        ("ann/3", 1),
        ("ann/4", 1),
        ("cid/1", 4),
    ];
    let reserved = gate.reserve(&batch).await;
    assert_eq!(reserved.admissions, [Held, Limit, Held, Held, Limit, Limit]);
    assert_eq!((reserved.counter, reserved.limit), (94, Some(3)));
    gate.settle(&[sale(2, 2, "ann/1"), sale(3, 3, "bob/1")], &[])
        .await;
    assert_eq!(gate.admission("ann/5", 1).await, Limit);
    assert_eq!(
        gate.buyers().await,
        [("ann".to_owned(), 3), ("bob".to_owned(), 3)].into()
    );
}

#[tokio::test]
async fn what_a_buyer_gives_back_or_does_not_get_he_may_buy_again() {
    let mut gate = limited(100, 2).await;
    gate.admissions(&[("ann/1", 1), ("ann/2", 1)]).await;
    gate.settle(&[sale(2, 1, "ann/1")], &["ann/2"]).await;
    assert_eq!(gate.buyers().await, [("ann".to_owned(), 1)].into());
    gate.settle(&[give_back(3, 1, "ann/1")], &[]).await;
    assert_eq!(gate.buyers().await, [].into(), "nobody is remembered for nothing");
    assert_eq!(gate.admission("ann/3", 2).await, Held);
}

#[tokio::test]
async fn facts_change_what_a_buyer_owns_once_in_any_order_and_without_a_hold() {
    let mut gate = limited(100, 9).await;
    for _ in 0..2 {
        gate.settle(&[give_back(3, 4, "ann/1"), sale(4, 1, "ann/2")], &[])
            .await;
        gate.settle(&[sale(2, 4, "ann/1")], &[]).await;
        assert_eq!(gate.buyers().await, [("ann".to_owned(), 1)].into());
    }
}

#[tokio::test]
async fn a_load_brings_back_what_buyers_own_with_the_facts_that_came_meanwhile() {
    let mut gate = Fixture::empty().await;
    gate.rules.purchase_limit = Some(5);
    let lease = gate.lease().await;
    gate.remember_owned(&lease, &["ann/1", "bob/1"], &[("ann", 4), ("bob", 5)])
        .await;
    let meanwhile = [
        sale(5, 1, "ann/2"),
        give_back(6, 5, "bob/1"),
        sale(4, 9, "old/1"),
        adjustment(7, 3),
    ];
    assert_eq!(gate.settle(&meanwhile, &[]).await, Settled::Kept);
    assert_eq!(gate.open(&lease, 100, 4).await, LoadStep::Loaded);
    assert_eq!(gate.buyers().await, [("ann".to_owned(), 5)].into());
    assert_eq!(gate.peek().await.counter, 100 - 1 + 5 + 3);
    assert_eq!(
        gate.admissions(&[("ann/3", 1), ("bob/2", 5), ("ann/1", 4)]).await,
        [Limit, Held, Replay]
    );
}

#[tokio::test]
async fn what_a_load_that_died_has_left_of_buyers_is_forgotten_with_the_next_lease() {
    let mut gate = Fixture::with(|config| config.lease_ms = 1).await;
    gate.rules.purchase_limit = Some(5);
    let lease = gate.lease().await;
    let mut died = false;
    while !died {
        // The lease is renewed each time; at some time it has run out before.
        died = gate.remember_owned(&lease, &[], &[("ann", 5)]).await == LoadStep::LeaseLost;
    }
    gate.gate.config.lease_ms = 60_000;
    gate.load(100, 1).await;
    assert_eq!(gate.buyers().await, [].into());
    assert_eq!(gate.admission("ann/1", 5).await, Held);
}

#[tokio::test]
async fn a_product_with_a_limit_needs_to_know_the_buyer() {
    let mut gate = limited(100, 3).await;
    assert_eq!(
        gate.admissions(&[("a", 1), ("ann/1", 1)]).await,
        [BuyerRequired, Held]
    );
}

#[tokio::test]
async fn without_a_limit_nobody_is_counted() {
    let mut gate = Fixture::loaded(100, 1).await;
    gate.admissions(&[("ann/1", 50)]).await;
    gate.settle(&[sale(2, 50, "ann/1")], &[]).await;
    assert!(!gate.keys().await.contains(BUYERS));
}

#[tokio::test]
async fn outside_its_window_nothing_is_sold_and_what_was_sold_is_a_replay() {
    let now = Utc::now();
    let [before, after] = [now - TimeDelta::hours(1), now + TimeDelta::hours(1)];
    for (starts_at, ends_at, told) in [
        (Some(after), None, NotOpen),
        (None, Some(before), NotOpen),
        (Some(before), Some(after), Held),
        (Some(before - TimeDelta::hours(1)), Some(before), NotOpen),
    ] {
        let mut gate = Fixture::empty().await;
        gate.rules = SaleRules {
            starts_at,
            ends_at,
            ..SaleRules::default()
        };
        gate.load(100, 1).await;
        gate.settle(&[sale(2, 1, "b")], &[]).await;
        assert_eq!(
            gate.admissions(&[("a", 1), ("b", 1)]).await,
            [told, Replay],
            "{starts_at:?} {ends_at:?}"
        );
    }
}

#[tokio::test]
async fn the_gate_opens_and_closes_at_the_moment_of_the_rules() {
    let mut gate = Fixture::empty().await;
    let (s, us): (i64, i64) = gate.raw(&["TIME"]).await;
    let now = chrono::DateTime::from_timestamp_micros(s * 1_000_000 + us).unwrap();
    gate.rules.starts_at = Some(now + TimeDelta::milliseconds(150));
    gate.rules.ends_at = Some(now + TimeDelta::milliseconds(300));
    gate.load(1000, 1).await;
    let mut told = vec![];
    for order in 0..100_000 {
        let word = gate.admission(&format!("a{order}"), 1).await;
        if told.last() != Some(&word) {
            told.push(word);
        }
        let (s, us): (i64, i64) = gate.raw(&["TIME"]).await;
        if s * 1_000_000 + us > now.timestamp_micros() + 310_000 {
            break;
        }
    }
    assert!(
        [
            vec![NotOpen, Held, NotOpen],
            vec![NotOpen, Held, SoldOut, NotOpen]
        ]
        .contains(&told),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_discontinued_product_is_not_sold() {
    let mut gate = Fixture::empty().await;
    gate.rules.discontinued = true;
    gate.load(100, 1).await;
    gate.settle(&[sale(2, 1, "b")], &[]).await;
    assert_eq!(
        gate.admissions(&[("a", 1), ("b", 1)]).await,
        [Discontinued, Replay]
    );
    assert_eq!(gate.peek().await.rules, ":::1");
}

#[tokio::test]
async fn a_gate_that_has_forgotten_who_got_stock_refuses_nobody_by_a_rule() {
    let mut gate = limited(100, 1).await;
    gate.settle(&[sale(2, 1, "ann/1")], &[]).await;
    let _: i64 = gate.raw(&["SREM", SOLD, "ann/1"]).await;
    assert_eq!(gate.admissions(&[("ann/1", 1), ("a", 1)]).await, [Cold, Cold]);
}

#[tokio::test]
async fn a_gate_without_its_rules_or_its_buyers_is_not_loaded() {
    let harms: [&[&str]; 4] = [
        &["HDEL", GATE, "r"],
        &["HSET", GATE, "r", "nonsense"],
        &["DEL", BUYERS],
        &["HDEL", BUYERS, ""],
    ];
    for harm in harms {
        let mut gate = limited(100, 1).await;
        gate.admission("ann/1", 1).await;
        let _: i64 = gate.raw(harm).await;
        assert!(gate.try_peek().await.unwrap().is_none(), "{harm:?}");
        assert_eq!(gate.keys().await, [].into(), "{harm:?}");
    }
}

#[tokio::test]
async fn units_of_a_buyer_that_are_no_number_close_the_gate_and_refuse_nobody() {
    for harm in ["x", "", "1e9"] {
        let mut gate = limited(100, 1).await;
        let _: i64 = gate.raw(&["HSET", BUYERS, "ann", harm]).await;
        let reserved = gate.reserve(&[("ann/1", 1), ("bob/1", 1)]).await;
        assert!(
            !reserved.loaded && reserved.lease.is_some(),
            "{harm}: {reserved:?}"
        );

        let mut gate = limited(100, 1).await;
        let _: i64 = gate.raw(&["HSET", BUYERS, "ann", harm]).await;
        assert_eq!(gate.settle(&[sale(2, 1, "ann/1")], &[]).await, Settled::Ignored);
        assert_eq!(gate.keys().await, [].into(), "{harm}");
    }
}
