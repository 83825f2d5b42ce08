//! Damaged and forged replies: whatever the bytes, no parser panics, no field appears that the reply
//! does not hold, and text of clients stays where clients may write.
//!
//! Each property runs over the replies of real servers in `golden/`.

use std::collections::BTreeMap;
use std::path::Path;

use link::reply::{cluster, info};
use model::field::Field;
use model::reading::Facts;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// All committed replies with one of these endings.
fn goldens(endings: &[&str]) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = std::fs::read_dir(folder).expect("goldens are committed");
    let mut paths: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    paths.retain(|p| endings.iter().any(|e| p.extension().is_some_and(|x| x == *e)));
    assert!(!paths.is_empty());
    paths.iter().map(|p| std::fs::read(p).expect("a file")).collect()
}

fn parse(raw: &[u8]) -> Facts {
    let mut facts = Facts::default();
    info::read(raw, &mut facts);
    facts
}

fn cluster_info(raw: &[u8]) -> Facts {
    let mut facts = Facts::default();
    info::read_cluster_info(raw, &mut facts);
    facts
}

/// Every `name:value` line, whatever its section.
fn lines(raw: &[u8]) -> BTreeMap<String, String> {
    String::from_utf8_lossy(raw)
        .lines()
        .filter_map(|l| l.trim_end().split_once(':').map(|(n, v)| (n.to_string(), v.to_string())))
        .collect()
}

fn any_golden(endings: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    select(goldens(endings))
}

/// One line a client may want to have in INFO.
fn planted_line() -> impl Strategy<Value = String> {
    let names: Vec<&str> = Field::all().iter().map(|f| f.info().name).collect();
    let field = (select(names), "[0-9]{1,9}|up|down|ok").prop_map(|(n, v)| format!("{n}:{v}"));
    let text = "(role:(master|slave)|master_host:6\\.6\\.6\\.6|master_port:1|run_id:x|redis_version:9\\.9|\
                redis_mode:sentinel|master_failover_state:no-failover|master_replid:abc)";
    prop_oneof![
        4 => field,
        3 => text,
        2 => "# (Server|Memory|Stats|Replication|CPU|Cluster|Keyspace|Commandstats|Errorstats|Nothing)",
        1 => "slave[0-9]:ip=9\\.9\\.9\\.9,port=1,state=online,offset=1,lag=0",
        1 => "db[0-9]:keys=1,expires=0,avg_ttl=0",
        1 => "cmdstat_(get|forged):calls=9,usec=9",
        1 => "errorstat_[A-Z]{1,5}:count=9",
        1 => "[ -~]{0,30}",
    ]
}

/// What a forged line must not change: everything but the list of the replicas themselves.
fn believed(mut facts: Facts) -> String {
    facts.replicas.clear();
    facts.conflicts = 0;
    facts.values.set(Field::ReplicasWaitingPsync, f64::NAN);
    // As text: absent values are NaN, which equals nothing.
    format!("{facts:?}")
}

