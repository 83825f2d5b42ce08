//! The weeks behind a shard: what no window remembers.
//!
//! Invariant: at most 28 whole days and today, whatever is put in; an hour nobody saw is no value, not
//! zero. The same bytes go to disk and come back (`Day`), so a restart changes no forecast. Refuses to
//! know where a sample comes from, and clocks.

mod day;

use std::collections::VecDeque;

use model::At;

pub use day::{Day, Quantity};

use crate::forecast::{
    DAYS_MAX, Forecast, HourPeak, Peak, Season, TooShort, forecast, season_of_residuals,
};
use crate::inputs::{Growth, Seen};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Days that what a shard needs is learnt from: copy-on-write, replicas.
const WEEK: i64 = 7;

/// Days connections are watched before an hour of the week has a usual number of them.
const USUAL_DAYS: i64 = 14;

/// Hours of the last week in which so many replicas were healthy before they are expected: a replica
/// that stood there for a migration is none.
const REPLICA_HOURS: usize = 24;

/// Part of the host's memory that is full for a server without `maxmemory`.
pub(crate) const HOST_FULL: f64 = 0.95;

/// What is seen of a shard at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sample {
    /// `used_memory` of its master.
    pub used_bytes: Option<f64>,
    /// `maxmemory` of its master; 0 = none.
    pub maxmemory_bytes: Option<f64>,
    /// Connections of its master.
    pub clients: Option<f64>,
    /// `maxclients` of its master.
    pub maxclients: Option<f64>,
    /// Resident memory of all instances of the master's host.
    pub host_used_bytes: Option<f64>,
    /// Memory of that host.
    pub host_bytes: Option<f64>,
    /// Largest copy-on-write of the latest save or rewrite of any member.
    pub cow_bytes: Option<f64>,
    /// Healthy replicas.
    pub replicas: Option<u32>,
}

/// What the past says to a score.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Past {
    /// Whole days seen.
    pub days: u32,
    /// Growth of used memory; none while there are too few days.
    pub growth: Option<Growth>,
    /// Median of connections in the present hour of the week; none while there are too few days.
    pub usual_clients: Option<f64>,
    /// Largest copy-on-write of 7 days; none when there was no fork.
    pub cow_bytes: Option<f64>,
    /// Most replicas seen healthy in 7 days.
    pub replicas: Option<u32>,
}

impl Past {
    pub(crate) fn growth(&self) -> Seen<Growth> {
        self.growth.map_or(Seen::NotApplicable("too short a history: needs 7 days"), Seen::Known)
    }

    pub(crate) fn usual_clients(&self) -> Seen<f64> {
        let short = Seen::NotApplicable("too short a history: needs 14 days");
        self.usual_clients.map_or(short, Seen::Known)
    }
}

/// The days of one shard, oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Track {
    days: VecDeque<Day>,
}

impl Track {
    /// From stored days, in any order; of two for one day the fuller one stays.
    pub fn of(days: impl IntoIterator<Item = Day>) -> Track {
        let mut track = Track::default();
        days.into_iter().for_each(|day| track.put(day));
        track
    }

    /// Takes a day in; hours that are known already keep the higher value.
    pub fn put(&mut self, day: Day) {
        match self.days.binary_search_by_key(&day.day, |d| d.day) {
            Ok(at) => self.days[at].merge(&day),
            Err(at) => self.days.insert(at, day),
        }
        let Some(newest) = self.days.back().map(|d| d.day) else { return };
        while self.days.front().is_some_and(|d| d.day < newest - DAYS_MAX as i64) {
            self.days.pop_front();
        }
    }

    /// Takes in what is seen now; answers whether that changed anything.
    pub fn take(&mut self, sample: &Sample, now: At) -> bool {
        let (day, hour) = (day_of(now), (now.ms().rem_euclid(DAY_MS) / HOUR_MS) as usize);
        if self.days.back().is_none_or(|d| d.day < day) {
            self.put(Day::new(day));
        }
        let at = self.days.binary_search_by_key(&day, |d| d.day);
        at.is_ok_and(|at| self.days[at].take(sample, hour))
    }

