//! Admin: making products hot and ordinary again, and the audit of the gate.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{DB_ONLY, REDIS_FIRST, Reply, Shop, TestResult, new_order};

async fn keys_of(shop: &Shop, product: i64) -> Result<Vec<String>> {
    let mut keys: Vec<String> = shop.redis(&["KEYS", &format!("stock:{{{product}}}*")]).await?;
    keys.sort_unstable();
    Ok(keys)
}

/// The product's line in the audit; none: not hot.
async fn audited(shop: &Shop, product: i64) -> Result<Option<Value>> {
    let audit = Reply::to(shop.ask_admin(Method::GET, "/admin/stock/audit")).await?;
    assert_eq!(audit.status, 200, "{audit:?}");
    let lines = audit.body.as_array().context("an array")?;
    Ok(lines.iter().find(|line| line["productId"] == product).cloned())
}

#[tokio::test]
async fn load_makes_a_product_hot_and_unload_an_ordinary_one() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(DB_ONLY, 10).await?;
    shop.take(product, new_order(), 3).await?.remaining();
    assert_eq!(audited(&shop, product).await?, None);
    assert_eq!(keys_of(&shop, product).await?, Vec::<String>::new());
    for _ in 0..2 {
        let loaded = shop.gate(product, "load").await?;
        assert_eq!(
            (loaded.status, &loaded.body["stockStrategy"]),
            (200, &json!("REDIS_FIRST")),
            "{loaded:?}"
        );
        assert_eq!(
            (&loaded.body["databaseStock"], &loaded.body["gate"]["counter"]),
            (&json!(7), &json!(7))
        );
        assert_eq!(shop.counter(product).await?, Some(7));
        let keys = ["", ":gate", ":sold"].map(|part| format!("stock:{{{product}}}{part}"));
        assert_eq!(keys_of(&shop, product).await?, keys);
        assert_eq!(shop.view(product).await?["stockStrategy"], "REDIS_FIRST");
    }
    shop.take(product, new_order(), 2).await?.remaining();
    shop.balanced(product).await?;
    assert_eq!(shop.counter(product).await?, Some(5));
    for _ in 0..2 {
        let unloaded = shop.gate(product, "unload").await?;
        assert_eq!(
            (unloaded.status, &unloaded.body["stockStrategy"]),
            (200, &json!("DB_ONLY")),
            "{unloaded:?}"
        );
        assert_eq!(unloaded.body["gate"], Value::Null);
        assert_eq!(keys_of(&shop, product).await?, Vec::<String>::new());
        assert_eq!(shop.view(product).await?["stockStrategy"], "DB_ONLY");
    }
    shop.take(product, new_order(), 1).await?.remaining();
    let books = shop.balanced(product).await?;
    assert_eq!((books.stock, books.is_hot), (4, false));
    Ok(())
}

#[tokio::test]
async fn what_happened_while_a_product_was_ordinary_is_in_its_gate_when_it_is_hot_again() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(REDIS_FIRST, 10).await?;
    let order = new_order();
    shop.take(product, order, 6).await?.remaining();
    shop.gate(product, "unload").await?;
    shop.take(product, new_order(), 4).await?.remaining();
    shop.gate(product, "load").await?;
    assert_eq!(shop.counter(product).await?, Some(0));
    shop.take(product, new_order(), 1)
        .await?
        .refused(400, "INSUFFICIENT_STOCK");
    assert!(shop.take(product, order, 6).await?.is_replay());
    shop.balanced(product).await?;
    Ok(())
}

#[tokio::test]
async fn loading_and_unloading_during_a_sale_loses_nothing() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(DB_ONLY, 100).await?;
    let selling = AtomicBool::new(true);
    let sale = async {
        let replies = try_join_all((0..150).map(|_| shop.take(product, new_order(), 1))).await;
        selling.store(false, Ordering::Relaxed);
        replies
    };
    let switching = async {
        let mut switches = 0;
        while selling.load(Ordering::Relaxed) {
            for verb in ["load", "load", "unload"] {
                let reply = shop.gate(product, verb).await?;
                anyhow::ensure!(reply.status == 200, "{verb}: {reply:?}");
                switches += 1;
            }
        }
        Ok(switches)
    };
    let (replies, switches) = tokio::try_join!(sale, switching)?;
    assert!(switches > 0);
    let sold = replies.iter().filter(|reply| reply.status == 200).count();
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        reply.refused(400, "INSUFFICIENT_STOCK");
    }
    assert_eq!(sold, 100);
    assert_eq!(shop.balanced(product).await?.stock, 0);
    shop.gate(product, "load").await?;
    shop.balanced(product).await?;
    Ok(())
}

#[tokio::test]
async fn loading_twice_during_a_sale_is_harmless() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(REDIS_FIRST, 100).await?;
    let sale = try_join_all((0..150).map(|_| shop.take(product, new_order(), 1)));
    let loads = try_join_all((0..10).map(|_| shop.gate(product, "load")));
    let (replies, loads) = tokio::try_join!(sale, loads)?;
    assert!(loads.iter().all(|reply| reply.status == 200), "{loads:?}");
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 100);
    assert_eq!(shop.balanced(product).await?.stock, 0);
    Ok(())
}

#[tokio::test]
async fn the_audit_finds_no_drift_even_while_units_are_sold() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(REDIS_FIRST, 1000).await?;
    let sale = try_join_all((0..200).map(|_| shop.take(product, new_order(), 2)));
    let audits = async {
        for _ in 0..10 {
            let line = audited(&shop, product)
                .await?
                .context("a line for a hot product")?;
            anyhow::ensure!(line["gate"]["drift"] == 0, "{line}");
        }
        Ok(())
    };
    let (replies, ()) = tokio::try_join!(sale, audits)?;
    assert!(replies.iter().all(|reply| reply.status == 200));
    shop.balanced(product).await?;
    let line = audited(&shop, product).await?.context("a line")?;
    for (field, value) in [
        ("counter", 600),
        ("holds", 0),
        ("heldUnits", 0),
        ("overdueHolds", 0),
        ("facts", 0),
        ("drift", 0),
    ] {
        assert_eq!(line["gate"][field], value, "{field}: {line}");
    }
    assert_eq!(
        (&line["databaseStock"], &line["databaseVersion"]),
        (&json!(600), &json!(201))
    );
    Ok(())
}

#[tokio::test]
async fn admin_routes_are_not_on_the_public_listener_nor_public_ones_on_the_admin_listener() -> TestResult {
    let shop = Shop::shared().await?;
    let product = shop.product(DB_ONLY, 1).await?;
    for prefix in ["", "/v1"] {
        for path in ["load-stock-redis", "unload-stock-redis"] {
            let path = format!("{prefix}/admin/products/{product}/{path}");
            Reply::to(shop.ask(Method::POST, &path))
                .await?
                .refused(404, "NOT_FOUND");
        }
        shop.get(&format!("{prefix}/admin/stock/audit"))
            .await?
            .refused(404, "NOT_FOUND");
    }
    assert_eq!(shop.view(product).await?["stockStrategy"], "DB_ONLY");
    for path in ["/v1/products", "/products"] {
        Reply::to(shop.ask_admin(Method::GET, path))
            .await?
            .refused(404, "NOT_FOUND");
    }
    Reply::to(shop.ask_admin(Method::DELETE, "/admin/stock/audit"))
        .await?
        .refused(405, "METHOD_NOT_ALLOWED");
    Reply::to(shop.ask_admin(Method::POST, "/admin/products/x/load-stock-redis"))
        .await?
        .refused(400, "VALIDATION_ERROR");
    Ok(())
}
