//! The line of the file a fault speaks of.
//!
//! Invariant: a fault begins with the key it is about (`ops.provider[1].dir = …`), so its line is
//! looked up and never guessed; a key the file does not set has the line of the section it belongs
//! to, or none.

use toml::de::{DeTable, DeValue};

use super::source::line_of;

/// Line of the key `what` begins with, from 1; none when nothing of it stands in `text`.
pub(super) fn line(text: &str, what: &str) -> Option<usize> {
    let key = what.split([' ', ':', '=']).next()?;
    let whole = DeTable::parse(text).ok()?;
    let mut here = Some(whole.get_ref());
    let mut found = None;
    for part in key.split('.') {
        let (name, index) = indexed(part);
        let Some((key, value)) = here.and_then(|table| table.get_key_value(name)) else { break };
        found = Some(key.span().start);
        let item = match (value.get_ref(), index) {
            (DeValue::Array(items), Some(n)) => items.get(n),
            _ => Some(value),
        };
        here = match item.map(|i| (i.span().start, i.get_ref())) {
            Some((start, DeValue::Table(table))) => {
                found = index.map_or(found, |_| Some(start));
                Some(table)
            }
            _ => None,
        };
    }
    found.map(|start| line_of(text, start))
}

/// `provider[1]` as name and number.
fn indexed(part: &str) -> (&str, Option<usize>) {
    let Some((name, rest)) = part.split_once('[') else { return (part, None) };
    (name, rest.trim_end_matches(']').parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_every_way_it_may_be_written() {
        let text = "[link]\ndeadline_ms = 1\n[http.tls]\ncert_file = \"a\"\n\n\
                    [[ops.provider]]\nname = \"a\"\n[[ops.provider]]\nname = \"b\"\n\
                    dir = \"x\"\n[log]\nlevel = \"x\"\nformat = \"text\"\n";
        for (what, wanted) in [
            ("link.deadline_ms = 1: allowed are", Some(2)),
            ("link.connects_per_s_max = 3: of the section", Some(1)),
            ("http.tls.cert_file = \"a\": no such file", Some(4)),
            ("ops.provider[1].dir = \"x\": expected", Some(10)),
            ("ops.provider[0].dir: of its table", Some(6)),
            ("log.level = \"x\"", Some(12)),
            ("portal.language = \"x\"", None),
            ("store", None),
        ] {
            assert_eq!(line(text, what), wanted, "{what}");
        }
        assert_eq!(line("log = { level = \"x\" }", "log.level = \"x\""), Some(1));
        assert_eq!(line("store.url = 3\nlog.level = \"x\"\n", "log.level = \"x\""), Some(2));
    }
}
