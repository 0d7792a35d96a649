//! The outside: the whole URL table, on two listeners. Handlers parse, call and map; nothing else.
//!
//! The error body, limits, 404 and 405 come from `platform::http`. One resource per path, so that a wrong method is a
//! 405 with `Allow`.

pub mod access;
mod admin;
mod dead_letters;
mod events;
pub mod openapi;
mod orders;
mod pages;
mod problem;

use std::sync::Arc;

use actix_web::web::{self, ServiceConfig, get, post};
use contracts::order::Flow;
use platform::console::assets;
use platform::http::openapi::mount;
use platform::http::resource;

use crate::app::App;
use crate::console::page;

/// The public API: `/v1` is synchronous, `/v2` asynchronous, and without a version it is what the config says.
pub fn public(app: &Arc<App>) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    let app = web::Data::from(Arc::clone(app));
    move |cfg| {
        let default_flow = app.default_flow;
        cfg.app_data(app.clone())
            .service(web::scope("/v1").configure(|cfg| api(cfg, Flow::Sync)))
            .service(web::scope("/v2").configure(|cfg| api(cfg, Flow::Async)))
            .configure(|cfg| api(cfg, default_flow))
            .configure(|cfg| mount(cfg, openapi::public_document()));
    }
}

/// What has no version counts as what it is served as.
fn api(cfg: &mut ServiceConfig, flow: Flow) {
    let prefix = match flow {
        Flow::Sync => "/v1",
        Flow::Async => "/v2",
    };
    cfg.service(
        resource(prefix, "/orders")
            .app_data(flow)
            .route(get().to(orders::list))
            .route(post().to(orders::place)),
    )
    .service(resource(prefix, "/orders/{id}").route(get().to(orders::get)))
    .service(
        resource(prefix, "/orders/{id}/cancel")
            .app_data(flow)
            .route(post().to(orders::cancel)),
    )
    .service(resource(prefix, "/orders/{id}/events").route(get().to(events::events)));
}

/// The admin API, on its own listener.
pub fn admin(app: &Arc<App>) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    let app = web::Data::from(Arc::clone(app));
    move |cfg| {
        cfg.app_data(app.clone())
            .service(resource("", "/admin/orders/stuck").route(get().to(admin::stuck)))
            .service(resource("", "/admin/orders/{id}/retry").route(post().to(admin::retry)))
            .service(resource("", "/admin/outbox").route(get().to(admin::outbox)))
            .service(resource("", "/admin/outbox/{id}/requeue").route(post().to(admin::requeue)))
            .service(resource("", "/admin/dead-letters").route(get().to(dead_letters::list)))
            .service(resource("", "/admin/dead-letters/replay").route(post().to(dead_letters::replay)))
            .service(resource("", "/admin/dead-letters/discard").route(post().to(dead_letters::discard)))
            .service(resource("", "/console").route(get().to(pages::console)))
            .service(resource("", "/console/events").route(get().to(pages::events)))
            .configure(|cfg| assets::mount(cfg, page::ASSETS_AT, page::ASSETS))
            .configure(|cfg| mount(cfg, openapi::admin_document()));
    }
}
