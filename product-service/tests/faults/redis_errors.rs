//! Redis that answers every question with an error of its own.

use std::time::Duration;

use devstack::wait_for;

use crate::shop::{Opening, Shop, ask_redis};
use crate::trial::{Plan, trial};

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory_or_read_only() {
    let shop = Shop::direct().await;
    for (name, refuse, relent) in [
        (
            "Redis: OOM",
            ["CONFIG", "SET", "maxmemory", "1"].as_slice(),
            ["CONFIG", "SET", "maxmemory", "0"].as_slice(),
        ),
        (
            "Redis: READONLY",
            &["REPLICAOF", "127.0.0.1", "1"],
            &["REPLICAOF", "NO", "ONE"],
        ),
    ] {
        let plan = Plan::new(name, 1000, |seen| seen.all_opened());
        let refuse = async |_| shop.redis::<()>(refuse).await;
        trial(&shop, plan, refuse, async || shop.redis::<()>(relent).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_with_a_script_that_does_not_end() {
    let shop = Shop::open(Opening {
        redis_args: &["--busy-reply-threshold", "300"],
        ..Opening::default()
    })
    .await;
    let url = shop.stack.redis_url.clone();
    let plan = Plan::new("Redis: BUSY", 1000, |seen| seen.all_opened());
    let endless = async |_| {
        tokio::spawn(async move {
            // Answered, with an error, when it is killed.
            ask_redis::<()>(&url, &["EVAL", "while true do end", "0"])
                .await
                .ok();
        });
    };
    let kill = async || {
        wait_for("the script's end", Duration::from_secs(5), || async {
            let killed = ask_redis::<()>(&shop.stack.redis_url, &["SCRIPT", "KILL"]).await;
            killed.map_err(|error| error.to_string())
        })
        .await
        .unwrap();
    };
    trial(&shop, plan, endless, kill).await;
}

/// A Redis that comes back with a large copy answers `LOADING` for a while.
#[tokio::test(flavor = "multi_thread")]
async fn loading_its_copy() {
    const KEYS: usize = 1500;
    let shop = Shop::open(Opening {
        // Microseconds for each key: so it takes a second and a half.
        redis_args: &[
            "--key-load-delay",
            "1000",
            "--loading-process-events-interval-bytes",
            "1024",
        ],
        ..Opening::default()
    })
    .await;
    let fill = format!("for i = 1, {KEYS} do redis.call('SET', 'other:' .. i, i) end");
    shop.redis::<()>(&["EVAL", &fill, "0"]).await;
    let plan = Plan::new("Redis: LOADING", 1000, |seen| seen.all_opened());
    let restart = async |_| {
        shop.redis::<()>(&["SAVE"]).await;
        shop.stack.redis.kill().unwrap();
        shop.stack.redis.restart().await.unwrap();
        let refused = ask_redis::<()>(&shop.stack.redis_url, &["GET", "other:1"]).await;
        assert_eq!(refused.unwrap_err().code(), Some("LOADING"));
    };
    let loaded = async || {
        shop.wait_for_info("persistence", "loading", |loading| loading == "0")
            .await
    };
    trial(&shop, plan, restart, loaded).await;
}
