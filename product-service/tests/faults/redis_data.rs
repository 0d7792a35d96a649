//! Redis that forgets, or remembers wrong.

use crate::shop::{Shop, gate_key};
use crate::trial::{Plan, trial};

async fn nothing() {}

#[tokio::test(flavor = "multi_thread")]
async fn everything_flushed() {
    let shop = Shop::direct().await;
    let plan = Plan::new("Gate: FLUSHALL", 500, |seen| seen.sum("gate_loads loaded") > 0);
    trial(
        &shop,
        plan,
        async |_| shop.redis::<()>(&["FLUSHALL"]).await,
        nothing,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_deleted() {
    let shop = Shop::direct().await;
    for (name, part) in [
        ("Gate: counter deleted", ""),
        ("Gate: hash deleted", ":gate"),
        ("Gate: sold set deleted", ":sold"),
    ] {
        let plan = Plan::new(name, 500, |seen| seen.sum("gate_loads loaded") > 0);
        let delete = async |product| {
            let deleted: i64 = shop.redis(&["DEL", &gate_key(product, part)]).await;
            assert_eq!(deleted, 1);
        };
        trial(&shop, plan, delete, nothing).await;
    }
}

/// A command that makes a gate wrong; what the reconciler finds then.
type Corruption = (
    &'static str,
    fn(i64) -> Vec<Vec<String>>,
    fn(&crate::evidence::Evidence) -> bool,
);

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

const CORRUPTIONS: [Corruption; 7] = [
    (
        "Gate: counter huge",
        |product| vec![words(["SET", &gate_key(product, ""), "900000000000"])],
        |seen| seen.sum("reconcile_finds drift") > 0,
    ),
    (
        "Gate: counter beyond 64 bits",
        |product| vec![words(["SET", &gate_key(product, ""), "99999999999999999999999"])],
        |seen| seen.finds().contains("drift") || seen.finds().contains("unreadable"),
    ),
    (
        "Gate: counter negative",
        |product| vec![words(["SET", &gate_key(product, ""), "-5"])],
        |seen| seen.sum("reconcile_finds drift") > 0,
    ),
    (
        "Gate: counter of a wrong type",
        |product| {
            // At once: between two commands an instance would find the counter gone, and load it.
            let replace = "redis.call('DEL', KEYS[1]) return redis.call('RPUSH', KEYS[1], '1')";
            vec![words(["EVAL", replace, "1", &gate_key(product, "")])]
        },
        |seen| seen.finds().contains("unreadable") || seen.sum("gate_loads loaded") > 0,
    ),
    (
        "Gate: version huge",
        |product| vec![words(["HSET", &gate_key(product, ":gate"), "v", "8000000000000"])],
        |seen| seen.sum("reconcile_finds ahead") > 0,
    ),
    (
        "Gate: count of sold ids huge",
        |product| vec![words(["HSET", &gate_key(product, ":gate"), "k", "8000000000000"])],
        |seen| seen.sum("reconcile_finds forgetful") > 0,
    ),
    (
        "Gate: a hold that is none",
        |product| vec![words(["HSET", &gate_key(product, ":gate"), "h:DEC-0", "many"])],
        |seen| seen.sum("reconcile_finds unreadable") > 0,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn one_field_corrupted() {
    let shop = Shop::direct().await;
    for (name, commands, proof) in CORRUPTIONS {
        let plan = Plan::new(name, 500, proof);
        let plan = if name == "Gate: counter negative" {
            plan.may_refuse()
        } else {
            plan
        };
        let corrupt = async |product| {
            for command in commands(product) {
                let command: Vec<&str> = command.iter().map(String::as_str).collect();
                shop.redis::<redis::Value>(&command).await;
            }
        };
        trial(&shop, plan, corrupt, nothing).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_forgotten() {
    let shop = Shop::direct().await;
    // No metric of ours tells; Redis does, below.
    let plan = Plan::new("Gate: SCRIPT FLUSH, five times", 300, |_| true);
    let flush = async |_| {
        for _ in 0..5 {
            shop.redis::<()>(&["SCRIPT", "FLUSH", "SYNC"]).await;
            // Told again by whoever calls next: that is the proof.
            shop.wait_for_info("memory", "number_of_cached_scripts", |count| count != "0")
                .await;
        }
    };
    trial(&shop, plan, flush, nothing).await;
}
