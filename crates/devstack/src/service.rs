//! A running service of this workspace: product-service or order-service, as its own process.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use crate::ports;
use crate::servers::{Server, answers_ok, start_on_free_port};
use crate::supervise::Program;
use crate::tls::Certificates;

/// How to start a service. Its configuration goes through the environment, as in production.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    name: String,
    program: PathBuf,
    log_dir: Option<PathBuf>,
    preferred_port: Option<u16>,
    preferred_admin_port: Option<u16>,
    is_encrypted: bool,
    env: Vec<(String, String)>,
}

impl ServiceOptions {
    /// `program` is the path of the binary; it is started as `program serve`.
    #[must_use]
    pub fn new(name: &str, program: impl Into<PathBuf>) -> Self {
        let mut options = Self {
            name: name.to_owned(),
            program: program.into(),
            log_dir: None,
            preferred_port: None,
            preferred_admin_port: None,
            is_encrypted: false,
            env: Vec::new(),
        };
        // Logs go to a file, and from there into error messages.
        options.set("NO_COLOR", "1");
        options.set("HOTSTOCK__LOG__FORMAT", "human");
        options.set("HOTSTOCK__LOG__FILTER", "info");
        // Nobody, unless it is said who: not a RabbitMQ that happens to run on this machine.
        options.set("HOTSTOCK__RABBITMQ__URL", "amqp://127.0.0.1:1");
        options
    }

    /// The service's Postgres database. It migrates it itself when it starts.
    #[must_use]
    pub fn database_url(self, url: &str) -> Self {
        self.env("HOTSTOCK__DATABASE__URL", url)
    }

    /// The Redis in front of hot products (product-service only).
    #[must_use]
    pub fn redis_url(self, url: &str) -> Self {
        self.env("HOTSTOCK__REDIS__URL", url)
    }

    /// The RabbitMQ between the services.
    #[must_use]
    pub fn amqp_url(self, url: &str) -> Self {
        self.env("HOTSTOCK__RABBITMQ__URL", url)
    }

    /// With limits on the database for a machine that is busy with other tests: its slowness is not what they are about.
    #[must_use]
    pub fn patient(self) -> Self {
        self.env("HOTSTOCK__DATABASE__POOL_WAIT_MS", "5000")
            .env("HOTSTOCK__DATABASE__CONNECT_TIMEOUT_MS", "5000")
            .env("HOTSTOCK__DATABASE__LOCK_TIMEOUT_MS", "5000")
            .env("HOTSTOCK__DATABASE__STATEMENT_TIMEOUT_MS", "5000")
    }

    /// Both listeners speak HTTPS and nothing else.
    #[must_use]
    pub fn tls(mut self, tls: &Certificates) -> Self {
        self.is_encrypted = true;
        self.set(
            "HOTSTOCK__SERVER__TLS__CERT_FILE",
            &tls.cert_file.to_string_lossy(),
        );
        self.set("HOTSTOCK__SERVER__TLS__KEY_FILE", &tls.key_file.to_string_lossy());
        self
    }

    /// Any setting, as `HOTSTOCK__SECTION__KEY`.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.set(key, value);
        self
    }

    /// Folder for the log, kept at the end; otherwise a temporary one, removed at the end.
    #[must_use]
    pub fn log_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.log_dir = Some(dir.into());
        self
    }

    /// The port of the public listener, if it is free.
    #[must_use]
    pub fn preferred_port(mut self, port: u16) -> Self {
        self.preferred_port = Some(port);
        self
    }

    /// The port of the admin listener, if it is free.
    #[must_use]
    pub fn preferred_admin_port(mut self, port: u16) -> Self {
        self.preferred_admin_port = Some(port);
        self
    }

    fn set(&mut self, key: &str, value: &str) {
        self.env.retain(|(existing, _)| existing != key);
        self.env.push((key.to_owned(), value.to_owned()));
    }
}

/// A running service. What every server can do (pid, log, signal, kill, terminate, restart) is in [`Server`].
#[derive(Clone)]
pub struct Service {
    server: Server,
    name: String,
    admin_port: u16,
    scheme: &'static str,
}

