//! How the pages look during a sale: on a desktop and a phone, light and dark. The pictures of the README are taken here.

use std::path::PathBuf;

use chrono::{TimeDelta, Utc};
use devstack::Screen;
use serde_json::json;

use crate::stage::{Crowd, PATIENT_WITH_REDIS, Stage, TestResult, until_above, until_shown};

const LOOKS: [(&str, Screen); 3] = [
    ("light", Screen::DESKTOP),
    ("dark", Screen::DESKTOP.dark()),
    ("phone", Screen::PHONE),
];
/// Largest picture, bytes.
const PICTURE_MAX: u64 = 200_000;

/// Into the folder `HOTSTOCK_PICTURES` names, once there is something on the charts; without it they are looked at for their
/// size and thrown away.
#[tokio::test(flavor = "multi_thread")]
async fn the_pages_fit_desktops_and_phones_in_light_and_dark() -> TestResult {
    let stage = Stage::new(&PATIENT_WITH_REDIS).await?;
    let scratch = std::env::temp_dir().join(format!("hotstock-pictures-{}", std::process::id()));
    let kept = std::env::var_os("HOTSTOCK_PICTURES").map(PathBuf::from);
    let folder = kept.as_ref().unwrap_or(&scratch);
    std::fs::create_dir_all(folder)?;
    let (products, crowd) = sale(&stage).await?;
    let pages = [
        (
            "console",
            format!("{}/console", stage.product.admin_url()),
            "#sold",
        ),
        ("orders", format!("{}/console", stage.order.admin_url()), "#feed"),
        (
            "sale",
            format!("{}/sale/{}", stage.product.url(), products[0]),
            "#left",
        ),
    ];
    for (name, url, alive) in pages {
        let tab = stage.browser.open(&url, Screen::DESKTOP).await?;
        until_shown(&tab, "#connection", "live").await?;
        let number = format!("/[0-9]/.test(document.querySelector({alive:?}).textContent)");
        tab.until("numbers", &number).await?;
        if name == "console" {
            until_above(&tab, "#sold", 0.0).await?;
        }
        if name == "sale" {
            tab.click("#buy", 2).await?;
            until_shown(&tab, "#clicks", "again").await?;
        } else if kept.is_some() {
            tab.until(
                "a chart",
                "new Promise((done) => setTimeout(() => done(true), 15000))",
            )
            .await?;
        }
        for (look, screen) in LOOKS {
            tab.resize(screen).await?;
            let drawn = "new Promise((done) => requestAnimationFrame(() => setTimeout(done, 300)))";
            tab.eval(drawn).await?;
            let overflow = tab
                .eval("document.documentElement.scrollWidth - innerWidth")
                .await?;
            assert!(
                overflow.as_i64() <= Some(0),
                "{name}, {look}: {overflow} pixels too wide"
            );
            let file = folder.join(format!("{name}-{look}.png"));
            tab.screenshot(&file).await?;
            assert!(
                std::fs::metadata(&file)?.len() < PICTURE_MAX,
                "{}",
                file.display()
            );
        }
        assert_eq!(tab.complaints(), Vec::<String>::new(), "{name}");
    }
    crowd.leave().await;
    std::fs::remove_dir_all(scratch).ok();
    stage.balanced(&products).await
}

/// A sale under way: one product that sells, one that is sold out, one that opens later, one that is not hot; and orders.
async fn sale(stage: &Stage) -> anyhow::Result<([i64; 2], Crowd)> {
    let soon = Utc::now() + TimeDelta::minutes(42);
    let later = Utc::now() + TimeDelta::minutes(90);
    stage.product("Poster", 1_000, false, json!({})).await?;
    stage
        .product("Headphones", 5_000, true, json!({ "saleStartsAt": later }))
        .await?;
    let ticket = stage
        .product("Concert ticket, row 1", 60, true, json!({}))
        .await?;
    let sneaker = stage
        .product(
            "Sneaker, limited edition",
            100_000,
            true,
            json!({ "saleEndsAt": soon }),
        )
        .await?;
    let crowd = stage.crowd(&[(sneaker, 10), (ticket, 2)], &[(sneaker, 2), (ticket, 1)]);
    Ok(([sneaker, ticket], crowd))
}
