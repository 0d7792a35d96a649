//! `apply.lua`

use product_service::domain::words::Admission::{Held, Replay, SoldOut};
use product_service::domain::words::Settled;

use crate::fixture::{Fixture, adjustment, give_back, sale};

#[tokio::test]
async fn a_fact_ends_the_hold_it_settles_and_counts_once() {
    let mut gate = Fixture::loaded(10, 1).await;
    gate.admission("a", 3).await;
    for _ in 0..3 {
        assert_eq!(gate.settle(&[sale(2, 3, "a")], &[]).await, Settled::Applied);
        let peek = gate.peek().await;
        assert_eq!((peek.counter, peek.version, peek.holds), (7, 2, 0));
    }
    assert_eq!(gate.sold().await, ["a".to_owned()].into());
}

#[tokio::test]
async fn a_fact_repeated_in_one_batch_counts_once() {
    let mut gate = Fixture::loaded(10, 1).await;
    gate.admission("a", 3).await;
    gate.settle(&[sale(2, 3, "a"), sale(2, 3, "a"), sale(2, 3, "a")], &["a", "a"])
        .await;
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.version, peek.holds), (7, 2, 0));
    assert_eq!((peek.sold, peek.sold_expected), (2, 2));
}

#[tokio::test]
async fn facts_out_of_order_wait_beyond_the_gapless_run_and_count_at_once() {
    let mut gate = Fixture::loaded(10, 1).await;
    gate.settle(&[sale(4, 1, "c")], &[]).await;
    gate.settle(&[sale(5, 1, "d"), sale(7, 1, "f")], &[]).await;
    let peek = gate.peek().await;
    assert_eq!(
        (peek.counter, peek.version, peek.facts, peek.facts_units),
        (7, 1, 3, -3)
    );
    gate.settle(&[sale(3, 1, "b")], &[]).await;
    assert_eq!(gate.peek().await.version, 1, "2 is missing");
    gate.settle(&[sale(2, 1, "a")], &[]).await;
    let peek = gate.peek().await;
    assert_eq!(
        (peek.counter, peek.version, peek.facts, peek.facts_units),
        (5, 5, 1, -1)
    );
    gate.settle(&[sale(6, 1, "e")], &[]).await;
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.version, peek.facts), (4, 7, 0));
    assert!(gate.hash().await.keys().all(|field| !field.starts_with("m:")));
}

#[tokio::test]
async fn a_fact_out_of_order_that_comes_again_counts_once() {
    let mut gate = Fixture::loaded(10, 1).await;
    for _ in 0..3 {
        gate.settle(&[sale(3, 2, "b")], &[]).await;
        gate.settle(&[sale(3, 2, "b"), sale(3, 2, "b")], &[]).await;
    }
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.version, peek.facts), (8, 1, 1));
    gate.settle(&[sale(3, 2, "b"), sale(2, 1, "a"), sale(3, 2, "b")], &[])
        .await;
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.version, peek.facts), (7, 3, 0));
}

#[tokio::test]
async fn one_batch_in_any_order_moves_on_over_all_of_it() {
    let mut gate = Fixture::loaded(10, 1).await;
    let facts = [5, 3, 2, 6, 4].map(|version| sale(version, 1, &format!("r{version}")));
    gate.settle(&facts, &[]).await;
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.version, peek.facts), (5, 6, 0));
}

#[tokio::test]
async fn facts_up_to_the_loaded_version_are_in_the_balance_already() {
    let mut gate = Fixture::loaded(10, 5).await;
    gate.settle(&[sale(3, 1, "a"), sale(5, 1, "b")], &[]).await;
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.version, peek.facts), (10, 5, 0));
    assert_eq!(
        gate.admission("a", 1).await,
        Replay,
        "that it was sold is news all the same"
    );
}

#[tokio::test]
async fn an_old_fact_still_ends_the_hold_of_its_request() {
    let mut gate = Fixture::loaded(10, 5).await;
    gate.admission("a", 4).await;
    gate.settle(&[sale(3, 4, "a")], &[]).await;
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.holds), (10, 0));
}

#[tokio::test]
async fn a_hold_gives_back_what_it_holds_and_the_fact_counts_what_was_sold() {
    let mut gate = Fixture::loaded(10, 1).await;
    gate.admission("a", 4).await;
    // The same key with another quantity: the hold is for 4, the ledger says 1.
    gate.settle(&[sale(2, 1, "a")], &[]).await;
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.holds), (9, 0));
}

#[tokio::test]
async fn a_release_ends_a_hold_once() {
    let mut gate = Fixture::loaded(5, 1).await;
    gate.admission("a", 5).await;
    assert_eq!(gate.admission("b", 1).await, SoldOut);
    assert_eq!(gate.settle(&[], &["a"]).await, Settled::Applied);
    assert_eq!(gate.settle(&[], &["a"]).await, Settled::Applied);
    assert_eq!(gate.settle(&[], &["a", "a"]).await, Settled::Applied);
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.version, peek.holds), (5, 1, 0));
    assert_eq!(gate.admission("b", 1).await, Held);
}

