//! Where a product stands in the database: what loading, auditing and the list of hot products read.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::stock::MovementReason;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use diesel_async::pooled_connection::deadpool::Object;
use platform::database::Pool;
use platform::named::named;

use super::LedgerError;
use super::schema::{products, stock_ledger};
use super::sql::{FactsAfter, OwnedUnits, SoldIds, Standings};
use super::words::{Stored, word};
use crate::domain::books::Fact;
use crate::domain::request::{BuyerId, ProductId, RequestId};
use crate::domain::rules::SaleRules;

/// Longest wait for rows. Beyond the server's own limit on statements, which does not run while its process stands still.
const READ_LIMIT: Duration = Duration::from_secs(2);

/// Rows of one query. A connection that did not answer is thrown away: it would keep the next reader waiting as well. (No
/// function: the compiler does not see that its future may change threads.)
macro_rules! read {
    ($pool:expr, $query:expr) => {{
        let mut connection = $pool.get().await?;
        match tokio::time::timeout(READ_LIMIT, $query.load(&mut connection)).await {
            Ok(rows) => rows?,
            Err(_) => {
                drop(Object::take(connection));
                return Err(LedgerError::Timeout);
            }
        }
    }};
}

/// All hot products, in the order of their ids.
///
/// # Errors
/// [`LedgerError`].
pub async fn hot_products(pool: &Pool) -> Result<Vec<ProductId>, LedgerError> {
    let ids = products::table
        .filter(products::stock_strategy.eq(word::REDIS_FIRST))
        .order(products::id)
        .select(products::id);
    Ok(read!(pool, named("hot products", ids)))
}

/// How far the loading of one product has come.
#[derive(Debug, Clone)]
pub struct Reading<T> {
    /// The product.
    pub product: ProductId,
    /// The ledger version its gate will be opened with.
    pub version: i64,
    /// Where the next chunk begins.
    pub from: T,
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
    /// It got stock within the replay window. What comes behind it, if it did not, is older still.
    pub is_recent: bool,
}

/// Request ids that got stock, of each product the next `limit` below a version, newest first. Ids that were voided since
/// are among them: a retry of one is sent to the decision, which knows.
///
/// # Errors
/// [`LedgerError`].
pub async fn sold_ids(
    pool: &Pool,
    readings: &[Reading<i64>],
    window: Duration,
    limit: i64,
) -> Result<Vec<SoldId>, LedgerError> {
    let age_s = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
    let ids = SoldIds {
        products: readings.iter().map(|reading| reading.product).collect(),
        below: readings.iter().map(|reading| reading.from).collect(),
        age_s,
        limit,
    };
    Ok(read!(pool, named("load: sold ids", ids)))
}

/// What a buyer owns of a product.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Owned {
    /// The product.
    pub product: ProductId,
    /// The buyer.
    pub buyer: String,
    /// Units, over all his orders; 0 where he has given all of them back.
    pub units: i64,
}

/// What buyers own, as of one version of each product: of each the next `limit` buyers behind one, in the order of their ids.
///
/// # Errors
/// [`LedgerError`].
pub async fn owned(pool: &Pool, readings: &[Reading<String>], limit: i64) -> Result<Vec<Owned>, LedgerError> {
    let owned = OwnedUnits {
        products: readings.iter().map(|reading| reading.product).collect(),
        versions: readings.iter().map(|reading| reading.version).collect(),
        behind: readings.iter().map(|reading| reading.from.as_str()).collect(),
        limit,
    };
    Ok(read!(pool, named("load: what buyers own", owned)))
}

/// A product in the database, with its balance at the version its gate is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The product.
    pub product: ProductId,
    /// Units.
    pub stock: i64,
    /// Movements.
    pub stock_version: i64,
    /// Balance after the version asked for; none where the ledger has no such version.
    pub balance_at: Option<i64>,
    /// Whether it has a gate at all.
    pub hot: bool,
    /// What its sale is bound to.
    pub rules: SaleRules,
}

type StandingColumns = (
    i64,
    i64,
    i64,
    Option<i64>,
    String,
    String,
    Option<i64>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
);

fn standing(row: StandingColumns) -> Standing {
    let (product, stock, stock_version, balance_at, strategy, status, purchase_limit, starts_at, ends_at) =
        row;
    Standing {
        product,
        stock,
        stock_version,
        balance_at,
        hot: strategy == word::REDIS_FIRST,
        rules: SaleRules {
            discontinued: status != word::ACTIVE,
            starts_at,
            ends_at,
            purchase_limit,
        },
    }
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
    let rows = named("standings", Standings { products, versions });
    let rows: Vec<StandingColumns> = read!(pool, rows);
    Ok(rows.into_iter().map(standing).collect())
}

type FactColumns = (i64, i64, i64, Option<String>, Option<String>);

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
    let rows = named(
        "reconcile: facts",
        FactsAfter {
            products,
            versions,
            age_ms,
            limit,
        },
    );
    let rows: Vec<FactColumns> = read!(pool, rows);
    rows.into_iter().map(fact).collect()
}

/// The movements by which these decreases took stock, of those that did.
///
/// # Errors
/// [`LedgerError`].
pub async fn facts_of(pool: &Pool, request_ids: &[&str]) -> Result<Vec<(ProductId, Fact)>, LedgerError> {
    let rows = stock_ledger::table
        .filter(stock_ledger::request_id.eq_any(request_ids))
        .filter(stock_ledger::reason.eq(MovementReason::OrderDecrement.word()))
        .select((
            stock_ledger::product_id,
            stock_ledger::stock_version,
            stock_ledger::quantity,
            stock_ledger::request_id,
            stock_ledger::buyer_id,
        ));
    let rows: Vec<(i64, i64, i64, String, Option<String>)> = read!(pool, named("reconcile: holds", rows));
    rows.into_iter()
        .map(|(product, version, quantity, id, buyer)| fact((product, version, -quantity, Some(id), buyer)))
        .collect()
}

fn fact(
    (product, version, signed_quantity, settles, buyer): FactColumns,
) -> Result<(ProductId, Fact), LedgerError> {
    let settles = settles.as_deref().map(RequestId::new).transpose();
    let buyer = buyer.as_deref().map(BuyerId::new).transpose();
    Ok((
        product,
        Fact {
            version,
            signed_quantity,
            settles: settles.map_err(|bad| LedgerError::Stored(bad.0))?,
            buyer: buyer.map_err(|bad| LedgerError::Stored(bad.0))?,
        },
    ))
}
