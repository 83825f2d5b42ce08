//! The page of one instance: what redis_exporter would show, and our own facts.
//!
//! Invariant: rendered from a row alone; labels of the instance are attached by discovery, so the
//! page carries only each metric's own. When the latest poll failed the page says so and holds no
//! values of the past.

use model::At;
use model::field::Field;
use model::id::split_address;
use model::reading::{CommandStat, Facts, Keyspace, Reading, Role, SentinelMaster};
use model::row::Row;
use model::service::InstanceKind;

use super::list::Capped;
use super::writer::Writer;
use super::{Format, Rendered, SERIES_MAX, VALUES_MAX, derived, detail, head, optional};
use crate::catalog::Family;
use crate::config::{Config, Profile};

/// Databases redis_exporter shows even when empty: Redis' default number of them.
const DATABASES: u32 = 16;

/// Series of a lean page, at most. What a server with many replicas, databases or watched masters has
/// beyond that is counted as dropped, as on a full page.
const LEAN_SERIES_MAX: u32 = 150;

/// Renders the page of one instance in a profile, without optional families.
pub fn scrape(row: &Row, profile: Profile, now: At, format: Format) -> Rendered {
    page(row, &Config { profile, ..Config::default() }, now, format)
}

/// Renders the page of one instance.
pub fn page(row: &Row, config: &Config, now: At, format: Format) -> Rendered {
    let lean = config.profile == Profile::Lean;
    let mut w = Writer::new(format, if lean { LEAN_SERIES_MAX } else { SERIES_MAX }, 32 << 10);
    poll(&mut w, &row.reading, lean, now);
    if let Some(facts) = row.facts() {
        scalars(&mut w, facts, lean);
        server(&mut w, row, facts);
        if row.instance.kind == InstanceKind::Sentinel {
            sentinel(&mut w, &facts.masters);
        }
        databases(&mut w, facts, lean);
        replicas(&mut w, facts);
        slowlog(&mut w, facts);
        latency(&mut w, facts);
        errors(&mut w, facts);
        commands(&mut w, facts, lean);
        if !lean {
            details(&mut w, facts);
            derived::write(&mut w, facts);
            detail::write(&mut w, &facts.detail, now);
            let sentinel = row.instance.kind == InstanceKind::Sentinel;
            optional::write(&mut w, facts, sentinel, config);
            if let Some(latencies) = &facts.detail.latencies {
                detail::durations(&mut w, latencies);
            }
        }
    }
    w.finish()
}

fn one(w: &mut Writer, family: Family, value: f64) {
    w.family(family);
    w.value(value);
}

fn poll(w: &mut Writer, reading: &Reading, lean: bool, now: At) {
    one(w, Family::Up, f64::from(u8::from(reading.up)));
    w.family(Family::LastScrapeError);
    let failed = reading.failure.as_ref().map_or("", |f| f.detail.as_str());
    w.sample(&[("err", failed)], f64::from(u8::from(reading.failure.is_some())));
    let duration = f64::from(reading.duration_us) / 1e6;
    one(w, Family::LastScrapeDuration, duration);
    one(w, Family::LastScrapeConnectTime, f64::from(reading.connect_us) / 1e6);
    if let Some(us) = reading.ping_us {
        one(w, Family::LastScrapePingTime, f64::from(us) / 1e6);
    }
    one(w, Family::ReadingAge, (now.since_ms(reading.at).max(0)) as f64 / 1000.0);
    if lean {
        return;
    }
    w.family(Family::ScrapeDuration);
    w.summary_of_one(duration);
    one(w, Family::ScrapesTotal, 1.0);
    w.family(Family::BuildInfo);
    let ours = concat!("cachewarden-", env!("CARGO_PKG_VERSION"));
    let labels =
        [("version", ours), ("commit_sha", ""), ("build_date", ""), ("golang_version", "")];
    w.sample(&labels, 1.0);
    one(w, Family::TargetScrapeRequestErrors, 0.0);
    one(w, Family::LastKeyGroups, 0.0);
}

fn scalars(w: &mut Writer, facts: &Facts, lean: bool) {
    let heads = head::of_fields(w.format());
    let master = [
        ("master_host", facts.text.master_host.as_str()),
        ("master_port", facts.text.master_port.as_str()),
    ];
    let follows = !facts.text.master_host.is_empty();
    for (field, value) in facts.values.known() {
        let head = &heads[field as usize];
        if (lean && !head.lean) || field == Field::SlaveReadOnly {
            continue;
        }
        w.begin(&head.head, head.name);
        match (head.names_master, follows) {
            (false, _) => w.value(value),
            (true, true) => w.sample(&master, value),
            (true, false) => {}
        }
    }
}