#[tokio::test]
async fn the_release_of_an_unknown_request_is_nothing() {
    let mut gate = Fixture::loaded(5, 1).await;
    gate.admission("a", 2).await;
    let before = (gate.counter().await, gate.hash().await, gate.sold().await);
    assert_eq!(gate.settle(&[], &["b"]).await, Settled::Applied);
    assert_eq!(
        (gate.counter().await, gate.hash().await, gate.sold().await),
        before
    );
}

#[tokio::test]
async fn a_fact_and_a_late_release_of_the_same_request_end_one_hold() {
    let mut gate = Fixture::loaded(5, 1).await;
    gate.admissions(&[("a", 1), ("b", 2)]).await;
    gate.settle(&[sale(2, 1, "a")], &["a", "b"]).await;
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.version, peek.holds), (4, 2, 0));
}

#[tokio::test]
async fn a_restock_adds_and_ends_nothing() {
    let mut gate = Fixture::loaded(1, 1).await;
    gate.admission("a", 1).await;
    gate.settle(&[adjustment(2, 3)], &[]).await;
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.version, peek.holds), (3, 2, 1));
    gate.settle(&[adjustment(3, -2)], &[]).await;
    assert_eq!(gate.peek().await.counter, 1);
    assert_eq!(gate.sold().await, [].into());
}

#[tokio::test]
async fn a_give_back_adds_its_units_and_forgets_the_sale() {
    let mut gate = Fixture::loaded(3, 1).await;
    gate.admission("a", 3).await;
    gate.settle(&[sale(2, 3, "a")], &[]).await;
    for _ in 0..2 {
        gate.settle(&[give_back(3, 3, "a")], &[]).await;
        let peek = gate.peek().await;
        assert_eq!((peek.counter, peek.version, peek.holds), (3, 3, 0));
        assert_eq!((peek.sold, peek.sold_expected), (1, 1));
    }
    assert_eq!(gate.sold().await, [].into());
}

#[tokio::test]
async fn a_give_back_ends_the_hold_of_the_request_it_voids() {
    let mut gate = Fixture::loaded(3, 1).await;
    gate.settle(&[sale(2, 2, "a")], &[]).await;
    gate.settle(&[give_back(3, 2, "a")], &[]).await;
    // A late twin of the voided request is admitted; the void, told once more, ends its hold.
    assert_eq!(gate.admission("a", 2).await, Held);
    gate.settle(&[give_back(3, 2, "a")], &[]).await;
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.version, peek.holds), (3, 3, 0));
}

#[tokio::test]
async fn sale_and_give_back_in_one_batch_or_in_the_wrong_order_balance() {
    for facts in [
        [sale(2, 2, "a"), give_back(3, 2, "a")],
        [give_back(3, 2, "a"), sale(2, 2, "a")],
    ] {
        let mut together = Fixture::loaded(3, 1).await;
        together.admission("a", 2).await;
        together.settle(&facts, &[]).await;
        let mut apart = Fixture::loaded(3, 1).await;
        apart.admission("a", 2).await;
        for fact in &facts {
            apart.settle(std::slice::from_ref(fact), &[]).await;
        }
        for gate in [&mut together, &mut apart] {
            let peek = gate.peek().await;
            assert_eq!((peek.counter, peek.version, peek.holds, peek.facts), (3, 3, 0, 0));
            assert_eq!(peek.sold, peek.sold_expected);
        }
    }
}

#[tokio::test]
async fn without_a_load_under_way_facts_are_ignored_and_leave_nothing_behind() {
    let mut gate = Fixture::empty().await;
    assert_eq!(gate.settle(&[sale(2, 1, "a")], &["b"]).await, Settled::Ignored);
    assert_eq!(gate.settle(&[], &["b"]).await, Settled::Ignored);
    assert_eq!(gate.keys().await, [].into());
}

#[tokio::test]
async fn during_a_load_facts_are_kept() {
    let mut gate = Fixture::empty().await;
    let _lease = gate.lease().await;
    for _ in 0..2 {
        let settled = gate.settle(&[sale(2, 1, "a"), adjustment(3, 4)], &["b"]).await;
        assert_eq!(settled, Settled::Kept);
    }
    let hash = gate.hash().await;
    assert_eq!((hash["m:2"].as_str(), hash["m:3"].as_str()), ("-1", "4"));
    assert_eq!(hash.len(), 3, "those and the lease: {hash:?}");
    assert_eq!(gate.counter().await, None);
    assert_eq!(gate.settle(&[], &["b"]).await, Settled::Kept);
    assert_eq!(gate.settle(&[], &[]).await, Settled::Kept);
}

#[tokio::test]
async fn nothing_to_tell_changes_nothing() {
    let mut gate = Fixture::loaded(5, 1).await;
    let before = (gate.counter().await, gate.hash().await, gate.sold().await);
    assert_eq!(gate.settle(&[], &[]).await, Settled::Applied);
    assert_eq!(
        (gate.counter().await, gate.hash().await, gate.sold().await),
        before
    );
}
