//! Redis killed, frozen, absent, or back with what it knew some time ago.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};

use devstack::proxy::{Fault, Proxy};
use devstack::{Redis, RedisOptions, Signal};

use crate::shop::{Opening, Shop, ask_redis, gate_key};
use crate::trial::{Plan, trial};

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_back_empty() {
    let shop = Shop::direct().await;
    let plan = Plan::new("Redis: killed, back empty", 1500, |seen| {
        seen.all_opened() && seen.sum("gate_loads loaded") > 0
    });
    let kill = async |_| shop.stack.redis.kill().unwrap();
    trial(&shop, plan, kill, async || {
        shop.stack.redis.restart().await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_from_the_start() {
    let shop = Shop::open(Opening {
        proxied: true,
        fault: Fault::Refuse,
        ..Opening::default()
    })
    .await;
    // The breakers have opened before the sale; that they close again, and all gates open, is the proof.
    let plan = Plan::new("Redis: refused from the start", 500, |seen| {
        seen.sum("breaker_transitions closed") >= 2 && seen.sum("gate_loads loaded") >= 2
    });
    trial(&shop, plan, async |_| {}, async || shop.set(&Fault::Pass)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_and_awake_again() {
    let shop = Shop::direct().await;
    let plan = Plan::new("Redis: stopped for 10 s", 10_000, |seen| seen.all_opened());
    let freeze = async |_| shop.stack.redis.signal(Signal::STOP).unwrap();
    trial(&shop, plan, freeze, async || {
        shop.stack.redis.signal(Signal::CONT).unwrap();
    })
    .await;
}

/// Redis comes back as it was some time before it died.
#[tokio::test(flavor = "multi_thread")]
async fn killed_and_back_with_an_old_copy() {
    let shop = Shop::direct().await;
    // It may be back before the breakers have noticed: then it is the reconciler who finds what the copy lacks.
    let plan = Plan::new("Redis: killed, back with an old dump", 700, |seen| {
        seen.sum("reconcile_finds missed") > 0
    });
    let save = async |_| {
        shop.redis::<()>(&["SAVE"]).await;
    };
    trial(&shop, plan, save, async || {
        shop.stack.redis.kill().unwrap();
        shop.stack.redis.restart().await.unwrap();
    })
    .await;
}

/// The master is gone, and its place is taken by a replica that it had not told everything.
#[tokio::test(flavor = "multi_thread")]
async fn failed_over_to_a_stale_replica() {
    let shop = Shop::proxied().await;
    let replica = &shop.stack.redis;
    let at_once = ["--repl-diskless-sync-delay", "0"].map(str::to_owned);
    let master = Redis::start(RedisOptions {
        args: at_once.into(),
        ..RedisOptions::default()
    });
    let master = master.await.unwrap();
    let replication = Proxy::start(address(&master)).unwrap();
    let port = replication.port().to_string();
    shop.redis::<()>(&["REPLICAOF", "127.0.0.1", &port]).await;
    shop.wait_for_info("replication", "master_link_status", |status| status == "up")
        .await;
    // Everybody has the master from now on; the audit looks at the replica.
    let lead_to = |redis: &Redis| {
        let proxies = shop.proxies.iter();
        proxies.for_each(|proxy| proxy.retarget(address(redis)));
    };
    lead_to(&master);
    let plan = Plan::new("Redis: failover to a stale replica", 700, |seen| {
        seen.sum("reconcile_finds missed") > 0
    });
    let product = Cell::new(0);
    let fall_behind = async |hot| {
        product.set(hot);
        shop.wait_until_loaded(hot).await;
        replication.set(Fault::Silence);
    };
    let fail_over = async || {
        let version = ["HGET", &gate_key(product.get(), ":gate"), "v"];
        let of_master: i64 = ask_redis(&master.url(), &version).await.unwrap();
        let of_replica: i64 = shop.redis(&version).await;
        assert!(of_replica < of_master, "{of_replica} at the replica, {of_master}");
        master.kill().unwrap();
        shop.redis::<()>(&["REPLICAOF", "NO", "ONE"]).await;
        lead_to(replica);
    };
    trial(&shop, plan, fall_behind, fail_over).await;
}

fn address(redis: &Redis) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, redis.port()))
}

/// Whoever has loaded before has a connection from before. A load that failed on it would leave the lease with nobody.
#[tokio::test(flavor = "multi_thread")]
async fn back_empty_and_loaded_long_before_a_lease_runs_out() {
    let shop = Shop::open(Opening {
        settings: &[("HOTSTOCK__GATE__LEASE_MS", "60000")],
        ..Opening::default()
    })
    .await;
    // The one that is left has created, and so loaded, the product.
    shop.services[1].kill().unwrap();
    let product = shop.product(1000).await;
    for _ in 0..3 {
        shop.wait_until_loaded(product).await;
        shop.stack.redis.kill().unwrap();
        shop.stack.redis.restart().await.unwrap();
    }
    shop.wait_until_loaded(product).await;
}
