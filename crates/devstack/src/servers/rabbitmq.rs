//! A private RabbitMQ, with an epmd of its own, and virtual hosts to give away.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::json;

use super::home::Home;
use super::programs::ServerKind;
use super::server::{Ready, Server, start_on_free_port};
use crate::ports;
use crate::supervise::Program;
use crate::tls::{self, Certificates};

/// Virtual hosts that are there from the start: making one later takes a second of a whole Erlang.
const VIRTUAL_HOSTS: u32 = 48;
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\0\0\x09\x01";
const METHOD_FRAME: u8 = 1;
const USER: &str = "hotstock";
/// No secret: the server listens on loopback only, and lives as long as its owner. A word of its own, so that a test finds
/// it where a password must not be.
const PASSWORD: &str = "broker-password";

/// How to start a RabbitMQ.
#[derive(Clone, Debug, Default)]
pub struct RabbitMqOptions {
    /// Folder for data and log, kept at the end; `None`: a temporary one, removed at the end.
    pub dir: Option<PathBuf>,
    /// The port, for a caller who tells others before it answers; `None`: any free one. Taken by somebody else, it is an
    /// error.
    pub port: Option<u16>,
    /// What it shows; then it takes encrypted connections only. `None`: plain ones only.
    pub tls: Option<Certificates>,
}

/// A private RabbitMQ server. What every server can do (pid, signal, kill, restart, stop) is in [`Server`]. Takes
/// several seconds to start: begin with it, beside everything else.
#[derive(Clone)]
pub struct RabbitMq {
    server: Server,
    /// Erlang's name server. Left to itself, RabbitMQ would start one that outlives everybody.
    epmd: Server,
    data_dir: PathBuf,
    is_encrypted: bool,
    next_virtual_host: Arc<AtomicU32>,
}

impl RabbitMq {
    /// Starts one; returns when it speaks AMQP. Fails with the last lines of its log.
    pub async fn start(options: RabbitMqOptions) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::start_blocking(&options)).await?
    }

    pub(super) fn start_blocking(options: &RabbitMqOptions) -> Result<Self> {
        let path = ServerKind::RabbitMq.require()?.join("rabbitmq-server");
        let home = Home::prepare(options.dir.as_deref(), "rabbitmq", None)?;
        let names = start_on_free_port(None, |port| Ok(epmd(&home, port)))?;
        let server = start_on_free_port(options.port, |port| {
            program(&path, &home, port, names.port(), options.tls.as_ref())
        })?;
        if let Some(wanted) = options.port.filter(|port| *port != server.port()) {
            bail!("somebody else has taken port {wanted}, which RabbitMQ was to have");
        }
        Ok(Self {
            server,
            epmd: names,
            data_dir: home.path,
            is_encrypted: options.tls.is_some(),
            next_virtual_host: Arc::new(AtomicU32::new(1)),
        })
    }

    /// `amqp://USER:PASSWORD@127.0.0.1:PORT/%2f`, or `amqps://` where it is encrypted.
    #[must_use]
    pub fn url(&self) -> String {
        Self::url_at(self.port(), self.is_encrypted)
    }

    /// The url of one that answers there, or will.
    #[must_use]
    pub fn url_at(port: u16, is_encrypted: bool) -> String {
        virtual_host(port, is_encrypted, "%2f")
    }

    /// Its folder.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The url of an empty virtual host that nobody else was given; one server has 48 of them.
    ///
    /// Queues have the same names everywhere, so tests that share a server must not share a virtual host.
    pub fn create_virtual_host(&self) -> Result<String> {
        let index = self.next_virtual_host.fetch_add(1, Ordering::Relaxed);
        if index > VIRTUAL_HOSTS {
            bail!("this RabbitMQ has no virtual host left ({VIRTUAL_HOSTS} in all); start another one");
        }
        let name = format!("test{index}");
        Ok(virtual_host(self.port(), self.is_encrypted, &name))
    }

    /// Process id of its epmd, which ends with it.
    #[must_use]
    pub fn epmd_pid(&self) -> u32 {
        self.epmd.pid()
    }
}

