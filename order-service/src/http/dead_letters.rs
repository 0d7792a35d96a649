//! Messages that were set aside: looking at them, putting them back, dropping them.

use actix_web::web;
use contracts::messaging::{DeadLetter, DeadLettersDone};
use platform::http::Problem;
use platform::http::fields::in_range;
use serde::Deserialize;
use utoipa::IntoParams;

use super::openapi::ListErrors;
use super::problem::broker;
use crate::app::App;
use crate::metrics;

/// Most messages at once.
const LIMIT_MAX: i64 = 1000;

/// How many.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeadLettersQuery {
    /// Messages at most, oldest first.
    #[param(default = 100, minimum = 1, maximum = 1000)]
    limit: Option<i64>,
}

impl DeadLettersQuery {
    fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(100);
        in_range("limit", limit, 1, LIMIT_MAX)?;
        Ok(usize::try_from(limit).unwrap_or(0))
    }
}

/// Messages that nobody could act on
#[utoipa::path(
    get, path = "/admin/dead-letters", tag = "dead letters", operation_id = "listDeadLetters",
    params(DeadLettersQuery),
    responses((status = 200, description = "They stay where they are", body = Vec<DeadLetter>), ListErrors)
)]
pub(super) async fn list(
    app: web::Data<App>,
    query: web::Query<DeadLettersQuery>,
) -> Result<web::Json<Vec<DeadLetter>>, Problem> {
    let letters = app.dead_letters.list(query.limit()?).await;
    Ok(web::Json(letters.map_err(|error| broker(&error))?))
}

/// Puts them back where they came from
#[utoipa::path(
    post, path = "/admin/dead-letters/replay", tag = "dead letters", operation_id = "replayDeadLetters",
    params(DeadLettersQuery),
    responses((status = 200, description = "How many", body = DeadLettersDone), ListErrors)
)]
pub(super) async fn replay(
    app: web::Data<App>,
    query: web::Query<DeadLettersQuery>,
) -> Result<web::Json<DeadLettersDone>, Problem> {
    let count = app
        .dead_letters
        .replay(query.limit()?)
        .await
        .map_err(|error| broker(&error))?;
    metrics::dead_letters_by_operator("replay", count);
    Ok(web::Json(DeadLettersDone { count }))
}

/// Drops them for good
#[utoipa::path(
    post, path = "/admin/dead-letters/discard", tag = "dead letters", operation_id = "discardDeadLetters",
    params(DeadLettersQuery),
    responses((status = 200, description = "How many", body = DeadLettersDone), ListErrors)
)]
pub(super) async fn discard(
    app: web::Data<App>,
    query: web::Query<DeadLettersQuery>,
) -> Result<web::Json<DeadLettersDone>, Problem> {
    let count = app
        .dead_letters
        .discard(query.limit()?)
        .await
        .map_err(|error| broker(&error))?;
    metrics::dead_letters_by_operator("discard", count);
    Ok(web::Json(DeadLettersDone { count }))
}
