//! Slow log and latency: who is slow, since when, because of what.

use super::{ODD, chain, judged};
use crate::board::{Board, Color, Kind, Panel, panel};

/// The dashboard.
pub fn board() -> Board {
    super::board(
        "cw-latency",
        "cachewarden / Slow log and latency",
        "/services",
        chain(),
        "Who is slow, since when, because of what.",
    )
    .row("Now", 4, now())
    .row("Slow commands", 8, slow())
    .row("Where the time goes", 8, time())
    .row("Events and errors", 8, events())
}

fn now() -> Vec<Panel> {
    vec![
        panel(Kind::Stat, "Slow commands, 5 min", "none",
            "Entries new in the slow logs. Steady few are normal; a jump is one client or one big key.")
            .q("slow", "sum(service:redis_slow_commands:increase5m{@s})").steps(Color::Ok, ODD),
        panel(Kind::Stat, "Slowest newest entry", "s",
            "Duration of the newest slow-log entry of any server: so long everybody else waited.")
            .q("duration", "max(redis_last_slow_execution_duration_seconds{@i})")
            .steps(Color::Ok, &[(0.1, Color::Warn), (1.0, Color::Crit)]),
        panel(Kind::Stat, "Mean command time", "s",
            "Mean time in a command, last 5 min; the slowest service.")
            .q("time", "max(service:redis_commands_duration_seconds:mean5m{@s})")
            .steps(Color::Ok, &[(0.001, Color::Warn), (0.01, Color::Crit)]),
        panel(Kind::Stat, "Slowest PING", "s",
            "Round trip of our PING to the slowest server: queue plus network. Above 0.1 s clients feel it.")
            .q("ping", "max(redis_exporter_last_scrape_ping_time_seconds{@i})")
            .steps(Color::Ok, &[(0.1, Color::Warn), (1.0, Color::Crit)]),
        panel(Kind::Stat, "Busiest thread", "percentunit",
            "Highest share of a second spent in commands. Near 100 % everybody waits.")
            .q("busy", "max(instance:redis_commands_duration_seconds:rate1m{@i})")
            .steps(Color::Ok, &[(0.7, Color::Warn), (0.9, Color::Crit)]).between(0.0, 1.0),
        panel(Kind::Stat, "Errors", "ops", "Error replies a second over all servers.")
            .q("errors", "sum(service:redis_errors:rate5m{@s})"),
    ]
}

fn slow() -> Vec<Panel> {
    vec![
        panel(Kind::Lines, "Slow commands by instance", "none",
            "Entries new in the slow log, last 5 min; the ten with most. The entries are in the portal.")
            .q("{{instance}}", "topk(10, max by (instance) (instance:redis_slow_commands:increase5m{@i}))")
            .over_zero().opens("cw-instance", &["instance"]),
        panel(Kind::Table, "Slow logs", "none",
            "Length of each slow log, duration of its newest entry, and entries new within 5 min.")
            .q("New, 5 min", "topk(20, max by (tenant, system, service, instance) (instance:redis_slow_commands:increase5m{@i}))")
            .q("Newest", "max by (tenant, system, service, instance) (redis_last_slow_execution_duration_seconds{@i})")
            .q("Length", "max by (tenant, system, service, instance) (redis_slowlog_length{@i})")
            .only_first("tenant, system, service, instance")
            .column("Newest", "s").steps(Color::Ok, ODD).sorted("New, 5 min", true)
            .opens("cw-instance", &["tenant", "system", "service", "instance"]),
    ]
}

fn time() -> Vec<Panel> {
    vec![
        panel(Kind::Stacked, "Time by command", "percentunit",
            "Share of a second spent in each command, over all chosen servers; the ten first. What fills the threads.")
            .q("{{cmd}}", "topk(10, sum by (cmd) (rate(redis_commands_duration_seconds_total{@i}[$__rate_interval])))")
            .over_zero().wide(8),
        panel(Kind::Lines, "Mean time of a command", "s",
            "Time per call of each command; the ten slowest. A line that rises with its calls unchanged: its data grew.")
            .q("{{cmd}}", "topk(10, sum by (cmd) (rate(redis_commands_duration_seconds_total{@i}[$__rate_interval])) / (sum by (cmd) (rate(redis_commands_total{@i}[$__rate_interval])) > 0))")
            .over_zero().wide(8),
        panel(Kind::Lines, "Main thread by instance", "percentunit",
            "Share of a second spent in commands; the ten busiest.")
            .q("{{instance}}", "topk(10, max by (instance) (instance:redis_commands_duration_seconds:rate1m{@i}))")
            .steps(Color::Ok, &[(0.7, Color::Warn), (0.9, Color::Crit)])
            .over_zero().wide(8).opens("cw-instance", &["instance"]),
        panel(Kind::Lines, "PING", "s",
            "Round trip of our PING: queue of the server plus network; the ten slowest.")
            .q("{{instance}}", "topk(10, max by (instance) (redis_exporter_last_scrape_ping_time_seconds{@i}))")
            .over_zero().wide(8).opens("cw-instance", &["instance"]),
        judged(panel(Kind::Lines, "Duration of a poll", "s",
            "Time of a whole poll: INFO, slow log and the rest; the ten slowest.")
            .q("{{instance}}", "topk(10, max by (instance) (redis_exporter_last_scrape_duration_seconds{@i}))")
            .over_zero().wide(8).opens("cw-instance", &["instance"]), "scrape-slow"),
        panel(Kind::Lines, "Forks", "s",
            "Duration of the latest fork: nobody is answered meanwhile. It grows with memory; the ten longest.")
            .q("{{instance}}", "topk(10, max by (instance) (redis_latest_fork_seconds{@i}))")
            .steps(Color::Ok, &[(1.0, Color::Crit)]).over_zero().wide(8),
    ]
}

fn events() -> Vec<Panel> {
    vec![
        panel(Kind::Table, "Latency events", "none",
            "Latest spike of each event, where latency-monitor-threshold is set. command: a slow command; fork: a save; aof-write: a slow disk.")
            .q("Duration", "topk(20, max by (tenant, system, service, instance, event_name) (redis_latency_spike_duration_seconds{@i}))")
            .q("Ago", "time() - max by (tenant, system, service, instance, event_name) (redis_latency_spike_last{@i})")
            .only_first("tenant, system, service, instance, event_name")
            .column("Duration", "s").column("Ago", "s").sorted("Ago", false)
            .opens("cw-instance", &["tenant", "system", "service", "instance"]),
        panel(Kind::Stacked, "Errors by name", "ops",
            "Error replies a second. OOM: memory is full; LOADING: a server starts; MOVED and ASK are normal in a cluster.")
            .q("{{err}}", "topk(10, sum by (err) (rate(redis_errors_total{@i}[$__rate_interval])))")
            .over_zero().wide(6),
        panel(Kind::Lines, "Waiting clients", "none",
            "Clients in a blocking command (BLPOP, WAIT …); the ten most. Normal for queues, odd elsewhere.")
            .q("{{instance}}", "topk(10, max by (instance) (redis_blocked_clients{@i}))")
            .over_zero().wide(6).opens("cw-instance", &["instance"]),
    ]
}
