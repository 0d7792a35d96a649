//! Messages that were set aside: looking at them, putting them back, dropping them.

use actix_web::web;
use contracts::messaging::{DeadLetter, DeadLettersDone};
use platform::http::Problem;
use platform::http::auth::Caller;
use platform::http::dead_letters::{self, DeadLettersQuery};

use super::openapi::BrokerErrors;
use crate::app::App;

/// Messages that nobody could act on
#[utoipa::path(
    get, path = "/admin/dead-letters", tag = "dead letters", operation_id = "listDeadLetters",
    params(DeadLettersQuery),
    responses((status = 200, description = "They stay where they are", body = Vec<DeadLetter>), BrokerErrors)
)]
pub(super) async fn list(
    app: web::Data<App>,
    query: web::Query<DeadLettersQuery>,
) -> Result<web::Json<Vec<DeadLetter>>, Problem> {
    dead_letters::list(&app.dead_letters, &query).await
}

/// Puts them back where they came from
#[utoipa::path(
    post, path = "/admin/dead-letters/replay", tag = "dead letters", operation_id = "replayDeadLetters",
    params(DeadLettersQuery),
    responses((status = 200, description = "How many", body = DeadLettersDone), BrokerErrors)
)]
pub(super) async fn replay(
    app: web::Data<App>,
    caller: Caller,
    query: web::Query<DeadLettersQuery>,
) -> Result<web::Json<DeadLettersDone>, Problem> {
    dead_letters::replay(&app.dead_letters, &query, &caller).await
}

/// Drops them for good
#[utoipa::path(
    post, path = "/admin/dead-letters/discard", tag = "dead letters", operation_id = "discardDeadLetters",
    params(DeadLettersQuery),
    responses((status = 200, description = "How many", body = DeadLettersDone), BrokerErrors)
)]
pub(super) async fn discard(
    app: web::Data<App>,
    caller: Caller,
    query: web::Query<DeadLettersQuery>,
) -> Result<web::Json<DeadLettersDone>, Problem> {
    dead_letters::discard(&app.dead_letters, &query, &caller).await
}
