//! Bars: a share of a limit, parts of a whole, and one step of a waterfall.
//!
//! Invariant: widths are attributes on a 0..100 grid that stretches with its cell.

use super::{escape, n};

/// A bar of `ratio` (0..1, drawn at most full) in the colour of `kind`, with a mark at `limit`
/// (0..1). Hidden from screen readers: the number always stands beside it.
pub(crate) fn meter(ratio: f64, kind: &str, limit: Option<f64>) -> String {
    let width = n(ratio.clamp(0.0, 1.0) * 100.0);
    let mark = limit.filter(|l| (0.0..=1.0).contains(l)).map_or(String::new(), |l| {
        let x = n(l * 100.0);
        format!(r#"<line class="mark" x1="{x}" y1="0" x2="{x}" y2="8"/>"#)
    });
    format!(
        r#"<svg class="meter k-{}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"><rect class="track" width="100" height="8"/><rect class="level solid" width="{width}" height="8"/>{mark}</svg>"#,
        escape(kind)
    )
}

/// One part of a whole.
pub(crate) struct Segment<'a> {
    /// Colour: ok, crit, unknown …
    pub(crate) kind: &'a str,
    /// Its share, any unit.
    pub(crate) amount: f64,
}

/// Parts of a whole in their order; a part that exists is at least two hundredths wide, so that one
/// broken node among thousands is seen.
pub(crate) fn segments(parts: &[Segment<'_>], label: &str) -> String {
    const LEAST: f64 = 2.0;
    let total: f64 = parts.iter().map(|p| p.amount).sum();
    let mut out = format!(
        r#"<svg class="meter segments" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{}"><rect class="track" width="100" height="8"/>"#,
        escape(label)
    );
    let widths: Vec<f64> = parts
        .iter()
        .map(|p| if p.amount > 0.0 { (p.amount / total * 100.0).max(LEAST) } else { 0.0 })
        .collect();
    let scale = 100.0 / widths.iter().sum::<f64>().max(1.0);
    let mut x = 0.0;
    for (part, width) in parts.iter().zip(widths).filter(|(_, w)| *w > 0.0) {
        let width = width * scale;
        let hatch = if part.kind == "unknown" { r#"" fill="url(#hatch)"# } else { " solid" };
        out.push_str(&format!(
            r#"<rect class="level k-{}{hatch}" x="{}" width="{}" height="8"/>"#,
            escape(part.kind),
            n(x),
            n(width)
        ));
        x += width;
    }
    out.push_str("</svg>");
    out
}

/// One row of a waterfall on the scale 0..100: a bar from `to` up to `from`, lines where grades
/// begin, and a thread down to the next row at `to`.
pub(crate) fn fall(from: f64, to: f64, kind: &str, total: bool) -> String {
    let (low, high) = (to.min(from).clamp(0.0, 100.0), to.max(from).clamp(0.0, 100.0));
    let grid: String = [40.0, 60.0, 80.0, 90.0]
        .iter()
        .map(|x| format!(r#"<line class="grid" x1="{x}" y1="0" x2="{x}" y2="32"/>"#))
        .collect();
    let thread = if total {
        String::new()
    } else {
        let x = n(low);
        format!(r#"<line class="thread" x1="{x}" y1="23" x2="{x}" y2="32"/>"#)
    };
    let start = n(high);
    let before = if total && low <= 0.0 && from >= to {
        String::new()
    } else {
        format!(r#"<line class="thread" x1="{start}" y1="0" x2="{start}" y2="9"/>"#)
    };
    format!(
        r#"<svg class="fall k-{}" viewBox="0 0 100 32" preserveAspectRatio="none" aria-hidden="true">{grid}{before}{thread}<rect class="level solid" x="{}" y="9" width="{}" height="14"/></svg>"#,
        escape(kind),
        n(low),
        n((high - low).max(0.3))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broken_node_among_thousands_is_still_visible() {
        let svg = segments(
            &[Segment { kind: "ok", amount: 9_999.0 }, Segment { kind: "crit", amount: 1.0 }],
            "l",
        );
        assert!(svg.contains(r#"class="level k-crit solid" x="98.04" width="1.96""#), "{svg}");
    }

    #[test]
    fn nothing_at_all_draws_an_empty_track() {
        assert!(!segments(&[], "l").contains("level"));
        assert!(!segments(&[Segment { kind: "ok", amount: 0.0 }], "l").contains("level"));
    }

    #[test]
    fn a_meter_is_never_wider_than_its_track() {
        assert!(meter(1.7, "crit", Some(0.8)).contains(r#"class="level solid" width="100""#));
    }
}
