//! The backlog: what is not done, counted.

use diesel_async::RunQueryDsl;
use platform::database::Pool;
use platform::named::named;

use super::DbError;
use super::sql;

/// How many things of one kind are counted at most.
const COUNTED_MAX: i64 = 100_000;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Orders whose outcome is open.
    OrderPending,
    /// Messages that are to be published.
    MessagePending,
    /// Messages that could not be published and are tried again.
    MessageFailed,
    /// Messages that were given up.
    MessageDead,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::OrderPending,
        Self::MessagePending,
        Self::MessageFailed,
        Self::MessageDead,
    ];

    /// As the query names it.
    const fn name(self) -> &'static str {
        match self {
            Self::OrderPending => "order pending",
            Self::MessagePending => "message pending",
            Self::MessageFailed => "message failed",
            Self::MessageDead => "message dead",
        }
    }
}

/// What there is of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backlog {
    /// The kind.
    pub kind: Kind,
    /// How many, at most 100,000.
    pub count: i64,
    /// Since when the oldest of them is what it is, seconds ago; 0 when there is none. For a message: since it was stored.
    pub oldest_s: f64,
}

/// What is not done at this moment; every kind, also those of which there is nothing.
///
/// # Errors
/// [`DbError`].
pub async fn backlog(pool: &Pool) -> Result<[Backlog; 4], DbError> {
    let mut connection = pool.get().await?;
    let statement = sql::Backlog { max: &COUNTED_MAX };
    let rows: Vec<(String, i64, f64)> = named("backlog", statement).load(&mut connection).await?;
    Ok(Kind::ALL.map(|kind| {
        let row = rows.iter().find(|(name, ..)| name == kind.name());
        let (count, oldest_s) = row.map_or((0, 0.0), |(_, count, oldest_s)| (*count, *oldest_s));
        Backlog {
            kind,
            count,
            oldest_s,
        }
    }))
}
