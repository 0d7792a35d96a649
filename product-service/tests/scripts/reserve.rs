//! `reserve.lua`

use devstack::wait_for;
use product_service::domain::words::Admission::{Cold, Held, Replay, SoldOut};
use std::time::Duration;

use crate::fixture::{Fixture, SOLD, adjustment, give_back, sale};

#[tokio::test]
async fn who_comes_first_to_a_product_that_is_not_loaded_loads_it_and_the_others_go_to_the_database() {
    let mut gate = Fixture::empty().await;
    let first = gate.reserve(&[("a", 1), ("b", 1)]).await;
    assert!(first.lease.is_some() && !first.loaded, "{first:?}");
    assert_eq!(first.admissions, [Cold, Cold]);
    let second = gate.reserve(&[("c", 1)]).await;
    assert!(second.lease.is_none() && !second.loaded, "{second:?}");
    assert_eq!(second.admissions, [Cold]);
    assert_eq!(gate.counter().await, None);
}

#[tokio::test]
async fn a_lease_that_ran_out_goes_to_the_next_who_asks() {
    let mut gate = Fixture::with(|config| config.lease_ms = 60).await;
    assert!(gate.reserve(&[("a", 1)]).await.lease.is_some());
    let gate = tokio::sync::Mutex::new(gate);
    wait_for("the lease to run out", Duration::from_secs(5), || async {
        let reserved = gate.lock().await.reserve(&[("b", 1)]).await;
        reserved.lease.ok_or_else(|| String::from("cold"))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn units_are_held_until_fewer_are_left_than_asked_for() {
    let mut gate = Fixture::loaded(3, 1).await;
    assert_eq!(gate.admission("a", 2).await, Held);
    assert_eq!(gate.admission("b", 2).await, SoldOut);
    assert_eq!(gate.admission("c", 1).await, Held);
    assert_eq!(gate.admission("d", 1).await, SoldOut);
    assert_eq!(gate.counter().await.as_deref(), Some("0"));
    let peek = gate.peek().await;
    assert_eq!((peek.holds, peek.held_units), (2, 3));
}

#[tokio::test]
async fn a_batch_is_decided_in_order_of_arrival() {
    let mut gate = Fixture::loaded(6, 1).await;
    let batch = [("a", 3), ("b", 4), ("c", 2), ("d", 2), ("e", 1), ("f", 1)];
    let reserved = gate.reserve(&batch).await;
    assert_eq!(reserved.admissions, [Held, SoldOut, Held, SoldOut, Held, SoldOut]);
    assert_eq!(reserved.counter, 0);
    assert_eq!(gate.counter().await.as_deref(), Some("0"));
    assert_eq!(gate.peek().await.held_units, 6);
}

#[tokio::test]
async fn a_request_id_holds_once_however_often_it_asks() {
    let mut gate = Fixture::loaded(10, 1).await;
    for _ in 0..3 {
        assert_eq!(gate.admission("a", 4).await, Held);
    }
    assert_eq!(gate.reserve(&[("a", 4)]).await.counter, 6);
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.holds, peek.held_units), (6, 1, 4));
}

#[tokio::test]
async fn twins_in_one_batch_hold_once() {
    let mut gate = Fixture::loaded(3, 1).await;
    let batch = [
        ("a", 2),
        ("a", 2),
        ("b", 1),
        ("a", 2),
        ("b", 1),
        ("c", 1),
        ("c", 1),
    ];
    assert_eq!(
        gate.admissions(&batch).await,
        [Held, Held, Held, Held, Held, SoldOut, SoldOut]
    );
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.holds, peek.held_units), (0, 2, 3));
}

#[tokio::test]
async fn a_hold_is_held_again_even_when_nothing_is_left() {
    let mut gate = Fixture::loaded(1, 1).await;
    assert_eq!(gate.admission("a", 1).await, Held);
    assert_eq!(
        gate.admissions(&[("b", 1), ("a", 1)]).await,
        [SoldOut, Held],
        "the database has to answer a, whatever becomes of it"
    );
}

#[tokio::test]
async fn who_got_stock_is_never_told_sold_out_and_takes_no_second_hold() {
    let mut gate = Fixture::loaded(2, 1).await;
    gate.admissions(&[("a", 1), ("b", 1)]).await;
    gate.settle(&[sale(2, 1, "a"), sale(3, 1, "b")], &[]).await;
    assert_eq!(
        gate.admissions(&[("a", 1), ("c", 1), ("b", 1), ("a", 1)]).await,
        [Replay, SoldOut, Replay, Replay]
    );
    gate.settle(&[adjustment(4, 5)], &[]).await;
    assert_eq!(
        gate.admission("a", 1).await,
        Replay,
        "not even when there is stock"
    );
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.holds), (5, 0));
}

