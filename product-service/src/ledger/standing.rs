//! Where a product stands in the database: what loading, auditing and the list of hot products read.

use std::collections::HashSet;
use std::time::Duration;

use contracts::stock::MovementReason;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use platform::database::Pool;
use platform::named::named;

use super::LedgerError;
use super::schema::{products, stock_ledger};
use super::sql::{FactsAfter, SoldIds, Standings};
use super::words::{Stored, word};
use crate::domain::books::Fact;
use crate::domain::request::{ProductId, RequestId};

/// All hot products, in the order of their ids.
///
/// # Errors
/// [`LedgerError`].
pub async fn hot_products(pool: &Pool) -> Result<Vec<ProductId>, LedgerError> {
    let mut connection = pool.get().await?;
    let ids = products::table
        .filter(products::stock_strategy.eq(word::REDIS_FIRST))
        .order(products::id)
        .select(products::id);
    Ok(named("hot products", ids).load(&mut connection).await?)
}

/// Which of these products are hot.
///
/// # Errors
/// [`LedgerError`].
pub async fn hot_among(pool: &Pool, products: &[ProductId]) -> Result<HashSet<ProductId>, LedgerError> {
    let mut connection = pool.get().await?;
    let hot = products::table
        .filter(products::id.eq_any(products))
        .filter(products::stock_strategy.eq(word::REDIS_FIRST))
        .select(products::id);
    let hot: Vec<ProductId> = named("load: which are hot", hot).load(&mut connection).await?;
    Ok(hot.into_iter().collect())
}

/// A request id that got stock.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct SoldId {
    /// The product.
    pub product: ProductId,
    /// Its ledger version.
    pub version: i64,
    /// The request id.
    pub request_id: String,
}

/// Request ids that got stock within the replay window: at most `limit` of them, in the order of products and versions,
/// beginning after a product and version. Ids that were voided since are among them: a retry of one is sent to the
/// decision, which knows.
///
/// # Errors
/// [`LedgerError`].
pub async fn sold_ids(
    pool: &Pool,
    products: &[ProductId],
    (product, version): (ProductId, i64),
    window: Duration,
    limit: i64,
) -> Result<Vec<SoldId>, LedgerError> {
    let age_s = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
    let mut connection = pool.get().await?;
    let ids = SoldIds {
        products,
        after_product: product,
        after_version: version,
        age_s,
        limit,
    };
    Ok(named("load: sold ids", ids).load(&mut connection).await?)
}

/// Stock and version of products.
///
/// # Errors
/// [`LedgerError`].
pub async fn balances(
    pool: &Pool,
    products: &[ProductId],
) -> Result<Vec<(ProductId, i64, i64)>, LedgerError> {
    let mut connection = pool.get().await?;
    let rows = products::table.filter(products::id.eq_any(products)).select((
        products::id,
        products::stock,
        products::stock_version,
    ));
    Ok(named("load: balances", rows).load(&mut connection).await?)
}

/// A product in the database, with its balance at the version its gate is at.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Standing {
    /// The product.
    pub product: ProductId,
    /// Units.
    pub stock: i64,
    /// Movements.
    pub stock_version: i64,
    /// Balance after the version asked for; none where the ledger has no such version.
    pub balance_at: Option<i64>,
}

/// Where products stand, each with its balance at a version of the caller's choice (0: before the first movement).
///
/// # Errors
/// [`LedgerError`].
pub async fn standings(
    pool: &Pool,
    products: &[ProductId],
    versions: &[i64],
) -> Result<Vec<Standing>, LedgerError> {
    let mut connection = pool.get().await?;
    let rows = named("audit: standings", Standings { products, versions });
    Ok(rows.load::<Standing>(&mut connection).await?)
}

type FactColumns = (i64, i64, i64, Option<String>);

/// Movements of products above one ledger version each that are older than `age`. At most `limit`, in the order of products and versions.
///
/// # Errors
/// [`LedgerError`].
pub async fn facts_after(
    pool: &Pool,
    products: &[ProductId],
    versions: &[i64],
    age: Duration,
    limit: i64,
) -> Result<Vec<(ProductId, Fact)>, LedgerError> {
    let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    let mut connection = pool.get().await?;
    let rows = named(
        "reconcile: facts",
        FactsAfter {
            products,
            versions,
            age_ms,
            limit,
        },
    );
    let rows: Vec<FactColumns> = rows.load(&mut connection).await?;
    rows.into_iter().map(fact).collect()
}

/// The movements by which these decreases took stock, of those that did.
///
/// # Errors
/// [`LedgerError`].
pub async fn facts_of(pool: &Pool, request_ids: &[&str]) -> Result<Vec<(ProductId, Fact)>, LedgerError> {
    let mut connection = pool.get().await?;
    let rows = stock_ledger::table
        .filter(stock_ledger::request_id.eq_any(request_ids))
        .filter(stock_ledger::reason.eq(MovementReason::OrderDecrement.word()))
        .select((
            stock_ledger::product_id,
            stock_ledger::stock_version,
            stock_ledger::quantity,
            stock_ledger::request_id,
        ));
    let rows: Vec<(i64, i64, i64, String)> = named("reconcile: holds", rows).load(&mut connection).await?;
    rows.into_iter()
        .map(|(product, version, quantity, id)| fact((product, version, -quantity, Some(id))))
        .collect()
}

fn fact((product, version, signed_quantity, settles): FactColumns) -> Result<(ProductId, Fact), LedgerError> {
    let settles = settles
        .map(|id| RequestId::new(&id))
        .transpose()
        .map_err(|bad| LedgerError::Stored(bad.0))?;
    Ok((
        product,
        Fact {
            version,
            signed_quantity,
            settles,
        },
    ))
}
