//! An instance restarted while the others serve.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::balancer::Balancer;
use crate::servers::Server;

/// A restart that has happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Restart {
    /// Of which process.
    pub name: String,
    /// When it was told to stop, s from the start of the run.
    pub at_s: f64,
    /// Its process id before.
    pub pid_before: u32,
    /// Its process id since.
    pub pid_after: u32,
    /// From the signal to its end, s.
    pub stopping_s: f64,
    /// From its end until it was ready again, s.
    pub starting_s: f64,
}

/// Tells an instance to stop (SIGTERM), waits for its end, starts it again, and waits until the balancer sends to it.
/// `since`: the start of the run.
///
/// An error if it ends with another status than 0, or does not come back.
pub async fn roll(name: &str, server: &Server, front: &Balancer, since: Instant) -> Result<Restart> {
    let pid_before = server.pid();
    let told = Instant::now();
    let status = server.terminate().await?;
    ensure!(
        status == 0,
        "{name} ended with status {status}\n{}",
        server.log_tail()
    );
    let ended = Instant::now();
    server.restart().await?;
    front.all_ready().await;
    let pid_after = server.pid();
    ensure!(pid_after != pid_before, "{name} is the same process as before");
    let seconds = |time: Duration| time.as_secs_f64();
    Ok(Restart {
        name: name.to_owned(),
        at_s: seconds(told - since),
        pid_before,
        pid_after,
        stopping_s: seconds(ended - told),
        starting_s: seconds(ended.elapsed()),
    })
}
