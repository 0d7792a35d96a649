//! What the person at the other end sees: results on standard output, everything on the way there on standard error.
//!
//! A closed pipe (`cargo dev up | head`) is no reason to fall over, so write errors are dropped.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A line of the result.
pub(crate) fn result(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line about what is going on.
pub(crate) fn progress(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether there is a terminal to draw on.
pub(crate) fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// One thing being done: a spinner on a terminal, else a line at its beginning and one at its end.
pub(crate) struct Step {
    what: String,
    start: Instant,
    spinner: Option<ProgressBar>,
}

impl Step {
    pub(crate) fn begin(what: &str) -> Self {
        let spinner = is_terminal().then(|| {
            let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        if spinner.is_none() {
            progress(&format!("{what} ..."));
        }
        Self {
            what: what.to_owned(),
            start: Instant::now(),
            spinner,
        }
    }

    pub(crate) fn done(self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        progress(&format!(
            "{} ... done ({:.1} s)",
            self.what,
            self.start.elapsed().as_secs_f64()
        ));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        // Also when it failed: the error comes next and needs a clean line.
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

/// A bar over `total` things, drawn only on a terminal. `counts` says of what: `{pos}/{len} buyers`.
pub(crate) fn bar(total: u64, counts: &str) -> Option<ProgressBar> {
    let style = ProgressStyle::with_template(&format!("{{bar:40}} {counts}  {{msg}}")).ok()?;
    is_terminal().then(|| ProgressBar::new(total).with_style(style))
}

/// Rows as a table with aligned columns; the first row is the heading.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(String::len)
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [
            vec!["what".to_owned(), "pid".to_owned()],
            vec!["product-service".to_owned(), "7".to_owned()],
        ];
        assert_eq!(table(&rows), "what             pid\nproduct-service  7\n");
    }
}
