//! One supervised process: started under a small shell script that ends it when this process is gone.
//!
//! The script (`supervise.sh`) holds the read end of a pipe, the owner the write end. However the owner ends
//! (return, panic, SIGKILL, a `static` that is never dropped), the kernel closes the pipe and the script ends the
//! server. No other process inherits the write end: the standard library opens it close-on-exec.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

const SCRIPT: &str = include_str!("supervise.sh");
const LOG_LINES: usize = 20;
/// Far more than it takes: a thread that waits for its disk stops when it has been served.
const STOPPED_WITHIN: Duration = Duration::from_secs(5);

/// What to start, and how it has to be ended.
pub(crate) struct Program {
    /// Name used in messages.
    pub(crate) name: String,
    /// Path of the executable.
    pub(crate) path: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
    /// Variables added to the inherited environment.
    pub(crate) env: Vec<(String, String)>,
    /// Inherited variables with this prefix are not passed on.
    pub(crate) env_without: Option<&'static str>,
    /// Working directory; `None` inherits ours.
    pub(crate) current_dir: Option<PathBuf>,
    /// User and group id to run as; `None` keeps ours.
    pub(crate) user: Option<(u32, u32)>,
    /// File that receives both output streams (appended).
    pub(crate) log: PathBuf,
    /// Folder removed once the process has ended for good.
    pub(crate) scratch: Option<PathBuf>,
    /// Signal that asks it to end.
    pub(crate) end_signal: Signal,
    /// How long it may take to end before it is killed.
    pub(crate) end_grace: Duration,
}

/// A running (or ended) process under its supervisor. Dropping it ends the process.
pub(crate) struct Supervised {
    name: String,
    pid: u32,
    log: PathBuf,
    end_signal: Signal,
    end_grace: Duration,
    lifeline: Option<ChildStdin>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Default, Clone, Copy)]
struct Progress {
    exit_code: Option<i32>,
    supervisor_gone: bool,
}

impl Supervised {
    /// Starts the program. Returns as soon as it has a pid, which says nothing about it being ready.
    pub(crate) fn start(program: &Program) -> Result<Self> {
        let log = open_log(&program.log)?;
        let mut supervisor = command(program, log)
            .spawn()
            .with_context(|| format!("cannot start the supervisor of {}", program.name))?;
        let lifeline = supervisor.stdin.take();
        let stdout = supervisor
            .stdout
            .take()
            .context("the supervisor has no output pipe")?;
        let mut lines = BufReader::new(stdout);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let Ok(pid) = line.trim().parse() else {
            bail!("{} did not start\n{}", program.name, log_tail(&program.log));
        };
        let state = Arc::new(State::default());
        let watched = Arc::clone(&state);
        std::thread::Builder::new()
            .name(format!("watch {}", program.name))
            .spawn(move || watch(supervisor, lines, &watched))?;
        Ok(Self {
            name: program.name.clone(),
            pid,
            log: program.log.clone(),
            end_signal: program.end_signal,
            end_grace: program.end_grace,
            lifeline,
            state,
        })
    }

