//! The run: all subjects in turn, round after round, on the same servers.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::figures::{Figures, PER_SECOND, Results, SECONDS};
use crate::goals::GOALS;
use crate::machine::{CoreTicks, Machine};
use crate::plan::{Pace, SUBJECTS, Subject, Work};
use crate::report::Report;
use crate::stage::Stage;
use crate::{orders, prefill, resync, sale};

/// How much to run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Rounds of everything, >= 1.
    pub(crate) rounds: usize,
    pub(crate) pace: Pace,
    /// Keys of subjects; empty: all.
    pub(crate) only: Vec<String>,
    /// Rows of the full ledger, in [`prefill::ROWS`], >= 1.
    pub(crate) fills: u64,
    /// Folder of the services' binaries.
    pub(crate) programs: PathBuf,
}

impl Plan {
    /// The subjects that are wanted, and what they are compared with.
    fn subjects(&self) -> Result<Vec<Subject>> {
        let is_known = |key: &&String| SUBJECTS.iter().any(|subject| subject.key == key.as_str());
        let unknown: Vec<&String> = self.only.iter().filter(|key| !is_known(key)).collect();
        let keys = SUBJECTS.map(|subject| subject.key).join(", ");
        ensure!(
            unknown.is_empty(),
            "{unknown:?} cannot be measured; there are: {keys}"
        );
        let is_wanted = |key: &str| self.only.is_empty() || self.only.iter().any(|wanted| wanted == key);
        let is_compared = |key: &str| {
            GOALS
                .iter()
                .any(|goal| goal.than == Some(key) && is_wanted(goal.subject))
        };
        let chosen = SUBJECTS
            .into_iter()
            .filter(|subject| is_wanted(subject.key) || is_compared(subject.key));
        Ok(chosen.collect())
    }
}

/// Runs the plan. An error, and no figure of anything, if some books do not balance.
pub(crate) async fn run(plan: &Plan) -> Result<Report> {
    let subjects = plan.subjects()?;
    let (begun, steal) = (Instant::now(), CoreTicks::now()?);
    let is_full = |subject: &Subject| matches!(subject.work, Work::Sale(sale) if sale.full_ledger);
    let is_order = |subject: &Subject| matches!(subject.work, Work::Orders(_));
    let fills = if subjects.iter().any(is_full) {
        plan.fills
    } else {
        0
    };
    let ledger_rows = i64::try_from(fills)? * prefill::ROWS;
    let progress = Progress::begin(subjects.len() * plan.rounds, fills)?;
    progress.say("starting the servers");
    let stage = Stage::start(plan.programs.clone(), subjects.iter().any(is_order)).await?;
    let machine = Machine::here(
        stage
            .postgres
            .data_dir()
            .parent()
            .context("a folder of its own")?,
    )?;
    let mut full_ledger = None;
    if fills > 0 {
        progress.say(&format!("filling a ledger with {ledger_rows} rows"));
        full_ledger = Some(prefill::full_ledger(&stage, fills, || progress.advance()).await?);
    }
    let mut results = Results::default();
    for round in 1..=plan.rounds {
        for subject in &subjects {
            progress.say(&format!("round {round} of {}: {}", plan.rounds, subject.what));
            let figures = measure(&stage, subject, plan.pace, full_ledger.as_deref()).await;
            let figures = figures.with_context(|| format!("{}, round {round}", subject.what))?;
            progress.measured(subject, &figures);
            results.add(subject.key, figures);
        }
    }
    progress.end();
    Ok(Report {
        machine,
        rounds: plan.rounds,
        pace: plan.pace,
        ledger_rows,
        subjects,
        results,
        took: begun.elapsed(),
        steal_percent: steal.stolen_percent()?,
    })
}

async fn measure(stage: &Stage, subject: &Subject, pace: Pace, full_ledger: Option<&str>) -> Result<Figures> {
    match subject.work {
        Work::Sale(sale) => sale::measure(stage, &sale, pace, full_ledger).await,
        Work::Orders(via) => orders::measure(stage, via, pace).await,
        Work::Resync => resync::measure(stage).await,
    }
}

/// A bar on a terminal, else a line per measurement.
struct Progress {
    bar: ProgressBar,
    is_drawn: bool,
}

impl Progress {
    fn begin(measurements: usize, fills: u64) -> Result<Self> {
        let bar = ProgressBar::new(u64::try_from(measurements)? + fills).with_style(
            ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}")?,
        );
        bar.enable_steady_tick(Duration::from_millis(200));
        Ok(Self {
            bar,
            is_drawn: std::io::stderr().is_terminal(),
        })
    }

    fn say(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        if !self.is_drawn {
            eprintln!("{what}");
        }
    }

    fn advance(&self) {
        self.bar.inc(1);
    }

    fn measured(&self, subject: &Subject, figures: &Figures) {
        self.bar.inc(1);
        let (value, unit) = match (figures.get(PER_SECOND), figures.get(SECONDS)) {
            (Some(rate), _) => (*rate, "/s"),
            (None, seconds) => (seconds.copied().unwrap_or_default(), " s"),
        };
        let line = format!(
            "  {:<46} {:>9}{unit}",
            subject.what,
            devstack::report::number(value)
        );
        if self.is_drawn {
            self.bar.println(line);
        } else {
            eprintln!("{line}");
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
