//! One service with its nodes, and why its score is what it is.

use super::*;
use model::risk::{RiskClass, RiskFinding, ZoneRisk};

fn bar(dimension: &str, signal: &str, points: f64, text: &str, source: &str) -> Bar {
    Bar {
        dimension: dimension.into(),
        signal: signal.into(),
        value: Some(0.88),
        unit: "ratio".into(),
        loss: points * 2.0,
        share: 1.0,
        weight: 0.25,
        points,
        since: Some(NOW - 840_000),
        threshold: Some(Threshold { at: 0.7, origin: "tenant pay, rev 17".into() }),
        sources: vec![source.into()],
        text: text.into(),
        link: String::new(),
    }
}

#[rustfmt::skip]
fn lost(text: &str) -> Vec<Bar> {
    vec![
        bar("availability", "A5", 20.0, &format!("1 of 2 replicas missing {text}"), "redis_connected_slaves"),
        bar("memory", "M1", 13.0, "used 88 % of maxmemory (8.8 of 10 GB), noeviction", "redis_memory_used_bytes, redis_memory_max_bytes"),
        bar("memory", "M5", 2.59, "full in 9 days", "cachewarden_capacity_days_to_full"),
        bar("connections", "C1", 0.75, "65 % of maxclients", "redis_connected_clients"),
        bar("slowlog", "S1", 1.60, "0.8 slow commands/min", "redis_slowlog_last_id"),
    ]
}

fn gate(name: &str, cap: f64, points: f64, text: &str) -> GateState {
    let (gate, text, binds) = (name.into(), text.into(), points > 0.0);
    GateState { gate, cap, holds: true, binds, points, text }
}

fn suggestion(score: f64, feasible: bool, text: String) -> Suggestion {
    let gain = score - 57.40;
    Suggestion { overrides: json!({}), score, gain, feasible: Some(feasible), text }
}

pub fn explained(level: Level, id: &str, mood: Mood, text: &str) -> Explained {
    let (score, raw, grade) = match mood {
        Mood::Trouble => (Some(57.40), Some(62.06), Grade::D),
        Mood::Fine => (Some(100.0), Some(100.0), Grade::A),
        _ => (None, None, Grade::Unknown),
    };
    let mut e = Explained {
        level,
        id: id.into(),
        at: NOW,
        score,
        raw,
        grade,
        grade_since: NOW - 840_000,
        confidence: if score.is_some() { 1.0 } else { 0.31 },
        coverage: (level != Level::Instance).then_some(1.0),
        partial: false,
        policy: (level != Level::Tenant)
            .then_some(PolicyUse { profile: model::service::Profile::Store, revision: 17 }),
        switched_off: vec![],
        losses: [Some(25.0), Some(52.0), Some(5.0), None],
        bars: vec![],
        gates: vec![],
        unknown: vec![],
        not_applicable: vec![NotApplicable { signal: "A8".into(), why: "not a cluster".into() }],
        suggestions: vec![],
        ..Explained::default()
    };
    if score.is_none() {
        e.reason = format!("auth: the password was refused {text}");
    }
    if mood == Mood::Trouble {
        e.switched_off = vec![SwitchedOff {
            signal: "S4".into(),
            why: format!("no histogram behind the proxy {text}"),
            until: Some(NOW + 86_400_000),
        }];
        let (signal, needs) = ("M6".into(), "ACL rule +memory|doctor".into());
        e.bars = lost(text);
        e.gates = vec![
            gate("no_replica", 57.4, 4.66, "no replica is left outside the master's zone but one"),
            gate("one_zone", 79.0, 0.0, ""),
        ];
        e.unknown = vec![UnknownSignal { signal, reason: format!("noperm {text}"), needs }];
        e.suggestions = vec![
            suggestion(77.40, true, "second replica back".into()),
            suggestion(70.70, false, format!("maxmemory 10 → 12 GB {text}")),
        ];
    }
    e
}