    /// Process id of the program itself (not of its supervisor).
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended: its exit code, or 128 + n for signal n. `None` while it runs.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        self.state.lock().exit_code
    }

    /// Sends a signal. An error if it has ended already.
    ///
    /// STOP, CONT and KILL reach its direct children too: a Postgres is frozen or dead only with its backends. After a STOP
    /// nothing of it runs any more: on a busy machine a thread goes on for a while, so that is waited for, blocking.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        if let Some(code) = self.exit_code() {
            bail!("{} has ended already (exit status {code})", self.name);
        }
        let whole_family = [Signal::STOP, Signal::CONT, Signal::KILL].contains(&signal);
        let children = if whole_family {
            children_of(self.pid)
        } else {
            Vec::new()
        };
        send_signal(self.pid, signal).with_context(|| format!("cannot signal {}", self.name))?;
        for child in &children {
            // A child may have ended by itself in the meantime.
            let _ = send_signal(*child, signal);
        }
        if signal == Signal::STOP {
            let deadline = Instant::now() + STOPPED_WITHIN;
            for pid in std::iter::once(self.pid).chain(children) {
                while !stands_still(pid) {
                    if Instant::now() > deadline {
                        bail!("{} does not stand still", self.name);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        Ok(())
    }

    /// Waits until it has ended; `None` when it has not within `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) -> Option<i32> {
        self.state
            .wait_until(timeout, |progress| progress.exit_code.is_some())
            .exit_code
    }

    /// Asks it to end, waits, kills it after its grace; returns its exit code.
    pub(crate) fn end(&self) -> Result<i32> {
        if self.exit_code().is_none() {
            // It may end at any moment; then there is nothing left to signal. CONT, because it may be frozen.
            let _ = self.signal(Signal::CONT);
            let _ = self.signal(self.end_signal);
        }
        if let Some(code) = self.wait(self.end_grace) {
            return Ok(code);
        }
        let _ = self.signal(Signal::KILL);
        self.wait(Duration::from_secs(5)).with_context(|| {
            format!(
                "{} (pid {}) does not end, not even when killed",
                self.name, self.pid
            )
        })
    }

    /// Lets go of an ended process but keeps its scratch folder for the next one.
    pub(crate) fn hand_over(mut self) {
        if let Some(mut lifeline) = self.lifeline.take() {
            let _ = lifeline.write_all(b"keep\n");
        }
        self.await_supervisor();
    }

    /// Ends it and waits until its scratch folder is gone too.
    pub(crate) fn stop(mut self) -> Result<i32> {
        let code = self.end();
        drop(self.lifeline.take());
        self.await_supervisor();
        code
    }

    /// The last lines of its log, for error messages.
    pub(crate) fn log_tail(&self) -> String {
        log_tail(&self.log)
    }

    fn await_supervisor(&self) {
        self.state
            .wait_until(Duration::from_secs(10), |progress| progress.supervisor_gone);
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn wait_until(&self, timeout: Duration, done: impl Fn(&Progress) -> bool) -> Progress {
        let deadline = Instant::now() + timeout;
        let mut progress = self.lock();
        while !done(&progress) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            progress = self
                .changed
                .wait_timeout(progress, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *progress
    }
}

/// Reads what the supervisor reports until it is gone, and reaps it.
fn watch(mut supervisor: Child, lines: BufReader<ChildStdout>, state: &State) {
    for line in lines.lines().map_while(Result::ok) {
        if let Ok(code) = line.trim().parse() {
            state.update(|progress| progress.exit_code = Some(code));
        }
    }
    let _ = supervisor.wait();
    state.update(|progress| {
        progress.supervisor_gone = true;
        // Without a report nobody knows; "killed" is what happens to a program whose supervisor was killed.
        progress.exit_code.get_or_insert(137);
    });
}

fn command(program: &Program, log: File) -> Command {
    let mut command = Command::new("/bin/sh");
    let scratch = program.scratch.as_deref().map_or(OsStr::new(""), Path::as_os_str);
    // Without its comments: whoever lists processes sees the script.
    let is_code = |line: &&str| !line.trim_start().starts_with('#');
    let script = SCRIPT.lines().filter(is_code).collect::<Vec<_>>().join("\n");
    command
        .args(["-c", &script, "supervise"])
        .arg(scratch)
        .arg(signal_name(program.end_signal))
        .arg(program.end_grace.as_secs().max(1).to_string())
        .arg(&program.path)
        .args(&program.args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        // Ctrl-C in a terminal goes to the whole foreground group; the owner stops things in its own order.
        .process_group(0);
    if let Some(prefix) = program.env_without {
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with(prefix)) {
            command.env_remove(key);
        }
    }
    command.envs(program.env.iter().map(|(key, value)| (key, value)));
    if let Some(dir) = &program.current_dir {
        command.current_dir(dir);
    }
    if let Some((uid, gid)) = program.user {
        command.uid(uid).gid(gid);
    }
    command
}

fn signal_name(signal: Signal) -> &'static str {
    if signal == Signal::INT { "INT" } else { "TERM" }
}

fn open_log(path: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open the log {}", path.display()))
}

/// Sends a signal to a process by its id.
pub(crate) fn send_signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .context("no such process id")?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// The direct children of a process; none where the system has no `/proc`.
fn children_of(pid: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let child = entry.file_name().to_str()?.parse().ok()?;
            let (_, parent) = state_and_parent(&entry.path())?;
            (parent == pid).then_some(child)
        })
        .collect()
}

/// Whether no thread of a process runs, because all are stopped, or gone; true where the system has no `/proc`.
fn stands_still(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    threads
        .filter_map(Result::ok)
        .filter_map(|thread| state_and_parent(&thread.path()))
        .all(|(state, _)| ["T", "Z", "X"].contains(&state.as_str()))
}

/// State and parent of the process or thread that has this folder in `/proc`.
fn state_and_parent(folder: &Path) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    // `pid (name) state parent ...`, and the name may contain anything.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut words = after_name.split_ascii_whitespace();
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

/// The last lines of a log file, indented; says so when there are none.
pub(crate) fn log_tail(path: &Path) -> String {
    const TAIL_BYTES: u64 = 16 * 1024;
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
    if tail.is_empty() {
        return format!("    ({} is empty)", path.display());
    }
    let mut out = format!("    last lines of {}:", path.display());
    for line in tail {
        out.push_str("\n    | ");
        out.push_str(line);
    }
    out
}
