//! The command line of product-service.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use platform::database::DatabaseError;
use platform::http::auth::Auth;
use platform::http::health::Health;
use platform::serve::{Listeners, run, stop_on_signal};
use platform::{database, telemetry};
use product_service::app::App;
use product_service::config::Config;
use product_service::gate::Gate;
use product_service::ledger::MIGRATIONS;
use product_service::messaging::Messaging;
use product_service::stock::audit::audit;
use product_service::{http, metrics};

/// Requests are allocated on one thread and freed on another all the time, which costs the system's allocator more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Owns products and stock.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// A TOML file with keys that differ from the defaults.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Sets one key, for example `--set log.format=json`. May be repeated.
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Migrates the database, then serves until SIGTERM or SIGINT.
    Serve,
    /// Migrates the database and ends.
    Migrate,
    /// Prints the gate beside the database for every hot product; exit code 2 when one has drifted.
    Audit,
    /// Prints the configuration in force, secrets masked.
    Config,
}

#[tokio::main]
async fn main() -> ExitCode {
    match command(Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("product-service: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn command(cli: Cli) -> anyhow::Result<ExitCode> {
    let config = Config::load(cli.config.as_deref(), &cli.set)?;
    match cli.command {
        Command::Serve => serve(config).await.map(|()| ExitCode::SUCCESS),
        Command::Migrate => {
            let applied = migrate(&config).await?;
            println!("{} migrations applied {applied:?}", applied.len());
            Ok(ExitCode::SUCCESS)
        }
        Command::Audit => print_audit(&config).await,
        Command::Config => {
            print!("{}", platform::config::print(&config));
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let telemetry = telemetry::init("product-service", &config.log, &config.telemetry)?;
    let served = serve_told(&config).await;
    telemetry.end().await;
    served
}

async fn serve_told(config: &Config) -> anyhow::Result<()> {
    let recorded = telemetry::metrics(&config.telemetry)?;
    platform::metrics::install("product-service", env!("CARGO_PKG_VERSION"));
    metrics::touch();
    platform::metrics::document(&http::openapi::public_document());
    platform::metrics::document(&http::openapi::admin_document());
    let stop = stop_on_signal()?;
    let listeners = Listeners::bind(&config.server, Auth::load(&config.auth)?, http::access::PUBLIC)?;
    migrate(config).await.context("migrating the database")?;
    let (app, tasks) = App::start(config, recorded.clone(), &stop)?;
    let messaging = Messaging::start(&app, &config.rabbitmq)?;
    metrics::watch(&app.gate, messaging.link());
    let health = health(&app, &messaging, config)?;
    let served = run(
        &config.server,
        listeners,
        health,
        recorded,
        http::public(&app),
        http::admin(&app),
        stop,
    )
    .await;
    messaging.end(config.server.shutdown_grace()).await;
    drop(app);
    if !tasks.drain(config.server.shutdown_grace()).await {
        tracing::error!(
            "the queues did not run dry within the grace; what was left had no effect or is in the ledger"
        );
    }
    Ok(served?)
}

async fn migrate(config: &Config) -> Result<Vec<String>, DatabaseError> {
    let database = &config.database;
    database::migrate(database.migration_url(), &database.ca_file, MIGRATIONS).await
}

fn health(app: &App, messaging: &Messaging, config: &Config) -> anyhow::Result<Health> {
    let (gate, link) = (app.gate.clone(), messaging.link());
    let health = Health::builder()
        .optional("redis", move || {
            let gate = gate.clone();
            async move { gate.ping().await }
        })
        .optional("rabbitmq", move || std::future::ready(link.check()));
    Ok(database::health_checks(health, &config.database, || MIGRATIONS)?.build())
}

async fn print_audit(config: &Config) -> anyhow::Result<ExitCode> {
    let gate = Gate::new(config)?;
    let audits = audit(&gate, &database::pool("shared", &config.database)?).await?;
    println!("{}", serde_json::to_string_pretty(&audits)?);
    let drifted = audits
        .iter()
        .filter_map(|audit| audit.gate.as_ref())
        .any(|gate| gate.drift != Some(0));
    Ok(if drifted {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}
