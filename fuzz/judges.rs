//! What must hold of every parser for any bytes at all; a broken promise is a panic.
//!
//! Invariant: a judge depends on its bytes alone, so a finding is repeated by a file. Included by the
//! fuzz targets and by the ordinary test that replays `seeds/`.

#![allow(dead_code, reason = "each target uses one judge")]

use std::collections::BTreeSet;
use std::sync::Arc;

use exporter::Profile;
use exporter::encode::{Format, SERIES_MAX, scrape};
use link::Value;
use link::reply::{self, TEXT_MAX};
use model::reading::{Facts, LatencyEvent, Reading, ReplicaLink, Role};
use model::row::Row;
use model::service::{Instance, InstanceKind};
use model::verdict::Verdict;
use model::{At, InstanceId, ZoneId};

#[path = "../tests/src/exposition.rs"]
mod exposition;

/// A judge.
pub type Judge = fn(&[u8]);

/// All judges, by the name of their target and folder of seeds.
pub const JUDGES: [(&str, Judge); 8] = [
    ("info", info),
    ("cluster_nodes", cluster_nodes),
    ("slowlog", slowlog),
    ("client_list", client_list),
    ("latency", latency),
    ("acl_log", acl_log),
    ("replies", replies),
    ("exposition", exposition),
];

/// INFO: no field without its line, lists within their limits.
pub fn info(raw: &[u8]) {
    let mut facts = Facts::default();
    let role = reply::info::read(raw, &mut facts);
    let name = |line: &[u8]| line.iter().position(|b| *b == b':').map(|end| line[..end].to_vec());
    let names: BTreeSet<Vec<u8>> = raw.split(|b| *b == b'\n').filter_map(name).collect();
    for (field, _) in facts.values.known() {
        assert!(names.contains(field.info().name.as_bytes()), "{field:?} was invented");
    }
    assert!(role.is_none() || names.contains(&b"role"[..]), "a role was invented");
    assert!(facts.commands.len() <= 128 && facts.errors.len() <= 128);
    assert!(facts.replicas.len() <= 512 && facts.keyspace.len() <= 512);
    let names: BTreeSet<&str> = facts.errors.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), facts.errors.len(), "an error twice");
    let names: BTreeSet<&str> = facts.commands.iter().map(|c| c.cmd.as_str()).collect();
    assert_eq!(names.len(), facts.commands.len(), "a command twice");
    assert!(facts.commands.iter().all(|c| c.cmd.len() <= TEXT_MAX));
    facts.role = Some(Role::Master);
    reply::info::believe_role(&mut facts);
    reply::info::read_cluster_info(raw, &mut Facts::default());
}

/// CLUSTER NODES: every node has an id of its own and slots that exist.
pub fn cluster_nodes(raw: &[u8]) {
    let (view, _) = reply::cluster::nodes(raw);
    let ids: BTreeSet<&str> = view.nodes.iter().map(|n| n.id.as_str()).collect();
    assert_eq!(ids.len(), view.nodes.len(), "a node twice");
    for node in &view.nodes {
        assert!(contains(raw, node.id.as_bytes()), "a node was invented");
        assert!(node.slots.iter().all(|(from, to)| from <= to && *to < 16_384));
        assert!(node.address.is_empty() || model::id::split_address(&node.address).is_some());
    }
}

/// SLOWLOG GET and COMMANDLOG GET.
pub fn slowlog(raw: &[u8]) {
    each(raw, |value| {
        let heads = reply::slowlog::read(value).map(|all| all.len());
        if let Some(entries) = reply::slowlog::entries(value) {
            assert_eq!(heads, Some(entries.len()));
            for (entry, shape) in entries {
                let longest = [&entry.args, &entry.client, &entry.name].map(|t| t.len());
                assert!(longest.into_iter().all(|len| len <= TEXT_MAX), "{longest:?}");
                assert!(shape.len() <= TEXT_MAX, "{}", shape.len());
            }
        }
    });
}

/// CLIENT LIST: every client is counted once in each grouping.
pub fn client_list(raw: &[u8]) {
    let clients = reply::clients::read(raw, At::from_ms(1_000), true);
    let kinds: u32 = clients.kinds.iter().map(|(_, n)| n).sum();
    assert_eq!(kinds, clients.count);
    assert!(clients.each.len() <= 128);
    for groups in [&clients.by_name, &clients.by_user, &clients.by_address] {
        assert!(groups.len() <= 128, "{} groups", groups.len());
    }
}

