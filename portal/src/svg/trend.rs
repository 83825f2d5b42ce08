//! A line over time with grade bounds, gaps left open.
//!
//! Invariant: the vertical scale always ends at 100 and starts at a grade bound below the lowest
//! value, so that a dip is neither hidden nor blown up.

use super::{escape, n};

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 196.0;
/// Room for the bounds' labels on the right and the times below.
const RIGHT: f64 = 26.0;
const BOTTOM: f64 = 18.0;
const TOP: f64 = 6.0;

/// What a trend shows.
pub(crate) struct Trend<'a> {
    /// (time in ms, value 0..100 or a gap), in order of time.
    pub(crate) points: &'a [(i64, Option<f64>)],
    /// ok, warn, crit or unknown: colour of the line.
    pub(crate) kind: &'a str,
    /// Text at the left and right end of the time axis.
    pub(crate) ends: (&'a str, &'a str),
    /// What a screen reader says.
    pub(crate) label: &'a str,
}

/// The trend as SVG, 480 × 196.
pub(crate) fn trend(t: &Trend<'_>) -> String {
    let mut out = format!(
        r#"<svg class="trend k-{}" viewBox="0 0 {} {}" role="img" aria-label="{}">"#,
        escape(t.kind),
        n(WIDTH),
        n(HEIGHT),
        escape(t.label)
    );
    let floor = floor(t.points);
    let y = |v: f64| TOP + (100.0 - v.max(floor)) / (100.0 - floor) * (HEIGHT - BOTTOM - TOP);
    for bound in [100.0, 90.0, 80.0, 60.0, 40.0, 0.0] {
        if bound >= floor {
            push_bound(&mut out, y(bound), bound);
        }
    }
    push_line(&mut out, t.points, &y);
    let base = n(HEIGHT - 3.0);
    out.push_str(&format!(
        r#"<text class="axis" x="0" y="{base}">{}</text><text class="axis end" x="{}" y="{base}">{}</text></svg>"#,
        escape(t.ends.0),
        n(WIDTH - RIGHT),
        escape(t.ends.1)
    ));
    out
}

fn floor(points: &[(i64, Option<f64>)]) -> f64 {
    let low = points.iter().filter_map(|p| p.1).fold(100.0, f64::min);
    [80.0, 60.0, 40.0].into_iter().find(|b| low >= *b).unwrap_or(0.0)
}

fn push_bound(out: &mut String, y: f64, bound: f64) {
    out.push_str(&format!(
        r#"<line class="grid" x1="0" y1="{y}" x2="{x}" y2="{y}"/><text class="axis" x="{tx}" y="{ty}">{bound}</text>"#,
        y = n(y),
        x = n(WIDTH - RIGHT),
        tx = n(WIDTH - RIGHT + 4.0),
        ty = n(y + 4.0)
    ));
}

/// Runs of known values as line and area; between them a hatched gap.
fn push_line(out: &mut String, points: &[(i64, Option<f64>)], y: &dyn Fn(f64) -> f64) {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    let length = (last.0 - first.0).max(1) as f64;
    let x = |t: i64| (t - first.0) as f64 / length * (WIDTH - RIGHT);
    let base = HEIGHT - BOTTOM;
    let mut end: Option<f64> = None;
    for run in points.split(|p| p.1.is_none()).filter(|r| !r.is_empty()) {
        let (from, to) = (x(run[0].0), x(run[run.len() - 1].0));
        push_gap(out, end.unwrap_or(0.0), from);
        let line: Vec<String> =
            run.iter().filter_map(|(t, v)| Some(format!("{},{}", n(x(*t)), n(y((*v)?))))).collect();
        let line = line.join(" ");
        out.push_str(&format!(
            r#"<polygon class="area" points="{},{b} {line} {},{b}"/><polyline class="line" points="{line}"/>"#,
            n(from),
            n(to),
            b = n(base)
        ));
        if let (Some(v), true) = (run[run.len() - 1].1, run[run.len() - 1].0 == last.0) {
            out.push_str(&format!(
                r#"<circle class="now" cx="{}" cy="{}" r="3"/>"#,
                n(to),
                n(y(v))
            ));
        }
        end = Some(to);
    }
    push_gap(out, end.unwrap_or(0.0), WIDTH - RIGHT);
}

fn push_gap(out: &mut String, from: f64, to: f64) {
    // Neighbouring runs share no point, so a hair's breadth is no gap.
    if to - from > 1.0 {
        out.push_str(&format!(
            r#"<rect class="gap" fill="url(#hatch)" x="{}" y="{}" width="{}" height="{}"/>"#,
            n(from),
            n(TOP),
            n(to - from),
            n(HEIGHT - BOTTOM - TOP)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(points: &[(i64, Option<f64>)]) -> String {
        trend(&Trend { points, kind: "ok", ends: ("a", "b"), label: "l" })
    }

    #[test]
    fn a_gap_in_the_data_is_a_gap_in_the_line() {
        let svg =
            draw(&[(0, Some(95.0)), (1, Some(95.0)), (2, None), (3, Some(92.0)), (4, Some(92.0))]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches(r#"class="gap""#).count(), 1);
    }

    #[test]
    fn no_data_is_one_gap_and_no_line() {
        assert!(!draw(&[]).contains("polyline"));
        let svg = draw(&[(0, None), (1, None)]);
        assert_eq!(
            (svg.matches("<polyline").count(), svg.matches(r#"class="gap""#).count()),
            (0, 1)
        );
    }

    #[test]
    fn the_scale_starts_at_the_bound_below_the_lowest_value() {
        assert!(draw(&[(0, Some(97.0)), (1, Some(85.0))]).contains(">80<"));
        assert!(!draw(&[(0, Some(97.0)), (1, Some(85.0))]).contains(">60<"));
        assert!(draw(&[(0, Some(12.0)), (1, Some(85.0))]).contains(">0<"));
    }
}
