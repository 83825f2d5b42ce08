//! Delivery: one queue, one POST in flight and one back-off per Alertmanager.
//!
//! Invariant: an Alertmanager that hangs, refuses or is gone delays nobody but itself; what it did
//! not take stays. One alert it will never take is found by halving and dropped alone.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Mutex;
use std::time::Duration;

use model::At;
use model::alert::Alert;
use store::{AlertWrite, DeliveryMark};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::book::{BATCH_MAX, Parcel};
use crate::config::AlertmanagerConfig;
use crate::persist::WATCHDOG;
use crate::send::{Answer, post};
use crate::{Alerter, lock};

/// First and longest wait after a failure, ms.
const BACKOFF_MS: (i64, i64) = (1_000, 30_000);
/// A wrong address or credential is tried again this often: people repair it, not time.
const MISCONFIGURED_MS: i64 = 30_000;
/// Draining at shutdown; what is not sent by then is sent after the restart.
const DRAIN: Duration = Duration::from_secs(5);
/// A batch that is not full waits this long after the POST before it: while a storm is still judged,
/// each would leave with what happened to be there, in twice as many requests.
const GATHER: Duration = Duration::from_millis(100);
/// Poison alerts remembered so that each is logged once.
const LOGGED_MAX: usize = 10_000;

/// An Alertmanager and how we stand with it.
pub(crate) struct Receiver {
    pub config: AlertmanagerConfig,
    pub wake: Notify,
    /// When the latest POST began.
    flight: tokio::sync::Mutex<Option<Instant>>,
    pub state: Mutex<State>,
}

/// How we stand with an Alertmanager.
#[derive(Default)]
pub(crate) struct State {
    retry_at: At,
    backoff_ms: i64,
    pub misconfigured: bool,
    pub error: String,
    pub sent: u64,
    pub retried: u64,
    pub poison: u64,
    pub expired: u64,
    logged: HashSet<String>,
}

impl Receiver {
    pub fn new(config: AlertmanagerConfig) -> Receiver {
        let (wake, flight, state) = Default::default();
        Receiver { config, wake, flight, state }
    }
}

impl State {
    fn good(&mut self, n: usize) {
        self.sent += n as u64;
        self.backoff_ms = 0;
        self.retry_at = At::EPOCH;
        self.misconfigured = false;
        self.error.clear();
    }

    fn bad(&mut self, misconfigured: bool, error: String, now: At) {
        self.retried += 1;
        self.misconfigured = misconfigured;
        self.error = error;
        if misconfigured {
            self.retry_at = now + MISCONFIGURED_MS;
            return;
        }
        self.backoff_ms = (self.backoff_ms * 2).clamp(BACKOFF_MS.0, BACKOFF_MS.1);
        // Half of it at least, so that replicas do not come back in step.
        let half = self.backoff_ms / 2;
        let spread = RandomState::new().build_hasher().finish() % (half as u64 + 1);
        self.retry_at = now + half + spread as i64;
    }
}

impl Alerter {
    /// How many Alertmanagers there are; `deliver` takes 0 up to this.
    pub fn receivers(&self) -> usize {
        self.receivers.len()
    }

    /// Its URL, to name the loop that delivers to it.
    pub fn receiver_url(&self, index: usize) -> &str {
        &self.receivers[index].config.url
    }

    /// Woken when that Alertmanager has something to hear.
    pub fn delivery_wake(&self, index: usize) -> &Notify {
        &self.receivers[index].wake
    }

    /// Sends that Alertmanager everything due at `now`: changes first, then what must be repeated.
    /// Answers how many alerts it took. Run one loop per Alertmanager, woken and every second;
    /// calls that overlap answer 0 at once.
    pub async fn deliver(&self, index: usize, now: At) -> usize {
        let receiver = &self.receivers[index];
        let Ok(mut latest) = receiver.flight.try_lock() else { return 0 };
        let retry_at = lock(&receiver.state).retry_at;
        // A clock set back must not make us wait for the old time.
        if now < retry_at && retry_at.since_ms(now) <= MISCONFIGURED_MS {
            return 0;
        }
        let mut taken = 0;
        loop {
            let mut batch = lock(&self.book).batch(index, &self.public_url, now);
            if batch.is_empty() {
                return taken;
            }
            let rest = latest.and_then(|at| GATHER.checked_sub(at.elapsed()));
            if let Some(rest) = rest.filter(|_| batch.len() < BATCH_MAX) {
                tokio::time::sleep(rest).await;
                batch = lock(&self.book).batch(index, &self.public_url, now);
            }
            *latest = Some(Instant::now());
            let (n, good) = self.send(index, &batch, now).await;
            taken += n;
            if !good {
                return taken;
            }
        }
    }

