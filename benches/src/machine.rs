//! What a figure was measured on. A figure without it says little.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use devstack::servers::ServerKind;
use serde::Serialize;

/// The machine and the versions.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// Processor as the kernel names it.
    pub(crate) processor: String,
    /// Cores the run could use, load generator and servers included.
    pub(crate) cores: usize,
    /// Commit measured, with `+` when the tree had changes.
    pub(crate) commit: String,
    /// Versions of compiler, servers and kernel, one line each.
    pub(crate) versions: Vec<String>,
    /// Median time to write 8 kB where Postgres keeps its data and have them on disk, microseconds.
    pub(crate) fsync_us: f64,
}

impl Machine {
    /// Looks around. `data_dir` is on the file system that Postgres writes to.
    pub(crate) fn here(data_dir: &Path) -> Result<Self> {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let changed = !said("git", &["status", "--porcelain"]).is_empty();
        let commit = said("git", &["rev-parse", "--short", "HEAD"]);
        let postgres = ServerKind::Postgres.require()?.join("postgres");
        let versions = [
            said("rustc", &["--version"]),
            said(&postgres, &["--version"]),
            said("redis-server", &["--version"]),
            said("uname", &["-sr"]),
        ];
        Ok(Self {
            processor: processor.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            commit: commit + if changed { "+" } else { "" },
            versions: versions
                .into_iter()
                .filter(|version| !version.is_empty())
                .collect(),
            fsync_us: fsync_us(data_dir)?,
        })
    }
}

/// What the program says; empty if there is none.
fn said(program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}

/// As a commit does: overwrites a block of a file that is there and has it on disk.
fn fsync_us(dir: &Path) -> Result<f64> {
    const BLOCK: [u8; 8192] = [7; 8192];
    const TIMES: u64 = 200;
    let path = dir.join("bench-fsync");
    let mut file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    for _ in 0..TIMES {
        file.write_all(&BLOCK)?;
    }
    file.sync_all()?;
    let mut times = Vec::new();
    for block in 0..TIMES {
        let begun = Instant::now();
        file.write_all_at(&BLOCK, block * BLOCK.len() as u64)?;
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(&path)?;
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// What all cores have done so far, in ticks. All zero where there is no `/proc/stat`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CoreTicks {
    /// With nothing to do.
    idle: u64,
    /// Given to the neighbours of this machine, if it is a virtual one, although it had work.
    stolen: u64,
    all: u64,
}

impl CoreTicks {
    /// So far.
    pub(crate) fn now() -> Result<Self> {
        let Ok(stat) = std::fs::read_to_string("/proc/stat") else {
            return Ok(Self::default());
        };
        let line = stat.lines().next().unwrap_or_default();
        // user nice system idle iowait irq softirq steal; what follows is contained in user.
        let ticks: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let at = |place: usize| ticks.get(place).copied().unwrap_or(0);
        Ok(Self {
            idle: at(3) + at(4),
            stolen: at(7),
            all: ticks.iter().sum(),
        })
    }

    /// Share that was stolen since then, percent of all cores.
    pub(crate) fn stolen_percent(self) -> Result<f64> {
        let now = Self::now()?;
        Ok(self.percent(now, now.stolen - self.stolen))
    }

    /// Share that was idle since then, percent of all cores.
    pub(crate) fn idle_percent(self) -> Result<f64> {
        let now = Self::now()?;
        Ok(self.percent(now, now.idle.saturating_sub(self.idle)))
    }

    fn percent(self, now: Self, of: u64) -> f64 {
        of as f64 / (now.all - self.all).max(1) as f64 * 100.0
    }
}

/// Most memory a process has had, 10^6 bytes.
pub(crate) fn memory_most_mb(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = most
        .and_then(|most| most.trim().strip_suffix(" kB"))
        .with_context(|| format!("{path} has no VmHWM"))?
        .trim()
        .parse()?;
    Ok(kib * 1024.0 / 1e6)
}
