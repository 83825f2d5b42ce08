//! From window, reading and surroundings to inputs: where each value comes from, and the reason
//! when it does not.

use model::At;
use model::field::Field;
use model::reading::{Facts, Reading, Reason, Role};
use model::service::Mode;
use model::verdict::Verdict;

use super::{Alarms, Around, Growth, Inputs, Seen};
use crate::window::{Delta, Totals, Window};

/// A signal not renewed for three intervals is stale, but never within this time, ms: one lost
/// poll of a slow tier says nothing.
const STALE_MS: i64 = 60_000;

/// LATENCY HISTOGRAM is read every minute: three of them missed.
const HISTOGRAM_STALE_MS: i64 = 180_000;

/// Slots of a Redis Cluster.
pub(crate) const SLOTS: f64 = 16384.0;

/// Share of RSS a save is expected to copy when none was ever seen.
const COW_GUESS: f64 = 0.3;

const OLD: &str = "this version does not report it";
const NO_CLUSTER: &str = "not a cluster";
const FIRST: &str = "first_reading";
const AGAIN: &str = "a second poll";

/// Where inputs come from.
pub(super) struct Source<'a> {
    window: &'a Window,
    totals: Totals,
    reading: &'a Reading,
    /// The latest good reading, unless stale.
    good: Result<&'a Reading, &'static str>,
    around: &'a Around<'a>,
    now: At,
}

