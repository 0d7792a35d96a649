//! The relay's side of the outbox: taking, marking, purging; and hearing of what is stored.

use std::time::Duration;

use contracts::order::OutboxStatus;
use diesel::prelude::*;
use diesel_async::pooled_connection::deadpool::Object;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::StreamExt;
use platform::amqp::{AmqpError, Message, Published, Publisher};
use platform::database::Pool;
use platform::named::named;
use platform::trace::TraceContext;

use super::DbError;
use super::conclude::{Conclude, Conclusion, conclude_locked};
use super::schema::outbox;
use super::sql::{MarkFailed, PurgeSent};
use super::words::Stored as _;
use crate::domain::attempt::Attempt;
use crate::domain::order::FailReason;

/// A message that the relay has taken.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Identity.
    pub id: i64,
    /// The attempt it asks for.
    pub attempt: Attempt,
    /// The message.
    pub payload: String,
    /// What caused it.
    pub trace_context: Option<TraceContext>,
}

/// How often, and after which pauses, a message that could not be published goes again.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// Failures after which it is DEAD.
    pub attempts_max: i32,
    /// First pause, milliseconds; doubles with each failure.
    pub retry_ms: i64,
    /// Longest pause, milliseconds.
    pub retry_max_ms: i64,
}

/// What one batch of the relay came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Relayed {
    /// Messages taken.
    pub taken: usize,
    /// Of those, confirmed.
    pub sent: usize,
    /// Of those, given up.
    pub dead: usize,
}

/// Why a batch of the relay came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The database failed; what was published is published again.
    #[error(transparent)]
    Db(#[from] DbError),
    /// There was no broker; nothing was published.
    #[error(transparent)]
    Amqp(#[from] AmqpError),
}

impl From<diesel::result::Error> for RelayError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Db(error.into())
    }
}

/// One batch of the relay, in one transaction: takes messages that are due and that nobody else has, has them published,
/// and marks what became of each. The order of one that is DEAD has failed by it, unless it got its stock otherwise.
///
/// # Errors
/// [`RelayError`]: nothing is marked.
pub async fn relay_batch(
    pool: &Pool,
    max: i64,
    backoff: Backoff,
    publisher: &mut Publisher,
    message: fn(&Stored) -> Message,
) -> Result<Relayed, RelayError> {
    let mut connection = pool.get().await.map_err(DbError::from)?;
    connection
        .transaction(async |c| {
            let stored = take(c, max).await?;
            if stored.is_empty() {
                return Ok(Relayed::default());
            }
            let messages: Vec<Message> = stored.iter().map(message).collect();
            let published = publisher.publish(&messages).await?;
            let (sent, dead) = mark(c, &stored, &published, backoff).await?;
            Ok(Relayed {
                taken: stored.len(),
                sent,
                dead,
            })
        })
        .await
}

async fn take(c: &mut AsyncPgConnection, max: i64) -> Result<Vec<Stored>, DbError> {
    let due = outbox::table
        // In the words of the index: whatever the values of a plan, the planner sees that it has them.
        .filter(diesel::dsl::sql::<diesel::sql_types::Bool>(
            "status IN ('PENDING', 'FAILED')",
        ))
        .filter(outbox::next_attempt_at.le(diesel::dsl::now))
        .order(outbox::next_attempt_at)
        .limit(max)
        .select((
            outbox::id,
            outbox::order_id,
            outbox::attempt,
            outbox::payload,
            outbox::trace_context,
        ))
        .for_update()
        .skip_locked();
    let rows: Vec<(i64, i64, i32, String, Option<String>)> = named("relay: take", due).load(c).await?;
    Ok(rows
        .into_iter()
        .map(|(id, order_id, number, payload, trace_context)| Stored {
            id,
            attempt: Attempt { order_id, number },
            payload,
            trace_context: trace_context.and_then(|text| text.parse().ok()),
        })
        .collect())
}

/// How many are SENT, and how many DEAD.
async fn mark(
    c: &mut AsyncPgConnection,
    stored: &[Stored],
    published: &[Published],
    backoff: Backoff,
) -> Result<(usize, usize), DbError> {
    let (mut sent, mut failed, mut errors) = (vec![], vec![], vec![]);
    for (stored, published) in stored.iter().zip(published) {
        match published {
            Published::Confirmed => sent.push(stored.id),
            Published::Failed(why) => {
                failed.push(stored.id);
                errors.push(why.as_str());
            }
        }
    }
    if !sent.is_empty() {
        let change = diesel::update(outbox::table.filter(outbox::id.eq_any(&sent))).set((
            outbox::status.eq(OutboxStatus::Sent.word()),
            outbox::sent_at.eq(diesel::dsl::now),
            outbox::last_error.eq(None::<String>),
        ));
        named("relay: sent", change).execute(c).await?;
    }
    if failed.is_empty() {
        return Ok((sent.len(), 0));
    }
    let statement = MarkFailed {
        id: &failed,
        error: &errors,
        attempts_max: &backoff.attempts_max,
        retry_ms: &backoff.retry_ms,
        retry_max_ms: &backoff.retry_max_ms,
    };
    let dead: Vec<(i64, i32)> = named("relay: failed", statement).load(c).await?;
    let given_up: Vec<Conclude> = dead
        .iter()
        .map(|(order_id, number)| Conclude {
            attempt: Attempt {
                order_id: *order_id,
                number: *number,
            },
            conclusion: Conclusion::Failed {
                reason: FailReason::OutboxRetryExhausted,
                void: true,
            },
        })
        .collect();
    conclude_locked(c, &given_up).await?;
    Ok((sent.len(), dead.len()))
}

/// Removes messages that were sent longer than `keep_s` ago, at most `max` of them. Says how many.
///
/// # Errors
/// [`DbError`].
pub async fn purge(pool: &Pool, keep_s: i64, max: i64) -> Result<usize, DbError> {
    let mut connection = pool.get().await?;
    let statement = PurgeSent {
        keep_s: &keep_s,
        max: &max,
    };
    Ok(named("outbox: purge", statement).execute(&mut connection).await?)
}

/// A connection that hears of stored messages.
pub struct Listening {
    connection: Object<AsyncPgConnection>,
}

impl Listening {
    /// Begins to listen, on a connection of its own until this is dropped.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn begin(pool: &Pool) -> Result<Self, DbError> {
        let mut connection = pool.get().await?;
        connection
            .batch_execute("-- outbox: listen\nLISTEN outbox")
            .await?;
        Ok(Self { connection })
    }

    /// Waits until somebody stores a message, at most for `wait`. Says whether somebody did.
    ///
    /// # Errors
    /// [`DbError`] when the connection is gone.
    pub async fn heard(&mut self, wait: Duration) -> Result<bool, DbError> {
        let heard = {
            let mut notices = std::pin::pin!(self.connection.notifications_stream());
            tokio::time::timeout(wait, notices.next()).await
        };
        match heard {
            Ok(Some(Ok(_))) => Ok(true),
            Ok(Some(Err(error))) => Err(error.into()),
            // The stream does not end when the connection does.
            Ok(None) | Err(_) => {
                self.connection
                    .batch_execute("-- outbox: still there\nSELECT 1")
                    .await?;
                Ok(false)
            }
        }
    }
}
