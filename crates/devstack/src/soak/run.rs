//! One soak: a stage of its own, what fits, half of it for a long time, and judgement.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::lanes::{LANES, Sales};
use super::report::Report;
use super::roll::{Restart, roll};
use super::sample::Sampler;
use super::stage::{Servers, Stage};
use crate::load;

/// Of what fits.
const LOAD: f64 = 0.5;

/// A soak to be made.
#[derive(Clone, Debug)]
pub struct SoakRun {
    /// Folder of both services' programs.
    pub binaries: PathBuf,
    /// Of each service, >= 2: somebody has to serve while one is restarted.
    pub instances: usize,
    /// How long it is found out what fits.
    pub measuring: Duration,
    /// How long the sale lasts.
    pub lasts: Duration,
    /// Buyers per second in all; `None`: half of what fits. The lanes get their shares of what was measured either way.
    pub rate_per_second: Option<f64>,
    /// Units of each product.
    pub stock: i64,
    /// Between two restarts.
    pub restart_every: Duration,
    /// Between two samples.
    pub sample_every: Duration,
    /// On the servers that all tests of this process share, for a test; else on its own.
    pub is_on_shared_servers: bool,
    /// Folder for data and logs. Created; left to the caller.
    pub dir: PathBuf,
    /// For whoever shows how far it is.
    pub progress: Arc<Progress>,
}

/// How far a run is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Restarts so far.
    pub restarts: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    doing: String,
    lanes: Vec<Arc<load::Progress>>,
}

impl Progress {
    /// What is being done, in words.
    #[must_use]
    pub fn doing(&self) -> String {
        self.state().doing.clone()
    }

    /// Since when the sale goes on, and buyers answered so far.
    #[must_use]
    pub fn selling(&self) -> Option<(Instant, u64)> {
        let state = self.state();
        let started = *state.lanes.first()?.started.get()?;
        let buyers = state.lanes.iter().map(|lane| lane.buyers.load(Ordering::Relaxed));
        Some((started, buyers.sum()))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, doing: &str, lanes: Vec<Arc<load::Progress>>) {
        *self.state() = State {
            doing: doing.to_owned(),
            lanes,
        };
    }
}

impl SoakRun {
    /// Runs it. An error means that it could not be run; wrong books and growth are in the report.
    pub async fn run(&self) -> Result<Report> {
        ensure!(
            self.instances >= 2,
            "a soak restarts instances: it needs two of each service"
        );
        std::fs::create_dir_all(&self.dir)
            .with_context(|| format!("cannot create {}", self.dir.display()))?;
        self.progress.begin("starting a stack", Vec::new());
        let servers = match self.is_on_shared_servers {
            true => Servers::shared().await?,
            false => Servers::own(&self.dir).await?,
        };
        let stage = Stage::set(&self.binaries, self.instances, servers, &self.dir).await?;
        self.progress.begin("finding out what fits", Vec::new());
        let measured = self.measure(&stage).await?;
        let rates = self.rates(&measured);
        let sales = Sales::prepare(&stage, self.stock, self.lasts, Some(rates)).await?;
        self.progress.begin("selling", sales.progress());

        let since = Instant::now();
        let sampler = Sampler::start(&stage, self.sample_every, since).await?;
        let (over, is_over) = tokio::sync::oneshot::channel();
        let rolling = self.restart_in_turn(&stage, since, is_over);
        let selling = async {
            let told = sales.sell().await?;
            let _ = over.send(());
            let samples = sampler.end().await?;
            self.progress.begin("auditing the books", Vec::new());
            anyhow::Ok((told, samples))
        };
        let ((told, samples), restarts) = tokio::try_join!(selling, rolling)?;
        let sold = sales.judge(told).await?;
        let failures = stage.failures();
        Ok(Report {
            instances: self.instances,
            lasts: self.lasts,
            measured,
            rates,
            samples,
            restarts,
            sold,
            failures,
        })
    }

    /// Buyers per second that each lane takes, while all of them do.
    async fn measure(&self, stage: &Stage) -> Result<[f64; LANES.len()]> {
        let sales = Sales::prepare(stage, self.stock, self.measuring, None).await?;
        let sold = sales.judge(sales.sell().await?).await?;
        let mut rates = [0.0; LANES.len()];
        for ((rate, lane), verdict) in rates.iter_mut().zip(&LANES).zip(&sold.verdicts) {
            ensure!(
                verdict.is_true(),
                "{}: the books are wrong:\n{verdict}",
                lane.name()
            );
            let tally = &verdict.tally;
            // An order of v2 is answered before it is done; what counts is done.
            *rate = tally.sales_per_second().min(tally.answers_per_second());
            ensure!(*rate > 0.0, "{}: nothing was sold", lane.name());
        }
        Ok(rates)
    }

    fn rates(&self, measured: &[f64; LANES.len()]) -> [f64; LANES.len()] {
        let all: f64 = measured.iter().sum();
        let share = self.rate_per_second.map_or(LOAD, |rate| rate / all);
        measured.map(|rate| rate * share)
    }

    /// One instance after the other, until the sale is over.
    async fn restart_in_turn(
        &self,
        stage: &Stage,
        since: Instant,
        mut is_over: tokio::sync::oneshot::Receiver<()>,
    ) -> Result<Vec<Restart>> {
        let mut restarts = Vec::new();
        for number in 1_u32.. {
            let instances = stage.in_turn();
            let (name, server, front) = &instances[restarts.len() % instances.len()];
            tokio::select! {
                () = tokio::time::sleep_until((since + self.restart_every * number).into()) => {}
                _ = &mut is_over => break,
            }
            restarts.push(roll(name, server, front, since).await?);
            self.progress.restarts.fetch_add(1, Ordering::Relaxed);
        }
        Ok(restarts)
    }
}
