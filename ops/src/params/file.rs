//! What a node's configuration file says of its parameters.
//!
//! Invariant: only parameters of the table leave here, so no password does.

use std::collections::BTreeMap;

use super::{Kind, NODE, Param, SENTINEL};
use crate::words;

/// Parameters of a file by name, in normal form.
pub type FileValues = BTreeMap<&'static str, String>;

/// Reads a redis.conf. A parameter that is not in it has no entry: its default is in force at the next
/// start. A line that cannot be split is left out, as the server would refuse to start with it.
pub fn read(text: &str) -> FileValues {
    let mut raw: BTreeMap<&'static str, String> = BTreeMap::new();
    for words in text.lines().filter(|l| !l.trim_start().starts_with('#')).filter_map(line) {
        let Some((name, args)) = words.split_first() else { continue };
        let Some(param) = data_param(name) else { continue };
        let value = args.join(" ");
        let before = raw.entry(param.name).or_default();
        // These have a line for each part; of all others the last line counts.
        let adds = matches!(param.kind, Kind::Save | Kind::OutputBuffer) && !value.is_empty();
        match adds && !before.is_empty() {
            true => before.push_str(&format!(" {value}")),
            false => *before = value,
        }
    }
    normal(raw)
}

/// Reads what a sentinel.conf says of the master of that name.
pub fn read_sentinel(text: &str, master: &str) -> FileValues {
    let mut raw = BTreeMap::new();
    for words in text.lines().filter_map(line) {
        let [keyword, option, name, value, ..] = words.as_slice() else { continue };
        let of_ours = keyword.eq_ignore_ascii_case("sentinel") && name == master;
        let param = SENTINEL.iter().find(|p| p.name.eq_ignore_ascii_case(option));
        if let (true, Some(param)) = (of_ours, param) {
            raw.insert(param.name, value.clone());
        }
    }
    normal(raw)
}

fn data_param(name: &str) -> Option<&'static Param> {
    let name = name.to_ascii_lowercase();
    let named = |p: &&Param| p.name == name || p.aliases.contains(&name.as_str());
    NODE.iter().filter(|p| !matches!(p.rule, super::Rule::Never(_))).find(named)
}

fn line(line: &str) -> Option<Vec<String>> {
    let words = words::split(line).ok()?;
    Some(words.into_iter().map(|w| String::from_utf8_lossy(&w).into_owned()).collect())
}

fn normal(raw: BTreeMap<&'static str, String>) -> FileValues {
    raw.into_iter()
        .map(|(name, value)| {
            let param = Param::find(name).expect("a name of the table");
            // A part is completed by the default: what the server starts with.
            let whole = param.normal(&value, if value.is_empty() { "" } else { param_base(param) });
            (name, whole.unwrap_or(value))
        })
        .collect()
}

fn param_base(param: &Param) -> &'static str {
    if param.kind == Kind::OutputBuffer { param.default } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewritten_file_is_read_as_the_server_reads_it() {
        let text = "# maxmemory 1gb\nmaxmemory 100mb\nsave 3600 1\nsave 300 100\nrequirepass x\n\
                    client-output-buffer-limit replica 512mb 128mb 60\nslave-lazy-flush yes\n\
                    user default on #abc ~* +@all\nmaxmemory 200mb\nbroken \"x\n";
        let read = read(text);
        assert_eq!(read["maxmemory"], "209715200");
        assert_eq!(read["save"], "3600 1 300 100");
        assert_eq!(read["replica-lazy-flush"], "yes");
        assert_eq!(
            read["client-output-buffer-limit"],
            "normal 0 0 0 slave 536870912 134217728 60 pubsub 33554432 8388608 60"
        );
        assert_eq!(read.len(), 4, "no password, nothing unknown: {read:?}");
    }

    #[test]
    fn no_snapshots_in_a_file_is_a_value() {
        assert_eq!(read("save \"\"\n")["save"], "");
    }

    #[test]
    fn a_sentinel_file_is_read_for_one_master() {
        let text = "sentinel monitor cart 10.0.0.1 6379 2\n\
                    sentinel down-after-milliseconds cart 5000\n\
                    sentinel failover-timeout other 20000\nsentinel auth-pass cart x\n";
        let read = read_sentinel(text, "cart");
        assert_eq!(
            read.into_iter().collect::<Vec<_>>(),
            [("down-after-milliseconds", "5000".into())]
        );
    }
}
