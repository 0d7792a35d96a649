//! Statements that take a whole batch: one array per column, so that the text is the same for every number of rows and
//! is prepared once per connection.

use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz};

/// The columns of an order, in the order of [`super::orders::OrderColumns`].
pub(super) type OrderSql = (
    BigInt,
    BigInt,
    Nullable<Text>,
    BigInt,
    Text,
    Nullable<Text>,
    Text,
    Integer,
    Timestamptz,
    Timestamptz,
);

/// Declares a statement: its fields, the columns it returns, and its text, with `[field: sql type]` where a value goes.
macro_rules! statement {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $rust:ty,)+ } -> $columns:ty = $($piece:tt)+) => {
        $(#[$doc])*
        pub(super) struct $name<'a> {
            $(pub(super) $field: &'a $rust,)+
        }

        impl diesel::query_builder::QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl diesel::query_builder::Query for $name<'_> {
            type SqlType = $columns;
        }

        impl diesel::query_builder::QueryFragment<diesel::pg::Pg> for $name<'_> {
            fn walk_ast<'b>(
                &'b self,
                mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                $(statement!(@piece self, out, $piece);)+
                Ok(())
            }
        }
    };
    (@piece $self:ident, $out:ident, [$field:ident: $sql:ty]) => {
        $out.push_bind_param::<$sql, _>($self.$field)?
    };
    (@piece $self:ident, $out:ident, $text:literal) => {
        $out.push_sql($text)
    };
}

statement! {
    /// Ids of orders that nobody else gets.
    NextOrderIds { count: i64, } -> BigInt =
    "SELECT nextval('orders_id_seq') FROM generate_series(1, " [count: BigInt] ")"
}

statement! {
    /// Orders, with the saga's row that watches over each, and the message of those that are asked for by message. What
    /// is there already, by its id or its key, is left out. Returns the orders written.
    PlaceOrders {
        id: Vec<i64>,
        product_id: Vec<i64>,
        buyer_id: Vec<Option<&'a str>>,
        quantity: Vec<i64>,
        flow: Vec<&'a str>,
        idempotency_key: Vec<Option<&'a str>>,
        watch_ms: Vec<i64>,
        payload: Vec<Option<String>>,
        trace_context: Vec<Option<String>>,
    } -> OrderSql =
    "WITH asked AS (SELECT * FROM unnest("
    [id: Array<BigInt>] ", " [product_id: Array<BigInt>] ", " [buyer_id: Array<Nullable<Text>>] ", "
    [quantity: Array<BigInt>] ", " [flow: Array<Text>] ", " [idempotency_key: Array<Nullable<Text>>] ", "
    [watch_ms: Array<BigInt>] ", " [payload: Array<Nullable<Text>>] ", " [trace_context: Array<Nullable<Text>>]
    ") AS asked (id, product_id, buyer_id, quantity, flow, idempotency_key, watch_ms, payload, trace_context)), \
    placed AS (INSERT INTO orders (id, product_id, buyer_id, quantity, flow, idempotency_key) \
      OVERRIDING SYSTEM VALUE SELECT id, product_id, buyer_id, quantity, flow, idempotency_key FROM asked \
      ORDER BY idempotency_key, id ON CONFLICT DO NOTHING \
      RETURNING id, product_id, buyer_id, quantity, status, fail_reason, flow, attempt, created_at, updated_at), \
    watched AS (INSERT INTO saga (order_id, attempt, step, next_try_at, trace_context) \
      SELECT id, 0, 'DECREASE', now() + interval '1 millisecond' * asked.watch_ms, asked.trace_context FROM asked JOIN placed USING (id)), \
    stored AS (INSERT INTO outbox (order_id, attempt, event_type, payload, trace_context) \
      SELECT id, 0, 'STOCK_DECREASE', asked.payload, asked.trace_context FROM asked JOIN placed USING (id) \
      WHERE asked.payload IS NOT NULL ORDER BY id) \
    SELECT * FROM placed"
}

