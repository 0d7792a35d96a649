//! Files of the pages, built into the program: nothing is fetched from anywhere else.
//!
//! Each is asked for under a version made from the contents of all, so that browsers may keep it for good.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use actix_web::{HttpResponse, web};
use contracts::error::ErrorCode;

use super::shell::secured;
use crate::http::Problem;

/// One file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// As the page names it.
    pub name: &'static str,
    /// Its contents.
    pub text: &'static str,
}

/// What every page has.
pub const SHARED: [Asset; 6] = [
    asset("console.css", include_str!("assets/console.css")),
    asset("shell.js", include_str!("assets/shell.js")),
    asset("charts.js", include_str!("assets/charts.js")),
    asset("uplot.css", include_str!("assets/uplot.css")),
    asset("uplot.js", include_str!("assets/uplot.js")),
    asset("icon.svg", include_str!("assets/icon.svg")),
];

/// A file with its name.
#[must_use]
pub const fn asset(name: &'static str, text: &'static str) -> Asset {
    Asset { name, text }
}

/// Serves these beside the shared ones, at `{at}/{name}`.
pub fn mount(cfg: &mut web::ServiceConfig, at: &str, own: &'static [Asset]) {
    let get = move |name: web::Path<String>| std::future::ready(serve(&name, own));
    cfg.service(web::resource(format!("{at}/{{name}}")).route(web::get().to(get)));
}

fn serve(name: &str, own: &[Asset]) -> Result<HttpResponse, Problem> {
    let mut known = SHARED.iter().chain(own);
    let asset = known.find(|asset| asset.name == name);
    let asset = asset.ok_or_else(|| Problem::new(ErrorCode::NotFound))?;
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    };
    Ok(secured()
        .content_type(kind)
        .insert_header(("Cache-Control", "public, max-age=31536000, immutable"))
        .body(asset.text))
}

/// Where a page finds a file.
pub(super) fn url(at: &str, name: &str, own: &[Asset]) -> String {
    static SHARED_VERSION: OnceLock<u64> = OnceLock::new();
    let shared = *SHARED_VERSION.get_or_init(|| version(&SHARED));
    format!("{at}/{name}?v={:x}", shared ^ version(own))
}

fn version(assets: &[Asset]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for asset in assets {
        asset.text.hash(&mut hasher);
    }
    hasher.finish()
}
