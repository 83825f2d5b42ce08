//! Which dashboards there are, and what several of them share.

mod alerts;
mod capacity;
mod fleet;
mod instance;
mod latency;
mod memory;
mod own;
mod replication;
mod service;
mod tenant;

use crate::board::{Board, Color, Kind, Panel, Var, panel};
use crate::policy::thresholds;

/// All of them, in the order of the menu.
pub fn all() -> Vec<Board> {
    vec![
        fleet::board(),
        tenant::board(),
        service::board(),
        instance::board(),
        replication::board(),
        latency::board(),
        memory::board(),
        capacity::board(),
        alerts::board(),
        own::board(),
    ]
}

const TENANT: &str = "cachewarden_instance_expected";
const SYSTEM: &str = r#"cachewarden_instance_expected{tenant=~"$tenant"}"#;
const SERVICE: &str = r#"cachewarden_instance_expected{tenant=~"$tenant",system=~"$system"}"#;
const INSTANCE: &str =
    r#"cachewarden_instance_expected{tenant=~"$tenant",system=~"$system",service=~"$service"}"#;

fn var(name: &'static str, of: &'static str, many: bool) -> Var {
    Var { name, of, many }
}

/// The whole chain, several of each.
fn chain() -> Vec<Var> {
    vec![
        var("tenant", TENANT, true),
        var("system", SYSTEM, true),
        var("service", SERVICE, true),
        var("instance", INSTANCE, true),
    ]
}

fn board(
    uid: &'static str,
    title: &'static str,
    portal: &'static str,
    vars: Vec<Var>,
    what: &'static str,
) -> Board {
    Board { uid, title, what, vars, rows: Vec::new(), portal }
}

/// Colours of a health score, as it is graded: below 80 C, below 60 D or E.
const SCORE: &[(f64, Color)] = &[(60.0, Color::Warn), (80.0, Color::Ok)];

/// Colours of a share of something that should be whole.
const WHOLE: &[(f64, Color)] = &[(0.5, Color::Warn), (1.0, Color::Ok)];

/// Colours of a count of bad things.
const BAD: &[(f64, Color)] = &[(1.0, Color::Crit)];
const ODD: &[(f64, Color)] = &[(1.0, Color::Warn)];

/// Verdicts as figures: cachewarden_instance_state carries the verdict as a label.
const VERDICTS: &[(f64, &str, Color)] =
    &[(1.0, "up", Color::Ok), (2.0, "unknown", Color::Unknown), (3.0, "down", Color::Crit)];

const YES_NO: &[(f64, &str, Color)] = &[(0.0, "no", Color::Crit), (1.0, "yes", Color::Ok)];

/// Query of the verdict as a figure for `VERDICTS`.
fn verdict(select: &str) -> String {
    format!(
        "max by (instance) (cachewarden_instance_state{{state=\"up\",{select}}}) \
         or 2 * max by (instance) (cachewarden_instance_state{{state=\"unknown\",{select}}}) \
         or 3 * max by (instance) (cachewarden_instance_state{{state=\"down\",{select}}})"
    )
}

/// Masters that should be there and are not, service by service: one too many elsewhere hides none.
fn missing_masters() -> String {
    let expected = "cachewarden_masters_expected{@s}";
    format!(
        "sum(clamp_min({expected} - on (tenant, system, service) (service:redis_masters:count{{@s}} \
         or on (tenant, system, service) {expected} * 0), 0))"
    )
}

/// A count that is 0, and not missing, when there is none.
fn count(of: &str) -> String {
    format!("count({of}) or vector(0)")
}

/// Firing and recovering alerts that match, one row each.
fn firing(select: &str) -> Panel {
    let expr = format!(
        "max by (severity, alertname, tenant, system, service, instance) \
         (cachewarden_alert_state{{state=~\"firing|recovering\",{select}}})"
    );
    panel(
        Kind::Table,
        "Alerts that fire",
        "none",
        "Every alert that fires now. A click opens the instance; runbook and history are in the portal.",
    )
    .q("", &expr)
    .sorted("severity", false)
    .opens("cw-instance", &["tenant", "system", "service", "instance"])
}

/// Points of the score lost per dimension at that level.
fn losses(select: &str) -> Panel {
    panel(
        Kind::Stacked,
        "Lost points by dimension",
        "none",
        "What pulls the score down: points lost per dimension. The portal explains each point.",
    )
    .q(
        "{{dimension}}",
        &format!("sum by (dimension) (cachewarden_health_loss{{signal=\"\",{select}}})"),
    )
    .over_zero()
}

/// Lines of a ratio judged by a shipped policy.
fn judged(p: Panel, policy: &str) -> Panel {
    p.steps(Color::Ok, &thresholds(policy))
}
