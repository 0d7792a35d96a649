//! A private Postgres cluster with any number of databases.

use std::ffi::OsString;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::home::Home;
use super::programs::ServerKind;
use super::server::{Ready, Server, start_on_free_port};
use crate::supervise::Program;
use crate::tls::{self, Certificates};

const USER: &str = "hotstock";
const RIGHTS: &str = include_str!("../../../../config/postgres/rights.sql");
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes the cluster if there is none, then becomes Postgres. Made beside its place and then moved there, so that a
/// start that was interrupted leaves no half of a cluster behind.
const LAUNCH: &str = r#"
bin=$1 data=$2 sync=$3
shift 3
if ! [ -d "$data" ]; then
    rm -rf -- "$data.new"
    "$bin/initdb" --pgdata="$data.new" --username=hotstock --auth=trust --encoding=UTF8 --locale=C $sync || exit 1
    mv -- "$data.new" "$data" || exit 1
fi
exec "$bin/postgres" -D "$data" "$@"
"#;

/// What a commit is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// On disk before it is answered: what production does. For the launcher and everything that is measured.
    Full,
    /// Survives a killed server (what was answered is in the system's memory), not a power failure. For tests.
    #[default]
    Test,
}

/// How to start a Postgres.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// Folder for data and log, kept at the end; `None`: a temporary one, removed at the end. When the account
    /// Postgres has to run under cannot enter the folder, a temporary one is taken instead.
    pub dir: Option<PathBuf>,
    /// What a commit is worth.
    pub durability: Durability,
    /// What it shows; then it takes encrypted connections only. `None`: plain ones only.
    pub tls: Option<Certificates>,
    /// Further settings as `name=value`, such as `max_connections=500`.
    pub settings: Vec<String>,
}

/// A database as its two roles see it.
#[derive(Clone, Debug)]
pub struct RoleUrls {
    /// Has the tables, and migrates.
    pub owner: String,
    /// Reads and writes rows, no more.
    pub app: String,
}

/// A private Postgres server. What every server can do (pid, signal, kill, restart, stop) is in [`Server`].
#[derive(Clone)]
pub struct Postgres {
    server: Server,
    data_dir: PathBuf,
    is_encrypted: bool,
}

impl Postgres {
    /// Starts one; returns when it accepts connections. Fails with the last lines of its log.
    pub async fn start(options: PostgresOptions) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::start_blocking(&options)).await?
    }

    pub(super) fn start_blocking(options: &PostgresOptions) -> Result<Self> {
        let bin = ServerKind::Postgres.require()?;
        let user = account()?;
        let home = Home::prepare(options.dir.as_deref(), "postgres", user)?;
        let data_dir = home.path.join("data");
        let tls = match &options.tls {
            Some(tls) => Some(encrypted_only(tls, &home, user)?),
            None => None,
        };
        let server = start_on_free_port(None, |port| {
            let settings = settings(port, options, tls.as_deref().unwrap_or_default());
            let ready = readiness(port, tls.is_some(), data_dir.clone());
            Ok((program(&bin, &home, &data_dir, user, options, settings), ready))
        })?;
        let is_encrypted = tls.is_some();
        Ok(Self {
            server,
            data_dir,
            is_encrypted,
        })
    }

    /// `postgres://hotstock@127.0.0.1:PORT/DATABASE`, with `?sslmode=require` where it is encrypted. The database `postgres` always exists.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        url(self.port(), self.is_encrypted, database)
    }

    /// Creates a database if it does not exist; returns its url. Names: lower case letters, digits, `_`.
    pub async fn create_database(&self, name: &str) -> Result<String> {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || name.len() > 63 || !name.chars().all(is_plain) {
            bail!("{name:?} is no name for a database: lower case letters, digits and _, at most 63");
        }
        let url = self.url(name);
        let exists = format!("SELECT 1 FROM pg_database WHERE datname = '{name}'");
        if simple_query(&self.url("postgres"), &exists).await?.is_none() {
            // A statement of its own: it cannot run inside a transaction. Quoted: `order` is a reserved word.
            simple_query(&self.url("postgres"), &format!("CREATE DATABASE \"{name}\"")).await?;
        }
        Ok(url)
    }

    /// Creates a database if it does not exist, with the roles of `config/postgres/rights.sql`.
    pub async fn create_database_with_roles(&self, name: &str) -> Result<RoleUrls> {
        let url = self.create_database(name).await?;
        simple_query(&url, RIGHTS).await?;
        let of = |role: &str| url.replacen(&format!("{USER}@"), &format!("{name}_{role}@"), 1);
        Ok(RoleUrls {
            owner: of("owner"),
            app: of("app"),
        })
    }

    /// Creates an empty database that nobody else has; returns its url.
    pub async fn create_unique_database(&self, prefix: &str) -> Result<String> {
        self.create_database(&format!("{prefix}_{:016x}", rand::random::<u64>()))
            .await
    }

    /// The cluster's data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }
}

