//! From raw inputs to the value and loss of every signal.
//!
//! Invariant: a signal's loss never falls when its value worsens; what cannot be measured carries
//! its reason on. Refuses to know: weights, gates and what a score is.

use model::At;
use model::service::Profile;

use crate::forecast::days_until;
use crate::inputs::{Inputs, SLOTS, Seen};
use crate::past::HOST_FULL;
use crate::policy::{Counted, Persistence, Policy};
use crate::signal::Signal;

/// Below this use fragmentation costs nothing worth a warning, bytes.
const FRAGMENTED_USED_MIN: f64 = 512e6;

/// Below this loss fragmentation costs nothing worth a warning, bytes.
const FRAGMENTED_BYTES_MIN: f64 = 256e6;

/// What running without `maxmemory` costs on top: the kernel, not Redis, will set the limit.
const UNLIMITED_LOSS: f64 = 15.0;

/// A slow-log limit above this hides what users feel, ms.
const BLIND_MS: f64 = 100.0;

/// Why a signal does not apply that the policy does not count; said in `switched_off`, not there.
pub(crate) const SWITCHED_OFF: &str = "switched off by the policy";

/// A measured signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measure {
    pub value: f64,
    /// 0..100.
    pub loss: f64,
    /// Where loss begins.
    pub threshold: f64,
    /// The signal's second form: M1 by host memory, S6 by spikes per hour.
    pub second: bool,
}

/// All signals in their order.
pub(crate) type Measures = [Seen<Measure>; Signal::COUNT];

/// Measures everything that the policy counts now.
pub(crate) fn measure(inputs: &Inputs, policy: &Policy, now: At) -> Measures {
    let mut out = [Seen::NotApplicable(""); Signal::COUNT];
    let mut set = |signal: Signal, seen: Seen<Measure>| out[signal as usize] = seen;
    let by = |signal: Signal, value: Seen<f64>| value.map(|v| judge(policy, signal, v, false));
    availability(inputs, policy, &mut set);
    memory(inputs, policy, &mut set);
    connections(inputs, policy, &mut set);
    let slow = SlowPart::of(inputs, policy);
    set(Signal::S1, by(Signal::S1, inputs.slow_per_min.map(|v| v * slow.count)));
    set(Signal::S2, by(Signal::S2, inputs.slow_share.map(|v| v * slow.time)));
    set(Signal::S3, by(Signal::S3, inputs.slow_worst_ms.map(|v| v * slow.any)));
    set(Signal::S4, by(Signal::S4, inputs.command_p99_ms));
    set(Signal::S5, by(Signal::S5, inputs.cpu_ratio));
    set(Signal::S6, forks_and_spikes(inputs, policy));
    let blind = inputs.slowlog_limit_ms.map(|ms| f64::from(!(0.0..=BLIND_MS).contains(&ms)));
    set(Signal::S7, by(Signal::S7, blind));
    for (what, _) in policy.counted_out(now) {
        if let Counted::Signal(signal) = what {
            out[signal as usize] = Seen::NotApplicable(SWITCHED_OFF);
        }
    }
    out
}

/// What is slow by the policy's limit, in parts of what the slow log holds. A server that logs from a
/// lower limit on also logs what is not; the durations that were seen tell how many are.
struct SlowPart {
    /// Of the entries.
    count: f64,
    /// Of the time they took.
    time: f64,
    /// 1 while any of them is, or may be.
    any: f64,
}

impl SlowPart {
    fn of(inputs: &Inputs, policy: &Policy) -> SlowPart {
        let limit_us = policy.slowlog_limit_ms * 1000.0;
        if inputs.slow_limit_is_above(policy.slowlog_limit_ms) {
            return SlowPart { count: 1.0, time: 1.0, any: 1.0 };
        }
        if inputs.slow_us.is_empty() {
            // While every entry was read, the longest one tells. 0: none was.
            let worst = inputs.slow_worst_ms.known();
            let fast = worst.is_some_and(|ms| ms > 0.0 && ms * 1000.0 < limit_us);
            let all = if fast && !inputs.slow_partial { 0.0 } else { 1.0 };
            return SlowPart { count: all, time: all, any: all };
        }
        let (mut count, mut slow, mut time) = (0.0, 0.0, 0.0);
        for us in inputs.slow_us.iter().map(|us| f64::from(*us)) {
            let is = f64::from(us >= limit_us);
            (count, slow, time) = (count + is, slow + is * us, time + us);
        }
        let any = if count > 0.0 || inputs.slow_partial { 1.0 } else { 0.0 };
        let part = |n: f64, of: f64| if of > 0.0 { n / of } else { 1.0 };
        SlowPart { count: part(count, inputs.slow_us.len() as f64), time: part(slow, time), any }
    }
}

