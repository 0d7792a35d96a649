//! What a soak has shown: as a table for people, as JSON, and as a page with charts.

use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::flat::{Bound, Finding};
use super::lanes::{CANCEL_RATIO, LANES, Lane, Sold};
use super::roll::Restart;
use super::sample::{Life, Sample, Samples};
use super::stage::REDIS;
use crate::balancer::Failures;
use crate::load::Verdict;
use crate::report::{Line, Lines, Page, Part, Table, number};

const MB: f64 = 1_048_576.0;
/// Of the buyers so many in a thousand may hear a 5xx (told to come again by a machine that is busy with others), or be
/// turned away. Without an answer is nobody.
const ERRORS_MOST: f64 = 0.001;
/// What Redis may use for each request id that it remembers: 65 to 77 bytes were measured per sold unit
/// (`benches/README.md`), and its tables double now and then.
const BYTES_PER_ID: f64 = 100.0;

/// See the module.
pub struct Report {
    /// Instances of each service.
    pub instances: usize,
    /// How long the sale lasted.
    pub lasts: Duration,
    /// Buyers per second that fit, of each lane.
    pub measured: [f64; LANES.len()],
    /// Buyers per second that came.
    pub rates: [f64; LANES.len()],
    /// What every process had, over time.
    pub samples: Samples,
    /// Restarts, in order.
    pub restarts: Vec<Restart>,
    /// What was sold, and what the books say.
    pub sold: Sold,
    /// What the balancers had to answer themselves.
    pub failures: Failures,
}

impl Report {
    /// Whether the books balance: ledger, gate, orders and what clients were told.
    #[must_use]
    pub fn are_books_true(&self) -> bool {
        let is_true = |verdict: &Verdict| verdict.is_true() && verdict.gate_fault.is_none();
        self.sold.verdicts.iter().all(is_true)
    }

