//! The one writer of samples.
//!
//! Invariant: whatever text comes in, each sample is one well-formed line; the page never holds more
//! series than its limit, and what was left out is counted.

use super::{Format, LABEL_MAX, Rendered, head};
use crate::catalog::Family;

/// Writes a page.
pub(super) struct Writer {
    out: Vec<u8>,
    format: Format,
    head: &'static [u8],
    name: &'static str,
    left: u32,
    series: u32,
    dropped_limit: u32,
    dropped_values: u32,
}

impl Writer {
    /// A page of at most `limit` series, with room for `bytes`.
    pub(super) fn new(format: Format, limit: u32, bytes: usize) -> Writer {
        Writer {
            out: Vec::with_capacity(bytes),
            format,
            head: &[],
            name: "",
            left: limit,
            series: 0,
            dropped_limit: 0,
            dropped_values: 0,
        }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Begins a family; its head is written with its first sample, and not at all without one.
    pub(super) fn family(&mut self, family: Family) {
        self.begin(head::of_family(family, self.format), family.metric().name);
    }

    /// Begins a family by its rendered head.
    pub(super) fn begin(&mut self, head: &'static [u8], name: &'static str) {
        self.head = head;
        self.name = name;
    }

    /// Counts series a list left out.
    pub(super) fn count_dropped_values(&mut self, n: u32) {
        self.dropped_values += n;
    }

    /// A sample without labels.
    pub(super) fn value(&mut self, value: f64) {
        self.sample(&[], value);
    }

    /// A sample of the present family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.sample_with(&[], labels, value);
    }

    /// A sample whose first labels are rendered already (by [`render_labels`]).
    pub(super) fn sample_with(&mut self, rendered: &[u8], labels: &[(&str, &str)], value: f64) {
        if !self.open_line() {
            return;
        }
        self.out.extend_from_slice(self.name.as_bytes());
        write_labels(&mut self.out, rendered, labels);
        self.close_line(value);
    }

    /// A sample under another name than the family's, with a head of its own (written by the caller
    /// through `raw_head`), for names that come from the reply.
    pub(super) fn named(&mut self, name: &str, raw_head: &[u8], value: f64) {
        self.head = &[];
        if !self.open_line() {
            return;
        }
        self.out.extend_from_slice(raw_head);
        self.out.extend_from_slice(name.as_bytes());
        self.close_line(value);
    }

    /// A sample of a summary or a histogram; `suffix` is `_bucket`, `_sum`, `_count` or empty.
    pub(super) fn part(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) {
        if self.open_line() {
            self.out.extend_from_slice(self.name.as_bytes());
            self.out.extend_from_slice(suffix.as_bytes());
            write_labels(&mut self.out, &[], labels);
            self.close_line(value);
        }
    }

    /// Sum and count of a summary of one observation.
    pub(super) fn summary_of_one(&mut self, value: f64) {
        for (suffix, value) in [("_sum", value), ("_count", 1.0)] {
            if self.open_line() {
                self.out.extend_from_slice(self.name.as_bytes());
                self.out.extend_from_slice(suffix.as_bytes());
                self.close_line(value);
            }
        }
    }

    fn open_line(&mut self) -> bool {
        if self.left == 0 {
            self.dropped_limit += 1;
            return false;
        }
        self.left -= 1;
        self.series += 1;
        self.out.extend_from_slice(self.head);
        self.head = &[];
        true
    }

    fn close_line(&mut self, value: f64) {
        self.out.push(b' ');
        write_number(&mut self.out, value);
        self.out.push(b'\n');
    }

    /// The page.
    pub(super) fn finish(mut self) -> Rendered {
        if self.format == Format::OpenMetrics {
            self.out.extend_from_slice(b"# EOF\n");
        }
        Rendered {
            body: self.out,
            series: self.series,
            dropped_limit: self.dropped_limit,
            dropped_values: self.dropped_values,
        }
    }
}

