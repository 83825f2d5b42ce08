//! The first page: is the fleet fine, where is it not.

use super::{BAD, ODD, SCORE, SYSTEM, TENANT, count, firing, judged, var};
use crate::board::{Board, Color, Kind, panel};

/// The dashboard.
pub fn board() -> Board {
    let now =
        vec![
        panel(Kind::Stat, "Health of the fleet", "none",
            "The worst tenants weigh most. Below 80 something is lost already; below 60 act now.")
            .q("score", r#"max(cachewarden_health_score{level="fleet"})"#)
            .steps(Color::Crit, SCORE).between(0.0, 100.0),
        panel(Kind::Stat, "Instances down", "none",
            "Instances whose verdict is down: several witnesses agree. Any is work for somebody.")
            .q("down", &count(r#"cachewarden_instance_state{state="down",@i}"#))
            .steps(Color::Ok, BAD),
        panel(Kind::Stat, "Instances unknown", "none",
            "Instances nobody can judge: unknown is neither up nor down. Look at why below.")
            .q("unknown", &count(r#"cachewarden_instance_state{state="unknown",@i}"#))
            .steps(Color::Ok, ODD),
        panel(Kind::Stat, "Critical alerts", "none",
            "Alerts of level critical that fire. Somebody is paged for each.")
            .q("critical", &count(
                r#"cachewarden_alert_state{state=~"firing|recovering",level="critical",@t}"#))
            .steps(Color::Ok, BAD),
        panel(Kind::Stat, "Services below grade B", "none",
            "Services graded C, D or E. The table below names them.")
            .q("services", &count(
                r#"cachewarden_health_grade{level="service",@t} <= 3 > 0"#))
            .steps(Color::Ok, ODD),
        panel(Kind::Stat, "Operations at work", "none",
            "Operations that run, verify, undo, or are stuck and need a person.")
            .q("operations", &format!("sum({}) or vector(0)",
                r#"cachewarden_operations{state=~"running|verifying|unwinding|stuck"}"#))
            .may_be_zero("no operation runs in the test"),
    ];
    let where_ = vec![
        panel(Kind::Table, "Worst services", "none",
            "Lowest scores first, with what may be the cause beside them. A click opens the service.")
            .q("Score", r#"bottomk(20, max by (tenant, system, service) (cachewarden_health_score{level="service",@t}))"#)
            .q("Up", r#"max by (tenant, system, service) (service:redis_up:ratio{@t})"#)
            .q("Memory", r#"max by (tenant, system, service) (service:redis_memory_used:max_ratio{@t})"#)
            .q("Clients", "max by (tenant, system, service) (service:redis_connected_clients:max_ratio{@t})")
            .q("Slow, 5 min", "max by (tenant, system, service) (service:redis_slow_commands:increase5m{@t})")
            .q("Lag", "max by (tenant, system, service) (service:cachewarden_replica_lag_bytes:max{@t})")
            .q("Commands/s", "max by (tenant, system, service) (service:redis_commands_processed:rate1m{@t})")
            .only_first("tenant, system, service")
            .column("Up", "percentunit").column("Memory", "percentunit")
            .column("Clients", "percentunit").column("Slow, 5 min", "short").column("Lag", "bytes")
            .column("Commands/s", "ops")
            .steps(Color::Crit, SCORE).sorted("Score", false)
            .opens("cw-service", &["tenant", "system", "service"]),
        firing("@t"),
    ];
    let state = vec![
        panel(Kind::Stacked, "Instances by verdict", "none",
            "How many instances are up, down and unknown. A step in the lower two is an incident.")
            .q("{{state}}", r#"sum by (state) (cachewarden_instance_state{@i})"#)
            .color("up", Color::Ok).color("down", Color::Crit).color("unknown", Color::Unknown)
            .over_zero().wide(8),
        panel(Kind::Lines, "Reachable by zone", "percentunit",
            "Share of the instances of a zone whose INFO was read. One zone alone that falls: its network, power, or our way to it.")
            .q("{{zone}}", "avg by (zone) (redis_up{@i})").between(0.0, 1.0).wide(8),
        panel(Kind::Lines, "Health by tenant", "none",
            "Scores of the tenants. A line that falls alone is that tenant's; all together, ours or the network's.")
            .q("{{tenant}}", r#"max by (tenant) (cachewarden_health_score{level="tenant",@t})"#)
            .between(0.0, 100.0).wide(8).opens("cw-tenant", &["tenant"]),
        panel(Kind::Lines, "Failed polls by reason", "none",
            "Instances that cannot be read now, by reason. auth: a password changed; timeout: a blocked server or network.")
            .q("{{reason}}", r#"count by (reason) (cachewarden_scrape_error{@i})"#).over_zero().wide(12),
        judged(panel(Kind::Lines, "Fullest services", "percentunit",
            "Highest share of maxmemory of any node of a service. At 100 % writes fail or keys are evicted.")
            .q("{{tenant}}.{{service}}", "topk(10, service:redis_memory_used:max_ratio{@t})")
            .over_zero().wide(12).opens("cw-service", &["tenant", "system", "service"]), "memory-used"),
    ];
    let load =
        vec![
        panel(Kind::Stacked, "Commands by tenant", "ops",
            "Commands a second. A sudden fall is an outage upstream, a sudden rise a retry storm.")
            .q("{{tenant}}", "sum by (tenant) (service:redis_commands_processed:rate1m{@t})")
            .over_zero().wide(6),
        panel(Kind::Stacked, "Memory by tenant", "bytes",
            "Memory used by data and buffers, replicas included.")
            .q("{{tenant}}", "sum by (tenant) (service:redis_memory_used_bytes:sum{@t})")
            .over_zero().wide(6),
        panel(Kind::Stacked, "Clients by tenant", "none",
            "Open client connections. A fall to near nothing means the clients cannot connect.")
            .q("{{tenant}}", "sum by (tenant) (service:redis_connected_clients:sum{@t})")
            .over_zero().wide(6),
        panel(Kind::Stacked, "Network by tenant", "binBps",
            "Bytes a second in and out of all servers. A rise without more commands: values grew.")
            .q("{{tenant}}", "sum by (tenant) (service:redis_net_bytes:rate1m{@t})")
            .over_zero().wide(6),
    ];
    super::board(
        "cw-fleet",
        "cachewarden / Fleet",
        "/overview",
        vec![var("tenant", TENANT, true), var("zone", SYSTEM, true)],
        "Is the fleet fine, where is it not, since when.",
    )
    .row("Now", 4, now)
    .row("Where", 9, where_)
    .row("Since when", 7, state)
    .row("Load", 7, load)
}