    /// Everything that must not grow or fail, judged.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.growth();
        for (lane, verdict) in self.lanes() {
            let Some((first, last)) = verdict.tally.course.first_and_last_fifth() else {
                findings.push(unmeasured(format!("{}: latency", lane.name())));
                continue;
            };
            for (what, quantile) in [("p50", 0.5), ("p99", 0.99)] {
                let what = format!("{}: latency {what}", lane.name());
                let (early, late) = (ms(&first, quantile), ms(&last, quantile));
                findings.push(Bound::LATENCY_MS.judge(what, "ms", early, late));
            }
        }
        let never = |what: &str, count: u64| exact(what.to_owned(), 0.0, count);
        let faults: u64 = self
            .lanes()
            .flat_map(|(_, verdict)| verdict.tally.faults.values())
            .sum();
        findings.push(never("requests without an answer", faults));
        findings.push(never(
            "answers of the balancers themselves",
            self.failures.broken + self.failures.unserved,
        ));
        for (lane, verdict) in self.lanes() {
            let errors = verdict.tally.unknown + verdict.tally.dropped;
            #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53 buyers")]
            let most = verdict.tally.arrivals() as f64 * ERRORS_MOST;
            findings.push(exact(
                format!("{}: 5xx or turned away", lane.name()),
                most,
                errors,
            ));
        }
        findings
    }

    /// Memory, descriptors and threads of every life that was long enough, of each process at least one; and the stores.
    /// Redis' memory by its own account: it grows with what is sold.
    fn growth(&self) -> Vec<Finding> {
        type Figure = (&'static str, &'static str, Bound, fn(&Sample) -> f64);
        const FIGURES: [Figure; 3] = [
            ("memory", "MB", Bound::MEMORY_MB, memory_mb),
            ("descriptors", "", Bound::DESCRIPTORS, descriptors),
            ("threads", "", Bound::THREADS, threads),
        ];
        let mut findings = Vec::new();
        for (figure, unit, bound, value) in FIGURES {
            for name in self.names() {
                if (name, figure) == (REDIS, "memory") {
                    continue;
                }
                let judged = self.lives_of(name).filter_map(|life| {
                    let values: Vec<f64> = life.samples.iter().map(value).collect();
                    let what = format!("{name} (pid {}): {figure}", life.pid);
                    bound.judge_series(what, unit, &values)
                });
                let before = findings.len();
                findings.extend(judged);
                if findings.len() == before {
                    findings.push(unmeasured(format!("{name}: {figure}")));
                }
            }
        }
        let stores = &self.samples.stores;
        let redis = stores.redis_bytes.iter().zip(&stores.remembered);
        let redis_mb: Vec<f64> = redis
            .map(|((_, bytes), (_, ids))| (bytes - ids * BYTES_PER_ID) / MB)
            .collect();
        let connections: Vec<f64> = stores.connections.iter().map(|(_, count)| *count).collect();
        let redis_besides = format!("Redis: used memory besides {BYTES_PER_ID} B for each id it remembers");
        for (what, unit, bound, values) in [
            (redis_besides, "MB", Bound::MEMORY_MB, redis_mb),
            (
                String::from("Postgres: connections"),
                "",
                Bound::DESCRIPTORS,
                connections,
            ),
        ] {
            let finding = bound.judge_series(what.clone(), unit, &values);
            findings.push(finding.unwrap_or_else(|| unmeasured(what)));
        }
        findings
    }

    fn lanes(&self) -> impl Iterator<Item = (&'static Lane, &Verdict)> {
        LANES.iter().zip(&self.sold.verdicts)
    }

    fn names(&self) -> BTreeSet<&str> {
        self.samples.lives.iter().map(|life| life.name.as_str()).collect()
    }

    fn lives_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Life> {
        self.samples.lives.iter().filter(move |life| life.name == name)
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let lanes = self.lanes().enumerate().map(|(index, (lane, verdict))| {
            let tally = &verdict.tally;
            json!({
                "lane": lane.name(), "measured_per_second": self.measured[index],
                "rate_per_second": self.rates[index], "buyers": tally.arrivals(), "sales": tally.sales(),
                "answers": tally.answers, "units": units(verdict), "books_are_true": verdict.is_true(),
                "faults": verdict.faults, "orders": verdict.orders.as_ref().map(|orders| &orders.states),
            })
        });
        json!({
            "lasts_s": self.lasts.as_secs_f64(),
            "instances": self.instances,
            "books_are_true": self.are_books_true(),
            "restocked_units": self.sold.restocked,
            "lanes": lanes.collect::<Vec<_>>(),
            "findings": self.findings(),
            "restarts": self.restarts,
            "samples": self.samples,
        })
    }

    /// For people.
    #[must_use]
    pub fn page(&self) -> Page {
        let crossed = self
            .findings()
            .iter()
            .filter(|finding| finding.is_crossed)
            .count();
        let mut parts = vec![Part::Heading(String::from("Over time"))];
        parts.extend([
            self.chart("Memory", "MB resident", memory_mb),
            self.chart("Connections of those it serves", "connections", connections),
            self.chart(
                "Open descriptors, besides those connections",
                "descriptors",
                descriptors,
            ),
            self.chart("Threads", "threads", threads),
        ]);
        let stores = &self.samples.stores;
        let redis_mb = stores.redis_bytes.iter().map(|(at, bytes)| (*at, bytes / MB));
        let for_ids_mb = stores
            .remembered
            .iter()
            .map(|(at, ids)| (*at, ids * BYTES_PER_ID / MB));
        parts.push(lines(
            "Memory used by Redis, by its own account",
            "MB",
            vec![
                Line {
                    name: String::from("used"),
                    points: redis_mb.collect(),
                },
                Line {
                    name: format!("{BYTES_PER_ID} B for each id it remembers"),
                    points: for_ids_mb.collect(),
                },
            ],
        ));
        parts.push(lines(
            "Connections to Postgres",
            "connections",
            vec![Line {
                name: String::from("Postgres"),
                points: stores.connections.clone(),
            }],
        ));
        parts.push(self.latency("p99", 0.99));
        parts.push(self.latency("p50", 0.5));
        parts.push(Part::Heading(String::from("What must not grow or fail")));
        parts.push(table(&self.finding_rows()));
        parts.push(Part::Heading(String::from("Restarts")));
        parts.push(table(&self.restart_rows()));
        parts.push(Part::Heading(String::from("The books")));
        parts.push(table(&self.book_rows()));
        let books = if self.are_books_true() {
            "The books balance"
        } else {
            "THE BOOKS ARE WRONG"
        };
        Page {
            title: String::from("hotstock: soak"),
            lead: format!("{books}; {crossed} of {} bounds crossed.", self.findings().len()),
            facts: self.facts(),
            parts,
        }
    }

    fn facts(&self) -> Vec<(String, String)> {
        let mut facts = vec![
            (String::from("lasts"), format!("{} s", self.lasts.as_secs())),
            (
                String::from("instances of each service"),
                self.instances.to_string(),
            ),
            (String::from("restarts"), self.restarts.len().to_string()),
            (
                String::from("cancel, of those who decreased"),
                format!("{CANCEL_RATIO}"),
            ),
            (String::from("units restocked"), self.sold.restocked.to_string()),
        ];
        for (index, (lane, _)) in self.lanes().enumerate() {
            let (rate, measured) = (number(self.rates[index]), number(self.measured[index]));
            facts.push((lane.name().to_owned(), format!("{rate}/s; {measured}/s fit")));
        }
        facts
    }

    fn chart(&self, title: &str, y_label: &str, value: fn(&Sample) -> f64) -> Part {
        let line = |name: &str| Line {
            name: name.to_owned(),
            points: self
                .lives_of(name)
                .flat_map(|life| &life.samples)
                .map(|sample| (sample.at_s, value(sample)))
                .collect(),
        };
        lines(title, y_label, self.names().into_iter().map(line).collect())
    }

    #[expect(clippy::cast_precision_loss, reason = "points of a chart")]
    fn latency(&self, name: &str, quantile: f64) -> Part {
        let line = |(lane, verdict): (&Lane, &Verdict)| {
            let course = &verdict.tally.course;
            let slice_s = course.slice.as_secs_f64();
            let slices = course.slices.iter().enumerate();
            let points = slices
                .map(|(index, slice)| ((index as f64 + 0.5) * slice_s, ms(&slice.latency_us, quantile)));
            Line {
                name: lane.name().to_owned(),
                points: points.collect(),
            }
        };
        let title = format!("Latency from the intended start, {name}");
        lines(&title, "ms", self.lanes().map(line).collect())
    }

    fn finding_rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![row(["what", "early", "late", "at most", ""])];
        for finding in self.findings() {
            let value = |value: f64| format!("{} {}", number(value), finding.unit).trim().to_owned();
            let word = if finding.is_crossed { "CROSSED" } else { "kept" };
            rows.push(vec![
                finding.what.clone(),
                value(finding.early),
                value(finding.late),
                value(finding.most),
                word.to_owned(),
            ]);
        }
        rows
    }

    fn restart_rows(&self) -> Vec<Vec<String>> {
        let mut rows = vec![row(["restarted", "at", "pid", "stopping", "starting"])];
        rows.extend(self.restarts.iter().map(|restart| {
            vec![
                restart.name.clone(),
                format!("{:.0} s", restart.at_s),
                format!("{} -> {}", restart.pid_before, restart.pid_after),
                format!("{:.1} s", restart.stopping_s),
                format!("{:.1} s", restart.starting_s),
            ]
        }));
        rows
    }

    fn book_rows(&self) -> Vec<Vec<String>> {
        let head = [
            "units",
            "supplied",
            "sold, told the clients",
            "by the ledger",
            "by the gate",
            "given back",
            "left",
            "drift",
            "",
        ];
        let mut rows = vec![row(head)];
        for (lane, verdict) in self.lanes() {
            let units = units(verdict);
            let unit = |name: &str| units[name].to_string();
            let word = if verdict.is_true() { "true" } else { "FALSE" };
            rows.push(vec![
                lane.name().to_owned(),
                unit("supplied"),
                unit("sold_to_clients"),
                unit("sold_by_ledger"),
                unit("sold_by_gate"),
                unit("given_back"),
                unit("remaining"),
                unit("drift"),
                word.to_owned(),
            ]);
        }
        rows
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.facts() {
            writeln!(f, "{name:<34}  {value}")?;
        }
        for rows in [self.finding_rows(), self.restart_rows(), self.book_rows()] {
            writeln!(f, "\n{}", aligned(&rows))?;
        }
        for (lane, verdict) in self.lanes() {
            let answers = verdict.tally.answers.iter();
            let answers: Vec<String> = answers
                .map(|(answer, count)| format!("{answer} {count}"))
                .collect();
            writeln!(f, "{:<34}  {}", lane.name(), answers.join(", "))?;
        }
        for (lane, verdict) in self.lanes().filter(|(_, verdict)| !verdict.is_true()) {
            writeln!(f, "\nTHE BOOKS ARE WRONG, {}:\n{verdict}", lane.name())?;
        }
        Ok(())
    }
}

