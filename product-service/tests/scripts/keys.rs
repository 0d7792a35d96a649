//! What the keys are called and hold, how long they live, and how exact the numbers in them are.

use product_service::domain::words::Admission::{Held, Replay};

use crate::fixture::{BUYERS, COUNTER, Fixture, GATE, SOLD, adjustment, give_back, sale};

#[tokio::test]
async fn a_loaded_product_has_exactly_three_keys_under_one_hash_tag() {
    let mut gate = Fixture::loaded(100, 1).await;
    assert_eq!(
        gate.keys().await,
        ["stock:{42}", "stock:{42}:gate", "stock:{42}:sold"]
            .map(String::from)
            .into()
    );
    for (key, kind) in [(COUNTER, "string"), (GATE, "hash"), (SOLD, "set")] {
        assert_eq!(gate.raw::<String>(&["TYPE", key]).await, kind);
    }
}

#[tokio::test]
async fn get_shows_what_may_still_be_promised() {
    let mut gate = Fixture::loaded(100, 1).await;
    assert_eq!(gate.counter().await.as_deref(), Some("100"));
    gate.admission("a", 40).await;
    assert_eq!(gate.counter().await.as_deref(), Some("60"));
    gate.settle(&[sale(2, 40, "a")], &[]).await;
    assert_eq!(gate.counter().await.as_deref(), Some("60"));
    gate.settle(&[give_back(3, 40, "a")], &[]).await;
    assert_eq!(gate.counter().await.as_deref(), Some("100"));
}

#[tokio::test]
async fn the_hash_holds_what_its_readers_expect() {
    let mut gate = Fixture::loaded(100, 1).await;
    gate.admission("DEC-7", 40).await;
    gate.settle(&[sale(3, 2, "DEC-9")], &[]).await;
    let mut hash = gate.hash().await;
    let hold = hash.remove("h:DEC-7").unwrap();
    let (units, deadline) = hold.split_once(':').unwrap();
    let (s, _): (u64, u64) = gate.raw(&["TIME"]).await;
    let ahead_ms = deadline.parse::<u64>().unwrap() - s * 1000;
    assert_eq!(units, "40");
    assert!((50_000..=61_000).contains(&ahead_ms), "{ahead_ms}");
    assert!(hash.remove("about").is_some_and(|text| text.len() > 64));
    let expected = [("k", "2"), ("m:3", "-2"), ("r", ":::0"), ("v", "1")];
    let expected = expected.map(|(field, value)| (field.into(), value.into()));
    assert_eq!(hash, expected.into());
    let members: std::collections::BTreeSet<String> = gate.raw(&["SMEMBERS", SOLD]).await;
    assert_eq!(members, ["", "DEC-9"].map(String::from).into());
}

#[tokio::test]
async fn what_a_load_that_died_leaves_ends_by_itself() {
    let mut gate = Fixture::with(|config| config.lease_ms = 1_000).await;
    let lease = gate.lease().await;
    gate.remember_owned(&lease, &["a"], &[("ann", 1)]).await;
    for key in [GATE, SOLD, BUYERS] {
        let life_ms: i64 = gate.raw(&["PTTL", key]).await;
        assert!((50_000..=100_000).contains(&life_ms), "{key}: {life_ms}");
    }
}

#[tokio::test]
async fn all_keys_of_a_load_end_together_and_nothing_prolongs_one_of_them() {
    let mut gate = Fixture::with(|config| config.key_ttl_s = 1_000).await;
    gate.load(100, 1).await;
    let ends = ends(&mut gate).await;
    assert!(ends.iter().all(|end| *end == ends[0] && *end > 0), "{ends:?}");
    let (s, _): (i64, i64) = gate.raw(&["TIME"]).await;
    let ahead_ms = ends[0] - s * 1000;
    assert!((900_000..=1_001_000).contains(&ahead_ms), "{ahead_ms}");
    gate.admissions(&[("a", 1), ("b", 1), ("c", 1)]).await;
    gate.settle(&[sale(2, 1, "a"), sale(4, 1, "c")], &["b"]).await;
    gate.settle(&[sale(3, 1, "x"), give_back(5, 1, "a")], &[]).await;
    gate.peek().await;
    assert_eq!(self::ends(&mut gate).await, ends);
}

