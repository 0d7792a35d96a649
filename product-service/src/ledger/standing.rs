//! Where a product stands in the database: what loading, auditing and the list of hot products read.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use contracts::stock::MovementReason;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use platform::database::Pool;

use super::LedgerError;
use super::schema::{products, stock_ledger};
use super::sql::{Standings, named};
use super::words::{Stored, word};
use crate::domain::request::ProductId;

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

/// Whether a product is hot; `None` when there is none.
///
/// # Errors
/// [`LedgerError`].
pub async fn is_hot(pool: &Pool, product: ProductId) -> Result<Option<bool>, LedgerError> {
    let mut connection = pool.get().await?;
    let hot = products::table
        .filter(products::id.eq(product))
        .select(products::stock_strategy.eq(word::REDIS_FIRST));
    Ok(named("load: is it hot", hot)
        .get_result(&mut connection)
        .await
        .optional()?)
}

/// A chunk of the request ids that got stock within the replay window, of ledger versions above `after`, and the last
/// version of the chunk; no version when there are no more. Ids that were voided since are among them: a retry of one
/// is sent to the decision, which knows.
///
/// # Errors
/// [`LedgerError`].
pub async fn sold_ids(
    pool: &Pool,
    product: ProductId,
    after: i64,
    window: Duration,
    chunk: i64,
) -> Result<(Vec<String>, Option<i64>), LedgerError> {
    let since = TimeDelta::from_std(window)
        .ok()
        .and_then(|window| Utc::now().checked_sub_signed(window));
    let mut connection = pool.get().await?;
    let rows = stock_ledger::table
        .filter(stock_ledger::product_id.eq(product))
        .filter(stock_ledger::stock_version.gt(after))
        .filter(stock_ledger::created_at.ge(since.unwrap_or_default()))
        .filter(stock_ledger::reason.eq(MovementReason::OrderDecrement.word()))
        .order(stock_ledger::stock_version)
        .limit(chunk)
        .select((stock_ledger::stock_version, stock_ledger::request_id));
    let rows: Vec<(i64, String)> = named("load: sold ids", rows).load(&mut connection).await?;
    let last = rows.last().map(|(version, _)| *version);
    Ok((rows.into_iter().map(|(_, id)| id).collect(), last))
}

/// Stock and version of a product.
///
/// # Errors
/// [`LedgerError`].
pub async fn balance(pool: &Pool, product: ProductId) -> Result<Option<(i64, i64)>, LedgerError> {
    let mut connection = pool.get().await?;
    let row = products::table
        .filter(products::id.eq(product))
        .select((products::stock, products::stock_version));
    Ok(named("load: balance", row)
        .get_result(&mut connection)
        .await
        .optional()?)
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
