//! `cargo dev test`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use devstack::servers::ServerKind;

use crate::prepare;
use crate::project::Project;

#[derive(Args)]
pub(crate) struct TestArgs {
    /// Install what is missing (named before it is done), with apt-get or brew
    #[arg(long)]
    install: bool,
    /// Further arguments of `cargo test`, after `--`
    #[arg(last = true)]
    cargo_args: Vec<String>,
}

/// Every test of the workspace; ends with cargo's exit status.
pub(crate) async fn run(args: &TestArgs) -> Result<ExitCode> {
    let project = Project::find()?;
    prepare::ensure_installed(&ServerKind::ALL, args.install).await?;
    let mut cargo = project.cargo();
    cargo
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(&args.cargo_args);
    if args.cargo_args.is_empty() {
        cargo.env(devstack::EVERYTHING_IS_BUILT, "yes");
    }
    let status = cargo.status().await.context("cannot run cargo")?;
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    Ok(ExitCode::from(code))
}
