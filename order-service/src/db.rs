//! The order database. SQL lives here only.

use diesel_migrations::{EmbeddedMigrations, embed_migrations};

/// The schema, step by step, built into the program.
pub fn migrations() -> EmbeddedMigrations {
    const EMBEDDED: EmbeddedMigrations = embed_migrations!("migrations");
    EMBEDDED
}
