//! The order database. All SQL of this service is in this module.
//!
//! Each statement has a name, in front of it as a comment. An order's status changes only here, by an UPDATE that
//! names the status it leaves, in one transaction with the saga's row about it: whatever dies in between, Postgres
//! rolls back both.

pub mod backlog;
pub mod conclude;
pub mod newest;
pub mod orders;
pub mod outbox;
pub mod place;
pub mod queue;
pub mod relay;
pub mod saga;
mod schema;
mod sql;
mod words;

use std::time::Duration;

use diesel::result::{DatabaseErrorKind, Error};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

/// The schema, step by step, built into the program.
pub fn migrations() -> EmbeddedMigrations {
    const EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations");
    EMBEDDED
}

/// A query failed: nothing of it was committed, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No connection in time.
    #[error("no database connection: {0}")]
    Pool(#[from] diesel_async::pooled_connection::deadpool::PoolError),
    /// The database refused or failed; where the connection was lost, a commit may have happened.
    #[error("database: {0}")]
    Query(#[from] Error),
    /// The database did not answer in time; a commit may have happened.
    #[error("the database did not answer within the time limit")]
    Timeout,
    /// A stored value that this version does not know.
    #[error("stored value {0:?} is not known")]
    Stored(String),
}

impl DbError {
    /// Whether it is a fault of ours rather than of the moment: repeating would not help.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Stored(_) => true,
            Self::Query(Error::DatabaseError(kind, _)) => matches!(
                kind,
                DatabaseErrorKind::CheckViolation
                    | DatabaseErrorKind::NotNullViolation
                    | DatabaseErrorKind::ForeignKeyViolation
            ),
            Self::Query(_) | Self::Pool(_) | Self::Timeout => false,
        }
    }
}

/// How often a transaction of a queue is repeated, and the pause before each.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(15);

/// Runs `transaction`, each time within `limit`, until it succeeds or repeating would not help. Only for what has the
/// same effect once or several times: a commit whose answer was lost is repeated too.
async fn repeated<T, F: Future<Output = Result<T, DbError>>>(
    limit: Duration,
    mut transaction: impl FnMut() -> F,
) -> Result<T, DbError> {
    let mut attempt = 0;
    loop {
        let result = tokio::time::timeout(limit, transaction()).await;
        let error = match result.unwrap_or(Err(DbError::Timeout)) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        attempt += 1;
        crate::metrics::transaction_failed(&error);
        if error.is_ours() || attempt == ATTEMPTS {
            return Err(error);
        }
        tokio::time::sleep(PAUSE * attempt).await;
    }
}
