//! The edge of a service: the error shape, the extractors' limits, health.
//!
//! How a service writes its URL table: **one [`resource`] per path**, with a `.route(web::get().to(…))` per method.
//! The resource then answers a wrong method with 405 and `Allow`. (`App::route` and the `#[get]` macros make a
//! resource per method, and a wrong method would be a 404.)

pub mod auth;
pub mod dead_letters;
mod edge;
pub mod fields;
pub mod health;
pub(crate) mod limits;
pub mod openapi;
mod problem;
mod watched;

pub use edge::edge;
pub use limits::Limited;
pub use problem::Problem;

use crate::metrics;
use actix_web::error::{JsonPayloadError, PathError, QueryPayloadError};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError, web};
use contracts::error::ErrorCode;
use serde_json::json;

/// Parser messages quote what the client sent; no more than this many characters of them go back.
const REASON_MAX_CHARS: usize = 300;

/// Sets what every service has in common: the body limit in bytes, extractor errors as [`Problem`]s, 404 for paths
/// nobody has. [`crate::serve::run`] calls it; a test that builds its own `App` calls it and wraps [`edge()`].
pub fn configure(cfg: &mut web::ServiceConfig, body_limit: usize) {
    let json = web::JsonConfig::default()
        .limit(body_limit)
        .error_handler(|error, _request| json_problem(&error).into());
    let query = web::QueryConfig::default().error_handler(|error, _request| query_problem(&error).into());
    let path = web::PathConfig::default().error_handler(|error, _request| path_problem(&error).into());
    cfg.app_data(json)
        .app_data(query)
        .app_data(path)
        .app_data(web::PayloadConfig::new(body_limit))
        .default_service(web::to(nothing_here));
}

/// A resource that is measured under its pattern: `prefix` (that of the scope it is in) and `path`. Every entry of a URL
/// table is one.
pub fn resource(prefix: &str, path: &str) -> actix_web::Resource {
    web::resource(path).app_data(metrics::route(&format!("{prefix}{path}")))
}

async fn nothing_here() -> Result<HttpResponse, Problem> {
    Err(Problem::new(ErrorCode::NotFound))
}

fn json_problem(error: &JsonPayloadError) -> Problem {
    match error {
        JsonPayloadError::ContentType => Problem::new(ErrorCode::UnsupportedMediaType),
        JsonPayloadError::Deserialize(reason) => unreadable(ErrorCode::BadRequest, &reason.to_string()),
        other if other.status_code() == StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(ErrorCode::PayloadTooLarge)
        }
        other if other.status_code().is_server_error() => Problem::internal(other),
        _ => Problem::new(ErrorCode::BadRequest),
    }
}

fn query_problem(error: &QueryPayloadError) -> Problem {
    match error {
        QueryPayloadError::Deserialize(reason) => {
            unreadable(ErrorCode::ValidationError, &format!("query string: {reason}"))
        }
        _ => Problem::new(ErrorCode::ValidationError),
    }
}

fn path_problem(_error: &PathError) -> Problem {
    // The parser's own text names Rust types ("can not parse … to a i64").
    unreadable(ErrorCode::ValidationError, "a value in the path cannot be read")
}

/// The reason goes into the details too, where readers of either language find it.
fn unreadable(code: ErrorCode, reason: &str) -> Problem {
    let reason: String = reason.chars().take(REASON_MAX_CHARS).collect();
    Problem::new(code)
        .details(json!({ "reason": reason }))
        .message(reason)
}
