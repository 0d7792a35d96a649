//! A transaction whose BEGIN travels with its first statements and whose COMMIT travels with its last ones.
//!
//! Each round trip is paid by everybody who waits for the locks that a transaction holds. Statements that are polled
//! together (`join!`) are sent together, in the order in which they stand there; Postgres runs them one after the other,
//! and each sees what was committed before it began.
//!
//! Dropped before its end, as when a time limit passes, it takes its connection with it, and the server rolls back.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel_async::pooled_connection::deadpool::{Object, PoolError};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use crate::database::Pool;

/// Statements in it keep one plan for all values. For a handful of rows Postgres would plan anew each time, which takes a
/// quarter of its time for a single sale. Not for the whole session: a plan for all values cannot use an index that has
/// only rows with certain ones.
const BEGIN: &str = "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan";

/// See the module.
pub struct Transaction {
    /// Until it has ended.
    connection: Option<Object<AsyncPgConnection>>,
}

impl Transaction {
    /// Takes a connection for it. [`Transaction::begin`] comes first.
    ///
    /// # Errors
    /// [`PoolError`]: no connection in time.
    pub async fn on(pool: &Pool) -> Result<Self, PoolError> {
        Ok(Self {
            connection: Some(pool.get().await?),
        })
    }

    /// What statements run on: `query.load(&mut transaction.connection())`.
    ///
    /// # Panics
    /// Never: [`Transaction::end`] and [`Transaction::roll_back`] consume the transaction.
    #[must_use]
    #[expect(clippy::expect_used, reason = "there until it is consumed")]
    pub fn connection(&self) -> &AsyncPgConnection {
        self.connection
            .as_ref()
            .expect("a transaction that has not ended")
    }

    /// BEGIN. Stands first among the statements it is joined with.
    ///
    /// # Errors
    /// [`diesel::result::Error`].
    pub async fn begin(&self) -> QueryResult<()> {
        self.connection().batch_execute(BEGIN).await
    }

    /// COMMIT. Stands last among the statements it is joined with, whose errors count more than its answer: after a
    /// statement that failed, it rolls back and says that all is well.
    ///
    /// # Errors
    /// [`diesel::result::Error`]; the commit may have happened.
    pub async fn commit(&self) -> QueryResult<()> {
        Commit.execute(&mut self.connection()).await.map(drop)
    }

    /// After [`Transaction::commit`] succeeded: the connection goes back to the pool.
    pub fn end(mut self) {
        drop(self.connection.take());
    }

    /// After anything failed: rolls back, and lets the pool have the connection only if that succeeded.
    pub async fn roll_back(mut self) {
        if self.connection().batch_execute("ROLLBACK").await.is_ok() {
            drop(self.connection.take());
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // Not back to the pool: whoever got it next would be inside this transaction.
        drop(self.connection.take().map(Object::take));
    }
}

/// Prepared like every other statement, and not sent as plain text: diesel prepares one statement of a connection at a
/// time, in the order of asking, and a COMMIT that did not wait in that line would overtake one still being prepared.
#[derive(QueryId)]
struct Commit;

impl QueryFragment<Pg> for Commit {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("COMMIT");
        Ok(())
    }
}
