//! The crash harness: both services killed (SIGKILL) before and after each step of both flows, of a cancel and of a
//! compensation, each twice in a row, while other orders go on. The steps and their points are in [`table`].
//!
//! The services know nothing of it. Writes are held up by triggers of the database (`writes`), messages by gates on the
//! ways between services and broker (`gate`, `wire`), which know the message of the one order a row is about. A row whose
//! point is not reached, or has passed when the kill comes, fails. Then: every order final, confirmed orders own exactly
//! their units, all others nothing, the books of both databases balance, nothing unsent, no dead letter.

mod gate;
mod lane;
mod row;
mod table;
mod wire;
mod writes;

use anyhow::{Result, ensure};
use lane::Victim;
use table::{ASYNCHRONOUS, CANCELLING, COMPENSATING, Row, SYNCHRONOUS};

/// A request whose step is soon recovery's, and that gets its answer on a busy machine.
const GIVES_UP_SOON: (&str, &str) = ("HOTSTOCK__SERVER__REQUEST_DEADLINE_MS", "1200");
/// A request that gets no answer.
const GIVES_UP_AT_ONCE: (&str, &str) = ("HOTSTOCK__SERVER__REQUEST_DEADLINE_MS", "300");
/// A request that is still there when product-service is back.
const HOLDS_OUT: (&str, &str) = ("HOTSTOCK__SERVER__REQUEST_DEADLINE_MS", "6000");
/// Recovery asks once more, and then compensates.
const ONE_TRY: (&str, &str) = ("HOTSTOCK__SAGA__TRIES_MAX", "1");

/// The rows, with either service as the one that is killed, each on a lane of its own.
async fn killed_at_every_point(
    rows: &[Row],
    of_orders: &[(&str, &str)],
    of_products: &[(&str, &str)],
) -> Result<()> {
    let (orders, products) = tokio::try_join!(
        row::run_all(Victim::OrderService, rows, of_orders),
        row::run_all(Victim::ProductService, rows, of_products),
    )?;
    let hit = orders + products;
    ensure!(hit == 4 * rows.len(), "{hit} kills for {} rows", rows.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn v1_killed_before_and_after_each_step_twice_over() -> Result<()> {
    killed_at_every_point(&SYNCHRONOUS, &[GIVES_UP_SOON], &[HOLDS_OUT]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn v2_killed_before_and_after_each_step_twice_over() -> Result<()> {
    let (first, second) = ASYNCHRONOUS.split_at(ASYNCHRONOUS.len() / 2);
    tokio::try_join!(
        killed_at_every_point(first, &[], &[]),
        killed_at_every_point(second, &[], &[])
    )?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_killed_before_and_after_each_step_twice_over() -> Result<()> {
    killed_at_every_point(&CANCELLING, &[GIVES_UP_SOON], &[HOLDS_OUT]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compensation_killed_before_and_after_each_step_twice_over() -> Result<()> {
    let settings = [GIVES_UP_AT_ONCE, ONE_TRY];
    killed_at_every_point(&COMPENSATING, &settings, &settings).await
}