#[tokio::test]
async fn a_gate_that_lost_sold_ids_sends_on_instead_of_refusing() {
    let mut gate = Fixture::loaded(2, 1).await;
    gate.settle(&[sale(2, 1, "a"), sale(3, 1, "b")], &[]).await;
    assert_eq!(gate.admission("a", 1).await, Replay);
    let _: i64 = gate.raw(&["SREM", SOLD, "a"]).await;
    assert_eq!(
        gate.admissions(&[("a", 1), ("b", 1), ("c", 1)]).await,
        [Cold, Replay, Cold],
        "it cannot know who of a and c was sold to"
    );
    // What it has, it may still promise.
    gate.settle(&[adjustment(4, 1)], &[]).await;
    assert_eq!(gate.admissions(&[("c", 1), ("d", 1)]).await, [Held, Cold]);
}

#[tokio::test]
async fn a_voided_id_is_no_replay_any_more() {
    let mut gate = Fixture::loaded(1, 1).await;
    gate.settle(&[sale(2, 1, "a")], &[]).await;
    assert_eq!(gate.admission("a", 1).await, Replay);
    gate.settle(&[give_back(3, 1, "a")], &[]).await;
    // Held, and refused by the tombstone in the database.
    assert_eq!(gate.admission("a", 1).await, Held);
    assert_eq!(gate.admission("b", 1).await, SoldOut);
}

#[tokio::test]
async fn a_negative_counter_refuses_and_recovers() {
    let mut gate = Fixture::loaded(2, 1).await;
    gate.admissions(&[("a", 1), ("b", 1)]).await;
    // Sold past the gate while both units are held: legal, and more holds than stock for a moment.
    gate.settle(&[sale(2, 2, "z")], &[]).await;
    assert_eq!(gate.counter().await.as_deref(), Some("-2"));
    assert_eq!(gate.admission("c", 1).await, SoldOut);
    assert_eq!(gate.reserve(&[("c", 1)]).await.counter, -2);
    gate.settle(&[], &["a", "b"]).await;
    assert_eq!(gate.counter().await.as_deref(), Some("0"));
}

#[tokio::test]
async fn an_id_with_any_visible_character_is_one_id() {
    let mut gate = Fixture::loaded(10, 1).await;
    let odd = ["v", "k", "t", "m:1", "h:a", "\"'{}[]:*?\\", "-1", "1e5", "%s%d"];
    for id in odd {
        assert_eq!(gate.admission(id, 1).await, Held, "{id}");
        assert_eq!(gate.admission(id, 1).await, Held, "{id}");
    }
    let peek = gate.peek().await;
    assert_eq!((peek.holds, peek.version, peek.facts), (9, 1, 0));
    let facts: Vec<_> = (2..).zip(odd).map(|(version, id)| sale(version, 1, id)).collect();
    gate.settle(&facts, &[]).await;
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.version, peek.holds), (1, 10, 0));
    for id in odd {
        assert_eq!(gate.admission(id, 1).await, Replay, "{id}");
    }
}

#[tokio::test]
async fn the_largest_batch_that_can_be_configured_fits() {
    let mut gate = Fixture::loaded(5000, 1).await;
    let ids: Vec<String> = (0..2000).map(|i| format!("DEC-{i:0>120}")).collect();
    let batch: Vec<(&str, i64)> = ids.iter().map(|id| (id.as_str(), 1)).collect();
    assert!(gate.admissions(&batch).await.iter().all(|word| *word == Held));
    let facts: Vec<_> = (2..)
        .zip(&ids)
        .map(|(version, id)| sale(version, 1, id))
        .collect();
    // Every second one first: all of them stay apart from the gapless run.
    let odd: Vec<_> = facts
        .iter()
        .filter(|fact| fact.version % 2 == 1)
        .cloned()
        .collect();
    gate.settle(&odd, &[]).await;
    let peek = gate.peek().await;
    assert_eq!((peek.version, peek.facts, peek.holds), (1, 1000, 1000));
    gate.settle(&facts, &[]).await;
    let peek = gate.peek().await;
    assert_eq!(
        (peek.counter, peek.version, peek.facts, peek.holds),
        (3000, 2001, 0, 0)
    );
    let releases: Vec<&str> = ids.iter().map(String::as_str).collect();
    gate.settle(&[], &releases).await;
    assert_eq!(gate.peek().await.counter, 3000);
}
