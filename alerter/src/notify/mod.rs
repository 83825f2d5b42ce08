//! The built-in notifier: tells people ourselves while no Alertmanager is configured.
//!
//! Invariant: what a receiver was told is a row, written when it took it; a restart tells nothing
//! twice but what was taken and not yet written. A receiver that hangs or refuses delays nobody
//! but itself. Withheld, silenced and inhibited alerts are not told. When and what is `group`'s
//! decision, pure.

mod bucket;
pub(crate) mod config;
pub mod group;
mod hand;
pub mod inhibit;
mod message;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use model::At;
use model::alert::{Alert, Phase};
use model::caller::Caller;
use store::{AlertWrite, DeliveryMark};

use crate::send::Answer;
use crate::status::{ReceiverStatus, age};
use crate::{Alerter, lock};
use bucket::Bucket;
use config::ReceiverConfig;
use group::{Group, Key, Next, Notice, Told};
use hand::Hand;

/// First and longest wait after a failure, ms.
const BACKOFF_MS: (i64, i64) = (1_000, 30_000);
/// Acknowledgements of other processes are seen this late.
const ACKS_MS: i64 = 5_000;

/// A receiver and how we stand with it.
pub(crate) struct Desk {
    pub config: ReceiverConfig,
    /// Name of its rows.
    rows: String,
    /// What it is told of is in the history.
    logged: bool,
    pub flight: tokio::sync::Mutex<()>,
    pub state: Mutex<DeskState>,
}

/// How we stand with a receiver.
#[derive(Default)]
pub(crate) struct DeskState {
    pub told: HashMap<String, Told>,
    /// Groups whose row could not be written yet.
    unsaved: BTreeSet<String>,
    bucket: Option<Bucket>,
    retry_at: At,
    backoff_ms: i64,
    /// Why it took nothing last time; empty when it did.
    pub error: String,
    /// Alerts it was told of, repeats included.
    pub sent: u64,
    /// Messages that failed and were or will be repeated.
    pub retried: u64,
    /// Messages it refused for good.
    pub refused: u64,
    /// Since when the oldest message waits.
    pub waiting_since: Option<At>,
}

impl Desk {
    pub(crate) fn new(config: ReceiverConfig) -> Desk {
        let (flight, state) = Default::default();
        Desk { rows: config.name.clone(), logged: true, config, flight, state }
    }

    /// How we stand with it.
    pub(crate) fn status(&self, now: At) -> ReceiverStatus {
        let state = lock(&self.state);
        ReceiverStatus {
            url: format!("{}:{}", self.config.kind.as_str(), self.rows),
            sent: state.sent,
            retried: state.retried,
            dropped_poison: state.refused,
            dropped_expired: 0,
            oldest_unsent_seconds: age(state.waiting_since, now),
            misconfigured: false,
            error: state.error.clone(),
        }
    }
}

/// The receiver of the Watchdog's alarm. Its rows have a name no receiver can have.
pub(crate) fn alarm(config: &crate::Config) -> Option<Desk> {
    let watchdog = config.watchdog.as_ref()?;
    let receiver = config.receiver.iter().find(|r| r.name == watchdog.receiver)?;
    let rows = format!("watchdog:{}", receiver.name);
    Some(Desk { rows, logged: false, ..Desk::new(receiver.clone()) })
}

/// What there is to tell, for all receivers.
pub(crate) struct Audience {
    /// The second it was gathered in.
    at: i64,
    /// The book's version then.
    version: u64,
    groups: Vec<BTreeMap<Key, Group>>,
}

/// Who acknowledged what, and when that was read.
#[derive(Default)]
pub(crate) struct Acks {
    ids: BTreeSet<String>,
    read_at: At,
}

impl Alerter {
    /// Whether we tell people ourselves: receivers are configured and no Alertmanager is.
    pub fn notifies(&self) -> bool {
        self.config.alertmanager.is_empty() && !self.desks.is_empty()
    }

    /// How many receivers there are; `notify` takes 0 up to this.
    pub fn desks(&self) -> usize {
        self.desks.len()
    }

    /// Reads what receivers were told before a restart.
    pub(crate) async fn restore_told(&self) -> Result<(), store::Error> {
        let caller = Caller::system("notifier", "notifier");
        for (receiver, key, body) in self.store.notifications(&caller).await? {
            let mut all = self.desks.iter().chain(&self.alarm_desk);
            let Some(desk) = all.find(|d| d.rows == receiver) else {
                continue;
            };
            match serde_json::from_str(&body) {
                Ok(told) => drop(lock(&desk.state).told.insert(key, told)),
                Err(e) => {
                    tracing::error!(receiver, key, error = %e, "a notification is unreadable")
                }
            }
        }
        Ok(())
    }

