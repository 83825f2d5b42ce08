//! What the slower polls read: settings, clients, slots, slow commands, durations.
//!
//! Invariant: no argument of a command and no name a client gave itself is a label here; lists are
//! cut to their limit and what was left out is counted. Durations come last: they are the longest
//! part of a page and must not push out another.

use model::At;
use model::detail::{ClientGroup, Clients, Detail, Latencies, Parameters, Settings, SlowTally};

use super::VALUES_MAX;
use super::derived::ratio;
use super::writer::Writer;
use crate::catalog::Family;

/// Everything but durations of commands.
pub(super) fn write(w: &mut Writer, detail: &Detail, now: At) {
    ages(w, detail, now);
    if let Some(settings) = &detail.settings {
        if let Some(parameters) = &settings.parameters {
            config(w, parameters);
        }
        accounts(w, settings);
    }
    logs(w, detail);
    if let Some(clients) = &detail.clients {
        self::clients(w, clients);
    }
    cluster(w, detail);
    if let Some(slow) = &detail.slow {
        slow_commands(w, slow);
    }
}

pub(super) fn one(w: &mut Writer, family: Family, value: Option<f64>) {
    if let Some(value) = value {
        w.family(family);
        w.value(value);
    }
}

fn ages(w: &mut Writer, detail: &Detail, now: At) {
    let parts = [
        ("durations", detail.latencies.as_ref().map(|d| d.at)),
        ("slowlog", detail.slow.as_ref().map(|d| d.at)),
        ("settings", detail.settings.as_ref().map(|d| d.at)),
        ("clients", detail.clients.as_ref().map(|d| d.at)),
        ("cluster", detail.cluster.as_ref().map(|d| d.at)),
    ];
    w.family(Family::DetailAge);
    for (part, at) in parts {
        if let Some(at) = at {
            w.sample(&[("part", part)], now.since_ms(at).max(0) as f64 / 1000.0);
        }
    }
}

/// The parameters redis_exporter shows by default.
fn config(w: &mut Writer, parameters: &Parameters) {
    const SHOWN: [(Family, &str); 4] = [
        (Family::ConfigMaxclients, "maxclients"),
        (Family::ConfigMaxmemory, "maxmemory"),
        (Family::ConfigReplBacklog, "repl-backlog-size"),
        (Family::ConfigIoThreads, "io-threads"),
    ];
    for (family, name) in SHOWN {
        one(w, family, parameters.number(name));
    }
    const LOGS: [(Family, &str); 6] = [
        (Family::CommandlogSlowerThan, "commandlog-execution-slower-than"),
        (Family::CommandlogRequestLargerThan, "commandlog-request-larger-than"),
        (Family::CommandlogReplyLargerThan, "commandlog-reply-larger-than"),
        (Family::CommandlogSlowMaxLen, "commandlog-slow-execution-max-len"),
        (Family::CommandlogRequestMaxLen, "commandlog-large-request-max-len"),
        (Family::CommandlogReplyMaxLen, "commandlog-large-reply-max-len"),
    ];
    for (family, name) in LOGS {
        one(w, family, parameters.number(name));
    }
    let limits = parameters.get("client-output-buffer-limit").map(limits).unwrap_or_default();
    w.family(Family::ConfigOutputLimit);
    for (class, [hard, soft, _]) in &limits {
        w.sample(&[("class", class), ("limit", "hard")], *hard);
        w.sample(&[("class", class), ("limit", "soft")], *soft);
    }
    w.family(Family::ConfigOutputSeconds);
    for (class, [_, _, seconds]) in &limits {
        w.sample(&[("class", class), ("limit", "soft")], *seconds);
    }
}

/// `normal 0 0 0 slave 268435456 67108864 60 …`: class, hard limit, soft limit, seconds.
fn limits(text: &str) -> Vec<(&str, [f64; 3])> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let of = |c: &[&'_ str]| Some([c[1].parse().ok()?, c[2].parse().ok()?, c[3].parse().ok()?]);
    words.chunks_exact(4).take(8).filter_map(|c| Some((c[0], of(c)?))).collect()
}

fn accounts(w: &mut Writer, settings: &Settings) {
    if let Some(accounts) = settings.accounts {
        w.family(Family::AclUsers);
        for (kind, n) in [
            ("all", accounts.all),
            ("enabled", accounts.enabled),
            ("without_password", accounts.without_password),
            ("unlimited", accounts.unlimited),
        ] {
            w.sample(&[("kind", kind)], f64::from(n));
        }
    }
    w.family(Family::AclDenials);
    for (reason, n) in &settings.denials {
        w.sample(&[("reason", reason)], *n);
    }
    w.family(Family::ModuleVersion);
    for module in settings.modules.iter().take(VALUES_MAX) {
        w.sample(&[("module", &module.name)], module.version);
    }
}

fn logs(w: &mut Writer, detail: &Detail) {
    if let Some(log) = detail.commandlog {
        one(w, Family::CommandlogSlow, log.slow);
        one(w, Family::CommandlogRequests, log.large_request);
        one(w, Family::CommandlogReplies, log.large_reply);
    }
}

