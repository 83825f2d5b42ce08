//! The recent past of one instance: what a single reading cannot say.
//!
//! Invariant: bounded whatever the server answers; time only moves forward (late readings are
//! dropped); counters are reset-safe, so a restart or CONFIG RESETSTAT never shows as a negative
//! or as the whole past. Owned by the instance's watch task. Refuses to know: curves and scores.

mod counters;
mod histogram;
mod memory;
mod slow;

use std::collections::VecDeque;

use model::At;
use model::reading::{Reading, Reason};

pub(crate) use counters::Delta;
use counters::{Counters, DELTAS};
use histogram::Histograms;
use memory::{Changes, Evictions, Forks, Spikes};
use slow::SlowEntries;
pub use slow::SlowTop;

/// Samples kept at most: one second's polls over ten minutes, the fastest "turbo".
const SAMPLES_MAX: usize = 600;

/// How a control probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// Answered (an error reply of a living server included).
    Good,
    /// Not answered, or refused to serve.
    Failed,
    /// Says nothing about the process: our password, ACL, TLS or parser.
    Neutral,
    /// An extra probe after a failure; not part of the share.
    Repeat,
}

/// One poll, compact: 10 000 instances keep twenty of these each.
#[derive(Debug, Clone)]
struct Sample {
    at: At,
    probe: Probe,
    ping_us: Option<u32>,
    /// Seconds since the previous good poll (or since the restart).
    span_s: f32,
    /// Growth of each counter over the span; NaN = not known.
    deltas: [f32; DELTAS],
}

/// An unbroken run of polls that could not reach the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outage {
    /// When the first failed poll began.
    pub since: At,
    /// How many so far.
    pub polls: u32,
}

/// The latest poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Latest {
    pub at: At,
    pub up: bool,
    pub reason: Option<Reason>,
}

/// Growth of a counter over the window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Growth {
    /// By how much.
    pub sum: f64,
    /// Over how many seconds.
    pub span_s: f64,
}

impl Growth {
    pub(crate) fn per_second(self) -> Option<f64> {
        (self.span_s > 0.0).then(|| self.sum / self.span_s)
    }
}

/// Rates over the window; none until two polls were good.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Commands per second.
    pub ops_per_s: Option<f64>,
    /// Slow commands per minute, by the slow log's ids.
    pub slow_per_min: Option<f64>,
    /// New connections per second.
    pub connections_per_s: Option<f64>,
    /// Rejected connections in the window.
    pub rejected: Option<f64>,
    /// Evicted keys per second.
    pub evicted_per_s: Option<f64>,
    /// Main-thread CPU share (of the process before 6.2), 0..1 and more.
    pub cpu_ratio: Option<f64>,
}

/// Everything summed over the window in one pass.
pub(crate) struct Totals {
    growth: [Option<Growth>; DELTAS],
    /// Failed and all scheduled probes that say something about the process.
    pub failed: u32,
    pub probes: u32,
    /// 99th percentile of the probes' round trips, µs.
    pub ping_p99_us: Option<u32>,
    /// Longest slow entry seen, µs.
    pub slow_worst_us: f64,
    /// Durations of slow entries, µs: of the newest of each poll, or of all as the slower poll read
    /// them, a minute late; whichever are more.
    pub(crate) slow_us: Vec<u32>,
}

impl Totals {
    pub(crate) fn of(&self, delta: Delta) -> Option<Growth> {
        self.growth[delta as usize]
    }
}

/// The recent past of one instance.
#[derive(Debug, Clone)]
pub struct Window {
    window_ms: i64,
    samples: VecDeque<Sample>,
    latest: Option<Latest>,
    counters: Option<Counters>,
    outage: Option<Outage>,
    link_down_since: Option<At>,
    changes: Changes,
    spikes: Spikes,
    forks: Forks,
    evictions: Evictions,
    slow: SlowEntries,
    histograms: Histograms,
}

impl Window {
    /// An empty window of `window_s` seconds.
    pub fn new(window_s: u32) -> Window {
        Window {
            window_ms: i64::from(window_s) * 1000,
            samples: VecDeque::new(),
            latest: None,
            counters: None,
            outage: None,
            link_down_since: None,
            changes: Changes::default(),
            spikes: Spikes::default(),
            forks: Forks::default(),
            evictions: Evictions::default(),
            slow: SlowEntries::default(),
            histograms: Histograms::default(),
        }
    }

    /// Takes in a scheduled poll. A reading not later than the latest one is dropped.
    pub fn push(&mut self, reading: &Reading) {
        self.take(reading, false);
    }

