//! One service: is it complete, who takes the load, what is it waiting for.

use super::{
    BAD, SCORE, SERVICE, SYSTEM, TENANT, VERDICTS, WHOLE, firing, judged, losses, missing_masters,
    var, verdict,
};
use crate::board::{Board, Color, Kind, Panel, panel};

/// The dashboard.
pub fn board() -> Board {
    super::board(
        "cw-service",
        "cachewarden / Service",
        "/services/${tenant}.${service}/health",
        vec![
            var("tenant", TENANT, false),
            var("system", SYSTEM, true),
            var("service", SERVICE, false),
        ],
        "One service: is it complete, who takes the load, what does it wait for.",
    )
    .row("Now", 4, now())
    .row("Nodes", 8, nodes())
    .row("Load", 7, load())
    .row("Limits", 7, limits())
}

fn now() -> Vec<Panel> {
    vec![
        panel(Kind::Stat, "Health", "none",
            "Score of the service. Below 80 something is lost already; below 60 act now.")
            .q("score", r#"max(cachewarden_health_score{level="service",@s})"#)
            .steps(Color::Crit, SCORE).between(0.0, 100.0),
        panel(Kind::Stat, "Reachable", "percentunit",
            "Share of the nodes whose INFO was read.")
            .q("up", "avg(redis_up{@s})").steps(Color::Crit, WHOLE).between(0.0, 1.0),
        panel(Kind::Stat, "Missing masters", "none",
            "Masters that should be there and are not. Above 0: some keys cannot be written.")
            .q("missing", &missing_masters())
            .steps(Color::Ok, BAD),
        panel(Kind::Stat, "Missing replicas", "none",
            "Replicas wanted and not attached. Above 0: the next failure may find nobody to take over.")
            .q("missing", "sum(clamp_min(cachewarden_replicas_expected{@s} - on (instance) redis_connected_slaves{@s}, 0))")
            .steps(Color::Ok, BAD)
            .may_be_zero("every replica of the test's fleet is attached"),
        panel(Kind::Stat, "Commands", "ops", "Commands a second over all nodes.")
            .q("commands", "sum(service:redis_commands_processed:rate1m{@s})"),
        panel(Kind::Stat, "Mean command time", "s",
            "Mean time in a command, last 5 min, without network and queue. Above 1 ms somebody runs long commands.")
            .q("time", "max(service:redis_commands_duration_seconds:mean5m{@s})")
            .steps(Color::Ok, &[(0.001, Color::Warn), (0.01, Color::Crit)]),
    ]
}

fn nodes() -> Vec<Panel> {
    vec![
        panel(
            Kind::States,
            "Verdict by node",
            "none",
            "Since when which node is down or unknown. Grey is unknown, never up.",
        )
        .q("{{instance}}", &verdict("@s"))
        .words(VERDICTS),
        panel(Kind::Table, "Nodes", "none", "Who is what, now. A click opens the node.")
            .q(
                "Score",
                r#"max by (instance, zone) (cachewarden_health_score{level="instance",@s})"#,
            )
            .q("", r#"max by (instance, zone, role, redis_version) (redis_instance_info{@s})"#)
            .q("Memory", "max by (instance, zone) (instance:redis_memory_used:ratio{@s})")
            .q("Clients", "max by (instance, zone) (redis_connected_clients{@s})")
            .q(
                "Commands/s",
                "max by (instance, zone) (instance:redis_commands_processed:rate1m{@s})",
            )
            .column("Memory", "percentunit")
            .column("Commands/s", "ops")
            .steps(Color::Crit, SCORE)
            .sorted("Score", false)
            .opens("cw-instance", &["instance"]),
        losses(r#"level="instance",@s"#),
        firing("@s"),
    ]
}

fn load() -> Vec<Panel> {
    vec![
        panel(Kind::Stacked, "Commands by node", "ops",
            "Commands a second. In a cluster one node far above the others holds a hot slot.")
            .q("{{instance}}", "max by (instance) (instance:redis_commands_processed:rate1m{@s})")
            .over_zero().wide(8).opens("cw-instance", &["instance"]),
        panel(Kind::Lines, "Time of the main thread by node", "percentunit",
            "Share of a second spent in commands. Near 100 % the thread is full and everybody waits.")
            .q("{{instance}}", "max by (instance) (instance:redis_commands_duration_seconds:rate1m{@s})")
            .steps(Color::Ok, &[(0.7, Color::Warn), (0.9, Color::Crit)])
            .over_zero().wide(8).opens("cw-instance", &["instance"]),
        panel(Kind::Lines, "Slow commands", "none",
            "Entries new in the slow log, last 5 min, by node. The slow log itself is in the portal.")
            .q("{{instance}}", "max by (instance) (instance:redis_slow_commands:increase5m{@s})")
            .over_zero().wide(8).opens("cw-latency", &["instance"]),
        panel(Kind::Lines, "Hit rate", "percentunit",
            "Reads that found their key. A fall means a cold cache, lost keys or a changed client.")
            .q("{{service}}", "service:redis_keyspace_hits:ratio_rate5m{@s}")
            .between(0.0, 1.0).wide(8),
        panel(Kind::Lines, "Network", "binBps", "Bytes in and out over all nodes.")
            .q("in", "sum(rate(redis_net_input_bytes_total{@s}[$__rate_interval]))")
            .q("out", "sum(rate(redis_net_output_bytes_total{@s}[$__rate_interval]))")
            .color("in", Color::Info).color("out", Color::Warn).over_zero().wide(8),
        panel(Kind::Stacked, "Errors by name", "ops",
            "Error replies a second. OOM: memory is full; NOAUTH, WRONGPASS: a client's password; MOVED is normal in a cluster.")
            .q("{{err}}", "topk(8, sum by (err) (rate(redis_errors_total{@s}[$__rate_interval])))")
            .over_zero().wide(8),
    ]
}

fn limits() -> Vec<Panel> {
    vec![
        judged(panel(Kind::Lines, "Memory by node", "percentunit",
            "Used share of maxmemory. At 100 % writes fail or keys are evicted. A node without a limit has no line.")
            .q("{{instance}}", "max by (instance) (instance:redis_memory_used:ratio{@s})")
            .over_zero().wide(8).opens("cw-memory", &["instance"]), "memory-used"),
        judged(panel(Kind::Lines, "Clients by node", "percentunit",
            "Used share of maxclients. At 100 % new clients are refused.")
            .q("{{instance}}", "max by (instance) (instance:redis_connected_clients:ratio{@s})")
            .over_zero().wide(8).opens("cw-instance", &["instance"]), "clients-used"),
        panel(Kind::Lines, "Replication lag", "bytes",
            "Bytes a replica is behind its master: what a failover now would lose.")
            .q("{{instance}}", "max by (instance) (cachewarden_replica_lag_bytes{@s})")
            .over_zero().wide(8).opens("cw-replication", &["instance"])
            .may_be_zero("the replicas of a quiet fleet are not behind"),
    ]
}
