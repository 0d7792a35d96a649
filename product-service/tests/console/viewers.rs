//! Who watches: how many, under which policy, and until when.

use std::time::{Duration, Instant};

use devstack::Screen;

use crate::stage::{Stage, TestResult, until_shown};

#[tokio::test(flavor = "multi_thread")]
async fn one_viewer_too_many_is_told_so_and_streams_do_not_delay_the_end() -> TestResult {
    let stage = Stage::new(&[("HOTSTOCK__CONSOLE__VIEWERS_MAX", "1")]).await?;
    let url = format!("{}/console", stage.product.admin_url());
    let first = stage.browser.open(&url, Screen::DESKTOP).await?;
    until_shown(&first, "#connection", "live").await?;
    let second = stage.browser.open(&url, Screen::DESKTOP).await?;
    until_shown(&second, "#connection", "too many viewers").await?;
    until_shown(&first, "#viewers", "1 watching").await?;

    let begun = Instant::now();
    assert_eq!(
        stage.product.terminate().await?,
        0,
        "{}",
        stage.product.log_tail()
    );
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    first
        .until(
            "the page to say so",
            "document.getElementById('connection').dataset.state === 'lost'",
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_let_nothing_in_from_anywhere_else() -> TestResult {
    let stage = Stage::new(&[]).await?;
    for url in [
        format!("{}/console", stage.product.admin_url()),
        format!("{}/console", stage.order.admin_url()),
    ] {
        let response = reqwest::get(&url).await?;
        let policy = response.headers()["content-security-policy"].to_str()?.to_owned();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        let page = response.text().await?;
        assert!(
            !page.contains("<style") && !page.contains(" style=") && !page.contains("src=\"http"),
            "{page}"
        );
        // What is asked for under its version may be kept; what nobody has is not found.
        let script = page
            .split('"')
            .find(|part| part.contains("shell.js"))
            .unwrap_or_default();
        let script = reqwest::get(url.replace("/console", script)).await?;
        assert!(script.headers()["cache-control"].to_str()?.contains("immutable"));
        assert_eq!(
            reqwest::get(format!("{url}/assets/nothing.js")).await?.status(),
            404
        );
    }
    Ok(())
}
