//! What a figure was measured on. A figure without it says little.

use std::process::Command;

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
    /// The servers' versions, one line each.
    pub(crate) servers: Vec<String>,
}

impl Machine {
    /// Looks around.
    pub(crate) fn here() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let changed = !said("git", &["status", "--porcelain"]).is_empty();
        let commit = said("git", &["rev-parse", "--short", "HEAD"]);
        Self {
            processor: processor.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            commit: commit + if changed { "+" } else { "" },
            servers: vec![said("redis-server", &["--version"]), said("psql", &["--version"])],
        }
    }
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default()
}
