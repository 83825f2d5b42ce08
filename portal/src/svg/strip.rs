//! A strip of time in the colours of the grades that held.
//!
//! Invariant: time nothing is known of stays empty; widths are attributes on a 0..100 grid that
//! stretches with its cell.

use super::{escape, n};

/// A stretch of time, in parts of the whole (0..1).
pub(crate) struct Span<'a> {
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// ok, warn, crit or unknown.
    pub(crate) kind: &'a str,
}

/// The strip as SVG.
pub(crate) fn strip(spans: &[Span<'_>], label: &str) -> String {
    let mut out = format!(
        r#"<svg class="meter strip" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{}"><rect class="track" width="100" height="8"/>"#,
        escape(label)
    );
    for span in spans {
        let (from, to) = (span.from.clamp(0.0, 1.0) * 100.0, span.to.clamp(0.0, 1.0) * 100.0);
        if to <= from {
            continue;
        }
        let hatch = if span.kind == "unknown" { r#"" fill="url(#hatch)"# } else { " solid" };
        out.push_str(&format!(
            r#"<rect class="level k-{}{hatch}" x="{}" width="{}" height="8"/>"#,
            escape(span.kind),
            n(from),
            n(to - from)
        ));
    }
    out.push_str("</svg>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_nothing_is_known_of_stays_empty() {
        let spans = [
            Span { from: 0.25, to: 0.5, kind: "ok" },
            Span { from: 0.5, to: 1.0, kind: "unknown" },
            Span { from: 0.7, to: 0.7, kind: "crit" },
        ];
        let svg = strip(&spans, "a \"label\"");
        assert!(svg.contains(r#"class="level k-ok solid" x="25" width="25""#), "{svg}");
        assert!(svg.contains(r#"x="50" width="50""#) && svg.contains("url(#hatch)"), "{svg}");
        assert!(svg.contains("a &quot;label&quot;") && !svg.contains("k-crit"), "{svg}");
    }
}