    /// Tells a receiver everything that is due at `now`. Answers how many messages it took. Run one
    /// loop per receiver, each second; calls that overlap answer 0 at once.
    pub async fn notify(&self, index: usize, now: At) -> Result<usize, store::Error> {
        let desk = &self.desks[index];
        let Ok(_one) = desk.flight.try_lock() else { return Ok(0) };
        if !self.notifies() {
            return Ok(0);
        }
        // A store that fails delays the record, never the message.
        let mut failed = self.read_acks(now).await.and(self.save_told(desk, now).await);
        let groups = self.groups(index, now);
        let mut taken = 0;
        for (key, group) in groups {
            let told = lock(&desk.state).told.get(&key.text()).cloned();
            match group::next(&group, told.as_ref(), desk.config.send_resolved, now) {
                Next::Wait => {}
                Next::Forget => failed = failed.and(self.keep_told(desk, &key, None, now).await),
                Next::Tell(notice, after) => {
                    if !may_send(desk, now) {
                        break;
                    }
                    if !self.tell(desk, &key, &notice, now).await {
                        break;
                    }
                    taken += 1;
                    failed = failed.and(self.keep_told(desk, &key, after, now).await);
                }
            }
        }
        failed.map(|()| taken)
    }

    /// Sends one; answers whether the group counts as told.
    pub(crate) async fn tell(&self, desk: &Desk, key: &Key, notice: &Notice, now: At) -> bool {
        let hand = Hand {
            http: &self.http,
            mail: self.config.mail.as_ref(),
            explains: self.explains.get(),
            public_url: &self.public_url,
        };
        let name = &desk.config.name;
        let (state, why) = match hand.over(&desk.config, key, notice).await {
            Answer::Taken => ("accepted", String::new()),
            Answer::Refused(why) => {
                tracing::error!(receiver = name, group = key.text(), why, "a message is refused");
                ("rejected", why)
            }
            Answer::Misconfigured(why) | Answer::Busy(why) => ("waiting", why),
        };
        let mut kept = lock(&desk.state);
        match state {
            "waiting" => {
                if kept.error.is_empty() {
                    tracing::warn!(receiver = name, why, "a receiver takes no messages");
                }
                kept.retried += 1;
                kept.backoff_ms = (kept.backoff_ms * 2).clamp(BACKOFF_MS.0, BACKOFF_MS.1);
                kept.retry_at = now + kept.backoff_ms;
                kept.waiting_since.get_or_insert(now);
                kept.error.clone_from(&why);
            }
            _ => {
                let n = notice.firing.len() + notice.resolved.len();
                kept.sent += if state == "accepted" { n as u64 } else { 0 };
                kept.refused += u64::from(state == "rejected");
                (kept.backoff_ms, kept.retry_at, kept.waiting_since) = (0, At::EPOCH, None);
                kept.error.clear();
            }
        }
        drop(kept);
        self.log_notice(desk, notice, state, &why, now);
        state != "waiting"
    }

    fn log_notice(&self, desk: &Desk, notice: &Notice, state: &'static str, why: &str, now: At) {
        if !desk.logged {
            return;
        }
        let mut outbox = lock(&self.outbox);
        for brief in notice.firing.iter().chain(&notice.resolved) {
            let mark = DeliveryMark {
                alert_id: brief.id.clone(),
                receiver: format!("{}:{}", desk.config.kind.as_str(), desk.config.name),
                state,
                resolved: brief.ends_at.is_some(),
                at: now,
                detail: why.to_string(),
            };
            outbox.push(AlertWrite::Delivery(mark), now);
        }
        self.wake.notify_one();
    }

    pub(crate) async fn keep_told(
        &self,
        desk: &Desk,
        key: &Key,
        told: Option<Told>,
        now: At,
    ) -> Result<(), store::Error> {
        let key = key.text();
        {
            let mut state = lock(&desk.state);
            match told {
                Some(told) => drop(state.told.insert(key.clone(), told)),
                None => drop(state.told.remove(&key)),
            }
            state.unsaved.insert(key);
        }
        self.save_told(desk, now).await
    }