statement! {
    /// Changes of status, at most one per order: guarded by the attempt and the status each leaves. In the same breath
    /// the step that is done goes, or becomes a void: also when recovery has asked meanwhile, whose question may still be
    /// under way. Returns the orders that changed.
    ChangeStatus {
        id: Vec<i64>,
        attempt: Vec<i32>,
        leaves: Vec<&'a str>,
        enters: Vec<&'a str>,
        reason: Vec<Option<&'a str>>,
        void: Vec<bool>,
    } -> OrderSql =
    "WITH asked AS (SELECT * FROM unnest("
    [id: Array<BigInt>] ", " [attempt: Array<Integer>] ", " [leaves: Array<Text>] ", " [enters: Array<Text>] ", "
    [reason: Array<Nullable<Text>>] ", " [void: Array<Bool>]
    ") AS asked (id, attempt, leaves, enters, reason, void) ORDER BY id), \
    changed AS (UPDATE orders SET status = asked.enters, fail_reason = asked.reason, updated_at = now() FROM asked \
      WHERE orders.id = asked.id AND orders.attempt = asked.attempt AND orders.status = asked.leaves \
      RETURNING orders.id, product_id, buyer_id, quantity, status, fail_reason, flow, orders.attempt, created_at, \
      updated_at, asked.void OR (asked.enters = 'FAILED' AND EXISTS (SELECT FROM saga \
      WHERE saga.order_id = orders.id AND saga.attempt = orders.attempt AND tries > 0)) AS void), \
    ended AS (DELETE FROM saga USING changed \
      WHERE saga.order_id = changed.id AND saga.attempt = changed.attempt AND NOT changed.void), \
    voided AS (INSERT INTO saga (order_id, attempt, step, next_try_at) \
      SELECT id, attempt, 'VOID', now() FROM changed WHERE void \
      ON CONFLICT (order_id, attempt) DO UPDATE SET step = 'VOID', tries = 0, next_try_at = excluded.next_try_at, \
      last_error = NULL, created_at = now()) \
    SELECT id, product_id, buyer_id, quantity, status, fail_reason, flow, attempt, created_at, updated_at FROM changed"
}

statement! {
    /// Voids for stock that was taken too late: the attempt has failed, or was followed by another one. Returns the
    /// orders it is about.
    VoidLate { id: Vec<i64>, attempt: Vec<i32>, } -> BigInt =
    "INSERT INTO saga (order_id, attempt, step, next_try_at, trace_context) SELECT orders.id, late.attempt, 'VOID', now(), \
    (SELECT trace_context FROM outbox WHERE outbox.order_id = orders.id AND outbox.attempt = late.attempt) FROM unnest("
    [id: Array<BigInt>] ", " [attempt: Array<Integer>]
    ") AS late (id, attempt) JOIN orders ON orders.id = late.id \
    AND (orders.attempt > late.attempt OR (orders.attempt = late.attempt AND orders.status = 'FAILED')) \
    ON CONFLICT DO NOTHING RETURNING order_id"
}

