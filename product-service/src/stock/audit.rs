//! Audit: measures, for every hot product, how far the gate is from the database. Exact under full load: the gate's
//! sums are read at one moment, then the ledger row they refer to.

use platform::database::Pool;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::request::ProductId;
use crate::gate::Gate;
use crate::gate::peek::Peek;
use crate::ledger::{LedgerError, standing};
use crate::metrics;

/// One hot product: the gate beside the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StockAudit {
    /// The product.
    pub product_id: ProductId,
    /// Units in the database.
    pub database_stock: i64,
    /// Movements in the database.
    pub database_version: i64,
    /// Its gate, when it is loaded and Redis answers.
    pub gate: Option<GateAudit>,
}

/// The gate of one product at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateAudit {
    /// Units that may still be promised.
    pub counter: i64,
    /// Requests admitted and not settled yet.
    pub holds: i64,
    /// Their units.
    pub held_units: i64,
    /// Holds past their deadline.
    pub overdue_holds: i64,
    /// Every movement up to this ledger version is in the counter.
    pub version: i64,
    /// Movements above it that are in the counter too.
    pub facts: i64,
    /// Units by which the counter differs from what the ledger says it has to be. Always 0 in health; none when the
    /// gate is ahead of a database that has lost commits.
    pub drift: Option<i64>,
}

/// Measures all hot products, in chunks, in the order of their ids.
///
/// # Errors
/// [`LedgerError`] when the database does not answer. A Redis that does not answer leaves `gate` empty.
pub async fn audit(gate: &Gate, pool: &Pool) -> Result<Vec<StockAudit>, LedgerError> {
    let mut audits = Vec::new();
    let hot = standing::hot_products(pool).await?;
    for products in hot.chunks(CHUNK) {
        audits.extend(audit_some(gate, pool, products).await?);
    }
    Ok(audits)
}

/// Products per round trip.
const CHUNK: usize = 500;

/// Measures these products.
///
/// # Errors
/// See [`audit`].
pub async fn audit_some(
    gate: &Gate,
    pool: &Pool,
    products: &[ProductId],
) -> Result<Vec<StockAudit>, LedgerError> {
    let peeks: Vec<Option<Peek>> = match gate.peek(&mut gate.background_link(), products).await {
        Ok(peeks) => peeks
            .into_iter()
            .map(|peek| {
                peek.unwrap_or_else(|error| {
                    metrics::peek_failed(&error);
                    None
                })
            })
            .collect(),
        Err(error) => {
            metrics::peek_failed(&error);
            vec![None; products.len()]
        }
    };
    beside(pool, products, &peeks).await
}

/// The database's side of these products alone: Redis is not asked.
///
/// # Errors
/// See [`audit`].
pub async fn audit_without_gate(pool: &Pool, products: &[ProductId]) -> Result<Vec<StockAudit>, LedgerError> {
    beside(pool, products, &vec![None; products.len()]).await
}

async fn beside(
    pool: &Pool,
    products: &[ProductId],
    peeks: &[Option<Peek>],
) -> Result<Vec<StockAudit>, LedgerError> {
    let versions: Vec<i64> = peeks
        .iter()
        .map(|peek| peek.as_ref().map_or(0, |peek| peek.version))
        .collect();
    let standings = standing::standings(pool, products, &versions).await?;
    Ok(standings
        .into_iter()
        .filter_map(|standing| {
            let index = products.iter().position(|product| *product == standing.product)?;
            Some(StockAudit {
                product_id: standing.product,
                database_stock: standing.stock,
                database_version: standing.stock_version,
                gate: peeks[index]
                    .as_ref()
                    .map(|peek| gate_audit(peek, standing.balance_at)),
            })
        })
        .collect())
}

fn gate_audit(peek: &Peek, balance_at_version: Option<i64>) -> GateAudit {
    GateAudit {
        counter: peek.counter,
        holds: peek.holds,
        held_units: peek.held_units,
        overdue_holds: i64::try_from(peek.overdue.len()).unwrap_or(i64::MAX),
        version: peek.version,
        facts: peek.facts,
        // counter = balance(v) + sum(m) - sum(holds), at every moment
        drift: balance_at_version
            .map(|balance| peek.counter - (balance + peek.facts_units - peek.held_units)),
    }
}
