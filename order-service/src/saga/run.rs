//! Running a step: within a request, with several tries until its deadline; or once, for the recovery worker.
//!
//! Whoever calls this is a task, never a handler: a client that hangs up ends nothing. If the process dies at any line,
//! the step's row is still there, and the recovery worker does the same again.

use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use super::{Standing, Step};
use crate::config::SagaConfig;
use crate::db::conclude::{Conclude, Concluded, Conclusion, conclude};
use crate::db::queue::{Limits, Queue, Unavailable};
use crate::db::saga::Due;
use crate::domain::attempt::Attempt;
use crate::domain::order::Order;
use crate::metrics;
use crate::product_client::{Answer, ProductClient};
use platform::database::Pool;
use platform::trace::TraceContext;
use tokio::task::JoinHandle;

/// Runs steps. Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    client: ProductClient,
    conclusions: Queue<Conclude, Concluded>,
    config: SagaConfig,
}

impl Runner {
    /// Starts the queue of conclusions; its task ends once every clone is dropped.
    #[must_use]
    pub fn start(
        client: ProductClient,
        pool: Pool,
        limits: Limits,
        config: SagaConfig,
    ) -> (Self, JoinHandle<()>) {
        let (conclusions, flusher) = Queue::start("conclude", pool, limits, conclude);
        (
            Self {
                client,
                conclusions,
                config,
            },
            flusher,
        )
    }

    /// Finds room for the conclusion of a step that is about to begin, behind those of `under_way` others. What became of a
    /// step is written whenever it is known: only before it has begun can it be refused.
    ///
    /// # Errors
    /// As [`Queue::expect_room`].
    pub fn expect_room(&self, under_way: usize, wait_max: Duration) -> Result<(), Unavailable> {
        self.conclusions.expect_room(under_way, wait_max)
    }

    /// Asks until there is an answer or the next try would begin after `deadline`, and writes down what became of it.
    ///
    /// # Errors
    /// [`Unavailable`] when that could not be written: the step stays, and recovery takes it up.
    pub async fn run_until(
        &self,
        step: Step,
        order: &Order,
        cause: Option<TraceContext>,
        deadline: Instant,
    ) -> Result<Concluded, Unavailable> {
        let mut tries = 0;
        // Whether a question may have arrived whose answer did not.
        let mut may_have_arrived = false;
        loop {
            let asked = Instant::now();
            let answer = self
                .client
                .ask(step.line().action, order.attempt(), order, cause, deadline)
                .await;
            let pause = self.pause(tries);
            let last = Instant::now() + pause >= deadline;
            let standing = Standing {
                asked_before: may_have_arrived,
                last,
                pause_ms: 0,
            };
            let conclusion = step.conclude(&answer, standing);
            metrics::step_tried(step, &answer, asked.elapsed());
            if !last && matches!(conclusion, Conclusion::Again { .. }) {
                may_have_arrived |= !matches!(answer, Answer::Unreached(_));
                tries += 1;
                tokio::time::sleep(pause).await;
                continue;
            }
            return self.write(order.attempt(), conclusion).await;
        }
    }

    /// One try of a step that has been taken up, and what became of it.
    ///
    /// # Errors
    /// As [`Runner::run_until`].
    pub async fn run_due(&self, due: &Due) -> Result<Concluded, Unavailable> {
        let asked = Instant::now();
        let deadline = asked + self.client.timeout();
        let answer = self
            .client
            .ask(
                due.step.line().action,
                due.attempt,
                &due.order,
                due.trace_context,
                deadline,
            )
            .await;
        metrics::step_tried(due.step, &answer, asked.elapsed());
        let standing = Standing {
            // By whoever began it, or by message.
            asked_before: true,
            last: due.tries >= self.config.tries_max,
            pause_ms: i64::try_from(self.pause(u32::try_from(due.tries).unwrap_or(0)).as_millis())
                .unwrap_or(0),
        };
        self.write(due.attempt, due.step.conclude(&answer, standing))
            .await
    }

    /// Writes down what became of an attempt.
    ///
    /// # Errors
    /// [`Unavailable`] when it could not be written, as far as is known.
    pub async fn write(&self, attempt: Attempt, conclusion: Conclusion) -> Result<Concluded, Unavailable> {
        metrics::concluded(&conclusion);
        let concluded = self.conclusions.ask(Conclude { attempt, conclusion }).await?;
        metrics::status_changed(attempt, &concluded);
        Ok(concluded)
    }

    /// Exponential, with jitter: half of it at least, so that many who failed together do not come back together.
    fn pause(&self, tries: u32) -> Duration {
        let exact = self
            .config
            .retry_ms
            .saturating_mul(1_u64.checked_shl(tries.min(32)).unwrap_or(u64::MAX))
            .min(self.config.retry_max_ms);
        let jittered = rand::rng().random_range(exact / 2..=exact);
        Duration::from_millis(jittered)
    }
}
