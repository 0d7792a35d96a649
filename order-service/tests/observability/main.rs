//! What operators see: metrics, alerts, dashboards, runbooks. All of it is held against real services and a real Prometheus.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod alerts;
mod dashboards;
mod live;
mod names;
mod promql;
mod world;

use std::path::PathBuf;
use std::process::Output;

use devstack::servers::ServerKind;

/// A file or folder of the repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn text_of(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs promtool, with something on its standard input.
fn promtool(args: &[&str], input: &str) -> Output {
    use std::io::Write;
    use std::process::{Command, Stdio};

    let mut child = Command::new(ServerKind::Prometheus.require().unwrap().join("promtool"))
        .args(args)
        .current_dir(repository("config/prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Small enough for the pipe, or read as it comes: promtool reads all of it before it says anything.
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