fn instance(
    address: &str,
    shard: u32,
    zone: &str,
    role: &str,
    mood: Mood,
    bad: bool,
    text: &str,
) -> InstanceItem {
    let down = mood == Mood::Trouble && bad;
    let blind = mood == Mood::Blind;
    let known = |v: f64| (!down && !blind).then_some(v);
    InstanceItem {
        id: format!("pay.cart@{address}").parse().unwrap(),
        address: address.into(),
        kind: if role == "sentinel" { "sentinel".into() } else { "redis".into() },
        shard,
        zone: zone.into(),
        host: format!("h-{zone}-1"),
        role: if blind { String::new() } else { role.into() },
        state: if down {
            "down"
        } else if blind {
            "unknown"
        } else {
            "up"
        }
        .into(),
        reason: if down {
            format!("the port refuses, 3 probes failed {text}")
        } else if blind {
            "auth: WRONGPASS".into()
        } else {
            String::new()
        },
        health: if down {
            brief(Some(0.0), Grade::E, "down")
        } else if blind {
            brief(None, Grade::Unknown, "auth")
        } else {
            brief(Some(96.4), Grade::A, "")
        },
        memory_used_bytes: known(if role == "master" { 8.8e9 } else { 8.7e9 }),
        memory_max_bytes: known(1e10),
        clients: known(213.0),
        ops_per_s: known(if role == "master" { 8_120.0 } else { 190.0 }),
        lag_bytes: if role == "slave" { known(1_204.0) } else { None },
        link_up: if role == "slave" && !blind { Some(!down) } else { None },
        version: "7.2.6".into(),
        polled_at: Some(NOW - 4_000),
        age_ms: Some(if down { 840_000 } else { 4_000 }),
    }
}

/// Shard `i` of three: its master in zone `i`, in trouble one replica down and one misplaced.
fn shard(i: u32, mood: Mood, text: &str) -> ShardLine {
    let zone = |k: u32| format!("az-{}", (i + k) % 3 + 1);
    let address = |k: u32| format!("10.1.{}.{}:6379", (i + k) % 3 + 1, 7 + i);
    let (trouble, misplaced) = (mood == Mood::Trouble, mood == Mood::Trouble && i == 1);
    let (score, grade) = match mood {
        Mood::Blind => (None, Grade::Unknown),
        Mood::Trouble if i == 0 => (Some(57.4), Grade::D),
        _ => (Some(96.4), Grade::A),
    };
    let second = if misplaced { zone(0) } else { zone(1) };
    let violation = format!("master and replica in one zone {text}");
    ShardLine {
        shard: i,
        slots: trouble.then_some(5461),
        health: brief(score, grade, ""),
        instances: vec![
            instance(&address(0), i, &zone(0), "master", mood, false, text),
            instance(&address(1), i, &second, "slave", mood, false, text),
            instance(&address(2), i, &zone(2), "slave", mood, i == 0, text),
        ],
        violations: if misplaced { vec![violation] } else { vec![] },
    }
}

fn sentinel(z: u32, mood: Mood, text: &str) -> InstanceItem {
    let (address, zone) = (format!("10.1.{z}.7:26379"), format!("az-{z}"));
    instance(&address, 0, &zone, "sentinel", mood, z == 3, text)
}

fn actions() -> Vec<PageAction> {
    let action = |kind: &str, target: &str, label: &str| PageAction {
        kind: kind.into(),
        target: target.into(),
        label: label.into(),
        cli: format!("cachewarden op plan {kind} pay.cart --target {target}"),
    };
    vec![
        action("switchover", "pay.cart@10.1.2.7:6379", "Switch over to 10.1.2.7:6379"),
        action("node_restart", "pay.cart@10.1.3.7:6379", ""),
    ]
}

pub fn service_page(mood: Mood, text: &str) -> ServicePage {
    let (shards, nodes) = match mood {
        Mood::Empty => (0, 0),
        Mood::Fine => (1, 3),
        _ => (3, 3),
    };
    let listed = if mood == Mood::Empty { Mood::Fine } else { mood };
    let points = ["10.1.1.7:26379,10.1.2.7:26379,10.1.3.7:26379 master cart", "10.1.1.7:6379"];
    let may = matches!(mood, Mood::Trouble | Mood::Fine);
    ServicePage {
        as_of: NOW,
        service: services(listed, text).swap_remove(0),
        owner: if mood == Mood::Fine { String::new() } else { "Team Payments".into() },
        env: "prod".into(),
        endpoints: points.iter().take(nodes as usize).map(|p| (*p).into()).collect(),
        health: (mood != Mood::Empty).then(|| explained(Level::Service, "pay.cart", mood, text)),
        shards: (0..shards).map(|i| shard(i, mood, text)).collect(),
        sentinels: (1..=nodes).map(|z| sentinel(z, mood, text)).collect(),
        alerts: alerts(mood, text).into_iter().take(2).collect(),
        operations: operations(mood, text),
        actions: if may { actions() } else { vec![] },
        capacity: capacity(mood, text),
        slo: slo(mood),
        zone_risk: zone_risk(mood, text),
    }
}

