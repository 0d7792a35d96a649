//! What `cargo dev flash-sale` says with its exit status, and what it writes.

use std::path::Path;
use std::process::Output;

use devstack::load::Stores;
use tokio::process::Command;

use crate::shop::{Shop, open};

async fn flash_sale(url: &str, stores: &Stores, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dev"))
        .args([
            "flash-sale",
            "--db-only",
            "--concurrency",
            "8",
            "--product-url",
            url,
        ])
        .args(["--database-url", &stores.database_url])
        .args(["--redis-url", stores.redis_url.as_deref().unwrap()])
        .args(arguments)
        .output()
        .await
        .unwrap()
}

/// Its exit status, of a new shop with 20 units.
async fn status(shop: Shop, arguments: &[&str]) -> Option<i32> {
    let (url, stores) = open(shop).await;
    let output = flash_sale(&url, &stores, arguments).await;
    println!("{}", String::from_utf8_lossy(&output.stdout));
    println!("{}", String::from_utf8_lossy(&output.stderr));
    output.status.code()
}

const SALE: [&str; 4] = ["--stock", "20", "--buyers", "50"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    SALE.iter().chain(more).copied().collect()
}

#[tokio::test]
async fn right_books_and_kept_thresholds_are_0() {
    let kept = with(&["--fail-if", "error_ratio>0.01", "--fail-if", "sales<20"]);
    assert_eq!(status(Shop::Honest, &kept).await, Some(0));
}

#[tokio::test]
async fn a_crossed_threshold_is_1() {
    let crossed = with(&["--fail-if", "error_ratio>0.01", "--fail-if", "sales>=20"]);
    assert_eq!(status(Shop::Honest, &crossed).await, Some(1));
}

#[tokio::test]
async fn what_cannot_be_run_as_asked_is_2() {
    for wrong in [
        &with(&["--fail-if", "p99>20"])[..],
        &with(&["--spike", "many"]),
        &with(&["--scenario", "war"]),
        &with(&["--rate", "-1"]),
        &with(&["--product-url", "http://127.0.0.1:1"]),
        &["--buyers", "50"],
        &["--stock", "20"],
        &[
            "--scenario",
            "cancel-mix",
            "--via",
            "v2",
            "--order-url",
            "http://127.0.0.1:1",
        ],
    ] {
        assert_eq!(status(Shop::Honest, wrong).await, Some(2), "{wrong:?}");
    }
}

#[tokio::test]
async fn wrong_books_are_3_whatever_the_thresholds_say() {
    assert_eq!(status(Shop::Oversells, &SALE).await, Some(3));
    let crossed = with(&["--fail-if", "sales>1"]);
    assert_eq!(status(Shop::Oversells, &crossed).await, Some(3));
}

#[tokio::test]
async fn a_run_is_written_down_as_json_and_as_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let (json, html) = (folder.path().join("run.json"), folder.path().join("run.html"));
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let (json_path, html_path) = (path(&json), path(&html));
    let written = with(&[
        "--json",
        &json_path,
        "--html",
        &html_path,
        "--rate",
        "500",
        "--seed",
        "7",
        "--fail-if",
        "sales>1",
    ]);
    assert_eq!(status(Shop::Honest, &written).await, Some(1));

    let account: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(account["scenario"], "rush");
    assert_eq!(account["settings"]["seed"], "7");
    assert_eq!(account["books"]["balance"], true);
    assert_eq!(account["books"]["products"][0]["sold_by_ledger"], 20);
    assert_eq!(account["answers"]["400 INSUFFICIENT_STOCK"], 30);
    assert_eq!(account["latency_ms"]["count"], 50);
    assert_eq!(account["thresholds"][0]["is_crossed"], true);
    let answers = |slice: &serde_json::Value| slice["answers"].as_u64().unwrap();
    let slices = account["course"]["slices"].as_array().unwrap();
    assert_eq!(slices.iter().map(answers).sum::<u64>(), 50);

    let page = std::fs::read_to_string(&html).unwrap();
    for part in ["hotstock: rush", "The books balance", "CROSSED: 20", "<svg"] {
        assert!(page.contains(part), "{part}: {page}");
    }
}
