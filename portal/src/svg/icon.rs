//! The icons: six status shapes and the few symbols of the frame, drawn on a 16 × 16 grid.
//!
//! Invariant: status shapes differ in outline, not only in colour, so they survive a black and
//! white print and a colour-blind eye.

/// Filled shapes (colour of the text around them) and stroked ones.
const SHAPES: &[(&str, &str)] = &[
    ("ok", r#"<circle class="fill" cx="8" cy="8" r="5.5"/>"#),
    ("warn", r#"<path class="fill" d="M8 1.8 15 14H1z"/>"#),
    ("crit", r#"<path class="bold" d="M3.5 3.500l9 9m0-9-9 9"/>"#),
    ("info", r#"<path class="fill" d="M8 1.5 14.5 8 8 14.5 1.5 8z"/>"#),
    ("unknown", r#"<circle class="dash" cx="8" cy="8" r="5.5"/>"#),
    ("maint", r#"<path class="bold" d="M5.5 3v10M10.5 3v10"/>"#),
    ("run", r#"<path class="fill" d="M4.5 2.5 13 8l-8.5 5.500z"/>"#),
    ("overview", r#"<path d="M2 11.500a6 6 0 1 1 12 0M8 11.500l2.8-3.600M2 14h12"/>"#),
    ("services", r#"<path d="m8 2 6 2.700L8 7.4 2 4.700zM2 8l6 2.700L14 8M2 11.3 8 14l6-2.7"/>"#),
    (
        "alerts",
        r#"<path d="M3 11.500c1.2-1 1.5-2.3 1.5-4a3.5 3.5 0 0 1 7 0c0 1.7.3 3 1.5 4zM6.7 13.800h2.6"/>"#,
    ),
    (
        "incidents",
        r#"<path d="M4 2v12M4 5h4.500A3.5 3.5 0 0 1 12 8.500V14M9.8 11.8 12 14l2.2-2.2"/>"#,
    ),
    ("operations", r#"<path d="M2 4h7M2 8h5M2 12h7M11 6l3.5 2.500L11 11z"/>"#),
    ("items", r#"<path d="M2 13V9M6 13V5M10 13V8M14 13V3M1.500 14.500h13"/>"#),
    (
        "score-policies",
        r#"<path d="M2 13.500h12M2 13.500c3 0 4-9 7-9 2.500 0 3 2 5 2M9 2v5M6.5 13.500V9"/>"#,
    ),
    ("docs", r#"<path d="M3 2.500h7.500L13 5v8.500H3zM5.5 6.500h5M5.5 9h5M5.5 11.300h3"/>"#),
    ("search", r#"<path d="M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.7 10.7 14 14"/>"#),
    ("clock", r#"<path d="M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM8 4.500V8l2.3 1.5"/>"#),
    (
        "user",
        r#"<path d="M8 8a2.8 2.8 0 1 0 0-5.600A2.8 2.8 0 0 0 8 8zM2.8 14c.6-2.7 2.6-4 5.2-4s4.6 1.3 5.2 4"/>"#,
    ),
    ("out", r#"<path d="M6 2.500H3v11h3M7 8h6.500M11 5.5 13.5 8 11 10.5"/>"#),
    ("arrow", r#"<path d="M3 8h10M9 4l4 4-4 4"/>"#),
    ("cli", r#"<path d="m2.5 4.5 3.5 3.5-3.5 3.500M8 12h5.5"/>"#),
    ("lock", r#"<path d="M3.5 7.500h9v6h-9zM5.5 7.500V5a2.5 2.5 0 0 1 5 0v2.5"/>"#),
    ("up", r#"<path d="M8 13V3.500M4 7.500l4-4 4 4"/>"#),
    ("down", r#"<path d="M8 3v9.500M4 8.500l4 4 4-4"/>"#),
    ("flag", r#"<path d="M3.5 14V2.500M3.5 3h8l-1.7 2.700L11.5 8.500h-8"/>"#),
];

/// The icon `name`, hidden from screen readers: a word always stands beside it. Empty for a name
/// that does not exist.
pub(crate) fn icon(name: &str) -> String {
    SHAPES
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(n, body)| {
            format!(r#"<svg class="i i-{n}" viewBox="0 0 16 16" aria-hidden="true">{body}</svg>"#)
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_own_shape() {
        let shapes: std::collections::BTreeSet<String> =
            ["ok", "warn", "crit", "info", "unknown", "maint"].map(icon).into();
        assert_eq!(shapes.len(), 6);
        assert!(shapes.iter().all(|s| !s.is_empty()));
        assert_eq!(icon("<script>"), "");
    }
}
