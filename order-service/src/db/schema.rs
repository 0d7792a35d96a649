//! The tables, as `migrations/` makes them.
//! The macro documents nothing, so nobody outside of this module sees it.

diesel::table! {
    orders (id) {
        id -> BigInt,
        product_id -> BigInt,
        buyer_id -> Nullable<Text>,
        quantity -> BigInt,
        status -> Text,
        fail_reason -> Nullable<Text>,
        flow -> Text,
        attempt -> Integer,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        idempotency_key -> Nullable<Text>,
    }
}

diesel::table! {
    saga (order_id, attempt) {
        order_id -> BigInt,
        attempt -> Integer,
        step -> Text,
        tries -> Integer,
        next_try_at -> Timestamptz,
        last_error -> Nullable<Text>,
        created_at -> Timestamptz,
        trace_context -> Nullable<Text>,
    }
}

diesel::table! {
    outbox (id) {
        id -> BigInt,
        order_id -> BigInt,
        attempt -> Integer,
        event_type -> Text,
        payload -> Text,
        status -> Text,
        attempts -> Integer,
        next_attempt_at -> Timestamptz,
        last_error -> Nullable<Text>,
        created_at -> Timestamptz,
        sent_at -> Nullable<Timestamptz>,
        trace_context -> Nullable<Text>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(orders, saga, outbox);
