//! `cargo dev chaos run`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use devstack::chaos::{ChaosRun, Progress, Report};
use devstack::servers::ServerKind;
use indicatif::ProgressBar;

use crate::prepare;
use crate::project::Project;
use crate::show;

const BROKEN: u8 = 1;
const BAR_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(crate) struct ChaosRunArgs {
    /// How many seeds, one after the other
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// The first seed: the same one makes the same faults at the same times
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long each one sells and fails, s
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: u64,
    /// Build without optimisation
    #[arg(long)]
    debug: bool,
    /// Install what is missing (named before it is done), with apt-get or brew
    #[arg(long)]
    install: bool,
}

/// Runs the seeds; a broken promise is exit status 1.
pub(crate) async fn run(args: &ChaosRunArgs) -> Result<ExitCode> {
    let project = Project::find()?;
    prepare::ensure_installed(&[ServerKind::Postgres, ServerKind::Redis], args.install).await?;
    show::progress("building product-service");
    let program = project
        .build(&["product-service"], !args.debug)
        .await?
        .join("product-service");
    let logs = project.dev_dir()?.join("chaos");
    let bar = show::bar(args.seeds, "{pos}/{len} seeds");
    let mut reports = Vec::new();
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        let run = ChaosRun {
            program: program.clone(),
            seed,
            seconds: args.seconds,
            log_dir: logs.join(format!("seed-{seed}")),
            progress: Arc::default(),
        };
        // A run before this one may have left its own.
        let _ = std::fs::remove_dir_all(&run.log_dir);
        let report = tokio::select! {
            report = run.run() => report.with_context(|| repeat(args, seed))?,
            never = show_progress(bar.as_ref(), &run) => match never {},
        };
        if let Some(bar) = &bar {
            bar.inc(1);
        }
        say(bar.as_ref(), &report.to_string());
        if report.is_true() {
            let _ = std::fs::remove_dir_all(&run.log_dir);
        } else {
            say(bar.as_ref(), &broken(args, &report, &run.log_dir));
        }
        reports.push(report);
    }
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    show::result(&format!("\n{}", summary(&reports)));
    let is_true = reports.iter().all(Report::is_true);
    Ok(if is_true {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(BROKEN)
    })
}

fn say(bar: Option<&ProgressBar>, text: &str) {
    match bar {
        Some(bar) => bar.suspend(|| show::result(text)),
        None => show::result(text),
    }
}

/// The command that makes the same faults again.
fn repeat(args: &ChaosRunArgs, seed: u64) -> String {
    let debug = if args.debug { " --debug" } else { "" };
    format!(
        "cargo dev chaos run --seeds 1 --seconds {} --seed {seed}{debug}",
        args.seconds
    )
}

fn broken(args: &ChaosRunArgs, report: &Report, log_dir: &std::path::Path) -> String {
    let mut text = String::new();
    for violation in &report.violations {
        text.push_str(&format!("    {violation}\n"));
    }
    text.push_str(&format!(
        "    the same faults again: {}\n    logs: {}",
        repeat(args, report.seed),
        log_dir.display()
    ));
    text
}

/// Draws until it is dropped.
async fn show_progress(bar: Option<&ProgressBar>, run: &ChaosRun) -> std::convert::Infallible {
    let start = Instant::now();
    loop {
        tokio::time::sleep(BAR_INTERVAL).await;
        let Some(bar) = bar else { continue };
        let Progress { sales, .. } = &*run.progress;
        bar.set_message(format!(
            "seed {}: {:.0} s, {} sold  {}",
            run.seed,
            start.elapsed().as_secs_f64(),
            sales.load(Ordering::Relaxed),
            run.progress.failing()
        ));
    }
}

/// The table at the end: what was made, and what it came to.
fn summary(reports: &[Report]) -> String {
    let mut rows = vec![["fault", "made", "hit"].map(str::to_owned).to_vec()];
    let mut kinds: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (kind, made) in reports.iter().flat_map(|report| &report.faults) {
        let sum = kinds.entry(kind).or_default();
        *sum = (sum.0 + made.times, sum.1 + made.hit);
    }
    for (kind, (times, hit)) in &kinds {
        rows.push(vec![(*kind).to_owned(), times.to_string(), hit.to_string()]);
    }
    let mut text = show::table(&rows);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, count) in reports.iter().flat_map(|report| &report.counts) {
        *counts.entry(name).or_default() += count;
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    let slowest = reports
        .iter()
        .map(|report| report.slowest)
        .max()
        .unwrap_or_default();
    let balanced = reports.iter().filter_map(|report| report.balanced_after).max();
    let sum = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>();
    let wrong: Vec<String> = reports
        .iter()
        .filter(|report| !report.is_true())
        .map(|report| report.seed.to_string())
        .collect();
    text.push_str(&format!(
        "\nseeds                {}\nfaults, hit          {}, {}\nsold                 {}\n\
         answered 503         {}, unexplained {}\ncut off              {}\nslowest answer       {} ms\n\
         balanced, at most    {} ms after healing\ncounted              {}\nverdict              {}",
        reports.len(),
        sum(|report| report.faults_made().times),
        sum(|report| report.faults_made().hit),
        sum(|report| report.sales),
        sum(Report::later),
        sum(|report| report.later_unexplained),
        sum(Report::cut_off),
        slowest.as_millis(),
        balanced.unwrap_or_default().as_millis(),
        counts.join(", "),
        if wrong.is_empty() {
            String::from("all true: every promise was kept")
        } else {
            format!("FALSE: promises were broken with seeds {}", wrong.join(", "))
        }
    ));
    text
}
