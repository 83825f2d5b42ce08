//! Evaluations that failed: counted per policy, and told to the policy that watches the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::At;

use crate::signal::{EVALUATION_ERRORS, Object, Outlook};

/// An error this old no longer counts: an evaluation comes every interval.
const RECENT_MS: i64 = 60_000;

/// Evaluations that failed.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    by_policy: BTreeMap<Arc<str>, Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    /// Since the start of the process.
    all: u64,
    /// Up to `since`.
    before: u64,
    /// Growth of the minute before `since`.
    recent: u64,
    since: At,
}

impl Errors {
    pub fn add(&mut self, failed: Vec<Arc<str>>) {
        for policy in failed {
            self.by_policy.entry(policy).or_default().all += 1;
        }
    }

    /// Tells how many there were lately.
    pub fn tell(&mut self, outlook: &mut Outlook, now: At) {
        for (policy, tally) in &mut self.by_policy {
            if now.since_ms(tally.since) >= RECENT_MS || now < tally.since {
                tally.recent = tally.all - tally.before;
                (tally.before, tally.since) = (tally.all, now);
            }
            let lately = tally.recent + (tally.all - tally.before);
            outlook.set(EVALUATION_ERRORS, Object::Platform, policy, lately as f64);
        }
    }

    /// By policy, since the start of the process.
    pub fn all(&self) -> Vec<(String, u64)> {
        self.by_policy.iter().map(|(policy, tally)| (policy.to_string(), tally.all)).collect()
    }
}
