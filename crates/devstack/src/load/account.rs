//! The account of one run: everything the table for people says, for programs (JSON) and as a page with charts.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::effort::ThreadTime;
use super::tally::Tally;
use super::threshold::Finding;
use super::verdict::Verdict;
use crate::report::{Bar, Bars, Line, Lines, Page, Part, Table, number};

const QUANTILES: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("max", 1.0),
];

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// What kind of sale it was.
    pub scenario: &'a str,
    /// What it was asked to be: name and value.
    pub settings: &'a [(String, String)],
    /// How it ended.
    pub verdict: &'a Verdict,
    /// The thresholds, judged.
    pub findings: &'a [Finding],
}

impl Account<'_> {
    /// For programs. Times in ms unless the name says otherwise.
    #[must_use]
    pub fn json(&self) -> Value {
        let Self {
            scenario,
            verdict,
            findings,
            ..
        } = *self;
        let tally = &verdict.tally;
        let settings: serde_json::Map<String, Value> = self
            .settings
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let faults: serde_json::Map<String, Value> = tally
            .faults
            .iter()
            .map(|(fault, count)| (fault.to_string(), json!(count)))
            .collect();
        let findings = findings.iter().map(|finding| {
            json!({
                "threshold": finding.threshold, "found": finding.found, "is_crossed": finding.is_crossed,
            })
        });
        json!({
            "scenario": scenario,
            "settings": settings,
            "books": books(verdict),
            "thresholds": findings.collect::<Vec<_>>(),
            "arrivals": tally.arrivals(),
            "dropped": tally.dropped,
            "answers": tally.answers,
            "attempts_without_answer": faults,
            "replays": tally.replays,
            "sales": tally.sales(),
            "error_ratio": tally.error_ratio(),
            "answers_per_second": tally.answers_per_second(),
            "sales_per_second": tally.sales_per_second(),
            "wall_ms": ms(tally.wall_time),
            "latency_ms": latencies(&tally.latency_us),
            "sale_latency_ms": latencies(&tally.sale_latency_us),
            "load_tool": load_tool(tally),
            "course": course(tally),
        })
    }

    /// For people.
    #[must_use]
    pub fn page(&self) -> Page {
        let verdict = self.verdict;
        let tally = &verdict.tally;
        let crossed = self.findings.iter().filter(|finding| finding.is_crossed).count();
        let books = if verdict.is_true() {
            "The books balance"
        } else {
            "THE BOOKS ARE WRONG"
        };
        let mut parts = Vec::new();
        parts.extend(
            tally
                .warning()
                .map(|warning| Part::Text(format!("Warning: {warning}."))),
        );
        if !self.findings.is_empty() {
            parts.push(Part::Heading(String::from("Thresholds")));
            let row = |finding: &Finding| vec![finding.threshold.clone(), finding.to_string()];
            parts.push(table(
                &["must not be", "was"],
                self.findings.iter().map(row).collect(),
            ));
        }
        parts.push(Part::Heading(String::from("Over time")));
        parts.extend(over_time(tally));
        parts.push(Part::Heading(String::from("Latency")));
        parts.push(quantiles(tally));
        parts.push(Part::Heading(String::from("What the buyers were told")));
        parts.push(answers(tally));
        parts.push(Part::Heading(String::from("The books")));
        parts.push(books_table(verdict));
        Page {
            title: format!("hotstock: {}", self.scenario),
            lead: format!(
                "{books}; {} of {} thresholds crossed. {} answers/s, {} sales/s.",
                crossed,
                self.findings.len(),
                number(tally.answers_per_second()),
                number(tally.sales_per_second()),
            ),
            facts: self.settings.to_vec(),
            parts,
        }
    }
}

fn books(verdict: &Verdict) -> Value {
    let products = verdict.products.iter().map(|product| {
        json!({
            "product_id": product.product_id, "initial": product.initial, "remaining": product.remaining,
            "sold_to_clients": product.sold_to_clients, "unknown": product.unknown,
            "perhaps_back": product.perhaps_back, "sold_by_ledger": product.sold_by_ledger,
            "sold_by_gate": product.sold_by_gate, "oversold": product.oversold(), "is_true": product.is_true(),
        })
    });
    json!({
        "balance": verdict.is_true(),
        "faults": verdict.faults,
        "gate_fault": verdict.gate_fault,
        "owned_most": verdict.owned_most,
        "products": products.collect::<Vec<_>>(),
        "orders": verdict.orders.as_ref().map(|orders| json!({
            "states": orders.states, "faults": orders.faults, "are_true": orders.is_true(),
        })),
    })
}

fn load_tool(tally: &Tally) -> Value {
    let effort = &tally.effort;
    let thread = |time: Option<ThreadTime>| {
        time.map(|time| json!({ "running_ms": ms(time.running), "waiting_ms": ms(time.waiting) }))
    };
    json!({
        "clients_thread": thread(effort.clients),
        "arrivals_thread": thread(effort.arrivals),
        "busy_ratio": effort.busy_ratio(tally.wall_time),
        "lateness_ms": latencies(&effort.lateness_us),
        "warning": tally.warning(),
    })
}

