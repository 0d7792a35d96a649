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
pub fn page(other_console_url: &str) -> HttpResponse {
    Page {
        title: "hotstock · orders",
        assets_at: ASSETS_AT,
        own: ASSETS,
        charts: true,
        events: "/console/events",
        nav: shell::nav([("Stock", Some(other_console_url)), ("Orders", None)]),
        main: main(),
    }
    .answer()
}

fn main() -> Markup {
    html! {
        (shell::place("Of all instances: orders, outbox, backlog. Of this one: conclusions, times, broker."))
        p #database-lost .notice role="alert" hidden { "The database does not answer. Orders are shown as they were last seen." }
        div .tiles {
            (shell::tile("orders-per-s", "Orders per second", "all instances"))
            (shell::tile("confirmed", "Confirmed per second", "this instance"))
            (shell::tile("pending", "Pending", "all instances"))
            (shell::tile("waiting", "Outbox", "all instances"))
            div .card .tile {
                p .label { "Broker" }
                p .value { span #broker .pill role="status" { "–" } }
                p #broker-about .small .muted { "this instance" }
            }
        }
        div .halves {
            (shell::chart("rates", "Per second", "ordered: all instances"))
            (shell::chart("backlog", "Not done yet", "all instances"))
        }
        (feed())
        div .halves { (outbox()) (shell::dead_letters("Stock results nobody could act on.")) }
        div .halves { (stuck()) (shell::event_log()) }
    }
}

fn feed() -> Markup {
    html! {
        section .card aria-labelledby="feed-title" {
            div .head {
                h2 #feed-title { "Orders " span .note { "the newest, all instances" } }
                div .buttons {
                    label .small .muted for="retry-id" { "Order" }
                    input #retry-id inputmode="numeric" autocomplete="off" placeholder="id";
                    button #retry type="button" { "Retry…" }
                }
            }
            div .scroll tabindex="0" aria-labelledby="feed-title" {
                table {
                    thead { tr {
                        th .number { "Order" } th { "Status" } th .number { "Product" } th .number { "Units" }
                        th { "Buyer" } th { "Flow" } th .number { "Age" } th { span .hidden { "Action" } }
                    } }
                    tbody #feed {}
                }
            }
            p #feed-none .muted hidden { "No orders yet." }
        }
    }
}

fn outbox() -> Markup {
    html! {
        section .card aria-labelledby="outbox-title" {
            div .head { h2 #outbox-title { "Outbox" } span .note { "all instances, counted every 2 s" } }
            dl .facts {
                dt { "To be published" } dd #outbox-pending { "–" }
                dt { "Failed, tried again" } dd #outbox-failed { "–" }
                dt { "Dead, given up" } dd #outbox-dead { "–" }
            }
            ul #messages .messages aria-label="Messages that could not be published" {}
        }
    }
}

fn stuck() -> Markup {
    html! {
        section .card aria-labelledby="stuck-title" {
            div .head { h2 #stuck-title { "Stuck orders" } span .note { "all instances" } }
            p .small .muted { "Steps open for longer than the deadline of a pending order." }
            div .buttons { button #stuck-look type="button" { "Look" } }
            ul #stuck .messages aria-live="polite" {}
        }
    }
}
