//! `load.lua` and `remember.lua`

use std::time::Duration;

use devstack::wait_for;
use product_service::domain::words::Admission::{Cold, Held, Replay, SoldOut};
use product_service::domain::words::{LoadStep, Settled};
use product_service::gate::load::Leased;

use crate::fixture::{Fixture, adjustment, give_back, sale};

#[tokio::test]
async fn a_load_opens_the_gate_and_ends_the_lease() {
    let mut gate = Fixture::empty().await;
    let lease = gate.lease().await;
    assert!(matches!(gate.ask_lease().await, Leased::Theirs));
    assert_eq!(gate.open(&lease, 7, 3).await, LoadStep::Loaded);
    assert!(matches!(gate.ask_lease().await, Leased::Loaded));
    assert_eq!(gate.counter().await.as_deref(), Some("7"));
    let hash = gate.hash().await;
    assert_eq!(
        (hash["v"].as_str(), hash["k"].as_str(), hash.len()),
        ("3", "1", 4)
    );
}

#[tokio::test]
async fn a_product_without_stock_is_loaded_and_sold_out() {
    let mut gate = Fixture::loaded(0, 0).await;
    assert_eq!(gate.admission("a", 1).await, SoldOut);
}

#[tokio::test]
async fn a_loaded_product_is_never_overwritten() {
    let mut gate = Fixture::empty().await;
    let lease = gate.lease().await;
    assert_eq!(gate.open(&lease, 7, 3).await, LoadStep::Loaded);
    gate.admission("a", 2).await;
    let before = (gate.counter().await, gate.hash().await);
    assert_eq!(gate.open(&lease, 100, 9).await, LoadStep::AlreadyLoaded);
    assert_eq!(gate.remember(&lease, &["x"]).await, LoadStep::LeaseLost);
    assert_eq!((gate.counter().await, gate.hash().await), before);
    assert_eq!(gate.sold().await, [].into());
}

#[tokio::test]
async fn without_a_lease_nothing_loads() {
    let mut gate = Fixture::empty().await;
    let lease = gate.lease().await;
    gate.gate.purge(gate.product).await.unwrap();
    assert_eq!(gate.open(&lease, 7, 3).await, LoadStep::LeaseLost);
    assert_eq!(gate.remember(&lease, &["x"]).await, LoadStep::LeaseLost);
    assert_eq!(gate.keys().await, [].into());
}

#[tokio::test]
async fn with_the_lease_of_somebody_else_nothing_loads() {
    let mut gate = Fixture::empty().await;
    let old = gate.lease().await;
    gate.gate.purge(gate.product).await.unwrap();
    let new = gate.lease().await;
    assert_eq!(gate.remember(&old, &["x"]).await, LoadStep::LeaseLost);
    assert_eq!(gate.open(&old, 9, 9).await, LoadStep::LeaseLost);
    assert_eq!(gate.sold().await, [].into());
    assert_eq!(gate.open(&new, 7, 3).await, LoadStep::Loaded);
}

#[tokio::test]
async fn a_lease_past_its_deadline_is_none_even_when_nobody_took_it() {
    let mut gate = Fixture::with(|config| config.lease_ms = 40).await;
    let lease = gate.lease().await;
    let deadline: u64 = gate.hash().await["t"]
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    redis_clock_past(&mut gate, deadline).await;
    // Facts that come now are not kept, so this load would miss them.
    assert_eq!(gate.settle(&[sale(4, 1, "a")], &[]).await, Settled::Ignored);
    assert_eq!(gate.remember(&lease, &["x"]).await, LoadStep::LeaseLost);
    assert_eq!(gate.open(&lease, 7, 3).await, LoadStep::LeaseLost);
    assert_eq!(gate.counter().await, None);
}

#[tokio::test]
async fn remembering_renews_the_lease() {
    let mut gate = Fixture::with(|config| config.lease_ms = 1_000).await;
    let lease = gate.lease().await;
    let first: u64 = gate.hash().await["t"]
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    redis_clock_past(&mut gate, first - 990).await;
    assert_eq!(gate.remember(&lease, &[]).await, LoadStep::Remembered);
    let renewed: u64 = gate.hash().await["t"]
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(renewed > first, "{renewed} {first}");
}

#[tokio::test]
async fn a_lease_that_ran_out_does_not_keep_the_next_from_loading() {
    let mut gate = Fixture::with(|config| config.lease_ms = 40).await;
    let dead = gate.lease().await;
    gate.settle(&[sale(4, 1, "a")], &[]).await; // kept, for a load that will not come
    let deadline: u64 = gate.hash().await["t"]
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    redis_clock_past(&mut gate, deadline).await;
    let next = gate.lease().await;
    assert_eq!(gate.open(&dead, 99, 99).await, LoadStep::LeaseLost);
    // Whoever comes later reads what was kept too.
    assert_eq!(gate.open(&next, 7, 4).await, LoadStep::Loaded);
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.version, peek.facts), (7, 4, 0));
}

