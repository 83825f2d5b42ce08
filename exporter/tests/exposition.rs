//! Pages under hostile text: whatever a server says, a strict reader accepts both formats, finds the
//! same text in the labels, and no more series than the limits allow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use exporter::Profile;
use exporter::encode::{Format, Rendered, SERIES_MAX, VALUES_MAX, scrape};
use model::reading::{CommandStat, Facts, Keyspace, LatencyEvent, Reading, ReplicaLink};
use model::reading::{Role, SentinelMaster, Text};
use model::row::Row;
use model::service::{Instance, InstanceKind};
use model::verdict::Verdict;
use model::{At, InstanceId, ZoneId};
use proptest::prelude::*;

#[allow(dead_code, reason = "one reader for several tests")]
#[path = "../../tests/src/exposition.rs"]
mod exposition;

use exposition::{Dialect, Family, read};

fn row(facts: Facts, kind: InstanceKind) -> Row {
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
        instance: Arc::new(Instance { id, kind, zone, host: None, shard: 0 }),
        last_good: Some(reading.clone()),
        reading,
        verdict: Verdict::Up,
        score: None,
    }
}

fn page(row: &Row, profile: Profile, format: Format) -> (Vec<Family>, Rendered) {
    let page = scrape(row, profile, At::from_ms(30_000), format);
    let text = std::str::from_utf8(&page.body).expect("UTF-8");
    let dialect = match format {
        Format::Text => Dialect::Text,
        Format::OpenMetrics => Dialect::OpenMetrics,
    };
    (read(text, dialect).unwrap_or_else(|why| panic!("{why}")), page)
}

/// Both formats of the full page, after the checks every page must pass.
fn pages(row: &Row) -> [Vec<Family>; 2] {
    [Format::Text, Format::OpenMetrics].map(|format| {
        page(row, Profile::Lean, format);
        let (families, page) = page(row, Profile::Full, format);
        let series: usize = families.iter().map(|f| f.samples.len()).sum();
        assert_eq!(series, page.series as usize);
        assert!(page.series <= SERIES_MAX);
        let samples = families.iter().flat_map(|f| &f.samples);
        let values = samples.flat_map(|s| &s.labels).map(|(_, value)| value.len());
        assert!(values.max().unwrap_or(0) <= link::reply::TEXT_MAX);
        families
    })
}

/// Values of one label over a family, in the page's order.
fn labels(families: &[Family], name: &str, label: &str) -> Vec<String> {
    let all = families.iter().filter(|f| f.name == name || name == format!("{}_total", f.name));
    all.flat_map(|f| &f.samples).map(|s| s.label(label).to_string()).collect()
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC{0,20}", "[\\x00-\\x7f]{0,20}", "[é€\"\\\\\n]{0,10}", "[a€]{100,300}"]
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let number = || prop_oneof![any::<f64>(), (0..1000u32).prop_map(f64::from)];
    let named = || proptest::collection::btree_map(any_text(), number(), 0..20);
    (named(), named(), proptest::collection::vec(any_text(), 12)).prop_map(
        |(errors, others, texts)| {
            let text = |i: usize| texts[i].clone();
            let finite = |n: f64| if n.is_finite() { n } else { 0.0 };
            let names: Vec<(String, f64)> = others.into_iter().collect();
            Facts {
                text: Text {
                    version: text(0),
                    mode: text(1),
                    os: text(2),
                    run_id: text(3),
                    maxmemory_policy: text(4),
                    master_host: text(5),
                    master_port: text(6),
                    valkey_version: text(7),
                    ..Text::default()
                },
                role: Some(Role::Replica),
                errors: errors.into_iter().collect(),
                commands: names
                    .iter()
                    .map(|(cmd, n)| CommandStat {
                        cmd: cmd.clone(),
                        calls: *n,
                        usec: *n,
                        rejected: Some(*n),
                        failed: None,
                    })
                    .collect(),
                replicas: names
                    .iter()
                    .map(|(name, n)| ReplicaLink {
                        address: format!("{name}:1"),
                        state: text(8),
                        offset: *n,
                        lag_s: *n,
                    })
                    .collect(),
                latency: names
                    .iter()
                    .map(|(event, n)| LatencyEvent {
                        event: event.clone(),
                        at_s: *n,
                        last_ms: finite(*n),
                        max_ms: *n,
                    })
                    .collect(),
                masters: names.iter().map(|(name, n)| master(name, *n, &texts)).collect(),
                ..Facts::default()
            }
        },
    )
}

fn master(name: &str, n: f64, texts: &[String]) -> SentinelMaster {
    SentinelMaster {
        name: name.into(),
        address: texts[9].clone(),
        flags: String::new(),
        replicas: n,
        sentinels: n,
        quorum: n,
        config_epoch: n,
        down_after_ms: n,
        failover_timeout_ms: n,
        parallel_syncs: n,
        last_ok_ping_ms: n,
        status: texts[10].clone(),
        replicas_ok: None,
        sentinels_ok: Some(n),
        ckquorum: Some((true, texts[11].clone())),
    }
}

