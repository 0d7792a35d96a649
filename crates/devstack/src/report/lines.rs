//! Courses over time, or over anything else: lines that differ by their dashes, with both axes in numbers.

use std::fmt::Write;

use super::{escape, number};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 42.0;
const STEPS: u32 = 4;
/// Patterns of [`Line`]s, in their order; a sixth line looks like the first.
const DASHES: [&str; 5] = ["none", "7 4", "2 3", "12 4 2 4", "1 6"];

/// A chart of lines. Both axes begin at 0.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// What is shown.
    pub title: String,
    /// What goes to the right, with its unit.
    pub x_label: String,
    /// What goes up, with its unit.
    pub y_label: String,
    /// The lines.
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// Its points, from left to right; nothing below 0.
    pub points: Vec<(f64, f64)>,
}

impl Lines {
    pub(super) fn html(&self) -> String {
        let title = escape(&self.title);
        let mut svg = format!(
            "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">"
        );
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let x_most = all().map(|point| point.0).fold(f64::MIN_POSITIVE, f64::max);
        let y_most = all().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max);
        let x = |value: f64| LEFT + value / x_most * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - value / y_most * (HEIGHT - TOP - BOTTOM);
        for step in 0..=STEPS {
            let share = f64::from(step) / f64::from(STEPS);
            let (right, up) = (x(share * x_most), y(share * y_most));
            write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{up:.1}\" x2=\"{:.1}\" y2=\"{up:.1}\"/>\
                 <text class=\"label\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\
                 <text class=\"below\" x=\"{right:.1}\" y=\"{:.1}\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                up + 4.5,
                number(share * y_most),
                HEIGHT - BOTTOM + 16.0,
                number(share * x_most),
            )
            .ok();
        }
        for (line, dashes) in self.lines.iter().zip(DASHES.iter().cycle()) {
            let points = line
                .points
                .iter()
                .map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)));
            let points = points.collect::<Vec<_>>().join(" ");
            write!(
                svg,
                "<polyline class=\"course\" stroke-dasharray=\"{dashes}\" points=\"{points}\"><title>{}</title></polyline>",
                escape(&line.name)
            )
            .ok();
        }
        write!(
            svg,
            "<text class=\"below\" x=\"{:.1}\" y=\"{:.1}\">{}</text></svg>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 6.0,
            escape(&self.x_label)
        )
        .ok();
        write!(
            svg,
            "<p class=\"note\">Upwards: {}.{}</p></figure>",
            escape(&self.y_label),
            self.legend()
        )
        .ok();
        svg
    }

    fn legend(&self) -> String {
        let mut legend = String::new();
        for (line, dashes) in self.lines.iter().zip(DASHES.iter().cycle()) {
            write!(
                legend,
                " <span class=\"key\"><svg viewBox=\"0 0 40 8\"><line class=\"course\" stroke-dasharray=\"{dashes}\" \
                 x1=\"0\" y1=\"4\" x2=\"40\" y2=\"4\"/></svg> {}</span>",
                escape(&line.name)
            )
            .ok();
        }
        legend
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_differ_by_their_dashes_and_both_axes_say_their_numbers() {
        let line = |name: &str, top| Line {
            name: name.into(),
            points: vec![(0.0, 0.0), (10.0, top)],
        };
        let html = Lines {
            title: "latency".into(),
            x_label: "s".into(),
            y_label: "ms".into(),
            lines: vec![line("p50", 40.0), line("p99", 80.0)],
        }
        .html();
        for expected in [
            ">80.0<",
            ">10.0<",
            ">p50<",
            ">p99<",
            "stroke-dasharray=\"7 4\"",
            "Upwards: ms",
        ] {
            assert!(html.contains(expected), "{expected}: {html}");
        }
        assert!(html.contains("points=\"70.0,238.0 744.0,12.0\""), "{html}");
    }

    #[test]
    fn a_chart_without_points_is_an_empty_chart() {
        let html = Lines::default().html();
        assert!(
            html.contains("</svg>") && !html.contains("NaN") && !html.contains("inf"),
            "{html}"
        );
    }
}
