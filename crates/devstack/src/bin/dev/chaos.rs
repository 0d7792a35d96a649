//! `cargo dev chaos`: one fault in the running stack, or a run of random ones.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::chaos_run::{self, ChaosRunArgs};

#[derive(Args)]
pub(crate) struct ChaosArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Random faults from a seed in the middle of a sale, in a stack of its own; heals, audits, says which seed repeats it
    Run(ChaosRunArgs),
}

pub(crate) async fn run(args: &ChaosArgs) -> Result<ExitCode> {
    match &args.what {
        What::Run(args) => chaos_run::run(args).await,
    }
}
