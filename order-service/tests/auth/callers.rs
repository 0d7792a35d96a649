//! What is written down of callers: who did what, and whether their traces are collected.

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_postgres::NoTls;

use crate::shop::{ADMIN, CUSTOMER, Reply, SERVICE, Shop};

/// How the hashes of their keys begin.
const THE_ADMIN: &str = "admin 5f142fcf";
const THE_SERVICE: &str = "service dbb44024";

#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_who_did_what_by_role_and_hash() -> Result<()> {
    let shop = Shop::open(&[("HOTSTOCK__LOG__FORMAT", "json")]).await?;
    let product = shop.stocked(0).await?;
    let order = json!({ "productId": product, "quantity": 1 });
    let failed = shop
        .order(Method::POST, "/v1/orders", CUSTOMER, Some(&order))
        .await?;
    assert_eq!(failed.body["status"], "FAILED", "{failed:?}");

    let of_product = format!("/v1/products/{product}");
    let (public, admin) = (shop.product.url(), shop.product.admin_url());
    let deed = async |base: &str, method: &str, path: &str, key: &str, body: &Value| {
        let mut request = shop.request(base, method.parse()?, path, key);
        request = request.header("Idempotency-Key", "by-hand");
        if !body.is_null() {
            request = request.json(body);
        }
        let done = Reply::to(request).await?;
        ensure!([200, 202, 204].contains(&done.status), "{path}: {done:?}");
        Ok(())
    };
    let price = json!({ "price": 5900 });
    deed(&public, "PATCH", &of_product, ADMIN, &price).await?;
    let five = json!({ "delta": 5, "reason": "MANUAL" });
    deed(
        &public,
        "POST",
        &format!("{of_product}/stock/adjust"),
        SERVICE,
        &five,
    )
    .await?;
    for path in [
        &format!("/admin/products/{product}/unload-stock-redis"),
        &format!("/admin/products/{product}/load-stock-redis"),
        "/admin/stock/reconcile",
        "/admin/breaker/force-open",
        "/admin/breaker/reset",
        "/admin/dead-letters/replay",
    ] {
        deed(&admin, "POST", path, ADMIN, &Value::Null).await?;
    }
    deed(&public, "DELETE", &of_product, ADMIN, &Value::Null).await?;
    for path in [
        "/admin/dead-letters/discard",
        &format!("/admin/orders/{}/retry", failed.body["id"]),
    ] {
        deed(&shop.order.admin_url(), "POST", path, ADMIN, &Value::Null).await?;
    }
    shop.settled(product).await?;
    assert_eq!(
        audited(&shop.product).await?,
        [
            format!("create {THE_ADMIN}"),
            format!("patch {THE_ADMIN}"),
            format!("adjust {THE_SERVICE}"),
            format!("unload {THE_ADMIN}"),
            format!("load {THE_ADMIN}"),
            format!("reconcile {THE_ADMIN}"),
            format!("force-open {THE_ADMIN}"),
            format!("reset {THE_ADMIN}"),
            format!("replay {THE_ADMIN}"),
            format!("discontinue {THE_ADMIN}"),
        ]
    );
    assert_eq!(
        audited(&shop.order).await?,
        [format!("discard {THE_ADMIN}"), format!("retry {THE_ADMIN}")]
    );
    Ok(())
}

/// Action and caller of each audit line, once the service has ended.
async fn audited(service: &devstack::Service) -> Result<Vec<String>> {
    assert_eq!(service.terminate().await?, 0);
    let log = std::fs::read_to_string(service.log_path())?;
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let said = lines.map(|line| {
        // The fields stand by themselves, or in an object of their own.
        let fields = if line["fields"].is_object() {
            line["fields"].clone()
        } else {
            line
        };
        (fields["audit"] == true).then(|| {
            let word = |field: &str| fields[field].as_str().unwrap_or("nobody").to_owned();
            format!("{} {}", word("action"), word("caller"))
        })
    });
    Ok(said.flatten().collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_cannot_have_his_trace_collected() -> Result<()> {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736";
    let shop = Shop::open(&[
        // Nobody is there; what counts is what is handed on.
        ("HOTSTOCK__TELEMETRY__OTLP_URL", "http://127.0.0.1:9/v1/traces"),
        ("HOTSTOCK__TELEMETRY__SAMPLE_RATIO", "0"),
    ])
    .await?;
    let product = shop.stocked(10).await?;
    let (database, connection) = tokio_postgres::connect(&shop.orders_url, NoTls).await?;
    tokio::spawn(connection);
    for (shown, flag) in [(CUSTOMER, "-00"), (SERVICE, "-01"), (ADMIN, "-01")] {
        let body = json!({ "productId": product, "quantity": 1 });
        let request = shop.request(&shop.order.url(), Method::POST, "/v2/orders", shown);
        let request = request.header("traceparent", format!("{trace}-00f067aa0ba902b7-01"));
        let placed = Reply::to(request.json(&body)).await?;
        let id = placed.body["id"]
            .as_i64()
            .with_context(|| format!("{placed:?}"))?;
        let stored = "SELECT trace_context FROM outbox WHERE order_id = $1";
        let stored: String = database.query_one(stored, &[&id]).await?.get(0);
        assert!(
            stored.starts_with(trace) && stored.ends_with(flag),
            "{shown}: {stored}"
        );
    }
    shop.settled(product).await
}
