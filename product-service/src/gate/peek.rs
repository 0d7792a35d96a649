//! Peek: the sums of a product's gate at one moment, for audit and reconcile.

use redis::{FromRedisValue, Value};

use super::link::Link;
use super::scripts::PEEK;
use super::{Gate, GateError};
use crate::domain::request::ProductId;

/// The gate of one loaded product at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek {
    /// What may still be promised, units.
    pub counter: i64,
    /// Every movement up to this ledger version is in the counter.
    pub version: i64,
    /// Admitted and not settled yet.
    pub holds: i64,
    /// Units of those.
    pub held_units: i64,
    /// Movements above `version` that are in the counter too.
    pub facts: i64,
    /// Units of those, signed.
    pub facts_units: i64,
    /// Request ids in the sold set, its sentinel included.
    pub sold: i64,
    /// How many there should be.
    pub sold_expected: i64,
    /// What the sale is bound to, as far as the gate knows: see [`super::rules::text`].
    pub rules: String,
    /// Request ids of holds past their deadline; a bounded number of them.
    pub overdue: Vec<String>,
    /// Versions of the movements above `version` that are in the counter; a bounded number of them.
    pub fact_versions: Vec<i64>,
}

/// How many overdue holds, and how many facts, one peek names.
pub const NAMED_MAX: usize = 1000;

type Fields = (
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    String,
    Vec<String>,
    Vec<i64>,
);

impl Gate {
    /// One result per product, in their order; `None` for a product that is not loaded.
    ///
    /// # Errors
    /// [`GateError`] when there was no answer at all.
    pub async fn peek(
        &self,
        link: &mut Link,
        products: &[ProductId],
    ) -> Result<Vec<Result<Option<Peek>, GateError>>, GateError> {
        let calls = products
            .iter()
            .map(|product| {
                let mut call = PEEK.call(*product);
                call.arg(NAMED_MAX);
                call
            })
            .collect();
        let replies = PEEK.run(link, calls).await?;
        Ok(replies.into_iter().map(|reply| parse(reply?)).collect())
    }
}

fn parse(reply: Value) -> Result<Option<Peek>, GateError> {
    if matches!(&reply, Value::Array(fields) if fields.is_empty()) {
        return Ok(None);
    }
    let fields = Fields::from_redis_value_ref(&reply);
    let (
        counter,
        version,
        holds,
        held_units,
        facts,
        facts_units,
        sold,
        sold_expected,
        rules,
        overdue,
        fact_versions,
    ) = fields.map_err(|error| GateError::Reply(format!("peek: {error}")))?;
    Ok(Some(Peek {
        counter,
        version,
        holds,
        held_units,
        facts,
        facts_units,
        sold,
        sold_expected,
        rules,
        overdue,
        fact_versions,
    }))
}
