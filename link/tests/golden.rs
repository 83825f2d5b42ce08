//! The INFO parser against replies of real servers, and against damaged ones.
//!
//! Goldens are raw replies of Redis 7.0, Redis 8.0 and Valkey 8.1 to
//! `INFO default commandstats errorstats` (and CLUSTER INFO, CLUSTER NODES); paths and the kernel's
//! name in them are replaced.

use std::collections::BTreeMap;

use link::reply::{cluster, info};
use model::field::Field;
use model::reading::{Facts, Role};
use proptest::prelude::*;

const ENGINES: [&str; 3] = ["redis-7.0", "redis-8.0", "valkey-8.1"];

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR")))
        .expect("golden files are committed")
}

fn parse(raw: &[u8]) -> (Facts, Option<Role>) {
    let mut facts = Facts::default();
    let role = info::read(raw, &mut facts);
    (facts, role)
}

/// Every `name:value` line, whatever its section.
fn lines(raw: &[u8]) -> BTreeMap<String, String> {
    String::from_utf8_lossy(raw)
        .lines()
        .filter_map(|l| l.trim_end().split_once(':').map(|(n, v)| (n.to_string(), v.to_string())))
        .collect()
}

#[test]
fn a_real_reply_never_contradicts_itself_and_every_known_field_of_it_is_read() {
    for engine in ENGINES {
        for kind in ["master", "replica", "cluster", "sentinel"] {
            let raw = golden(&format!("{engine}-{kind}.info"));
            let (facts, _) = parse(&raw);
            assert_eq!(facts.conflicts, 0, "{engine} {kind}");
            let lines = lines(&raw);
            for field in Field::all().iter().filter(|f| f.info().section != "cluster_info") {
                let said = lines.get(field.info().name);
                let read = facts.values.get(*field);
                assert_eq!(said.is_some(), read.is_some(), "{engine} {kind} {field:?} {said:?}");
            }
            assert!(!facts.text.version.is_empty() && !facts.text.run_id.is_empty());
        }
    }
}

#[test]
fn values_are_those_of_the_reply_in_the_unit_of_the_series() {
    let raw = golden("redis-7.0-master.info");
    let (facts, role) = parse(&raw);
    let lines = lines(&raw);
    let number = |name: &str| lines[name].parse::<f64>().unwrap();
    assert_eq!(role, Some(Role::Master));
    assert_eq!(facts.values.get(Field::UsedMemory), Some(number("used_memory")));
    let fork = facts.values.get(Field::LatestForkUsec).unwrap();
    assert!((fork - number("latest_fork_usec") / 1e6).abs() < 1e-12);
    assert_eq!(facts.values.get(Field::RdbLastBgsaveStatus), Some(1.0));
    assert_eq!(facts.replicas.len(), 1);
    assert_eq!((facts.replicas[0].state.as_str(), facts.keyspace[0].keys), ("online", 1.0));
    let set = facts.commands.iter().find(|c| c.cmd == "set").unwrap();
    assert_eq!((set.calls, set.rejected), (1.0, Some(0.0)));
    assert!(facts.errors.iter().any(|(name, _)| name == "WRONGTYPE"));
}

#[test]
fn a_replica_names_its_master_and_valkey_its_own_version() {
    for engine in ENGINES {
        let (facts, role) = parse(&golden(&format!("{engine}-replica.info")));
        assert_eq!(role, Some(Role::Replica), "{engine}");
        assert_eq!(facts.text.master_host, "127.0.0.1");
        assert_eq!(facts.values.get(Field::MasterLinkStatus), Some(1.0), "{engine}");
        assert_eq!(facts.text.valkey_version.is_empty(), engine != "valkey-8.1");
    }
}

#[test]
fn a_cluster_node_counts_its_slots_and_lists_itself() {
    for engine in ENGINES {
        let mut facts = Facts::default();
        info::read_cluster_info(&golden(&format!("{engine}-cluster.clusterinfo")), &mut facts);
        assert_eq!(facts.values.get(Field::ClusterSlotsOk), Some(16384.0), "{engine}");
        assert_eq!(facts.values.get(Field::ClusterState), Some(1.0), "{engine}");
        let (view, conflicts) = cluster::nodes(&golden(&format!("{engine}-cluster.nodes")));
        assert_eq!((conflicts, view.nodes.len()), (0, 1), "{engine}");
        assert_eq!(view.nodes[0].slots, [(0, 16383)]);
        assert_eq!(view.my_id, view.nodes[0].id);
    }
}

