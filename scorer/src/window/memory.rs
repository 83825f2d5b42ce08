//! What is remembered longer than the window: changes and evictions (24 h), latency spikes (1 h), forks.
//!
//! Invariant: every list is bounded; names come from the server, so their number is capped.

use std::collections::VecDeque;

use model::At;
use model::field::Field;
use model::reading::{LatencyEvent, Reading};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// More changes than this in a day cost no further points (A6 is at its end from 6).
const CHANGES_MAX: usize = 32;

/// More spikes than this in an hour cost no further points (S6 is at its end from 60).
const SPIKES_MAX: usize = 128;

/// Event names of LATENCY LATEST; Redis knows fewer than 32.
const EVENTS_MAX: usize = 32;

/// A spike this long counts, ms.
const SPIKE_MS: f64 = 100.0;

/// Restarts and role changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    seen: VecDeque<At>,
    excused_until: At,
}

impl Changes {
    pub fn excuse(&mut self, until: At) {
        self.excused_until = self.excused_until.max(until);
    }

    pub fn record(&mut self, at: At, restarted: bool, role_changed: bool) {
        if at <= self.excused_until {
            return;
        }
        for _ in 0..(u32::from(restarted) + u32::from(role_changed)) {
            self.seen.push_back(at);
        }
        while self.seen.len() > CHANGES_MAX || self.seen.front().is_some_and(|t| *t < at - DAY_MS) {
            self.seen.pop_front();
        }
    }

    pub fn count(&self, now: At) -> u32 {
        self.seen.iter().filter(|t| **t > now - DAY_MS).count() as u32
    }
}

/// Latency spikes: changes of an event's time stamp between polls.
#[derive(Debug, Clone, Default)]
pub(super) struct Spikes {
    stamps: Vec<(String, f64)>,
    seen: VecDeque<At>,
}

impl Spikes {
    pub fn take(&mut self, at: At, events: &[LatencyEvent]) {
        for event in events {
            if self.is_new(event, at) && event.last_ms >= SPIKE_MS {
                self.seen.push_back(at);
            }
        }
        while self.seen.len() > SPIKES_MAX || self.seen.front().is_some_and(|t| *t < at - HOUR_MS) {
            self.seen.pop_front();
        }
    }

    fn is_new(&mut self, event: &LatencyEvent, at: At) -> bool {
        if let Some((_, stamp)) = self.stamps.iter_mut().find(|(name, _)| *name == event.event) {
            let changed = *stamp != event.at_s;
            *stamp = event.at_s;
            return changed;
        }
        if self.stamps.len() >= EVENTS_MAX {
            return false;
        }
        self.stamps.push((event.event.clone(), event.at_s));
        at.seconds() - event.at_s < HOUR_MS as f64 / 1000.0
    }

    pub fn count(&self, now: At) -> u32 {
        self.seen.iter().filter(|t| **t > now - HOUR_MS).count() as u32
    }
}

/// When a key was evicted last.
#[derive(Debug, Clone, Default)]
pub(super) struct Evictions(Option<At>);

impl Evictions {
    pub fn take(&mut self, at: At, evicted: f32) {
        if evicted > 0.0 {
            self.0 = Some(at);
        }
    }

    pub fn any(&self, now: At) -> bool {
        self.0.is_some_and(|at| at > now - DAY_MS)
    }
}

/// When the latest fork was, as far as it can be told.
#[derive(Debug, Clone, Default)]
pub(super) struct Forks {
    seconds: Option<f64>,
    count: Option<f64>,
    at: Option<At>,
}

impl Forks {
    pub fn take(&mut self, reading: &Reading) {
        let seconds = reading.get(Field::LatestForkUsec);
        let count = reading.get(Field::TotalForks);
        let first = self.seconds.is_none();
        if first {
            self.at = age_of_first(reading).map(|age_ms| reading.at - age_ms);
        } else if seconds != self.seconds || (count != self.count && count != Some(0.0)) {
            self.at = Some(reading.at);
        }
        (self.seconds, self.count) = (seconds, count);
    }

    pub fn latest(&self, now: At) -> Option<f64> {
        self.at.filter(|at| *at > now - DAY_MS)?;
        self.seconds
    }
}

/// Upper bound of the age of a fork that happened before we watched: the process' own age, or the
/// time since the last save.
fn age_of_first(reading: &Reading) -> Option<i64> {
    let uptime_s = reading.get(Field::UptimeInSeconds)?;
    let saved_s = reading.get(Field::RdbLastSaveTime).map(|t| reading.at.seconds() - t);
    let age_s = saved_s.map_or(uptime_s, |s| s.clamp(0.0, uptime_s));
    Some((age_s * 1000.0) as i64)
}
