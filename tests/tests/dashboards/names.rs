//! Every series there is: the catalogue, the figures of the process itself, the recording rules.

use std::collections::BTreeMap;

use exporter::catalog::{self, Kind, Page};
use serde_json::Value;

use crate::promql::{self, Labels};

/// Rules the dashboards ask.
pub const RULES: &str = include_str!("../../../rules/recording.yml");

/// Labels discovery attaches to every series of `/scrape`, and Prometheus' own.
const DISCOVERED: &[&str] =
    &["tenant", "system", "service", "shard", "instance", "zone", "site", "env", "tier", "job"];

/// The part of `/metrics/self` the dashboards ask for: name, whether it is a counter, labels. The
/// live test finds each on the page.
pub const OWN: &[(&str, bool, &[&str])] = &[
    ("cachewarden_alert_evaluations_total", true, &[]),
    ("cachewarden_alert_last_eval_timestamp_seconds", false, &[]),
    ("cachewarden_alert_samples_dropped_total", true, &["reason"]),
    ("cachewarden_alert_store_lag_seconds", false, &[]),
    ("cachewarden_build_info", false, &["version"]),
    ("cachewarden_config_last_reload_successful", false, &[]),
    ("cachewarden_http_connections", false, &[]),
    ("cachewarden_http_requests_in_flight", false, &[]),
    ("cachewarden_http_requests_total", true, &["class"]),
    ("cachewarden_loop_duration_seconds", false, &["loop"]),
    ("cachewarden_loop_errors_total", true, &["loop"]),
    ("cachewarden_loop_last_success_timestamp_seconds", false, &["loop"]),
    ("cachewarden_notifications_dropped_total", true, &["alertmanager", "reason"]),
    ("cachewarden_notifications_oldest_unsent_seconds", false, &["alertmanager"]),
    ("cachewarden_notifications_retried_total", true, &["alertmanager"]),
    ("cachewarden_notifications_sent_total", true, &["alertmanager"]),
    ("cachewarden_oldest_row_age_seconds", false, &[]),
    ("cachewarden_poll_duration_seconds_bucket", true, &["le"]),
    ("cachewarden_poll_failures_total", true, &["reason"]),
    ("cachewarden_polls_missed_total", true, &[]),
    ("cachewarden_polls_total", true, &["result"]),
    ("cachewarden_portal_info", false, &["url"]),
    ("cachewarden_rows", false, &[]),
    ("cachewarden_sealed", false, &[]),
    ("cachewarden_store_read_duration_seconds_bucket", true, &["le"]),
    ("cachewarden_watchdog_age_seconds", false, &["evaluator"]),
    ("process_cpu_seconds_total", true, &[]),
    ("process_max_fds", false, &[]),
    ("process_open_fds", false, &[]),
    ("process_resident_memory_bytes", false, &[]),
];

/// What is known of a series.
#[derive(Debug, Clone)]
pub struct Known {
    /// Only grows.
    pub counter: bool,
    /// Part of the lean profile.
    pub lean: bool,
    /// Its labels.
    pub labels: Labels,
    /// One sentence; empty for rules and own figures.
    pub help: String,
}

/// A recording rule.
pub struct Rule {
    /// Name.
    pub name: String,
    /// Expression.
    pub expr: String,
}

/// The rules of `rules/recording.yml`, in their order.
pub fn rules() -> Vec<Rule> {
    let file: Value = serde_saphyr::from_str(RULES).expect("rules/recording.yml is YAML");
    let groups = file["groups"].as_array().expect("groups").iter();
    let rules = groups.flat_map(|g| g["rules"].as_array().expect("rules").clone());
    let text = |rule: &Value, key: &str| rule[key].as_str().expect("a rule has both").to_string();
    rules.map(|r| Rule { name: text(&r, "record"), expr: text(&r, "expr") }).collect()
}

/// Every series by name.
pub fn known() -> BTreeMap<String, Known> {
    let set = |names: &[&str]| -> Labels { names.iter().map(|n| n.to_string()).collect() };
    let mut all = BTreeMap::new();
    for m in catalog::metrics() {
        let mut labels = set(m.labels);
        labels.extend(match m.page {
            Page::Scrape => set(DISCOVERED),
            Page::Metrics => set(object_labels(m.name)),
        });
        let counter = m.kind == Kind::Counter;
        let help = m.help.to_string();
        all.insert(m.name.to_string(), Known { counter, lean: m.lean, labels, help });
    }
    for (name, counter, own) in OWN {
        let mut labels = set(own);
        labels.extend(set(&["instance", "job"]));
        let own = Known { counter: *counter, lean: true, labels, help: String::new() };
        all.insert(name.to_string(), own);
    }
    for rule in rules() {
        let query = promql::read(&rule.expr).expect("a rule parses");
        let of = |name: &str| all.get(name).map(|k: &Known| k.labels.clone()).unwrap_or_default();
        let labels = query.answers(&of);
        let known = Known { counter: false, lean: true, labels, help: String::new() };
        all.insert(rule.name, known);
    }
    all
}

/// Labels of the object a series of `/metrics` is about, on top of its own.
fn object_labels(name: &str) -> &'static [&'static str] {
    const INSTANCE: &[&str] = &["tenant", "system", "service", "instance", "zone", "job"];
    const SERVICE: &[&str] = &["tenant", "system", "service", "job"];
    let starts = |all: &[&str]| all.iter().any(|start| name.starts_with(start));
    if starts(&["cachewarden_service_", "cachewarden_masters_", "cachewarden_slo_"]) {
        SERVICE
    } else if starts(&["cachewarden_operation", "cachewarden_remediation_"]) {
        &["job"]
    } else if name == "cachewarden_alert_state" {
        &["tenant", "system", "service", "instance", "zone", "job", "severity"]
    } else {
        INSTANCE
    }
}
