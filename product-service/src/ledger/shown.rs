//! Products as the console and the sale pages show them: with how much of each was sold, without counting sales.

use std::collections::HashMap;

use contracts::product::{ProductStatus, ProductView};
use contracts::stock::Direction;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::database::Pool;
use platform::named::named;

use super::LedgerError;
use super::products::ProductColumns;
use super::schema::{products, stock_ledger};
use super::words::{Stored, word};
use crate::domain::request::ProductId;

/// A product, and what was ever put on sale of it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The product.
    pub product: ProductView,
    /// Units of all its movements that belong to no order.
    pub supplied: i64,
}

impl Shown {
    /// Units that orders own.
    #[must_use]
    pub fn sold(&self) -> i64 {
        self.supplied - self.product.stock
    }
}

/// Hot products, the newest first, then the newest of the others that are on sale; at most so many of each.
///
/// # Errors
/// [`LedgerError`].
pub async fn newest(pool: &Pool, hot_max: i64, others_max: i64) -> Result<Vec<Shown>, LedgerError> {
    let mut connection = pool.get().await?;
    let hot = products::table
        .filter(products::stock_strategy.eq(word::REDIS_FIRST))
        .order(products::id.desc())
        .limit(hot_max)
        .select(ProductColumns::as_select());
    let mut rows: Vec<ProductColumns> = named("console: hot products", hot).load(&mut connection).await?;
    let others = products::table
        .filter(products::stock_strategy.ne(word::REDIS_FIRST))
        .filter(products::status.eq(ProductStatus::Active.word()))
        .order(products::id.desc())
        .limit(others_max)
        .select(ProductColumns::as_select());
    rows.extend(named("console: others", others).load(&mut connection).await?);
    with_supplied(&mut connection, rows).await
}

/// These products, in no order; those that are not there are left out.
///
/// # Errors
/// [`LedgerError`].
pub async fn some(pool: &Pool, ids: &[ProductId]) -> Result<Vec<Shown>, LedgerError> {
    let mut connection = pool.get().await?;
    let rows = products::table
        .filter(products::id.eq_any(ids))
        .select(ProductColumns::as_select());
    let rows: Vec<ProductColumns> = named("sale pages: products", rows).load(&mut connection).await?;
    with_supplied(&mut connection, rows).await
}

async fn with_supplied(
    connection: &mut AsyncPgConnection,
    rows: Vec<ProductColumns>,
) -> Result<Vec<Shown>, LedgerError> {
    let views: Vec<ProductView> = rows
        .into_iter()
        .map(ProductColumns::view)
        .collect::<Result<_, _>>()?;
    let ids: Vec<ProductId> = views.iter().map(|view| view.id).collect();
    let movements = stock_ledger::table
        .filter(stock_ledger::product_id.eq_any(&ids))
        .filter(stock_ledger::order_id.is_null())
        .select((
            stock_ledger::product_id,
            stock_ledger::direction,
            stock_ledger::quantity,
        ));
    let movements: Vec<(i64, String, i64)> = named("shown: supplied", movements).load(connection).await?;
    let mut supplied: HashMap<ProductId, i64> = HashMap::new();
    for (product, direction, quantity) in movements {
        let signed = if direction == Direction::In.word() {
            quantity
        } else {
            -quantity
        };
        *supplied.entry(product).or_default() += signed;
    }
    Ok(views
        .into_iter()
        .map(|product| Shown {
            supplied: supplied.get(&product.id).copied().unwrap_or(0),
            product,
        })
        .collect())
}
