//! Keys that lost a part, hold nonsense, or are of a wrong type; scripts that Redis has forgotten.

use devstack::{Redis, RedisOptions};
use product_service::domain::request::Quantity;
use product_service::domain::words::Admission::Held;
use product_service::domain::words::{LoadStep, Settled};
use product_service::gate::reserve::Reservation;

use crate::fixture::{COUNTER, Fixture, GATE, SOLD, request_id, sale};

/// Each way to ask, and each has to notice.
#[derive(Clone, Copy, Debug)]
enum Script {
    Reserve,
    Apply,
    Peek,
    Load,
}

const ALL: [Script; 4] = [Script::Reserve, Script::Apply, Script::Peek, Script::Load];

/// Asks; whatever it is, half a gate must be gone afterwards.
async fn ask(gate: &mut Fixture, script: Script) {
    match script {
        Script::Reserve => {
            let reserved = gate.reserve(&[("z", 1)]).await;
            assert!(reserved.lease.is_some(), "the next request loads: {reserved:?}");
            assert_eq!(gate.hash().await.len(), 1, "nothing but the lease");
        }
        Script::Apply => assert_eq!(gate.settle(&[sale(9, 1, "z")], &["a"]).await, Settled::Ignored),
        Script::Peek => assert_eq!(gate.try_peek().await.unwrap(), None),
        Script::Load => {
            // A lease from before the loss is lost with the rest.
            let here = gate.product;
            gate.product = 7;
            let foreign = gate.lease().await;
            gate.gate.purge(7).await.unwrap();
            gate.product = here;
            assert_eq!(gate.open(&foreign, 1, 1).await, LoadStep::LeaseLost);
        }
    }
}

async fn assert_noticed(gate: &mut Fixture, script: Script, what: &str) {
    ask(gate, script).await;
    assert_eq!(gate.counter().await, None, "{script:?}, {what}");
    assert_eq!(gate.sold().await, [].into(), "{script:?}, {what}");
    let hash = gate.hash().await;
    assert!(
        hash.keys().all(|field| field == "t"),
        "{script:?}, {what}: {hash:?}"
    );
    if hash.is_empty() {
        gate.load(50, 8).await;
        assert_eq!(gate.admission("a", 50).await, Held);
    }
}

async fn in_use() -> Fixture {
    let mut gate = Fixture::loaded(100, 1).await;
    gate.admissions(&[("a", 10), ("b", 1)]).await;
    gate.settle(&[sale(2, 1, "b"), sale(4, 1, "c")], &[]).await;
    gate
}

#[tokio::test]
async fn when_one_of_the_three_keys_is_missing_the_rest_goes_too() {
    for script in ALL {
        for key in [COUNTER, GATE, SOLD] {
            let mut gate = in_use().await;
            let _: i64 = gate.raw(&["DEL", key]).await;
            assert_noticed(&mut gate, script, key).await;
        }
    }
}

#[tokio::test]
async fn when_the_hash_lost_a_field_the_rest_goes_too() {
    for script in ALL {
        for field in ["v", "k"] {
            let mut gate = in_use().await;
            let _: i64 = gate.raw(&["HDEL", GATE, field]).await;
            assert_noticed(&mut gate, script, field).await;
        }
    }
}

#[tokio::test]
async fn what_is_no_number_is_believed_by_nobody() {
    for script in ALL {
        for nonsense in ["many", "", "1.5", "1e9", "nan", " 7", "--7"] {
            let mut gate = in_use().await;
            let _: () = gate.raw(&["SET", COUNTER, nonsense]).await;
            assert_noticed(&mut gate, script, nonsense).await;
            for field in ["v", "k"] {
                let mut gate = in_use().await;
                let _: i64 = gate.raw(&["HSET", GATE, field, nonsense]).await;
                assert_noticed(&mut gate, script, nonsense).await;
            }
        }
    }
}

#[tokio::test]
async fn a_key_of_a_wrong_type_is_an_error_of_its_product_alone() {
    for (key, make) in [
        (COUNTER, ["HSET", COUNTER, "a", "1"].as_slice()),
        (GATE, &["SET", GATE, "1"]),
        (SOLD, &["SET", SOLD, "1"]),
    ] {
        let mut gate = Fixture::loaded(100, 1).await;
        gate.product = 7;
        gate.load(5, 1).await;
        let _: i64 = gate.raw(&["DEL", key]).await;
        let _: redis::Value = gate.raw(make).await;
        let (a, b) = (request_id("a"), request_id("b"));
        let one = Quantity::new(1).unwrap();
        let reservations = [(42, &a), (7, &b), (42, &b)].map(|(product, id)| Reservation {
            product,
            requests: vec![(id, one, None)],
        });
        let answers = gate.gate.reserve(&mut gate.link, &reservations).await.unwrap();
        assert!(answers[0].is_err() && answers[2].is_err(), "{key}: {answers:?}");
        assert_eq!(answers[1].as_ref().unwrap().admissions, [Held], "{key}");
        let peeks = gate.gate.peek(&mut gate.link, &[42, 7]).await.unwrap();
        assert!(peeks[0].is_err(), "{key}: {peeks:?}");
        assert_eq!(peeks[1].as_ref().unwrap().as_ref().unwrap().holds, 1, "{key}");
        assert_eq!(gate.settle(&[sale(2, 1, "b")], &[]).await, Settled::Applied);
        gate.product = 42;
        assert!(gate.try_settle(&[sale(2, 1, "a")], &[]).await.is_err(), "{key}");
        gate.gate.purge(42).await.unwrap();
        gate.load(3, 2).await;
        assert_eq!(gate.admission("a", 3).await, Held, "{key}");
    }
}

#[tokio::test]
async fn scripts_that_redis_has_forgotten_are_told_again_and_nothing_counts_twice() {
    // A server of its own: scripts belong to all databases of one.
    let redis = Redis::start(RedisOptions::default()).await.unwrap();
    let mut gate = Fixture::on(&redis.url(), |_| {}).await;
    gate.load(100, 1).await;
    for round in 0..5 {
        let version = 2 + round;
        let id = format!("r{round}");
        flush_scripts(&mut gate).await;
        assert_eq!(gate.admission(&id, 2).await, Held);
        flush_scripts(&mut gate).await;
        assert_eq!(gate.settle(&[sale(version, 2, &id)], &[]).await, Settled::Applied);
        flush_scripts(&mut gate).await;
        let peek = gate.peek().await;
        assert_eq!(
            (peek.counter, peek.holds, peek.version),
            (98 - 2 * round, 0, version)
        );
    }
    gate.gate.purge(gate.product).await.unwrap();
    flush_scripts(&mut gate).await;
    let lease = gate.lease().await;
    flush_scripts(&mut gate).await;
    assert_eq!(gate.remember(&lease, &["r0"]).await, LoadStep::Remembered);
    flush_scripts(&mut gate).await;
    assert_eq!(gate.open(&lease, 90, 6).await, LoadStep::Loaded);
    assert_eq!(gate.peek().await.counter, 90);
}

async fn flush_scripts(gate: &mut Fixture) {
    let _: () = gate.raw(&["SCRIPT", "FLUSH"]).await;
}