impl Deref for Postgres {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

fn url(port: u16, is_encrypted: bool, database: &str) -> String {
    let query = if is_encrypted { "?sslmode=require" } else { "" };
    format!("postgres://{USER}@127.0.0.1:{port}/{database}{query}")
}

/// Settings under which nobody is let in without TLS. The files go into its home: it refuses a key that others may read.
fn encrypted_only(tls: &Certificates, home: &Home, user: Option<(u32, u32)>) -> Result<Vec<String>> {
    let tls = tls.copy_to(&home.path, user)?;
    let rules = home.path.join("pg_hba.conf");
    std::fs::write(&rules, "hostssl all all 127.0.0.1/32 trust\n")?;
    Ok(vec![
        "ssl=on".into(),
        format!("ssl_cert_file={}", tls.cert_file.display()),
        format!("ssl_key_file={}", tls.key_file.display()),
        format!("hba_file={}", rules.display()),
    ])
}

fn program(
    bin: &Path,
    home: &Home,
    data_dir: &Path,
    user: Option<(u32, u32)>,
    options: &PostgresOptions,
    settings: Vec<String>,
) -> Program {
    let sync = if options.durability == Durability::Full {
        ""
    } else {
        "--no-sync"
    };
    let mut args: Vec<OsString> = ["-c", LAUNCH, "launch"].map(OsString::from).into();
    args.extend([bin.into(), data_dir.into(), sync.into()]);
    for setting in settings {
        args.extend(["-c".into(), setting.into()]);
    }
    Program {
        name: String::from("Postgres"),
        path: PathBuf::from("/bin/sh"),
        args,
        // Messages in English, whatever the user's language: some of them are recognised.
        env: vec![(String::from("LC_ALL"), String::from("C"))],
        env_without: Some("PG"),
        current_dir: Some(home.path.clone()),
        user,
        log: home.path.join("postgres.log"),
        scratch: home.is_scratch.then(|| home.path.clone()),
        // INT is its fast shutdown; TERM would wait for every client to go.
        end_signal: Signal::INT,
        end_grace: Duration::from_secs(5),
    }
}

fn readiness(port: u16, is_encrypted: bool, data_dir: PathBuf) -> Ready {
    let url = url(port, is_encrypted, "postgres");
    Box::new(move |_| accepts_connections(&url, &data_dir))
}

fn settings(port: u16, options: &PostgresOptions, tls: &[String]) -> Vec<String> {
    let mut settings: Vec<String> = vec![
        format!("port={port}"),
        "listen_addresses=127.0.0.1".into(),
        // No unix socket: its path has a length limit that a deep folder exceeds.
        "unix_socket_directories=".into(),
        "max_connections=200".into(),
        "shared_buffers=256MB".into(),
        "max_wal_size=2GB".into(),
    ];
    if options.durability == Durability::Test {
        settings.extend(["fsync=off", "full_page_writes=off"].map(String::from));
    }
    settings.extend(tls.iter().chain(&options.settings).cloned());
    settings
}

/// A real connection, and that it is our cluster that answers: another one may have taken the port.
fn accepts_connections(url: &str, data_dir: &Path) -> Result<(), String> {
    let probe = async {
        tokio::time::timeout(PROBE_TIMEOUT, simple_query(url, "SHOW data_directory"))
            .await
            .context("no answer")?
    };
    // A thread of its own, so that this may be called from anywhere, be it inside a runtime.
    let answer = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?
                    .block_on(probe)
            })
            .join()
            .unwrap_or_else(|_| bail!("the probe panicked"))
    });
    match answer {
        Ok(Some(found)) if Path::new(&found) == data_dir => Ok(()),
        Ok(found) => Err(format!("a cluster in {found:?} answers")),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// First column of the first row of a query's answer.
async fn simple_query(url: &str, query: &str) -> Result<Option<String>> {
    let (client, connection) = tokio_postgres::connect(url, tls::postgres())
        .await
        .context("cannot connect")?;
    let connection = tokio::spawn(connection);
    let messages = client
        .simple_query(query)
        .await
        .with_context(|| format!("{query} failed"));
    drop(client);
    // Until the connection is closed the database counts as used.
    let _ = connection.await;
    Ok(messages?.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

/// The user and group id to run under: Postgres refuses root. `None`: as we are.
fn account() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| Some((id_of("-u", name)?, id_of("-g", name)?)))
        .map(Some)
        .context("Postgres refuses to run as root, and there is no account `postgres` or `nobody` for it")
}

fn id_of(which: &str, name: &str) -> Option<u32> {
    let output = Command::new("id")
        .args([which, name])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
