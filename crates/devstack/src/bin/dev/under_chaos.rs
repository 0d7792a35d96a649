//! A fault in the middle of a flash sale: makes it, and tells what it did to breakers, sales and gates.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use devstack::chaos::Harm;
use devstack::chaos::watch::{PATIENCE, breaker_state};
use devstack::http::HttpClient;
use devstack::load::{Progress, Tally};
use devstack::wait_for;
use serde::Deserialize;
use tokio::task::JoinHandle;

use crate::control::{Ongoing, Request};
use crate::show;

/// How often breakers are looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);
/// From healing until everything is as before: longer than the breaker's longest delay and the life of a hold.
pub(crate) const HEALED_WITHIN: Duration = Duration::from_secs(60);

/// What is to happen, and when, from the beginning of the sale.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) harm: Harm,
    pub(crate) instance: usize,
    pub(crate) after: Duration,
    pub(crate) lasts: Duration,
}

/// What has happened. All times from the beginning of the sale.
pub(crate) struct Story {
    plan: Plan,
    did: String,
    begun: Duration,
    healed: Duration,
    /// Changes of the breakers, of each instance.
    breakers: Vec<Vec<(Duration, String)>>,
    /// When every gate was loaded and exact again, if it was in time.
    balanced: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Audit {
    product_id: i64,
    gate: Option<Gate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Gate {
    overdue_holds: i64,
    drift: Option<i64>,
}

impl Plan {
    /// Waits for its time, does it, and returns when everything is as before, or [`HEALED_WITHIN`] is over.
    ///
    /// `hot_ids`: products whose gates have to be exact again.
    pub(crate) async fn happen(
        self,
        stack_file: &Path,
        progress: &Progress,
        admin_urls: &[String],
        hot_ids: &[i64],
    ) -> Result<Story> {
        let started = wait_for("the sale to begin", HEALED_WITHIN, || async {
            progress
                .started
                .get()
                .copied()
                .ok_or_else(|| String::from("not yet"))
        })
        .await?;
        let is_over = Arc::new(AtomicBool::new(false));
        let watch = |url: &String| tokio::spawn(watch(url.clone(), started, Arc::clone(&is_over)));
        let watchers: Vec<JoinHandle<_>> = admin_urls.iter().map(watch).collect();
        tokio::time::sleep_until((started + self.after).into()).await;
        let request = Request {
            harm: self.harm,
            instance: self.instance,
            for_ms: u64::try_from(self.lasts.as_millis()).unwrap_or(u64::MAX),
        };
        // It bites before we hear of it.
        let begun = started.elapsed();
        let (ongoing, did) = Ongoing::begin(stack_file, request).await?;
        show::progress(&format!("{}: {did}", self.harm.name()));
        let what = ongoing.healed().await?;
        let healed = started.elapsed();
        show::progress(&format!("{}: {what}", self.harm.name()));
        let balanced = wait_for("everything to be as before", HEALED_WITHIN, || {
            as_before(admin_urls, hot_ids)
        });
        let balanced = balanced.await.ok().map(|()| started.elapsed());
        is_over.store(true, Ordering::Relaxed);
        let mut breakers = Vec::new();
        for watcher in watchers {
            breakers.push(watcher.await?);
        }
        Ok(Story {
            plan: self,
            did,
            begun,
            healed,
            breakers,
            balanced,
        })
    }
}

/// Every change of one breaker, beginning with what it was at first.
async fn watch(url: String, started: Instant, is_over: Arc<AtomicBool>) -> Vec<(Duration, String)> {
    let mut changes: Vec<(Duration, String)> = Vec::new();
    let Ok(mut client) = HttpClient::new(&url, PATIENCE) else {
        return changes;
    };
    while !is_over.load(Ordering::Relaxed) {
        if let Ok(state) = breaker_state(&mut client).await
            && changes.last().is_none_or(|(_, last)| *last != state)
        {
            changes.push((started.elapsed(), state));
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
    changes
}

/// Whether every breaker is closed, and every gate loaded and exact, as the audit of each instance has it.
async fn as_before(admin_urls: &[String], hot_ids: &[i64]) -> Result<(), String> {
    for url in admin_urls {
        let state = breaker_state(&mut HttpClient::new(url, PATIENCE)?).await?;
        if state != "closed" {
            return Err(format!("the breaker of {url} is {state}"));
        }
    }
    let Some(url) = admin_urls.first().filter(|_| !hot_ids.is_empty()) else {
        return Ok(());
    };
    let audits: Vec<Audit> = HttpClient::new(url, PATIENCE)?
        .get_json("/admin/stock/audit")
        .await?;
    for audit in audits.iter().filter(|audit| hot_ids.contains(&audit.product_id)) {
        let is_exact = |gate: &Gate| gate.drift == Some(0) && gate.overdue_holds == 0;
        if !audit.gate.as_ref().is_some_and(is_exact) {
            return Err(format!(
                "the gate of product {} is not exact yet",
                audit.product_id
            ));
        }
    }
    Ok(())
}

impl Story {
    /// Rows for the verdict's table.
    pub(crate) fn table(&self, tally: &Tally) -> String {
        let mut text = String::new();
        let mut row = |what: &str, value: String| {
            let _ = writeln!(text, "{what:<34}  {value}");
        };
        let name = self.plan.harm.name();
        let at = |at: Duration| format!("{:.2} s", at.as_secs_f64());
        row(
            &name,
            format!(
                "{}; from {} to {} of the sale",
                self.did,
                at(self.begun),
                at(self.healed)
            ),
        );
        for (index, changes) in self.breakers.iter().enumerate() {
            // The first is what it was before anything had happened.
            for (when, state) in changes.iter().skip(1) {
                let what = format!("breaker of instance {}: {state}", index + 1);
                let when = match when.checked_sub(self.begun) {
                    Some(since) => format!("at {}, {} ms after the fault", at(*when), since.as_millis()),
                    None => format!("at {}, before the fault", at(*when)),
                };
                row(&what, when);
            }
        }
        let before = tally.sales_per_second_within(Duration::ZERO, self.begun);
        let during = tally.sales_per_second_within(self.begun, self.healed);
        let percent = if before > 0.0 {
            100.0 * during / before
        } else {
            0.0
        };
        row("sales/s before", format!("{before:.0}"));
        row(
            "sales/s during",
            format!("{during:.0} ({percent:.0} % of before)"),
        );
        let end = tally.wall_time.max(self.healed);
        if end > self.healed {
            let after = tally.sales_per_second_within(self.healed, end);
            row("sales/s after", format!("{after:.0}"));
        }
        if tally.sale_time < self.begun {
            row(
                "",
                format!(
                    "the last sale was at {}, before the fault: more --stock shows more",
                    at(tally.sale_time)
                ),
            );
        }
        row("from the fault to all open", since(self.all_open(), self.begun));
        row(
            "from healing to all closed",
            since(self.all_closed(), self.healed),
        );
        row("from healing to exact gates", since(self.balanced, self.healed));
        text
    }

    /// When the last breaker opened for the first time after the fault; `None` if one never did.
    fn all_open(&self) -> Option<Duration> {
        let first_open = |changes: &Vec<(Duration, String)>| {
            let mut open = changes
                .iter()
                .filter(|(when, state)| *when >= self.begun && state == "open");
            open.next().map(|(when, _)| *when)
        };
        let opened: Option<Vec<Duration>> = self.breakers.iter().map(first_open).collect();
        opened?.into_iter().max()
    }

    /// When the last breaker closed for the last time; `None` if one is not closed, or none had opened.
    fn all_closed(&self) -> Option<Duration> {
        let changed = self.breakers.iter().filter(|changes| changes.len() > 1);
        let last_closed = |changes: &Vec<(Duration, String)>| {
            changes
                .last()
                .filter(|(_, state)| state == "closed")
                .map(|(when, _)| *when)
        };
        let closed: Option<Vec<Duration>> = changed.map(last_closed).collect();
        closed?.into_iter().max()
    }
}

fn since(when: Option<Duration>, from: Duration) -> String {
    match when {
        Some(when) => format!("{} ms", when.saturating_sub(from).as_millis()),
        None => String::from("-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(of: &[(u64, &str)]) -> Vec<(Duration, String)> {
        let change = |(ms, state): &(u64, &str)| (Duration::from_millis(*ms), (*state).to_owned());
        of.iter().map(change).collect()
    }

    #[test]
    fn the_last_breaker_to_open_and_to_close_counts() {
        let mut story = Story {
            plan: Plan {
                harm: Harm::RedisKill,
                instance: 0,
                after: Duration::from_secs(1),
                lasts: Duration::from_secs(1),
            },
            did: String::from("Redis (pid 7) is killed"),
            begun: Duration::from_millis(1000),
            healed: Duration::from_millis(2000),
            breakers: vec![
                changes(&[
                    (5, "closed"),
                    (1040, "open"),
                    (2100, "half_open"),
                    (2110, "closed"),
                ]),
                changes(&[(5, "closed"), (1030, "open"), (2300, "closed")]),
            ],
            balanced: Some(Duration::from_millis(2310)),
        };
        assert_eq!(since(story.all_open(), story.begun), "40 ms");
        assert_eq!(since(story.all_closed(), story.healed), "300 ms");
        story.breakers[1].pop();
        assert_eq!(since(story.all_closed(), story.healed), "-", "one is still open");
        story.breakers[1] = changes(&[(5, "closed")]);
        assert_eq!(since(story.all_open(), story.begun), "-", "one never opened");
        assert_eq!(since(story.all_closed(), story.healed), "110 ms");
    }
}