#[tokio::test]
async fn a_product_whose_keys_ran_out_is_not_loaded() {
    let mut gate = Fixture::loaded(100, 1).await;
    gate.admission("a", 1).await;
    for key in [COUNTER, GATE, SOLD] {
        let _: i64 = gate.raw(&["PEXPIRE", key, "0"]).await;
    }
    assert!(gate.reserve(&[("a", 1)]).await.lease.is_some());
}

#[tokio::test]
async fn purging_leaves_nothing_and_may_be_repeated() {
    let mut gate = Fixture::loaded(100, 1).await;
    gate.admission("a", 1).await;
    for _ in 0..2 {
        gate.gate.purge(gate.product).await.unwrap();
        assert_eq!(gate.keys().await, [].into());
    }
    gate.load(99, 2).await;
    assert_eq!(gate.peek().await.holds, 0);
}

#[tokio::test]
async fn another_product_is_another_gate() {
    let mut gate = Fixture::loaded(5, 1).await;
    gate.product = 4;
    gate.load(7, 1).await;
    assert_eq!(gate.admission("a", 6).await, Held);
    assert_eq!(gate.counter().await.as_deref(), Some("5"));
    gate.gate.purge(4).await.unwrap();
    assert_eq!(gate.counter().await.as_deref(), Some("5"));
}

#[tokio::test]
async fn numbers_up_to_a_trillion_stay_exact() {
    const MOST: i64 = 1_000_000_000_000;
    let mut gate = Fixture::loaded(MOST - 1, MOST).await;
    assert_eq!(gate.counter().await.as_deref(), Some("999999999999"));
    let reserved = gate.reserve(&[("a", 1), ("b", 1_000_000)]).await;
    assert_eq!(reserved.counter, 999_998_999_998);
    assert_eq!(gate.counter().await.as_deref(), Some("999998999998"));
    // Out of order and in order, both far up.
    gate.settle(&[sale(MOST + 2, 1_000_000, "b")], &[]).await;
    assert_eq!(gate.hash().await["m:1000000000002"], "-1000000");
    gate.settle(&[sale(MOST + 1, 1, "a")], &[]).await;
    let hash = gate.hash().await;
    assert_eq!(hash["v"], "1000000000002");
    assert!(!hash.contains_key("m:1000000000002"));
    gate.settle(&[adjustment(MOST + 3, -999_998_999_998)], &[]).await;
    assert_eq!(gate.counter().await.as_deref(), Some("0"));
    gate.settle(&[adjustment(MOST + 5, MOST)], &[]).await;
    assert_eq!(gate.hash().await["m:1000000000005"], "1000000000000");
    let peek = gate.peek().await;
    assert_eq!((peek.counter, peek.version), (MOST, MOST + 3));
    assert_eq!((peek.facts, peek.facts_units), (1, MOST));
    assert_eq!(gate.admission("a", 1).await, Replay);
}

#[tokio::test]
async fn a_trillion_kept_during_a_load_stays_exact() {
    const MOST: i64 = 1_000_000_000_000;
    let mut gate = Fixture::empty().await;
    let lease = gate.lease().await;
    gate.settle(&[adjustment(MOST + 1, -1)], &[]).await;
    gate.open(&lease, MOST, MOST).await;
    assert_eq!(gate.counter().await.as_deref(), Some("999999999999"));
    assert_eq!(gate.hash().await["v"], "1000000000001");
}

/// When each key ends, ms.
async fn ends(gate: &mut Fixture) -> Vec<i64> {
    let mut ends = Vec::new();
    for key in [COUNTER, GATE, SOLD] {
        ends.push(gate.raw(&["PEXPIRETIME", key]).await);
    }
    ends
}

#[tokio::test]
async fn a_gate_looks_its_holds_up_and_never_searches_for_them() {
    let mut gate = Fixture::loaded(100, 1).await;
    let encoding: String = gate.raw(&["OBJECT", "ENCODING", GATE]).await;
    assert_eq!(encoding, "hashtable");
}
