//! The rules of a sale at the gate: refused without the database, after every loss of Redis, and never by old rules.

use chrono::{TimeDelta, Utc};
use devstack::wait_for;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

use crate::fixture::{REDIS_FIRST, Reply, Shop, TestResult, new_order};

fn key(product: i64, part: &str) -> String {
    format!("stock:{{{product}}}{part}")
}

/// How often something has happened in this instance: a series of `/metrics`.
async fn count(shop: &Shop, series: &str) -> anyhow::Result<u64> {
    let text = shop
        .ask_admin(Method::GET, "/metrics")
        .send()
        .await?
        .text()
        .await?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    Ok(line
        .ok_or_else(|| anyhow::anyhow!("no series {series}"))?
        .parse()?)
}

fn decisions(outcome: &str) -> String {
    format!("hotstock_decisions_total{{outcome=\"{outcome}\",path=\"database\"}}")
}

fn admissions(outcome: &str) -> String {
    format!("hotstock_gate_admissions_total{{outcome=\"{outcome}\"}}")
}

#[tokio::test]
async fn what_the_rules_refuse_never_reaches_the_database() -> TestResult {
    let shop = Shop::alone().await?;
    let later = json!(Utc::now() + TimeDelta::hours(1));
    for (fields, word, status, error) in [
        (
            json!({ "purchaseLimit": 1 }),
            "limit",
            400,
            "PURCHASE_LIMIT_EXCEEDED",
        ),
        (json!({ "saleStartsAt": later }), "not_open", 400, "SALE_NOT_OPEN"),
        (
            json!({ "status": "DISCONTINUED" }),
            "discontinued",
            400,
            "PRODUCT_DISCONTINUED",
        ),
    ] {
        let product = shop.product_with(REDIS_FIRST, 100, &json!({})).await?;
        shop.take_for(product, new_order(), 1, "ann").await?.remaining();
        assert_eq!(shop.patch(product, &fields).await?.status, 200);
        shop.balanced(product).await?;
        let before = count(&shop, &admissions(word)).await?;
        for reply in try_join_all((0..50).map(|_| shop.take_for(product, new_order(), 1, "ann"))).await? {
            reply.refused(status, error);
        }
        assert_eq!(count(&shop, &admissions(word)).await? - before, 50, "{word}");
        assert_eq!(count(&shop, &decisions(word)).await?, 0, "{word}");
        shop.balanced(product).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_limit_survives_every_loss_of_redis() -> TestResult {
    let shop = Shop::with_private_redis().await?;
    let product = shop
        .product_with(REDIS_FIRST, 100, &json!({ "purchaseLimit": 2 }))
        .await?;
    let (kept, given) = (new_order(), new_order());
    shop.take_for(product, kept, 1, "ann").await?.remaining();
    shop.take_for(product, given, 1, "ann").await?.remaining();
    shop.take_for(product, new_order(), 2, "bob").await?.remaining();
    shop.give_back(product, given, 1).await?.remaining();
    for loss in [
        vec!["FLUSHALL".to_owned()],
        vec!["DEL".to_owned(), key(product, ":buyers")],
        vec![
            "HSET".to_owned(),
            key(product, ":buyers"),
            "ann".to_owned(),
            "nonsense".to_owned(),
        ],
        vec!["HDEL".to_owned(), key(product, ":gate"), "r".to_owned()],
    ] {
        let words: Vec<&str> = loss.iter().map(String::as_str).collect();
        shop.redis::<redis::Value>(&words).await?;
        // At once by the decision, and then, loaded again, by the gate.
        for buyer in ["ann", "bob"] {
            shop.take_for(product, new_order(), 2, buyer)
                .await?
                .refused(400, "PURCHASE_LIMIT_EXCEEDED");
        }
        let books = shop.balanced(product).await?;
        let owned = &books.gate.as_ref().expect("loaded").owned;
        assert_eq!((owned.0["ann"], owned.0["bob"]), (1, 2), "{loss:?}");
        let before = count(&shop, &admissions("limit")).await?;
        wait_for("the gate to refuse", Duration::from_secs(5), || async {
            let order = shop.take_for(product, new_order(), 2, "ann").await;
            order
                .map_err(|error| error.to_string())?
                .refused(400, "PURCHASE_LIMIT_EXCEEDED");
            match count(&shop, &admissions("limit")).await {
                Ok(count) if count > before => Ok(()),
                other => Err(format!("{loss:?}: {other:?}")),
            }
        })
        .await?;
    }
    assert_eq!(
        shop.take_for(product, new_order(), 1, "ann").await?.remaining(),
        96
    );
    shop.balanced(product).await?;
    Ok(())
}

#[tokio::test]
async fn many_buyers_come_back_in_chunks() -> TestResult {
    let shop = Shop::alone().await?;
    let product = shop
        .product_with(REDIS_FIRST, 100_000, &json!({ "purchaseLimit": 1 }))
        .await?;
    let mut connection = AsyncPgConnection::establish(&shop.stack.database_url).await?;
    connection
        .batch_execute(&format!(
            "WITH rows AS (INSERT INTO stock_ledger (product_id, stock_version, direction, quantity, balance_after, reason, \
             order_id, buyer_id, request_id) SELECT {product}, 1 + n, 'OUT', 1, 100000 - n, 'ORDER_DECREMENT', n, \
             'buyer' || n, 'many-{product}-' || n FROM generate_series(1, 9000) n) \
             UPDATE products SET stock = 91000, stock_version = 9001 WHERE id = {product}"
        ))
        .await?;
    shop.redis::<i64>(&["DEL", &key(product, "")]).await?;
    let books = shop.balanced(product).await?;
    assert_eq!(books.gate.expect("loaded").owned.0.len(), 9000);
    shop.take_for(product, new_order(), 1, "buyer8999")
        .await?
        .refused(400, "PURCHASE_LIMIT_EXCEEDED");
    shop.take_for(product, new_order(), 1, "buyer9001")
        .await?
        .remaining();
    shop.balanced(product).await?;
    Ok(())
}

#[tokio::test]
async fn a_gate_with_old_rules_is_found_and_loaded_anew() -> TestResult {
    let shop = Shop::alone().await?;
    let product = shop.product_with(REDIS_FIRST, 10, &json!({})).await?;
    let finds = "hotstock_reconcile_finds_total{find=\"rules\"}";
    let before = count(&shop, finds).await?;
    // As if the instance had died between the change of the rules and telling the gate.
    shop.redis::<i64>(&["HSET", &key(product, ":gate"), "r", ":::1"])
        .await?;
    wait_for("the old rules to be found", Duration::from_secs(5), || async {
        let reply: Reply = shop
            .take(product, new_order(), 1)
            .await
            .map_err(|error| error.to_string())?;
        if reply.status == 200 {
            Ok(())
        } else {
            Err(format!("{reply:?}"))
        }
    })
    .await?;
    assert!(count(&shop, finds).await? > before);
    shop.balanced(product).await?;
    Ok(())
}

#[tokio::test]
async fn a_change_of_rules_in_the_middle_of_a_rush_costs_nobody_his_unit() -> TestResult {
    let shop = Shop::alone().await?;
    for _ in 0..10 {
        let product = shop
            .product_with(REDIS_FIRST, 60, &json!({ "purchaseLimit": 5 }))
            .await?;
        let buyers = try_join_all((0..100).map(|index| {
            let (shop, buyer) = (&shop, format!("buyer{}", index % 20));
            async move { shop.take_for(product, new_order(), 1, &buyer).await }
        }));
        let changes = async {
            for limit in [4, 6, 5] {
                assert_eq!(
                    shop.patch(product, &json!({ "purchaseLimit": limit }))
                        .await?
                        .status,
                    200
                );
            }
            anyhow::Ok(())
        };
        let (replies, changed) = tokio::join!(buyers, changes);
        changed?;
        let sold = replies?.iter().filter(|reply| reply.status == 200).count();
        let books = shop.balanced(product).await?;
        assert_eq!(usize::try_from(books.units_sold)?, sold);
        assert!(books.owned.0.values().all(|units| *units <= 6), "{books:?}");
    }
    Ok(())
}
