//! The ledger: Postgres, where stock is decided. All SQL of this service is in this module.
//!
//! Each transaction has a name, its SQL begins with it as a comment, and its waits are bounded by the session settings
//! of the pool. If the process dies inside one, Postgres rolls it back; if it dies after the commit, the facts are in
//! the ledger and the reconciler tells the gate.

pub mod accounts;
pub mod decide;
pub mod failure;
pub mod lanes;
pub mod movements;
pub mod products;
mod schema;
mod sql;
pub mod standing;
mod words;

use diesel_migrations::{EmbeddedMigrations, embed_migrations};

/// The migrations of the product database.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// A query failed: nothing of it was committed, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// No connection in time.
    #[error("no database connection: {0}")]
    Pool(#[from] diesel_async::pooled_connection::deadpool::PoolError),
    /// The database refused or failed.
    #[error("database: {0}")]
    Query(#[from] diesel::result::Error),
    /// The database did not answer in time; a commit may have happened.
    #[error("the database did not answer within the time limit")]
    Timeout,
    /// A stored value that this version does not know.
    #[error("stored value {0:?} is not known")]
    Stored(String),
}