fn course(tally: &Tally) -> Value {
    let course = &tally.course;
    let slices = course.slices.iter().map(|slice| {
        json!({
            "answers": slice.latency_us.len(), "sales": slice.sales,
            "p50_ms": quantile_ms(&slice.latency_us, 0.5), "p99_ms": quantile_ms(&slice.latency_us, 0.99),
        })
    });
    json!({ "slice_ms": ms(course.slice), "slices": slices.collect::<Vec<_>>() })
}

fn latencies(histogram: &Histogram<u64>) -> Value {
    let mut values: serde_json::Map<String, Value> = QUANTILES
        .iter()
        .map(|(name, quantile)| ((*name).to_owned(), json!(quantile_ms(histogram, *quantile))))
        .collect();
    values.insert(String::from("count"), json!(histogram.len()));
    values.insert(String::from("mean"), json!(histogram.mean() / 1e3));
    Value::Object(values)
}

#[expect(clippy::cast_precision_loss, reason = "points of a chart")]
fn over_time(tally: &Tally) -> [Part; 2] {
    let course = &tally.course;
    let slice_s = course.slice.as_secs_f64();
    let line = |name: &str, value: &dyn Fn(&super::course::Slice) -> f64| Line {
        name: name.to_owned(),
        points: course
            .slices
            .iter()
            .enumerate()
            .map(|(index, slice)| ((index as f64 + 0.5) * slice_s, value(slice)))
            .collect(),
    };
    let chart = |title: &str, y_label: &str, lines| {
        Part::Lines(Lines {
            title: title.to_owned(),
            x_label: String::from("seconds from the start"),
            y_label: y_label.to_owned(),
            lines,
        })
    };
    [
        chart(
            "Answers and sales",
            "per second",
            vec![
                line("answers", &|slice| slice.latency_us.len() as f64 / slice_s),
                line("sales", &|slice| slice.sales as f64 / slice_s),
            ],
        ),
        chart(
            "Latency from the intended start",
            "ms",
            vec![
                line("p99", &|slice| quantile_ms(&slice.latency_us, 0.99)),
                line("p50", &|slice| quantile_ms(&slice.latency_us, 0.5)),
            ],
        ),
    ]
}

fn quantiles(tally: &Tally) -> Part {
    let row = |what: &str, histogram: &Histogram<u64>| {
        let values = QUANTILES
            .iter()
            .map(|(_, quantile)| format!("{} ms", number(quantile_ms(histogram, *quantile))));
        std::iter::once(what.to_owned()).chain(values).collect()
    };
    let mut rows: Vec<Vec<String>> = vec![row("all buyers", &tally.latency_us)];
    if !tally.sale_latency_us.is_empty() {
        rows.push(row("who got it", &tally.sale_latency_us));
    }
    if !tally.effort.lateness_us.is_empty() {
        rows.push(row("lateness of the load tool", &tally.effort.lateness_us));
    }
    let mut head = vec![""];
    head.extend(QUANTILES.iter().map(|(name, _)| *name));
    table(&head, rows)
}

#[expect(clippy::cast_precision_loss, reason = "bars of a chart")]
fn answers(tally: &Tally) -> Part {
    let mut counts: Vec<(String, u64)> = tally
        .answers
        .iter()
        .map(|(answer, count)| (answer.clone(), *count))
        .collect();
    if tally.dropped > 0 {
        counts.push((String::from("turned away: too many were waiting"), tally.dropped));
    }
    let bars = counts.into_iter().map(|(label, count)| Bar {
        label,
        value: count as f64,
        ..Bar::default()
    });
    Part::Bars(Bars {
        title: String::from("Buyers by what they were told last"),
        bars: bars.collect(),
        ..Bars::default()
    })
}

fn books_table(verdict: &Verdict) -> Part {
    let rows = verdict.products.iter().map(|product| {
        vec![
            product.product_id.to_string(),
            product.initial.to_string(),
            product.remaining.to_string(),
            product.sold_to_clients.to_string(),
            product.sold_by_ledger.to_string(),
            product
                .sold_by_gate
                .map_or_else(|| String::from("-"), |units| units.to_string()),
            String::from(if product.is_true() { "true" } else { "FALSE" }),
        ]
    });
    let head = [
        "product",
        "initial",
        "remaining",
        "sold, told the clients",
        "by the ledger",
        "by the gate",
        "",
    ];
    table(&head, rows.collect())
}

fn table(head: &[&str], rows: Vec<Vec<String>>) -> Part {
    Part::Table(Table {
        head: head.iter().map(|word| (*word).to_owned()).collect(),
        rows,
    })
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "a time for people")]
fn quantile_ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}
