//! A connection that is checked out of the pool until it fails.
//!
//! One checkout then serves every batch of a flusher. (A checkout per batch costs a round trip: the pool pings a
//! connection before it hands it out.) After an error or a time-out the connection is thrown away, not given back: an
//! answer that comes late must not be taken for the next one's.

use std::time::Duration;

use deadpool_redis::{Connection, Pool};
use redis::{Cmd, Pipeline};
use tokio::time::{Instant, timeout_at};

use super::{GateError, Replies};
use crate::metrics;

/// See the module.
pub struct Link {
    pool: Pool,
    limit: Duration,
    connection: Option<Connection>,
}

impl Link {
    pub(super) fn new(pool: Pool, limit: Duration) -> Self {
        Self {
            pool,
            limit,
            connection: None,
        }
    }

    /// Runs one command whose answer says nothing but that it was done.
    ///
    /// # Errors
    /// [`GateError`] when it was refused or got no answer.
    pub(super) async fn command(&mut self, command: Cmd) -> Result<(), GateError> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command).ignore_errors();
        let replies = self.pipeline(&pipeline).await?;
        replies
            .into_iter()
            .try_for_each(|reply| reply.map(drop).map_err(GateError::from))
    }

    /// Runs a pipeline, connecting first where needed, all within the time limit. The pipeline has to ignore errors:
    /// each command then has a result of its own.
    ///
    /// # Errors
    /// [`GateError`] when the pipeline as a whole got no answer; some of its commands may have been executed.
    pub(super) async fn pipeline(&mut self, pipeline: &Pipeline) -> Result<Replies, GateError> {
        let until = Instant::now() + self.limit;
        let in_time = |_| GateError::Timeout;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let asked = Instant::now();
                let got = timeout_at(until, self.pool.get()).await;
                metrics::redis_waited(asked.elapsed(), matches!(got, Ok(Ok(_))));
                got.map_err(in_time)??
            }
        };
        let call = pipeline.query_async::<Replies>(&mut connection);
        let error = match timeout_at(until, call).await {
            Ok(Ok(replies)) => {
                self.connection = Some(connection);
                return Ok(replies);
            }
            Ok(Err(error)) => GateError::from(error),
            Err(_) => GateError::Timeout,
        };
        drop(Connection::take(connection));
        Err(error)
    }
}
