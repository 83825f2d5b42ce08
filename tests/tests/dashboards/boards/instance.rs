//! One instance: everything a DBA asks of one server.

use super::{
    INSTANCE, SCORE, SERVICE, SYSTEM, TENANT, VERDICTS, YES_NO, judged, losses, var, verdict,
};
use crate::board::{Board, Color, Kind, Panel, panel};

/// The dashboard.
pub fn board() -> Board {
    super::board(
        "cw-instance",
        "cachewarden / Instance",
        "/services/${tenant}.${service}",
        vec![
            var("tenant", TENANT, true),
            var("system", SYSTEM, true),
            var("service", SERVICE, true),
            var("instance", INSTANCE, false),
        ],
        "One server: its state, its load and its limits.",
    )
    .row("Now", 4, now())
    .row("Load", 7, load())
    .row("Memory and keys", 7, memory())
    .row("Clients and network", 7, clients())
    .row("Replication and persistence", 7, durable())
}

fn now() -> Vec<Panel> {
    vec![
        panel(Kind::Stat, "Verdict", "none", "Whether the server is up, down or unknown, now.")
            .q("verdict", &verdict("@i")).words(VERDICTS).wide(3),
        panel(Kind::Stat, "Health", "none", "Score of this server. The graph below says what it lost.")
            .q("score", r#"max(cachewarden_health_score{level="instance",@i})"#)
            .steps(Color::Crit, SCORE).between(0.0, 100.0).wide(3),
        panel(Kind::Stat, "Role and version", "none",
            "What the server says it is. A role that changed is a failover.")
            .q("{{role}} {{redis_version}}", "max by (role, redis_version) (redis_instance_info{@i})")
            .by_name().wide(6),
        panel(Kind::Stat, "Up for", "s",
            "Time since its start. Less than an hour: was the restart planned?")
            .q("uptime", "max(redis_uptime_in_seconds{@i})")
            .steps(Color::Warn, &[(3600.0, Color::Info)]).wide(4),
        judged(panel(Kind::Stat, "Memory used", "percentunit",
            "Used share of maxmemory.")
            .q("memory", "max(redis_memory_used_bytes{@i} / (redis_memory_max_bytes{@i} > 0))")
            .between(0.0, 1.0).when_absent("no limit").wide(4), "memory-used"),
        panel(Kind::Stat, "Age of these values", "s",
            "How old the newest poll is. Much more than the poll interval: the server does not answer.")
            .q("age", "max(cachewarden_reading_age_seconds{@i})")
            .steps(Color::Ok, &[(60.0, Color::Warn)]).wide(4),
    ]
}

fn load() -> Vec<Panel> {
    vec![
        panel(Kind::Stacked, "Commands", "ops", "Commands a second by kind; the ten most frequent.")
            .q("{{cmd}}", "topk(10, sum by (cmd) (rate(redis_commands_total{@i}[$__rate_interval])))")
            .over_zero().wide(8),
        panel(Kind::Stacked, "Time by command", "percentunit",
            "Share of a second spent in each command. What fills the thread when it is full.")
            .q("{{cmd}}", "topk(10, sum by (cmd) (rate(redis_commands_duration_seconds_total{@i}[$__rate_interval])))")
            .over_zero().wide(8),
        panel(Kind::Lines, "Processor", "percentunit",
            "Processor time of the process. The main thread near 100 % is full; children are forks that save.")
            .q("main thread", "sum(rate(redis_cpu_user_main_thread_seconds_total{@i}[$__rate_interval]) + rate(redis_cpu_sys_main_thread_seconds_total{@i}[$__rate_interval]))")
            .q("all threads", "sum(rate(redis_cpu_user_seconds_total{@i}[$__rate_interval]) + rate(redis_cpu_sys_seconds_total{@i}[$__rate_interval]))")
            .q("children", "sum(rate(redis_cpu_user_children_seconds_total{@i}[$__rate_interval]) + rate(redis_cpu_sys_children_seconds_total{@i}[$__rate_interval]))")
            .color("main thread", Color::Info).color("all threads", Color::Second).color("children", Color::Warn)
            .over_zero().wide(8),
        losses(r#"level="instance",@i"#).wide(8),
        panel(Kind::Lines, "Hits and misses", "ops", "Reads that found their key, and those that did not.")
            .q("hits", "sum(rate(redis_keyspace_hits_total{@i}[$__rate_interval]))")
            .q("misses", "sum(rate(redis_keyspace_misses_total{@i}[$__rate_interval]))")
            .color("hits", Color::Ok).color("misses", Color::Warn).over_zero().wide(8),
        panel(Kind::Lines, "Slow commands and errors", "none",
            "Slow-log entries and error replies of the last 5 min.")
            .q("slow", "sum(instance:redis_slow_commands:increase5m{@i})")
            .q("errors", "sum(increase(redis_errors_total{@i}[5m]))")
            .color("slow", Color::Warn).color("errors", Color::Crit).over_zero().wide(8),
    ]
}

fn memory() -> Vec<Panel> {
    vec![
        panel(Kind::Lines, "Memory", "bytes",
            "used: data and buffers; resident: what the host gives; limit: maxmemory. Resident far above used is fragmentation, below it swapping.")
            .q("used", "sum(redis_memory_used_bytes{@i})")
            .q("resident", "sum(redis_memory_used_rss_bytes{@i})")
            .q("limit", "sum(redis_memory_max_bytes{@i} > 0)")
            .color("used", Color::Info).color("resident", Color::Second).color("limit", Color::Crit)
            .over_zero().wide(8),
        panel(Kind::Stacked, "Keys by database", "short", "Keys of each database that holds any.")
            .q("{{db}}", "sum by (db) (redis_db_keys{@i} > 0)").over_zero().wide(8),
        panel(Kind::Lines, "Expired and evicted keys", "ops",
            "Expired: their time was over. Evicted: memory was full; loss, unless it is a cache.")
            .q("expired", "sum(rate(redis_expired_keys_total{@i}[$__rate_interval]))")
            .q("evicted", "sum(rate(redis_evicted_keys_total{@i}[$__rate_interval]))")
            .color("expired", Color::Info).color("evicted", Color::Warn).over_zero().wide(8),
    ]
}

fn clients() -> Vec<Panel> {
    vec![
        panel(Kind::Lines, "Clients", "none",
            "Connected, those waiting in a blocking command, and the limit. At the limit new ones are refused.")
            .q("connected", "sum(redis_connected_clients{@i})")
            .q("blocked", "sum(redis_blocked_clients{@i})")
            .q("limit", "sum(redis_max_clients{@i})")
            .color("connected", Color::Info).color("blocked", Color::Warn).color("limit", Color::Crit)
            .over_zero().wide(8),
        panel(Kind::Lines, "New and refused connections", "ops",
            "Many new ones: clients without a pool. Any refused one is an error somewhere.")
            .q("new", "sum(rate(redis_connections_received_total{@i}[$__rate_interval]))")
            .q("refused", "sum(rate(redis_rejected_connections_total{@i}[$__rate_interval]))")
            .color("new", Color::Info).color("refused", Color::Crit).over_zero().wide(8),
        panel(Kind::Lines, "Network", "binBps", "Bytes a second in and out. Much more out than in: large values are read.")
            .q("in", "sum(rate(redis_net_input_bytes_total{@i}[$__rate_interval]))")
            .q("out", "sum(rate(redis_net_output_bytes_total{@i}[$__rate_interval]))")
            .color("in", Color::Info).color("out", Color::Warn).over_zero().wide(8),
    ]
}

fn durable() -> Vec<Panel> {
    vec![
        panel(Kind::States, "Link to the master", "none",
            "Of a replica: whether its link is up. A master has no row.")
            .q("{{instance}}", "max by (instance) (redis_master_link_up{@i})").words(YES_NO).wide(8),
        panel(Kind::Lines, "Lag of its replicas", "s",
            "Of a master: seconds since each replica acknowledged. Above 10 a replica does not follow.")
            .q("{{slave_ip}}:{{slave_port}}", "max by (slave_ip, slave_port) (redis_connected_slave_lag_seconds{@i})")
            .over_zero().wide(8).may_be_zero("replicas on loopback acknowledge within the second"),
        panel(Kind::Lines, "Not yet saved", "short",
            "Changes since the last RDB file. What a crash loses when there is no AOF and no replica.")
            .q("{{instance}}", "max by (instance) (redis_rdb_changes_since_last_save{@i})").over_zero().wide(8),
    ]
}
