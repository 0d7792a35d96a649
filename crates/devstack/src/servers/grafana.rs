//! A private Grafana, with the dashboards of this repository. Only where it is on the machine already: no package of Debian
//! brings it.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::home::Home;
use super::server::{Ready, Server, answers_ok, start_on_free_port};
use crate::supervise::Program;

/// Where packages put it: the folder with `bin`, `conf` and `public`.
const HOMES: [&str; 3] = [
    "/usr/share/grafana",
    "/opt/homebrew/opt/grafana/share/grafana",
    "/usr/local/opt/grafana/share/grafana",
];

/// How to start a Grafana.
#[derive(Clone, Debug)]
pub struct GrafanaOptions {
    /// Folder for its data and its log.
    pub dir: PathBuf,
    /// The folder `config/grafana` of this repository.
    pub config: PathBuf,
    /// The Prometheus it asks.
    pub prometheus_url: String,
    /// The port it gets if it is free.
    pub preferred_port: Option<u16>,
}

/// A private Grafana; anybody may look, nobody has to log in. What every server can do is in [`Server`].
#[derive(Clone)]
pub struct Grafana {
    server: Server,
    data_dir: PathBuf,
}

impl Grafana {
    /// Starts one and returns when it answers; `None` where there is none on this machine.
    pub async fn start(options: GrafanaOptions) -> Result<Option<Self>> {
        let Some((path, home)) = find() else {
            return Ok(None);
        };
        tokio::task::spawn_blocking(move || Self::start_blocking(&path, &home, &options).map(Some)).await?
    }

    fn start_blocking(path: &Path, grafana: &Path, options: &GrafanaOptions) -> Result<Self> {
        let home = Home::prepare(Some(&options.dir), "grafana", None)?;
        let config = options
            .config
            .canonicalize()
            .context("there is no config/grafana")?;
        let server = start_on_free_port(options.preferred_port, |port| {
            Ok(program(path, grafana, &home, &config, options, port))
        })?;
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

    /// The folder with its data.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }
}

impl Deref for Grafana {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// The program, and the folder with what it needs.
fn find() -> Option<(PathBuf, PathBuf)> {
    let homes = HOMES.iter().map(PathBuf::from);
    homes
        .flat_map(|home| {
            // Newer versions have one program with commands, older ones a program per command.
            [
                home.join("bin/grafana"),
                PathBuf::from("/usr/sbin/grafana-server"),
            ]
            .map(|program| (program, home.clone()))
        })
        .find(|(program, home)| program.is_file() && home.join("conf/defaults.ini").is_file())
}

fn program(
    path: &Path,
    grafana: &Path,
    home: &Home,
    config: &Path,
    options: &GrafanaOptions,
    port: u16,
) -> (Program, Ready) {
    let is_one_program = path.ends_with("grafana");
    let mut args = Vec::new();
    args.extend(is_one_program.then(|| "server".into()));
    args.extend(["--homepath".into(), grafana.into()]);
    let folder = |name: &str| home.path.join(name).display().to_string();
    let env = [
        ("GF_SERVER_HTTP_ADDR", String::from("127.0.0.1")),
        ("GF_SERVER_HTTP_PORT", port.to_string()),
        ("GF_PATHS_DATA", folder("data")),
        ("GF_PATHS_LOGS", folder("logs")),
        ("GF_PATHS_PLUGINS", folder("plugins")),
        (
            "GF_PATHS_PROVISIONING",
            config.join("provisioning").display().to_string(),
        ),
        ("GF_AUTH_ANONYMOUS_ENABLED", String::from("true")),
        ("GF_ANALYTICS_REPORTING_ENABLED", String::from("false")),
        ("GF_ANALYTICS_CHECK_FOR_UPDATES", String::from("false")),
        ("HOTSTOCK_PROMETHEUS_URL", options.prometheus_url.clone()),
        (
            "HOTSTOCK_DASHBOARDS",
            config.join("dashboards").display().to_string(),
        ),
    ];
    let program = Program {
        name: String::from("Grafana"),
        path: path.to_path_buf(),
        args,
        env: env
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        env_without: None,
        current_dir: Some(home.path.clone()),
        user: None,
        log: home.path.join("grafana.log"),
        scratch: home.is_scratch.then(|| home.path.clone()),
        end_signal: Signal::TERM,
        end_grace: Duration::from_secs(5),
    };
    (program, Box::new(move |_| answers_ok(port, false, "/api/health")))
}