    /// Sends a batch; halves it while it is refused. Answers how many were taken, and whether the
    /// Alertmanager can take more now.
    async fn send(&self, index: usize, batch: &[Parcel], now: At) -> (usize, bool) {
        let receiver = &self.receivers[index];
        let mut parts = vec![batch];
        let mut taken = 0;
        while let Some(part) = parts.pop() {
            let wires: Vec<_> = part.iter().map(|p| &p.wire).collect();
            let (misconfigured, why) = match post(&self.http, &receiver.config, &wires).await {
                Answer::Taken => {
                    lock(&receiver.state).good(part.len());
                    self.settle(index, part, "accepted", "", now);
                    taken += part.len();
                    continue;
                }
                Answer::Refused(_) if part.len() > 1 => {
                    let (left, right) = part.split_at(part.len() / 2);
                    parts.extend([right, left]);
                    continue;
                }
                Answer::Refused(why) => {
                    self.drop_poison(index, &part[0], &why, now);
                    continue;
                }
                Answer::Misconfigured(why) => (true, why),
                Answer::Busy(why) => (false, why),
            };
            self.wait(index, part, &why, now);
            for part in parts {
                self.wait(index, part, &why, now);
            }
            let mut state = lock(&receiver.state);
            if state.error.is_empty() {
                tracing::warn!(url = receiver.config.url, why, "Alertmanager takes no alerts");
            }
            state.bad(misconfigured, why, now);
            return (taken, false);
        }
        (taken, true)
    }

    fn settle(&self, index: usize, part: &[Parcel], state: &'static str, detail: &str, now: At) {
        let mut book = lock(&self.book);
        let news: Vec<&Parcel> = part.iter().filter(|p| book.done(index, p, state, now)).collect();
        drop(book);
        self.log_delivery(index, &news, state, detail, now);
    }

    fn wait(&self, index: usize, part: &[Parcel], why: &str, now: At) {
        let mut book = lock(&self.book);
        let news: Vec<&Parcel> = part.iter().filter(|p| book.waits(index, p)).collect();
        drop(book);
        self.log_delivery(index, &news, "waiting", why, now);
    }

    fn log_delivery(
        &self,
        index: usize,
        parcels: &[&Parcel],
        state: &'static str,
        detail: &str,
        now: At,
    ) {
        let mut outbox = lock(&self.outbox);
        for p in parcels {
            if p.wire.labels.get("policy").is_some_and(|policy| policy == WATCHDOG) {
                continue;
            }
            let mark = DeliveryMark {
                alert_id: p.alert_id.clone(),
                receiver: self.receivers[index].config.url.clone(),
                state,
                resolved: p.resolved,
                at: now,
                detail: detail.to_string(),
            };
            outbox.push(AlertWrite::Delivery(mark), now);
        }
        if !parcels.is_empty() {
            self.wake.notify_one();
        }
    }

    fn drop_poison(&self, index: usize, parcel: &Parcel, why: &str, now: At) {
        let receiver = &self.receivers[index];
        let mut state = lock(&receiver.state);
        state.poison += 1;
        if state.logged.len() < LOGGED_MAX && state.logged.insert(parcel.key.clone()) {
            let (url, labels) = (&receiver.config.url, &parcel.wire.labels);
            tracing::error!(url, ?labels, why, "Alertmanager refuses this alert for good");
        }
        drop(state);
        self.settle(index, std::slice::from_ref(parcel), "rejected", why, now);
    }

    /// Forgets ends that need no more sending.
    pub(crate) fn sweep(&self, now: At) {
        let unsent = lock(&self.book).sweep(now);
        if unsent > 0 {
            for receiver in &self.receivers {
                lock(&receiver.state).expired += unsent as u64;
            }
        }
    }

    /// The last chance before the process ends: writes and sends what waits, for at most 5 s. Ends
    /// nothing: an alert that fires goes on after the restart. Stop the loops before.
    pub async fn shutdown(&self, now: At) {
        let drain = async {
            let sends = (0..self.receivers.len()).map(|i| self.deliver(i, now));
            let (_, written) =
                futures_util::future::join(futures_util::future::join_all(sends), async {
                    // Running timers too, not only what made a step.
                    lock(&self.outbox).snapshot_now();
                    self.round(now).await
                })
                .await;
            if let Err(e) = written {
                tracing::warn!("alert history is incomplete at shutdown: {e}");
            }
            // What was taken meanwhile.
            let _ = self.round(now).await;
        };
        if tokio::time::timeout(DRAIN, drain).await.is_err() {
            tracing::warn!("alerts were not drained within 5 s; they are sent after the restart");
        }
    }

    /// The occurrence of that fingerprint, live or retained, in memory.
    pub(crate) fn own(&self, fingerprint: &str) -> Option<std::sync::Arc<Alert>> {
        lock(&self.book).alert(fingerprint)
    }
}
