//! Decide: the one transaction that moves stock, for a whole batch, the same with and without Redis.
//!
//! Lock the product rows in the order of their ids, read what the requests' ids have done before, decide each in order
//! of arrival, write all ledger rows and one update per product, commit. Nobody is answered before the commit.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::stock::{Direction, IncreaseReason, MovementReason};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::join;
use platform::database::Pool;
use platform::named::named;
use platform::transaction::Transaction;

use super::LedgerError;
use super::schema::{products, stock_ledger, tombstones};
use super::sql::{UnitsOf, WriteMovements};
use super::words::{Stored, word};
use crate::domain::books::{Books, Decision, LedgerRow, ProductRow, Tombstone};
use crate::domain::request::{BuyerId, ProductId, RequestId, StockRequest};
use crate::domain::rules::SaleRules;

diesel::define_sql_function! {
    /// The database's clock at this moment, not at the start of the transaction.
    fn clock_timestamp() -> Timestamptz;
}

/// How long to wait for product rows that somebody else has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Not at all: leave such products out.
    Skip,
    /// Up to the session's `lock_timeout`.
    Wait,
}

/// Decides a batch. One result per request, in their order; `None` for requests whose product is locked by somebody
/// else, which only [`Waiting::Skip`] leaves undecided.
///
/// # Errors
/// [`LedgerError`]. Unless the database itself refused, the commit may have happened: deciding again, with the same
/// request ids, finds out.
pub async fn decide(
    pool: &Pool,
    limit: Duration,
    waiting: Waiting,
    requests: &[&StockRequest],
) -> Result<Vec<Option<Decision>>, LedgerError> {
    let decided = async {
        let transaction = Transaction::on(pool).await?;
        match decide_in(&transaction, waiting, requests).await {
            Ok(decisions) => {
                transaction.end();
                Ok(decisions)
            }
            Err(error) => {
                transaction.roll_back().await;
                Err(error)
            }
        }
    };
    tokio::time::timeout(limit, decided)
        .await
        .map_err(|_| LedgerError::Timeout)?
}

async fn decide_in(
    transaction: &Transaction,
    waiting: Waiting,
    requests: &[&StockRequest],
) -> Result<Vec<Option<Decision>>, LedgerError> {
    let c = transaction.connection();
    // One round trip. The reads run after the locks were granted, in statements of their own: each sees what whoever
    // held the locks before has committed.
    let (begun, products, rows, tombstones) = join!(
        transaction.begin(),
        lock_products(c, waiting, requests),
        past_movements(c, requests),
        past_voids(c, requests),
    );
    begun?;
    let mut books = Books::of(products?);
    rows?.into_iter().for_each(|row| books.know_row(row));
    tombstones?
        .into_iter()
        .for_each(|tombstone| books.know_tombstone(tombstone));
    let locked = match waiting {
        Waiting::Skip => locked_elsewhere(c, &books, requests).await?,
        Waiting::Wait => HashSet::new(),
    };
    books.owned = owned(c, &books, requests).await?;
    let decisions = requests
        .iter()
        .map(|request| (!locked.contains(&request.product())).then(|| books.decide(request)))
        .collect();
    // Another one.
    let (movements, voids, committed) = join!(
        write_movements(c, &books),
        write_voids(c, &books),
        transaction.commit()
    );
    movements?;
    voids?;
    committed?;
    Ok(decisions)
}

type LockedRow = (
    i64,
    i64,
    i64,
    String,
    String,
    Option<i64>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
    DateTime<Utc>,
);

async fn lock_products(
    mut c: &AsyncPgConnection,
    waiting: Waiting,
    requests: &[&StockRequest],
) -> Result<HashMap<ProductId, ProductRow>, LedgerError> {
    let ids: HashSet<ProductId> = requests.iter().map(|request| request.product()).collect();
    let rows = products::table
        .filter(products::id.eq_any(ids.into_iter().collect::<Vec<_>>()))
        .order(products::id)
        .select((
            products::id,
            products::stock,
            products::stock_version,
            products::status,
            products::stock_strategy,
            products::purchase_limit,
            products::sale_starts_at,
            products::sale_ends_at,
            clock_timestamp(),
        ))
        .for_no_key_update();
    let rows: Vec<LockedRow> = match waiting {
        Waiting::Skip => {
            named("decide: lock what is free", rows.skip_locked())
                .load(&mut c)
                .await?
        }
        Waiting::Wait => named("decide: lock", rows).load(&mut c).await?,
    };
    Ok(rows
        .into_iter()
        .map(
            |(id, stock, stock_version, status, strategy, purchase_limit, starts_at, ends_at, locked_at)| {
                let row = ProductRow {
                    stock,
                    stock_version,
                    rules: SaleRules {
                        discontinued: status != word::ACTIVE,
                        starts_at,
                        ends_at,
                        purchase_limit,
                    },
                    locked_at,
                    hot: strategy == word::REDIS_FIRST,
                };
                (id, row)
            },
        )
        .collect())
}

