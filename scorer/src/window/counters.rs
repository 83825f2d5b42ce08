//! Counters of one reading and their reset-safe growth between two.

use std::hash::{DefaultHasher, Hash, Hasher};

use model::At;
use model::field::Field;
use model::reading::{Facts, Reading, Role};

/// How many counters are followed.
pub(super) const DELTAS: usize = 10;

/// A counter that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delta {
    Commands,
    Evicted,
    Rejected,
    Connections,
    /// Clients cut off at their output buffer limit.
    Disconnections,
    /// Slow-log entries, by id.
    Slow,
    /// Durations of the slow entries that were seen, µs.
    SlowUs,
    /// CPU seconds of the main thread, of the process before 6.2.
    Cpu,
    /// Writes refused for lack of memory.
    Oom,
    /// Writes a master refused: MISCONF, NOREPLICAS, READONLY.
    Refused,
}

/// What one good reading says, for the next one to be compared with.
#[derive(Debug, Clone)]
pub(super) struct Counters {
    at: At,
    run_id: u64,
    pub uptime_s: f64,
    pub role: Option<Role>,
    slow_us: Option<f64>,
    values: [f64; DELTAS],
}

/// A clock step or rounding may take this much off an uptime without a restart, seconds.
const UPTIME_SLACK_S: f64 = 2.0;

impl Counters {
    pub fn read(reading: &Reading) -> Counters {
        let facts = &reading.facts;
        let get = |field| reading.get(field).unwrap_or(f64::NAN);
        let mut values = [f64::NAN; DELTAS];
        let mut set = |delta: Delta, value: f64| values[delta as usize] = value;
        set(Delta::Commands, get(Field::TotalCommandsProcessed));
        set(Delta::Evicted, get(Field::EvictedKeys));
        set(Delta::Rejected, get(Field::RejectedConnections));
        set(Delta::Connections, get(Field::TotalConnectionsReceived));
        set(Delta::Disconnections, get(Field::ClientOutputBufferLimitDisconnections));
        set(Delta::Slow, slow_count(facts));
        set(Delta::Cpu, cpu_seconds(reading));
        set(Delta::Oom, errors(reading, &["OOM"]));
        set(Delta::Refused, errors(reading, &["MISCONF", "NOREPLICAS", "READONLY"]));
        let mut hasher = DefaultHasher::new();
        facts.text.run_id.hash(&mut hasher);
        Counters {
            at: reading.at,
            run_id: hasher.finish(),
            uptime_s: get(Field::UptimeInSeconds),
            role: facts.role,
            slow_us: facts.slowlog.last_us,
            values,
        }
    }

    pub fn restarted_since(&self, old: &Counters) -> bool {
        self.run_id != old.run_id || self.uptime_s < old.uptime_s - UPTIME_SLACK_S
    }

    /// SLOWLOG RESET hides the newest id; ids never fall while a process lives, so the count of an
    /// older reading stays.
    pub fn keep_slow_count(&mut self, old: &Counters) {
        let slow = Delta::Slow as usize;
        if self.values[slow] < old.values[slow] {
            self.values[slow] = old.values[slow];
        }
    }

    /// Span in seconds and growth since an older reading.
    pub fn since(&self, old: &Counters, restarted: bool) -> (f32, [f32; DELTAS]) {
        let elapsed = self.at.since_ms(old.at) as f64 / 1000.0;
        if restarted {
            let span = if self.uptime_s.is_nan() { elapsed } else { self.uptime_s.min(elapsed) };
            return (span as f32, self.since_start().1);
        }
        let mut deltas = [f32::NAN; DELTAS];
        for (delta, (new, old)) in deltas.iter_mut().zip(self.values.iter().zip(&old.values)) {
            // A counter that fell without a restart was reset (CONFIG RESETSTAT): it counts anew.
            *delta = if new >= old {
                new - old
            } else if old.is_nan() {
                f64::NAN
            } else {
                *new
            } as f32;
        }
        // Clients were refused by this master only if it was one all the time.
        if !(self.role == Some(Role::Master) && old.role == Some(Role::Master)) {
            deltas[Delta::Refused as usize] = f32::NAN;
        }
        self.fill_slow_us(&mut deltas);
        (elapsed as f32, deltas)
    }

    /// Span and growth since the process started.
    pub fn since_start(&self) -> (f32, [f32; DELTAS]) {
        let mut deltas = self.values.map(|v| v as f32);
        if self.role != Some(Role::Master) {
            deltas[Delta::Refused as usize] = f32::NAN;
        }
        self.fill_slow_us(&mut deltas);
        (self.uptime_s.max(1.0) as f32, deltas)
    }

    fn fill_slow_us(&self, deltas: &mut [f32; DELTAS]) {
        let slow = deltas[Delta::Slow as usize];
        let us = if slow > 0.0 { self.slow_us.unwrap_or(0.0) } else { 0.0 };
        deltas[Delta::SlowUs as usize] = if slow.is_nan() { f32::NAN } else { us as f32 };
    }
}

/// Slow commands since the process started: ids count from 0.
fn slow_count(facts: &Facts) -> f64 {
    match (facts.slowlog.last_id, facts.slowlog.len) {
        (Some(id), _) => id + 1.0,
        (None, Some(0.0)) => 0.0,
        _ => f64::NAN,
    }
}

fn cpu_seconds(reading: &Reading) -> f64 {
    let pair = |a, b| Some(reading.get(a)? + reading.get(b)?);
    pair(Field::UsedCpuSysMainThread, Field::UsedCpuUserMainThread)
        .or_else(|| pair(Field::UsedCpuSys, Field::UsedCpuUser))
        .unwrap_or(f64::NAN)
}

/// Sum of these error counts; not known where the version has no errorstats (before 6.2).
fn errors(reading: &Reading, names: &[&str]) -> f64 {
    let errors = &reading.facts.errors;
    if errors.is_empty() && reading.get(Field::TotalErrorReplies).is_none() {
        return f64::NAN;
    }
    errors.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, n)| n).sum()
}
