//! The outside: the whole URL table, on two listeners. Handlers parse, call and map; nothing else.
//!
//! The error body, limits, 404 and 405 come from `platform::http`. One resource per path, so that a wrong method is a
//! 405 with `Allow`.

pub mod access;
pub(crate) mod admin;
mod dead_letters;
mod fields;
pub mod openapi;
mod pages;
mod problem;
mod products;
mod stock;

use std::sync::Arc;

use actix_web::web::{self, ServiceConfig, delete, get, patch, post};
use platform::http::resource;

use platform::console::assets;

use crate::app::App;
use crate::pages::{console, sale};

/// The public API, under `/v1` and without it.
pub fn public(app: &Arc<App>) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    let app = web::Data::from(Arc::clone(app));
    move |cfg| {
        cfg.app_data(app.clone())
            .service(web::scope("/v1").configure(api))
            .configure(api)
            .configure(|cfg| assets::mount(cfg, sale::ASSETS_AT, sale::ASSETS))
            .service(resource("", "/sale/{id}").route(get().to(pages::sale)))
            .service(resource("", "/sale/{id}/events").route(get().to(pages::sale_events)))
            .service(resource("", "/sale/{id}/orders").route(post().to(pages::buy)))
            .configure(|cfg| openapi::mount(cfg, openapi::public_document()));
    }
}

fn api(cfg: &mut ServiceConfig) {
    // Matched in this order: what is asked most comes first.
    cfg.service(resource("/v1", "/products/{id}/stock/decrease-by-order").route(patch().to(stock::decrease)))
        .service(resource("/v1", "/products/{id}/stock/increase-by-order").route(patch().to(stock::increase)))
        .service(
            resource("/v1", "/products")
                .route(get().to(products::list))
                .route(post().to(products::create)),
        )
        .service(
            resource("/v1", "/products/{id}")
                .route(get().to(products::get))
                .route(patch().to(products::patch))
                .route(delete().to(products::discontinue)),
        )
        .service(resource("/v1", "/products/{id}/stock/adjust").route(post().to(stock::adjust)))
        .service(resource("/v1", "/products/{id}/stock/movements").route(get().to(stock::movements)));
}

/// The admin API, on its own listener.
pub fn admin(app: &Arc<App>) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    let app = web::Data::from(Arc::clone(app));
    move |cfg| {
        cfg.app_data(app.clone())
            .service(resource("", "/admin/products/{id}/load-stock-redis").route(post().to(admin::load)))
            .service(resource("", "/admin/products/{id}/unload-stock-redis").route(post().to(admin::unload)))
            .service(resource("", "/admin/stock/audit").route(get().to(admin::audit)))
            .service(resource("", "/admin/stock/reconcile").route(post().to(admin::reconcile)))
            .service(resource("", "/admin/breaker").route(get().to(admin::breaker)))
            .service(resource("", "/admin/breaker/force-open").route(post().to(admin::force_open)))
            .service(resource("", "/admin/breaker/reset").route(post().to(admin::reset)))
            .service(resource("", "/admin/dead-letters").route(get().to(dead_letters::list)))
            .service(resource("", "/admin/dead-letters/replay").route(post().to(dead_letters::replay)))
            .service(resource("", "/admin/dead-letters/discard").route(post().to(dead_letters::discard)))
            .service(resource("", "/console").route(get().to(pages::console)))
            .service(resource("", "/console/events").route(get().to(pages::console_events)))
            .configure(|cfg| assets::mount(cfg, console::ASSETS_AT, console::ASSETS))
            .configure(|cfg| openapi::mount(cfg, openapi::admin_document()));
    }
}
