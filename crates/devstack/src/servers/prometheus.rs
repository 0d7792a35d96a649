//! A private Prometheus, with the configuration of this repository and targets of its own.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::json;

use super::home::Home;
use super::programs::ServerKind;
use super::server::{Ready, Server, answers_ok, start_on_free_port};
use crate::supervise::Program;

/// As `config/prometheus/prometheus.yml` has it.
const SHIPPED_INTERVALS: [&str; 3] = [
    "scrape_interval: 5s",
    "scrape_timeout: 4s",
    "evaluation_interval: 5s",
];

/// Something to be scraped.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its label `job`.
    pub job: String,
    /// Its admin listener, `http://127.0.0.1:PORT`.
    pub url: String,
}

/// How to start a Prometheus.
#[derive(Clone, Debug)]
pub struct PrometheusOptions {
    /// Folder for its data and its log; `None`: a temporary one, removed at the end.
    pub dir: Option<PathBuf>,
    /// The folder `config/prometheus` of this repository.
    pub config: PathBuf,
    /// What it scrapes.
    pub targets: Vec<Target>,
    /// How often it scrapes and evaluates rules; `None`: as the file says. At least a millisecond.
    pub interval: Option<Duration>,
    /// The port it gets if it is free.
    pub preferred_port: Option<u16>,
}

/// A private Prometheus. What every server can do (pid, signal, kill, restart, stop) is in [`Server`].
#[derive(Clone)]
pub struct Prometheus {
    server: Server,
    data_dir: PathBuf,
}

impl Prometheus {
    /// Starts one; returns when it is ready. Fails with the last lines of its log.
    pub async fn start(options: PrometheusOptions) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::start_blocking(&options)).await?
    }

    fn start_blocking(options: &PrometheusOptions) -> Result<Self> {
        let path = ServerKind::Prometheus.require()?.join("prometheus");
        let home = Home::prepare(options.dir.as_deref(), "prometheus", None)?;
        configure(&home.path, options).context("cannot write the configuration of Prometheus")?;
        let server = start_on_free_port(options.preferred_port, |port| Ok(program(&path, &home, port)))?;
        Ok(Self {
            server,
            data_dir: home.path,
        })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// The folder with its configuration and its data.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }
}

impl Deref for Prometheus {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// The shipped files, with these targets instead of those of the compose file, and without an Alertmanager.
fn configure(home: &Path, options: &PrometheusOptions) -> Result<()> {
    let mut text = std::fs::read_to_string(options.config.join("prometheus.yml"))?;
    if let Some(interval) = options.interval {
        let interval = interval.as_millis();
        for line in SHIPPED_INTERVALS {
            let key = line.split(':').next().unwrap_or(line);
            anyhow::ensure!(text.contains(line), "prometheus.yml has no `{line}`");
            text = text.replace(line, &format!("{key}: {interval}ms"));
        }
    }
    std::fs::write(home.join("prometheus.yml"), text)?;
    for folder in ["rules", "targets"] {
        let folder = home.join(folder);
        // What an earlier start has left there would count as well.
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir(folder)?;
    }
    for entry in std::fs::read_dir(options.config.join("rules"))? {
        let entry = entry?;
        std::fs::copy(entry.path(), home.join("rules").join(entry.file_name()))?;
    }
    let targets: Vec<_> = options
        .targets
        .iter()
        .map(|target| {
            json!({
                "targets": [target.url.trim_start_matches("http://")],
                "labels": { "job": target.job },
            })
        })
        .collect();
    std::fs::write(
        home.join("targets/hotstock.json"),
        serde_json::to_string_pretty(&targets)?,
    )?;
    Ok(())
}

fn program(path: &Path, home: &Home, port: u16) -> (Program, Ready) {
    let args = [
        format!("--config.file={}", home.path.join("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", home.path.join("data").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        String::from("--storage.tsdb.retention.time=1d"),
        String::from("--log.level=warn"),
    ];
    let program = Program {
        name: String::from("Prometheus"),
        path: path.to_path_buf(),
        args: args.iter().map(Into::into).collect(),
        env: Vec::new(),
        env_without: None,
        current_dir: Some(home.path.clone()),
        user: None,
        log: home.path.join("prometheus.log"),
        scratch: home.is_scratch.then(|| home.path.clone()),
        end_signal: Signal::TERM,
        end_grace: Duration::from_secs(5),
    };
    (program, Box::new(move |_| answers_ok(port, false, "/-/ready")))
}
