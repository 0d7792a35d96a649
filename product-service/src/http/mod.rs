//! The outside: the whole URL table, on two listeners. Handlers parse, call and map; nothing else.
//!
//! The error body, limits, 404 and 405 come from `platform::http`. One resource per path, so that a wrong method is a
//! 405 with `Allow`.

pub mod access;
mod admin;
mod dead_letters;
mod fields;
pub mod openapi;
mod problem;
mod products;
mod stock;

use std::sync::Arc;

use actix_web::web::{self, ServiceConfig, delete, get, patch, post};

use crate::app::App;

/// The public API, under `/v1` and without it.
pub fn public(app: &Arc<App>) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    let app = web::Data::from(Arc::clone(app));
    move |cfg| {
        cfg.app_data(app.clone())
            .service(web::scope("/v1").configure(api))
            .configure(api)
            .configure(|cfg| openapi::mount(cfg, openapi::public_document()));
    }
}

fn api(cfg: &mut ServiceConfig) {
    // Matched in this order: what is asked most comes first.
    cfg.service(web::resource("/products/{id}/stock/decrease-by-order").route(patch().to(stock::decrease)))
        .service(web::resource("/products/{id}/stock/increase-by-order").route(patch().to(stock::increase)))
        .service(
            web::resource("/products")
                .route(get().to(products::list))
                .route(post().to(products::create)),
        )
        .service(
            web::resource("/products/{id}")
                .route(get().to(products::get))
                .route(patch().to(products::patch))
                .route(delete().to(products::discontinue)),
        )
        .service(web::resource("/products/{id}/stock/adjust").route(post().to(stock::adjust)))
        .service(web::resource("/products/{id}/stock/movements").route(get().to(stock::movements)));
}

/// The admin API, on its own listener.
pub fn admin(app: &Arc<App>) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    let app = web::Data::from(Arc::clone(app));
    move |cfg| {
        cfg.app_data(app.clone())
            .service(web::resource("/admin/products/{id}/load-stock-redis").route(post().to(admin::load)))
            .service(web::resource("/admin/products/{id}/unload-stock-redis").route(post().to(admin::unload)))
            .service(web::resource("/admin/stock/audit").route(get().to(admin::audit)))
            .service(web::resource("/admin/stock/reconcile").route(post().to(admin::reconcile)))
            .service(web::resource("/admin/breaker").route(get().to(admin::breaker)))
            .service(web::resource("/admin/breaker/force-open").route(post().to(admin::force_open)))
            .service(web::resource("/admin/breaker/reset").route(post().to(admin::reset)))
            .service(web::resource("/admin/dead-letters").route(get().to(dead_letters::list)))
            .service(web::resource("/admin/dead-letters/replay").route(post().to(dead_letters::replay)))
            .service(web::resource("/admin/dead-letters/discard").route(post().to(dead_letters::discard)))
            .configure(|cfg| openapi::mount(cfg, openapi::admin_document()));
    }
}
