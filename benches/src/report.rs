//! What a run says: a table for the terminal, JSON for programs, a page for people.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use devstack::report::{Bar, Bars, Page, Part, Table, number};
use serde::Serialize;

use crate::figures::{
    BROKER_US, CLIENT_US, IDLE_PERCENT, ORDER_SERVICE_US, OTHER_ANSWERS, P50_MS, P99_MS, PER_SECOND,
    POSTGRES_US, PRODUCT_SERVICE_US, REDIS_US, RIVAL_US, Results, SECONDS, STEAL_PERCENT, Spread,
};
use crate::goals::{GOALS, Outcome};
use crate::machine::Machine;
use crate::plan::{Pace, Subject, Work};

/// A run whose books balanced.
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) rounds: usize,
    pub(crate) pace: Pace,
    /// Rows of the full ledger; 0: not measured.
    pub(crate) ledger_rows: i64,
    pub(crate) subjects: Vec<Subject>,
    pub(crate) results: Results,
    pub(crate) took: Duration,
    /// Over all of it.
    pub(crate) steal_percent: f64,
}

#[derive(Serialize)]
struct Json<'a> {
    machine: &'a Machine,
    measured_at: String,
    rounds: usize,
    seconds_measured: f64,
    ledger_rows: i64,
    steal_percent: f64,
    goals: Vec<Outcome>,
    subjects: BTreeMap<&'static str, BTreeMap<&'static str, Spread>>,
}

impl Report {
    /// Prints the tables, and writes `bench.json` and `bench.html`.
    pub(crate) fn publish(&self, folder: &Path) -> Result<()> {
        for (name, value) in self.facts() {
            println!("{name}: {value}");
        }
        println!(
            "\n{}\n{}\n{}",
            self.figures().markdown(),
            self.costs().markdown(),
            self.goals_table().markdown()
        );
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let (json, html) = (folder.join("bench.json"), folder.join("bench.html"));
        fs::write(&json, serde_json::to_string_pretty(&self.json())? + "\n")?;
        fs::write(&html, self.page().html())?;
        println!("{}\n{}", json.display(), html.display());
        Ok(())
    }

    fn goals(&self) -> Vec<Outcome> {
        GOALS
            .iter()
            .filter_map(|goal| goal.judge(&self.results))
            .collect()
    }

