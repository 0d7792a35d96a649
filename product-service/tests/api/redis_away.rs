//! Redis away, slow, emptied or lying: sales go on through the database, and nobody sees a fault because of it.

use std::time::{Duration, Instant};

use anyhow::Result;
use devstack::Signal;
use devstack::ports::free_port;
use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::Value;

use crate::fixture::{REDIS_FIRST, Reply, Shop, TestResult, new_order};

/// So many orders of one unit each, all at once. Returns how many were sold; all others were told there are no more.
async fn rush(shop: &Shop, product: i64, orders: usize) -> Result<usize> {
    let replies = try_join_all((0..orders).map(|_| shop.take(product, new_order(), 1))).await?;
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        reply.refused(400, "INSUFFICIENT_STOCK");
    }
    Ok(replies.iter().filter(|reply| reply.status == 200).count())
}

/// The key that holds one of the three parts of a product's gate.
fn key(product: i64, part: &str) -> String {
    format!("stock:{{{product}}}{part}")
}

const PARTS: [&str; 3] = ["", ":gate", ":sold"];

#[tokio::test]
async fn without_redis_everything_goes_through_the_database() -> TestResult {
    let shop = Shop::with_redis_at(&format!("redis://127.0.0.1:{}", free_port()?)).await?;
    let product = shop.product(REDIS_FIRST, 20).await?;
    let order = new_order();
    assert_eq!(shop.take(product, order, 5).await?.remaining(), 15);
    assert!(shop.take(product, order, 5).await?.is_replay());
    assert_eq!(rush(&shop, product, 30).await?, 15);
    assert!(
        shop.take(product, order, 5).await?.is_replay(),
        "replayed after sold-out"
    );
    assert_eq!(shop.give_back(product, order, 5).await?.remaining(), 5);
    assert_eq!(
        shop.adjust(product, &format!("ADJ-{order}"), 1)
            .await?
            .remaining(),
        6
    );
    for verb in ["unload", "load"] {
        let reply = shop.gate(product, verb).await?;
        assert_eq!(
            (reply.status, &reply.body["gate"]),
            (200, &Value::Null),
            "{reply:?}"
        );
    }
    assert_eq!(shop.take(product, new_order(), 6).await?.remaining(), 0);
    let audit = Reply::to(shop.ask_admin(Method::GET, "/admin/stock/audit")).await?;
    assert_eq!(
        (audit.status, &audit.body[0]["gate"]),
        (200, &Value::Null),
        "{audit:?}"
    );
    assert_eq!(shop.get("/readyz").await?.status, 200, "degraded, but ready");
    assert_eq!(shop.ledger_balanced(product).await?.stock, 0);
    Ok(())
}

#[tokio::test]
async fn redis_killed_in_the_middle_of_a_sale_costs_nobody_his_unit() -> TestResult {
    let shop = Shop::with_private_redis().await?;
    let product = shop.product(REDIS_FIRST, 300).await?;
    assert_eq!(rush(&shop, product, 50).await?, 50);
    let kill = async { shop.stack.redis.kill() };
    let (sold, ()) = tokio::try_join!(rush(&shop, product, 100), kill)?;
    assert_eq!(sold, 100);
    assert_eq!(rush(&shop, product, 50).await?, 50);
    shop.stack.redis.restart().await?;
    let (first, second) = tokio::try_join!(rush(&shop, product, 100), rush(&shop, product, 20))?;
    assert_eq!(first + second, 100, "exactly what was left");
    // Redis came back empty, and the gate opens again by itself.
    assert_eq!(shop.balanced(product).await?.stock, 0);
    Ok(())
}

#[tokio::test]
async fn mistake_hung_redis_hangs_buyers() -> TestResult {
    let shop = Shop::with_private_redis().await?;
    let product = shop.product(REDIS_FIRST, 100).await?;
    assert_eq!(rush(&shop, product, 10).await?, 10);
    shop.balanced(product).await?;
    shop.stack.redis.signal(Signal::STOP)?;
    let mut slowest = Duration::ZERO;
    let mut sold = 0;
    for _ in 0..5 {
        let replies = try_join_all((0..10).map(|_| async {
            let started = Instant::now();
            let reply = shop.take(product, new_order(), 1).await?;
            anyhow::Ok((reply, started.elapsed()))
        }))
        .await?;
        for (reply, took) in replies {
            reply.remaining();
            sold += 1;
            slowest = slowest.max(took);
        }
    }
    assert!(
        slowest < Duration::from_secs(1),
        "the slowest of {sold} answers took {slowest:?}"
    );
    let started = Instant::now();
    let other = shop.product(REDIS_FIRST, 1).await?;
    shop.take(other, new_order(), 1).await?.remaining();
    assert_eq!(shop.gate(other, "unload").await?.status, 200);
    assert_eq!(shop.get("/readyz").await?.status, 200);
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    shop.stack.redis.signal(Signal::CONT)?;
    assert_eq!(rush(&shop, product, 10).await?, 10);
    assert_eq!(shop.balanced(product).await?.units_sold, 70);
    assert_eq!(shop.balanced(other).await?.stock, 0);
    Ok(())
}

