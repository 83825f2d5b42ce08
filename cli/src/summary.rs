//! `get overview` and `get me`: one value that is more than a list, for people.
//!
//! Invariant: what is printed is what the API answered; what it does not know is `?`, never 0.

use serde_json::Value;

use crate::table::{Column, plain, rows, text};

const ZONES: &[Column] = &[
    ("ZONE", "zone"),
    ("INSTANCES", "verdicts.+"),
    ("UP", "verdicts.up"),
    ("DOWN", "verdicts.down"),
    ("UNKNOWN", "verdicts.unknown"),
    ("MASTERS", "masters"),
];
const WORST: &[Column] = &[
    ("SERVICE", "id"),
    ("SCORE", "health.score"),
    ("GRADE", "health.grade"),
    ("ALERTS", "alerts"),
    ("CAUSE", "health.cause"),
];
const ALERTS: &[Column] = &[
    ("LEVEL", "level"),
    ("ALERT", "alertname"),
    ("SERVICE", "service"),
    ("INSTANCE", "instance"),
    ("SINCE", "starts_at"),
];
const OPERATIONS: &[Column] = &[
    ("OPERATION", "title"),
    ("STATE", "state"),
    ("DONE", "steps_done"),
    ("STEPS", "steps"),
    ("BY", "created_by"),
    ("ID", "id"),
];
const CHANGES: &[Column] = &[("AT", "at"), ("CHANGE", "text")];
const GRANTS: &[Column] = &[("SCOPE", "1"), ("RIGHTS", "0")];

/// The overview: is the fleet fine, where not, since when, who acts.
pub fn overview(v: &Value) -> String {
    let verdicts = &v["verdicts"];
    let before = match v["score_before"]["v"].as_f64() {
        Some(score) => format!(", was {score:.2} at {}", text(&v["score_before"]["t"])),
        None => String::new(),
    };
    let health = &v["health"];
    let mut out = String::new();
    let mut line = |what: &str, said: String| out.push_str(&format!("{what:<10} {said}\n"));
    line("score", format!("{} {}{before}", known(&health["score"]), text(&health["grade"])));
    if let Some(cause) = health["cause"].as_str().filter(|c| !c.is_empty()) {
        line("cause", plain(cause));
    }
    line(
        "instances",
        format!(
            "{} up, {} down, {} unknown, in {} services",
            verdicts["up"], verdicts["down"], verdicts["unknown"], v["services"]
        ),
    );
    line("firing", levels(&v["firing"]));
    line("commands", format!("{} per second", known(&v["ops_per_s"])));
    line("memory", memory(v));
    match v["kill_switch"].as_bool() {
        Some(true) => line("automatic", "nothing: the kill switch is on".into()),
        Some(false) => {}
        None => line("automatic", "?".into()),
    }
    if let Some(words) = v["imbalance"].as_str().filter(|w| !w.is_empty()) {
        line("balance", plain(words));
    }
    for notice in v["notices"].as_array().into_iter().flatten() {
        line("note", text(notice));
    }
    for (name, columns) in [
        ("zones", ZONES),
        ("worst", WORST),
        ("alerts", ALERTS),
        ("operations", OPERATIONS),
        ("changes", CHANGES),
    ] {
        match v[name].as_array() {
            Some(items) if !items.is_empty() => {
                out.push_str(&format!("\n{}", rows(columns, items)))
            }
            _ => {}
        }
    }
    out
}

/// Who I am, and what I may do where.
pub fn me(v: &Value) -> String {
    let mut out = format!("name       {}\ndisplay    {}\n", text(&v["name"]), text(&v["display"]));
    if let Some([at, address]) = v["last_login"].as_array().map(Vec::as_slice) {
        out.push_str(&format!("last login {} from {}\n", text(at), text(address)));
    }
    match v["grants"].as_array() {
        Some(grants) if !grants.is_empty() => out.push_str(&format!("\n{}", rows(GRANTS, grants))),
        _ => out.push_str("no grants\n"),
    }
    out
}

fn known(value: &Value) -> String {
    match value {
        Value::Null => "?".into(),
        value => text(value),
    }
}

fn levels(firing: &Value) -> String {
    match firing.as_array().map(Vec::as_slice) {
        Some([info, warning, critical]) => {
            format!("{critical} critical, {warning} warning, {info} info")
        }
        _ => "?".into(),
    }
}

fn memory(v: &Value) -> String {
    let mib = |value: &Value| match value.as_f64() {
        Some(bytes) => format!("{:.1} MiB", bytes / 1_048_576.0),
        None => "?".into(),
    };
    match v["memory_max_bytes"].is_null() {
        true => mib(&v["memory_used_bytes"]),
        false => format!("{} of {}", mib(&v["memory_used_bytes"]), mib(&v["memory_max_bytes"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_known_is_a_question_mark_and_never_a_zero() {
        let v = json!({
            "health": {"score": null, "grade": "?", "cause": "not scored yet"},
            "score_before": null, "verdicts": {"up": 0, "down": 0, "unknown": 6}, "services": 1,
            "firing": null, "ops_per_s": null, "memory_used_bytes": null, "memory_max_bytes": null,
            "kill_switch": null, "imbalance": "", "notices": ["the store is away"], "zones": [],
            "worst": [], "alerts": [], "operations": [], "changes": [],
        });
        let said = overview(&v);
        for line in
            ["score      ? ?", "firing     ?", "commands   ? per", "memory     ?", "automatic  ?"]
        {
            assert!(said.contains(line), "{line}: {said}");
        }
    }

    #[test]
    fn the_overview_says_where_the_trouble_is() {
        let v = json!({
            "health": {"score": 61.5, "grade": "C", "cause": "a replica is down"},
            "score_before": {"t": "2026-01-01T00:00:00Z", "v": 99.0},
            "verdicts": {"up": 5, "down": 1, "unknown": 0}, "services": 1, "firing": [0, 1, 2],
            "ops_per_s": 10.0, "memory_used_bytes": 1048576.0, "memory_max_bytes": 2097152.0,
            "kill_switch": false, "imbalance": "", "notices": [],
            "zones": [{"zone": "az-1", "verdicts": {"up": 5, "down": 1, "unknown": 0}, "masters": 3}],
            "worst": [{"id": "pay.cart", "health": {"score": 61.5, "grade": "C", "cause": "x"}, "alerts": 3}],
            "alerts": [], "operations": [], "changes": [],
        });
        let said = overview(&v);
        for part in [
            "61.50 C, was 99.00",
            "5 up, 1 down, 0 unknown, in 1 services",
            "2 critical, 1 warning, 0 info",
            "1.0 MiB of 2.0 MiB",
            "az-1  6",
            "pay.cart  61.50",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }

    #[test]
    fn who_i_am_names_each_scope_with_its_rights() {
        let v = json!({
            "name": "local/ann", "display": "Ann", "last_login": ["2026-01-01T00:00:00Z", "::1"],
            "grants": [[["fleet.read", "op.low"], "tenant:pay"]],
        });
        let said = me(&v);
        assert!(said.contains("tenant:pay  fleet.read,op.low"), "{said}");
        assert!(said.contains("last login 2026-01-01T00:00:00Z from ::1"), "{said}");
    }
}