impl<'a> Source<'a> {
    pub fn new(
        window: &'a Window,
        reading: &'a Reading,
        last_good: Option<&'a Reading>,
        around: &'a Around<'a>,
        now: At,
    ) -> Source<'a> {
        let limit = STALE_MS.max(3 * i64::from(reading.interval_ms));
        let fresh = |r: &&Reading| now.since_ms(r.at) <= limit;
        let candidate = if reading.up { Some(reading) } else { last_good.filter(|r| r.up) };
        let good = match (candidate, &reading.failure) {
            (Some(_), _) => candidate.filter(fresh).ok_or("stale"),
            (None, Some(failure)) => Err(failure.reason.as_str()),
            (None, None) => Err("not_polled_yet"),
        };
        Source { window, totals: window.totals(), reading, good, around, now }
    }

    pub fn inputs(&self) -> Inputs {
        let facts = self.good.ok().map(|r| &r.facts);
        let role = facts.and_then(|f| f.role);
        Inputs {
            verdict: self.around.verdict.clone(),
            role,
            maxmemory_policy: facts.map(|f| f.text.maxmemory_policy.clone()).unwrap_or_default(),
            alarms: self.alarms(role),
            probes: self.probes(),
            probe_p99_ms: self.probe_p99(),
            link_down_s: self.link_down(role),
            lag_bytes: self.lag(role),
            backlog_bytes: self.field(Field::ReplBacklogSize),
            replicas_required: self.replicas_required(role),
            replicas_healthy: Seen::or_unknown(
                self.around.healthy_replicas,
                "replicas_unknown",
                "readable replicas",
            ),
            changes_24h: self.readable(|_| self.window.changes_24h(self.now)),
            persistence: self.persistence(),
            persists: self.persists(),
            slots_unserved: self.slots_unserved(),
            pfail: facts.is_some_and(pfail),
            used_memory_bytes: self.field(Field::UsedMemory),
            maxmemory_bytes: self.field(Field::Maxmemory),
            evicted: self.sum(Field::EvictedKeys, Delta::Evicted),
            evicted_24h: self.window.evicted_24h(self.now),
            commands: self.sum(Field::TotalCommandsProcessed, Delta::Commands),
            rss_bytes: self.field(Field::UsedMemoryRss),
            host_rss_bytes: self.host_rss(),
            host_memory_bytes: self.host_memory(),
            fragmentation: self.either(Field::AllocatorFragRatio, Field::MemFragmentationRatio),
            fragmentation_bytes: self
                .either(Field::AllocatorFragBytes, Field::MemFragmentationBytes),
            rss_ratio: self.field(Field::MemFragmentationRatio),
            growth: self.growth(),
            overhead_bytes: self.overhead(),
            cow_bytes: self.cow(),
            forks: self.forks(),
            connected_clients: self.field(Field::ConnectedClients),
            maxclients: self.maxclients(),
            rejected: self.sum(Field::RejectedConnections, Delta::Rejected),
            connections_per_s: self.per_second(Field::TotalConnectionsReceived, Delta::Connections),
            usual_clients: self.usual_clients(role),
            client_memory_bytes: self.field(Field::MemClientsNormal),
            buffer_disconnections: self
                .sum(Field::ClientOutputBufferLimitDisconnections, Delta::Disconnections),
            blocked_clients: self.field(Field::BlockedClients),
            slow_per_min: self.slow(|g| g.per_second().map(|r| r * 60.0)),
            slow_share: self.slow_share(),
            slow_worst_ms: self.slow(|_| Some(self.totals.slow_worst_us / 1000.0)),
            slow_partial: self.totals.slow_partial(),
            slow_us: self.totals.slow_us.clone(),
            slow_top: self.window.slow_top(),
            command_p99_ms: self.command_p99(),
            cpu_ratio: self.per_second(Field::UsedCpuSys, Delta::Cpu),
            fork_s: self.readable(|_| self.window.fork_s(self.now).unwrap_or(0.0)),
            spikes_per_h: self.readable(|_| f64::from(self.window.spikes_1h(self.now))),
            slowlog_limit_ms: self.slowlog_limit(),
        }
    }

    /// A value of the latest good facts, or the reason why there are none.
    fn readable<T>(&self, f: impl FnOnce(&Reading) -> T) -> Seen<T> {
        match self.good {
            Ok(reading) => Seen::Known(f(reading)),
            Err(reason) => Seen::Unknown { reason, needs: needs(reason) },
        }
    }

    fn field(&self, field: Field) -> Seen<f64> {
        self.readable(|r| r.get(field))
            .and_then(|v| v.map_or(Seen::NotApplicable(OLD), Seen::Known))
    }

    fn either(&self, first: Field, second: Field) -> Seen<f64> {
        match self.field(first) {
            Seen::NotApplicable(_) => self.field(second),
            seen => seen,
        }
    }

    fn sum(&self, field: Field, delta: Delta) -> Seen<f64> {
        let growth = self.totals.of(delta).map(|g| g.sum);
        self.field(field).and_then(|_| Seen::or_unknown(growth, FIRST, AGAIN))
    }

    fn per_second(&self, field: Field, delta: Delta) -> Seen<f64> {
        let rate = self.totals.of(delta).and_then(|g| g.per_second());
        self.field(field).and_then(|_| Seen::or_unknown(rate, FIRST, AGAIN))
    }

    fn alarms(&self, role: Option<Role>) -> Alarms {
        let value = |field| self.good.ok().and_then(|r| r.get(field));
        let failed = |field| value(field).is_some_and(|v| v < 1.0);
        let grew = |delta| self.totals.of(delta).is_some_and(|g| g.sum > 0.0);
        let counts_errors = self
            .good
            .is_ok_and(|r| !r.facts.errors.is_empty() || r.get(Field::TotalErrorReplies).is_some());
        // A failed save refuses writes only where that is configured; error counters prove it, a
        // version without them (before 6.2) is believed by the status. A failed AOF write always does.
        let refuses = grew(Delta::Refused)
            || failed(Field::AofLastWriteStatus)
            || (failed(Field::RdbLastBgsaveStatus) && !counts_errors);
        let loading_reply =
            self.reading.failure.as_ref().is_some_and(|f| f.reason == Reason::Loading);
        Alarms {
            two_masters: self.around.masters_in_group > 1 && role == Some(Role::Master),
            cluster_fail: failed(Field::ClusterState),
            writes_refused: role == Some(Role::Master) && refuses,
            loading: loading_reply || value(Field::Loading).is_some_and(|v| v > 0.0),
            oom_errors: grew(Delta::Oom),
            rejected_connections: grew(Delta::Rejected),
        }
    }

    fn probes(&self) -> Seen<(u32, u32)> {
        if let Verdict::Unknown(why) = self.around.verdict {
            let own = self.reading.failure.as_ref().map_or("unconfirmed", |f| f.reason.as_str());
            let reason = if why == "observer_isolated" { "observer_isolated" } else { own };
            return Seen::Unknown { reason, needs: needs(reason) };
        }
        let counted = (self.totals.failed, self.totals.probes);
        Seen::or_unknown((counted.1 > 0).then_some(counted), "not_polled_yet", "a poll")
    }

    fn probe_p99(&self) -> Seen<f64> {
        let ms = self.totals.ping_p99_us.map(|us| f64::from(us) / 1000.0);
        Seen::or_unknown(ms, "not_answered", "an answered PING")
    }

    fn as_replica<T>(&self, role: Option<Role>, f: impl FnOnce(&Reading) -> Seen<T>) -> Seen<T> {
        match role {
            Some(Role::Replica) => self.readable(f).and_then(|seen| seen),
            Some(_) => Seen::NotApplicable("not a replica"),
            None => self
                .readable(|_| ())
                .and_then(|()| Seen::Unknown { reason: "role_unknown", needs: "ACL rule +role" }),
        }
    }

    fn link_down(&self, role: Option<Role>) -> Seen<f64> {
        self.as_replica(role, |reading| {
            if reading.get(Field::MasterLinkStatus).is_some_and(|up| up >= 1.0) {
                return Seen::Known(0.0);
            }
            let said = reading.get(Field::MasterLinkDownSinceSeconds).filter(|s| *s >= 0.0);
            let watched =
                self.window.link_down_since().map(|t| self.now.since_ms(t) as f64 / 1000.0);
            let age = self.now.since_ms(reading.at) as f64 / 1000.0;
            Seen::or_unknown(said.map(|s| s + age).or(watched), "link_unknown", "INFO replication")
        })
    }

    fn lag(&self, role: Option<Role>) -> Seen<f64> {
        self.as_replica(role, |_| {
            Seen::or_unknown(self.around.lag_bytes, "master_unknown", "a readable master")
        })
    }

    fn replicas_required(&self, role: Option<Role>) -> Seen<u32> {
        match (role, self.around.required_replicas) {
            (Some(Role::Replica), _) => Seen::NotApplicable("not a master"),
            (_, 0) => Seen::NotApplicable("no replicas required"),
            (Some(Role::Master), n) => Seen::Known(n),
            (_, n) => self
                .readable(|_| n)
                .and_then(|_| Seen::Unknown { reason: "role_unknown", needs: "ACL rule +role" }),
        }
    }

    fn persistence(&self) -> Seen<u8> {
        let state = |r: &Reading| {
            let failed = |field| r.get(field).map(|v| v < 1.0);
            let aof = failed(Field::AofLastWriteStatus);
            let save = failed(Field::RdbLastBgsaveStatus);
            let rewrite = failed(Field::AofLastBgrewriteStatus);
            aof.or(save).or(rewrite)?;
            Some(match (aof, save, rewrite) {
                (Some(true), ..) => 3,
                (_, Some(true), _) => 2,
                (.., Some(true)) => 1,
                _ => 0,
            })
        };
        self.readable(state).and_then(|v| v.map_or(Seen::NotApplicable(OLD), Seen::Known))
    }

    fn persists(&self) -> Seen<bool> {
        self.readable(|r| {
            let on = |field| r.get(field).is_some_and(|v| v > 0.0);
            on(Field::AofEnabled)
                || on(Field::RdbSaves)
                || r.get(Field::RdbLastBgsaveStatus).is_some_and(|v| v < 1.0)
        })
    }

    fn slots_unserved(&self) -> Seen<f64> {
        if self.around.service.mode != Mode::Cluster {
            return Seen::NotApplicable(NO_CLUSTER);
        }
        let unserved = |r: &Reading| {
            let failed = r.get(Field::ClusterSlotsFail).unwrap_or(0.0);
            Some(SLOTS - r.get(Field::ClusterSlotsAssigned)? + failed)
        };
        self.readable(unserved)
            .and_then(|v| Seen::or_unknown(v, "not_read", "ACL rule +cluster|info"))
    }

    fn host_memory(&self) -> Seen<f64> {
        match self.around.host_memory {
            Some(host) => Seen::Known(host.total_bytes),
            None => self.field(Field::TotalSystemMemory).and_then(|bytes| match bytes {
                b if b > 0.0 => Seen::Known(b),
                _ => Seen::NotApplicable("memory of the host is not known"),
            }),
        }
    }

    fn host_rss(&self) -> Seen<f64> {
        let own = self.field(Field::UsedMemoryRss);
        match self.around.host_memory {
            Some(host) => own.map(|rss| rss.max(host.instances_rss_bytes)),
            None => own,
        }
    }

    fn growth(&self) -> Seen<Growth> {
        self.around.past.growth()
    }

    /// Of a master's connections: clients of a replica are there or not as they please.
    fn usual_clients(&self, role: Option<Role>) -> Seen<f64> {
        match role {
            Some(Role::Replica) => Seen::NotApplicable("not a master"),
            _ => self.around.past.usual_clients(),
        }
    }

    fn overhead(&self) -> Seen<f64> {
        let pair = self.field(Field::UsedMemoryOverhead).and(self.field(Field::UsedMemoryStartup));
        pair.map(|(overhead, startup)| (overhead - startup).max(0.0))
    }

    fn cow(&self) -> Seen<(f64, bool)> {
        self.field(Field::UsedMemoryRss).map(|rss| {
            let value = |field| self.good.ok().and_then(|r| r.get(field)).unwrap_or(0.0);
            let latest = value(Field::RdbLastCowSize).max(value(Field::AofLastCowSize));
            match latest.max(self.around.past.cow_bytes.unwrap_or(0.0)) {
                seen if seen > 0.0 => (seen, false),
                _ => (COW_GUESS * rss, true),
            }
        })
    }

    fn forks(&self) -> Seen<bool> {
        self.readable(|r| {
            [Field::AofEnabled, Field::RdbSaves, Field::ConnectedSlaves, Field::LatestForkUsec]
                .into_iter()
                .any(|field| r.get(field).is_some_and(|v| v > 0.0))
        })
    }

    fn maxclients(&self) -> Seen<f64> {
        // Old versions keep it out of INFO, but every server has a limit.
        self.readable(|r| r.get(Field::Maxclients).filter(|v| *v > 0.0))
            .and_then(|v| Seen::or_unknown(v, "not_read", "CONFIG GET maxclients"))
    }

    fn slow(&self, f: impl FnOnce(crate::window::Growth) -> Option<f64>) -> Seen<f64> {
        let readable = self.readable(|r| r.facts.slowlog).and_then(|s| {
            let seen = s.last_id.or(s.len).map(|_| ());
            Seen::or_unknown(seen, "not_read", "ACL rules +slowlog|get +slowlog|len")
        });
        readable
            .and_then(|()| Seen::or_unknown(self.totals.of(Delta::Slow).and_then(f), FIRST, AGAIN))
    }

    fn slow_share(&self) -> Seen<f64> {
        let blocked = self.totals.of(Delta::SlowUs);
        let read: f64 = self.totals.slow_us.iter().map(|us| f64::from(*us)).sum();
        let us = |seen: f64| seen.max(read);
        let share = blocked.filter(|g| g.span_s > 0.0).map(|g| us(g.sum) / g.span_s / 1e6);
        self.slow(|_| share)
    }

    fn command_p99(&self) -> Seen<f64> {
        self.readable(|r| has_histogram(&r.facts)).and_then(|has| match has {
            true => self.histogram_p99(),
            false => Seen::NotApplicable("needs Redis 7.0 or Valkey"),
        })
    }

    fn histogram_p99(&self) -> Seen<f64> {
        let read = self.good.is_ok_and(|r| {
            r.facts.detail.latencies.as_ref().is_some_and(|l| !l.histograms.is_empty())
        });
        match self.window.command_p99() {
            Some((at, us)) if self.now.since_ms(at) <= HISTOGRAM_STALE_MS => {
                Seen::Known(us / 1000.0)
            }
            Some(_) => Seen::Unknown { reason: "stale", needs: "LATENCY HISTOGRAM" },
            None if read => Seen::Unknown { reason: FIRST, needs: "a second LATENCY HISTOGRAM" },
            None => Seen::Unknown { reason: "not_read", needs: "LATENCY HISTOGRAM" },
        }
    }

    /// From where on commands are slow for this server, ms; negative: never.
    fn slowlog_limit(&self) -> Seen<f64> {
        let read = self.readable(|r| {
            let settings = r.facts.detail.settings.as_ref()?;
            let us = settings.parameters.as_ref()?.number("slowlog-log-slower-than")?;
            Some(if us < 0.0 { us } else { us / 1000.0 })
        });
        read.and_then(|ms| {
            let ms = ms.or(self.around.slowlog_limit_ms);
            Seen::or_unknown(ms, "not_read", "CONFIG GET slowlog-log-slower-than")
        })
    }
}

fn pfail(facts: &Facts) -> bool {
    facts.values.get(Field::ClusterSlotsPfail).is_some_and(|n| n > 0.0)
        || facts
            .cluster
            .iter()
            .flat_map(|view| &view.nodes)
            .any(|node| node.flags.iter().any(|flag| flag == "fail?"))
}

/// LATENCY HISTOGRAM came with Redis 7.0; Valkey forked later.
fn has_histogram(facts: &Facts) -> bool {
    let major = facts.text.version.split('.').next().and_then(|v| v.parse::<u32>().ok());
    !facts.text.valkey_version.is_empty() || major.is_some_and(|v| v >= 7)
}

fn needs(reason: &str) -> &'static str {
    match reason {
        "auth" => "the right password of the monitor user",
        "noperm" => "ACL rules +ping +info of the monitor user",
        "tls" => "a valid certificate",
        "dns" => "a name that resolves",
        "protocol" | "too_large" => "a server that answers as Redis does",
        "maxclients" => "a free connection",
        "timeout" | "refused" | "reset" | "unconfirmed" | "observer_isolated" => {
            "a second vantage, or an answer"
        }
        _ => "an answered poll",
    }
}