impl Deref for RabbitMq {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

fn virtual_host(port: u16, is_encrypted: bool, name: &str) -> String {
    let scheme = if is_encrypted { "amqps" } else { "amqp" };
    format!("{scheme}://{USER}:{PASSWORD}@127.0.0.1:{port}/{name}")
}

/// In the foreground, so that it is supervised like everything else.
fn epmd(home: &Home, port: u16) -> (Program, Ready) {
    let program = Program {
        name: String::from("epmd"),
        path: PathBuf::from("epmd"),
        args: ["-port", &port.to_string(), "-address", "127.0.0.1"]
            .map(Into::into)
            .to_vec(),
        env: Vec::new(),
        env_without: None,
        current_dir: Some(home.path.clone()),
        user: None,
        log: home.path.join("epmd.log"),
        scratch: None,
        end_signal: Signal::TERM,
        end_grace: Duration::from_secs(2),
    };
    let listens = move |_| match tls::dial(port, false, PROBE_TIMEOUT) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    (program, Box::new(listens))
}

fn program(
    path: &Path,
    home: &Home,
    port: u16,
    epmd_port: u16,
    tls: Option<&Certificates>,
) -> Result<(Program, Ready)> {
    let file = |name: &str| home.path.join(name);
    let text = |name: &str| file(name).to_string_lossy().into_owned();
    std::fs::write(file("definitions.json"), definitions())?;
    std::fs::write(
        file("rabbitmq.conf"),
        format!(
            "{}\
             load_definitions = {}\n\
             log.console = true\nlog.console.level = warning\nlog.file = false\n",
            listener(port, tls)?,
            text("definitions.json")
        ),
    )?;
    std::fs::write(file("enabled_plugins"), "[].\n")?;
    let env = [
        // Where Erlang keeps its cookie.
        ("HOME", home.path.to_string_lossy().into_owned()),
        // Part of the data's path, so the same at every start. Its own epmd knows no other.
        ("RABBITMQ_NODENAME", String::from("hotstock@localhost")),
        ("RABBITMQ_DIST_PORT", ports::free_port()?.to_string()),
        ("ERL_EPMD_PORT", epmd_port.to_string()),
        ("ERL_EPMD_ADDRESS", String::from("127.0.0.1")),
        ("RABBITMQ_MNESIA_BASE", text("data")),
        ("RABBITMQ_LOG_BASE", text("log")),
        ("RABBITMQ_CONFIG_FILE", text("rabbitmq.conf")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", text("enabled_plugins")),
        ("RABBITMQ_CONF_ENV_FILE", String::from("/dev/null")),
        (
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            // Its threads spin for a while before they sleep, on cores that the services and the load tool need.
            String::from(
                "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none",
            ),
        ),
        // The script then becomes the server, instead of waiting for it as a child.
        ("RUNNING_UNDER_SYSTEMD", String::from("1")),
    ];
    let program = Program {
        name: String::from("RabbitMQ"),
        path: path.to_path_buf(),
        args: Vec::new(),
        env: env.map(|(key, value)| (key.to_owned(), value)).to_vec(),
        env_without: Some("RABBITMQ_"),
        current_dir: Some(home.path.clone()),
        user: None,
        log: file("rabbitmq.log"),
        scratch: home.is_scratch.then(|| home.path.clone()),
        end_signal: Signal::TERM,
        end_grace: Duration::from_secs(10),
    };
    let is_encrypted = tls.is_some();
    Ok((program, Box::new(move |_| speaks_amqp(port, is_encrypted))))
}

/// Where it listens, for `rabbitmq.conf`.
fn listener(port: u16, tls: Option<&Certificates>) -> Result<String> {
    let Some(tls) = tls else {
        return Ok(format!("listeners.tcp.1 = 127.0.0.1:{port}\n"));
    };
    let file = |path: &Path| path.canonicalize().map(|path| path.display().to_string());
    Ok(format!(
        "listeners.tcp = none\nlisteners.ssl.1 = 127.0.0.1:{port}\n\
         ssl_options.cacertfile = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
         ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n",
        file(&tls.ca_file)?,
        file(&tls.cert_file)?,
        file(&tls.key_file)?
    ))
}

/// What the server is told to have when it starts: a user who may do everything, and the virtual hosts.
fn definitions() -> String {
    let names =
        std::iter::once(String::from("/")).chain((1..=VIRTUAL_HOSTS).map(|index| format!("test{index}")));
    let names: Vec<String> = names.collect();
    let permission = |name: &String| json!({ "user": USER, "vhost": name, "configure": ".*", "write": ".*", "read": ".*" });
    json!({
        "users": [{ "name": USER, "password": PASSWORD, "tags": ["administrator"], "limits": {} }],
        "vhosts": names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>(),
        "permissions": names.iter().map(permission).collect::<Vec<_>>(),
    })
    .to_string()
}

/// Its answer to the protocol header is the frame of a method, `connection.start`.
fn speaks_amqp(port: u16, is_encrypted: bool) -> Result<(), String> {
    let ask = || -> Result<u8> {
        let mut stream = tls::dial(port, is_encrypted, PROBE_TIMEOUT)?;
        stream.write_all(PROTOCOL_HEADER)?;
        let mut answer = [0];
        stream.read_exact(&mut answer).context("no answer")?;
        Ok(answer[0])
    };
    match ask() {
        Ok(METHOD_FRAME) => Ok(()),
        Ok(other) => Err(format!("answered a frame of type {other}")),
        Err(error) => Err(format!("{error:#}")),
    }
}
