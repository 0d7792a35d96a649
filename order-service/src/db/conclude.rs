//! Concluding: what became of steps of sagas, written for as many as wait in one transaction.

use std::collections::HashMap;
use std::collections::HashSet;
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use platform::database::Pool;
use platform::named::named;

use super::orders::{self, OrderColumns};
use super::sql::{ChangeStatus, DropSteps, PostponeSteps, VoidLate};
use super::words::Stored;
use super::{DbError, repeated};
use crate::domain::attempt::Attempt;
use crate::domain::order::{Event, FailReason, Order};
use crate::saga::Step;

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    /// Stock was taken: CONFIRMED. If the order could not wait for it, the stock is given back.
    Taken,
    /// No stock for this attempt: FAILED. `void`: what it may have taken after all is given up.
    Failed {
        /// Why.
        reason: FailReason,
        /// Whether it may have taken stock.
        void: bool,
    },
    /// Stock of a cancelled order was given back: CANCELLED.
    Returned,
    /// The step is over, and the order's status stays.
    Over(Step),
    /// The step is tried again.
    Again {
        /// The step.
        step: Step,
        /// After this pause, milliseconds.
        pause_ms: i64,
        /// Why, at most 500 characters are kept.
        error: String,
    },
}

/// A conclusion about an attempt.
#[derive(Debug, Clone)]
pub struct Conclude {
    /// The attempt.
    pub attempt: Attempt,
    /// What became of it.
    pub conclusion: Conclusion,
}

/// What a conclusion has led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concluded {
    /// The order as it is now; `None`: there is none.
    pub order: Option<Order>,
    /// Whether its status changed by this.
    pub changed: bool,
    /// Whether stock came too late and is given back.
    pub too_late: bool,
}

/// Writes a batch of conclusions, in their order for each order. Each may be written any number of times.
///
/// # Errors
/// [`DbError`]: a commit may have happened.
pub fn conclude<'a>(
    pool: &'a Pool,
    limit: Duration,
    batch: &'a [Conclude],
) -> BoxFuture<'a, Result<Vec<Concluded>, DbError>> {
    repeated(limit, move || async move {
        let mut connection = pool.get().await?;
        connection
            .transaction(async |c| conclude_locked(c, batch).await)
            .await
    })
    .boxed()
}

/// An UPDATE joined with several rows for one order would take any of them: each order once per round.
pub(super) async fn conclude_locked(
    c: &mut AsyncPgConnection,
    batch: &[Conclude],
) -> Result<Vec<Concluded>, DbError> {
    let mut concluded = vec![None; batch.len()];
    let mut left: Vec<usize> = (0..batch.len()).collect();
    while !left.is_empty() {
        let mut taken = HashSet::new();
        let (round, rest) = left
            .into_iter()
            .partition::<Vec<usize>, _>(|index| taken.insert(batch[*index].attempt.order_id));
        round_of(c, batch, &round, &mut concluded).await?;
        left = rest;
    }
    Ok(concluded.into_iter().flatten().collect())
}

async fn round_of(
    c: &mut AsyncPgConnection,
    batch: &[Conclude],
    round: &[usize],
    concluded: &mut [Option<Concluded>],
) -> Result<(), DbError> {
    let items: Vec<&Conclude> = round.iter().map(|index| &batch[*index]).collect();
    let mut changed: HashMap<i64, Order> = change_status(c, &items).await?;
    let too_late = void_late(c, &items, &changed).await?;
    drop_steps(c, &items).await?;
    postpone(c, &items).await?;
    let unchanged: Vec<i64> = items
        .iter()
        .map(|item| item.attempt.order_id)
        .filter(|id| !changed.contains_key(id))
        .collect();
    let mut others: HashMap<i64, Order> = if unchanged.is_empty() {
        HashMap::new()
    } else {
        orders::by_ids(c, &unchanged)
            .await?
            .into_iter()
            .map(|order| (order.id, order))
            .collect()
    };
    for index in round {
        let id = batch[*index].attempt.order_id;
        let order = changed.remove(&id);
        concluded[*index] = Some(Concluded {
            changed: order.is_some(),
            too_late: too_late.contains(&id),
            order: order.or_else(|| others.remove(&id)),
        });
    }
    Ok(())
}

