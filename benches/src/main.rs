//! The bench: hotstock beside the designs it wants to be faster than, in one run on one machine, interleaved, each
//! measurement followed by the books. `cargo dev bench` builds and starts it; `benches/README.md` has the method and the
//! last table.
//!
//! - [`plan`]: what is measured; [`goals`]: what is wanted
//! - [`run`]: the rounds; [`sale`], [`orders`], [`resync`]: one measurement each
//! - [`stage`], [`prefill`]: the servers, and a ledger that is full already
//! - [`clients`]: who asks; [`rivals`]: the other designs
//! - [`figures`], [`machine`], [`report`]: what comes out

mod clients;
mod cost;
mod figures;
mod goals;
mod machine;
mod orders;
mod plan;
mod prefill;
mod report;
mod resync;
mod rivals;
mod run;
mod sale;
mod stage;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::plan::Pace;
use crate::rivals::Design;
use crate::run::Plan;

/// hotstock beside the designs it wants to be faster than.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures everything in turn, on servers of its own, prints the tables, writes JSON and a page
    ///
    /// Exit status 0 only if the books balanced after every measurement.
    Run(RunArgs),
    /// Serves a rival. Started by `run`
    Serve {
        /// Which one
        #[arg(value_enum)]
        design: Design,
        /// Address
        #[arg(long)]
        bind: SocketAddr,
        /// Database with the rivals' tables
        #[arg(long)]
        database: String,
        /// Its Redis
        #[arg(long)]
        redis: String,
    },
}

#[derive(Args)]
struct RunArgs {
    /// About two minutes: short measurements, and a quarter of a million rows in the full ledger instead of ten million
    #[arg(long)]
    quick: bool,
    /// Only these (see `plan.rs`, or name a wrong one), comma separated, and what they are compared with
    #[arg(long, value_delimiter = ',', value_name = "SUBJECT")]
    only: Vec<String>,
    /// Rounds; the tables show medians [default: 3, with --quick 2]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: Option<u16>,
    /// Seconds that are counted per measurement [default: 8, with --quick a half]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: Option<u16>,
    /// Folder for `bench.json` and `bench.html` [default: target/bench]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Folder of the services' binaries [default: where this program is]
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
}

impl RunArgs {
    async fn run(self) -> Result<()> {
        let own = std::env::current_exe()?;
        let beside = own.parent().context("this program is in no folder")?;
        let (rounds, measured, warm_up, fills) = if self.quick {
            (2, Duration::from_millis(500), Duration::from_millis(100), 1)
        } else {
            (3, Duration::from_secs(8), Duration::from_secs(2), 40)
        };
        let plan = Plan {
            rounds: self.rounds.map_or(rounds, usize::from),
            pace: Pace {
                warm_up,
                measured: self
                    .seconds
                    .map_or(measured, |seconds| Duration::from_secs(u64::from(seconds))),
            },
            only: self.only,
            fills,
            programs: self.programs.unwrap_or_else(|| beside.to_owned()),
        };
        let target = beside.parent().unwrap_or(Path::new("."));
        let out = self.out.unwrap_or_else(|| target.join("bench"));
        run::run(&plan).await?.publish(&out)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => args.run().await,
        Command::Serve {
            design,
            bind,
            database,
            redis,
        } => rivals::serve(design, bind, &database, &redis).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
