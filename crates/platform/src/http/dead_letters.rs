//! Dead letters for operators: looking at them, putting them back, dropping them. Both services answer with this, each
//! under its own description.

use actix_web::web;
use contracts::error::ErrorCode;
use contracts::messaging::{DeadLetter, DeadLettersDone};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use super::Problem;
use super::auth::Caller;
use super::fields::in_range;
use crate::amqp::{AmqpError, DeadLetters};

/// Most messages at once.
const LIMIT_MAX: i64 = 1000;

/// How many.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeadLettersQuery {
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

/// The oldest, which stay where they are.
///
/// # Errors
/// A limit out of range, or a broker that does not answer.
pub async fn list(
    letters: &DeadLetters,
    query: &DeadLettersQuery,
) -> Result<web::Json<Vec<DeadLetter>>, Problem> {
    let letters = letters.list(query.limit()?).await;
    Ok(web::Json(letters.map_err(|error| broker(&error))?))
}

/// Puts the oldest back where they came from.
///
/// # Errors
/// As [`list`].
pub async fn replay(
    letters: &DeadLetters,
    query: &DeadLettersQuery,
    caller: &Caller,
) -> Result<web::Json<DeadLettersDone>, Problem> {
    done("replay", caller, letters.replay(query.limit()?).await)
}

/// Drops the oldest for good.
///
/// # Errors
/// As [`list`].
pub async fn discard(
    letters: &DeadLetters,
    query: &DeadLettersQuery,
    caller: &Caller,
) -> Result<web::Json<DeadLettersDone>, Problem> {
    done("discard", caller, letters.discard(query.limit()?).await)
}

fn done(
    action: &'static str,
    caller: &Caller,
    count: Result<usize, AmqpError>,
) -> Result<web::Json<DeadLettersDone>, Problem> {
    let count = count.map_err(|error| broker(&error))?;
    tracing::info!(
        audit = true,
        action,
        %caller,
        count,
        "an operator has dealt with dead letters"
    );
    Ok(web::Json(DeadLettersDone { count }))
}

/// RabbitMQ did not answer an operator.
fn broker(error: &AmqpError) -> Problem {
    Problem::new(ErrorCode::RetryLater)
        .details(json!({ "reason": "rabbitmq" }))
        .cause(error)
}