/// Findings are kept as seeds of the fuzz targets, not in a file of proptest's.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_prefix_of_a_reply_invents_a_field(raw in any_golden(&["info"]), at in any::<Index>()) {
        let end = at.index(raw.len() + 1);
        let (whole, part) = (parse(&raw), parse(&raw[..end]));
        // A number that was cut in the middle is another number; all others are the same.
        let cut = raw[..end].split(|b| *b == b'\n').next_back().unwrap_or_default();
        for (field, value) in part.values.known() {
            let is_cut = cut.starts_with(format!("{}:", field.info().name).as_bytes());
            prop_assert!(is_cut || whole.values.get(field) == Some(value), "{field:?} = {value}");
        }
        // A line of a list that was cut is no line a server writes.
        prop_assert!(part.conflicts <= u32::from(!cut.is_empty()));
        prop_assert!(part.commands.len() <= whole.commands.len());
        prop_assert!(part.replicas.len() <= whole.replicas.len());
        prop_assert!(part.keyspace.len() <= whole.keyspace.len());
    }

    #[test]
    fn a_flipped_byte_moves_no_value_to_another_field(
        raw in any_golden(&["info"]), at in any::<Index>(), to in any::<u8>()
    ) {
        let whole = parse(&raw);
        let mut raw = raw;
        let at = at.index(raw.len());
        raw[at] = to;
        let flipped = parse(&raw);
        let lines = lines(&raw);
        for (field, value) in flipped.values.known() {
            let same = whole.values.get(field) == Some(value);
            prop_assert!(same || lines.contains_key(field.info().name), "{field:?} = {value}");
        }
    }

    #[test]
    fn a_cluster_s_replies_survive_cuts_and_flips(
        raw in any_golden(&["clusterinfo", "nodes"]),
        end in any::<Index>(), at in any::<Index>(), to in any::<u8>()
    ) {
        let (whole, whole_view) = (cluster_info(&raw), cluster::nodes(&raw).0);
        let part = &raw[..end.index(raw.len() + 1)];
        prop_assert!(cluster_info(part).values.known().all(|(f, _)| whole.values.get(f).is_some()));
        prop_assert!(cluster::nodes(part).0.nodes.len() <= whole_view.nodes.len());
        let mut raw = raw;
        let at = at.index(raw.len());
        raw[at] = to;
        let _ = cluster_info(&raw);
        let (view, _) = cluster::nodes(&raw);
        prop_assert!(view.nodes.iter().all(|n| n.slots.iter().all(|(a, b)| a <= b && *b < 16384)));
    }

    /// The model attack: a client with replication rights announces an address with line breaks.
    #[test]
    fn lines_planted_in_a_replica_s_address_change_nothing_else(
        which in 0..3usize, planted in proptest::collection::vec(planted_line(), 1..8)
    ) {
        let name = ["redis-7.0", "redis-8.0", "valkey-8.1"][which];
        let path = format!("{}/tests/golden/{name}-master.info", env!("CARGO_MANIFEST_DIR"));
        let raw = String::from_utf8(std::fs::read(path).unwrap()).unwrap();
        let announced = format!("slave0:ip=1.2.3.4\r\n{}", planted.join("\r\n"));
        let forged = raw.replacen("slave0:ip=127.0.0.1", &announced, 1);
        prop_assert_ne!(&forged, &raw);
        let (mut honest, mut lied) = (Facts::default(), Facts::default());
        let role = info::read(raw.as_bytes(), &mut honest);
        prop_assert_eq!(info::read(forged.as_bytes(), &mut lied), role);
        prop_assert!(lied.conflicts > 0, "its own line is not whole");
        prop_assert!(believed(lied) == believed(honest));
    }

    #[test]
    fn without_the_line_behind_the_replicas_the_first_value_wins(
        planted in proptest::collection::vec(planted_line(), 1..8)
    ) {
        let before = "# Memory\r\nused_memory:5\r\n# Replication\r\nrole:master\r\n\
                      connected_slaves:1\r\nslave0:ip=1.2.3.4";
        let raw = format!("{before}\r\n{}\r\n", planted.join("\r\n"));
        let mut facts = Facts::default();
        prop_assert_eq!(info::read(raw.as_bytes(), &mut facts), Some(model::reading::Role::Master));
        prop_assert_eq!(facts.values.get(Field::UsedMemory), Some(5.0));
        prop_assert_eq!(facts.values.get(Field::ConnectedSlaves), Some(1.0));
    }

    #[test]
    fn two_names_stay_two_names_however_long_or_broken_they_are(
        a in proptest::collection::vec(any::<u8>(), 0..600), at in any::<Index>(), to in any::<u8>()
    ) {
        let mut b = a.clone();
        if !b.is_empty() {
            let at = at.index(b.len());
            b[at] = to;
        }
        let (short_a, short_b) = (link::reply::cut(&a), link::reply::cut(&b));
        prop_assert!(short_a.len() <= link::reply::TEXT_MAX);
        prop_assert_eq!(short_a == short_b, a == b);
        if let Ok(text) = std::str::from_utf8(&a) && a.len() <= link::reply::TEXT_MAX {
            prop_assert_eq!(short_a, text);
        }
    }
}