    /// Takes in one of the two extra probes after a first failure: it counts towards "three failed
    /// in a row", never towards the share of failed probes.
    pub fn push_repeat(&mut self, reading: &Reading) {
        self.take(reading, true);
    }

    /// Takes in an accept probe: the PING of a new client, apart from the polls; `failed` is why it
    /// was not let in. A control probe like the PING of a poll.
    pub fn push_accept(&mut self, at: At, ping_us: Option<u32>, failed: Option<Reason>) {
        // Between two polls by the clock, and never before a poll that is in.
        let at = self.samples.back().map_or(at, |latest| at.max(latest.at));
        let probe = classify(failed.is_none(), failed);
        let deltas = [f32::NAN; DELTAS];
        self.keep(Sample { at, probe, ping_us, span_s: 0.0, deltas });
    }

    /// Restarts and role changes seen until then were made by an operation and do not count.
    pub fn expect_changes_until(&mut self, until: At) {
        self.changes.excuse(until);
    }

    /// Rates over the window.
    pub fn rates(&self) -> Rates {
        let totals = self.totals();
        let rate = |d| totals.of(d).and_then(Growth::per_second);
        Rates {
            ops_per_s: rate(Delta::Commands),
            slow_per_min: rate(Delta::Slow).map(|r| r * 60.0),
            connections_per_s: rate(Delta::Connections),
            rejected: totals.of(Delta::Rejected).map(|g| g.sum),
            evicted_per_s: rate(Delta::Evicted),
            cpu_ratio: rate(Delta::Cpu),
        }
    }

    /// Whether any poll was good since this window exists.
    pub fn ever_good(&self) -> bool {
        self.counters.is_some()
    }

    fn take(&mut self, reading: &Reading, repeat: bool) {
        if self.latest.is_some_and(|l| reading.at <= l.at) {
            return;
        }
        let reason = reading.failure.as_ref().map(|f| f.reason);
        self.latest = Some(Latest { at: reading.at, up: reading.up, reason });
        self.track_outage(reading, reason);
        let mut sample = Sample {
            at: reading.at,
            probe: if repeat { Probe::Repeat } else { classify(reading.up, reason) },
            ping_us: reading.ping_us,
            span_s: 0.0,
            deltas: [f32::NAN; DELTAS],
        };
        if reading.up {
            self.take_facts(reading, &mut sample);
        }
        self.keep(sample);
    }

    fn keep(&mut self, sample: Sample) {
        let oldest = sample.at - self.window_ms;
        self.samples.push_back(sample);
        while self.samples.len() > SAMPLES_MAX
            || self.samples.front().is_some_and(|s| s.at < oldest)
        {
            self.samples.pop_front();
        }
    }

    fn take_facts(&mut self, reading: &Reading, sample: &mut Sample) {
        let mut counters = Counters::read(reading);
        let at = reading.at;
        let restarted = self.counters.as_ref().is_some_and(|old| counters.restarted_since(old));
        match &self.counters {
            Some(old) => {
                if !restarted {
                    counters.keep_slow_count(old);
                }
                (sample.span_s, sample.deltas) = counters.since(old, restarted);
                self.changes.record(at, restarted, counters.role != old.role);
            }
            // A process younger than the window: all it counted happened within the window.
            None if counters.uptime_s * 1000.0 <= self.window_ms as f64 => {
                (sample.span_s, sample.deltas) = counters.since_start();
            }
            None => {}
        }
        self.counters = Some(counters);
        self.evictions.take(at, sample.deltas[Delta::Evicted as usize]);
        let detail = &reading.facts.detail;
        if let Some(tally) = &detail.slow {
            self.slow.take(tally, restarted);
        }
        self.slow.forget(at - self.window_ms);
        if let Some(latencies) = &detail.latencies {
            self.histograms.take(latencies, restarted);
        }
        let link_up = reading.get(model::field::Field::MasterLinkStatus);
        self.link_down_since = match link_up {
            Some(up) if up < 1.0 => self.link_down_since.or(Some(at)),
            _ => None,
        };
        self.spikes.take(at, &reading.facts.latency);
        self.forks.take(reading);
    }

    fn track_outage(&mut self, reading: &Reading, reason: Option<Reason>) {
        let unreachable = !reading.up && reason.is_none_or(is_unreachable);
        self.outage = unreachable.then(|| {
            let before = self.outage.unwrap_or(Outage { since: reading.began, polls: 0 });
            // The poller's own count includes probes it did not hand to us.
            let polls = before.polls.saturating_add(1).max(reading.failed_in_row);
            Outage { since: before.since, polls }
        });
    }

