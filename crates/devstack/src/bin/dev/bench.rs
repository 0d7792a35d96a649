//! `cargo dev bench`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use devstack::servers::ServerKind;
use tokio::process::Command;

use crate::prepare;
use crate::project::Project;

#[derive(Args)]
pub(crate) struct BenchArgs {
    /// Install what is missing (named before it is done), with apt-get or brew
    #[arg(long)]
    install: bool,
    /// Options of the bench: --quick, --only A,B, --rounds N, --seconds N, --out FOLDER; `-- --help` explains them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    bench_args: Vec<String>,
}

/// Builds the bench and the services as they are released, and runs it; ends with its exit status.
pub(crate) async fn run(args: &BenchArgs) -> Result<ExitCode> {
    let project = Project::find()?;
    prepare::ensure_installed(
        &[ServerKind::Postgres, ServerKind::Redis, ServerKind::RabbitMq],
        args.install,
    )
    .await?;
    let programs = project
        .build(&["benches", "product-service", "order-service"], true)
        .await?;
    let status = Command::new(programs.join("benches"))
        .arg("run")
        .args(&args.bench_args)
        .current_dir(project.root())
        .kill_on_drop(true)
        .status()
        .await
        .context("cannot run the bench")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}