#[tokio::test]
async fn remembered_ids_are_replays_in_as_many_chunks_as_it_takes() {
    let mut gate = Fixture::empty().await;
    let lease = gate.lease().await;
    assert_eq!(gate.remember(&lease, &["a", "b"]).await, LoadStep::Remembered);
    assert_eq!(gate.remember(&lease, &[]).await, LoadStep::Remembered);
    assert_eq!(gate.remember(&lease, &["b", "c"]).await, LoadStep::Remembered);
    assert_eq!(gate.reserve(&[("a", 1)]).await.admissions, [Cold], "not open yet");
    assert_eq!(gate.open(&lease, 0, 4).await, LoadStep::Loaded);
    assert_eq!(
        gate.admissions(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)]).await,
        [Replay, Replay, Replay, SoldOut]
    );
    let peek = gate.peek().await;
    assert_eq!((peek.sold, peek.sold_expected), (4, 4));
}

#[tokio::test]
async fn a_chunk_of_two_thousand_of_the_longest_ids_fits() {
    let mut gate = Fixture::empty().await;
    let lease = gate.lease().await;
    let ids: Vec<String> = (0..2000).map(|i| format!("{i:0>128}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(gate.remember(&lease, &ids).await, LoadStep::Remembered);
    assert_eq!(gate.open(&lease, 0, 2001).await, LoadStep::Loaded);
    assert_eq!(gate.peek().await.sold, 2001);
}

#[tokio::test]
async fn facts_that_arrive_while_the_balance_is_read_count_once() {
    let mut gate = Fixture::empty().await;
    let lease = gate.lease().await;
    // The balance will be read as 10 at version 5. 4 and 5 are in it; 6, 7 and 9 are not.
    let early = [sale(4, 1, "d"), sale(6, 2, "f"), adjustment(9, 100)];
    assert_eq!(gate.settle(&early, &[]).await, Settled::Kept);
    assert_eq!(gate.remember(&lease, &["d"]).await, LoadStep::Remembered);
    let late = [sale(7, 3, "g"), sale(5, 1, "e"), sale(6, 2, "f")];
    assert_eq!(gate.settle(&late, &[]).await, Settled::Kept);
    assert_eq!(gate.open(&lease, 10, 5).await, LoadStep::Loaded);
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.version), (10 - 2 - 3 + 100, 7));
    assert_eq!((peek.facts, peek.facts_units), (1, 100));
    assert_eq!(gate.sold().await, ["d", "e", "f", "g"].map(String::from).into());
    // And once more, as an instance that is late would: nothing changes but the gap that closes.
    let again = [
        sale(8, 1, "h"),
        sale(6, 2, "f"),
        sale(7, 3, "g"),
        adjustment(9, 100),
    ];
    assert_eq!(gate.settle(&again, &[]).await, Settled::Applied);
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.version, peek.facts), (104, 9, 0));
}

#[tokio::test]
async fn a_void_that_arrives_during_the_load_leaves_no_drift() {
    let mut gate = Fixture::empty().await;
    let lease = gate.lease().await;
    gate.settle(&[sale(2, 1, "a"), give_back(3, 1, "a")], &[]).await;
    assert_eq!(gate.open(&lease, 4, 2).await, LoadStep::Loaded);
    let peek = gate.peek().await;
    assert_eq!(
        (peek.counter, peek.version, peek.sold, peek.sold_expected),
        (5, 3, 1, 1)
    );
    assert_eq!(gate.admission("a", 1).await, Held);
}

#[tokio::test]
async fn many_kept_facts_are_counted_by_one_load() {
    let mut gate = Fixture::empty().await;
    let lease = gate.lease().await;
    let facts: Vec<_> = (2..=10_001).map(|version| adjustment(version, 1)).collect();
    for chunk in facts.chunks(500) {
        assert_eq!(gate.settle(chunk, &[]).await, Settled::Kept);
    }
    assert_eq!(gate.open(&lease, 1_000, 1_001).await, LoadStep::Loaded);
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.version, peek.facts), (10_000, 10_001, 0));
    assert_eq!(gate.hash().await.len(), 4);
}

/// Redis' own clock is the one that leases are measured with.
async fn redis_clock_past(gate: &mut Fixture, at_ms: u64) {
    let gate = tokio::sync::Mutex::new(gate);
    wait_for("Redis' clock", Duration::from_secs(5), || async {
        let (s, us): (u64, u64) = gate.lock().await.raw(&["TIME"]).await;
        let now_ms = s * 1000 + us / 1000;
        if now_ms > at_ms {
            Ok(())
        } else {
            Err(format!("{} ms to go", at_ms - now_ms))
        }
    })
    .await
    .unwrap();
}