async fn change_status(
    c: &mut AsyncPgConnection,
    items: &[&Conclude],
) -> Result<HashMap<i64, Order>, DbError> {
    let (mut id, mut attempt, mut leaves, mut enters, mut reasons, mut void) =
        (vec![], vec![], vec![], vec![], vec![], vec![]);
    for item in items {
        let (event, reason, voids) = match &item.conclusion {
            Conclusion::Taken => (Event::Taken, None, false),
            Conclusion::Failed { reason, void } => (Event::Failed, Some(reason.word()), *void),
            Conclusion::Returned => (Event::Returned, None, false),
            Conclusion::Over(_) | Conclusion::Again { .. } => continue,
        };
        let (from, to) = event.transition();
        id.push(item.attempt.order_id);
        attempt.push(item.attempt.number);
        leaves.push(from.word());
        enters.push(to.word());
        reasons.push(reason);
        void.push(voids);
    }
    if id.is_empty() {
        return Ok(HashMap::new());
    }
    let statement = ChangeStatus {
        id: &id,
        attempt: &attempt,
        leaves: &leaves,
        enters: &enters,
        reason: &reasons,
        void: &void,
    };
    let rows: Vec<OrderColumns> = named("conclude: status", statement).load(c).await?;
    rows.into_iter()
        .map(|row| row.order().map(|order| (order.id, order)))
        .collect()
}

/// Stock that was taken for an order which did not wait for it: whoever took it has to give it back.
async fn void_late(
    c: &mut AsyncPgConnection,
    items: &[&Conclude],
    changed: &HashMap<i64, Order>,
) -> Result<HashSet<i64>, DbError> {
    let late = items
        .iter()
        .filter(|item| item.conclusion == Conclusion::Taken && !changed.contains_key(&item.attempt.order_id));
    let (id, attempt): (Vec<i64>, Vec<i32>) = late
        .map(|item| (item.attempt.order_id, item.attempt.number))
        .unzip();
    if id.is_empty() {
        return Ok(HashSet::new());
    }
    let statement = VoidLate {
        id: &id,
        attempt: &attempt,
    };
    let voided: Vec<i64> = named("conclude: void what came late", statement).load(c).await?;
    Ok(voided.into_iter().collect())
}

async fn drop_steps(c: &mut AsyncPgConnection, items: &[&Conclude]) -> Result<(), DbError> {
    let (mut id, mut attempt, mut step) = (vec![], vec![], vec![]);
    for item in items {
        if let Conclusion::Over(over) = &item.conclusion {
            id.push(item.attempt.order_id);
            attempt.push(item.attempt.number);
            step.push(over.word());
        }
    }
    if !id.is_empty() {
        let statement = DropSteps {
            id: &id,
            attempt: &attempt,
            step: &step,
        };
        named("conclude: steps that are over", statement)
            .execute(c)
            .await?;
    }
    Ok(())
}

async fn postpone(c: &mut AsyncPgConnection, items: &[&Conclude]) -> Result<(), DbError> {
    let (mut id, mut attempt, mut steps, mut pauses, mut errors) = (vec![], vec![], vec![], vec![], vec![]);
    for item in items {
        if let Conclusion::Again {
            step,
            pause_ms,
            error,
        } = &item.conclusion
        {
            id.push(item.attempt.order_id);
            attempt.push(item.attempt.number);
            steps.push(step.word());
            pauses.push(*pause_ms);
            errors.push(error.as_str());
        }
    }
    if !id.is_empty() {
        let statement = PostponeSteps {
            id: &id,
            attempt: &attempt,
            step: &steps,
            pause_ms: &pauses,
            error: &errors,
        };
        named("conclude: steps to try again", statement)
            .execute(c)
            .await?;
    }
    Ok(())
}
