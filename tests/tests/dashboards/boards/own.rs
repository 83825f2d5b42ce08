//! cachewarden itself: does it keep its pace.

use super::{BAD, ODD, count};
use crate::board::{Board, Color, Kind, Panel, panel};

/// The dashboard.
pub fn board() -> Board {
    super::board(
        "cw-self",
        "cachewarden / Itself",
        "/overview",
        Vec::new(),
        "Does cachewarden keep its pace, and would it notice if it did not.",
    )
    .row("Now", 4, now())
    .row("Polls", 7, polls())
    .row("Loops and store", 7, loops())
    .row("Process", 7, process())
}

fn now() -> Vec<Panel> {
    vec![
        panel(Kind::Stat, "Version", "none", "What runs. Two versions: an upgrade is half done.")
            .q("{{version}}", "max by (version) (cachewarden_build_info)")
            .by_name(),
        panel(Kind::Stat, "Oldest reading", "s",
            "Age of the oldest row. Much more than the longest interval: a watch task stands still.")
            .q("age", "max(cachewarden_oldest_row_age_seconds)").steps(Color::Ok, &[(120.0, Color::Warn), (600.0, Color::Crit)]),
        panel(Kind::Stat, "Instances watched", "none", "Instances with a reading: all of the inventory, soon after a start.")
            .q("rows", "sum(cachewarden_rows)"),
        panel(Kind::Stat, "Last evaluation", "s",
            "Time since the alert engine last judged anything. Above a minute it stands still.")
            .q("ago", "time() - max(cachewarden_alert_last_eval_timestamp_seconds)")
            .steps(Color::Ok, &[(60.0, Color::Crit)]),
        panel(Kind::Stat, "Sealed", "none", "1: the wrapping key is missing or wrong, so no password can be read.")
            .q("sealed", "max(cachewarden_sealed)").steps(Color::Ok, BAD).may_be_zero("the test has its key"),
        panel(Kind::Stat, "Configuration refused", "none", "1: the configuration was changed and could not be read; the old one is in force.")
            .q("refused", "1 - min(cachewarden_config_last_reload_successful)").steps(Color::Ok, ODD)
            .may_be_zero("the test's configuration is good"),
    ]
}

fn polls() -> Vec<Panel> {
    vec![
        panel(Kind::Stacked, "Polls", "ops", "Polls a second by outcome. partial: some commands were refused.")
            .q("{{result}}", "sum by (result) (rate(cachewarden_polls_total[$__rate_interval]))")
            .color("up", Color::Ok).color("partial", Color::Warn).color("failed", Color::Crit).over_zero().wide(8),
        panel(Kind::Stacked, "Failed polls by reason", "ops", "Why polls fail. All at once with timeout: our own network or processor.")
            .q("{{reason}}", "sum by (reason) (rate(cachewarden_poll_failures_total[$__rate_interval]))").over_zero().wide(8),
        panel(Kind::Lines, "Duration of a poll", "s", "Half, and 99 of 100, of the polls are shorter.")
            .q("median", "histogram_quantile(0.5, sum by (le) (rate(cachewarden_poll_duration_seconds_bucket[$__rate_interval])))")
            .q("p99", "histogram_quantile(0.99, sum by (le) (rate(cachewarden_poll_duration_seconds_bucket[$__rate_interval])))")
            .color("median", Color::Info).color("p99", Color::Warn).over_zero().wide(8),
        panel(Kind::Lines, "Missed cycles", "ops",
            "Polls that were due while the one before still ran. Any, for long: the process is overloaded or targets hang.")
            .q("missed", "sum(rate(cachewarden_polls_missed_total[$__rate_interval]))").over_zero().wide(8)
            .may_be_zero("the polls of the test keep their pace on an idle machine"),
        panel(Kind::Lines, "Interval in force", "s", "Longest and shortest interval between polls. Stretched: the process is overloaded.")
            .q("longest", "max(cachewarden_scrape_interval_effective_seconds)")
            .q("shortest", "min(cachewarden_scrape_interval_effective_seconds)")
            .color("longest", Color::Warn).color("shortest", Color::Info).over_zero().wide(8),
        panel(Kind::Stat, "Contradicting servers", "none",
            "Instances whose replies contradict themselves: text planted by a client, or a lying server.")
            .q("servers", &count("cachewarden_info_conflict == 1")).steps(Color::Ok, BAD).wide(8)
            .may_be_zero("the servers of the test are honest"),
    ]
}

