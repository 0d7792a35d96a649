//! A query fragment diesel does not have: a name in front of a statement.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};

/// A statement with its name in front as an SQL comment, so that `pg_stat_activity` and the server's log name it.
/// Prepared once per connection, like the statement itself.
pub fn named<Q>(name: &'static str, query: Q) -> Named<Q> {
    Named { name, query }
}

/// See [`named`].
pub struct Named<Q> {
    name: &'static str,
    query: Q,
}

impl<Q: QueryId> QueryId for Named<Q> {
    type QueryId = Named<Q::QueryId>;
    const HAS_STATIC_QUERY_ID: bool = Q::HAS_STATIC_QUERY_ID;
}

impl<Q: Query> Query for Named<Q> {
    type SqlType = Q::SqlType;
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Named<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("-- ");
        out.push_sql(self.name);
        out.push_sql("\n");
        self.query.walk_ast(out)
    }
}
