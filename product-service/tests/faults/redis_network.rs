//! A way to Redis that fails, for both instances or for one of them.

use std::time::Duration;

use devstack::proxy::Fault;

use crate::evidence::Evidence;
use crate::shop::{Shop, ask_redis};
use crate::trial::{Plan, trial};

fn hit_and_opened(seen: &Evidence) -> bool {
    seen.hits > 0 && seen.all_opened()
}

/// One fault of the proxies of both instances, for a second.
async fn both(name: &'static str, fault: Fault) {
    let shop = Shop::proxied().await;
    let plan = Plan::new(name, 1000, hit_and_opened);
    let harm = async |_| shop.set(&fault);
    trial(&shop, plan, harm, async || shop.set(&Fault::Pass)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_lost_after_execution() {
    both("Redis: replies dropped after execution", Fault::DropReplies).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn never_answers() {
    both("Redis: never answers", Fault::Silence).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_reset() {
    both("Redis: connections reset", Fault::Reset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_cut_off() {
    both("Redis: replies cut after 60 bytes", Fault::CutAfter(60)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_then_far_too_slow() {
    let shop = Shop::proxied().await;
    let plan = Plan::new("Redis: latency 5 ms, then 200 ms", 1000, hit_and_opened);
    let harm = async |_| {
        shop.set(&Fault::Latency(3..=7));
        tokio::time::sleep(Duration::from_millis(500)).await;
        shop.set(&Fault::Latency(180..=220));
    };
    trial(&shop, plan, harm, async || shop.set(&Fault::Pass)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn up_and_down_all_the_time() {
    let shop = Shop::proxied().await;
    let plan = Plan::new("Redis: flapping, 200 ms up and down, for 30 s", 0, hit_and_opened);
    let flap = async |_| {
        for turn in 0..150 {
            shop.set(if turn % 2 == 0 {
                &Fault::Refuse
            } else {
                &Fault::Pass
            });
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    trial(&shop, plan, flap, async || shop.set(&Fault::Pass)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_reach_for_one_instance_only() {
    let shop = Shop::proxied().await;
    // The other instance goes on asking the gate all the time, about the sales of the first one too.
    let plan = Plan::new("Redis: out of reach for one instance", 1500, |seen| {
        seen.instances[0].contains_key(crate::evidence::OPENED)
            && seen.instances[1].get("gate_admissions held") > seen.instances[0].get("gate_admissions held")
    });
    let harm = async |_| shop.proxies[0].set(Fault::Refuse);
    trial(&shop, plan, harm, async || shop.proxies[0].set(Fault::Pass)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_changed() {
    let shop = Shop::direct().await;
    let plan = Plan::new("Redis: wrong password at run time", 1000, |seen| {
        seen.all_opened()
    });
    let change = async |_| {
        shop.redis::<()>(&["CONFIG", "SET", "requirepass", "other"]).await;
        let url = format!("redis://:other@127.0.0.1:{}/0", shop.stack.redis.port());
        ask_redis::<()>(&url, &["CLIENT", "KILL", "TYPE", "normal"])
            .await
            .unwrap();
    };
    let back = async || {
        let url = format!("redis://:other@127.0.0.1:{}/0", shop.stack.redis.port());
        ask_redis::<()>(&url, &["CONFIG", "SET", "requirepass", ""])
            .await
            .unwrap();
    };
    trial(&shop, plan, change, back).await;
}
