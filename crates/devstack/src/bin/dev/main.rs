//! `cargo dev`: starts hotstock on this machine, tests it, and sends it a stampede.

mod audit;
mod bench;
mod chaos;
mod chaos_run;
mod control;
mod flash_sale;
mod keep;
mod lock;
mod observe;
mod prepare;
mod project;
mod show;
mod soak;
mod stack;
mod test;
mod under_chaos;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The stack could not be started, or something else went wrong.
const FAILED: u8 = 1;
/// The command line makes no sense, or the load tool could not run at all; its 1 is a crossed threshold, its 3 are wrong
/// books.
const COULD_NOT_RUN: u8 = 2;

/// Starts hotstock on this machine, tests it, and sends it a stampede. Needs nothing but Rust: what else is missing
/// it names, and installs when told to.
#[derive(Parser)]
#[command(name = "cargo dev", bin_name = "cargo dev")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build and start everything: private Postgres, Redis and RabbitMQ, both services, two products; Ctrl-C stops it all
    Up(up::UpArgs),
    /// Run every test of the workspace, on private servers
    Test(test::TestArgs),
    /// Sell a limited edition to a stampede on the running stack, and audit the books
    ///
    /// Every buyer asks exactly once. Exit status: 0 the books are right and no threshold is crossed; 1 a threshold is
    /// crossed (--fail-if); 2 it could not be run, or not as asked; 3 the books are wrong, whatever the thresholds say.
    /// This tool shares the machine with what it measures; when it was itself the bottleneck it says so.
    FlashSale(Box<flash_sale::FlashSaleArgs>),
    /// Measure hotstock beside other designs, on servers of its own; prints tables, writes JSON and a page (`--quick`: 2 minutes)
    Bench(bench::BenchArgs),
    /// Break something in the running stack and heal it again; or many random things, in a stack of its own
    ///
    /// What is broken is healed in the end, also when this command is stopped or killed before. Exit status: 0 done and
    /// healed; 1 it could not be done, or (chaos run) a promise was broken.
    Chaos(chaos::ChaosArgs),
    /// Sell for a long time on a stack of its own, restarting instances meanwhile: do the books balance, does anything grow?
    ///
    /// Orders, decreases, cancellations and restocks, at half of the rate that fits. Exit status: 0 the books are right and
    /// nothing has grown; 1 a bound is crossed; 2 it could not be run; 3 the books are wrong.
    Soak(soak::SoakArgs),
    /// Whether the books of the running stack balance: ledger, stock and gate of every product
    Audit,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(COULD_NOT_RUN)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let failure = if matches!(cli.command, Command::FlashSale(_) | Command::Soak(_)) {
        COULD_NOT_RUN
    } else {
        FAILED
    };
    let result = run_to_end(cli.command);
    result.unwrap_or_else(|error| {
        show::progress(&format!("\nerror: {error:#}"));
        ExitCode::from(failure)
    })
}

fn run_to_end(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(run(command));
    // A server that is still being started (Ctrl-C) must not hold us up: it ends when we are gone.
    runtime.shutdown_background();
    result
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(args) => up::run(&args).await.map(|()| ExitCode::SUCCESS),
        Command::Test(args) => test::run(&args).await,
        Command::FlashSale(args) => flash_sale::run(&args).await,
        Command::Bench(args) => bench::run(&args).await,
        Command::Chaos(args) => chaos::run(&args).await,
        Command::Soak(args) => soak::run(&args).await,
        Command::Audit => audit::run().await,
    }
}
