//! Products: everything but their stock, which only the decision moves.

use chrono::{DateTime, Utc};
use contracts::product::{CreateProduct, Page, PatchProduct, ProductStatus, ProductView, StockStrategy};
use contracts::stock::{Direction, MovementReason};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use platform::database::Pool;
use platform::named::named;
use uuid::Uuid;

use super::LedgerError;
use super::schema::{products, stock_ledger};
use super::words::Stored;
use crate::domain::request::ProductId;

#[derive(Queryable, Selectable)]
#[diesel(table_name = products, check_for_backend(Pg))]
pub(super) struct ProductColumns {
    id: i64,
    name: String,
    price: i64,
    stock: i64,
    stock_version: i64,
    status: String,
    stock_strategy: String,
    purchase_limit: Option<i64>,
    sale_starts_at: Option<DateTime<Utc>>,
    sale_ends_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i64,
}

impl ProductColumns {
    pub(super) fn view(self) -> Result<ProductView, LedgerError> {
        Ok(ProductView {
            id: self.id,
            name: self.name,
            price: self.price,
            stock: self.stock,
            stock_version: self.stock_version,
            status: ProductStatus::stored(&self.status)?,
            stock_strategy: StockStrategy::stored(&self.stock_strategy)?,
            purchase_limit: self.purchase_limit,
            sale_starts_at: self.sale_starts_at,
            sale_ends_at: self.sale_ends_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
            version: self.version,
        })
    }
}

/// Writes a product and, when it has stock, the first row of its ledger.
///
/// # Errors
/// [`LedgerError`].
pub async fn create(pool: &Pool, new: &CreateProduct) -> Result<ProductView, LedgerError> {
    let mut connection = pool.get().await?;
    connection.transaction(async |c| create_in(c, new).await).await
}

async fn create_in(c: &mut AsyncPgConnection, new: &CreateProduct) -> Result<ProductView, LedgerError> {
    let first_version = i64::from(new.stock > 0);
    let insert = diesel::insert_into(products::table)
        .values((
            products::name.eq(&new.name),
            products::price.eq(new.price),
            products::stock.eq(new.stock),
            products::stock_version.eq(first_version),
            products::status.eq(ProductStatus::Active.word()),
            products::stock_strategy.eq(new.stock_strategy.unwrap_or(StockStrategy::DbOnly).word()),
            products::purchase_limit.eq(new.purchase_limit),
            products::sale_starts_at.eq(new.sale_starts_at),
            products::sale_ends_at.eq(new.sale_ends_at),
        ))
        .returning(ProductColumns::as_returning());
    let product: ProductColumns = named("create: product", insert).get_result(c).await?;
    if new.stock > 0 {
        let first = diesel::insert_into(stock_ledger::table).values((
            stock_ledger::product_id.eq(product.id),
            stock_ledger::stock_version.eq(first_version),
            stock_ledger::direction.eq(Direction::In.word()),
            stock_ledger::quantity.eq(new.stock),
            stock_ledger::balance_after.eq(new.stock),
            stock_ledger::reason.eq(MovementReason::Initial.word()),
            stock_ledger::request_id.eq(format!("INITIAL-{}", Uuid::now_v7())),
        ));
        named("create: initial stock", first).execute(c).await?;
    }
    product.view()
}

#[derive(AsChangeset)]
#[diesel(table_name = products)]
struct Changes<'a> {
    name: Option<&'a str>,
    price: Option<i64>,
    status: Option<&'static str>,
    purchase_limit: Option<Option<i64>>,
    sale_starts_at: Option<Option<DateTime<Utc>>>,
    sale_ends_at: Option<Option<DateTime<Utc>>>,
    updated_at: DateTime<Utc>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub enum Patched {
    /// It is written; the product as it is now.
    Done(ProductView),
    /// Its version is this, which is none of those expected. Nothing is written.
    Stale(i64),
    /// There is no such product.
    NotFound,
}

/// Writes the columns that were given, and no other; where versions are `expected`, only on one of them.
///
/// # Errors
/// [`LedgerError`]; a check violation when the sale would end before it starts.
pub async fn patch(
    pool: &Pool,
    product: ProductId,
    patch: &PatchProduct,
    expected: Option<&[i64]>,
) -> Result<Patched, LedgerError> {
    let mut connection = pool.get().await?;
    let changes = Changes {
        name: patch.name.as_deref(),
        price: patch.price,
        status: patch.status.map(Stored::word),
        purchase_limit: patch.purchase_limit,
        sale_starts_at: patch.sale_starts_at,
        sale_ends_at: patch.sale_ends_at,
        updated_at: Utc::now(),
    };
    let is_any = expected.is_none().into_sql::<Bool>();
    let is_expected = is_any.or(products::version.eq_any(expected.unwrap_or_default().to_vec()));
    let update = diesel::update(
        products::table
            .filter(products::id.eq(product))
            .filter(is_expected),
    )
    .set((changes, products::version.eq(products::version + 1)))
    .returning(ProductColumns::as_returning());
    let row: Option<ProductColumns> = named("patch product", update)
        .get_result(&mut connection)
        .await
        .optional()?;
    if let Some(row) = row {
        return Ok(Patched::Done(row.view()?));
    }
    let version = products::table.find(product).select(products::version);
    let version = named("patch: version", version)
        .get_result(&mut connection)
        .await
        .optional()?;
    Ok(version.map_or(Patched::NotFound, Patched::Stale))
}

