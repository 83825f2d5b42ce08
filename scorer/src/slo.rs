//! What users got: seconds in which the writable master of each slot answered.
//!
//! Invariant: every second since watching began is good, bad or unknown, once; only certain badness
//! burns the budget; planned work is told apart, never hidden. Never mixed with the score. Refuses to
//! know where readings come from, and clocks.

mod account;
mod ledger;
mod look;

pub use account::{Account, Amounts, MINUTES_KEPT, Window};
pub use ledger::{Ledger, Look, Sight, Span, State};
pub use look::look;

use std::collections::BTreeMap;

use model::At;
use model::service::Tier;

/// The period a budget is for, days.
pub const PERIOD_DAYS: i64 = 30;

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 3600;
const DAY_S: i64 = 86_400;

/// The windows burn rates are taken over: label and seconds.
pub const WINDOWS: [(&str, i64); 7] = [
    ("5m", 5 * MINUTE_S),
    ("30m", 30 * MINUTE_S),
    ("1h", HOUR_S),
    ("2h", 2 * HOUR_S),
    ("6h", 6 * HOUR_S),
    ("1d", DAY_S),
    ("3d", 3 * DAY_S),
];

/// A burn that is told: both windows must burn faster than that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BurnAlert {
    /// Times the rate that uses the budget up in its period exactly.
    pub factor: f64,
    /// The window that proves it matters.
    pub long: &'static str,
    /// The window that proves it goes on.
    pub short: &'static str,
    /// Whether somebody is called; otherwise it is work for the day.
    pub page: bool,
}

/// The conditions, fastest first: 2 %, 5 %, 10 % and 10 % of the budget are gone when they hold.
pub const BURN_ALERTS: [BurnAlert; 4] = [
    BurnAlert { factor: 14.4, long: "1h", short: "5m", page: true },
    BurnAlert { factor: 6.0, long: "6h", short: "30m", page: true },
    BurnAlert { factor: 3.0, long: "1d", short: "2h", page: false },
    BurnAlert { factor: 1.0, long: "3d", short: "6h", page: false },
];

/// The window unknown time is judged over.
pub const UNKNOWN_WINDOW: &str = "6h";

/// Unknown share of it above which nobody can say whether the target is met.
pub const UNKNOWN_MAX: f64 = 0.1;

/// The target of a service: `set` when a policy says one, else that of its tier; none for tests.
pub fn target(tier: Tier, set: Option<f64>) -> Option<f64> {
    set.filter(|t| (0.0..1.0).contains(t)).or(match tier {
        Tier::Core => Some(0.9999),
        Tier::Important => Some(0.9995),
        Tier::General => Some(0.999),
        Tier::Test => None,
    })
}

/// Part of the budget of a target that is left at least (all unknown was bad) and at most.
pub fn budget(period: &Amounts, target: f64) -> [f64; 2] {
    let all = (1.0 - target) * (PERIOD_DAYS * DAY_S) as f64;
    let (bad, unknown) = (period.adjusted(State::Bad), period.adjusted(State::Unknown));
    [1.0 - (bad + unknown) / all, 1.0 - bad / all]
}

/// Accounting of one service: a ledger a shard, one account together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Slo {
    shards: BTreeMap<u32, Ledger>,
    account: Account,
}

impl Slo {
    /// Goes on with a stored account: the time since its end was seen by nobody.
    pub fn resume(account: Account) -> Slo {
        Slo { shards: BTreeMap::new(), account }
    }

    /// Takes in what is seen of a shard with that share of the slots; planned work ran until
    /// `planned_until`.
    pub fn take(&mut self, shard: u32, look: &Look, share: f64, planned_until: At) {
        let account = &mut self.account;
        let resumed = account.until();
        let ledger = self.shards.entry(shard).or_insert_with(|| match resumed {
            Some(until) if until < look.began => Ledger::resumed(until),
            _ => Ledger::default(),
        });
        account.begin(look.at);
        ledger.take(look, &mut |span| account.add(&span, share, span.from < planned_until));
    }

    /// Forgets shards that are no more.
    pub fn keep(&mut self, there: impl Fn(u32) -> bool) {
        self.shards.retain(|n, _| there(*n));
    }

    /// The account.
    pub fn account(&self) -> &Account {
        &self.account
    }
}

#[cfg(test)]
mod tests;
