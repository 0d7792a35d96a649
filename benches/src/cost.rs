//! What an answer cost the machine: processor time of everything this run has started, by program, and what was left idle.
//!
//! Read from `/proc`; where there is none, nothing is said.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use anyhow::Result;

use crate::figures::{
    BROKER_US, CLIENT_US, Figures, IDLE_PERCENT, ORDER_SERVICE_US, POSTGRES_US, PRODUCT_SERVICE_US, REDIS_US,
    RIVAL_US, STEAL_PERCENT,
};
use crate::machine::CoreTicks;

/// Of `/proc/*/stat`: `USER_HZ`, 100 on every Linux.
const TICK_US: f64 = 10_000.0;

/// Processor ticks of each program so far, by the figure it is reported as.
type Ticks = BTreeMap<&'static str, u64>;

/// A measurement that has begun.
pub(crate) struct Cost {
    ticks: Ticks,
    cores: CoreTicks,
}

impl Cost {
    /// Begins to count.
    pub(crate) fn begin() -> Result<Self> {
        Ok(Self {
            ticks: ticks(),
            cores: CoreTicks::now()?,
        })
    }

    /// Adds what each of `answers` (> 0) has cost since, microseconds per program, and what the cores had to do.
    pub(crate) fn add_to(&self, figures: &mut Figures, answers: u64) -> Result<()> {
        for (figure, now) in ticks() {
            let spent = now.saturating_sub(self.ticks.get(figure).copied().unwrap_or(0));
            if spent > 0 && answers > 0 {
                figures.insert(figure, spent as f64 * TICK_US / answers as f64);
            }
        }
        figures.insert(STEAL_PERCENT, self.cores.stolen_percent()?);
        figures.insert(IDLE_PERCENT, self.cores.idle_percent()?);
        Ok(())
    }
}

/// A process, as its `stat` file tells.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    name: String,
    parent: u32,
    /// Its own ticks.
    own: u64,
    /// Of its children that have ended.
    ended: u64,
}

fn ticks() -> Ticks {
    let me = std::process::id();
    let processes: Vec<Process> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).ok())
        .filter_map(|stat| process(&stat))
        .collect();
    let parents: HashMap<u32, u32> = processes.iter().map(|one| (one.pid, one.parent)).collect();
    let is_ours =
        |pid: u32| std::iter::successors(Some(pid), |pid| parents.get(pid).copied()).any(|pid| pid == me);
    let mut ticks = Ticks::new();
    for process in processes.iter().filter(|process| is_ours(process.pid)) {
        let figure = match process.name.as_str() {
            _ if process.pid == me => CLIENT_US,
            "postgres" => POSTGRES_US,
            "redis-server" => REDIS_US,
            "product-service" => PRODUCT_SERVICE_US,
            "order-service" => ORDER_SERVICE_US,
            "benches" => RIVAL_US,
            "beam.smp" => BROKER_US,
            _ => continue,
        };
        // Sessions of Postgres that end pass on to the postmaster; children of ours that end are counted already.
        let ended = if figure == POSTGRES_US { process.ended } else { 0 };
        *ticks.entry(figure).or_default() += process.own + ended;
    }
    ticks
}

/// Reads a line of `/proc/*/stat`.
fn process(stat: &str) -> Option<Process> {
    // The name may hold spaces and parentheses; what follows the last one cannot.
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Process {
        pid: pid.parse().ok()?,
        name: name.to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        own: number(11)? + number(12)?,
        ended: number(13)? + number(14)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_hides_no_number() {
        let stat = "42 (a b) (c) S 7 42 42 0 -1 4194560 100 0 0 0 11 22 33 44 20 0 1 0 5";
        let expected = Process {
            pid: 42,
            name: "a b) (c".to_owned(),
            parent: 7,
            own: 33,
            ended: 77,
        };
        assert_eq!(process(stat), Some(expected));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_this_process_does_is_on_its_account() {
        let cost = Cost::begin().unwrap();
        let begun = std::time::Instant::now();
        while begun.elapsed() < std::time::Duration::from_millis(200) {
            std::hint::spin_loop();
        }
        let mut figures = Figures::new();
        cost.add_to(&mut figures, 10).unwrap();
        let us = figures[CLIENT_US];
        assert!(
            (1_000.0..60_000.0).contains(&us),
            "200 ms for ten answers: {us} µs"
        );
    }
}