/// A value on its curve; `floored` while the signal's "at least" condition holds.
pub(crate) fn judge(policy: &Policy, signal: Signal, value: f64, floored: bool) -> Measure {
    let curve = policy.curve(signal);
    let floor = if floored { policy.floor(signal) } else { 0.0 };
    Measure {
        value,
        loss: curve.loss(value).max(floor),
        threshold: curve.threshold(),
        second: false,
    }
}

fn availability(inputs: &Inputs, policy: &Policy, set: &mut impl FnMut(Signal, Seen<Measure>)) {
    let by = |signal: Signal, value: Seen<f64>| value.map(|v| judge(policy, signal, v, false));
    let failed = inputs.probes.map(|(failed, all)| f64::from(failed) / f64::from(all.max(1)));
    set(Signal::A1, by(Signal::A1, failed));
    set(Signal::A2, by(Signal::A2, inputs.probe_p99_ms));
    set(Signal::A3, by(Signal::A3, inputs.link_down_s));
    let lag = inputs.lag_bytes.and(inputs.backlog_bytes).and_then(|(lag, backlog)| match backlog {
        b if b > 0.0 => Seen::Known(lag / b),
        _ => Seen::NotApplicable("no replication backlog"),
    });
    set(Signal::A4, by(Signal::A4, lag));
    let missing = inputs.replicas_required.and(inputs.replicas_healthy).map(|(wanted, healthy)| {
        f64::from(wanted.saturating_sub(healthy)) / f64::from(wanted.max(1))
    });
    set(Signal::A5, by(Signal::A5, missing));
    set(Signal::A6, by(Signal::A6, inputs.changes_24h.map(f64::from)));
    set(Signal::A7, by(Signal::A7, persistence(inputs, policy)));
    let unserved = inputs.slots_unserved.map(|slots| (slots / SLOTS).max(0.0));
    set(Signal::A8, unserved.map(|share| judge(policy, Signal::A8, share, inputs.pfail)));
}

fn persistence(inputs: &Inputs, policy: &Policy) -> Seen<f64> {
    let state = inputs.persistence.map(f64::from);
    match policy.persistence {
        Persistence::Required => state,
        Persistence::No => Seen::NotApplicable("the profile needs no persistence"),
        Persistence::IfSet => inputs.persists.and_then(|set| match set {
            true => state,
            false => Seen::NotApplicable("persistence is not set"),
        }),
    }
}

fn memory(inputs: &Inputs, policy: &Policy, set: &mut impl FnMut(Signal, Seen<Measure>)) {
    let by = |signal: Signal, value: Seen<f64>| value.map(|v| judge(policy, signal, v, false));
    let limited = |bytes: Seen<f64>| {
        bytes.and(inputs.maxmemory_bytes).and_then(|(bytes, max)| match max {
            m if m > 0.0 => Seen::Known(bytes / m),
            _ => Seen::NotApplicable("maxmemory is not set"),
        })
    };
    let host = inputs.host_rss_bytes.and(inputs.host_memory_bytes).map(|(rss, all)| rss / all);
    let unlimited = inputs.maxmemory_bytes.known() == Some(0.0);
    let wanted = policy.profile == Profile::Cache && inputs.evicts();
    let used = limited(inputs.used_memory_bytes);
    let (m1, m1c, m3) = match (unlimited, wanted) {
        (true, _) => (
            host.map(|share| unlimited_measure(policy, share)),
            Seen::NotApplicable("maxmemory is not set"),
            Seen::NotApplicable("maxmemory is not set: counted in M1"),
        ),
        (false, true) => (
            Seen::NotApplicable("eviction is wanted: counted in M1c"),
            by(Signal::M1c, used),
            by(Signal::M3, host),
        ),
        (false, false) => (
            by(Signal::M1, used),
            Seen::NotApplicable("eviction is not wanted: counted in M1"),
            by(Signal::M3, host),
        ),
    };
    set(Signal::M1, m1);
    set(Signal::M1c, m1c);
    set(Signal::M2, evictions(inputs, policy));
    set(Signal::M3, m3);
    set(Signal::M4, by(Signal::M4, fragmentation(inputs)));
    set(Signal::M5, by(Signal::M5, days_to_full(inputs, policy.profile, wanted)));
    set(Signal::M6, by(Signal::M6, limited(inputs.overhead_bytes)));
    set(Signal::M7, by(Signal::M7, with_copy(inputs)));
    let big = |ratio: f64, used: f64| match used > FRAGMENTED_USED_MIN {
        true => Seen::Known(ratio),
        false => Seen::NotApplicable("too little memory used to tell"),
    };
    let swapped = inputs.rss_ratio.and(inputs.used_memory_bytes).and_then(|(r, used)| big(r, used));
    set(Signal::M8, by(Signal::M8, swapped));
}