fn loops() -> Vec<Panel> {
    vec![
        panel(Kind::Lines, "Duration of a round", "s", "Latest round of each loop. One that grows with the fleet will be late some day.")
            .q("{{loop}}", "max by (loop) (cachewarden_loop_duration_seconds)").over_zero().wide(8),
        panel(Kind::Lines, "Since the last good round", "s", "A line that climbs: that loop fails or stands still.")
            .q("{{loop}}", "time() - max by (loop) (cachewarden_loop_last_success_timestamp_seconds)").over_zero().wide(8),
        panel(Kind::Lines, "Failed rounds", "ops", "Rounds that ended with an error, by loop. The log says why.")
            .q("{{loop}}", "sum by (loop) (rate(cachewarden_loop_errors_total[$__rate_interval]))").over_zero().wide(8)
            .may_be_zero("no round of the test fails"),
        panel(Kind::Lines, "Reading the store", "s", "Half, and 99 of 100, of the small reads are shorter. Above 0.1 s pages feel it.")
            .q("median", "histogram_quantile(0.5, sum by (le) (rate(cachewarden_store_read_duration_seconds_bucket[10m])))")
            .q("p99", "histogram_quantile(0.99, sum by (le) (rate(cachewarden_store_read_duration_seconds_bucket[10m])))")
            .color("median", Color::Info).color("p99", Color::Warn).over_zero().wide(8)
            .may_be_missing("housekeeping reads once a minute, and a quantile needs two reads"),
        panel(Kind::Lines, "Alert steps waiting for the store", "s", "Age of the oldest step of an alert not yet written. It is delivered all the same.")
            .q("waiting", "max(cachewarden_alert_store_lag_seconds)").over_zero().wide(8)
            .may_be_zero("the store of the test is fast"),
        panel(Kind::Lines, "Policies judged", "ops", "Policies judged a second, and samples that came too late to be judged.")
            .q("judged", "sum(rate(cachewarden_alert_evaluations_total[$__rate_interval]))")
            .q("too late", "sum(rate(cachewarden_alert_samples_dropped_total[$__rate_interval]))")
            .color("judged", Color::Info).color("too late", Color::Crit).over_zero().wide(8),
    ]
}

fn process() -> Vec<Panel> {
    vec![
        panel(Kind::Lines, "Processor", "percentunit", "Processor time as a share of one core. At 100 % of every core polls are late.")
            .q("{{instance}}", "sum by (instance) (rate(process_cpu_seconds_total{job=\"cachewarden-self\"}[$__rate_interval]))")
            .over_zero().wide(6),
        panel(Kind::Lines, "Memory", "bytes", "Resident memory of the process.")
            .q("{{instance}}", "max by (instance) (process_resident_memory_bytes{job=\"cachewarden-self\"})")
            .over_zero().wide(6),
        panel(Kind::Lines, "Open files", "none", "Files and sockets, and the limit. One is needed for each instance.")
            .q("open", "max(process_open_fds{job=\"cachewarden-self\"})")
            .q("limit", "min(process_max_fds{job=\"cachewarden-self\"})")
            .color("open", Color::Info).color("limit", Color::Crit).over_zero().wide(6),
        panel(Kind::Stacked, "Answers by class", "ops", "Requests answered a second. 5xx is ours, 4xx the asker's.")
            .q("{{class}}", "sum by (class) (rate(cachewarden_http_requests_total[$__rate_interval]))")
            .color("5xx", Color::Crit).color("4xx", Color::Warn).color("2xx", Color::Ok).over_zero().wide(6),
        panel(Kind::Lines, "Connections and requests", "none", "Open connections to us, and requests being answered.")
            .q("connections", "sum(cachewarden_http_connections)")
            .q("being answered", "sum(cachewarden_http_requests_in_flight)")
            .color("connections", Color::Info).color("being answered", Color::Warn).over_zero(),
        panel(Kind::Lines, "Series left out", "none",
            "Series left out of pages by a limit within an hour, by reason. Any: a figure somebody may miss.")
            .q("{{reason}}", "sum by (reason) (increase(cachewarden_series_dropped_total[1h]))").over_zero()
            .may_be_empty("needs more values than a limit allows, which costs the test too much"),
    ]
}
