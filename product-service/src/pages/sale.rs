//! The public page of a sale: countdown, stock, and a button that buys.

use std::time::Duration;

use actix_web::HttpResponse;
use chrono::Utc;
use contracts::product::ProductStatus;
use maud::{Markup, html};
use platform::console::assets::{Asset, asset};
use platform::console::live::Live;
use platform::console::shell::Page;
use platform::database::Pool;
use serde::Serialize;
use tokio::time::Instant;

use crate::domain::request::ProductId;
use crate::ledger::shown::{self, Shown};
use crate::metrics;

/// Where its files are.
pub const ASSETS_AT: &str = "/sale/assets";
/// Its own files.
pub const ASSETS: &[Asset] = &[
    asset("sale.css", include_str!("assets/sale.css")),
    asset("sale.js", include_str!("assets/sale.js")),
];

/// How often the products of all watched sales are read, in one go.
const EVERY: Duration = Duration::from_millis(500);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    at_ms: i64,
    stock: i64,
    supplied: i64,
    discontinued: bool,
    sale_starts_at_ms: Option<i64>,
    sale_ends_at_ms: Option<i64>,
}

/// Shows each watched sale its product, for ever.
pub(super) async fn run(pool: Pool, live: Live<ProductId>) {
    let mut read_at = Instant::now();
    loop {
        let watched = live.due(read_at, EVERY).await;
        read_at = Instant::now();
        match shown::some(&pool, &watched).await {
            Ok(products) => products
                .iter()
                .for_each(|shown| live.show(&shown.product.id, &snapshot(shown))),
            Err(error) => metrics::console_failed(&error),
        }
    }
}

fn snapshot(shown: &Shown) -> Snapshot {
    let product = &shown.product;
    Snapshot {
        at_ms: Utc::now().timestamp_millis(),
        stock: product.stock,
        supplied: shown.supplied,
        discontinued: product.status == ProductStatus::Discontinued,
        sale_starts_at_ms: product.sale_starts_at.map(|at| at.timestamp_millis()),
        sale_ends_at_ms: product.sale_ends_at.map(|at| at.timestamp_millis()),
    }
}

/// The page of a product's sale.
#[must_use]
pub fn page(shown: &Shown) -> HttpResponse {
    let product = &shown.product;
    Page {
        title: &format!("{} · hotstock", product.name),
        assets_at: ASSETS_AT,
        own: ASSETS,
        charts: false,
        events: &format!("/sale/{}/events", product.id),
        nav: html! { nav {} },
        main: main(shown),
    }
    .answer()
}

fn main(shown: &Shown) -> Markup {
    let product = &shown.product;
    html! {
        article #sale .sale data-orders=(format!("/sale/{}/orders", product.id)) {
            p #phase .pill role="status" { "…" }
            h1 { (product.name) }
            p .price { (price(product.price)) }
            div .countdown {
                p #countdown-label .muted {}
                p #countdown role="timer" {}
            }
            div .bar {
                div .track role="img" aria-labelledby="left" { i #left-bar {} }
                p #left { "…" }
                @if let Some(limit) = product.purchase_limit { p .muted .small { "At most " (limit) " per buyer." } }
            }
            button #buy .primary type="button" disabled { "Buy one" }
            p .small .muted { "Click twice, if you like: both clicks are one purchase." }
            ol #clicks aria-live="polite" aria-label="Your clicks" {}
            button #again type="button" hidden { "Buy another" }
        }
    }
}

/// Minor units with two digits behind the point.
fn price(minor: i64) -> String {
    let whole = (minor / 100).to_string();
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped}.{:02}", minor % 100)
}

#[cfg(test)]
mod tests {
    use super::price;

    #[test]
    fn a_price_is_readable() {
        assert_eq!(
            [price(0), price(4_905), price(123_456_789)],
            ["0.00", "49.05", "1,234,567.89"]
        );
    }
}
