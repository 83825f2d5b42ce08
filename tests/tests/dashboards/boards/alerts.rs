//! Alerts, and what was done about them.

use super::{BAD, ODD, chain, count, firing};
use crate::board::{Board, Color, Kind, Panel, panel};

/// The dashboard.
pub fn board() -> Board {
    super::board(
        "cw-alerts",
        "cachewarden / Alerts and actions",
        "/alerts",
        chain(),
        "What fires, since when, whether somebody heard of it, and what was done.",
    )
    .row("Now", 4, now())
    .row("Alerts", 8, alerts())
    .row("Delivery", 7, delivery())
    .row("Actions", 7, actions())
}

fn now() -> Vec<Panel> {
    let level = |title, level: &str, what, color| {
        let of =
            format!("cachewarden_alert_state{{state=~\"firing|recovering\",level=\"{level}\",@i}}");
        panel(Kind::Stat, title, "none", what)
            .q("alerts", &count(&of))
            .steps(Color::Ok, &[(1.0, color)])
    };
    vec![
        level("Critical", "critical", "Critical alerts that fire. Somebody is paged for each.", Color::Crit),
        level("Warning", "warning", "Warnings that fire. For the working day.", Color::Warn)
            .may_be_zero("no warning fires in the test"),
        panel(Kind::Stat, "Pending", "none", "Alerts whose condition holds, but not yet for long enough.")
            .q("pending", &count(r#"cachewarden_alert_state{state="pending",@i}"#))
            .may_be_zero("alerts of the test fire soon"),
        panel(Kind::Stat, "Not delivered for", "s",
            "Age of the oldest change an Alertmanager has not taken. Above a minute nobody may hear of new alerts.")
            .q("age", "max(cachewarden_notifications_oldest_unsent_seconds)")
            .steps(Color::Ok, &[(60.0, Color::Crit)])
            .may_be_zero("the Alertmanager of the test takes everything"),
        panel(Kind::Stat, "Stuck operations", "none", "Operations that can neither finish nor undo: they need a person.")
            .q("stuck", r#"sum(cachewarden_operations{state="stuck"}) or vector(0)"#)
            .steps(Color::Ok, BAD).may_be_zero("no operation is stuck in the test"),
        panel(Kind::Stat, "In maintenance", "none", "Instances in a maintenance window: their alerts are not sent.")
            .q("instances", &count("cachewarden_instance_maintenance{@i} == 1"))
            .steps(Color::Ok, ODD).may_be_zero("no window is open in the test"),
    ]
}

fn alerts() -> Vec<Panel> {
    vec![
        firing("@i"),
        panel(Kind::Stacked, "Firing by alert", "none", "How many instances each alert fires for, over time.")
            .q("{{alertname}}", r#"count by (alertname) (cachewarden_alert_state{state=~"firing|recovering",@i})"#)
            .over_zero(),
        panel(Kind::Stacked, "Firing by tenant", "none", "Whose alerts they are.")
            .q("{{tenant}}", r#"count by (tenant) (cachewarden_alert_state{state=~"firing|recovering",@i})"#)
            .over_zero(),
        panel(Kind::Table, "Thresholds of their own", "none",
            "Instances whose threshold differs from the shipped one, with the policy and level.")
            .q("Threshold", "max by (tenant, system, service, instance, policy, level) (cachewarden_policy_threshold{@i})")
            .sorted("policy", false).may_be_missing("only instances with a threshold of their own have one").opens("cw-instance", &["tenant", "system", "service", "instance"]),
    ]
}

fn delivery() -> Vec<Panel> {
    vec![
        panel(Kind::Lines, "Alerts sent", "ops",
            "Alerts a second each Alertmanager took, repeats included. Nothing at all: the path is broken, for the Watchdog always goes.")
            .q("{{alertmanager}}", "sum by (alertmanager) (rate(cachewarden_notifications_sent_total[$__rate_interval]))")
            .over_zero().wide(8),
        panel(Kind::Lines, "Retried and dropped", "ops",
            "Deliveries tried again, and alerts given up. Any dropped one is an alert nobody heard of.")
            .q("retried", "sum(rate(cachewarden_notifications_retried_total[$__rate_interval]))")
            .q("dropped", "sum(rate(cachewarden_notifications_dropped_total[$__rate_interval]))")
            .color("retried", Color::Warn).color("dropped", Color::Crit).over_zero().wide(8)
            .may_be_zero("the Alertmanager of the test takes everything at once"),
        panel(Kind::Lines, "Watchdog", "s",
            "Seconds since the Watchdog of an evaluator came back through Alertmanager. Above some minutes: its path is broken.")
            .q("{{evaluator}}", "max by (evaluator) (cachewarden_watchdog_age_seconds)")
            .over_zero().wide(8)
            .may_be_empty("needs an Alertmanager that posts back, as in deploy/alertmanager.yml"),
    ]
}

fn actions() -> Vec<Panel> {
    vec![
        panel(Kind::Table, "Operations", "none", "Operations by kind and state.")
            .q("Operations", "max by (kind, state) (cachewarden_operations)")
            .sorted("state", false).wide(8)
            .may_be_empty("needs an operation; the tests of operations make them"),
        panel(Kind::Stacked, "Refusals by check, 1 h", "none",
            "Operations refused before anything was sent, by the check that refused.")
            .q("{{check}}", "sum by (check) (increase(cachewarden_operation_refusals_total[1h]))")
            .over_zero().wide(8)
            .may_be_zero("no operation is refused in the test"),
        panel(Kind::Stacked, "Decisions of remediation, 1 h", "none",
            "What was decided about incidents, and the guard that decided when nothing was done.")
            .q("{{runbook}}: {{decision}} {{guard}}", "sum by (runbook, decision, guard) (increase(cachewarden_remediation_decisions_total[1h]))")
            .over_zero().wide(8)
            .may_be_zero("the first decision is the first sample of its series"),
    ]
}