    pub(crate) fn latest(&self) -> Option<Latest> {
        self.latest
    }

    pub(crate) fn outage(&self) -> Option<Outage> {
        self.outage
    }

    /// When we first saw the replica's link down; none while it is up.
    pub(crate) fn link_down_since(&self) -> Option<At> {
        self.link_down_since
    }

    /// Unplanned restarts and role changes in the 24 h before `now`, as far as we watched.
    pub(crate) fn changes_24h(&self, now: At) -> u32 {
        self.changes.count(now)
    }

    /// Latency spikes of at least 100 ms in the hour before `now`, a lower bound.
    pub(crate) fn spikes_1h(&self, now: At) -> u32 {
        self.spikes.count(now)
    }

    /// Seconds the latest fork took, when it happened in the 24 h before `now`.
    pub(crate) fn fork_s(&self, now: At) -> Option<f64> {
        self.forks.latest(now)
    }

    /// Whether any key was evicted in the 24 h before `now`, as far as we watched.
    pub(crate) fn evicted_24h(&self, now: At) -> bool {
        self.evictions.any(now)
    }

    /// The command that blocks most among the slow ones of the window.
    pub(crate) fn slow_top(&self) -> Option<SlowTop> {
        self.slow.top()
    }

    /// When it was read, and the 99th percentile of the busiest commands, µs.
    pub(crate) fn command_p99(&self) -> Option<(At, f64)> {
        self.histograms.p99()
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals {
            growth: [None; DELTAS],
            failed: 0,
            probes: 0,
            ping_p99_us: None,
            slow_worst_us: 0.0,
            slow_us: Vec::new(),
        };
        let mut pings = Vec::with_capacity(self.samples.len());
        for sample in &self.samples {
            totals.failed += u32::from(sample.probe == Probe::Failed);
            totals.probes += u32::from(matches!(sample.probe, Probe::Good | Probe::Failed));
            pings.extend(sample.ping_us);
            totals.add(sample);
        }
        totals.ping_p99_us = percentile_99(&mut pings);
        let read = self.slow.durations();
        let both = totals.slow_us.iter().chain(&read);
        totals.slow_worst_us = both.copied().max().map_or(0.0, f64::from);
        if read.len() >= totals.slow_us.len() {
            totals.slow_us = read;
        }
        totals
    }
}

impl Totals {
    /// Durations of some slow entries are not known (yet): what is made from them is a lower bound.
    pub(crate) fn slow_partial(&self) -> bool {
        let all = self.of(Delta::Slow).map_or(0.0, |g| g.sum);
        all > self.slow_us.len() as f64
    }

    fn add(&mut self, sample: &Sample) {
        for (growth, delta) in self.growth.iter_mut().zip(sample.deltas) {
            if !delta.is_nan() {
                let sum = growth.get_or_insert(Growth { sum: 0.0, span_s: 0.0 });
                sum.sum += f64::from(delta);
                sum.span_s += f64::from(sample.span_s);
            }
        }
        let (slow, us) =
            (sample.deltas[Delta::Slow as usize], sample.deltas[Delta::SlowUs as usize]);
        if slow > 0.0 && us > 0.0 {
            self.slow_us.push(us as u32);
        }
    }
}

/// Nearest rank; none of nothing.
fn percentile_99(values: &mut [u32]) -> Option<u32> {
    let rank = (values.len() * 99).div_ceil(100).checked_sub(1)?;
    Some(*values.select_nth_unstable(rank).1)
}

/// Failures that leave open whether the process lives.
pub(crate) fn is_unreachable(reason: Reason) -> bool {
    matches!(reason, Reason::Refused | Reason::Timeout | Reason::Reset)
}

fn classify(up: bool, reason: Option<Reason>) -> Probe {
    match reason {
        _ if up => Probe::Good,
        Some(Reason::Loading | Reason::Masterdown) => Probe::Good,
        Some(
            Reason::Auth
            | Reason::Noperm
            | Reason::Tls
            | Reason::Dns
            | Reason::Protocol
            | Reason::TooLarge,
        ) => Probe::Neutral,
        Some(
            Reason::Refused | Reason::Timeout | Reason::Reset | Reason::Busy | Reason::Maxclients,
        )
        | None => Probe::Failed,
    }
}

#[cfg(test)]
mod tests;