/// `a="x",b="y"` without braces, to be shared by many samples. Empty values are left out: to
/// Prometheus they are the same as none.
pub(super) fn render_labels(labels: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
        if !out.is_empty() {
            out.push(b',');
        }
        write_label(&mut out, name, value);
    }
    out
}

fn write_labels(out: &mut Vec<u8>, rendered: &[u8], labels: &[(&str, &str)]) {
    if rendered.is_empty() && labels.is_empty() {
        return;
    }
    out.push(b'{');
    out.extend_from_slice(rendered);
    let mut first = rendered.is_empty();
    for (name, value) in labels {
        if !first {
            out.push(b',');
        }
        first = false;
        write_label(out, name, value);
    }
    out.push(b'}');
}

fn write_label(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    let cut = (value.len() > LABEL_MAX).then(|| link::reply::cut(value.as_bytes()));
    let mut rest = cut.as_deref().unwrap_or(value).as_bytes();
    while let Some(at) = memchr::memchr3(b'\\', b'"', b'\n', rest) {
        out.extend_from_slice(&rest[..at]);
        out.push(b'\\');
        out.push(if rest[at] == b'\n' { b'n' } else { rest[at] });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn write_number(out: &mut Vec<u8>, value: f64) {
    /// Beyond this a whole number is no longer exact as f64, and needs the exponent form.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < WHOLE_MAX {
        out.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else if value.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
    } else if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(value: f64) -> String {
        let mut out = Vec::new();
        write_number(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    /// What a strict reader makes of one label value.
    fn unescape(text: &str) -> Option<(String, &str)> {
        let mut out = String::new();
        let mut chars = text.char_indices();
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => return Some((out, &text[i + 1..])),
                '\n' => return None,
                '\\' => out.push(match chars.next()?.1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    _ => return None,
                }),
                c => out.push(c),
            }
        }
        None
    }

    #[test]
    fn numbers_are_written_so_that_prometheus_reads_the_same() {
        for (value, text) in [
            (0.0, "0"),
            (-1.0, "-1"),
            (1_795_371_928.0, "1795371928"),
            (0.05, "0.05"),
            (1e-6, "1e-6"),
            (1e300, "1e300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (9_007_199_254_740_991.0, "9007199254740991"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_full_page_counts_what_it_leaves_out() {
        let mut w = Writer::new(Format::Text, 1, 0);
        w.family(Family::Up);
        w.value(1.0);
        w.value(1.0);
        let page = w.finish();
        assert_eq!((page.series, page.dropped_limit), (1, 1));
        assert_eq!(page.body.iter().filter(|b| **b == b'\n').count(), 3);
    }

    proptest! {
        #[test]
        fn any_label_value_round_trips_through_a_strict_reader(value in "\\PC{0,80}|[\\x00-\\x7f]{0,80}") {
            let mut w = Writer::new(Format::Text, 10, 0);
            w.family(Family::ErrorsTotal);
            w.sample(&[("err", &value)], 1.0);
            let body = String::from_utf8(w.finish().body).unwrap();
            let sample = body.split_once("counter\nredis_errors_total{err=\"").unwrap().1;
            let (read, rest) = unescape(sample).unwrap();
            prop_assert_eq!(read, value);
            prop_assert_eq!(rest, "} 1\n");
        }

        #[test]
        fn any_number_round_trips(value in any::<f64>()) {
            let read: f64 = number(value).parse().unwrap();
            prop_assert!(read == value || (read.is_nan() && value.is_nan()));
        }

        #[test]
        fn long_values_are_cut_at_a_character(value in "[é€a\\\\]{200,400}") {
            let mut out = Vec::new();
            write_label(&mut out, "x", &value);
            let text = String::from_utf8(out).unwrap();
            let (read, rest) = unescape(text.strip_prefix("x=\"").unwrap()).unwrap();
            let (kept, hash) = read.rsplit_once('~').unwrap();
            prop_assert!(read.len() <= LABEL_MAX && rest.is_empty());
            prop_assert!(value.starts_with(kept) && hash.len() == 16);
        }
    }
}
