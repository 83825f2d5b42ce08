//! The score ring: an arc of 0..100, cut where a grade begins.
//!
//! Invariant: without a score there is no arc, only a dashed ring and a question mark.

use super::{escape, n};

/// Lower bounds of grades A to D; the ring is cut at each.
const BOUNDS: [f64; 4] = [90.0, 80.0, 60.0, 40.0];

/// What a ring shows.
pub(crate) struct Ring<'a> {
    /// 0..100; `None`: not known.
    pub(crate) score: Option<f64>,
    /// `A` … `E` or `?`.
    pub(crate) grade: &'a str,
    /// ok, warn, crit or unknown: the colour.
    pub(crate) kind: &'a str,
    /// Confidence below 1: the score is an upper bound.
    pub(crate) upper_bound: bool,
    /// What a screen reader says.
    pub(crate) label: &'a str,
}

/// The ring as SVG, 104 × 104.
pub(crate) fn ring(r: &Ring<'_>) -> String {
    let mut out = format!(
        r#"<svg class="ring k-{}" viewBox="0 0 104 104" role="img" aria-label="{}">"#,
        escape(r.kind),
        escape(r.label)
    );
    let track = if r.score.is_some() { "ring-track" } else { "ring-track ring-unknown" };
    out.push_str(&format!(r#"<circle class="{track}" cx="52" cy="52" r="42"/>"#));
    if let Some(score) = r.score.filter(|s| *s > 0.0) {
        out.push_str(&format!(
            r#"<circle class="ring-arc" cx="52" cy="52" r="42" pathLength="100" stroke-dasharray="{} 100" transform="rotate(-90 52 52)"/>"#,
            n(score.min(100.0))
        ));
    }
    for bound in BOUNDS {
        let (sin, cos) = (bound / 100.0 * std::f64::consts::TAU).sin_cos();
        let point = |radius: f64| (n(52.0 + radius * sin), n(52.0 - radius * cos));
        let ((x1, y1), (x2, y2)) = (point(37.5), point(46.5));
        out.push_str(&format!(
            r#"<line class="ring-tick" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#
        ));
    }
    let (text, class) = match r.score {
        Some(s) if s >= 100.0 => ("100".to_owned(), "ring-score"),
        Some(s) if r.upper_bound => (format!("≤\u{2009}{s:.1}"), "ring-score ring-small"),
        Some(s) => (format!("{s:.1}"), "ring-score"),
        None => ("–".to_owned(), "ring-score"),
    };
    out.push_str(&format!(r#"<text class="{class}" x="52" y="57">{text}</text>"#));
    out.push_str(&format!(
        r#"<text class="ring-grade" x="52" y="76">{}</text></svg>"#,
        escape(r.grade)
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_score_draws_no_arc_and_no_number() {
        let svg = ring(&Ring {
            score: None,
            grade: "?",
            kind: "unknown",
            upper_bound: false,
            label: "l",
        });
        assert!(!svg.contains("ring-arc") && svg.contains(">–<") && svg.contains(">?<"));
    }

    #[test]
    fn the_arc_is_as_long_as_the_score() {
        let svg = ring(&Ring {
            score: Some(72.06),
            grade: "C",
            kind: "warn",
            upper_bound: true,
            label: "a\"b",
        });
        assert!(svg.contains(r#"stroke-dasharray="72.06 100""#));
        assert!(svg.contains("≤") && svg.contains("a&quot;b"));
    }
}
