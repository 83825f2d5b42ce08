//! Charts as SVG text: pure functions from numbers to markup.
//!
//! Invariant: the same input gives the same bytes; coordinates have at most two decimals; colour
//! comes from classes, never from `style`; every text that came from outside is escaped; a gap in
//! the data is drawn as a gap.

mod icon;
mod meter;
mod ring;
mod strip;
mod topology;
mod trend;

pub(crate) use icon::icon;
pub(crate) use meter::{Segment, fall, meter, segments};
pub(crate) use ring::{Ring, ring};
pub(crate) use strip::{Span, strip};
pub(crate) use topology::topology;
pub(crate) use trend::{Trend, trend};

/// Escapes text for element content and for attributes in double quotes.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#x27;"),
            _ => out.push(c),
        }
    }
    out
}

/// A coordinate with at most two decimals and no trailing zeros.
pub(crate) fn n(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_have_two_decimals_at_most() {
        assert_eq!([n(1.0), n(0.333), n(-0.001), n(12.5)].join(" "), "1 0.33 0 12.5");
    }

    #[test]
    fn text_cannot_leave_its_element_or_attribute() {
        assert_eq!(escape("<i a=\"b\">'&"), "&lt;i a=&quot;b&quot;&gt;&#x27;&amp;");
    }
}