/// None of an older server, none found, and every class with text of others in it.
fn zone_risk(mood: Mood, text: &str) -> Option<ZoneRisk> {
    let finding = |class, rule: &str, off| RiskFinding {
        class,
        rule: rule.into(),
        about: format!("shard 0 {text}"),
        off,
        text: format!("all 3 nodes of shard 0 are on one host {text}"),
    };
    match mood {
        Mood::Blind => None,
        Mood::Trouble => Some(ZoneRisk::of(vec![
            finding(RiskClass::A, "shard_on_one_host", 100),
            finding(RiskClass::B, "link_down", 25),
            finding(RiskClass::C, "min_replicas", 10),
        ])),
        _ => Some(ZoneRisk::of(vec![])),
    }
}

fn missing(mood: Mood, text: &str) -> String {
    match mood {
        Mood::Blind => format!("the store is not available {text}"),
        _ => String::new(),
    }
}

pub fn health_page(mood: Mood, text: &str) -> HealthPage {
    let mut service = explained(Level::Service, "pay.cart", mood, text);
    if mood == Mood::Trouble {
        service.bars = vec![
            bar("child", "pay.cart/0", 21.3, "shard 0: 57.40", ""),
            bar("worst", "pay.cart/0", 21.3, "worst shard: pay.cart/0", ""),
        ];
        service.gates = vec![];
    }
    let children = if mood == Mood::Empty {
        vec![]
    } else {
        vec![
            explained(Level::Shard, "pay.cart/0", mood, text),
            explained(Level::Instance, "pay.cart@10.1.1.7:6379", mood, text),
            explained(Level::Instance, "pay.cart@10.1.2.7:6379", Mood::Fine, ""),
        ]
    };
    let shown = matches!(mood, Mood::Fine | Mood::Trouble);
    let score = service.score;
    let lever = |input: &str, unit: &str, value: f64| Lever {
        parameter: format!("set.pay.cart@10.1.1.7:6379.{input}"),
        instance: "pay.cart@10.1.1.7:6379".into(),
        input: input.into(),
        unit: unit.into(),
        value: Some(value),
        set: (mood == Mood::Fine).then_some(value * 1.2),
    };
    let mark = |ago_ms: i64, score: Option<f64>, gate: &str| HistoryMark {
        at: NOW - ago_ms,
        why: if gate.is_empty() { Mark::Grade } else { Mark::Gate },
        score,
        grade: score.map_or(Grade::Unknown, Grade::of),
        gates: if gate.is_empty() { vec![] } else { vec![gate.into()] },
    };
    let marks = vec![
        mark(840_000, Some(57.40), "no_replica"),
        mark(7_200_000, None, ""),
        mark(40_000_000, Some(96.4), ""),
    ];
    HealthPage {
        as_of: NOW,
        source: match mood {
            Mood::Fine => Source::WhatIf,
            Mood::Empty => Source::Stored,
            _ => Source::Live,
        },
        asked: (mood == Mood::Empty).then_some(NOW - 7_200_000),
        exact: mood != Mood::Empty,
        above: vec![
            Crumb { level: Level::Tenant, id: "pay".into(), link: "/tenants/pay/health".into() },
            Crumb { level: Level::System, id: format!("pay.shop {text}"), link: String::new() },
        ],
        children_count: children.len() + if mood == Mood::Trouble { 7 } else { 0 },
        children,
        overrides: json!({}),
        present: (mood == Mood::Fine).then(|| brief(Some(72.06), Grade::C, text)),
        inputs: match shown {
            true => {
                vec![lever("maxmemory_bytes", "bytes", 1e10), lever("maxclients", "count", 1e4)]
            }
            false => vec![],
        },
        history: if mood == Mood::Trouble { marks } else { vec![] },
        history_missing: missing(mood, text),
        health: Explained { score, ..service },
    }
}
