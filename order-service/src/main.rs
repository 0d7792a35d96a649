//! Command line of order-service.

use anyhow::Context;
use clap::{Parser, Subcommand};
use order_service::config::Config;
use order_service::{app, db};
use platform::{config, database, telemetry};
use std::path::PathBuf;
use std::process::ExitCode;

/// Requests are allocated on one thread and freed on another all the time, which costs the system's allocator more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Owns orders and the saga that takes stock for them.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file; goes before the built-in defaults
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// One value; goes before file and environment; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE", global = true)]
    set: Vec<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Migrate the database and serve until SIGTERM
    Serve,
    /// Migrate the database and end
    Migrate,
    /// Print the effective configuration, secrets masked
    Config,
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("order-service: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let config = Config::load(arguments.config.as_deref(), &arguments.set).context("configuration")?;
    match arguments.command {
        Command::Serve => {
            let telemetry = telemetry::init("order-service", &config.log, &config.telemetry)?;
            let served = app::run(&config).await;
            telemetry.end().await;
            served
        }
        Command::Migrate => {
            let telemetry = telemetry::init("order-service", &config.log, &config.telemetry)?;
            let applied = database::migrate(
                config.database.migration_url(),
                &config.database.ca_file,
                db::migrations(),
            )
            .await?;
            telemetry.end().await;
            println!(
                "applied: {}",
                if applied.is_empty() {
                    "nothing new".to_owned()
                } else {
                    applied.join(", ")
                }
            );
            Ok(())
        }
        Command::Config => {
            print!("{}", config::print(&config));
            Ok(())
        }
    }
}
