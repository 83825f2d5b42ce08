//! The shipped policies against the shipped catalogue: generated series go through Prometheus with the
//! catalogue's rules and through the embedded evaluator with the default policies; the sets of
//! firing alerts must agree minute by minute.
#![allow(clippy::unwrap_used, reason = "clippy does not see that helpers here are tests too")]

mod promtool;
mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alerter::window::Dialect;
use alerter::{Cell, Ground, Plan, defaults, evaluate};
use model::At;
use model::alert::Phase;
use model::field::Field;
use model::policy::PolicyDoc;
use model::reading::{Facts, Reading, ReplicaLink};
use model::row::Row;
use promtool::{Input, ask};

const CATALOGUE: &str = include_str!("../../rules/catalogue/alerts.yml");
const STEP_S: i64 = 15;
/// Eight hours: long enough for several half hours of `for`.
const SAMPLES: i64 = 2_000;

/// How a series moves: between two levels it holds for a while, or as a counter of two speeds.
#[derive(Clone, Copy)]
enum Temper {
    Gauge(f64, f64),
    /// Growth per second.
    Counter(f64, f64),
    Fixed(f64),
    /// Seconds since a start, of which there are many.
    Uptime,
}
use Temper::{Counter, Fixed, Gauge, Uptime};

const M: f64 = 1024.0 * 1024.0;

/// The series the policies under test read.
const SERIES: &[(&str, Temper)] = &[
    ("redis_up", Fixed(1.0)),
    ("redis_exporter_last_scrape_duration_seconds", Gauge(0.1, 3.0)),
    ("redis_loading_dump_file", Gauge(0.0, 1.0)),
    ("redis_memory_used_bytes", Gauge(300.0 * M, 980.0 * M)),
    ("redis_memory_max_bytes", Fixed(1000.0 * M)),
    ("redis_memory_used_rss_bytes", Gauge(500.0 * M, 950.0 * M)),
    ("redis_total_system_memory_bytes", Fixed(1000.0 * M)),
    ("redis_mem_fragmentation_ratio", Gauge(0.7, 1.8)),
    ("redis_evicted_keys_total", Counter(0.0, 30.0)),
    ("redis_errors_total{err=\"OOM\"}", Counter(0.0, 2.0)),
    ("redis_connected_clients", Gauge(60.0, 970.0)),
    ("redis_max_clients", Fixed(1000.0)),
    ("redis_rejected_connections_total", Counter(0.0, 1.0)),
    ("redis_blocked_clients", Gauge(10.0, 90.0)),
    ("redis_connections_received_total", Counter(10.0, 400.0)),
    ("redis_client_output_buffer_limit_disconnections_total", Counter(0.0, 0.1)),
    ("redis_acl_access_denied_auth_total", Counter(0.0, 0.3)),
    ("redis_master_link_up", Gauge(0.0, 1.0)),
    ("redis_replica_resyncs_full", Counter(0.0, 0.01)),
    (
        "redis_connected_slave_lag_seconds{slave_ip=\"10.0.0.9\",slave_port=\"6379\"}",
        Gauge(1.0, 30.0),
    ),
    ("redis_sentinel_tilt", Gauge(0.0, 1.0)),
    ("redis_cluster_state", Gauge(0.0, 1.0)),
    ("redis_cluster_slots_fail", Gauge(0.0, 3.0)),
    ("redis_cluster_slots_pfail", Gauge(0.0, 3.0)),
    ("redis_cluster_slots_assigned", Gauge(16_383.0, 16_384.0)),
    ("redis_rdb_last_bgsave_status", Gauge(0.0, 1.0)),
    ("redis_aof_last_write_status", Gauge(0.0, 1.0)),
    ("redis_aof_enabled", Gauge(0.0, 1.0)),
    ("redis_latest_fork_seconds", Gauge(0.1, 2.0)),
    ("redis_cpu_sys_seconds_total", Counter(0.1, 0.6)),
    ("redis_cpu_user_seconds_total", Counter(0.1, 0.6)),
    ("redis_slowlog_last_id", Counter(0.1, 2.0)),
    ("redis_keyspace_hits_total", Counter(20.0, 300.0)),
    ("redis_keyspace_misses_total", Counter(20.0, 300.0)),
    ("redis_uptime_in_seconds", Uptime),
    ("redis_rdb_changes_since_last_save", Gauge(0.0, 5.0)),
    ("redis_rdb_last_save_timestamp_seconds", Gauge(-90_000.0, 0.0)),
];

/// Policies that need another stage: the verdict, the grid, a text of the poll, or six hours in steps.
const ELSEWHERE: [&str; 20] = [
    "certificate-ending",
    "instance-down",
    "unreadable",
    "instance-missing",
    "scrape-auth",
    "zone-outage",
    "memory-forecast",
    "replicas-missing",
    "no-master",
    "too-many-masters",
    "replica-writable",
    "zone-skew",
    "sentinel-quorum",
    "failover-happened",
    "service-health",
    "no-maxmemory",
    "config-drift",
    "certificate-expiring",
    "secret-expiring",
    "schedule-failing",
];

fn policies() -> Vec<PolicyDoc> {
    let here = |d: &&PolicyDoc| {
        !ELSEWHERE.contains(&d.policy.as_str())
            && !d.policy.starts_with("slo-")
            && d.policy != "policy-failing"
    };
    let plain = |d: &PolicyDoc| {
        // Prometheus has no clear threshold.
        let mut doc = PolicyDoc { enabled: None, ..d.clone() };
        doc.levels.values_mut().for_each(|t| t.clear = None);
        doc
    };
    defaults::policies().iter().filter(here).map(plain).collect()
}