fn server(w: &mut Writer, row: &Row, facts: &Facts) {
    let text = &facts.text;
    // A Sentinel's INFO has no role, and redis_exporter shows it without one.
    let role = facts.role.filter(|r| *r != Role::Sentinel).map_or("", Role::as_redis);
    let mut labels = vec![
        ("role", role),
        ("redis_version", text.version.as_str()),
        ("redis_build_id", &text.build_id),
        ("redis_mode", &text.mode),
        ("os", &text.os),
        ("maxmemory_policy", &text.maxmemory_policy),
        ("tcp_port", &text.tcp_port),
        ("run_id", &text.run_id),
        ("process_id", &text.process_id),
        ("master_replid", &text.master_replid),
    ];
    if !text.valkey_version.is_empty() {
        labels.push(("valkey_version", &text.valkey_version));
        labels.push(("valkey_release_stage", &text.valkey_release_stage));
    }
    w.family(Family::InstanceInfo);
    w.sample(&labels, 1.0);
    if let Some(uptime) = facts.values.get(Field::UptimeInSeconds) {
        one(w, Family::StartTime, row.reading.at.seconds().floor() - uptime);
    }
    if let Some(read_only) = facts.values.get(Field::SlaveReadOnly)
        && !text.master_host.is_empty()
    {
        w.family(Family::SlaveInfo);
        let labels = [
            ("master_host", text.master_host.as_str()),
            ("master_port", &text.master_port),
            ("read_only", if read_only == 0.0 { "0" } else { "1" }),
        ];
        w.sample(&labels, 1.0);
    }
}

fn databases(w: &mut Writer, facts: &Facts, lean: bool) {
    let cluster = facts.values.get(Field::ClusterEnabled) == Some(1.0);
    let shown = match (lean, cluster) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => DATABASES,
    };
    let mut all: Vec<Keyspace> = facts.keyspace.clone();
    for db in 0..shown {
        if !facts.keyspace.iter().any(|k| k.db == db) {
            all.push(Keyspace { db, avg_ttl_ms: f64::NAN, ..Keyspace::default() });
        }
    }
    all.sort_by_key(|k| k.db);
    let named: Vec<(String, &Keyspace)> = all.iter().map(|k| (format!("db{}", k.db), k)).collect();
    let capped = Capped::new(&named, |(_, k)| -f64::from(k.db));
    capped.write(w, Family::DbKeys, "db", |(n, _)| n.as_str(), |(_, k)| Some(k.keys));
    capped.write(w, Family::DbKeysExpiring, "db", |(n, _)| n.as_str(), |(_, k)| Some(k.expires));
    // redis_exporter takes whatever stands fourth in the line for KeyDB's cached_keys.
    let cached = |k: &Keyspace| k.cached.or(k.subexpiry);
    capped.write(w, Family::DbKeysCached, "db", |(n, _)| n.as_str(), |(_, k)| cached(k));
    if !lean {
        let subexpiry = |k: &Keyspace| k.subexpiry;
        capped.write(w, Family::DbSubexpiry, "db", |(n, _)| n.as_str(), |(_, k)| subexpiry(k));
    }
    w.family(Family::DbAvgTtl);
    for (name, k) in named.iter().filter(|(_, k)| !k.avg_ttl_ms.is_nan()).take(VALUES_MAX) {
        w.sample(&[("db", name)], k.avg_ttl_ms / 1e3);
    }
}

fn replicas(w: &mut Writer, facts: &Facts) {
    let shown = distinct(w, &facts.replicas, |a, b| a.address == b.address && a.state == b.state);
    for family in [Family::ConnectedSlaveOffset, Family::ConnectedSlaveLag] {
        w.family(family);
        for replica in &shown {
            let (host, port) = replica.address.rsplit_once(':').unwrap_or((&replica.address, ""));
            let host = split_address(&replica.address).map_or(host, |(host, _)| host);
            let labels =
                [("slave_ip", host), ("slave_port", port), ("slave_state", &replica.state)];
            match family {
                Family::ConnectedSlaveOffset => w.sample(&labels, replica.offset),
                _ if replica.lag_s >= 0.0 => w.sample(&labels, replica.lag_s),
                _ => {}
            }
        }
    }
}

/// The entries that make a series of their own, at most as many as a family may have: two replicas
/// behind one announced address, or a lying server, must not make one series twice.
pub(super) fn distinct<'a, T>(
    w: &mut Writer,
    items: &'a [T],
    same: fn(&T, &T) -> bool,
) -> Vec<&'a T> {
    let mut kept: Vec<&T> = Vec::with_capacity(items.len().min(VALUES_MAX));
    for item in items {
        if kept.len() == VALUES_MAX {
            break;
        }
        if !kept.iter().any(|k| same(k, item)) {
            kept.push(item);
        }
    }
    w.count_dropped_values((items.len() - kept.len()) as u32);
    kept
}

