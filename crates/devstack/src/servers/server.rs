//! What every server has in common: a process on a port that can be watched, signalled, restarted and stopped.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::ports;
use crate::supervise::{Program, Supervised};
use crate::tls;

const READY_TIMEOUT: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(10);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
const START_TRIES: u32 = 5;

/// Asks a server once whether it answers; gets its pid. The error is its status in words.
pub(crate) type Ready = Box<dyn Fn(u32) -> Result<(), String> + Send + Sync>;

/// Asks with one `GET` whether a server on a port of this machine answers 200. Written out, because this is asked before there
/// is a runtime to ask with.
pub(crate) fn answers_ok(port: u16, is_encrypted: bool, path: &str) -> Result<(), String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = tls::dial(port, is_encrypted, PROBE_TIMEOUT)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        let ended = stream.take(16 * 1024).read_to_end(&mut answer);
        // Where a connection ends without a word, what has come is all there is.
        if answer.is_empty() {
            ended?;
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = ask().map_err(|error| format!("GET {path}: {error}"))?;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let status = answer.lines().next().unwrap_or("an empty answer");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Err(format!("GET {path}: {status} {body}"))
}

/// A private server. Dropping the last handle ends its process and removes its folder if that is a temporary one.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    program: Program,
    port: u16,
    ready: Ready,
    /// Held as long as a restart takes; the two below can be read and written meanwhile.
    process: Mutex<Option<Supervised>>,
    pid: AtomicU32,
    is_stopped: AtomicBool,
}

impl Server {
    /// The server's process id; after its end the last one it had. 0 once it is stopped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.inner.pid.load(Ordering::Relaxed)
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.inner.port
    }

    /// Its log file: both output streams.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.inner.program.log
    }

    /// The last lines of its log, for messages.
    #[must_use]
    pub fn log_tail(&self) -> String {
        crate::supervise::log_tail(self.log_path())
    }

    /// `None` while it runs, else its exit code (128 + n: ended by signal n).
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        self.inner.lock().as_ref().map_or(Some(0), Supervised::exit_code)
    }

    /// Sends a signal; STOP, CONT and KILL reach its child processes too, and after a STOP nothing of it runs any more
    /// (milliseconds). An error if it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.inner.with_process(|process| process.signal(signal))
    }

    /// SIGKILL, and waits for the end (milliseconds). `restart` brings it back.
    pub fn kill(&self) -> Result<()> {
        self.inner.with_process(|process| {
            process.signal(Signal::KILL)?;
            process
                .wait(Duration::from_secs(5))
                .context("it does not end, not even when killed")?;
            Ok(())
        })
    }

    /// Asks it to end and waits; returns its exit code. Killed after its grace. `restart` brings it back.
    pub async fn terminate(&self) -> Result<i32> {
        self.blocking(|inner| inner.with_process(Supervised::end)).await
    }

    /// Ends it if it runs and starts it again with the same port and data; returns when it answers.
    pub async fn restart(&self) -> Result<()> {
        self.blocking(Inner::restart).await
    }

    /// Ends it for good; its folder is removed if it is a temporary one. Returns the exit code if it ran until now.
    ///
    /// A restart that is under way is given up. Stopping twice is stopping once.
    pub async fn stop(&self) -> Result<Option<i32>> {
        self.inner.is_stopped.store(true, Ordering::Relaxed);
        self.blocking(|inner| {
            let process = inner.lock().take();
            inner.pid.store(0, Ordering::Relaxed);
            let Some(process) = process else { return Ok(None) };
            let has_run = process.exit_code().is_none();
            let code = process.stop()?;
            Ok(has_run.then_some(code))
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner)).await?
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Option<Supervised>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_process<T>(&self, work: impl FnOnce(&Supervised) -> Result<T>) -> Result<T> {
        let guard = self.lock();
        let process = guard
            .as_ref()
            .with_context(|| format!("{} is stopped", self.program.name))?;
        work(process).with_context(|| self.program.name.clone())
    }

    fn restart(&self) -> Result<()> {
        let mut process = self.lock();
        if self.is_stopped.load(Ordering::Relaxed) {
            bail!("{} is stopped", self.program.name);
        }
        if let Some(old) = process.take() {
            old.end()?;
            old.hand_over();
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let new = Supervised::start(&self.program)?;
            let ready = await_ready(&self.program, &new, &self.ready, &self.is_stopped);
            self.pid.store(new.pid(), Ordering::Relaxed);
            let Err(error) = ready else {
                *process = Some(new);
                return Ok(());
            };
            new.end()?;
            if Instant::now() > deadline || !is_worth_another_try(&error) {
                // Kept, ended as it is: with it would go the folder, and the data in it.
                *process = Some(new);
                return Err(error);
            }
            new.hand_over();
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Starts a server on a free port, with another port if it was taken meanwhile. Blocks until it answers.
///
/// `build` makes the program and its readiness probe for a port.
pub(crate) fn start_on_free_port(
    first_port: Option<u16>,
    build: impl Fn(u16) -> Result<(Program, Ready)>,
) -> Result<Server> {
    let mut port = first_port.map_or_else(ports::free_port, ports::free_port_preferring)?;
    let mut tries = 1;
    loop {
        let (program, ready) = build(port)?;
        match start_process(&program, &ready) {
            Ok(process) => {
                return Ok(Server {
                    inner: Arc::new(Inner {
                        program,
                        port,
                        ready,
                        pid: AtomicU32::new(process.pid()),
                        process: Mutex::new(Some(process)),
                        is_stopped: AtomicBool::new(false),
                    }),
                });
            }
            Err(error) if tries < START_TRIES && ports::is_port_taken(&format!("{error:#}")) => {
                tries += 1;
                port = ports::free_port()?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Starts the process and waits until it answers.
fn start_process(program: &Program, ready: &Ready) -> Result<Supervised> {
    let process = Supervised::start(program)?;
    let Err(error) = await_ready(program, &process, ready, &AtomicBool::new(false)) else {
        return Ok(process);
    };
    if is_worth_another_try(&error) {
        // The next try needs the folder that would otherwise go with this process.
        process.end()?;
        process.hand_over();
    }
    Err(error)
}

fn await_ready(
    program: &Program,
    process: &Supervised,
    ready: &Ready,
    is_given_up: &AtomicBool,
) -> Result<()> {
    let name = &program.name;
    let deadline = Instant::now() + READY_TIMEOUT;
    loop {
        let answer = ready(process.pid());
        if let Some(code) = process.exit_code() {
            bail!(
                "{name} ended while starting (exit status {code})\n{}",
                process.log_tail()
            );
        }
        let Err(status) = answer else { return Ok(()) };
        if is_given_up.load(Ordering::Relaxed) {
            bail!("{name} is stopped while it starts");
        }
        if Instant::now() > deadline {
            let tail = process.log_tail();
            bail!("{name} does not answer after {READY_TIMEOUT:?}; last status: {status}\n{tail}");
        }
        std::thread::sleep(READY_POLL);
    }
}

/// Whether the port, or Postgres' shared memory, is held by someone else (at a restart: by what is just ending).
fn is_worth_another_try(error: &anyhow::Error) -> bool {
    let message = format!("{error:#}");
    ports::is_port_taken(&message) || message.contains("pre-existing shared memory block")
}
