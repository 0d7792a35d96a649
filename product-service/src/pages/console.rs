//! The console's page: what is on it, without numbers; `console.js` writes them in.

use actix_web::HttpResponse;
use maud::{Markup, html};
use platform::console::assets::{Asset, asset};
use platform::console::shell::{self, Page};

/// Where its files are.
pub const ASSETS_AT: &str = "/console/assets";
/// Its own files.
pub const ASSETS: &[Asset] = &[asset("console.js", include_str!("assets/console.js"))];

/// The page.
#[must_use]
pub fn page(orders_console_url: &str) -> HttpResponse {
    Page {
        title: "hotstock · stock",
        assets_at: ASSETS_AT,
        own: ASSETS,
        charts: true,
        events: "/console/events",
        nav: shell::nav([("Stock", None), ("Orders", Some(orders_console_url))]),
        main: main(),
    }
    .answer()
}

fn main() -> Markup {
    html! {
        (shell::place("Of all instances: stock, gate, sold. Of this one: answers, times, breaker."))
        p #database-lost .notice role="alert" hidden { "The database does not answer. Products are shown as they were last seen." }
        div .tiles {
            (shell::tile("sold", "Sold per second", "all instances, products below"))
            (shell::tile("answered", "Answers per second", "this instance"))
            (shell::tile("p99", "Decision, p99", "this instance, last second"))
            (shell::tile("drift", "Drift", "gate against ledger"))
            div .card .tile {
                p .label { "Breaker" }
                p .value { span #breaker .pill role="status" { "–" } }
                p #breaker-about .small .muted { "this instance" }
            }
        }
        div .halves {
            (shell::chart("rates", "Per second", "sold: all instances"))
            (shell::chart("times", "p99", "this instance"))
        }
        (products())
        div .thirds { (mix()) (breaker()) (shell::dead_letters("Stock requests nobody could act on.")) }
        (shell::event_log())
    }
}

fn products() -> Markup {
    html! {
        section .card aria-labelledby="products-title" {
            div .head {
                h2 #products-title { "Products " span #products-note .note {} }
                div .buttons {
                    label .small .muted for="load-id" { "Product" }
                    input #load-id inputmode="numeric" autocomplete="off" placeholder="id";
                    button #load type="button" { "Load…" }
                    button #reconcile type="button" { "Reconcile…" }
                }
            }
            div #products .products {}
            p #products-none .muted hidden { "No products yet." }
        }
    }
}

fn mix() -> Markup {
    let rows = [
        ("moved", "Stock moved", "good"),
        ("replayed", "Replayed", "good"),
        ("soldOut", "Sold out", "plain"),
        ("limit", "Over the limit", "plain"),
        ("closed", "Not open", "plain"),
        ("refused", "Other refusals", "plain"),
        ("undecided", "Try again (503)", "bad"),
    ];
    html! {
        section .card aria-labelledby="mix-title" {
            div .head { h2 #mix-title { "Answers" } span .note { "per second, this instance" } }
            ul .mix {
                @for (word, label, kind) in rows {
                    li data-kind=(kind) {
                        span { (label) }
                        span .track aria-hidden="true" { i id=(format!("mix-{word}-bar")) {} }
                        span .number id=(format!("mix-{word}")) { "–" }
                    }
                }
            }
        }
    }
}

fn breaker() -> Markup {
    html! {
        section .card aria-labelledby="breaker-title" {
            div .head { h2 #breaker-title { "Breaker in front of Redis" } span .note { "this instance" } }
            dl #breaker-facts .facts {
                dt { "State" } dd #breaker-state { "–" }
                dt { "For" } dd #breaker-since { "–" }
                dt { "Next probe" } dd #breaker-probe { "–" }
                dt { "Changes since start" } dd #breaker-changes { "–" }
            }
            p .small .muted { "Open: Redis is left alone and the database decides everything. Nothing is sold twice either way." }
            div .buttons {
                button #breaker-force type="button" { "Force open…" }
                button #breaker-reset type="button" { "Reset…" }
            }
        }
    }
}