fn slowlog(w: &mut Writer, facts: &Facts) {
    let log = &facts.slowlog;
    let Some(len) = log.len else { return };
    one(w, Family::SlowlogLength, len);
    // An empty log has no newest entry; redis_exporter shows zeros.
    one(w, Family::SlowlogLastId, log.last_id.unwrap_or(0.0));
    one(w, Family::LastSlowExecution, log.last_us.unwrap_or(0.0) / 1e6);
}

fn latency(w: &mut Writer, facts: &Facts) {
    let shown = distinct(w, &facts.latency, |a, b| a.event == b.event);
    for family in [Family::LatencySpikeLast, Family::LatencySpikeDuration] {
        w.family(family);
        for event in &shown {
            let value = match family {
                Family::LatencySpikeLast => event.at_s,
                _ => event.last_ms / 1e3,
            };
            w.sample(&[("event_name", &event.event)], value);
        }
    }
}

/// The poller has chosen which errors and commands there are: it knows what was shown before.
fn errors(w: &mut Writer, facts: &Facts) {
    w.family(Family::ErrorsTotal);
    for (name, count) in &facts.errors {
        w.sample(&[("err", name)], *count);
    }
    w.count_dropped_values(facts.errors_left_out);
}

fn commands(w: &mut Writer, facts: &Facts, lean: bool) {
    type Of = fn(&CommandStat) -> Option<f64>;
    const COLUMNS: [(Family, Of); 4] = [
        (Family::CommandsTotal, |c| Some(c.calls)),
        (Family::CommandsDuration, |c| Some(c.usec / 1e6)),
        (Family::CommandsRejected, |c| c.rejected),
        (Family::CommandsFailed, |c| c.failed),
    ];
    for (family, of) in COLUMNS.into_iter().take(if lean { 2 } else { 4 }) {
        w.family(family);
        for command in &facts.commands {
            if let Some(value) = of(command) {
                w.sample(&[("cmd", &command.cmd)], value);
            }
        }
        w.count_dropped_values(facts.commands_left_out);
    }
}

fn details(w: &mut Writer, facts: &Facts) {
    let threads = distinct(w, &facts.io_threads, |a, b| a.0 == b.0);
    w.family(Family::IoThreadActive);
    for (thread, seconds) in threads {
        w.sample(&[("thread", thread)], *seconds);
    }
    let metric = Family::ClusterMessages.metric();
    for (kind, count) in facts.cluster_messages.iter().take(VALUES_MAX) {
        let name = format!("redis_cluster_stats_messages_{kind}");
        w.named(&name, &head::lines(&name, metric, w.format()), *count);
    }
}

fn sentinel(w: &mut Writer, masters: &[SentinelMaster]) {
    type Of = fn(&SentinelMaster) -> Option<f64>;
    const NUMBERS: [(Family, Of); 10] = [
        (Family::SentinelSlaves, |m| Some(m.replicas)),
        (Family::SentinelSentinels, |m| Some(m.sentinels)),
        (Family::SentinelOkSlaves, |m| m.replicas_ok),
        (Family::SentinelOkSentinels, |m| m.sentinels_ok),
        (Family::SentinelSettingQuorum, |m| Some(m.quorum)),
        (Family::SentinelSettingDownAfter, |m| Some(m.down_after_ms)),
        (Family::SentinelSettingFailoverTimeout, |m| Some(m.failover_timeout_ms)),
        (Family::SentinelSettingParallelSyncs, |m| Some(m.parallel_syncs)),
        (Family::SentinelConfigEpoch, |m| Some(m.config_epoch)),
        (Family::SentinelLastOkPing, |m| Some(m.last_ok_ping_ms / 1e3)),
    ];
    let shown = distinct(w, masters, |a, b| a.name == b.name);
    w.family(Family::SentinelStatus);
    for m in &shown {
        let well = f64::from(u8::from(m.status == "ok"));
        let labels = [
            ("master_address", m.address.as_str()),
            ("master_name", &m.name),
            ("master_status", &m.status),
        ];
        w.sample(&labels, well);
    }
    w.family(Family::SentinelCkquorum);
    for m in &shown {
        if let Some((reached, said)) = &m.ckquorum {
            let labels = [("master_name", m.name.as_str()), ("message", said)];
            w.sample(&labels, f64::from(u8::from(*reached)));
        }
    }
    for (family, of) in NUMBERS {
        w.family(family);
        for m in &shown {
            if let Some(value) = of(m) {
                w.sample(&[("master_address", &m.address), ("master_name", &m.name)], value);
            }
        }
    }
}
