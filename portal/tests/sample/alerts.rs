//! Alerts and incidents with their stories.

use super::*;

fn alert(
    id: &str,
    name: &str,
    level: AlertLevel,
    phase: Phase,
    service: &str,
    ago: i64,
    text: &str,
) -> Alert {
    let mut labels: BTreeMap<String, String> =
        [("alertname", name), ("service", service), ("zone", "az-3"), ("tier", "core")]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
    let mut annotations: BTreeMap<String, String> = [
        ("summary", "10.1.3.7:6379 has been down for 14 minutes"),
        ("description", "Three probes in a row failed and the port refuses."),
        ("runbook_url", "https://runbooks.bank.example/instance-down"),
    ]
    .map(|(k, v)| (k.into(), v.into()))
    .into();
    if !text.is_empty() {
        labels.insert("note".into(), text.into());
        annotations.insert("summary".into(), text.into());
        annotations.insert("bad_url".into(), "javascript:alert(1)".into());
    }
    Alert {
        id: id.into(),
        fingerprint: "a3f1".into(),
        source: if level == AlertLevel::Info {
            AlertSource::Alertmanager
        } else {
            AlertSource::Embedded
        },
        tenant: Some("pay".parse().unwrap()),
        service: (!service.is_empty()).then(|| service.parse().unwrap()),
        instance: (service == "pay.cart").then(|| "pay.cart@10.1.3.7:6379".parse().unwrap()),
        alertname: name.into(),
        policy: if level == AlertLevel::Info { String::new() } else { "instance-down".into() },
        level,
        phase,
        labels,
        annotations,
        value: (level != AlertLevel::Info).then_some(0.88),
        threshold: (level != AlertLevel::Info).then_some(0.85),
        runbooks: vec!["replica-restart".into()],
        starts_at: NOW - ago,
        ends_at: (phase == Phase::Resolved).then_some(NOW - 60_000),
        last_seen: NOW - 15_000,
        reason: if phase == Phase::Resolved { "threshold".into() } else { String::new() },
    }
}

pub fn alerts(mood: Mood, text: &str) -> Vec<Alert> {
    if mood != Mood::Trouble {
        return vec![];
    }
    use AlertLevel::{Critical, Info, Warning};
    vec![
        alert("9f2c41d0", "InstanceDown", Critical, Phase::Firing, "pay.cart", 840_000, text),
        alert("9f2c41d1", "ReplicaMissing", Critical, Phase::Firing, "pay.cart", 780_000, ""),
        alert("9f2c41d2", "MemoryHigh", Warning, Phase::Firing, "pay.ledger", 9_000_000, ""),
        alert("9f2c41d3", "Watchdog", Info, Phase::Firing, "", 864_000_000, ""),
        alert("9f2c41d4", "SlowCommands", Warning, Phase::Recovering, "crm.session", 1_260_000, ""),
        alert("9f2c41d5", "ClientsHigh", Warning, Phase::Resolved, "crm.session", 12_600_000, ""),
    ]
}

pub fn alert_page(mood: Mood, text: &str) -> AlertPage {
    let t = |ago, from, to, v, reason: &str| Transition {
        alert_id: "9f2c".into(),
        at: NOW - ago,
        from,
        to,
        value: v,
        threshold: v.map(|_| 0.85),
        reason: reason.into(),
        in_maintenance: to == Phase::Firing,
    };
    let full = mood == Mood::Trouble;
    AlertPage {
        alert: alert(
            "9f2c41d0",
            "InstanceDown",
            AlertLevel::Critical,
            if full { Phase::Firing } else { Phase::Resolved },
            "pay.cart",
            840_000,
            text,
        ),
        transitions: if full {
            vec![
                t(900_000, Phase::Inactive, Phase::Pending, Some(0.86), ""),
                t(840_000, Phase::Pending, Phase::Firing, Some(0.88), text),
            ]
        } else {
            vec![]
        },
        deliveries: if full {
            vec![
                DeliveryLine {
                    receiver: "http://alertmanager-1.bank.example:9093".into(),
                    state: "seen".into(),
                    at: NOW - 838_000,
                    detail: String::new(),
                },
                DeliveryLine {
                    receiver: "http://alertmanager-2.bank.example:9093".into(),
                    state: "rejected".into(),
                    at: NOW - 838_000,
                    detail: format!("503 Service Unavailable {text}"),
                },
            ]
        } else {
            vec![]
        },
        incidents: if full { incidents(mood, text).into_iter().take(1).collect() } else { vec![] },
        ack: (mood == Mood::Fine).then(|| model::history::Ack {
            by: format!("local/lin.wei{text}"),
            at: NOW - 60_000,
            note: text.into(),
        }),
        hold: full.then(|| model::history::Hold {
            alert_id: "9f2c41d0".into(),
            why: format!("maintenance m1{text}"),
            withheld_at: NOW - 840_000,
            released_at: Some(NOW - 600_000),
        }),
    }
}

