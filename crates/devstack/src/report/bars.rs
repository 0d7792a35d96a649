//! Values side by side, as horizontal bars with their number beside them and a whisker from the least to the most.

use std::fmt::Write;

use super::{escape, number};

const WIDTH: f64 = 760.0;
const LABELS: f64 = 230.0;
const NUMBERS: f64 = 170.0;
const ROW: f64 = 30.0;
const BAR: f64 = 18.0;

/// A chart of bars.
#[derive(Clone, Debug, Default)]
pub struct Bars {
    /// What is shown, with its unit.
    pub title: String,
    /// From top to bottom.
    pub bars: Vec<Bar>,
    /// A line across all of them.
    pub goal: Option<f64>,
    /// Each step is ten times the one before: for values of different sizes. Values have to be above 0.
    pub is_logarithmic: bool,
}

/// One bar.
#[derive(Clone, Debug, Default)]
pub struct Bar {
    /// What it is.
    pub label: String,
    /// Its length.
    pub value: f64,
    /// Least and most that was seen.
    pub spread: Option<(f64, f64)>,
    /// Filled, where the others are only hatched.
    pub is_ours: bool,
}

impl Bars {
    pub(super) fn html(&self) -> String {
        let height = self.bars.len() as f64 * ROW + 12.0;
        let mut svg = format!(
            "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\
             <defs><pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
             patternTransform=\"rotate(45)\"><line class=\"hatch\" x1=\"0\" y1=\"0\" x2=\"0\" y2=\"6\"/></pattern></defs>",
            escape(&self.title),
            escape(&self.title),
        );
        for (index, bar) in self.bars.iter().enumerate() {
            svg.push_str(&self.bar(bar, index as f64 * ROW + 4.0));
        }
        if let Some(goal) = self.goal {
            let x = self.x(goal);
            write!(
                svg,
                "<line class=\"goal\" x1=\"{x:.1}\" y1=\"0\" x2=\"{x:.1}\" y2=\"{height}\"><title>goal {}</title></line>",
                number(goal)
            )
            .ok();
        }
        svg.push_str("</svg>");
        if let Some(goal) = self.goal {
            write!(
                svg,
                "<p class=\"note\">Dashed line: the goal, {}.</p>",
                number(goal)
            )
            .ok();
        }
        if self.is_logarithmic {
            svg.push_str("<p class=\"note\">Logarithmic: equal lengths are equal factors.</p>");
        }
        svg.push_str("</figure>");
        svg
    }

    fn bar(&self, bar: &Bar, y: f64) -> String {
        let (middle, end) = (y + BAR / 2.0, self.x(bar.value));
        let class = if bar.is_ours { "ours" } else { "others" };
        let mut svg = format!(
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\
             <rect class=\"{class}\" x=\"{LABELS}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\"/>",
            LABELS - 8.0,
            middle + 4.5,
            escape(&bar.label),
            end - LABELS,
        );
        let mut right = end;
        let mut text = number(bar.value);
        if let Some((least, most)) = bar.spread {
            let (from, to) = (self.x(least), self.x(most));
            right = right.max(to);
            text = format!("{text} ({}..{})", number(least), number(most));
            write!(
                svg,
                "<path class=\"whisker\" d=\"M{from:.1} {0:.1}v8M{from:.1} {middle:.1}H{to:.1}M{to:.1} {0:.1}v8\"/>",
                middle - 4.0
            )
            .ok();
        }
        write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
            right + 8.0,
            middle + 4.5
        )
        .ok();
        svg
    }

    /// Where a value ends.
    fn x(&self, value: f64) -> f64 {
        let all = || {
            let spread = |bar: &Bar| bar.spread.map_or([bar.value; 2], |(least, most)| [least, most]);
            self.bars.iter().flat_map(spread).chain(self.goal)
        };
        let most = all().fold(f64::MIN_POSITIVE, f64::max);
        let share = if self.is_logarithmic {
            // Begins a factor of two below the least, so that no bar is without length.
            let least = all().filter(|value| *value > 0.0).fold(most, f64::min) / 2.0;
            (value.max(least) / least).ln() / (most / least).ln()
        } else {
            (value / most).clamp(0.0, 1.0)
        };
        LABELS + share * (WIDTH - LABELS - NUMBERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(is_logarithmic: bool) -> Bars {
        let bar = |label: &str, value, spread| Bar {
            label: label.to_owned(),
            value,
            spread,
            is_ours: false,
        };
        Bars {
            title: "sales/s".into(),
            bars: vec![bar("a", 1000.0, Some((900.0, 2000.0))), bar("b", 10.0, None)],
            goal: Some(500.0),
            is_logarithmic,
        }
    }

    #[test]
    fn bars_stay_inside_the_picture_in_proportion() {
        for is_logarithmic in [false, true] {
            let bars = bars(is_logarithmic);
            let ends = [10.0, 500.0, 1000.0, 2000.0].map(|value| bars.x(value));
            assert!(ends.is_sorted() && ends[0] > LABELS, "{ends:?}");
            assert!(ends[3] <= WIDTH - NUMBERS, "{ends:?}");
        }
        let linear = bars(false);
        assert!((linear.x(1000.0) - LABELS) * 2.0 - (linear.x(2000.0) - LABELS) < 1e-9);
    }

    #[test]
    fn every_bar_says_its_number_and_its_spread() {
        let html = bars(false).html();
        assert!(
            html.contains(">1,000 (900..2,000)<") && html.contains(">10.0<"),
            "{html}"
        );
        assert!(html.contains("the goal, 500"), "{html}");
    }
}
