//! The console of product-service.

use devstack::Screen;
use serde_json::json;

use crate::stage::{PATIENT_WITH_REDIS, Stage, TestResult, card, confirm, number, until_above, until_shown};

#[tokio::test(flavor = "multi_thread")]
async fn numbers_move_during_a_sale_and_the_breaker_follows_redis() -> TestResult {
    let stage = Stage::new(&PATIENT_WITH_REDIS).await?;
    let product = stage
        .product("Limited edition", 1_000_000, true, json!({}))
        .await?;
    let tab = stage
        .browser
        .open(&format!("{}/console", stage.product.admin_url()), Screen::DESKTOP)
        .await?;
    until_shown(&tab, "#connection", "live").await?;
    until_shown(&tab, "#breaker", "closed").await?;
    until_shown(&tab, &card(product, "counter"), "1,000,000").await?;

    let crowd = stage.crowd(&[(product, 8)], &[]);
    until_above(&tab, "#sold", 0.0).await?;
    until_above(&tab, "#answered", 0.0).await?;
    let sold = number(&tab, &card(product, "sold")).await?;
    until_above(&tab, &card(product, "sold"), sold).await?;
    until_above(&tab, "#p99", 0.0).await?;
    until_shown(&tab, "#drift-about", "✓ 1 gates agree").await?;
    tab.until("a chart", "document.querySelector('#rates canvas') !== null")
        .await?;

    stage.stack.redis.kill()?;
    tab.until(
        "the breaker to be open",
        "document.getElementById('breaker').textContent === 'open'",
    )
    .await?;
    until_shown(&tab, &card(product, "counter"), "left alone").await?;
    until_shown(&tab, "#breaker-probe", "in ").await?;
    until_shown(&tab, "#events", "breaker · state open").await?;
    // Buyers notice nothing.
    until_above(&tab, "#sold", 0.0).await?;
    stage.stack.redis.restart().await?;
    tab.until(
        "the breaker to be closed",
        "document.getElementById('breaker').textContent === 'closed'",
    )
    .await?;
    tab.until(
        "a gate",
        &format!(
            "/^[0-9,]+$/.test(document.querySelector({:?}).textContent)",
            card(product, "counter")
        ),
    )
    .await?;

    crowd.leave().await;
    stage.balanced(&[product]).await?;
    assert_eq!(tab.complaints(), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_action_of_the_stock_console_works() -> TestResult {
    let stage = Stage::new(&PATIENT_WITH_REDIS).await?;
    let product = stage.product("Poster", 100, false, json!({})).await?;
    let tab = stage
        .browser
        .open(&format!("{}/console", stage.product.admin_url()), Screen::DESKTOP)
        .await?;

    // By keyboard alone: the field, the dialog, and back to where it was opened from.
    until_shown(&tab, &card(product, "state"), "on sale").await?;
    tab.eval("document.getElementById('load-id').focus()").await?;
    for digit in product.to_string().chars() {
        tab.press(&digit.to_string()).await?;
    }
    tab.press("Tab").await?;
    tab.press("Enter").await?;
    tab.until("the dialog", "document.getElementById('confirm').open")
        .await?;
    tab.press("Escape").await?;
    tab.until("its way back", "document.activeElement.id === 'load'")
        .await?;
    tab.press("Enter").await?;
    tab.until("the dialog", "document.activeElement.id === 'confirm-cancel'")
        .await?;
    tab.press("Tab").await?;
    tab.press("Enter").await?;
    until_shown(&tab, "#confirm-result", "REDIS_FIRST").await?;
    tab.press("Enter").await?;
    tab.until("the dialog to close", "!document.getElementById('confirm').open")
        .await?;
    until_shown(&tab, &card(product, "counter"), "100").await?;

    confirm(&tab, "#reconcile", "Applied to 1 products").await?;
    confirm(&tab, "#breaker-force", "held open").await?;
    until_shown(&tab, "#breaker", "open").await?;
    until_shown(&tab, "#breaker-about", "held open by an operator").await?;
    confirm(&tab, "#breaker-reset", "Closed").await?;
    until_shown(&tab, "#breaker", "closed").await?;
    confirm(&tab, &card(product, "toggle"), "DB_ONLY").await?;
    until_shown(&tab, &card(product, "state"), "not hot").await?;

    tab.click("#letters-look", 1).await?;
    until_shown(&tab, "#letters", "None.").await?;
    stage.poison("stock.request", 3).await?;
    tab.click("#letters-look", 1).await?;
    tab.until(
        "three letters",
        "document.querySelectorAll('#letters details').length === 3",
    )
    .await?;
    // Nobody can read them any better: they come back.
    confirm(&tab, "#letters-replay", "3 put back").await?;
    until_shown(&tab, "#events", "a message is set aside").await?;
    confirm(&tab, "#letters-discard", "3 dropped").await?;
    until_shown(&tab, "#letters", "None.").await?;

    stage.balanced(&[product]).await?;
    assert_eq!(tab.complaints(), Vec::<String>::new());
    Ok(())
}
