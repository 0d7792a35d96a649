//! Movements: reading the ledger.

use chrono::{DateTime, Utc};
use contracts::product::Page;
use contracts::stock::{Direction, MovementReason, MovementView};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use platform::database::Pool;

use super::LedgerError;
use super::schema::stock_ledger;
use super::words::Stored;
use crate::domain::request::ProductId;

#[derive(Queryable, Selectable)]
#[diesel(table_name = stock_ledger, check_for_backend(Pg))]
struct MovementColumns {
    id: i64,
    product_id: i64,
    stock_version: i64,
    direction: String,
    quantity: i64,
    balance_after: i64,
    reason: String,
    order_id: Option<i64>,
    buyer_id: Option<String>,
    request_id: String,
    note: Option<String>,
    created_at: DateTime<Utc>,
}

impl MovementColumns {
    fn view(self) -> Result<MovementView, LedgerError> {
        Ok(MovementView {
            id: self.id,
            product_id: self.product_id,
            stock_version: self.stock_version,
            direction: Direction::stored(&self.direction)?,
            quantity: self.quantity,
            balance_after: self.balance_after,
            reason: MovementReason::stored(&self.reason)?,
            order_id: self.order_id,
            buyer_id: self.buyer_id,
            request_id: self.request_id,
            note: self.note,
            created_at: self.created_at,
        })
    }
}

/// Which movements of a product to list, and which page of them.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Only of this request.
    pub request_id: Option<String>,
    /// Only of this order.
    pub order_id: Option<i64>,
    /// Page, from 0.
    pub page: i64,
    /// Entries per page, 1..=100.
    pub size: i64,
}

/// One page of a product's movements, newest first.
///
/// # Errors
/// [`LedgerError`].
pub async fn list(
    pool: &Pool,
    product: ProductId,
    listing: &Listing,
) -> Result<Page<MovementView>, LedgerError> {
    let mut connection = pool.get().await?;
    let total: i64 = filtered(product, listing)
        .count()
        .get_result(&mut connection)
        .await?;
    let rows: Vec<MovementColumns> = filtered(product, listing)
        .order(stock_ledger::stock_version.desc())
        .limit(listing.size)
        .offset(listing.page.saturating_mul(listing.size))
        .select(MovementColumns::as_select())
        .load(&mut connection)
        .await?;
    let content = rows
        .into_iter()
        .map(MovementColumns::view)
        .collect::<Result<_, _>>()?;
    Ok(Page::new(content, listing.page, listing.size, total))
}

fn filtered(product: ProductId, listing: &Listing) -> stock_ledger::BoxedQuery<'_, Pg> {
    let mut rows = stock_ledger::table
        .filter(stock_ledger::product_id.eq(product))
        .into_boxed();
    if let Some(request_id) = &listing.request_id {
        rows = rows.filter(stock_ledger::request_id.eq(request_id));
    }
    if let Some(order_id) = listing.order_id {
        rows = rows.filter(stock_ledger::order_id.eq(order_id));
    }
    rows
}
