//! What every server has in common: a process on a port that can be watched, signalled, restarted and stopped.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::ports;
use crate::supervise::{Program, Supervised};

const READY_TIMEOUT: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(10);
const START_TRIES: u32 = 5;

/// Asks a server once whether it answers; gets its pid. The error is its status in words.
pub(crate) type Ready = Box<dyn Fn(u32) -> Result<(), String> + Send + Sync>;

/// A private server. Dropping the last handle ends its process and removes its folder if that is a temporary one.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    program: Program,
    port: u16,
    ready: Ready,
    process: Mutex<Option<Supervised>>,
}

impl Server {
    /// The server's process id; after its end the last one it had. 0 once it is stopped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.inner.lock().as_ref().map_or(0, Supervised::pid)
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

    /// Sends a signal; STOP, CONT and KILL reach its child processes too. An error if it does not run.
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

    /// Ends it for good; its folder is removed if it is a temporary one. Stopping twice is stopping once.
    pub async fn stop(&self) -> Result<()> {
        self.blocking(|inner| {
            let process = inner.lock().take();
            process.map_or(Ok(()), |process| process.stop().map(drop))
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
        if let Some(old) = process.take() {
            old.end()?;
            old.hand_over();
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match start_process(&self.program, &self.ready) {
                Ok(new) => {
                    *process = Some(new);
                    return Ok(());
                }
                Err(error) if Instant::now() < deadline && is_worth_another_try(&error) => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(error) => return Err(error),
            }
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
                let process = Mutex::new(Some(process));
                return Ok(Server {
                    inner: Arc::new(Inner {
                        program,
                        port,
                        ready,
                        process,
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
    let Err(error) = await_ready(program, &process, ready) else {
        return Ok(process);
    };
    if is_worth_another_try(&error) {
        // The next try needs the folder that would otherwise go with this process.
        process.end()?;
        process.hand_over();
    }
    Err(error)
}

fn await_ready(program: &Program, process: &Supervised, ready: &Ready) -> Result<()> {
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
