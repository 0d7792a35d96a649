//! The console of order-service.

use anyhow::Result;
use devstack::Screen;
use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::{PATIENT_WITH_REDIS, Stage, TestResult, confirm, until_shown};

async fn order(stage: &Stage, version: &str, product: i64, quantity: i64) -> Result<Value> {
    let body = json!({ "productId": product, "quantity": quantity, "buyerId": "ada" });
    stage
        .ask(
            Method::POST,
            &format!("{}/{version}/orders", stage.order.url()),
            Some(body),
            None,
        )
        .await
}

fn row(order: &Value) -> String {
    format!("#feed [data-key='{}']", order["id"])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_orders_console_follows_orders_and_every_action_works() -> TestResult {
    let stage = Stage::new(&PATIENT_WITH_REDIS).await?;
    let product = stage.product("Poster", 3, false, json!({})).await?;
    let tab = stage
        .browser
        .open(&format!("{}/console", stage.order.admin_url()), Screen::DESKTOP)
        .await?;
    until_shown(&tab, "#connection", "live").await?;
    until_shown(&tab, "#broker", "connected").await?;

    let [first, second] = [
        order(&stage, "v1", product, 1).await?,
        order(&stage, "v2", product, 1).await?,
    ];
    until_shown(&tab, &row(&first), "confirmed").await?;
    until_shown(&tab, &row(&second), "confirmed").await?;
    let large = order(&stage, "v1", product, 5).await?;
    until_shown(&tab, &row(&large), "failed insufficient stock").await?;

    // There is stock again: the failed order is sent again from its row.
    let adjust = format!("{}/v1/products/{product}/stock/adjust", stage.product.url());
    let delta = json!({ "delta": 9, "reason": "MANUAL" });
    stage
        .ask(Method::POST, &adjust, Some(delta), Some("restock"))
        .await?;
    confirm(&tab, &format!("{} button", row(&large)), "Sent again.").await?;
    until_shown(&tab, &row(&large), "confirmed").await?;

    // A message that was given up.
    let (database, connection) = tokio_postgres::connect(&stage.orders_url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    let dead = "UPDATE outbox SET status = 'DEAD', sent_at = NULL, attempts = 10, last_error = 'returned: no route' \
        WHERE order_id = $1 RETURNING id";
    let message: i64 = database.query_one(dead, &[&second["id"].as_i64()]).await?.get(0);
    until_shown(&tab, "#messages", &format!("dead · message {message}")).await?;
    until_shown(&tab, "#outbox-dead", "1, oldest").await?;
    confirm(&tab, "#messages button", "Queued again.").await?;
    tab.until(
        "no messages",
        "document.querySelectorAll('#messages li').length === 0",
    )
    .await?;
    until_shown(&tab, "#outbox-dead", "0").await?;

    tab.click("#stuck-look", 1).await?;
    until_shown(&tab, "#stuck", "None.").await?;
    stage.poison("order.result", 2).await?;
    tab.click("#letters-look", 1).await?;
    tab.until(
        "two letters",
        "document.querySelectorAll('#letters details').length === 2",
    )
    .await?;
    confirm(&tab, "#letters-replay", "2 put back").await?;
    until_shown(&tab, "#events", "a result is set aside").await?;
    confirm(&tab, "#letters-discard", "2 dropped").await?;

    // The other console is one link away, and the other way round.
    tab.click("nav a:not([aria-current])", 1).await?;
    tab.until(
        "the stock console",
        "document.getElementById('products') !== null",
    )
    .await?;
    until_shown(&tab, "#connection", "live").await?;
    stage.balanced(&[product]).await?;
    assert_eq!(tab.complaints(), Vec::<String>::new());
    Ok(())
}
