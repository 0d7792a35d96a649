//! The tables, as `migrations/` makes them.
//! The macro documents nothing, so nobody outside of this module sees it.

diesel::table! {
    products (id) {
        id -> BigInt,
        name -> Text,
        price -> BigInt,
        stock -> BigInt,
        stock_version -> BigInt,
        status -> Text,
        stock_strategy -> Text,
        purchase_limit -> Nullable<BigInt>,
        sale_starts_at -> Nullable<Timestamptz>,
        sale_ends_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        version -> BigInt,
    }
}

diesel::table! {
    stock_ledger (product_id, stock_version) {
        id -> BigInt,
        product_id -> BigInt,
        stock_version -> BigInt,
        direction -> Text,
        quantity -> BigInt,
        balance_after -> BigInt,
        reason -> Text,
        order_id -> Nullable<BigInt>,
        buyer_id -> Nullable<Text>,
        request_id -> Text,
        note -> Nullable<Text>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    tombstones (void_id) {
        void_id -> Text,
        voided_id -> Text,
        product_id -> BigInt,
        order_id -> BigInt,
        quantity -> BigInt,
        reason -> Text,
        given_back -> BigInt,
        stock_after -> BigInt,
        created_at -> Timestamptz,
    }
}
