//! `cargo dev soak`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use devstack::servers::ServerKind;
use devstack::soak::{Report, SoakRun};

use crate::prepare;
use crate::project::Project;
use crate::show;

/// A bound is crossed.
const CROSSED: u8 = 1;
/// The books are wrong, whatever else there is.
const BOOKS_WRONG: u8 = 3;
const BAR_INTERVAL: Duration = Duration::from_millis(500);
const LINE_INTERVAL: Duration = Duration::from_secs(60);
const MEASURING: Duration = Duration::from_secs(10);
/// Less than half of it is put up to it again.
const STOCK: i64 = 20_000;
const SAMPLE_EVERY: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(crate) struct SoakArgs {
    /// How long the sale lasts, in minutes; 0.5 is half of one
    #[arg(long, default_value_t = 30.0, value_parser = parse_minutes)]
    minutes: f64,
    /// Buyers per second in all [default: half of what fits, which is measured first]
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Instances of each service, behind a balancer
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=8))]
    instances: u8,
    /// An instance is restarted every so many minutes
    #[arg(long, default_value_t = 4.0, value_parser = parse_minutes)]
    restart_minutes: f64,
    /// Write everything about the run to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with charts to this file; it needs nothing else to be read
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Build without optimisation
    #[arg(long)]
    debug: bool,
    /// Install what is missing (named before it is done), with apt-get or brew
    #[arg(long)]
    install: bool,
}

/// Runs it, prints what it has shown.
pub(crate) async fn run(args: &SoakArgs) -> Result<ExitCode> {
    let project = Project::find()?;
    let needed = [ServerKind::Postgres, ServerKind::Redis, ServerKind::RabbitMq];
    prepare::ensure_installed(&needed, args.install).await?;
    show::progress("building both services");
    let packages = ["product-service", "order-service"];
    let binaries = project.build(&packages, !args.debug).await?;
    let lasts = Duration::from_secs_f64(args.minutes * 60.0);
    let run = SoakRun {
        binaries,
        instances: usize::from(args.instances),
        measuring: MEASURING,
        lasts,
        rate_per_second: args.rate,
        stock: STOCK,
        restart_every: Duration::from_secs_f64(args.restart_minutes * 60.0),
        // A short one has enough samples too.
        sample_every: SAMPLE_EVERY.min(lasts / 60),
        is_on_shared_servers: false,
        dir: project.dev_dir()?.join("soak"),
        progress: Arc::default(),
    };
    // A run before this one may have left its own.
    let _ = std::fs::remove_dir_all(&run.dir);
    let report = tokio::select! {
        report = run.run() => report.with_context(|| format!("logs: {}", run.dir.display()))?,
        never = show_progress(&run) => match never {},
    };
    show::result(&format!("\n{report}"));
    write(args, &report)?;
    let is_crossed = report.findings().iter().any(|finding| finding.is_crossed);
    if !report.are_books_true() || is_crossed {
        show::result(&format!("logs: {}", run.dir.display()));
    } else {
        let _ = std::fs::remove_dir_all(&run.dir);
    }
    Ok(if !report.are_books_true() {
        ExitCode::from(BOOKS_WRONG)
    } else if is_crossed {
        ExitCode::from(CROSSED)
    } else {
        ExitCode::SUCCESS
    })
}

fn write(args: &SoakArgs, report: &Report) -> Result<()> {
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    if let Some(path) = &args.json {
        write(path, format!("{:#}\n", report.json()))?;
    }
    if let Some(path) = &args.html {
        write(path, report.page().html())?;
    }
    Ok(())
}

/// Draws until it is dropped.
async fn show_progress(run: &SoakRun) -> std::convert::Infallible {
    let bar = show::bar(run.lasts.as_secs(), "{pos}/{len} s");
    let interval = if bar.is_some() {
        BAR_INTERVAL
    } else {
        LINE_INTERVAL
    };
    let mut shown = String::new();
    loop {
        let doing = run.progress.doing();
        let restarts = run.progress.restarts.load(Ordering::Relaxed);
        let selling = run.progress.selling();
        let elapsed_s = selling.map_or(0, |(since, _)| since.elapsed().as_secs());
        let status = match selling {
            Some((_, buyers)) => format!("{doing}: {buyers} buyers answered, {restarts} restarts"),
            None => doing,
        };
        match &bar {
            Some(bar) => {
                if selling.is_some() {
                    bar.set_position(elapsed_s);
                }
                bar.set_message(status);
            }
            None if status == shown => {}
            None => {
                show::progress(&format!("{elapsed_s} s: {status}"));
                shown = status;
            }
        }
        // The first words come soon.
        tokio::time::sleep(if selling.is_some() { interval } else { BAR_INTERVAL }).await;
    }
}

fn parse_minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    let is_sensible = (0.05..=1_440.0).contains(&minutes);
    is_sensible
        .then_some(minutes)
        .ok_or_else(|| String::from("within 0.05 (3 s) and 1440 (a day)"))
}
