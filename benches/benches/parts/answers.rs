//! What the pure parts of a sale are given: the body of a decrease, and its answers.

use actix_web::HttpResponse;
use actix_web::web::{self, ServiceConfig};
use contracts::error::ErrorCode;
use contracts::stock::StockAnswer;
use platform::http::Problem;
use serde_json::json;

pub(crate) const BODY: &[u8] = br#"{"orderId":1234567890123,"quantity":1,"buyerId":"buyer-1234567890123"}"#;
pub(crate) const SOLD: &str = "/sold";
pub(crate) const SOLD_OUT: &str = "/sold-out";

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route(SOLD, web::get().to(sold))
        .route(SOLD_OUT, web::get().to(sold_out));
}

async fn sold() -> HttpResponse {
    HttpResponse::Ok().json(StockAnswer {
        success: true,
        remaining_stock: 99,
        message: "OK".to_owned(),
    })
}

async fn sold_out() -> Result<HttpResponse, Problem> {
    let details = json!({ "productId": 42, "remainingStock": 0 });
    Err(Problem::new(ErrorCode::InsufficientStock).details(details))
}
