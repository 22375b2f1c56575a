//! Charts of the last minutes as SVG: stacked bars, one for each look at the counters.
//!
//! Colours are classes, since the page's policy knows no inline style; numbers are in a table
//! beside the chart for whoever sees no colours.

use std::fmt::Write as _;

use crate::{
    status::history::{BINS, Bin},
    telemetry::metrics::Tally,
};

/// One colour of a chart.
pub(super) struct Series<'a> {
    pub(super) label: &'a str,
    /// Of the style sheet.
    pub(super) class: &'a str,
    pub(super) value: Box<dyn Fn(&Tally) -> u64 + 'a>,
}

/// Of the drawing, not of the screen: the page stretches it.
const BAR: usize = 10;
const HEIGHT: u64 = 100;

/// The bars, the newest at the right; `summary` is for whoever does not see them.
pub(super) fn bars(bins: &[Bin], series: &[Series<'_>], summary: &str) -> String {
    let most = bins.iter().map(|bin| total(bin, series)).max().unwrap_or_default();
    let top = nice(most);
    let width = (BINS + 1) * BAR;
    let mut svg = format!(
        "<div class=\"plot\"><span class=\"top\" aria-hidden=\"true\">{top}</span>\
         <svg role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {width} {HEIGHT}\" \
         preserveAspectRatio=\"none\">",
        crate::answer::escape(summary),
    );
    for line in [HEIGHT / 2, 0] {
        let _ = write!(svg, "<path class=\"rule\" d=\"M0 {line}H{width}\"/>");
    }
    let first = (BINS + 1).saturating_sub(bins.len());
    for (at, bin) in bins.iter().enumerate() {
        let sum = total(bin, series);
        if sum == 0 {
            continue;
        }
        let x = (first + at) * BAR;
        let _ = write!(svg, "<g><title>{}", clock(bin.began.0));
        for one in series {
            let value = (one.value)(&bin.counts);
            if value > 0 {
                let _ = write!(svg, " · {} {value}", one.label);
            }
        }
        svg.push_str("</title>");
        let mut below = 0;
        for one in series {
            let value = (one.value)(&bin.counts);
            if value == 0 {
                continue;
            }
            let (from, to) = (scaled(below, top), scaled(below + value, top));
            // Something is always seen of what has occurred.
            let height = (to - from).max(1.0);
            let y = (f64::from(u32::try_from(HEIGHT).unwrap_or_default()) - from - height).max(0.0);
            let _ = write!(
                svg,
                "<rect class=\"{}\" x=\"{x}\" y=\"{y:.1}\" width=\"{}\" height=\"{height:.1}\"/>",
                one.class,
                BAR - 2,
            );
            below += value;
        }
        svg.push_str("</g>");
    }
    let _ = write!(svg, "<path class=\"axis\" d=\"M0 {HEIGHT}H{width}\"/></svg>");
    svg.push_str(
        "<div class=\"ticks\" aria-hidden=\"true\"><span>15 min ago</span><span>10</span>\
         <span>5</span><span>now</span></div></div>",
    );
    svg
}

/// A legend that is a table as well: what each colour is, how many in all and in the last minute.
pub(super) fn legend(bins: &[Bin], series: &[Series<'_>], what: &str) -> String {
    let mut table = format!(
        "<table class=\"legend\"><thead><tr><th scope=\"col\">{what}</th>\
         <th scope=\"col\" class=\"n\">1 min</th><th scope=\"col\" class=\"n\">15 min</th>\
         </tr></thead><tbody>"
    );
    let last = bins.len().saturating_sub(LAST_MINUTE);
    for one in series {
        let all: u64 = bins.iter().map(|bin| (one.value)(&bin.counts)).sum();
        let minute: u64 = bins.iter().skip(last).map(|bin| (one.value)(&bin.counts)).sum();
        let _ = write!(
            table,
            "<tr><th scope=\"row\"><span class=\"swatch {}\"></span>{}</th>\
             <td class=\"n\">{minute}</td><td class=\"n\">{all}</td></tr>",
            one.class, one.label,
        );
    }
    table.push_str("</tbody></table>");
    table
}

/// Bins of a minute, with the one that is still open.
const LAST_MINUTE: usize = 6;

fn total(bin: &Bin, series: &[Series<'_>]) -> u64 {
    series.iter().map(|one| (one.value)(&bin.counts)).sum()
}

#[expect(clippy::cast_precision_loss, reason = "a drawing of a hundred units")]
fn scaled(value: u64, top: u64) -> f64 {
    value as f64 * HEIGHT as f64 / top as f64
}

/// The least of 1, 2, 5, 10, 20, 50 … that is no less.
fn nice(most: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for step in [1, 2, 5] {
            let top = unit.saturating_mul(step);
            if top >= most {
                return top;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// Time of day, UTC.
pub(super) fn clock(seconds: u64) -> String {
    let of_day = seconds % 86_400;
    format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn series() -> Vec<Series<'static>> {
        let value = |at: usize| Box::new(move |counts: &Tally| counts.decisions[at]);
        vec![
            Series { label: "forwarded", class: "forward", value: value(0) },
            Series { label: "refused", class: "refuse", value: value(2) },
        ]
    }

    fn bin(began: u64, forwarded: u64, refused: u64) -> Bin {
        let counts = Tally { decisions: [forwarded, 0, refused, 0], refusals: Vec::new() };
        Bin { began: Timestamp(began), counts }
    }

    #[test]
    fn bars_stand_at_the_right_and_say_what_they_are() {
        let bins = [bin(0, 0, 0), bin(10, 3, 1), bin(20, 0, 5)];
        let svg = bars(&bins, &series(), "a & b");
        assert!(svg.contains("aria-label=\"a &amp; b\""), "{svg}");
        assert!(svg.contains("<title>00:00:10 · forwarded 3 · refused 1</title>"), "{svg}");
        // The newest ends at the right edge; 5 is the top of the scale.
        let newest = "<rect class=\"refuse\" x=\"900\" y=\"0.0\" width=\"8\" height=\"100.0\"/>";
        assert!(svg.contains(newest), "{svg}");
        assert!(svg.contains("<rect class=\"refuse\" x=\"890\" y=\"20.0\""), "{svg}");
        assert_eq!(svg.matches("<g>").count(), 2);
        let table = legend(&bins, &series(), "Decision");
        assert!(
            table.contains("refused</th><td class=\"n\">6</td><td class=\"n\">6</td>"),
            "{table}"
        );
    }

    #[test]
    fn scales_end_at_round_numbers() {
        for (most, top) in [(0, 1), (1, 1), (3, 5), (11, 20), (99, 100), (u64::MAX, u64::MAX)] {
            assert_eq!(nice(most), top);
        }
        assert_eq!(clock(86_400 + 3661), "01:01:01");
    }
}
