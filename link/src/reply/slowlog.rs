//! SLOWLOG GET.
//!
//! Invariant: arguments are the clients' data: cut, kept for people and never used for anything else
//! than naming the command.

use model::detail::SlowEntry;
use redis::Value;

use super::{TEXT_MAX, bytes, cut, items, number};

/// Head of one slow-log entry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// Grows by one with each slow command since start.
    pub id: f64,
    /// Unix seconds.
    pub at_s: f64,
    /// Duration, µs.
    pub us: f64,
}

/// The entries of a reply, newest first as Redis gives them; none when it is not one.
pub fn read(value: &Value) -> Option<Vec<Entry>> {
    items(value)?.iter().map(entry).collect()
}

fn entry(value: &Value) -> Option<Entry> {
    let parts = items(value)?;
    Some(Entry {
        id: number(parts.first()?)?,
        at_s: number(parts.get(1)?)?,
        us: number(parts.get(2)?)?,
    })
}

/// The whole entries of a reply, with the shape of each one's command, newest first; none when it is
/// not one.
pub fn entries(value: &Value) -> Option<Vec<(SlowEntry, String)>> {
    items(value)?.iter().map(whole).collect()
}

fn whole(value: &Value) -> Option<(SlowEntry, String)> {
    let Entry { id, at_s, us } = entry(value)?;
    let parts = items(value)?;
    let words: Vec<&[u8]> = items(parts.get(3)?)?.iter().filter_map(bytes).collect();
    let said = |at: usize| parts.get(at).and_then(bytes).map(cut).unwrap_or_default().into();
    let entry = SlowEntry { id, at_s, us, args: joined(&words), client: said(4), name: said(5) };
    Some((entry, shape(&words)))
}

/// Words with spaces between, at most 256 bytes; what is not text is shown as such.
fn joined(words: &[&[u8]]) -> Box<str> {
    let mut out: Vec<u8> = Vec::with_capacity(64);
    for word in words {
        if out.len() >= TEXT_MAX {
            break;
        }
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(&word[..word.len().min(TEXT_MAX)]);
    }
    cut(&out).into()
}

/// Commands whose first argument is a part of their name.
const CONTAINERS: [&str; 15] = [
    "acl", "client", "cluster", "command", "config", "debug", "function", "latency", "memory",
    "module", "object", "pubsub", "script", "slowlog", "xinfo",
];
/// The shape of commands whose name no server can have.
const UNNAMED: &str = "unknown";

/// The command as INFO commandstats writes it: lower case, subcommands as `config|get`. No argument
/// that a client is free to choose is a part of it.
fn shape(words: &[&[u8]]) -> String {
    let Some(command) = words.first().and_then(|w| name(w)) else { return UNNAMED.into() };
    if !CONTAINERS.contains(&command.as_str()) {
        return command;
    }
    match words.get(1).and_then(|w| name(w)) {
        Some(sub) => format!("{command}|{sub}"),
        None => command,
    }
}

fn name(word: &[u8]) -> Option<String> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let fine = (1..=32).contains(&word.len()) && word.iter().all(plain);
    fine.then(|| cut(word).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(all: &[&str]) -> Value {
        Value::Array(all.iter().map(|w| Value::BulkString(w.as_bytes().to_vec())).collect())
    }

    fn reply(args: &[&str], more: &[&str]) -> Value {
        let mut one = vec![Value::Int(7), Value::Int(1_700_000_000), Value::Int(1500), words(args)];
        one.extend(more.iter().map(|w| Value::BulkString(w.as_bytes().to_vec())));
        Value::Array(vec![Value::Array(one)])
    }

    #[test]
    fn an_entry_is_read_with_and_without_its_client() {
        let (entry, shape) =
            entries(&reply(&["HGETALL", "user:1"], &["1.2.3.4:5", "web"])).unwrap().remove(0);
        assert_eq!((entry.id, entry.us, &*entry.args), (7.0, 1500.0, "HGETALL user:1"));
        assert_eq!((&*entry.client, &*entry.name, shape.as_str()), ("1.2.3.4:5", "web", "hgetall"));
        let (old, _) = entries(&reply(&["GET", "a"], &[])).unwrap().remove(0);
        assert_eq!(&*old.client, "");
        assert_eq!(entries(&Value::Nil), None);
    }

    #[test]
    fn a_shape_names_the_command_and_nothing_a_client_may_choose() {
        for (args, shape) in [
            (&["CONFIG", "GET", "*"][..], "config|get"),
            (&["Set", "secret", "x"], "set"),
            (&["OBJECT", "a b"], "object"),
            (&["FT.SEARCH", "idx"], "ft.search"),
            (&["a\nb"], UNNAMED),
            (&[], UNNAMED),
        ] {
            assert_eq!(entries(&reply(args, &[])).unwrap()[0].1, shape, "{args:?}");
        }
    }

    #[test]
    fn long_arguments_are_cut() {
        let long = "é".repeat(5000);
        let (entry, _) = entries(&reply(&["SET", &long, &long], &[])).unwrap().remove(0);
        assert!(entry.args.len() <= TEXT_MAX && entry.args.starts_with("SET éé"));
    }
}
