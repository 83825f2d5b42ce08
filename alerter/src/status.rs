//! What the alerter says of itself, for `/metrics/self` and the pages.

use std::sync::atomic::Ordering;

use model::At;
use serde::Serialize;

use crate::{Alerter, lock};

/// The alerter's own state.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Policies judged since start.
    pub evaluations: u64,
    /// Samples dropped because they were not newer than the last one.
    pub samples_late: u64,
    /// Time of the latest evaluation; the epoch before the first.
    pub last_eval: At,
    /// Steps and rows that wait for the store.
    pub waiting_writes: usize,
    /// Age of the oldest of them, seconds; 0 when none waits.
    pub store_lag_seconds: f64,
    /// Steps dropped because the store failed for too long.
    pub history_lost: u64,
    /// Writes left out because the database will never take them.
    pub history_refused: u64,
    /// Why the store took nothing last time; empty when it did.
    pub store_error: String,
    /// Alertmanagers, then the receivers we tell ourselves (`webhook:NAME`).
    pub receivers: Vec<ReceiverStatus>,
    /// Policy documents that cannot be evaluated: (`policy@scope`, reason).
    pub problems: Vec<(String, String)>,
    /// Evaluations that failed, by policy; their states stayed as they were.
    pub eval_errors: Vec<(String, u64)>,
    /// Slots of the grid nobody judged.
    pub slots_missed: u64,
    /// Memory of the windows, bytes.
    pub window_bytes: usize,
    /// Seconds since the Watchdog of each evaluator came back to us.
    pub watchdog_age_seconds: Vec<(String, f64)>,
    /// Posted alerts by result since start, those of a reconciliation included.
    pub intake: Vec<(&'static str, u64)>,
    /// Live alerts that are withheld.
    pub withheld: u64,
    /// Alertmanagers that proved nothing in the latest reconciliation, and why.
    pub unproven: Vec<(String, String)>,
}

/// How we stand with one Alertmanager or receiver.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiverStatus {
    /// Its URL, or kind and name.
    pub url: String,
    /// Alerts it took, repeats included.
    pub sent: u64,
    /// Sendings that failed and were or will be repeated.
    pub retried: u64,
    /// Alerts it refused for good.
    pub dropped_poison: u64,
    /// Ends it did not take within a day.
    pub dropped_expired: u64,
    /// Age of the oldest change it has not taken, seconds; 0 when it has all.
    pub oldest_unsent_seconds: f64,
    /// It answers 401, 403 or 404.
    pub misconfigured: bool,
    /// Why it took nothing last time; empty when it did.
    pub error: String,
}

pub(crate) fn age(since: Option<At>, now: At) -> f64 {
    since.map_or(0.0, |at| now.since_ms(at).max(0) as f64 / 1000.0)
}

impl Alerter {
    /// The alerter's own state.
    pub fn status(&self, now: At) -> Status {
        // One lock after the other: see the order of the fields of `Alerter`.
        let window_bytes = self.window_bytes();
        let eval_errors = lock(&self.errors).all();
        let slots_missed = lock(&self.grid).missed;
        let book = lock(&self.book);
        let receivers = self.receivers.iter().enumerate().map(|(i, receiver)| {
            let state = lock(&receiver.state);
            ReceiverStatus {
                url: receiver.config.url.clone(),
                sent: state.sent,
                retried: state.retried,
                dropped_poison: state.poison,
                dropped_expired: state.expired,
                oldest_unsent_seconds: age(book.oldest_unsent(i), now),
                misconfigured: state.misconfigured,
                error: state.error.clone(),
            }
        });
        let mut receivers: Vec<ReceiverStatus> = receivers.collect();
        let withheld = book.withheld().values().map(|n| u64::from(*n)).sum();
        drop(book);
        receivers.extend(self.desks.iter().chain(&self.alarm_desk).map(|d| d.status(now)));
        let outbox = lock(&self.outbox);
        Status {
            evaluations: self.evaluations.load(Ordering::Relaxed),
            samples_late: self.late.load(Ordering::Relaxed),
            last_eval: At::from_ms(self.last_eval.load(Ordering::Relaxed)),
            waiting_writes: outbox.len(),
            store_lag_seconds: age(outbox.oldest(), now),
            history_lost: outbox.lost,
            history_refused: outbox.refused,
            store_error: outbox.error.clone(),
            receivers,
            problems: self.plan.load().problems.clone().into_iter().collect(),
            eval_errors,
            slots_missed,
            window_bytes,
            watchdog_age_seconds: lock(&self.watchdogs)
                .iter()
                .map(|(evaluator, at)| (evaluator.clone(), age(Some(*at), now)))
                .collect(),
            intake: lock(&self.taken).iter().map(|(result, n)| (*result, *n)).collect(),
            withheld,
            unproven: lock(&self.reconciled).unproven.clone().into_iter().collect(),
        }
    }
}