pub fn incidents(mood: Mood, text: &str) -> Vec<Incident> {
    if mood != Mood::Trouble {
        return vec![];
    }
    let one =
        |id: &str, runbook: &str, name: &str, state, reason: &str, op: Option<&str>, ago: i64| {
            Incident {
                id: id.into(),
                runbook: runbook.into(),
                tenant: Some("pay".parse().unwrap()),
                service: Some("pay.cart".parse().unwrap()),
                instance: Some("pay.cart@10.1.3.7:6379".parse().unwrap()),
                alert_id: "9f2c41d0".into(),
                alertname: name.into(),
                state,
                reason: reason.into(),
                count: 3,
                reopened: 0,
                opened_at: NOW - ago,
                closed_at: (state == IncidentState::Closed).then_some(NOW - 60_000),
                operation: op.map(Into::into),
            }
        };
    vec![
        one(
            "77ab3c9d01e2f4",
            "replica-restart",
            "InstanceDown",
            IncidentState::Acting,
            text,
            Some(OP),
            835_000,
        ),
        one(
            "77ab3c9d01e2f5",
            "memory-raise",
            "MemoryHigh",
            IncidentState::Closed,
            "suppressed: observe mode",
            None,
            8_900_000,
        ),
        one(
            "77ab3c9d01e2f6",
            "quorum-restore",
            "SentinelQuorum",
            IncidentState::Escalated,
            "no eligible replica",
            None,
            96_000_000,
        ),
    ]
}

pub fn incident_page(mood: Mood, text: &str) -> IncidentPage {
    let seen = |guard: &str, passed, seen: &str| GuardSeen {
        guard: guard.into(),
        passed,
        seen: seen.into(),
    };
    let suppressed = Decision {
        incident_id: "77ab".into(),
        at: NOW - 820_000,
        verb: Verb::Suppressed,
        guard: "mode".into(),
        reason: format!("runbook replica-restart is in observe for tenant pay {text}"),
        guards: vec![
            seen("kill_switch", true, "off"),
            seen("managed", true, "pay.cart is managed"),
            seen("rate", true, "0 of 3 in the last hour"),
            seen("blast_radius", true, "1 replica of 3 nodes"),
            seen("mode", false, "observe; auto is needed"),
        ],
        plan: Some(plan(Mood::Fine, text)),
    };
    let auto = Decision {
        at: NOW - 600_000,
        verb: Verb::Auto,
        guard: "all".into(),
        reason: "every guard passed".into(),
        guards: vec![seen("mode", true, "auto since 10 min")],
        plan: None,
        ..suppressed.clone()
    };
    let incident = incidents(Mood::Trouble, text).remove(if mood == Mood::Trouble { 0 } else { 1 });
    IncidentPage {
        incident,
        decisions: match mood {
            Mood::Trouble => vec![auto, suppressed],
            Mood::Fine => vec![suppressed],
            _ => vec![],
        },
        evidence: evidence(mood, text),
        alert: (mood == Mood::Trouble).then(|| alerts(mood, text).remove(0)),
        operation: (mood == Mood::Trouble).then(|| operations(mood, text).remove(0)),
        waits_with: (mood == Mood::Fine).then(|| "5f0c".into()),
    }
}

fn evidence(mood: Mood, text: &str) -> Vec<Evidence> {
    let part = |what: &str, lines: &[&str]| EvidencePart {
        instance: Some("pay.cart@10.1.0.7:6379".parse().unwrap()),
        what: what.into(),
        commands: vec!["SLOWLOG GET 32".into()],
        lines: lines.iter().map(|l| format!("{l} {text}")).collect(),
        left_out: 3,
        failed: None,
    };
    let mut parts = vec![part("reading", &["down at 09:00: refused"]), part("slow_log", &[])];
    parts.push(EvidencePart { failed: Some(format!("timeout {text}")), ..part("info", &[]) });
    let one =
        Evidence { incident_id: "77ab".into(), opening: 0, at: NOW - 820_000, took_ms: 512, parts };
    if mood == Mood::Trouble { vec![one] } else { vec![] }
}
