//! The numbers of the guarantees: one row per trial and some times, printed always, and written where they are wanted.
//!
//! With `HOTSTOCK_FAULT_TABLE` naming a file of the project, the numbers of this run replace what is between its two marker
//! comments. Each trial writes all there are so far, so that nobody has to know which is the last. Half a run leaves half a
//! table.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::evidence::Evidence;
use crate::load::{Answers, Line};

const FILE: &str = "HOTSTOCK_FAULT_TABLE";
const BEGIN: &str = "<!-- faults: begin -->";
const END: &str = "<!-- faults: end -->";
const HEAD: &str = "\
| fault | sales/s before, during | 5xx | slowest answer | breaker opened after | closed / balanced after | the reconciler found |
|---|---|---|---|---|---|---|
";

struct Report {
    rows: BTreeMap<&'static str, String>,
    times: BTreeMap<&'static str, String>,
}

static REPORT: Mutex<Report> = Mutex::new(Report {
    rows: BTreeMap::new(),
    times: BTreeMap::new(),
});

/// What one trial has measured.
pub(crate) struct Row<'a> {
    pub(crate) name: &'static str,
    pub(crate) evidence: &'a Evidence,
    pub(crate) lines: &'a [Line],
    /// Sales per second before the fault, and while it lasts.
    pub(crate) rates: [f64; 2],
    /// Of those whose time is judged.
    pub(crate) slowest: Duration,
    /// What of it may be the machine's own.
    pub(crate) excuse: Duration,
    /// From the beginning of the fault until the breakers had opened, if they did.
    pub(crate) opened: Option<Duration>,
    /// From healing until all breakers were closed, if they had opened.
    pub(crate) closed: Option<Duration>,
    /// From healing until every gate was loaded and agreed with the database.
    pub(crate) balanced: Duration,
}

impl Row<'_> {
    /// Prints it, and puts it into the table if one is wanted.
    pub(crate) fn write(&self) {
        let words = Answers(self.lines).by_word();
        println!("{}: {}, answers {words:?}", self.name, self.evidence);
        println!("{}: {:?} at most are the machine's own", self.name, self.excuse);
        let opened = self
            .opened
            .map_or("–".to_owned(), |time| format!("{} ms", time.as_millis()));
        let closed = self
            .closed
            .map_or(String::new(), |time| format!("{} / ", time.as_millis()));
        let [before, during] = self.rates;
        let row = format!(
            "| {} | {before:.0}, {during:.0}: {:.2} | {} | {} ms | {opened} | {closed}{} ms | {} |\n",
            self.name,
            during / before,
            words.get("503").copied().unwrap_or(0),
            self.slowest.as_millis(),
            self.balanced.as_millis(),
            self.evidence.finds(),
        );
        print!("{row}");
        write(|report| drop(report.rows.insert(self.name, row)));
    }
}

/// A time that is no trial's.
pub(crate) fn measured(what: &'static str, took: Duration) {
    let line = format!("- {what}: {} ms\n", took.as_millis());
    print!("{line}");
    write(|report| drop(report.times.insert(what, line)));
}

/// Puts everything there is so far between the markers of the file, if one is wanted.
fn write(change: impl FnOnce(&mut Report)) {
    let mut report = REPORT.lock().unwrap_or_else(PoisonError::into_inner);
    change(&mut report);
    let Some(file) = std::env::var_os(FILE) else {
        return;
    };
    // Tests run in the folder of their crate.
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("a marker where the numbers begin");
    let (_, after) = rest.split_once(END).expect("a marker where they end");
    let rows: String = report.rows.values().cloned().collect();
    let times: String = report.times.values().cloned().collect();
    let text = format!("{before}{BEGIN}\n{HEAD}{rows}\n{times}{END}{after}");
    std::fs::write(&file, text).unwrap();
}