    /// The days, oldest first.
    pub fn days(&self) -> impl Iterator<Item = &Day> {
        self.days.iter()
    }

    /// Whole days seen before the one of `now`.
    pub fn whole_days(&self, now: At) -> usize {
        self.peaks(Quantity::Memory, now).len()
    }

    /// Peaks of the days before today: today's may still rise.
    pub fn peaks(&self, quantity: Quantity, now: At) -> Vec<Peak> {
        let (today, mut peaks) = (day_of(now), Vec::with_capacity(DAYS_MAX));
        let before = self.days.iter().filter(|d| d.day < today);
        peaks.extend(before.filter_map(|d| Some(Peak { day: d.day, value: d.peak(quantity)? })));
        peaks
    }

    /// The limit a quantity will meet, as last seen; none: it has none.
    pub fn limit(&self, quantity: Quantity) -> Option<f64> {
        let last = |of: fn(&Day) -> Option<f64>| self.days.iter().rev().find_map(of);
        let host = || last(|d| d.host_bytes).map(|all| HOST_FULL * all);
        match quantity {
            Quantity::Memory => match last(|d| d.maxmemory_bytes) {
                Some(max) if max > 0.0 => Some(max),
                _ => host(),
            },
            Quantity::Connections => last(|d| d.maxclients).filter(|max| *max > 0.0),
            Quantity::HostMemory => host(),
        }
    }

    /// Days to full.
    pub fn forecast(&self, quantity: Quantity, limit: f64, now: At) -> Result<Forecast, TooShort> {
        forecast(&self.peaks(quantity, now), limit, now.ms() as f64 / DAY_MS as f64)
    }

    /// The hour (since 1970) in which a forecast will come true; none where no season is known.
    pub fn hour_of_crossing(&self, quantity: Quantity, seen: &Forecast, now: At) -> Option<i64> {
        let hour = now.ms().div_euclid(HOUR_MS);
        season_of_residuals(self.hours(quantity), seen, hour)?.hour_of_crossing(seen, hour)
    }

    /// What the past says to a score now.
    pub fn past(&self, now: At) -> Past {
        let limit = self.limit(Quantity::Memory).unwrap_or(f64::INFINITY);
        let seen = self.forecast(Quantity::Memory, limit, now).ok();
        Past {
            days: self.whole_days(now) as u32,
            growth: seen.map(|f| Growth { level_bytes: f.level, bytes_per_day: f.slope }),
            usual_clients: self.usual_clients(now),
            cow_bytes: self.week(now).filter_map(|d| d.cow_bytes).reduce(f64::max),
            replicas: self.replicas(now),
        }
    }

    fn usual_clients(&self, now: At) -> Option<f64> {
        let (today, hour) = (day_of(now), now.ms().div_euclid(HOUR_MS));
        if self.days.front().is_none_or(|d| d.day > today - USUAL_DAYS) {
            return None;
        }
        // The present hour is what is compared.
        Season::of(self.hours(Quantity::Connections).filter(|p| p.hour < hour))?.at(hour)
    }

    fn week(&self, now: At) -> impl Iterator<Item = &Day> {
        let first = day_of(now) - WEEK;
        self.days.iter().filter(move |d| d.day >= first)
    }

    fn replicas(&self, now: At) -> Option<u32> {
        let mut hours: Vec<u8> = self.week(now).flat_map(Day::replicas).collect();
        hours.sort_unstable_by(|a, b| b.cmp(a));
        hours.get(REPLICA_HOURS - 1).map(|n| u32::from(*n))
    }

    fn hours(&self, quantity: Quantity) -> impl Iterator<Item = HourPeak> + '_ {
        self.days.iter().flat_map(move |d| d.hours(quantity))
    }
}

/// Days since 1970, UTC.
pub fn day_of(at: At) -> i64 {
    at.ms().div_euclid(DAY_MS)
}

#[cfg(test)]
mod tests;
