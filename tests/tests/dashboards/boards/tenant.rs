//! One tenant: its systems and services.

use super::{BAD, SCORE, SYSTEM, TENANT, count, firing, judged, losses, var};
use crate::board::{Board, Color, Kind, panel};

/// The dashboard.
pub fn board() -> Board {
    let now = vec![
        panel(Kind::Stat, "Health", "none",
            "Score of the tenant. Below 80 something is lost already; below 60 act now.")
            .q("score", r#"max(cachewarden_health_score{level="tenant",@t})"#)
            .steps(Color::Crit, SCORE).between(0.0, 100.0),
        panel(Kind::Stat, "Instances down", "none",
            "Instances whose verdict is down. Any is work for somebody.")
            .q("down", &count(r#"cachewarden_instance_state{state="down",@i}"#))
            .steps(Color::Ok, BAD),
        panel(Kind::Stat, "Alerts", "none",
            "Alerts of every level that fire for this tenant.")
            .q("alerts", &count(r#"cachewarden_alert_state{state=~"firing|recovering",@y}"#))
            .steps(Color::Ok, BAD),
        panel(Kind::Stat, "Commands", "ops",
            "Commands a second over all services. Compare with the same hour of yesterday.")
            .q("commands", "sum(service:redis_commands_processed:rate1m{@y})"),
        panel(Kind::Stat, "Memory used", "bytes",
            "Memory of all nodes, replicas included. What the tenant's quota is about.")
            .q("memory", "sum(service:redis_memory_used_bytes:sum{@y})"),
        panel(Kind::Stat, "Hit rate", "percentunit",
            "Reads that found their key, over all services. A fall means a cold cache or lost keys.")
            .q("hits", &hit_rate()).between(0.0, 1.0),
    ];
    let services = vec![
        panel(
            Kind::Table,
            "Services",
            "none",
            "Every service of the tenant, worst first. A click opens it.",
        )
        .q(
            "Score",
            r#"max by (tenant, system, service) (cachewarden_health_score{level="service",@y})"#,
        )
        .q("Up", "max by (tenant, system, service) (service:redis_up:ratio{@y})")
        .q("Memory", "max by (tenant, system, service) (service:redis_memory_used:max_ratio{@y})")
        .q("Clients", "max by (tenant, system, service) (service:redis_connected_clients:sum{@y})")
        .q(
            "Commands/s",
            "max by (tenant, system, service) (service:redis_commands_processed:rate1m{@y})",
        )
        .q(
            "Command time",
            "max by (tenant, system, service) (service:redis_commands_duration_seconds:mean5m{@y})",
        )
        .q("Keys", "max by (tenant, system, service) (service:redis_db_keys:sum{@y})")
        .column("Up", "percentunit")
        .column("Memory", "percentunit")
        .column("Commands/s", "ops")
        .column("Command time", "s")
        .column("Keys", "short")
        .steps(Color::Crit, SCORE)
        .sorted("Score", false)
        .wide(24)
        .opens("cw-service", &["tenant", "system", "service"]),
    ];
    let course = vec![
        panel(Kind::Lines, "Health by business system", "none",
            "Scores of the business systems. The lowest is where to look first.")
            .q("{{system}}", r#"max by (system) (cachewarden_health_score{level="system",@y})"#)
            .between(0.0, 100.0).wide(8),
        losses(r#"level="instance",@i"#).wide(8),
        firing("@y").wide(8),
        judged(panel(Kind::Lines, "Fullest services", "percentunit",
            "Highest share of maxmemory of any node of a service.")
            .q("{{service}}", "topk(10, service:redis_memory_used:max_ratio{@y})")
            .over_zero().wide(8).opens("cw-service", &["tenant", "system", "service"]), "memory-used"),
        panel(Kind::Stacked, "Commands by service", "ops",
            "Who makes the load. The ten busiest.")
            .q("{{service}}", "topk(10, service:redis_commands_processed:rate1m{@y})")
            .over_zero().wide(8).opens("cw-service", &["tenant", "system", "service"]),
        panel(Kind::Stacked, "Evicted keys by service", "ops",
            "Keys removed because memory was full. Fine for a cache that is meant to be full, loss for anything else.")
            .q("{{service}}", "topk(10, service:redis_evicted_keys:rate5m{@y})")
            .over_zero().wide(8).opens("cw-service", &["tenant", "system", "service"]),
    ];
    super::board(
        "cw-tenant",
        "cachewarden / Tenant",
        "/services?in=${tenant}",
        vec![var("tenant", TENANT, false), var("system", SYSTEM, true)],
        "One tenant: which of its services is not fine, and what the tenant uses.",
    )
    .row("Now", 4, now)
    .row("Services", 9, services)
    .row("Course", 8, course)
}

fn hit_rate() -> String {
    let rate = |name: &str| format!("sum(rate({name}{{@i}}[$__rate_interval]))");
    let hits = rate("redis_keyspace_hits_total");
    format!("{hits} / ({hits} + {} > 0)", rate("redis_keyspace_misses_total"))
}