statement! {
    /// Steps that are done without a change of status.
    DropSteps { id: Vec<i64>, attempt: Vec<i32>, step: Vec<&'a str>, } -> () =
    "DELETE FROM saga USING unnest("
    [id: Array<BigInt>] ", " [attempt: Array<Integer>] ", " [step: Array<Text>]
    ") AS done (id, attempt, step) \
    WHERE saga.order_id = done.id AND saga.attempt = done.attempt AND saga.step = done.step"
}

statement! {
    /// Steps that are tried again, after a pause of milliseconds.
    PostponeSteps {
        id: Vec<i64>,
        attempt: Vec<i32>,
        step: Vec<&'a str>,
        pause_ms: Vec<i64>,
        error: Vec<&'a str>,
    } -> () =
    "UPDATE saga SET next_try_at = now() + interval '1 millisecond' * again.pause_ms, \
    last_error = left(again.error, 500) FROM unnest("
    [id: Array<BigInt>] ", " [attempt: Array<Integer>] ", " [step: Array<Text>] ", " [pause_ms: Array<BigInt>] ", "
    [error: Array<Text>]
    ") AS again (id, attempt, step, pause_ms, error) \
    WHERE saga.order_id = again.id AND saga.attempt = again.attempt AND saga.step = again.step"
}

statement! {
    /// Takes up what is due, for `lease_ms`: attempt, step, tries so far, what caused it, and the order.
    TakeUpSteps { limit: i64, lease_ms: i64, } -> (Integer, Text, Integer, Nullable<Text>, OrderSql) =
    "WITH due AS (SELECT order_id, attempt FROM saga WHERE next_try_at <= now() ORDER BY next_try_at LIMIT "
    [limit: BigInt]
    " FOR UPDATE SKIP LOCKED) UPDATE saga SET tries = tries + 1, next_try_at = now() + interval '1 millisecond' * "
    [lease_ms: BigInt]
    " FROM due JOIN orders ON orders.id = due.order_id \
    WHERE saga.order_id = due.order_id AND saga.attempt = due.attempt \
    RETURNING saga.attempt, step, tries, trace_context, orders.id, product_id, buyer_id, quantity, status, fail_reason, flow, \
    orders.attempt, orders.created_at, updated_at"
}

statement! {
    /// Begins to cancel a confirmed order: the step, leased for `lease_ms`. No row when it is not confirmed, or is being
    /// cancelled already.
    BeginCancel { id: i64, lease_ms: i64, trace_context: Option<String>, } -> BigInt =
    "WITH confirmed AS (SELECT id, attempt FROM orders WHERE status = 'CONFIRMED' AND id = " [id: BigInt]
    " FOR UPDATE) INSERT INTO saga (order_id, attempt, step, next_try_at, trace_context) \
    SELECT id, attempt, 'CANCEL', now() + interval '1 millisecond' * " [lease_ms: BigInt] ", " [trace_context: Nullable<Text>]
    " FROM confirmed ON CONFLICT DO NOTHING RETURNING order_id"
}

statement! {
    /// Messages that could not be published: again after a pause that doubles, or DEAD. Returns the attempts that are.
    MarkFailed {
        id: Vec<i64>,
        error: Vec<&'a str>,
        attempts_max: i32,
        retry_ms: i64,
        retry_max_ms: i64,
    } -> (BigInt, Integer) =
    "WITH failed AS (UPDATE outbox SET attempts = attempts + 1, last_error = left(unsent.error, 500), \
      status = CASE WHEN attempts + 1 >= " [attempts_max: Integer] " THEN 'DEAD' ELSE 'FAILED' END, \
      next_attempt_at = clock_timestamp() + interval '1 millisecond' * \
      least(" [retry_ms: BigInt] " * (1::bigint << least(attempts, 20)), " [retry_max_ms: BigInt] ") \
      FROM unnest(" [id: Array<BigInt>] ", " [error: Array<Text>] ") AS unsent (id, error) \
      WHERE outbox.id = unsent.id RETURNING order_id, attempt, status) \
    SELECT order_id, attempt FROM failed WHERE status = 'DEAD'"
}

statement! {
    /// Removes messages that were sent long ago.
    PurgeSent { keep_s: i64, max: i64, } -> () =
    "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE status = 'SENT' \
    AND sent_at < now() - interval '1 second' * " [keep_s: BigInt] " ORDER BY sent_at LIMIT " [max: BigInt]
    " FOR UPDATE SKIP LOCKED)"
}

statement! {
    /// What is not done, by kind: how many, and the age of the oldest in seconds. Read by index from its oldest end, so
    /// that it costs as much as there is to count, at most `max` of each kind. A PENDING order is one whose stock is still
    /// to be taken.
    Backlog { max: i64, } -> (Text, BigInt, Double) =
    "SELECT kind, count(*), coalesce(extract(epoch FROM clock_timestamp() - min(since)), 0)::float8 FROM ( \
    (SELECT 'order pending' AS kind, created_at AS since FROM saga WHERE step = 'DECREASE' ORDER BY order_id LIMIT "
    [max: BigInt]
    ") UNION ALL (SELECT 'message pending', created_at FROM outbox WHERE status = 'PENDING' \
    ORDER BY next_attempt_at LIMIT " [max: BigInt]
    ") UNION ALL (SELECT 'message failed', created_at FROM outbox WHERE status = 'FAILED' ORDER BY id LIMIT "
    [max: BigInt]
    ") UNION ALL (SELECT 'message dead', created_at FROM outbox WHERE status = 'DEAD' ORDER BY id LIMIT "
    [max: BigInt]
    ")) AS backlog GROUP BY kind"
}
