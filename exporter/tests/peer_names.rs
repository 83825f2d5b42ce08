//! The catalogue beside the list of what redis_exporter shows (`exporter/redis_exporter.tsv`).
//!
//! Whoever edits the one without the other is told here: a name, type or label of redis_exporter that
//! is not in the catalogue, or a `redis_*` of ours that it does not have.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

use std::collections::{BTreeMap, BTreeSet};

use exporter::catalog::{Metric, Page, metrics, shown_for};

struct Theirs {
    name: String,
    kind: String,
    labels: BTreeSet<String>,
    shown: String,
}

impl Theirs {
    fn is_default(&self) -> bool {
        self.shown.starts_with("default")
    }

    /// The word that shows it here; none: nothing does.
    fn family(&self) -> Option<&'static str> {
        const FLAGS: [(&str, &str); 7] = [
            ("--include-config-metrics", "config"),
            ("--include-modules-metrics", "modules"),
            ("--export-client-list", "client_list"),
            ("--include-sentinel-peer-info", "sentinel_peers"),
            ("--check-keys", "items"),
            ("--check-streams", "items"),
            ("--count-keys", "items"),
        ];
        // Ids and stored texts are no numbers, and no item shows what a key holds.
        const NO_NUMBER: [&str; 6] = [
            "redis_key_value_as_string",
            "redis_stream_first_entry_id",
            "redis_stream_group_last_delivered_id",
            "redis_stream_last_entry_id",
            "redis_stream_last_generated_id",
            "redis_stream_max_deleted_entry_id",
        ];
        let by_flag = FLAGS.into_iter().find(|(flag, _)| self.shown.starts_with(flag));
        by_flag.map(|(_, word)| word).filter(|_| !NO_NUMBER.contains(&self.name.as_str()))
    }
}

/// By name. `[port]` and the like are labels that not every server or flag brings.
fn theirs() -> BTreeMap<String, Theirs> {
    let text = include_str!("../redis_exporter.tsv");
    let rows = text.lines().filter(|l| !l.starts_with('#')).skip(1);
    let row = |line: &str| {
        let [name, kind, labels, _source, shown] =
            line.split('\t').collect::<Vec<_>>().try_into().expect("five columns");
        let labels = labels.split(' ').filter(|l| !l.is_empty() && *l != "[port]");
        let labels = labels.map(|l| l.trim_matches(['[', ']']).to_string()).collect();
        let (kind, shown) = (kind.into(), shown.into());
        let row = Theirs { name: name.into(), kind, labels, shown };
        (name.replace("_{sent,received}", "_<sent or received>"), row)
    };
    rows.map(row).filter(|(name, _)| name.starts_with("redis_")).collect()
}

fn ours() -> BTreeMap<&'static str, &'static Metric> {
    let all = metrics().iter().filter(|m| m.page == Page::Scrape);
    all.filter(|m| m.name.starts_with("redis_")).map(|m| (m.name, m)).collect()
}

#[test]
fn every_series_of_redis_exporter_s_default_page_is_in_the_catalogue_with_its_type_and_labels() {
    let (theirs, ours) = (theirs(), ours());
    assert!(theirs.values().filter(|t| t.is_default()).count() > 200);
    for (name, theirs) in theirs.iter().filter(|(_, t)| t.is_default() || t.family().is_some()) {
        let own =
            ours.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        assert_eq!(own.kind.as_str(), theirs.kind, "type of {name}");
        let labels: BTreeSet<String> = own.labels.iter().map(|l| l.to_string()).collect();
        assert_eq!(labels, theirs.labels, "labels of {name}");
        assert_eq!(shown_for(name), theirs.family(), "what shows {name}");
    }
}

#[test]
fn what_redis_exporter_does_not_have_bears_a_name_of_ours() {
    let theirs = theirs();
    // Shown by its /metrics page or by a flag; here always, for they cost nothing more.
    const ALWAYS: [&str; 3] = [
        "redis_exporter_build_info",
        "redis_exporter_last_scrape_ping_time_seconds",
        "redis_total_system_memory_bytes",
    ];
    for name in ours().keys() {
        let row = theirs.get(*name).unwrap_or_else(|| panic!("{name} is none of redis_exporter's"));
        let shown = row.is_default() || row.family().is_some() || ALWAYS.contains(name);
        assert!(shown, "{name} is shown by {} only", row.shown);
    }
}

/// What is left to custom items, or is not this program's: the list is complete, so that nothing is
/// forgotten by accident.
#[test]
fn what_is_left_out_is_left_out_on_purpose() {
    const LEFT_OUT: [&str; 11] = [
        "--check-key-groups",
        "--check-keys",
        "--check-streams",
        "--count-keys",
        "--include-rdb-file-size-metric",
        "--include-search-indexes-metrics",
        "--include-system-metrics",
        "--is-tile38",
        "--ping-on-connect",
        "--script",
        "/metrics only",
    ];
    for (name, row) in theirs() {
        let meant = LEFT_OUT.iter().any(|flag| row.shown.starts_with(flag));
        assert!(row.is_default() || row.family().is_some() || meant, "{name}: {}", row.shown);
    }
}