/// Of the products that could not be locked, those that are there: somebody else has them.
async fn locked_elsewhere(
    mut c: &AsyncPgConnection,
    books: &Books,
    requests: &[&StockRequest],
) -> Result<HashSet<ProductId>, LedgerError> {
    let missing: HashSet<ProductId> = requests
        .iter()
        .map(|request| request.product())
        .filter(|id| !books.products.contains_key(id))
        .collect();
    if missing.is_empty() {
        return Ok(missing);
    }
    let there = products::table
        .filter(products::id.eq_any(missing.into_iter().collect::<Vec<_>>()))
        .select(products::id);
    Ok(named("decide: what is locked elsewhere", there)
        .load(&mut c)
        .await?
        .into_iter()
        .collect())
}

type LedgerColumns = (
    i64,
    i64,
    String,
    i64,
    i64,
    String,
    Option<i64>,
    Option<String>,
    String,
    Option<String>,
);
type TombstoneColumns = (String, String, i64, i64, i64, String, i64, i64);

/// The requests' own ids, and the ids they void.
fn ids_of<'a>(requests: &[&'a StockRequest]) -> Vec<&'a str> {
    let mut ids: Vec<&str> = Vec::with_capacity(requests.len());
    for request in requests {
        ids.push(request.request_id().as_str());
        if let StockRequest::Increase(increase) = request {
            ids.push(increase.voids.as_str());
        }
    }
    ids
}

/// What the ids have moved before.
async fn past_movements(
    mut c: &AsyncPgConnection,
    requests: &[&StockRequest],
) -> Result<Vec<LedgerRow>, LedgerError> {
    let ids = ids_of(requests);
    let rows = stock_ledger::table
        .filter(stock_ledger::request_id.eq_any(&ids))
        .select((
            stock_ledger::product_id,
            stock_ledger::stock_version,
            stock_ledger::direction,
            stock_ledger::quantity,
            stock_ledger::balance_after,
            stock_ledger::reason,
            stock_ledger::order_id,
            stock_ledger::buyer_id,
            stock_ledger::request_id,
            stock_ledger::note,
        ));
    let rows: Vec<LedgerColumns> = named("decide: past movements", rows).load(&mut c).await?;
    rows.into_iter().map(ledger_row).collect()
}

/// What the ids have voided before, and by what they were voided.
async fn past_voids(
    mut c: &AsyncPgConnection,
    requests: &[&StockRequest],
) -> Result<Vec<Tombstone>, LedgerError> {
    let ids = ids_of(requests);
    let rows = tombstones::table
        .filter(
            tombstones::void_id
                .eq_any(&ids)
                .or(tombstones::voided_id.eq_any(&ids)),
        )
        .select((
            tombstones::void_id,
            tombstones::voided_id,
            tombstones::product_id,
            tombstones::order_id,
            tombstones::quantity,
            tombstones::reason,
            tombstones::given_back,
            tombstones::stock_after,
        ));
    let rows: Vec<TombstoneColumns> = named("decide: past voids", rows).load(&mut c).await?;
    rows.into_iter().map(tombstone).collect()
}

fn ledger_row(row: LedgerColumns) -> Result<LedgerRow, LedgerError> {
    let (product, stock_version, direction, quantity, balance_after, reason, order_id, buyer, id, note) = row;
    Ok(LedgerRow {
        product,
        stock_version,
        direction: Direction::stored(&direction)?,
        quantity,
        balance_after,
        reason: MovementReason::stored(&reason)?,
        order_id,
        buyer: buyer
            .map(|buyer| BuyerId::new(&buyer))
            .transpose()
            .map_err(|bad| LedgerError::Stored(bad.0))?,
        request_id: RequestId::new(&id).map_err(|bad| LedgerError::Stored(bad.0))?,
        note,
    })
}

