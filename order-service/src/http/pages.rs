//! The operators' console.

use actix_web::{HttpResponse, web};
use platform::http::Problem;

use crate::app::App;
use crate::console::page;

/// The page.
pub(super) async fn console(app: web::Data<App>) -> HttpResponse {
    page::page(&app.other_console_url)
}

/// Its snapshots.
pub(super) async fn events(app: web::Data<App>) -> Result<HttpResponse, Problem> {
    app.console.stream(())
}
