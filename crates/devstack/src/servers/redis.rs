//! A private Redis: nothing on disk, no memory limit.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::Signal;

use super::home::Home;
use super::programs::ServerKind;
use super::server::{Ready, Server, start_on_free_port};
use crate::supervise::Program;
use crate::tls::{self, Certificates};

const USERS: &str = include_str!("../../../../config/redis/users.acl");
const DATABASES: u32 = 4096;
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// How to start a Redis.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    /// Folder for its log; `None`: a temporary one, removed at the end.
    pub dir: Option<PathBuf>,
    /// Whether it has the user `gate` of `config/redis/users.acl`, also after a restart. Tools keep the one without a name,
    /// who may do everything: the server is private.
    pub gate_user: bool,
    /// What it shows; then it takes encrypted connections only. `None`: plain ones only.
    pub tls: Option<Certificates>,
    /// Further arguments of `redis-server`, such as `["--maxmemory", "10mb"]`.
    pub args: Vec<String>,
}

/// A private Redis server. What every server can do (pid, signal, kill, restart, stop) is in [`Server`].
#[derive(Clone)]
pub struct Redis {
    server: Server,
    data_dir: PathBuf,
    scheme: &'static str,
    next_database: Arc<AtomicU32>,
}

impl Redis {
    /// Starts one; returns when it answers PING. Fails with the last lines of its log.
    pub async fn start(options: RedisOptions) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::start_blocking(&options)).await?
    }

    pub(super) fn start_blocking(options: &RedisOptions) -> Result<Self> {
        let path = ServerKind::Redis.require()?.join("redis-server");
        let home = Home::prepare(options.dir.as_deref(), "redis", None)?;
        let mut args = options.args.clone();
        if options.gate_user {
            let file = home.path.join("users.acl");
            let gate = USERS.lines().filter(|line| line.starts_with("user gate "));
            std::fs::write(&file, gate.map(|line| format!("{line}\n")).collect::<String>())?;
            args.extend(["--aclfile".to_owned(), file.to_string_lossy().into_owned()]);
        }
        let is_encrypted = options.tls.is_some();
        if let Some(tls) = &options.tls {
            let flags = [
                ("--tls-cert-file", &tls.cert_file),
                ("--tls-key-file", &tls.key_file),
                ("--tls-ca-cert-file", &tls.ca_file),
            ];
            for (flag, file) in flags {
                args.extend([
                    flag.to_owned(),
                    file.canonicalize()?.to_string_lossy().into_owned(),
                ]);
            }
            args.extend(["--tls-auth-clients", "no"].map(String::from));
        }
        let server = start_on_free_port(None, |port| Ok(program(&path, &home, port, is_encrypted, &args)))?;
        Ok(Self {
            server,
            data_dir: home.path,
            scheme: if is_encrypted { "rediss" } else { "redis" },
            next_database: Arc::new(AtomicU32::new(1)),
        })
    }

    /// `redis://127.0.0.1:PORT/0`, or `rediss://` where it is encrypted.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}/0", self.scheme, self.port())
    }

    /// The url as the user product-service works with, where [`RedisOptions::gate_user`] has made him.
    #[must_use]
    pub fn gate_url(&self) -> String {
        format!("{}://gate:gate@127.0.0.1:{}/0", self.scheme, self.port())
    }

    /// The url of an empty database that nobody else was given; one server has 4,095 of them.
    ///
    /// Product ids repeat between databases of Postgres, so tests that share a server must not share keys.
    pub fn create_database(&self) -> Result<String> {
        let index = self.next_database.fetch_add(1, Ordering::Relaxed);
        if index >= DATABASES {
            bail!("this Redis has no database left ({DATABASES} in all); start another one");
        }
        Ok(format!("{}://127.0.0.1:{}/{index}", self.scheme, self.port()))
    }

    /// Its working folder.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }
}

impl Deref for Redis {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

fn program(path: &Path, home: &Home, port: u16, is_encrypted: bool, extra: &[String]) -> (Program, Ready) {
    let dir = home.path.to_string_lossy();
    let port_text = port.to_string();
    let databases = DATABASES.to_string();
    let args = [
        ["--port", if is_encrypted { "0" } else { &port_text }],
        ["--tls-port", if is_encrypted { &port_text } else { "0" }],
        ["--bind", "127.0.0.1"],
        ["--dir", &dir],
        ["--databases", &databases],
        ["--save", ""],
        ["--appendonly", "no"],
    ];
    let args = args
        .iter()
        .flatten()
        .map(|arg| arg.into())
        .chain(extra.iter().map(Into::into))
        .collect();
    let program = Program {
        name: String::from("Redis"),
        path: path.to_path_buf(),
        args,
        env: Vec::new(),
        env_without: None,
        current_dir: Some(home.path.clone()),
        user: None,
        log: home.path.join("redis.log"),
        scratch: home.is_scratch.then(|| home.path.clone()),
        end_signal: Signal::TERM,
        end_grace: Duration::from_secs(2),
    };
    (program, Box::new(move |pid| ping(port, is_encrypted, pid)))
}

/// PING, and that it is our process that answers: another one may have taken the port.
fn ping(port: u16, is_encrypted: bool, pid: u32) -> Result<(), String> {
    let info = ask(port, is_encrypted, "PING\r\nINFO server\r\n").map_err(|error| error.to_string())?;
    if info.contains(&format!("process_id:{pid}\r\n")) {
        return Ok(());
    }
    Err(format!("answered {:?}", info.lines().next().unwrap_or_default()))
}

fn ask(port: u16, is_encrypted: bool, command: &str) -> std::io::Result<String> {
    let mut stream = tls::dial(port, is_encrypted, PROBE_TIMEOUT)?;
    stream.write_all(command.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.windows(11).any(|window| window == b"process_id:") || !answer.ends_with(b"\r\n") {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..length]);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