    /// Writes the rows that changed; those that fail stay to be written.
    async fn save_told(&self, desk: &Desk, now: At) -> Result<(), store::Error> {
        let unsaved: Vec<String> = lock(&desk.state).unsaved.iter().cloned().collect();
        let caller = Caller::system("notifier", format!("notifier-{}", now.ms()));
        for key in unsaved {
            let told = lock(&desk.state).told.get(&key).cloned();
            let body = told.and_then(|t| serde_json::to_string(&t).ok());
            let rows = &desk.rows;
            self.store.notification_put(&caller, rows, &key, body.as_deref(), now).await?;
            lock(&desk.state).unsaved.remove(&key);
        }
        Ok(())
    }

    /// The groups of a receiver: of what fires and ended, and of what it was told.
    fn groups(&self, index: usize, now: At) -> BTreeMap<Key, Group> {
        let audience = self.audience(now);
        let mut groups = audience.groups.get(index).cloned().unwrap_or_default();
        for text in lock(&self.desks[index].state).told.keys() {
            if let Some(key) = Key::parse(text) {
                groups.entry(key).or_default();
            }
        }
        groups
    }

    /// The groups of all receivers, made once for all that ask within a second.
    fn audience(&self, now: At) -> Arc<Audience> {
        let version = lock(&self.book).version();
        let mut kept = lock(&self.audience);
        let fresh = |a: &Audience| a.at == now.ms() / 1000 && a.version == version;
        if let Some(audience) = kept.as_ref().filter(|a| fresh(a)) {
            return audience.clone();
        }
        let groups = self.gather(now);
        let made = Arc::new(Audience { at: now.ms() / 1000, version, groups });
        *kept = Some(made.clone());
        made
    }

    fn gather(&self, now: At) -> Vec<BTreeMap<Key, Group>> {
        let gate = self.gate.load();
        let alerts = lock(&self.book).audible(&self.public_url);
        let all: Vec<&Alert> = alerts.iter().collect();
        let inhibited = inhibit::inhibited(&all);
        let acks = lock(&self.acks);
        let mut groups = vec![BTreeMap::<Key, Group>::new(); self.desks.len()];
        let mut unseen: BTreeSet<Key> = BTreeSet::new();
        for alert in all {
            let Some(desk) = self.desk_of(alert) else { continue };
            let key = Key::of(alert);
            let muted = inhibited.contains(&alert.id) || gate.silence(&alert.labels, now).is_some();
            if alert.phase != Phase::Resolved && !acks.ids.contains(&alert.id) {
                unseen.insert(key.clone());
            }
            let url = format!("{}/alerts/{}", self.public_url, alert.id);
            groups[desk].entry(key).or_default().add(alert, url, muted);
        }
        for (key, group) in groups.iter_mut().flatten() {
            group.acknowledged = !group.firing.is_empty() && !unseen.contains(key);
        }
        groups
    }

    /// The receiver of an alert: that of its tenant, else the one without tenants.
    fn desk_of(&self, alert: &Alert) -> Option<usize> {
        let own = |d: &Desk| alert.tenant.as_ref().is_some_and(|t| d.config.tenants.contains(t));
        let rest = |d: &Desk| d.config.tenants.is_empty();
        self.desks.iter().position(own).or_else(|| self.desks.iter().position(rest))
    }

    async fn read_acks(&self, now: At) -> Result<(), store::Error> {
        let age = now.since_ms(lock(&self.acks).read_at);
        if (0..ACKS_MS).contains(&age) {
            return Ok(());
        }
        let caller = Caller::system("notifier", format!("notifier-{}", now.ms()));
        let acks = self.store.alerts_acknowledged(&caller).await?;
        let ids = acks.into_iter().map(|(id, _)| id).collect();
        *lock(&self.acks) = Acks { ids, read_at: now };
        Ok(())
    }
}

/// Whether the receiver may be sent a message now.
pub(crate) fn may_send(desk: &Desk, now: At) -> bool {
    let mut state = lock(&desk.state);
    // A clock set back must not make us wait for the old time.
    if now < state.retry_at && state.retry_at.since_ms(now) <= BACKOFF_MS.1 {
        return false;
    }
    let per_minute = desk.config.per_minute;
    let free = state.bucket.get_or_insert_with(|| Bucket::new(per_minute)).take(now);
    if !free {
        state.waiting_since.get_or_insert(now);
    }
    free
}
