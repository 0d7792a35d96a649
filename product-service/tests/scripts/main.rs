//! The scripts of `lua/` against a real Redis: each guarantee of their headers, through the gate's own calls, with a
//! look at the keys.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot set itself up has failed"
)]

mod apply;
mod broken_keys;
mod fixture;
mod keys;
mod load;
mod model;
mod peek;
mod random_sequences;
mod reserve;
mod rules;