fn tombstone(row: TombstoneColumns) -> Result<Tombstone, LedgerError> {
    let (void_id, voided_id, product, order_id, quantity, reason, given_back, stock_after) = row;
    Ok(Tombstone {
        void_id: RequestId::new(&void_id).map_err(|bad| LedgerError::Stored(bad.0))?,
        voided_id: RequestId::new(&voided_id).map_err(|bad| LedgerError::Stored(bad.0))?,
        product,
        order_id,
        quantity,
        reason: IncreaseReason::stored(&reason)?,
        given_back,
        stock_after,
    })
}

/// What buyers own of products that limit purchases: the net of their orders, over both paths.
async fn owned(
    mut c: &AsyncPgConnection,
    books: &Books,
    requests: &[&StockRequest],
) -> Result<HashMap<(ProductId, BuyerId), i64>, LedgerError> {
    let mut owned = HashMap::new();
    let limited: HashSet<(ProductId, &BuyerId)> = requests
        .iter()
        .filter_map(|request| match request {
            StockRequest::Decrease(decrease) => Some((decrease.product, decrease.buyer.as_ref()?)),
            StockRequest::Increase(_) | StockRequest::Adjust(_) => None,
        })
        .filter(|(product, _)| {
            books
                .products
                .get(product)
                .is_some_and(|row| row.rules.purchase_limit.is_some())
        })
        .collect();
    if limited.is_empty() {
        return Ok(owned);
    }
    let asked = UnitsOf {
        products: limited.iter().map(|(product, _)| *product).collect(),
        buyers: limited.iter().map(|(_, buyer)| buyer.as_str()).collect(),
    };
    for (product, buyer, units) in named("decide: what buyers own", asked)
        .load::<(i64, String, i64)>(&mut c)
        .await?
    {
        let buyer = BuyerId::new(&buyer).map_err(|bad| LedgerError::Stored(bad.0))?;
        owned.insert((product, buyer), units);
    }
    Ok(owned)
}

async fn write_movements(mut c: &AsyncPgConnection, books: &Books) -> Result<(), LedgerError> {
    if !books.new_rows.is_empty() {
        named("decide: write movements", movements(books))
            .execute(&mut c)
            .await?;
    }
    Ok(())
}

async fn write_voids(mut c: &AsyncPgConnection, books: &Books) -> Result<(), LedgerError> {
    if books.new_tombstones.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = books
        .new_tombstones
        .iter()
        .map(|tombstone| {
            (
                tombstones::void_id.eq(tombstone.void_id.as_str()),
                tombstones::voided_id.eq(tombstone.voided_id.as_str()),
                tombstones::product_id.eq(tombstone.product),
                tombstones::order_id.eq(tombstone.order_id),
                tombstones::quantity.eq(tombstone.quantity),
                tombstones::reason.eq(tombstone.reason.word()),
                tombstones::given_back.eq(tombstone.given_back),
                tombstones::stock_after.eq(tombstone.stock_after),
            )
        })
        .collect();
    named(
        "decide: write voids",
        diesel::insert_into(tombstones::table).values(&rows),
    )
    .execute(&mut c)
    .await?;
    Ok(())
}

fn movements(books: &Books) -> WriteMovements<'_> {
    let mut rows = WriteMovements::default();
    let mut moved = HashSet::new();
    for row in &books.new_rows {
        rows.product_id.push(row.product);
        rows.stock_version.push(row.stock_version);
        rows.direction.push(row.direction.word());
        rows.quantity.push(row.quantity);
        rows.balance_after.push(row.balance_after);
        rows.reason.push(row.reason.word());
        rows.order_id.push(row.order_id);
        rows.buyer_id.push(row.buyer.as_ref().map(BuyerId::as_str));
        rows.request_id.push(row.request_id.as_str());
        rows.note.push(row.note.as_deref());
        moved.insert(row.product);
    }
    for (id, product) in books.products.iter().filter(|(id, _)| moved.contains(id)) {
        rows.moved_id.push(*id);
        rows.moved_stock.push(product.stock);
        rows.moved_version.push(product.stock_version);
    }
    rows
}
