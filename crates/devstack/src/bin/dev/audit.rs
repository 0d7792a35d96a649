//! `cargo dev audit`: whether the books of the running stack balance.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use devstack::tls;
use devstack::{books, stack_file};

use crate::project::Project;
use crate::show;

/// How long what is under way may take to settle.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until ledger, stock and gate of every product agree. Fails with what does not.
pub(crate) async fn run() -> Result<ExitCode> {
    let stack = stack_file::read(&Project::find()?.stack_file())?;
    let stack = stack.context("no stack is running; start one with `cargo dev up`")?;
    let database = stack
        .get("PRODUCT_DATABASE_URL")
        .context("PRODUCT_DATABASE_URL")?;
    let redis = stack.get("REDIS_URL").map(String::as_str);
    let products = products(database).await?;
    let books = books::wait_until_balanced(database, redis, &products, PATIENCE).await?;
    let movements: i64 = books.iter().map(|book| book.movements).sum();
    show::result(&format!(
        "the books balance: {} products, {movements} movements",
        books.len()
    ));
    Ok(ExitCode::SUCCESS)
}

async fn products(database: &str) -> Result<Vec<i64>> {
    let (client, connection) = tokio_postgres::connect(database, tls::postgres()).await?;
    let connection = tokio::spawn(connection);
    let rows = client
        .query("-- audit: products\nSELECT id FROM products ORDER BY id", &[])
        .await?;
    connection.abort();
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}
