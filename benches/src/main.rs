//! Side-by-side runs: hotstock beside the designs it wants to be faster than, in one run on one machine, interleaved,
//! each round followed by the books. `benches/README.md` has the method and the last table.

mod machine;
mod ordinary;
mod side_by_side;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Side-by-side runs of hotstock and its rivals.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs hotstock and the ordinary design in turn, on the same servers, and prints the table.
    SideBySide {
        /// Rounds of each design and number of connections; the table shows medians.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Seconds of load per round.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Numbers of connections.
        #[arg(long, value_delimiter = ',', default_value = "64,256")]
        connections: Vec<usize>,
        /// The service's binary; by default the release build beside this program.
        #[arg(long)]
        product_service: Option<PathBuf>,
        /// Also writes the table to this file, as JSON.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Serves the ordinary design: the gate, then one transaction per request. Started by `side-by-side`.
    Ordinary {
        /// Address.
        #[arg(long)]
        bind: SocketAddr,
        /// Database with the tables of the ordinary design.
        #[arg(long)]
        database: String,
        /// Its Redis.
        #[arg(long)]
        redis: String,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::SideBySide {
            rounds,
            seconds,
            connections,
            product_service,
            json,
        } => {
            let plan = side_by_side::Plan {
                rounds: rounds.max(1),
                seconds: seconds.max(1),
                connections,
            };
            side_by_side::run(&plan, product_service, json).await
        }
        Command::Ordinary {
            bind,
            database,
            redis,
        } => ordinary::serve(bind, &database, &redis).await,
    }
}