    fn json(&self) -> Json<'_> {
        let of = |subject: &Subject| (subject.key, self.results.spreads(subject.key));
        Json {
            machine: &self.machine,
            measured_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            rounds: self.rounds,
            seconds_measured: self.pace.measured.as_secs_f64(),
            ledger_rows: self.ledger_rows,
            steal_percent: self.steal_percent,
            goals: self.goals(),
            subjects: self.subjects.iter().map(of).collect(),
        }
    }

    fn facts(&self) -> Vec<(String, String)> {
        let machine = &self.machine;
        let mut facts = vec![
            (
                "machine".to_owned(),
                format!("{} x {}", machine.cores, machine.processor),
            ),
            ("commit".to_owned(), machine.commit.clone()),
            ("versions".to_owned(), machine.versions.join("; ")),
            (
                "fsync".to_owned(),
                format!("{} µs to have 8 kB on disk (median)", number(machine.fsync_us)),
            ),
            (
                "run".to_owned(),
                format!(
                    "{} rounds, {} s counted after {} s of warm-up each; {} s in all; {} % of the machine's time stolen",
                    self.rounds,
                    self.pace.measured.as_secs_f64(),
                    self.pace.warm_up.as_secs_f64(),
                    self.took.as_secs(),
                    number(self.steal_percent),
                ),
            ),
        ];
        if self.ledger_rows > 0 {
            facts.push((
                "full ledger".to_owned(),
                format!("{} rows", number(self.ledger_rows as f64)),
            ));
        }
        facts
    }

    /// One row per subject.
    fn figures(&self) -> Table {
        let head = [
            "",
            "per second (median, min..max)",
            "p50 ms",
            "p99 ms",
            "stolen %",
            "neither yes nor no",
        ];
        let rows = self.subjects.iter().map(|subject| {
            let figure = |name| self.results.spread(subject.key, name);
            let median = |name| figure(name).map_or_else(String::new, |spread| number(spread.median));
            let rate = match (figure(PER_SECOND), figure(SECONDS)) {
                (Some(rate), _) => shown(&rate),
                (None, Some(seconds)) => format!("{} s", shown(&seconds)),
                (None, None) => String::new(),
            };
            let others =
                figure(OTHER_ANSWERS).map_or_else(String::new, |others| number(others.rounds.iter().sum()));
            vec![
                subject.what.to_owned(),
                rate,
                median(P50_MS),
                median(P99_MS),
                median(STEAL_PERCENT),
                others,
            ]
        });
        Table {
            head: head.map(str::to_owned).to_vec(),
            rows: rows.collect(),
        }
    }

    /// Where the time goes: one row per subject, one column per program.
    fn costs(&self) -> Table {
        let columns = [
            ("clients", CLIENT_US),
            ("product-service", PRODUCT_SERVICE_US),
            ("order-service", ORDER_SERVICE_US),
            ("the rival", RIVAL_US),
            ("Postgres", POSTGRES_US),
            ("Redis", REDIS_US),
            ("RabbitMQ", BROKER_US),
            ("idle %", IDLE_PERCENT),
        ];
        let mut head = vec!["processor time per answer, µs".to_owned()];
        head.extend(columns.map(|(name, _)| name.to_owned()));
        let is_sale = |subject: &&Subject| !matches!(subject.work, Work::Resync);
        let rows = self.subjects.iter().filter(is_sale).map(|subject| {
            let median = |figure| {
                let spread = self.results.spread(subject.key, figure);
                spread.map_or_else(String::new, |spread| number(spread.median))
            };
            let mut row = vec![subject.what.to_owned()];
            row.extend(columns.map(|(_, figure)| median(figure)));
            row
        });
        Table {
            rows: rows.collect(),
            head,
        }
    }

    /// One row per goal.
    fn goals_table(&self) -> Table {
        let head = ["figure", "goal", "measured (median, min..max)", ""];
        let rows = self.goals().into_iter().map(|outcome| {
            vec![
                outcome.what.to_owned(),
                outcome.goal.clone(),
                format!("{} {}", shown(&outcome.value), outcome.unit),
                if outcome.met { "met" } else { "missed" }.to_owned(),
            ]
        });
        Table {
            head: head.map(str::to_owned).to_vec(),
            rows: rows.collect(),
        }
    }

    fn page(&self) -> Page {
        let mut parts = vec![
            Part::Heading("Goals".to_owned()),
            Part::Table(self.goals_table()),
            Part::Text(
                "Comparisons are made round by round: between measurements that were taken close together. Below, \
                 filled bars meet their goal, hatched ones miss it."
                    .to_owned(),
            ),
        ];
        parts.extend(self.distances().map(Part::Bars));
        parts.push(Part::Heading("Figures".to_owned()));
        parts.extend(self.charts().into_iter().map(Part::Bars));
        parts.push(Part::Table(self.figures()));
        parts.push(Part::Heading("Where the time goes".to_owned()));
        parts.push(Part::Table(self.costs()));
        Page {
            title: "hotstock: the bench".to_owned(),
            lead: "One hot product sold over HTTP, every sale on disk before it is answered; the designs take turns on the same servers, on \
                   one machine with their clients, and the books are checked after every measurement."
                .to_owned(),
            facts: self.facts(),
            parts,
        }
    }

    /// All goals on one scale.
    fn distances(&self) -> Option<Bars> {
        let bars: Vec<Bar> = self.goals().iter().map(distance).collect();
        (!bars.is_empty()).then(|| Bars {
            title: "Measured, as a share of its goal, % (of what should be small: the goal as a share of it)"
                .to_owned(),
            bars,
            goal: Some(100.0),
            is_logarithmic: true,
        })
    }

    fn charts(&self) -> Vec<Bars> {
        let is_sale = |subject: &&Subject| !matches!(subject.work, Work::Resync);
        let is_slow = |subject: &&Subject| matches!(subject.work, Work::Sale(sale) if sale.connections > 1);
        [
            self.chart(
                "Answers per second (filled: hotstock; hatched: the others)",
                PER_SECOND,
                &is_sale,
            ),
            self.chart(
                "Latency that one in a hundred exceeds, ms (filled: hotstock; hatched: the others)",
                P99_MS,
                &is_slow,
            ),
        ]
        .into_iter()
        .filter(|chart| !chart.bars.is_empty())
        .collect()
    }

    fn chart(&self, title: &str, figure: &str, of: &dyn Fn(&&Subject) -> bool) -> Bars {
        let bar = |subject: &Subject| {
            let spread = self.results.spread(subject.key, figure)?;
            Some(Bar {
                label: subject.what.to_owned(),
                value: spread.median,
                spread: Some((spread.min, spread.max)),
                is_ours: !matches!(subject.work, Work::Sale(sale) if sale.rival.is_some()),
            })
        };
        Bars {
            title: title.to_owned(),
            bars: self.subjects.iter().filter(of).filter_map(bar).collect(),
            goal: None,
            is_logarithmic: true,
        }
    }
}

/// How far it is from its goal: 100 just meets it, more is better.
fn distance(outcome: &Outcome) -> Bar {
    let share = |value: f64| match outcome.is_at_least {
        true => value / outcome.limit * 100.0,
        false => outcome.limit / value * 100.0,
    };
    let (one, other) = (share(outcome.value.min), share(outcome.value.max));
    Bar {
        label: outcome.what.to_owned(),
        value: share(outcome.value.median),
        spread: Some((one.min(other), one.max(other))),
        is_ours: outcome.met,
    }
}

fn shown(spread: &Spread) -> String {
    format!(
        "{} ({}..{})",
        number(spread.median),
        number(spread.min),
        number(spread.max)
    )
}
