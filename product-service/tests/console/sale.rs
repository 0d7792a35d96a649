//! The public page of a sale.

use chrono::{TimeDelta, Utc};
use devstack::Screen;
use reqwest::Method;
use serde_json::json;

use crate::stage::{PATIENT_WITH_REDIS, Stage, TestResult, until_shown};

#[tokio::test(flavor = "multi_thread")]
async fn a_double_click_buys_once_and_the_page_says_so() -> TestResult {
    let stage = Stage::new(&PATIENT_WITH_REDIS).await?;
    let starts = Utc::now() + TimeDelta::seconds(4);
    let product = stage
        .product("Limited edition", 1, true, json!({ "saleStartsAt": starts }))
        .await?;
    let tab = stage
        .browser
        .open(&format!("{}/sale/{product}", stage.product.url()), Screen::PHONE)
        .await?;
    until_shown(&tab, "#countdown-label", "opens in").await?;
    assert_eq!(tab.eval("document.getElementById('buy').disabled").await?, true);

    tab.until("the sale to open", "!document.getElementById('buy').disabled")
        .await?;
    until_shown(&tab, "#left", "1 of 1 left").await?;
    tab.click("#buy", 2).await?;
    tab.until(
        "two answers",
        "document.querySelectorAll('#clicks li[data-kind=good]').length === 2",
    )
    .await?;
    let shown = tab.text("#clicks").await?;
    assert!(
        shown.contains("Yours: order #1") && shown.contains("order #1 again"),
        "{shown}"
    );
    assert!(shown.contains("nothing was bought twice"), "{shown}");

    until_shown(&tab, "#phase", "sold out").await?;
    until_shown(&tab, "#left", "0 of 1 left").await?;
    tab.click("#again", 1).await?;
    assert_eq!(tab.text("#buy").await?, "Sold out");
    let orders = format!("{}/v1/orders?productId={product}", stage.order.url());
    let orders = stage.ask(Method::GET, &orders, None, None).await?;
    assert_eq!(orders["totalElements"], 1, "{orders}");
    stage.balanced(&[product]).await?;
    assert_eq!(tab.complaints(), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_order_service_the_same_purchase_can_be_tried_again() -> TestResult {
    let stage = Stage::new(&PATIENT_WITH_REDIS).await?;
    let product = stage.product("Poster", 5, true, json!({})).await?;
    let tab = stage
        .browser
        .open(
            &format!("{}/sale/{product}", stage.product.url()),
            Screen::DESKTOP,
        )
        .await?;
    tab.until("the sale", "!document.getElementById('buy').disabled")
        .await?;
    stage.order.kill()?;
    tab.click("#buy", 1).await?;
    until_shown(&tab, "#clicks", "No answer yet").await?;
    stage.order.restart().await?;
    tab.click("#buy", 1).await?;
    until_shown(&tab, "#clicks", "Yours: order #1").await?;
    until_shown(&tab, "#left", "4 of 5 left").await?;

    let missing = stage
        .ask(
            Method::GET,
            &format!("{}/sale/999", stage.product.url()),
            None,
            None,
        )
        .await?;
    assert_eq!(missing["error"], "PRODUCT_NOT_FOUND");
    stage.balanced(&[product]).await
}