/// Sets the stock strategy. Returns the one before, and the product; `None`: no such product.
///
/// # Errors
/// [`LedgerError`].
pub async fn set_strategy(
    pool: &Pool,
    product: ProductId,
    strategy: StockStrategy,
) -> Result<Option<(StockStrategy, ProductView)>, LedgerError> {
    let mut connection = pool.get().await?;
    connection
        .transaction(async |c| {
            let before = products::table
                .filter(products::id.eq(product))
                .select(products::stock_strategy)
                .for_no_key_update();
            let Some(before) = named("strategy: lock", before)
                .get_result::<String>(c)
                .await
                .optional()?
            else {
                return Ok(None);
            };
            let update = diesel::update(products::table.filter(products::id.eq(product)))
                .set((
                    products::stock_strategy.eq(strategy.word()),
                    products::updated_at.eq(Utc::now()),
                    products::version.eq(products::version + 1),
                ))
                .returning(ProductColumns::as_returning());
            let row: ProductColumns = named("strategy: set", update).get_result(c).await?;
            Ok(Some((StockStrategy::stored(&before)?, row.view()?)))
        })
        .await
}

/// One product; `None`: no such product.
///
/// # Errors
/// [`LedgerError`].
pub async fn get(pool: &Pool, product: ProductId) -> Result<Option<ProductView>, LedgerError> {
    let mut connection = pool.get().await?;
    let row = products::table
        .filter(products::id.eq(product))
        .select(ProductColumns::as_select());
    let row: Option<ProductColumns> = named("get product", row)
        .get_result(&mut connection)
        .await
        .optional()?;
    row.map(ProductColumns::view).transpose()
}

/// What products are listed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortBy {
    /// Identity.
    Id,
    /// Name.
    Name,
    /// Price.
    Price,
    /// Stock.
    Stock,
    /// Creation.
    CreatedAt,
    /// Last change.
    UpdatedAt,
}

/// Which products to list, and which page of them.
#[derive(Debug, Clone)]
pub struct Listing {
    /// Part of the name, in any case.
    pub query: Option<String>,
    /// Only these.
    pub status: Option<ProductStatus>,
    /// Price at least.
    pub min_price: Option<i64>,
    /// Price at most.
    pub max_price: Option<i64>,
    /// Page, from 0.
    pub page: i64,
    /// Entries per page, 1..=100.
    pub size: i64,
    /// Order; ties in the order of ids.
    pub sort_by: SortBy,
    /// Largest first.
    pub descending: bool,
}

type Boxed<'a> = products::BoxedQuery<'a, Pg>;

/// One page of the products that match.
///
/// # Errors
/// [`LedgerError`].
pub async fn list(pool: &Pool, listing: &Listing) -> Result<Page<ProductView>, LedgerError> {
    let mut connection = pool.get().await?;
    let total: i64 = filtered(listing).count().get_result(&mut connection).await?;
    let rows = sorted(filtered(listing), listing)
        .limit(listing.size)
        .offset(listing.page.saturating_mul(listing.size))
        .select(ProductColumns::as_select());
    let rows: Vec<ProductColumns> = rows.load(&mut connection).await?;
    let content = rows
        .into_iter()
        .map(ProductColumns::view)
        .collect::<Result<_, _>>()?;
    Ok(Page::new(content, listing.page, listing.size, total))
}

fn filtered(listing: &Listing) -> Boxed<'_> {
    let mut rows = products::table.into_boxed();
    if let Some(query) = &listing.query {
        let literal = query
            .replace('\\', "\\\\")
            .replace('%', "\\%")
            .replace('_', "\\_");
        rows = rows.filter(products::name.ilike(format!("%{literal}%")));
    }
    if let Some(status) = listing.status {
        rows = rows.filter(products::status.eq(status.word()));
    }
    if let Some(price) = listing.min_price {
        rows = rows.filter(products::price.ge(price));
    }
    if let Some(price) = listing.max_price {
        rows = rows.filter(products::price.le(price));
    }
    rows
}

fn sorted<'a>(rows: Boxed<'a>, listing: &Listing) -> Boxed<'a> {
    macro_rules! by {
        ($column:expr) => {
            if listing.descending {
                rows.order(($column.desc(), products::id.asc()))
            } else {
                rows.order(($column.asc(), products::id.asc()))
            }
        };
    }
    match listing.sort_by {
        SortBy::Id if listing.descending => rows.order(products::id.desc()),
        SortBy::Id => rows.order(products::id.asc()),
        SortBy::Name => by!(products::name),
        SortBy::Price => by!(products::price),
        SortBy::Stock => by!(products::stock),
        SortBy::CreatedAt => by!(products::created_at),
        SortBy::UpdatedAt => by!(products::updated_at),
    }
}
