//! A page of results for people: facts, tables and charts in one HTML file that needs nothing else, neither network nor
//! script. The bench and the load tool write theirs with it.
//!
//! Charts are drawn here as SVG with classes instead of colours, so that the page follows the reader's light or dark
//! theme; no chart library does that. Whatever a colour says, a word, a pattern or a number says too.
//!
//! - [`bars`]: values side by side, with their spread
//! - [`lines`]: courses over time, or over anything else

pub mod bars;
pub mod lines;

pub use bars::{Bar, Bars};
pub use lines::{Line, Lines};

use std::fmt::Write;

const STYLE: &str = include_str!("page.css");

/// A page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Its title.
    pub title: String,
    /// One sentence below it.
    pub lead: String,
    /// What it was measured on: name and value.
    pub facts: Vec<(String, String)>,
    /// The rest, in order.
    pub parts: Vec<Part>,
}

/// A part of a page.
#[derive(Clone, Debug)]
pub enum Part {
    /// A heading.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// A table.
    Table(Table),
    /// A chart of bars.
    Bars(Bars),
    /// A chart of lines.
    Lines(Lines),
}

/// A table: numbers are right-aligned, everything else is not.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// One word or two per column.
    pub head: Vec<String>,
    /// Rows of as many cells.
    pub rows: Vec<Vec<String>>,
}

impl Page {
    /// The whole file.
    #[must_use]
    pub fn html(&self) -> String {
        let mut html = String::new();
        let title = escape(&self.title);
        write!(
            html,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{title}</title>\n<style>\n{STYLE}</style></head>\n<body><main>\n<h1>{title}</h1>\n<p class=\"lead\">{}</p>\n",
            escape(&self.lead)
        )
        .ok();
        if !self.facts.is_empty() {
            html.push_str("<dl>");
            for (name, value) in &self.facts {
                writeln!(html, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value)).ok();
            }
            html.push_str("</dl>\n");
        }
        for part in &self.parts {
            html.push_str(&part.html());
            html.push('\n');
        }
        html.push_str("</main></body></html>\n");
        html
    }
}

impl Part {
    fn html(&self) -> String {
        match self {
            Self::Heading(text) => format!("<h2>{}</h2>", escape(text)),
            Self::Text(text) => format!("<p>{}</p>", escape(text)),
            Self::Table(table) => table.html(),
            Self::Bars(bars) => bars.html(),
            Self::Lines(lines) => lines.html(),
        }
    }
}

impl Table {
    /// The same as Markdown, for terminals and READMEs.
    #[must_use]
    pub fn markdown(&self) -> String {
        let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("|{}\n", "---|".repeat(self.head.len()));
        let rows: String = self.rows.iter().map(|cells| row(cells)).collect();
        row(&self.head) + &rule + &rows
    }

    fn html(&self) -> String {
        let cell = |tag: &str, text: &String| {
            // A figure begins with its number; a class, because its unit or spread may follow.
            let is_number = text.starts_with(|c: char| c.is_ascii_digit());
            let class = if is_number && tag == "td" {
                " class=\"number\""
            } else {
                ""
            };
            format!("<{tag}{class}>{}</{tag}>", escape(text))
        };
        let row = |tag: &str, cells: &[String]| {
            let cells: String = cells.iter().map(|text| cell(tag, text)).collect();
            format!("<tr>{cells}</tr>\n")
        };
        let rows: String = self.rows.iter().map(|cells| row("td", cells)).collect();
        let head = row("th", &self.head);
        format!("<div class=\"wide\"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>")
    }
}

/// A number for people: thousands separated, as many decimals as tell something.
#[must_use]
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return String::from("–");
    }
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let (sign, digits) = whole
        .strip_prefix('-')
        .map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{rest}")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_as_exact_as_they_tell_something() {
        let shown = [0.0, 1.234, 12.34, 123.4, 1234.5, 1_234_567.0, -1234.0].map(number);
        let expected = ["0.00", "1.23", "12.3", "123", "1,234", "1,234,567", "-1,234"];
        assert_eq!(shown, expected.map(str::to_owned));
        assert_eq!(number(f64::NAN), "–");
    }

    #[test]
    fn nothing_on_a_page_is_taken_for_markup_or_fetched_from_elsewhere() {
        let table = Table {
            head: vec!["<b>".into()],
            rows: vec![vec!["a & b".into()], vec!["12 ms".into()]],
        };
        assert_eq!(table.markdown(), "| <b> |\n|---|\n| a & b |\n| 12 ms |\n");
        let page = Page {
            title: "\"<script>\"".into(),
            facts: vec![("a<".into(), ">b".into())],
            parts: vec![Part::Table(table)],
            ..Page::default()
        };
        let html = page.html();
        assert!(!html.contains("<script>") && !html.contains("<b>"), "{html}");
        assert!(
            html.contains("&lt;script&gt;") && html.contains("a &amp; b"),
            "{html}"
        );
        assert!(html.contains("<td class=\"number\">12 ms</td>"), "{html}");
        for away in ["http", "src=", "@import", "<link"] {
            assert!(!html.contains(away), "{away}");
        }
    }
}
