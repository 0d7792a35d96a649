//! The frame around every page: head, top line, confirmation dialog, and the headers that let nothing else in.

use actix_web::{HttpResponse, HttpResponseBuilder};
use maud::{DOCTYPE, Markup, html};

use super::assets::{self, Asset};

/// Only what this listener serves itself; no inline script, no inline style, no frame around it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What a page adds to the frame.
pub struct Page<'a> {
    /// In the browser's tab.
    pub title: &'a str,
    /// Where the page's files are.
    pub assets_at: &'a str,
    /// The page's own files: styles and scripts, each in this order, after the shared ones.
    pub own: &'static [Asset],
    /// Whether it has charts.
    pub charts: bool,
    /// For its script: `data-…` of the body, a URL or an id.
    pub events: &'a str,
    /// Beside the name at the top.
    pub nav: Markup,
    /// The page.
    pub main: Markup,
}

/// The two consoles at the top, each with its name and URL. This one has none; one that nobody has configured is left out.
#[must_use]
pub fn nav(consoles: [(&str, Option<&str>); 2]) -> Markup {
    html! {
        nav aria-label="Consoles" {
            @for (name, url) in consoles {
                @match url {
                    None => a href="/console" aria-current="page" { (name) },
                    Some("") => {},
                    Some(url) => a href=(url) { (name) },
                }
            }
        }
    }
}

/// Which instance this is, and who else watches.
#[must_use]
pub fn place(shared: &str) -> Markup {
    html! {
        div .where {
            span { span #instance { "…" } " · " span #viewers {} }
            span { (shared) }
        }
    }
}

/// A number with its name above and what it is about below.
#[must_use]
pub fn tile(id: &str, label: &str, about: &str) -> Markup {
    html! {
        div .card .tile {
            p .label { (label) }
            p .value id=(id) { "–" }
            p .small .muted id=(format!("{id}-about")) { (about) }
        }
    }
}

/// A chart; `charts.js` draws it and writes the latest values beside it.
#[must_use]
pub fn chart(id: &str, title: &str, note: &str) -> Markup {
    html! {
        figure .card {
            figcaption {
                div .head { h2 { (title) } span .note { (note) } }
                ul .legend id=(format!("{id}-legend")) {}
            }
            div .plot id=(id) aria-hidden="true" {}
        }
    }
}

/// Dead letters with their actions.
#[must_use]
pub fn dead_letters(about: &str) -> Markup {
    html! {
        section .card aria-labelledby="letters-title" {
            div .head { h2 #letters-title { "Dead letters" } span .note { "shared" } }
            p .small .muted { (about) }
            div .buttons {
                button #letters-look type="button" { "Look" }
                button #letters-replay type="button" { "Replay…" }
                button #letters-discard type="button" { "Discard…" }
            }
            div #letters aria-live="polite" {}
        }
    }
}

/// The last log lines.
#[must_use]
pub fn event_log() -> Markup {
    html! {
        section .card aria-labelledby="events-title" {
            div .head { h2 #events-title { "Events" } span .note { "this instance, from INFO up" } }
            ol .log #events tabindex="0" aria-labelledby="events-title" {}
        }
    }
}

/// An answer with the headers every page and file has.
#[must_use]
pub fn secured() -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .insert_header(("Content-Security-Policy", CONTENT_SECURITY_POLICY))
        .insert_header(("X-Content-Type-Options", "nosniff"))
        .insert_header(("Referrer-Policy", "no-referrer"));
    response
}

impl Page<'_> {
    /// The whole page as an answer.
    #[must_use]
    pub fn answer(self) -> HttpResponse {
        secured()
            .content_type("text/html; charset=utf-8")
            .insert_header(("Cache-Control", "no-store"))
            .body(self.html().into_string())
    }

    fn html(self) -> Markup {
        let url = |name| assets::url(self.assets_at, name, self.own);
        let named = |ending: &'static str| {
            let names = self.own.iter().map(|asset| asset.name);
            names.filter(move |name| name.ends_with(ending))
        };
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) }
                    link rel="icon" type="image/svg+xml" href=(url("icon.svg"));
                    @if self.charts { link rel="stylesheet" href=(url("uplot.css")); }
                    link rel="stylesheet" href=(url("console.css"));
                    @for style in named(".css") { link rel="stylesheet" href=(url(style)); }
                    script src=(url("shell.js")) defer {}
                    @if self.charts {
                        script src=(url("uplot.js")) defer {}
                        script src=(url("charts.js")) defer {}
                    }
                    @for script in named(".js") { script src=(url(script)) defer {} }
                }
                body data-events=(self.events) {
                    a .skip href="#main" { "Skip to content" }
                    header .top {
                        span .brand { span .mark aria-hidden="true" {} "hotstock" }
                        (self.nav)
                        span #connection .pill data-state="waiting" role="status" { "connecting" }
                    }
                    main #main tabindex="-1" { (self.main) }
                    (dialog())
                    noscript { p .notice { "This page needs JavaScript: its numbers are live." } }
                }
            }
        }
    }
}

/// Asks before anything is done, and shows what came of it.
fn dialog() -> Markup {
    html! {
        dialog #confirm aria-labelledby="confirm-title" {
            h2 #confirm-title {}
            p #confirm-text {}
            div #confirm-result aria-live="polite" {}
            div .buttons {
                button #confirm-cancel type="button" { "Cancel" }
                button #confirm-go .primary type="button" { "Go" }
            }
        }
    }
}
