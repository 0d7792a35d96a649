//! Many buyers at once, on real instances: exactly what there is gets sold, whoever hangs up, ends or dies meanwhile.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot set itself up has failed"
)]

mod client;
mod endings;
mod exactly_n;
mod hang_ups;
mod mixed_quantities;
mod overload;
mod races;
mod rolling;
mod scenarios;
mod shop;
mod twins;
mod viewers;
