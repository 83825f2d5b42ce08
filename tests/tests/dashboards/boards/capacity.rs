//! Capacity: what will be full, when, and where there is room.

use super::chain;
use crate::board::{Board, Color, Kind, Panel, panel};

const DAY: f64 = 86_400.0;
/// Soon is red, this month is orange.
const LEFT: &[(f64, Color)] = &[(3.0 * DAY, Color::Warn), (30.0 * DAY, Color::Ok)];

/// The dashboard.
pub fn board() -> Board {
    super::board(
        "cw-capacity",
        "cachewarden / Capacity",
        "/services",
        chain(),
        "What will be full, when, and where there is room. Growth is that of the last six hours.",
    )
    .row("Now", 4, now())
    .row("Memory", 8, memory())
    .row("Load and clients", 7, load())
}

fn now() -> Vec<Panel> {
    vec![
        panel(Kind::Stat, "First to be full", "s",
            "Time until the first server reaches maxmemory at the growth of the last six hours. Nothing: none grows.")
            .q("left", "min(instance:redis_memory_full:seconds{@i})").steps(Color::Crit, LEFT)
            .when_absent("none grows"),
        panel(Kind::Stat, "Full within 30 days", "none", "Servers that reach maxmemory within 30 days at this growth.")
            .q("servers", "count(instance:redis_memory_full:seconds{@i} < 30 * 86400) or vector(0)")
            .steps(Color::Ok, &[(1.0, Color::Warn)]),
        panel(Kind::Stat, "Memory promised", "bytes", "Sum of maxmemory: what the hosts must hold when everything is full.")
            .q("promised", "sum(service:redis_memory_max_bytes:sum{@s})"),
        panel(Kind::Stat, "Memory used", "percentunit", "Used share of what is promised, over servers with a limit.")
            .q("used", "sum(redis_memory_used_bytes{@i} and on (instance) redis_memory_max_bytes{@i} > 0) / (sum(redis_memory_max_bytes{@i}) > 0)")
            .between(0.0, 1.0).steps(Color::Ok, &[(0.7, Color::Warn), (0.85, Color::Crit)]),
        panel(Kind::Stat, "Fullest of clients", "percentunit", "Highest used share of maxclients.")
            .q("clients", "max(instance:redis_connected_clients:ratio{@i})").between(0.0, 1.0)
            .steps(Color::Ok, &crate::policy::thresholds("clients-used")),
        panel(Kind::Stat, "Keys", "short", "Keys of all chosen services, replicas not counted.")
            .q("keys", "sum(service:redis_db_keys:sum{@s})"),
    ]
}

fn memory() -> Vec<Panel> {
    vec![
        panel(Kind::Table, "Next to be full", "s",
            "Servers that grow, the first to be full on top.")
            .q("Full in", "bottomk(20, max by (tenant, system, service, instance) (instance:redis_memory_full:seconds{@i}))")
            .q("Used share", "max by (tenant, system, service, instance) (instance:redis_memory_used:ratio{@i})")
            .q("Growth per day", "86400 * max by (tenant, system, service, instance) (instance:redis_memory_used_bytes:deriv6h{@i})")
            .only_first("tenant, system, service, instance")
            .column("Full in", "s").column("Used share", "percentunit").column("Growth per day", "bytes")
            .steps(Color::Crit, LEFT).sorted("Full in", false)
            .opens("cw-instance", &["tenant", "system", "service", "instance"]),
        panel(Kind::Stacked, "Memory by service", "bytes", "Used memory, replicas included; the ten largest services.")
            .q("{{tenant}}.{{service}}", "topk(10, service:redis_memory_used_bytes:sum{@s})")
            .over_zero().opens("cw-service", &["tenant", "system", "service"]),
        panel(Kind::Lines, "Growth per day", "bytes",
            "Growth of memory of the last six hours, as bytes a day; the ten fastest.")
            .q("{{instance}}", "topk(10, 86400 * max by (instance) (instance:redis_memory_used_bytes:deriv6h{@i}))")
            .opens("cw-instance", &["instance"]),
        panel(Kind::Bars, "Memory by zone", "bytes",
            "Used memory by zone. When a zone is lost the others must carry its load.")
            .q("{{zone}}", "sum by (zone) (redis_memory_used_bytes{@i})").over_zero(),
    ]
}

fn load() -> Vec<Panel> {
    vec![
        panel(Kind::Lines, "Keys by service", "short", "Keys on masters; the ten largest services.")
            .q("{{tenant}}.{{service}}", "topk(10, service:redis_db_keys:sum{@s})")
            .over_zero().wide(8).opens("cw-service", &["tenant", "system", "service"]),
        panel(Kind::Table, "Busiest minute of a day", "ops",
            "Highest commands a second of a minute within a day, beside the present. What the servers must bear.")
            .q("Highest, 1 d", "topk(20, max by (tenant, system, service, instance) (instance:redis_commands_processed:max1d{@i}))")
            .q("Now", "max by (tenant, system, service, instance) (instance:redis_commands_processed:rate1m{@i})")
            .only_first("tenant, system, service, instance")
            .column("Highest, 1 d", "ops").column("Now", "ops").sorted("Highest, 1 d", true).wide(8)
            .opens("cw-instance", &["tenant", "system", "service", "instance"]),
        panel(Kind::Lines, "Clients by service", "none",
            "Open connections; the ten most. Pools of clients grow with the clients' own scaling.")
            .q("{{tenant}}.{{service}}", "topk(10, service:redis_connected_clients:sum{@s})")
            .over_zero().wide(8).opens("cw-service", &["tenant", "system", "service"]),
    ]
}