/// Without `maxmemory` the host's memory is the limit.
fn unlimited_measure(policy: &Policy, share: f64) -> Measure {
    let mut measure = judge(policy, Signal::M3, share, false);
    measure.loss = (measure.loss + UNLIMITED_LOSS).min(100.0);
    measure.second = true;
    measure
}

fn evictions(inputs: &Inputs, policy: &Policy) -> Seen<Measure> {
    let evicts = inputs.maxmemory_bytes.and_then(|_| match inputs.evicts() {
        true => Seen::Known(()),
        false => Seen::NotApplicable("the live policy does not evict"),
    });
    evicts.and(inputs.evicted.and(inputs.commands)).map(|((), (evicted, commands))| {
        // More evictions than commands (expired in between) is all of them.
        let share = if evicted > 0.0 { (evicted / commands.max(1.0)).min(1.0) } else { 0.0 };
        judge(policy, Signal::M2, share, evicted > 0.0)
    })
}

fn fragmentation(inputs: &Inputs) -> Seen<f64> {
    let bytes = inputs.used_memory_bytes.and(inputs.fragmentation_bytes);
    inputs.fragmentation.and(bytes).and_then(|(ratio, (used, lost))| {
        match used > FRAGMENTED_USED_MIN && lost > FRAGMENTED_BYTES_MIN {
            true => Seen::Known(ratio),
            false => Seen::NotApplicable("too few bytes lost to matter"),
        }
    })
}

fn days_to_full(inputs: &Inputs, profile: Profile, eviction_wanted: bool) -> Seen<f64> {
    if eviction_wanted {
        return Seen::NotApplicable("a full cache is normal");
    }
    let limit = inputs.maxmemory_bytes.and_then(|max| match max {
        m if m > 0.0 => Seen::Known(m),
        _ => inputs.host_memory_bytes.map(|all| HOST_FULL * all),
    });
    // Data that must be kept is being thrown away: it is full already.
    if inputs.evicted_24h && profile != Profile::Cache {
        return limit.map(|_| 0.0);
    }
    inputs
        .growth
        .and(limit)
        .map(|(growth, limit)| days_until(limit, growth.level_bytes, growth.bytes_per_day))
}

fn with_copy(inputs: &Inputs) -> Seen<f64> {
    let forks = inputs.forks.and_then(|forks| match forks {
        true => Seen::Known(()),
        false => Seen::NotApplicable("it does not fork"),
    });
    let need = inputs.rss_bytes.and(inputs.cow_bytes).map(|(rss, (cow, _))| rss + cow);
    forks.and(need.and(inputs.host_memory_bytes)).map(|((), (need, all))| need / all)
}

fn connections(inputs: &Inputs, policy: &Policy, set: &mut impl FnMut(Signal, Seen<Measure>)) {
    let by = |signal: Signal, value: Seen<f64>| value.map(|v| judge(policy, signal, v, false));
    let connected = inputs.connected_clients;
    set(Signal::C1, by(Signal::C1, connected.and(inputs.maxclients).map(|(n, max)| n / max)));
    set(Signal::C2, by(Signal::C2, inputs.rejected));
    set(Signal::C3, by(Signal::C3, inputs.connections_per_s));
    let unusual = connected.and(inputs.usual_clients).map(|(n, usual)| n / usual.max(1.0));
    set(Signal::C4, by(Signal::C4, unusual));
    let buffers =
        inputs.client_memory_bytes.and(inputs.maxmemory_bytes).and_then(|(b, max)| match max {
            m if m > 0.0 => Seen::Known(b / m),
            _ => Seen::NotApplicable("maxmemory is not set"),
        });
    // Versions that do not count disconnections (before 7.0) are judged by memory alone.
    let cut = inputs.buffer_disconnections.known().is_some_and(|n| n > 0.0);
    set(Signal::C5, buffers.map(|share| judge(policy, Signal::C5, share, cut)));
    let blocked = match policy.profile {
        Profile::Queue => Seen::NotApplicable("consumers of a queue block"),
        _ => inputs.blocked_clients.and(connected).map(|(b, n)| b / n.max(1.0)),
    };
    set(Signal::C6, by(Signal::C6, blocked));
}

fn forks_and_spikes(inputs: &Inputs, policy: &Policy) -> Seen<Measure> {
    inputs.fork_s.and(inputs.spikes_per_h).map(|(fork_s, spikes)| {
        let fork = judge(policy, Signal::S6, fork_s, false);
        let curve = policy.spikes();
        let loss = curve.loss(spikes);
        match loss > fork.loss {
            true => Measure { value: spikes, loss, threshold: curve.threshold(), second: true },
            false => fork,
        }
    })
}