/// Each case renders and reads four pages.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_a_server_says_a_strict_reader_finds_the_same_text(facts in any_facts()) {
        let cut = |text: &str| link::reply::cut(text.as_bytes());
        let errors: Vec<String> = facts.errors.iter().map(|(name, _)| cut(name)).collect();
        let commands: Vec<String> = facts.commands.iter().map(|c| cut(&c.cmd)).collect();
        let events: Vec<String> = facts.latency.iter().map(|e| cut(&e.event)).collect();
        let values: Vec<f64> = facts.errors.iter().map(|(_, n)| *n).collect();
        let version = cut(&facts.text.version);
        for families in pages(&row(facts.clone(), InstanceKind::Redis)) {
            prop_assert_eq!(&labels(&families, "redis_errors_total", "err"), &errors);
            prop_assert_eq!(&labels(&families, "redis_commands_total", "cmd"), &commands);
            prop_assert_eq!(&labels(&families, "redis_latency_spike_last", "event_name"), &events);
            prop_assert_eq!(&labels(&families, "redis_instance_info", "redis_version"),
                            std::slice::from_ref(&version));
            let shown = families.iter().find(|f| f.name.starts_with("redis_errors"));
            let shown = shown.map_or(Vec::new(), |f| f.samples.iter().map(|s| s.value).collect());
            let same = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
            prop_assert!(shown.iter().zip(&values).all(same));
        }
    }

    #[test]
    fn a_sentinel_s_names_stay_names(facts in any_facts()) {
        let names: Vec<String> =
            facts.masters.iter().map(|m| link::reply::cut(m.name.as_bytes())).collect();
        for families in pages(&row(facts.clone(), InstanceKind::Sentinel)) {
            let shown = labels(&families, "redis_sentinel_master_status", "master_name");
            prop_assert_eq!(&shown, &names);
        }
    }

    #[test]
    fn bytes_read_as_info_make_a_page_a_strict_reader_accepts(
        raw in "(# (Server|Memory|Stats|Replication|Commandstats|Errorstats|Keyspace|Cluster)\r\n|(redis_version|os|run_id|used_memory|maxmemory_policy|master_host|slave0|slave1|db0|cmdstat_a|errorstat_b|errorstat_[ -~]{1,8}):[ -~é\\x00-\\x08]{0,30}(ip=1,port=2,state=3,offset=4,lag=5|count=5|calls=1,usec=2|keys=1,expires=2)?\r\n){0,40}"
    ) {
        let mut facts = Facts::default();
        link::reply::info::read(raw.as_bytes(), &mut facts);
        pages(&row(facts, InstanceKind::Redis));
    }
}

#[test]
fn no_list_makes_more_than_128_values_of_a_family_and_2000_series_of_a_page() {
    let names = || (0..5000).map(|i| format!("n{i}"));
    let mut folds = link::reply::info::Folds::default();
    let mut raw = String::from("# Errorstats\r\n");
    names().for_each(|n| raw.push_str(&format!("errorstat_{n}:count=1\r\n")));
    raw.push_str("# Commandstats\r\n");
    names().for_each(|n| raw.push_str(&format!("cmdstat_{n}:calls=1,usec=1,failed_calls=1\r\n")));
    let mut facts = Facts::default();
    link::reply::info::read_again(raw.as_bytes(), &mut facts, &mut folds);
    facts.keyspace = (0..5000)
        .map(|db| Keyspace { db, keys: 1.0, expires: 0.0, avg_ttl_ms: 1.0, ..Default::default() })
        .collect();
    let event = |event| LatencyEvent { event, at_s: 1.0, last_ms: 1.0, max_ms: 1.0 };
    facts.latency = names().map(event).collect();
    facts.replicas = names()
        .map(|n| ReplicaLink {
            address: format!("{n}:1"),
            state: "online".into(),
            offset: 1.0,
            lag_s: 1.0,
        })
        .collect();
    let texts = vec![String::new(); 12];
    facts.masters = names().map(|n| master(&n, 1.0, &texts)).collect();
    for (kind, format) in
        [(InstanceKind::Redis, Format::Text), (InstanceKind::Sentinel, Format::OpenMetrics)]
    {
        let (families, rendered) = page(&row(facts.clone(), kind), Profile::Full, format);
        for family in &families {
            let values: BTreeSet<_> = family.samples.iter().map(|s| &s.labels).collect();
            assert!(values.len() <= VALUES_MAX, "{} has {}", family.name, values.len());
        }
        assert!(rendered.series <= SERIES_MAX && rendered.dropped_values > 10_000);
        if kind == InstanceKind::Sentinel {
            assert!(rendered.dropped_limit > 0, "{} series", rendered.series);
            continue;
        }
        let sums: BTreeMap<&str, f64> = families
            .iter()
            .map(|f| (f.name.as_str(), f.samples.iter().map(|s| s.value).sum()))
            .collect();
        let of = |name: &str| {
            let stem = name.trim_end_matches("_total");
            sums.get(name).or(sums.get(stem)).copied()
        };
        assert_eq!(of("redis_errors_total"), Some(5000.0), "nothing of a sum is lost");
    }
}