#[test]
fn planted_lines_change_nothing_that_was_read_before_them_and_are_counted() {
    let raw = String::from_utf8(golden("redis-7.0-master.info")).unwrap();
    let planted = "slave0:ip=1.2.3.4\r\nrole:slave\r\nconnected_slaves:9\r\n# Memory\r\n\
                   used_memory:1\r\nmaxmemory:1\r\n";
    let forged = raw.replacen("slave0:ip=127.0.0.1", &format!("{planted}slave1:ip=127.0.0.1"), 1);
    assert_ne!(forged, raw);
    let ((clean, _), (facts, role)) = (parse(raw.as_bytes()), parse(forged.as_bytes()));
    assert_eq!(role, Some(Role::Master));
    for field in [Field::UsedMemory, Field::Maxmemory, Field::ConnectedSlaves] {
        assert_eq!(facts.values.get(field), clean.values.get(field), "{field:?}");
    }
    assert!(facts.conflicts >= 4, "{}", facts.conflicts);
}

#[test]
fn lists_without_end_stay_short_and_keep_their_sum() {
    let mut raw = String::from("# Errorstats\r\n");
    for i in 0..50_000 {
        raw.push_str(&format!("errorstat_E{i}:count=1\r\n"));
    }
    let (facts, _) = parse(raw.as_bytes());
    assert!(facts.errors.len() <= 512);
    assert_eq!(facts.errors.iter().map(|e| e.1).sum::<f64>(), 50_000.0);
    assert_eq!(facts.errors.last().unwrap().0, info::OVERFLOW);
}

proptest! {
    #[test]
    fn a_prefix_of_a_reply_invents_no_field(which in 0..3usize, cut in 0.0..1.0f64) {
        let raw = golden(&format!("{}-master.info", ENGINES[which]));
        // The last line may be cut in the middle of a number; whole lines are judged.
        let end = (raw.len() as f64 * cut) as usize;
        let end = raw[..end].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        let (whole, _) = parse(&raw);
        let (part, _) = parse(&raw[..end]);
        for (field, value) in part.values.known() {
            prop_assert_eq!(Some(value), whole.values.get(field));
        }
        prop_assert!(part.conflicts == 0 && part.commands.len() <= whole.commands.len());
    }

    #[test]
    fn a_flipped_byte_neither_panics_nor_moves_a_value_to_another_field(
        which in 0..3usize, at in 0.0..1.0f64, to in any::<u8>()
    ) {
        let mut raw = golden(&format!("{}-replica.info", ENGINES[which]));
        let (whole, _) = parse(&raw);
        let at = (raw.len() as f64 * at) as usize;
        raw[at] = to;
        let (flipped, _) = parse(&raw);
        let lines = lines(&raw);
        for (field, value) in flipped.values.known() {
            let same = whole.values.get(field) == Some(value);
            prop_assert!(same || lines.contains_key(field.info().name), "{field:?} = {value}");
        }
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(raw in proptest::collection::vec(any::<u8>(), 0..600)) {
        let (facts, _) = parse(&raw);
        prop_assert!(facts.values.known().count() <= Field::COUNT);
        let _ = cluster::nodes(&raw);
        info::read_cluster_info(&raw, &mut Facts::default());
        let _ = info::text(&raw, "role");
    }

    #[test]
    fn no_lines_of_right_looking_text_make_the_parsers_panic(
        raw in "(# [A-Z][a-z]{3,12}\r\n|(role|slave[0-9]{1,12}|db[0-9]{0,12}|cmdstat_x|errorstat_y|used_memory|master_host):[ -~é]{0,40}\r\n){0,30}"
    ) {
        let (facts, _) = parse(raw.as_bytes());
        prop_assert!(facts.replicas.len() <= 512 && facts.keyspace.len() <= 512);
    }
}