/// LATENCY LATEST, LATENCY HISTOGRAM and INFO latencystats.
pub fn latency(raw: &[u8]) {
    each(raw, |value| {
        if let Some(events) = reply::latency::read(value) {
            assert!(events.iter().all(|e| e.event.len() <= TEXT_MAX));
        }
        let _ = reply::latency::histograms(value);
    });
    let _ = reply::latency::quantiles(raw);
}

/// ACL LOG and ACL LIST.
pub fn acl_log(raw: &[u8]) {
    each(raw, |value| {
        if let Some(accounts) = reply::acl::accounts(value) {
            assert!(accounts.enabled <= accounts.all);
            assert!(accounts.without_password <= accounts.enabled);
        }
        let _ = reply::acl::denials(value);
    });
}

/// The reply reader: holds no more than it was given; and every parser of arrays takes any value.
pub fn replies(raw: &[u8]) {
    let Ok(values) = reply::replies(raw) else { return };
    let held: usize = values.iter().map(size).sum();
    assert!(held <= raw.len(), "{held} bytes out of {}", raw.len());
    for value in &values {
        let _ = reply::role::read(value);
        let _ = reply::sentinel::masters(value);
        let _ = reply::sentinel::replicas(value);
        let _ = reply::sentinel::peers(value);
        let _ = reply::sentinel::ckquorum(value);
        let _ = reply::sentinel::address(value);
        let _ = reply::config::read(value);
        let _ = reply::module::list(value);
        let _ = reply::shards::read(value);
        let _ = reply::shards::slots(value);
        let _ = reply::error(value);
    }
    slowlog(raw);
    latency(raw);
    acl_log(raw);
}

/// A page of whatever INFO says, with lines of it as names everywhere else: a strict reader accepts it.
/// The length decides which profile and format.
pub fn exposition(raw: &[u8]) {
    let mut facts = Facts::default();
    let hint = reply::info::read(raw, &mut facts);
    facts.role = facts.role.or(hint);
    reply::info::read_cluster_info(raw, &mut facts);
    for line in raw.split(|b| *b == b'\n').take(140) {
        let name = reply::cut(line);
        let n = line.len() as f64;
        facts.latency.push(LatencyEvent { event: name.clone(), at_s: n, last_ms: n, max_ms: n });
        facts.replicas.push(ReplicaLink {
            address: name.clone(),
            state: name.clone(),
            offset: n,
            lag_s: n,
        });
        facts.text.os = name;
    }
    let profile = if raw.len() & 1 == 0 { Profile::Full } else { Profile::Lean };
    let (format, dialect) = match raw.len() & 2 {
        0 => (Format::Text, exposition::Dialect::Text),
        _ => (Format::OpenMetrics, exposition::Dialect::OpenMetrics),
    };
    let page = scrape(&row(facts), profile, At::from_ms(30_000), format);
    let text = std::str::from_utf8(&page.body).expect("a page is UTF-8");
    let families = exposition::read(text, dialect).unwrap_or_else(|why| panic!("{why}"));
    let series: usize = families.iter().map(|f| f.samples.len()).sum();
    assert!(series == page.series as usize && page.series <= SERIES_MAX);
}

fn each(raw: &[u8], judge: impl Fn(&Value)) {
    reply::replies(raw).unwrap_or_default().iter().for_each(judge);
}

/// Bytes of text in a value.
fn size(value: &Value) -> usize {
    match value {
        Value::BulkString(bytes) => bytes.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        _ => 0,
    }
}

fn contains(raw: &[u8], part: &[u8]) -> bool {
    raw.windows(part.len()).any(|window| window == part)
}

fn row(facts: Facts) -> Row {
    let id = InstanceId::parse("pay.cart@10.0.0.1:6379").expect("an id");
    let zone = ZoneId::parse("az-1").expect("a zone");
    let reading = Arc::new(Reading {
        at: At::from_ms(20_000),
        began: At::from_ms(19_990),
        up: true,
        failure: None,
        ping_us: Some(200),
        duration_us: 900,
        connect_us: 100,
        failed_in_row: 0,
        interval_ms: 15_000,
        facts,
    });
    Row {
        role_since: None,
        instance: Arc::new(Instance { id, kind: InstanceKind::Redis, zone, host: None, shard: 0 }),
        last_good: Some(reading.clone()),
        reading,
        verdict: Verdict::Up,
        score: None,
    }
}
