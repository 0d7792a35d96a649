//! What a failed decision means for those who wait: whether anything may have been committed, and whether to repeat.

use diesel::result::{DatabaseErrorKind, Error};

use super::LedgerError;
use crate::domain::words::Unavailable;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nothing was committed, and repeating at once would not help.
    Nothing(Unavailable),
    /// Nothing was committed; another transaction was in the way for a moment.
    Again,
    /// Nothing was committed: the database refuses what this batch wants to write.
    Refused,
    /// The connection was lost, or the answer: it may have been committed.
    Unknown,
}

impl Failure {
    /// The word for it in logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Nothing(why) => why.word(),
            Self::Again => "again",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// Judges an error of the decision.
#[must_use]
pub fn failure(error: &LedgerError) -> Failure {
    match error {
        LedgerError::Pool(_) => Failure::Nothing(Unavailable::PoolTimeout),
        LedgerError::Timeout => Failure::Unknown,
        LedgerError::Stored(_) => Failure::Refused,
        LedgerError::Query(Error::DatabaseError(kind, information)) => match kind {
            DatabaseErrorKind::UniqueViolation | DatabaseErrorKind::SerializationFailure => Failure::Again,
            DatabaseErrorKind::CheckViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::RestrictViolation
            | DatabaseErrorKind::ExclusionViolation => Failure::Refused,
            DatabaseErrorKind::ReadOnlyTransaction => Failure::Nothing(Unavailable::Database),
            _ => by_message(information.message()),
        },
        LedgerError::Query(_) => Failure::Unknown,
    }
}

/// diesel has no kind for these and hides the SQLSTATE, so the server's English words have to do. On a server that
/// speaks another language they are repeated instead, which is slower and just as safe.
fn by_message(message: &str) -> Failure {
    if message.contains("lock timeout") {
        Failure::Nothing(Unavailable::LockTimeout)
    } else if message.contains("statement timeout") {
        Failure::Nothing(Unavailable::StatementTimeout)
    } else if message.contains("deadlock detected") {
        Failure::Again
    } else {
        Failure::Unknown
    }
}
