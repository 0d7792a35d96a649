//! The consoles where callers are asked for keys: an operator shows his as the password that the browser asks for.

use std::time::Duration;

use anyhow::Context;
use devstack::keys::{Keys, shown};
use devstack::{Screen, Service, wait_for};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::stage::{PATIENT_WITH_REDIS, Stage, TestResult, card, confirm, number, until_above, until_shown};

/// How the log names the admin: his role, and how the hash of his key begins.
const THE_ADMIN: &str = "admin 5f142fcf";

#[tokio::test(flavor = "multi_thread")]
async fn a_console_opens_for_an_admins_key_alone_and_the_log_names_who_acted() -> TestResult {
    let keys = Keys {
        admin: "key-of-an-admin-7d1c".to_owned(),
        ..Keys::random()
    };
    let stage = Stage::guarded(&PATIENT_WITH_REDIS, &keys).await?;
    let product = stage
        .product("Limited edition", 1_000_000, true, json!({}))
        .await?;
    for service in [&stage.product, &stage.order] {
        let console = format!("{}/console", service.admin_url());
        let refused = reqwest::get(&console).await?;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        // The browser asks for a password, and nobody is there to answer.
        for nobody in [console.clone(), with_password(&console, "wrong")] {
            let opened = stage.browser.open(&nobody, Screen::DESKTOP).await;
            let why = opened.err().context("a stranger is let in")?.to_string();
            assert!(why.contains("ERR_INVALID_AUTH_CREDENTIALS"), "{why}");
        }
        let shop = with_password(&console, &keys.service);
        let tab = stage.browser.open(&shop, Screen::DESKTOP).await?;
        until_shown(&tab, "body", "FORBIDDEN").await?;
    }

    // The stock console: numbers move, an action works.
    let console = format!("{}/console", stage.product.admin_url());
    let tab = stage
        .browser
        .open(&with_password(&console, &keys.admin), Screen::DESKTOP)
        .await?;
    until_shown(&tab, "#connection", "live").await?;
    let crowd = stage.crowd(&[(product, 4)], &[]);
    until_above(&tab, &card(product, "sold"), 0.0).await?;
    let sold = number(&tab, &card(product, "sold")).await?;
    until_above(&tab, &card(product, "sold"), sold).await?;
    crowd.leave().await;
    confirm(&tab, &card(product, "toggle"), "DB_ONLY").await?;
    until_shown(&tab, &card(product, "state"), "not hot").await?;
    logged(&stage.product, "unload").await?;

    // The console of orders, which is another place to a browser: it asks again.
    let console = format!("{}/console", stage.order.admin_url());
    let orders = stage
        .browser
        .open(&with_password(&console, &keys.admin), Screen::DESKTOP)
        .await?;
    until_shown(&orders, "#connection", "live").await?;
    let too_many = json!({ "productId": product, "quantity": 1_000_000, "buyerId": "ada" });
    let url = format!("{}/v1/orders", stage.order.url());
    let failed = stage.ask(Method::POST, &url, Some(too_many), None).await?;
    let row = format!("#feed [data-key='{}']", failed["id"]);
    until_shown(&orders, &row, "failed insufficient stock").await?;
    confirm(&orders, &format!("{row} button"), "Sent again.").await?;
    logged(&stage.order, "retry").await?;

    stage.balanced(&[product]).await?;
    assert_eq!(tab.complaints(), Vec::<String>::new());
    assert_eq!(orders.complaints(), Vec::<String>::new());
    Ok(())
}

/// A URL as a browser takes name and password from one.
fn with_password(url: &str, key: &str) -> String {
    shown(url, Some(&format!("ops:{key}")))
}

async fn logged(service: &Service, action: &str) -> TestResult {
    let line = format!("action=\"{action}\" caller={THE_ADMIN}");
    wait_for(&line, Duration::from_secs(10), async || {
        let log = std::fs::read_to_string(service.log_path()).map_err(|error| error.to_string())?;
        if log.contains(&line) {
            Ok(())
        } else {
            Err(service.log_tail())
        }
    })
    .await
}
