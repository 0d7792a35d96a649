//! Query fragments diesel does not have: statements over arrays, whose text is the same for any number of rows.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz};

/// The movements of one decision and the products they leave behind, one array per column: a statement with a text of
/// its own for every number of rows, as a multi-row insert is, would be prepared anew for every batch.
#[derive(Default)]
pub(super) struct WriteMovements<'a> {
    pub(super) product_id: Vec<i64>,
    pub(super) stock_version: Vec<i64>,
    pub(super) direction: Vec<&'a str>,
    pub(super) quantity: Vec<i64>,
    pub(super) balance_after: Vec<i64>,
    pub(super) reason: Vec<&'a str>,
    pub(super) order_id: Vec<Option<i64>>,
    pub(super) buyer_id: Vec<Option<&'a str>>,
    pub(super) request_id: Vec<&'a str>,
    pub(super) note: Vec<Option<&'a str>>,
    /// The products moved, with their new stock and version.
    pub(super) moved_id: Vec<i64>,
    pub(super) moved_stock: Vec<i64>,
    pub(super) moved_version: Vec<i64>,
}

impl QueryId for WriteMovements<'_> {
    type QueryId = WriteMovements<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryFragment<Pg> for WriteMovements<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "WITH moved AS (INSERT INTO stock_ledger (product_id, stock_version, direction, quantity, \
             balance_after, reason, order_id, buyer_id, request_id, note) SELECT * FROM unnest(",
        );
        out.push_bind_param::<Array<BigInt>, _>(&self.product_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.stock_version)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.direction)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.quantity)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.balance_after)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.reason)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<BigInt>>, _>(&self.order_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<Text>>, _>(&self.buyer_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.request_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Nullable<Text>>, _>(&self.note)?;
        out.push_sql(
            ")) UPDATE products SET stock = after.stock, stock_version = after.stock_version, updated_at = now() \
             FROM unnest(",
        );
        out.push_bind_param::<Array<BigInt>, _>(&self.moved_id)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.moved_stock)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.moved_version)?;
        out.push_sql(") AS after (id, stock, stock_version) WHERE products.id = after.id");
        Ok(())
    }
}

/// Products with their balance at one ledger version each, and their rules.
pub(super) struct Standings<'a> {
    pub(super) products: &'a [i64],
    pub(super) versions: &'a [i64],
}

impl QueryId for Standings<'_> {
    type QueryId = Standings<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for Standings<'_> {
    type SqlType = (
        BigInt,
        BigInt,
        BigInt,
        Nullable<BigInt>,
        Text,
        Text,
        Nullable<BigInt>,
        Nullable<Timestamptz>,
        Nullable<Timestamptz>,
    );
}

impl QueryFragment<Pg> for Standings<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT p.id, p.stock, p.stock_version, CASE WHEN asked.version = 0 THEN 0 ELSE ( \
             SELECT l.balance_after FROM stock_ledger l \
             WHERE l.product_id = asked.id AND l.stock_version = asked.version) END, \
             p.stock_strategy, p.status, p.purchase_limit, p.sale_starts_at, p.sale_ends_at FROM unnest(",
        );
        out.push_bind_param::<Array<BigInt>, _>(self.products)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(self.versions)?;
        out.push_sql(") AS asked (id, version) JOIN products p ON p.id = asked.id ORDER BY p.id");
        Ok(())
    }
}

/// The movements of products above one ledger version each, older than an age, with the decrease each is about, as the gate
/// is told of them.
pub(super) struct FactsAfter<'a> {
    pub(super) products: &'a [i64],
    pub(super) versions: &'a [i64],
    /// How old they are at least, milliseconds, by the database's clock.
    pub(super) age_ms: i64,
    pub(super) limit: i64,
}

impl QueryId for FactsAfter<'_> {
    type QueryId = FactsAfter<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for FactsAfter<'_> {
    type SqlType = (BigInt, BigInt, BigInt, Nullable<Text>, Nullable<Text>);
}