#[tokio::test]
async fn a_redis_that_refuses_to_write_refuses_nobody() -> TestResult {
    let shop = Shop::with_private_redis().await?;
    for (refuse, relent) in [
        (
            ["CONFIG", "SET", "maxmemory", "1"].as_slice(),
            ["CONFIG", "SET", "maxmemory", "0"].as_slice(),
        ),
        (&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
    ] {
        let product = shop.product(REDIS_FIRST, 20).await?;
        shop.take(product, new_order(), 1).await?.remaining();
        shop.balanced(product).await?;
        shop.redis::<()>(refuse).await?;
        assert_eq!(rush(&shop, product, 30).await?, 19, "{refuse:?}");
        assert_eq!(shop.gate(product, "load").await?.status, 200);
        shop.redis::<()>(relent).await?;
        assert_eq!(shop.balanced(product).await?.stock, 0);
    }
    Ok(())
}

#[tokio::test]
async fn scripts_that_redis_has_forgotten_are_told_again() -> TestResult {
    let shop = Shop::with_private_redis().await?;
    let product = shop.product(REDIS_FIRST, 100).await?;
    let forgetting = async {
        for _ in 0..20 {
            shop.redis::<()>(&["SCRIPT", "FLUSH"]).await?;
        }
        Ok(())
    };
    let (sold, ()) = tokio::try_join!(rush(&shop, product, 120), forgetting)?;
    assert_eq!(sold, 100);
    shop.balanced(product).await?;
    Ok(())
}

#[tokio::test]
async fn mistake_missing_redis_key_read_as_sold_out() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(REDIS_FIRST, 100).await?;
    let order = new_order();
    shop.take(product, order, 1).await?.remaining();
    for missing in [
        &PARTS[..],
        &PARTS[..1],
        &PARTS[1..2],
        &PARTS[2..],
        &PARTS[..2],
        &PARTS[1..],
    ] {
        shop.balanced(product).await?;
        for part in missing {
            shop.redis::<i64>(&["DEL", &key(product, part)]).await?;
        }
        assert_eq!(rush(&shop, product, 5).await?, 5, "without {missing:?}");
        assert!(
            shop.take(product, order, 1).await?.is_replay(),
            "without {missing:?}"
        );
    }
    let books = shop.balanced(product).await?;
    assert_eq!((books.stock, shop.counter(product).await?), (69, Some(69)));
    Ok(())
}

#[tokio::test]
async fn a_key_of_the_wrong_type_refuses_nobody() -> TestResult {
    let shop = Shop::shared().await?;
    for part in PARTS {
        let product = shop.product(REDIS_FIRST, 20).await?;
        let order = new_order();
        shop.take(product, order, 2).await?.remaining();
        shop.balanced(product).await?;
        let key = key(product, part);
        shop.redis::<i64>(&["DEL", &key]).await?;
        shop.redis::<i64>(&["LPUSH", &key, "x"]).await?;
        assert_eq!(rush(&shop, product, 10).await?, 10, "{key}");
        assert!(shop.take(product, order, 2).await?.is_replay());
        assert_eq!(shop.give_back(product, order, 2).await?.remaining(), 10);
        assert_eq!(shop.gate(product, "load").await?.status, 200);
        assert_eq!(rush(&shop, product, 15).await?, 10, "{key}");
        assert_eq!(shop.ledger_balanced(product).await?.stock, 0);
        // Once the stray key is gone the gate opens again.
        shop.redis::<i64>(&["DEL", &key]).await?;
        shop.take(product, new_order(), 1)
            .await?
            .refused(400, "INSUFFICIENT_STOCK");
        shop.balanced(product).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_counter_that_promises_too_much_oversells_nothing() -> TestResult {
    let shop = Shop::shared().await?;
    for counter in [
        "1000000",
        "9007199254740993",
        "9223372036854775807",
        "99999999999999999999",
        "none",
        "1e3",
        "1.5",
    ] {
        let product = shop.product(REDIS_FIRST, 10).await?;
        shop.redis::<()>(&["SET", &key(product, ""), counter]).await?;
        assert_eq!(rush(&shop, product, 20).await?, 10, "{counter}");
        assert_eq!(shop.balanced(product).await?.stock, 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_counter_that_promises_too_little_is_put_right() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(REDIS_FIRST, 10).await?;
    for counter in ["0", "3", "-5"] {
        shop.redis::<()>(&["SET", &key(product, ""), counter]).await?;
        shop.balanced(product).await?;
        assert_eq!(shop.take(product, new_order(), 1).await?.status, 200, "{counter}");
        shop.balanced(product).await?;
    }
    assert_eq!(rush(&shop, product, 10).await?, 7);
    shop.balanced(product).await?;
    Ok(())
}

#[tokio::test]
async fn mistake_errors_below_the_breakers_threshold_never_resynced() -> TestResult {
    let shop = Shop::with_private_redis().await?;
    let product = shop.product(REDIS_FIRST, 5).await?;
    let order = new_order();
    // One sale, then one increase, of which Redis takes nothing in; and no request after it.
    shop.redis::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await?;
    assert_eq!(shop.take(product, order, 5).await?.remaining(), 0);
    shop.redis::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await?;
    assert_eq!(shop.balanced(product).await?.stock, 0);
    shop.redis::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await?;
    assert_eq!(shop.give_back(product, order, 5).await?.remaining(), 5);
    shop.redis::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await?;
    assert_eq!(shop.balanced(product).await?.stock, 5);
    assert_eq!(rush(&shop, product, 8).await?, 5);
    shop.balanced(product).await?;
    Ok(())
}
