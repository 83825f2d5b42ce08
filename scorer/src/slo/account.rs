//! The seconds of one service: totals, days of the period, and the minutes of the last three days.
//!
//! Invariant: minutes in which nothing but good happened take no place; a stored account comes back as
//! it was. Refuses to know targets.

use std::collections::BTreeMap;

use model::At;
use serde::{Deserialize, Serialize};

use super::ledger::{Span, State};
use super::{DAY_S, PERIOD_DAYS};

/// Minutes kept: the longest window of a burn rate.
pub const MINUTES_KEPT: i64 = 3 * 24 * 60;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = DAY_S * 1000;

/// Seconds by state, apart for planned work.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amounts {
    /// Good, bad, unknown.
    pub free: [f64; 3],
    /// The same while planned work ran.
    pub planned: [f64; 3],
}

impl Amounts {
    fn add(&mut self, state: State, planned: bool, seconds: f64) {
        let side = if planned { &mut self.planned } else { &mut self.free };
        side[state as usize] += seconds;
    }

    fn sum(self, other: Amounts) -> Amounts {
        let both = |a: [f64; 3], b: [f64; 3]| std::array::from_fn(|i| a[i] + b[i]);
        Amounts { free: both(self.free, other.free), planned: both(self.planned, other.planned) }
    }

    /// Seconds of a state, with those of planned work.
    pub fn raw(&self, state: State) -> f64 {
        self.free[state as usize] + self.planned[state as usize]
    }

    /// Seconds of a state outside planned work.
    pub fn adjusted(&self, state: State) -> f64 {
        self.free[state as usize]
    }
}

/// A minute that was not all good: bad and unknown seconds, free and planned.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Minute {
    bad: f32,
    unknown: f32,
    planned_bad: f32,
    planned_unknown: f32,
}

/// What a window before now was made of, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Window {
    /// Seconds watched.
    pub all: f64,
    /// Certain badness outside planned work.
    pub bad: f64,
    /// Seconds nobody can tell about.
    pub unknown: f64,
    /// Certain badness of planned work.
    pub planned: f64,
}

impl Window {
    /// Certain badness outside planned work per second known.
    pub fn bad_ratio(&self) -> f64 {
        let known = self.all - self.unknown - self.planned;
        if known > 0.0 { (self.bad / known).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// How fast the budget of a target is used up: 1 is just in its period.
    pub fn burn(&self, target: f64) -> f64 {
        self.bad_ratio() / (1.0 - target)
    }

    /// Share nobody can tell about.
    pub fn unknown_ratio(&self) -> f64 {
        if self.all > 0.0 { (self.unknown / self.all).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// The seconds of a service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    since: Option<At>,
    until: Option<At>,
    totals: Amounts,
    days: BTreeMap<i64, Amounts>,
    minutes: BTreeMap<i64, Minute>,
}

impl Account {
    /// Watching begins.
    pub fn begin(&mut self, at: At) {
        self.since.get_or_insert(at);
        self.until.get_or_insert(at);
    }

    /// Since when it is kept.
    pub fn since(&self) -> Option<At> {
        self.since
    }

    /// Until when.
    pub fn until(&self) -> Option<At> {
        self.until
    }

    /// Seconds since it was begun.
    pub fn totals(&self) -> &Amounts {
        &self.totals
    }

    /// Books a span of a part of the service.
    pub fn add(&mut self, span: &Span, share: f64, planned: bool) {
        let mut from = span.from;
        while from < span.to {
            let minute = from.ms().div_euclid(MINUTE_MS);
            let to = span.to.min(At::from_ms((minute + 1) * MINUTE_MS));
            let seconds = share * to.since_ms(from) as f64 / 1000.0;
            self.totals.add(span.state, planned, seconds);
            let day = self.days.entry(from.ms().div_euclid(DAY_MS)).or_default();
            day.add(span.state, planned, seconds);
            if span.state != State::Good {
                let minute = self.minutes.entry(minute).or_default();
                let slot = match (span.state, planned) {
                    (State::Bad, false) => &mut minute.bad,
                    (State::Bad, true) => &mut minute.planned_bad,
                    (_, false) => &mut minute.unknown,
                    (_, true) => &mut minute.planned_unknown,
                };
                *slot += seconds as f32;
            }
            from = to;
        }
        self.until = self.until.max(Some(span.to));
        self.forget();
    }

    fn forget(&mut self) {
        let Some(until) = self.until.map(At::ms) else { return };
        let minute = until.div_euclid(MINUTE_MS) - MINUTES_KEPT;
        while self.minutes.first_key_value().is_some_and(|(m, _)| *m < minute) {
            self.minutes.pop_first();
        }
        let day = until.div_euclid(DAY_MS) - PERIOD_DAYS;
        while self.days.first_key_value().is_some_and(|(d, _)| *d < day) {
            self.days.pop_first();
        }
    }

    /// The seconds before `now`, whole minutes; what is not booked yet is not in it.
    pub fn window(&self, seconds: i64, now: At) -> Window {
        let first = (now - seconds * 1000).ms().div_euclid(MINUTE_MS) + 1;
        let begin = At::from_ms(first * MINUTE_MS).max(self.since.unwrap_or(now));
        let end = self.until.unwrap_or(now).min(now);
        let mut sum =
            Window { all: end.since_ms(begin).max(0) as f64 / 1000.0, ..Window::default() };
        for (_, minute) in self.minutes.range(first..) {
            sum.bad += f64::from(minute.bad);
            sum.unknown += f64::from(minute.unknown + minute.planned_unknown);
            sum.planned += f64::from(minute.planned_bad);
        }
        sum
    }

    /// The seconds of the period that ends now.
    pub fn period(&self, now: At) -> Amounts {
        let first = now.ms().div_euclid(DAY_MS) - PERIOD_DAYS + 1;
        self.days.range(first..).fold(Amounts::default(), |sum, (_, day)| sum.sum(*day))
    }
}