fn memory_mb(sample: &Sample) -> f64 {
    precise(sample.rss_bytes) / MB
}

fn descriptors(sample: &Sample) -> f64 {
    precise(sample.descriptors)
}

fn connections(sample: &Sample) -> f64 {
    precise(sample.connections)
}

fn threads(sample: &Sample) -> f64 {
    precise(sample.threads)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn precise(value: u64) -> f64 {
    value as f64
}

fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    precise(histogram.value_at_quantile(quantile)) / 1e3
}

/// Nothing to compare: a count that must not be above `most`.
fn exact(what: String, most: f64, count: u64) -> Finding {
    Finding {
        what,
        unit: "",
        early: 0.0,
        late: precise(count),
        most,
        is_crossed: precise(count) > most,
    }
}

/// What was to be measured and was not is no proof of anything.
fn unmeasured(what: String) -> Finding {
    Finding {
        what: what + " (too few samples)",
        unit: "",
        early: f64::NAN,
        late: f64::NAN,
        most: f64::NAN,
        is_crossed: true,
    }
}

/// The books of all products of a lane, in units.
fn units(verdict: &Verdict) -> Value {
    let sum = |units: &dyn Fn(&crate::load::ProductVerdict) -> i64| -> i64 {
        verdict.products.iter().map(units).sum()
    };
    let given_back: i64 = verdict
        .tally
        .products
        .iter()
        .map(|product| product.units_given_back)
        .sum();
    let ledger = |product: &crate::load::ProductVerdict| product.sold_by_ledger;
    json!({
        "supplied": sum(&|product| product.initial),
        "sold_to_clients": sum(&|product| product.sold_to_clients),
        "sold_by_ledger": sum(&ledger),
        "sold_by_gate": sum(&|product| product.sold_by_gate.unwrap_or_default()),
        "given_back": given_back,
        "remaining": sum(&|product| product.remaining),
        "drift": sum(&|product| (product.sold_by_gate.unwrap_or_default() - product.sold_by_ledger).abs()),
        "oversold": sum(&|product| product.oversold()),
    })
}

fn lines(title: &str, y_label: &str, lines: Vec<Line>) -> Part {
    Part::Lines(Lines {
        title: title.to_owned(),
        x_label: String::from("seconds from the start"),
        y_label: y_label.to_owned(),
        lines,
    })
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn table(rows: &[Vec<String>]) -> Part {
    Part::Table(Table {
        head: rows.first().cloned().unwrap_or_default(),
        rows: rows.get(1..).unwrap_or_default().to_vec(),
    })
}

/// Columns as wide as their widest cell.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