impl Service {
    /// Starts it on free ports; returns when `/readyz` answers 200. Fails with the last status and log lines.
    ///
    /// Variables `HOTSTOCK__…` of our own environment are not passed on: a test means what it says.
    pub async fn start(options: ServiceOptions) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::start_blocking(&options)).await?
    }

    fn start_blocking(options: &ServiceOptions) -> Result<Self> {
        let (dir, is_scratch) = match &options.log_dir {
            Some(dir) => {
                std::fs::create_dir_all(dir)?;
                (dir.clone(), false)
            }
            None => (
                tempfile::Builder::new()
                    .prefix("hotstock-service-")
                    .tempdir()?
                    .keep(),
                true,
            ),
        };
        let is_encrypted = options.is_encrypted;
        let admin_port = std::cell::Cell::new(0);
        let server = start_on_free_port(options.preferred_port, |port| {
            let wanted = options.preferred_admin_port;
            admin_port.set(wanted.map_or_else(ports::free_port, ports::free_port_preferring)?);
            let program = program(options, &dir, is_scratch, port, admin_port.get());
            Ok((
                program,
                Box::new(move |_| answers_ok(port, is_encrypted, "/readyz")),
            ))
        })?;
        Ok(Self {
            server,
            name: options.name.clone(),
            admin_port: admin_port.get(),
            scheme: if is_encrypted { "https" } else { "http" },
        })
    }

    /// The name given at start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Public listener, `http://127.0.0.1:PORT`, or `https://`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port())
    }

    /// Admin listener, `http://127.0.0.1:PORT`, or `https://`.
    #[must_use]
    pub fn admin_url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.admin_port)
    }
}

impl Deref for Service {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

fn program(options: &ServiceOptions, dir: &Path, is_scratch: bool, port: u16, admin_port: u16) -> Program {
    let mut env = options.env.clone();
    env.push((
        String::from("HOTSTOCK__SERVER__BIND"),
        format!("127.0.0.1:{port}"),
    ));
    env.push((
        String::from("HOTSTOCK__SERVER__ADMIN_BIND"),
        format!("127.0.0.1:{admin_port}"),
    ));
    Program {
        name: options.name.clone(),
        path: options.program.clone(),
        args: vec!["serve".into()],
        env,
        env_without: Some("HOTSTOCK__"),
        current_dir: None,
        user: None,
        log: dir.join(format!("{}.log", options.name)),
        scratch: is_scratch.then(|| dir.to_path_buf()),
        end_signal: Signal::TERM,
        end_grace: Duration::from_secs(15),
    }
}

/// The `cargo` that started us, or else the one there is. It does not hear of which package we are: build scripts that look
/// at that (ring's does) would count as changed, and with them half of what is built.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Builds the program of a package as `program` was built, into the folder beside it; returns that folder.
fn build_beside(program: &Path, package: &str) -> Result<PathBuf> {
    let folder = program.parent().context("the program is in no folder")?;
    if std::env::var_os(EVERYTHING_IS_BUILT).is_some() {
        return Ok(folder.to_owned());
    }
    let target = folder.parent().context("the folder is in no target folder")?;
    let mut command = cargo();
    command.args([
        "build",
        "--quiet",
        "--package",
        package,
        "--bin",
        package,
        "--target-dir",
    ]);
    command.arg(target);
    if folder.ends_with("release") {
        command.arg("--release");
    }
    ensure!(command.status()?.success(), "{package} cannot be built");
    Ok(folder.to_owned())
}

/// Set by whoever has just built the whole workspace, as `cargo dev test` does. A package built by itself is not the same
/// to cargo, which would compile what it needs once more.
pub const EVERYTHING_IS_BUILT: &str = "HOTSTOCK_EVERYTHING_IS_BUILT";

/// The program of another package of this workspace, built as `ours` was, into the same folder. Cargo builds only the
/// programs of the package it tests. Built once per process.
pub async fn program_beside(ours: impl Into<PathBuf>, package: &'static str) -> Result<PathBuf> {
    static BUILT: OnceLock<Mutex<HashMap<&str, PathBuf>>> = OnceLock::new();
    let ours = ours.into();
    tokio::task::spawn_blocking(move || {
        let built = BUILT.get_or_init(Mutex::default);
        // Held to the end: of two callers at once, the second must wait for the first one's program.
        let mut built = built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = built.get(package) {
            return Ok(program.clone());
        }
        let program = build_beside(&ours, package)?.join(package);
        built.insert(package, program.clone());
        Ok(program)
    })
    .await?
}
