//! The running service: health, listeners, migration at start.

use crate::config::Config;
use crate::db;
use platform::database::{self, migrate_when_reachable};
use platform::http::health::Health;
use platform::{serve, telemetry};

/// Serves until SIGTERM or SIGINT, then drains and returns.
///
/// The database is migrated meanwhile and may still be missing when this starts: until both are done the service is
/// alive but not ready.
///
/// # Errors
/// When a port is taken, a migration fails, or a listener dies. The text names the key or the migration.
pub async fn run(config: &Config) -> anyhow::Result<()> {
    let listeners = serve::Listeners::bind(&config.server)?;
    let stop = serve::stop_on_signal()?;
    let metrics = telemetry::install_metrics()?;
    let health = database::health_checks(Health::builder(), &config.database, db::migrations)?.build();
    let migrating = tokio::spawn({
        let (url, stop) = (config.database.url.clone(), stop.clone());
        async move {
            let migrated = migrate_when_reachable(&url, db::migrations).await;
            match &migrated {
                Ok(applied) => tracing::info!(?applied, "database is migrated"),
                // Serving on would answer nothing but errors.
                Err(_) => stop.cancel(),
            }
            migrated
        }
    });
    serve::run(
        &config.server,
        listeners,
        health,
        metrics,
        |_public| {},
        |_admin| {},
        stop,
    )
    .await?;
    if migrating.is_finished() {
        migrating.await??;
    } else {
        migrating.abort();
    }
    Ok(())
}