/// Values that hold still for a while, at levels of their own rhythm.
fn values(seed: u64, temper: Temper) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut dice = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let (mut high, mut left, mut counter) = (dice() < 0.5, 0_i64, 10.0);
    let mut out = Vec::new();
    for _ in 0..SAMPLES {
        if left == 0 {
            high = !high;
            // A short spell as often as a long one: neither `for` nor its absence is favoured.
            left = if dice() < 0.5 {
                1 + (dice() * 12.0) as i64
            } else {
                40 + (dice() * 240.0) as i64
            };
        }
        left -= 1;
        out.push(match temper {
            Fixed(v) => v,
            Uptime => {
                counter = if dice() < 0.015 { 0.0 } else { counter + STEP_S as f64 };
                counter
            }
            Gauge(low, top) => {
                if high {
                    top
                } else {
                    low
                }
            }
            Counter(slow, fast) => {
                // The process restarts now and then.
                counter = if dice() < 0.004 { 0.0 } else { counter };
                counter += STEP_S as f64 * if high { fast } else { slow };
                counter.floor()
            }
        });
    }
    out
}

fn row(at: At, now: &BTreeMap<&str, f64>) -> Row {
    let mut facts = Facts::default();
    for (name, value) in now {
        match name.split_once('{') {
            Some(("redis_errors_total", _)) => facts.errors.push(("OOM".into(), *value)),
            Some(_) => facts.replicas.push(ReplicaLink {
                address: "10.0.0.9:6379".into(),
                state: "online".into(),
                offset: 0.0,
                lag_s: *value,
            }),
            None if *name == "redis_slowlog_last_id" => facts.slowlog.last_id = Some(*value),
            None => {
                if let Some(field) = Field::by_metric(name) {
                    facts.values.set(field, *value);
                }
            }
        }
    }
    let base = stage::reading(0, true, facts);
    let duration = now["redis_exporter_last_scrape_duration_seconds"] * 1e6;
    let reading =
        Reading { at, began: at, duration_us: duration as u32, ..(*base.reading).clone() };
    Row { reading: Arc::new(reading), ..base }
}

/// Names of the alerts of ours that fire, after each sample, and of those among them that are kept
/// firing because they flap, which Prometheus does not know.
fn ours(all: &BTreeMap<&'static str, Vec<f64>>) -> Vec<[BTreeSet<String>; 2]> {
    let (inventory, external) = (stage::inventory("az-1"), Arc::default());
    let docs = policies();
    let ground = Ground {
        inventory: &inventory,
        docs: &docs,
        external: &external,
        interval_ms: STEP_S * 1000,
        dialect: Dialect::V2_42,
    };
    let plan = Plan::build(&ground, |_| Arc::default());
    assert_eq!(plan.problems, BTreeMap::new());
    let slot = &plan.slots[&stage::id()];
    let mut cell = Cell::default();
    let mut firing = Vec::new();
    for i in 0..SAMPLES {
        let at = At::from_ms((i + 1) * STEP_S * 1000);
        let now = all.iter().map(|(name, values)| (*name, values[i as usize])).collect();
        evaluate(slot, &mut cell, &row(at, &now), at).unwrap();
        let up: Vec<_> = cell.lives().filter(|l| l.phase != Phase::Pending).collect();
        let names = |flapping: bool| {
            let wanted = up.iter().filter(|l| !flapping || l.pulse.is_flapping());
            wanted.map(|l| l.identity.labels["alertname"].clone()).collect()
        };
        firing.push([names(false), names(true)]);
    }
    firing
}

#[test]
fn the_default_policies_fire_when_the_rules_of_the_catalogue_do() {
    let all: BTreeMap<&'static str, Vec<f64>> = SERIES
        .iter()
        .enumerate()
        .map(|(i, (name, temper))| (*name, values(i as u64 + 3, *temper)))
        .collect();
    let inputs: Vec<Input> = all
        .iter()
        .map(|(name, values)| {
            let (name, labels) =
                name.split_once('{').map_or((*name, ""), |(n, l)| (n, l.trim_end_matches('}')));
            let comma = if labels.is_empty() { "" } else { "," };
            // promtool begins at 0, where our first poll has not come yet.
            let values = std::iter::once(None).chain(values.iter().map(|v| Some(*v))).collect();
            Input { series: format!("{name}{{instance=\"a\"{comma}{labels}}}"), values }
        })
        .collect();
    let ours = ours(&all);
    let names: BTreeSet<String> = policies()
        .iter()
        .flat_map(|d| d.levels.values().filter_map(|t| t.alertname.clone()))
        .collect();
    let every = 4;
    let times: Vec<i64> = (1..=SAMPLES).step_by(every).map(|i| i * STEP_S).collect();
    let expr = "ALERTS{alertstate=\"firing\"}";
    let questions: Vec<(String, i64)> = times.iter().map(|t| (expr.to_string(), *t)).collect();
    let answers = ask(STEP_S, CATALOGUE, &inputs, &questions);
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for question in &questions {
        let got = answers.get(question).map_or(&[][..], Vec::as_slice);
        let theirs: BTreeSet<String> = got
            .iter()
            .filter_map(|(labels, _)| labels.split("alertname=\"").nth(1)?.split('"').next())
            .filter(|name| names.contains(*name))
            .map(str::to_string)
            .collect();
        let [mine, flapping] = &ours[(question.1 / STEP_S - 1) as usize];
        let calm = |all: &BTreeSet<String>| -> Vec<String> {
            all.iter().filter(|name| !flapping.contains(*name)).cloned().collect()
        };
        assert_eq!(calm(mine), calm(&theirs), "after {} s", question.1);
        seen.extend(theirs);
    }
    let never: Vec<&String> = names.iter().filter(|n| !seen.contains(*n)).collect();
    assert!(never.is_empty(), "these fired in neither: {never:?}");
}
