//! Accounts: what the ledger adds up to, row by row, for the metrics. Read on from where it was left, so that a product
//! costs what has happened to it since.

use std::time::Duration;

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Nullable};
use diesel_async::RunQueryDsl;
use diesel_async::pooled_connection::deadpool::Object;
use platform::database::Pool;
use platform::named::named;

use super::LedgerError;
use crate::domain::request::ProductId;

/// Longest wait for rows.
const READ_LIMIT: Duration = Duration::from_secs(2);

/// What a stretch of a product's ledger adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The product.
    pub product: ProductId,
    /// Its stock, by its own row.
    pub stock: i64,
    /// Its movements, by its own row.
    pub stock_version: i64,
    /// The last version of the stretch; where it began, when it is empty.
    pub version: i64,
    /// Balance after that version; none when the stretch is empty.
    pub balance: Option<i64>,
    /// Units that orders took, minus those given back.
    pub sold: i64,
    /// Units that came in otherwise, minus those taken out.
    pub supplied: i64,
}

type StretchColumns = (i64, i64, i64, i64, Option<i64>, i64, i64);

/// The rows above one version of each product, at most `rows_max` of each, added up. Everything is of one moment.
///
/// # Errors
/// [`LedgerError`].
pub async fn stretches(
    pool: &Pool,
    products: &[ProductId],
    above: &[i64],
    rows_max: i64,
) -> Result<Vec<Stretch>, LedgerError> {
    let mut connection = pool.get().await?;
    let query = named(
        "readings: accounts",
        Stretches {
            products,
            above,
            rows_max,
        },
    );
    let Ok(rows) = tokio::time::timeout(READ_LIMIT, query.load(&mut connection)).await else {
        // It would keep the next reader waiting as well.
        drop(Object::take(connection));
        return Err(LedgerError::Timeout);
    };
    let rows: Vec<StretchColumns> = rows?;
    Ok(rows
        .into_iter()
        .map(
            |(product, stock, stock_version, version, balance, sold, supplied)| Stretch {
                product,
                stock,
                stock_version,
                version,
                balance,
                sold,
                supplied,
            },
        )
        .collect())
}

struct Stretches<'a> {
    products: &'a [i64],
    above: &'a [i64],
    rows_max: i64,
}

impl QueryId for Stretches<'_> {
    type QueryId = Stretches<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for Stretches<'_> {
    type SqlType = (BigInt, BigInt, BigInt, BigInt, Nullable<BigInt>, BigInt, BigInt);
}

impl QueryFragment<Pg> for Stretches<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT p.id, p.stock, p.stock_version, coalesce(max(l.stock_version), above.version), \
             (array_agg(l.balance_after ORDER BY l.stock_version DESC))[1], \
             coalesce(sum(l.signed) FILTER (WHERE l.by_order), 0)::bigint * -1, \
             coalesce(sum(l.signed) FILTER (WHERE NOT l.by_order), 0)::bigint FROM unnest(",
        );
        out.push_bind_param::<Array<BigInt>, _>(&self.products)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.above)?;
        out.push_sql(
            ") AS above (id, version) JOIN products p ON p.id = above.id LEFT JOIN LATERAL (\
             SELECT stock_version, balance_after, CASE direction WHEN 'IN' THEN quantity ELSE -quantity END AS signed, \
             reason IN ('ORDER_DECREMENT', 'ORDER_INCREMENT') AS by_order FROM stock_ledger \
             WHERE product_id = above.id AND stock_version > above.version ORDER BY stock_version LIMIT ",
        );
        out.push_bind_param::<BigInt, _>(&self.rows_max)?;
        out.push_sql(") l ON true GROUP BY p.id, p.stock, p.stock_version, above.version");
        Ok(())
    }
}
