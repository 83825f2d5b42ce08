//! Which custom items redis_exporter would show, and under which names: its checks of keys and streams
//! (`--check-keys`, `--count-keys`, `--check-streams`).
//!
//! Invariant: decided by the definition alone; an item that says something else than a check of theirs
//! has no name of theirs. Refuses to know values.

use std::collections::BTreeMap;

use model::item::{ItemSource, PeerSeries};

/// Database of every item.
const DB: (&str, &str) = ("db", "db0");

/// Parts of XINFO STREAM, and their names.
const STREAM: [(&str, &str); 5] = [
    ("length", "redis_stream_length"),
    ("radix-tree-keys", "redis_stream_radix_tree_keys"),
    ("radix-tree-nodes", "redis_stream_radix_tree_nodes"),
    ("groups", "redis_stream_groups"),
    ("entries-added", "redis_stream_entries_added_total"),
];
/// Parts of an element of XINFO GROUPS.
const GROUP: [(&str, &str); 4] = [
    ("*.consumers", "redis_stream_group_consumers"),
    ("*.pending", "redis_stream_group_messages_pending"),
    ("*.lag", "redis_stream_group_lag"),
    ("*.entries-read", "redis_stream_group_entries_read"),
];
/// Parts of an element of XINFO CONSUMERS, and what theirs is of ours.
const CONSUMER: [(&str, &str, f64); 2] = [
    ("*.pending", "redis_stream_group_consumer_messages_pending", 1.0),
    ("*.idle", "redis_stream_group_consumer_idle_seconds", 1e-3),
];

/// The name of theirs, when they show the same.
pub(super) fn series(source: &ItemSource, labels: &BTreeMap<String, String>) -> Option<PeerSeries> {
    let (args, path) = match source {
        ItemSource::Command { args, path, equals: None } => (args, path.as_str()),
        ItemSource::Scan { pattern, .. } => {
            return Some(plain("redis_keys_count", &[("key", pattern)]));
        }
        _ => return None,
    };
    let words: Vec<String> = args.iter().map(|a| a.to_ascii_uppercase()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match (words.as_slice(), args.as_slice()) {
        (["LLEN" | "SCARD" | "ZCARD" | "HLEN" | "XLEN" | "STRLEN", _], [_, key]) => {
            path.is_empty().then(|| plain("redis_key_size", &[("key", key)]))
        }
        (["GET", _], [_, key]) => {
            path.is_empty().then(|| plain("redis_key_value", &[("key", key)]))
        }
        (["MEMORY", "USAGE", _], [_, _, key]) => {
            path.is_empty().then(|| plain("redis_key_memory_usage_bytes", &[("key", key)]))
        }
        (["XINFO", "STREAM", _], [_, _, stream]) => {
            let (_, name) = STREAM.iter().find(|(part, _)| *part == path)?;
            Some(plain(name, &[("stream", stream)]))
        }
        (["XINFO", "GROUPS", _], [_, _, stream]) => {
            let (_, name) = GROUP.iter().find(|(part, _)| *part == path)?;
            named(plain(name, &[("stream", stream)]), "group", labels)
        }
        (["XINFO", "CONSUMERS", _, _], [_, _, stream, group]) => {
            let (_, name, scale) = CONSUMER.iter().find(|(part, ..)| *part == path)?;
            let made = plain(name, &[("stream", stream), ("group", group)]);
            named(PeerSeries { scale: *scale, ..made }, "consumer", labels)
        }
        _ => None,
    }
}

fn plain(metric: &'static str, of: &[(&'static str, &String)]) -> PeerSeries {
    let mut labels = vec![(DB.0, DB.1.to_string())];
    labels.extend(of.iter().map(|(name, value)| (*name, value.to_string())));
    PeerSeries { metric, labels, taken: None, scale: 1.0 }
}

/// With the label of theirs that our item takes from `name` of each element.
fn named(
    made: PeerSeries,
    theirs: &'static str,
    labels: &BTreeMap<String, String>,
) -> Option<PeerSeries> {
    let (ours, _) = labels.iter().find(|(_, part)| *part == "name")?;
    Some(PeerSeries { taken: Some((theirs, ours.clone())), ..made })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str, path: &str, label: &str) -> Option<PeerSeries> {
        let args = line.split(' ').map(String::from).collect();
        let labels = [(label.to_string(), "name".to_string())];
        let labels = labels.into_iter().filter(|(name, _)| !name.is_empty()).collect();
        series(&ItemSource::Command { args, path: path.into(), equals: None }, &labels)
    }

    #[test]
    fn checks_of_theirs_are_known_by_what_they_ask() {
        for (line, path, label, metric) in [
            ("LLEN q", "", "", "redis_key_size"),
            ("get q", "", "", "redis_key_value"),
            ("MEMORY USAGE q", "", "", "redis_key_memory_usage_bytes"),
            ("XINFO STREAM s", "length", "", "redis_stream_length"),
            ("XINFO GROUPS s", "*.lag", "g", "redis_stream_group_lag"),
            ("XINFO CONSUMERS s g", "*.idle", "c", "redis_stream_group_consumer_idle_seconds"),
        ] {
            assert_eq!(of(line, path, label).map(|p| p.metric), Some(metric), "{line} {path}");
        }
        for (line, path, label) in [
            ("TTL q", "", ""),
            ("XINFO STREAM s", "last-entry", ""),
            ("XINFO GROUPS s", "#", ""),
            ("XINFO GROUPS s", "*.lag", ""),
            ("DBSIZE", "", ""),
        ] {
            assert_eq!(of(line, path, label), None, "{line} {path}");
        }
    }

    #[test]
    fn labels_are_theirs_and_a_key_stays_as_it_is_written() {
        let idle = of("XINFO CONSUMERS Orders Bill", "*.idle", "who").unwrap();
        let labels = [("db", "db0"), ("stream", "Orders"), ("group", "Bill")];
        assert_eq!(idle.labels, labels.map(|(n, v)| (n, v.to_string())));
        assert_eq!((idle.taken, idle.scale), (Some(("consumer", "who".to_string())), 1e-3));
    }
}
