//! Memory: who is full, of what, and what happens then.

use super::{chain, judged};
use crate::board::{Board, Color, Kind, Panel, panel};

/// The dashboard.
pub fn board() -> Board {
    super::board(
        "cw-memory",
        "cachewarden / Memory",
        "/services",
        chain(),
        "Who is full, of what, and what is lost by it.",
    )
    .row("Now", 4, now())
    .row("How full", 8, full())
    .row("Of what", 7, what())
    .row("What is lost", 7, lost())
}

fn now() -> Vec<Panel> {
    vec![
        judged(
            panel(
                Kind::Stat,
                "Fullest instance",
                "percentunit",
                "Highest used share of maxmemory. At 100 % writes fail or keys are evicted.",
            )
            .q("used", "max(instance:redis_memory_used:ratio{@i})")
            .between(0.0, 1.0),
            "memory-used",
        ),
        panel(
            Kind::Stat,
            "Used memory",
            "bytes",
            "Memory used by data and buffers of all chosen servers.",
        )
        .q("used", "sum(redis_memory_used_bytes{@i})"),
        panel(Kind::Stat, "Limit", "bytes", "Sum of maxmemory where it is set.")
            .q("limit", "sum(redis_memory_max_bytes{@i} > 0)"),
        panel(
            Kind::Stat,
            "Without a limit",
            "none",
            "Servers without maxmemory: they grow until the host kills one. Give each a limit.",
        )
        .q("servers", "count(redis_memory_max_bytes{@i} == 0) or vector(0)")
        .steps(Color::Ok, &[(1.0, Color::Warn)]),
        panel(Kind::Stat, "Evicted", "ops", "Keys a second removed because memory was full.")
            .q("evicted", "sum(service:redis_evicted_keys:rate5m{@s})")
            .steps(Color::Ok, &[(1.0, Color::Warn)]),
        panel(
            Kind::Stat,
            "Fragmented",
            "bytes",
            "Resident beyond used, over all servers: memory the hosts give and nobody uses.",
        )
        .q("fragmented", "sum(clamp_min(redis_mem_fragmentation_bytes{@i}, 0))"),
    ]
}

fn full() -> Vec<Panel> {
    vec![
        judged(panel(Kind::Lines, "Used share of maxmemory", "percentunit",
            "The ten fullest. A server without a limit has no line.")
            .q("{{instance}}", "topk(10, max by (instance) (instance:redis_memory_used:ratio{@i}))")
            .over_zero().wide(8).opens("cw-instance", &["instance"]), "memory-used"),
        panel(Kind::Lines, "Used", "bytes", "Memory used; the ten largest.")
            .q("{{instance}}", "topk(10, max by (instance) (redis_memory_used_bytes{@i}))")
            .over_zero().wide(8).opens("cw-instance", &["instance"]),
        panel(Kind::Table, "Fullest instances", "none",
            "Fullest first, with the policy that says what happens when they are full.")
            .q("Used share", "topk(30, max by (tenant, system, service, instance) (instance:redis_memory_used:ratio{@i}))")
            .q("Used", "max by (tenant, system, service, instance) (redis_memory_used_bytes{@i})")
            .q("Limit", "max by (tenant, system, service, instance) (redis_memory_max_bytes{@i})")
            .q("Peak", "max by (tenant, system, service, instance) (redis_memory_used_peak_bytes{@i})")
            .q("", "max by (tenant, system, service, instance, maxmemory_policy) (redis_instance_info{@i})")
            .only_first("tenant, system, service, instance")
            .column("Used share", "percentunit").column("Used", "bytes").column("Limit", "bytes").column("Peak", "bytes")
            .steps(Color::Ok, &crate::policy::thresholds("memory-used")).sorted("Used share", true).wide(8)
            .opens("cw-instance", &["tenant", "system", "service", "instance"]),
    ]
}

fn what() -> Vec<Panel> {
    vec![
        panel(Kind::Stacked, "Used by what", "bytes",
            "Data; overhead of clients, replication and tables; the rest. Overhead that grows: client buffers.")
            .q("data", "sum(redis_memory_used_dataset_bytes{@i})")
            .q("overhead", "sum(redis_memory_used_overhead_bytes{@i})")
            .q("Lua", "sum(redis_memory_used_lua_bytes{@i})")
            .color("data", Color::Info).color("overhead", Color::Warn).color("Lua", Color::Second)
            .over_zero().wide(8),
        panel(Kind::Lines, "Buffers", "bytes",
            "Memory of clients, of replicas and of the backlog. Clients that do not read fill the first.")
            .q("clients", "sum(redis_mem_clients_normal{@i})")
            .q("replicas", "sum(redis_mem_clients_slaves{@i})")
            .q("backlog", "sum(redis_mem_replication_backlog_bytes{@i})")
            .color("clients", Color::Warn).color("replicas", Color::Info).color("backlog", Color::Second)
            .over_zero().wide(8),
        panel(Kind::Lines, "Fragmentation", "none",
            "Resident over used; the ten highest. Means little on a server below 64 MiB. Above 1.5: active defragmentation; below 0.8: swapping.")
            .q("{{instance}}", "topk(10, max by (instance) (redis_memory_fragmentation_ratio{@i}))")
            .over_zero().wide(8).opens("cw-instance", &["instance"]),
        panel(Kind::Lines, "Resident", "bytes", "Memory the host gives; the ten largest.")
            .q("{{instance}}", "topk(10, max by (instance) (redis_memory_used_rss_bytes{@i}))")
            .over_zero().wide(12).opens("cw-instance", &["instance"]),
        panel(Kind::Lines, "Copy on write of saves", "bytes",
            "Memory the latest save needed on top. The host must have it free, or the save fails; the ten largest.")
            .q("{{instance}}", "topk(10, max by (instance) (redis_rdb_last_cow_size_bytes{@i}))")
            .over_zero().wide(12).opens("cw-instance", &["instance"]),
    ]
}

fn lost() -> Vec<Panel> {
    vec![
        panel(Kind::Lines, "Evicted keys by service", "ops",
            "Keys a second removed because memory was full; the ten most. Fine for a full cache, loss elsewhere.")
            .q("{{tenant}}.{{service}}", "topk(10, service:redis_evicted_keys:rate5m{@s})")
            .over_zero().wide(8).opens("cw-service", &["tenant", "system", "service"]),
        panel(Kind::Lines, "Expired and evicted", "ops", "Keys a second whose time was over, and those removed for memory.")
            .q("expired", "sum(rate(redis_expired_keys_total{@i}[$__rate_interval]))")
            .q("evicted", "sum(rate(redis_evicted_keys_total{@i}[$__rate_interval]))")
            .color("expired", Color::Info).color("evicted", Color::Warn).over_zero().wide(8),
        panel(Kind::Lines, "Keys with and without a time to live", "short",
            "Keys without one stay for ever: they fill a server that is meant to be a cache.")
            .q("with", "sum(redis_db_keys_expiring{@i})")
            .q("without", "sum(redis_db_keys{@i}) - sum(redis_db_keys_expiring{@i})")
            .color("with", Color::Info).color("without", Color::Warn).over_zero().wide(8),
    ]
}