impl QueryFragment<Pg> for FactsAfter<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT l.product_id, l.stock_version, l.signed, CASE l.reason WHEN 'ORDER_DECREMENT' THEN l.request_id \
             WHEN 'ORDER_INCREMENT' THEN (SELECT t.voided_id FROM tombstones t WHERE t.void_id = l.request_id) END, \
             l.buyer_id FROM unnest(",
        );
        out.push_bind_param::<Array<BigInt>, _>(self.products)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(self.versions)?;
        // LATERAL with a LIMIT: one look into the index per product, from its version on. A plain join may be planned as
        // a merge of the whole ledger.
        out.push_sql(
            ") AS asked (id, version) CROSS JOIN LATERAL ( \
             SELECT product_id, stock_version, reason, request_id, buyer_id, created_at, \
             CASE direction WHEN 'IN' THEN quantity ELSE -quantity END AS signed FROM stock_ledger \
             WHERE product_id = asked.id AND stock_version > asked.version ORDER BY stock_version LIMIT ",
        );
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(") l WHERE l.created_at <= clock_timestamp() - interval '1 millisecond' * ");
        out.push_bind_param::<BigInt, _>(&self.age_ms)?;
        out.push_sql(" ORDER BY l.product_id, l.stock_version LIMIT ");
        out.push_bind_param::<BigInt, _>(&self.limit)
    }
}

/// A chunk of the request ids that got stock, per product, newest first below one version each. Age is told and not
/// filtered by: a filter would read on through all that is too old.
pub(super) struct SoldIds {
    pub(super) products: Vec<i64>,
    pub(super) below: Vec<i64>,
    /// How old they are at most to be recent, seconds, by the database's clock.
    pub(super) age_s: i64,
    /// Per product.
    pub(super) limit: i64,
}

impl QueryId for SoldIds {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for SoldIds {
    type SqlType = (BigInt, BigInt, Text, Bool);
}

impl QueryFragment<Pg> for SoldIds {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT asked.id, l.stock_version, l.request_id, \
             l.created_at >= clock_timestamp() - interval '1 second' * ",
        );
        out.push_bind_param::<BigInt, _>(&self.age_s)?;
        out.push_sql(" FROM unnest(");
        out.push_bind_param::<Array<BigInt>, _>(&self.products)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.below)?;
        out.push_sql(
            ") AS asked (id, below) CROSS JOIN LATERAL ( \
             SELECT stock_version, request_id, created_at FROM stock_ledger \
             WHERE product_id = asked.id AND stock_version < asked.below AND reason = 'ORDER_DECREMENT' \
             ORDER BY stock_version DESC LIMIT ",
        );
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(") l ORDER BY asked.id, l.stock_version DESC");
        Ok(())
    }
}

/// What buyers own of one product each: the net of their orders. Summed up per buyer, in a subquery of its own: a plan that was
/// made while the table was empty would otherwise read all of the product's rows for them.
pub(super) struct UnitsOf<'a> {
    pub(super) products: Vec<i64>,
    pub(super) buyers: Vec<&'a str>,
}

impl QueryId for UnitsOf<'_> {
    type QueryId = UnitsOf<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for UnitsOf<'_> {
    type SqlType = (BigInt, Text, BigInt);
}

impl QueryFragment<Pg> for UnitsOf<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT asked.product, asked.buyer, l.units FROM unnest(");
        out.push_bind_param::<Array<BigInt>, _>(&self.products)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.buyers)?;
        out.push_sql(
            ") AS asked (product, buyer) CROSS JOIN LATERAL ( \
             SELECT sum(CASE direction WHEN 'IN' THEN -quantity ELSE quantity END)::bigint AS units \
             FROM stock_ledger WHERE product_id = asked.product AND buyer_id = asked.buyer) l \
             WHERE l.units IS NOT NULL",
        );
        Ok(())
    }
}

/// What buyers own of products, as of one ledger version each: a chunk of the buyers behind one each.
pub(super) struct OwnedUnits<'a> {
    pub(super) products: Vec<i64>,
    pub(super) versions: Vec<i64>,
    pub(super) behind: Vec<&'a str>,
    /// Per product.
    pub(super) limit: i64,
}

impl QueryId for OwnedUnits<'_> {
    type QueryId = OwnedUnits<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for OwnedUnits<'_> {
    type SqlType = (BigInt, Text, BigInt);
}

impl QueryFragment<Pg> for OwnedUnits<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT asked.id, l.buyer_id, l.units FROM unnest(");
        out.push_bind_param::<Array<BigInt>, _>(&self.products)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.versions)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Text>, _>(&self.behind)?;
        out.push_sql(
            ") AS asked (id, version, behind) CROSS JOIN LATERAL ( \
             SELECT buyer_id, sum(CASE direction WHEN 'IN' THEN -quantity ELSE quantity END)::bigint AS units \
             FROM stock_ledger WHERE product_id = asked.id AND buyer_id > asked.behind \
             AND stock_version <= asked.version GROUP BY buyer_id ORDER BY buyer_id LIMIT ",
        );
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(") l ORDER BY asked.id, l.buyer_id");
        Ok(())
    }
}