fn clients(w: &mut Writer, clients: &Clients) {
    w.family(Family::ClientsByKind);
    for (kind, n) in &clients.kinds {
        w.sample(&[("kind", kind)], f64::from(*n));
    }
    one(w, Family::ClientsAgeMax, Some(clients.age_s_max));
    one(w, Family::ClientsIdleMax, Some(clients.idle_s_max));
    one(w, Family::ClientsIdle1h, Some(f64::from(clients.idle_1h)));
    one(w, Family::ClientsQueryMax, Some(clients.query_buffer_bytes_max));
    one(w, Family::ClientsOutputMax, Some(clients.output_buffer_bytes_max));
    one(w, Family::ClientsMemory, clients.memory_bytes);
    one(w, Family::ClientsMemoryMax, clients.memory_bytes_max);
    groups(w, Family::ClientsByUser, "user", &clients.by_user);
    groups(w, Family::ClientsByAddress, "address", &clients.by_address);
}

pub(super) fn groups(w: &mut Writer, family: Family, label: &str, groups: &[ClientGroup]) {
    w.family(family);
    for group in groups.iter().take(VALUES_MAX) {
        w.sample(&[(label, &group.text)], f64::from(group.count));
    }
}

fn cluster(w: &mut Writer, detail: &Detail) {
    let Some(cluster) = &detail.cluster else { return };
    one(w, Family::ClusterShards, cluster.shards.map(f64::from));
    w.family(Family::ClusterNodesByHealth);
    for (health, n) in &cluster.health {
        w.sample(&[("health", health)], f64::from(*n));
    }
    let mut slots: Vec<(String, &model::detail::SlotUse)> =
        cluster.slots.iter().take(VALUES_MAX).map(|s| (s.slot.to_string(), s)).collect();
    slots.sort_by_key(|(_, s)| s.slot);
    slots.dedup_by_key(|(_, s)| s.slot);
    type Of = fn(&model::detail::SlotUse) -> Option<f64>;
    const COLUMNS: [(Family, Of); 4] = [
        (Family::SlotKeys, |s| Some(s.keys)),
        (Family::SlotCpu, |s| s.cpu_us.map(|us| us / 1e6)),
        (Family::SlotReceived, |s| s.bytes_in),
        (Family::SlotSent, |s| s.bytes_out),
    ];
    for (family, of) in COLUMNS {
        w.family(family);
        for (name, slot) in &slots {
            if let Some(value) = of(slot) {
                w.sample(&[("slot", name)], value);
            }
        }
    }
}

fn slow_commands(w: &mut Writer, slow: &SlowTally) {
    type Of = fn(&model::detail::SlowShape) -> f64;
    const COLUMNS: [(Family, Of); 3] = [
        (Family::SlowCommands, |s| s.count),
        (Family::SlowDuration, |s| s.us / 1e6),
        (Family::SlowMax, |s| s.us_max / 1e6),
    ];
    for (family, of) in COLUMNS {
        w.family(family);
        for shape in slow.shapes.iter().take(VALUES_MAX) {
            w.sample(&[("cmd", &shape.cmd)], of(shape));
        }
    }
}

/// Quantiles, then histograms, with redis_exporter's names.
pub(super) fn durations(w: &mut Writer, latencies: &Latencies) {
    w.family(Family::LatencyPercentiles);
    let shown = |n: usize| n.min(VALUES_MAX);
    for one in &latencies.quantiles[..shown(latencies.quantiles.len())] {
        for (percentile, us) in &one.quantiles {
            let labels = [("cmd", &*one.cmd), ("quantile", &*percentile.to_string())];
            w.part("", &labels, *us);
        }
        if let Some((calls, usec)) = one.total {
            w.part("_sum", &[("cmd", &one.cmd)], usec);
            w.part("_count", &[("cmd", &one.cmd)], calls);
        }
    }
    w.family(Family::CommandLatencies);
    for one in &latencies.histograms[..shown(latencies.histograms.len())] {
        for (bound, count) in &one.buckets {
            w.part("_bucket", &[("cmd", &one.cmd), ("le", &bound_text(*bound))], *count);
        }
        w.part("_bucket", &[("cmd", &one.cmd), ("le", "+Inf")], one.calls);
        // Without the statistics of the same command its sum is not known.
        w.part("_sum", &[("cmd", &one.cmd)], one.usec.unwrap_or(f64::NAN));
        w.part("_count", &[("cmd", &one.cmd)], one.calls);
    }
    let cut = |n: usize| (n - shown(n)) as u32;
    w.count_dropped_values(cut(latencies.quantiles.len()) + cut(latencies.histograms.len()));
}

/// A bound as redis_exporter writes it, for it is a part of the series' name: from a million on with
/// an exponent of two digits.
fn bound_text(bound: f64) -> String {
    if bound < 1e6 {
        return bound.to_string();
    }
    let text = format!("{bound:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{mantissa}e+{exponent:0>2}")
}

/// Share of the slow log that is filled: full, it forgets.
pub(super) fn slowlog_fill(len: Option<f64>, detail: &Detail) -> Option<f64> {
    let max = detail.settings.as_ref()?.parameters.as_ref()?.number("slowlog-max-len");
    ratio(len, max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_redis_exporter_writes_them() {
        for (bound, text) in [
            (1.0, "1"),
            (16908.0, "16908"),
            (541_065.0, "541065"),
            (1_082_130.0, "1.08213e+06"),
            (1e10, "1e+10"),
        ] {
            assert_eq!(bound_text(bound), text);
        }
    }

    #[test]
    fn output_limits_are_read_by_class_and_broken_ones_are_left_out() {
        let read = limits("normal 0 0 0 slave 256 64 60 pubsub x 8 60 odd");
        assert_eq!(read, [("normal", [0.0, 0.0, 0.0]), ("slave", [256.0, 64.0, 60.0])]);
    }
}
