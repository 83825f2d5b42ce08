//! What each Alertmanager must hear next: one entry per live or retained alert.
//!
//! Invariant: the latest state wins; nothing is dropped for age, only what every Alertmanager
//! took (or 24 h after its end). Bounded by live alerts. Pure: time comes in, batches go out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::At;
use model::alert::{Alert, Phase};
use model::history::Hold;
use model::policy::AlertLevel;
use serde::Serialize;

use crate::live::Pulse;
use crate::persist::WATCHDOG;
use crate::resolve::Effective;
use crate::template::render;

/// Alerts in one POST: Prometheus' default is 64 a queue flush, 256 keeps 5 000 alerts under 40
/// POSTs and a body under half a megabyte.
pub const BATCH_MAX: usize = 256;
/// A resolved alert is sent again for this long: a receiver that restarts empty hears of it.
pub const RETAINED_MS: i64 = 15 * 60_000;
/// An Alertmanager that did not take an end for this long will find it out by itself.
pub const UNSENT_MAX_MS: i64 = 24 * 3_600_000;
/// While firing, endsAt lies this many resend periods ahead, as with Prometheus: three lost
/// sendings do not resolve an alert.
const ENDS_AHEAD: i64 = 4;

/// An alert as Alertmanager's API v2 takes it.
#[derive(Debug, Clone, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Wire {
    /// Label set.
    pub labels: BTreeMap<String, String>,
    /// Rendered annotations.
    pub annotations: BTreeMap<String, String>,
    /// When it fired.
    pub starts_at: At,
    /// When it ended, or until when it holds without a word from us.
    pub ends_at: At,
    /// Our page about it.
    #[serde(rename = "generatorURL")]
    pub generator_url: String,
}

/// How an alert stands with one Alertmanager.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    /// Version last taken, or dropped as poison.
    version: u64,
    /// Next sending of what did not change.
    due: At,
    /// Its end was taken (or refused for good).
    settled: bool,
    /// What the delivery log says last.
    logged: Option<(&'static str, bool)>,
}

/// One alert.
struct Entry {
    alert: Arc<Alert>,
    rule: Option<Arc<Effective>>,
    pulse: Option<Arc<Pulse>>,
    version: u64,
    changed_at: At,
    /// What withheld this occurrence from its receivers; none: nothing.
    hold: Option<Hold>,
    sent: Vec<Sent>,
}

/// All live and retained alerts with their state of delivery.
pub struct Book {
    entries: HashMap<String, Entry>,
    receivers: usize,
    resend_ms: i64,
    ahead_ms: i64,
    version: u64,
}

/// One alert of a batch.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// Fingerprint.
    pub key: String,
    /// Version that is sent.
    pub version: u64,
    /// Occurrence; empty for the Watchdog, which has no row.
    pub alert_id: String,
    /// It is an end.
    pub resolved: bool,
    /// Body.
    pub wire: Wire,
}

impl Book {
    /// A book for `receivers` Alertmanagers.
    pub fn new(receivers: usize, resend_ms: i64) -> Book {
        let ahead_ms = ENDS_AHEAD * resend_ms;
        Book { entries: HashMap::new(), receivers, resend_ms, ahead_ms, version: 0 }
    }

    /// Instances polled less often than alerts are resent need a later endsAt.
    pub fn slowest_interval(&mut self, interval_ms: i64) {
        self.ahead_ms = self.ahead_ms.max(ENDS_AHEAD * interval_ms);
    }

    /// Puts the state of an alert in; it is due at once at every Alertmanager. `quiet`: nothing
    /// changed on the wire (firing and recovering look alike). Answers whether the occurrence is new
    /// here.
    pub fn put(
        &mut self,
        alert: Arc<Alert>,
        rule: Option<Arc<Effective>>,
        pulse: Option<Arc<Pulse>>,
        now: At,
        quiet: bool,
    ) -> bool {
        let receivers = self.receivers;
        self.version += 1;
        let entry = self.entries.entry(alert.fingerprint.clone()).or_insert_with(|| Entry {
            alert: alert.clone(),
            rule: None,
            pulse: None,
            version: 0,
            changed_at: now,
            hold: None,
            sent: vec![Sent::default(); receivers],
        });
        let other = entry.alert.id != alert.id;
        if other {
            entry.sent.iter_mut().for_each(|s| s.logged = None);
            entry.hold = None;
        }
        let new = other || entry.version == 0;
        entry.alert = alert;
        entry.rule = rule.or(entry.rule.take());
        entry.pulse = pulse;
        if !quiet || entry.version == 0 {
            entry.version += 1;
            entry.changed_at = now;
            entry.sent.iter_mut().for_each(|s| s.settled = false);
        }
        new
    }

    /// Withholds an occurrence, or says that it was and when it was let go.
    pub fn hold(&mut self, fingerprint: &str, hold: Option<Hold>) {
        if let Some(entry) = self.entries.get_mut(fingerprint) {
            entry.hold = hold;
            self.version += 1;
        }
    }

    /// Whether receivers were or are told of that occurrence; none when it is not here.
    pub fn told_of(&self, fingerprint: &str) -> Option<bool> {
        self.entries.get(fingerprint).map(|e| !e.withheld())
    }

    /// Lets go what nothing withholds any more: it is due at once, and began now for those who hear
    /// of it. `why` says what still withholds an alert. Answers what was let go.
    pub fn release(
        &mut self,
        why: impl Fn(&Alert, Option<&Effective>) -> Option<String>,
        now: At,
    ) -> Vec<Hold> {
        let mut released = Vec::new();
        for entry in self.entries.values_mut().filter(|e| e.withheld()) {
            if entry.alert.phase == Phase::Resolved
                || why(&entry.alert, entry.rule.as_deref()).is_some()
            {
                continue;
            }
            let Some(hold) = entry.hold.as_mut() else { continue };
            hold.released_at = Some(now);
            released.push(hold.clone());
            entry.version += 1;
            entry.changed_at = now;
        }
        self.version += released.len() as u64;
        released
    }

    /// What withholds the live alerts: (what, how many).
    pub fn withheld(&self) -> BTreeMap<String, u32> {
        let mut all = BTreeMap::new();
        let live = |e: &&Entry| e.withheld() && e.alert.phase != Phase::Resolved;
        for hold in self.entries.values().filter(live).filter_map(|e| e.hold.as_ref()) {
            *all.entry(hold.why.clone()).or_default() += 1;
        }
        all
    }

    /// Everything receivers may hear of, ends that are still kept included; not the Watchdog.
    pub fn audible(&self, public_url: &str) -> Vec<Alert> {
        let told = self.entries.values().filter(|e| !e.withheld() && e.alert.policy != WATCHDOG);
        told.map(|e| {
            let mut alert = e.told();
            alert.annotations = linked(alert.annotations, public_url);
            alert
        })
        .collect()
    }

    /// A number that grows with each change of what receivers may hear.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The policy of a live alert was edited: its annotations follow at the next sending.
    pub fn refresh(&mut self, fingerprint: &str, rule: &Arc<Effective>) {
        if let Some(entry) = self.entries.get_mut(fingerprint) {
            entry.rule = Some(rule.clone());
        }
    }

    /// A receiver already took the end of that alert (known from before a restart).
    pub fn settle(&mut self, fingerprint: &str, receiver: usize) {
        if let Some(entry) = self.entries.get_mut(fingerprint) {
            let sent = &mut entry.sent[receiver];
            (sent.settled, sent.version) = (true, entry.version);
            sent.logged = Some(("accepted", true));
        }
    }

    /// Annotations of the alert as last rendered.
    pub fn annotations(&self, fingerprint: &str) -> Option<BTreeMap<String, String>> {
        self.entries.get(fingerprint).map(|e| e.alert.annotations.clone())
    }

    /// The occurrence of that fingerprint, live or retained.
    pub fn alert(&self, fingerprint: &str) -> Option<Arc<Alert>> {
        self.entries.get(fingerprint).map(|e| e.alert.clone())
    }

    /// Firing alerts with their present value and time; the Watchdog is none of them.
    pub fn firing(&self) -> Vec<Alert> {
        let shown = |a: &Alert| a.phase != Phase::Resolved && a.policy != WATCHDOG;
        let live = self.entries.values().filter(|e| shown(&e.alert));
        live.map(Entry::present).collect()
    }

    /// Every alert there is, ends that are still kept included; the Watchdog is none of them.
    pub fn all(&self) -> Vec<Alert> {
        let ours = self.entries.values().filter(|e| e.alert.policy != WATCHDOG);
        ours.map(Entry::present).collect()
    }

    /// The next batch for an Alertmanager: what changed first, then what is due again.
    pub fn batch(&self, receiver: usize, public_url: &str, now: At) -> Vec<Parcel> {
        let mut due: Vec<(bool, At, &String)> = self
            .entries
            .iter()
            .filter(|(_, e)| !e.withheld())
            .filter_map(|(key, e)| {
                let sent = &e.sent[receiver];
                let clean = sent.version == e.version;
                // Further away than a period: the clock was set back since.
                let due = sent.due <= now || sent.due.since_ms(now) > self.resend_ms;
                (!clean || due).then_some((clean, e.changed_at, key))
            })
            .collect();
        due.sort_unstable();
        due.truncate(BATCH_MAX);
        due.into_iter().map(|(_, _, key)| self.parcel(key, public_url, now)).collect()
    }

    fn parcel(&self, key: &str, public_url: &str, now: At) -> Parcel {
        let entry = &self.entries[key];
        let alert = entry.told();
        let ends_at = alert.ends_at.unwrap_or(now + self.ahead_ms).max(alert.starts_at);
        Parcel {
            key: key.to_string(),
            version: entry.version,
            resolved: alert.phase == Phase::Resolved,
            wire: Wire {
                labels: alert.labels,
                annotations: linked(alert.annotations, public_url),
                starts_at: alert.starts_at,
                ends_at,
                generator_url: format!("{public_url}/alerts/{}", alert.id),
            },
            alert_id: alert.id,
        }
    }

    /// The Alertmanager took the parcel (or refused it for good). Answers whether the delivery log
    /// must be told.
    pub fn done(&mut self, receiver: usize, parcel: &Parcel, state: &'static str, now: At) -> bool {
        let resend = self.resend_ms;
        let Some(entry) = self.entries.get_mut(&parcel.key) else { return false };
        let sent = &mut entry.sent[receiver];
        sent.version = sent.version.max(parcel.version);
        sent.due = now + resend - jitter(&parcel.key, resend);
        if entry.version == parcel.version && parcel.resolved {
            sent.settled = true;
        }
        let logged = Some((state, parcel.resolved));
        let news = sent.logged != logged && entry.alert.id == parcel.alert_id;
        if news {
            sent.logged = logged;
        }
        news
    }

    /// The parcel could not be sent. Answers whether the delivery log must be told.
    pub fn waits(&mut self, receiver: usize, parcel: &Parcel) -> bool {
        let Some(entry) = self.entries.get_mut(&parcel.key) else { return false };
        let sent = &mut entry.sent[receiver];
        let logged = Some(("waiting", parcel.resolved));
        // A resend that fails is no news: it was taken before.
        let news = sent.version != entry.version && sent.logged != logged;
        if news {
            sent.logged = logged;
        }
        news
    }

    /// Forgets ends that need no more sending. Answers how many were never taken by somebody.
    pub fn sweep(&mut self, now: At) -> usize {
        let mut unsent = 0;
        self.entries.retain(|_, e| {
            let Some(ended) = e.alert.ends_at.filter(|_| e.alert.phase == Phase::Resolved) else {
                return true;
            };
            let age = now.since_ms(ended);
            let settled = e.withheld() || e.sent.iter().all(|s| s.settled);
            let keep = age < RETAINED_MS || (!settled && age < UNSENT_MAX_MS);
            unsent += usize::from(!keep && !settled);
            keep
        });
        unsent
    }

    /// Since when the oldest change an Alertmanager has not taken waits.
    pub fn oldest_unsent(&self, receiver: usize) -> Option<At> {
        let entries = self.entries.values().filter(|e| !e.withheld());
        entries.filter(|e| e.sent[receiver].version != e.version).map(|e| e.changed_at).min()
    }
}

/// Annotation of an alert that was withheld: when it fired.
const FIRST_STARTED_AT: &str = "first_started_at";

impl Entry {
    /// Nobody is told of it now; of one that ended meanwhile nobody ever is.
    fn withheld(&self) -> bool {
        self.hold.as_ref().is_some_and(|h| h.released_at.is_none())
    }

    /// As receivers are told: what was withheld begins when it was let go.
    fn told(&self) -> Alert {
        let mut alert = self.present();
        if let Some(at) = self.hold.as_ref().and_then(|h| h.released_at) {
            let first = alert.starts_at.to_string();
            alert.annotations.insert(FIRST_STARTED_AT.into(), first);
            alert.starts_at = at.max(alert.starts_at);
            alert.ends_at = alert.ends_at.map(|end| end.max(alert.starts_at));
        }
        alert
    }

    fn present(&self) -> Alert {
        let mut alert = (*self.alert).clone();
        if alert.phase == Phase::Resolved {
            return alert;
        }
        if let Some(pulse) = &self.pulse {
            alert.value = pulse.value();
            alert.last_seen = alert.last_seen.max(pulse.seen());
        }
        if let Some(rule) = &self.rule {
            alert.annotations = annotations(rule, &alert.labels, alert.level, alert.value);
        }
        if let Some(pulse) = &self.pulse {
            note_flapping(&mut alert.annotations, pulse);
        }
        alert
    }
}

/// Says that an alert swings and is kept firing until it is calm.
pub fn note_flapping(annotations: &mut BTreeMap<String, String>, pulse: &Pulse) {
    match pulse.is_flapping() {
        true => drop(annotations.insert("flapping".into(), "true".into())),
        false => drop(annotations.remove("flapping")),
    }
}

/// Renders the annotations of a policy's level.
pub fn annotations(
    rule: &Effective,
    labels: &BTreeMap<String, String>,
    level: AlertLevel,
    value: Option<f64>,
) -> BTreeMap<String, String> {
    let templates = rule.levels.iter().find(|l| l.level == level).map(|l| &l.annotations);
    templates
        .into_iter()
        .flatten()
        .map(|(name, template)| (name.clone(), render(template, labels, value)))
        .collect()
}

/// Links to pages of ours as whoever reads the message elsewhere can open them.
fn linked(mut annotations: BTreeMap<String, String>, public_url: &str) -> BTreeMap<String, String> {
    for (name, value) in &mut annotations {
        if name.ends_with("_url") && value.starts_with('/') {
            value.insert_str(0, public_url);
        }
    }
    annotations
}

/// Spreads resends over the last fifth of the period, always earlier than late.
fn jitter(key: &str, resend_ms: i64) -> i64 {
    let hash = key.bytes().fold(0_i64, |h, b| h.wrapping_mul(31).wrapping_add(i64::from(b)));
    hash.rem_euclid((resend_ms / 5).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::alert::AlertSource;

    const T0: At = At::from_ms(1_763_800_000_000);
    const URL: &str = "http://w";

    fn alert(name: &str, ended: Option<At>) -> Arc<Alert> {
        let labels = BTreeMap::from([("alertname".to_string(), name.to_string())]);
        Arc::new(Alert {
            id: format!("{name}-1"),
            fingerprint: name.into(),
            source: AlertSource::Embedded,
            tenant: None,
            service: None,
            instance: None,
            alertname: name.into(),
            policy: "p".into(),
            level: AlertLevel::Warning,
            phase: if ended.is_some() { Phase::Resolved } else { Phase::Firing },
            labels,
            annotations: BTreeMap::new(),
            value: None,
            threshold: None,
            runbooks: Vec::new(),
            starts_at: T0,
            ends_at: ended,
            last_seen: T0,
            reason: String::new(),
        })
    }

    fn book(receivers: usize) -> Book {
        let mut book = Book::new(receivers, 60_000);
        book.put(alert("a", None), None, None, T0, false);
        book
    }

    fn sent(book: &mut Book, receiver: usize, now: At) -> usize {
        let batch = book.batch(receiver, URL, now);
        for p in &batch {
            book.done(receiver, p, "accepted", now);
        }
        batch.len()
    }

    #[test]
    fn a_runbook_can_be_opened_from_the_message() {
        let mut book = Book::new(1, 60_000);
        let mut firing = Alert::clone(&alert("a", None));
        for (name, value) in [
            ("runbook_url", "/docs/runbooks/a"),
            ("wiki_url", "https://x/"),
            ("summary", "/ is full"),
        ] {
            firing.annotations.insert(name.into(), value.into());
        }
        book.put(Arc::new(firing), None, None, T0, false);
        let sent = book.batch(0, URL, T0).remove(0).wire.annotations;
        assert_eq!(sent["runbook_url"], "http://w/docs/runbooks/a");
        assert_eq!(
            (sent["wiki_url"].as_str(), sent["summary"].as_str()),
            ("https://x/", "/ is full")
        );
    }

    #[test]
    fn an_unchanged_alert_is_sent_again_each_period_and_never_later() {
        let mut b = book(1);
        assert_eq!(sent(&mut b, 0, T0), 1);
        assert_eq!(b.batch(0, URL, T0 + 47_000).len(), 0);
        assert_eq!(b.batch(0, URL, T0 + 60_000).len(), 1);
    }

    #[test]
    fn a_clock_set_back_does_not_stop_the_resends() {
        let mut b = book(1);
        sent(&mut b, 0, T0);
        let back = T0 - 3_600_000;
        assert_eq!(sent(&mut b, 0, back), 1);
        assert_eq!(b.batch(0, URL, back + 1_000).len(), 0, "and is no reason to send all the time");
    }

    #[test]
    fn a_state_that_moves_while_it_is_sent_stays_due() {
        let mut b = book(1);
        let batch = b.batch(0, URL, T0);
        b.put(alert("a", Some(T0 + 5)), None, None, T0 + 5, false);
        b.done(0, &batch[0], "accepted", T0 + 6);
        let next = b.batch(0, URL, T0 + 7);
        assert!(next[0].resolved, "the latest state wins");
        assert_eq!(next[0].wire.ends_at, T0 + 5);
    }

    #[test]
    fn an_end_is_repeated_for_15_minutes_and_until_every_receiver_took_it() {
        let mut b = book(2);
        let end = T0 + 1_000;
        b.put(alert("a", Some(end)), None, None, end, false);
        sent(&mut b, 0, end);
        assert_eq!(b.sweep(end + RETAINED_MS - 1), 0);
        assert_eq!(sent(&mut b, 0, end + RETAINED_MS - 1), 1);
        assert_eq!(b.sweep(end + RETAINED_MS), 0);
        assert_eq!(b.batch(1, URL, end + UNSENT_MAX_MS - 1).len(), 1, "the second never took it");
        assert_eq!(b.sweep(end + UNSENT_MAX_MS), 1, "counted");
        assert!(b.batch(1, URL, end + UNSENT_MAX_MS).is_empty());
    }

    #[test]
    fn ends_at_moves_with_each_sending_and_follows_slow_polls() {
        let mut b = book(1);
        assert_eq!(b.batch(0, URL, T0)[0].wire.ends_at, T0 + 240_000);
        assert_eq!(b.batch(0, URL, T0 + 9)[0].wire.ends_at, T0 + 240_009);
        b.slowest_interval(300_000);
        assert_eq!(b.batch(0, URL, T0)[0].wire.ends_at, T0 + 1_200_000);
    }

    #[test]
    fn what_changed_goes_before_what_is_repeated() {
        let mut b = Book::new(1, 60_000);
        for i in 0..400 {
            b.put(alert(&format!("old{i}"), None), None, None, T0, false);
        }
        while sent(&mut b, 0, T0) > 0 {}
        b.put(alert("new", None), None, None, T0 + 60_000, false);
        let batch = b.batch(0, URL, T0 + 60_000);
        assert_eq!((batch.len(), batch[0].key.as_str()), (BATCH_MAX, "new"));
    }

    fn hold(id: &str) -> Hold {
        let why = "maintenance m".to_string();
        Hold { alert_id: id.into(), why, withheld_at: T0, released_at: None }
    }

    #[test]
    fn what_is_withheld_is_told_when_it_is_let_go_and_begins_then() {
        let mut b = book(1);
        b.hold("a", Some(hold("a-1")));
        assert!(b.batch(0, URL, T0).is_empty() && b.oldest_unsent(0).is_none());
        let later = T0 + 600_000;
        assert!(b.release(|_, _| Some("maintenance m".into()), later).is_empty());
        assert_eq!(b.withheld()["maintenance m"], 1);
        let released = b.release(|_, _| None, later);
        assert_eq!(released[0].released_at, Some(later));
        let told = b.batch(0, URL, later).remove(0);
        assert_eq!(told.wire.starts_at, later);
        assert_eq!(told.wire.annotations["first_started_at"], T0.to_string());
        b.done(0, &told, "accepted", later);
        let end = later + 5;
        assert!(!b.put(alert("a", Some(end)), None, None, end, false), "the same occurrence");
        let told = b.batch(0, URL, end).remove(0);
        assert!(told.resolved && told.wire.starts_at == later && told.wire.ends_at == end);
    }

    #[test]
    fn what_ends_while_it_is_withheld_is_never_told_and_leaves_in_time() {
        let mut b = book(1);
        b.hold("a", Some(hold("a-1")));
        let end = T0 + 1_000;
        b.put(alert("a", Some(end)), None, None, end, false);
        assert!(b.release(|_, _| None, end).is_empty() && b.batch(0, URL, end).is_empty());
        assert_eq!(b.sweep(end + RETAINED_MS), 0, "it is not counted as unsent");
        assert!(b.alert("a").is_none());
    }

    #[test]
    fn the_delivery_log_hears_of_news_only() {
        let mut b = book(1);
        let batch = b.batch(0, URL, T0);
        assert!(b.waits(0, &batch[0]) && !b.waits(0, &batch[0]));
        assert!(b.done(0, &batch[0], "accepted", T0));
        let again = b.batch(0, URL, T0 + 60_000);
        assert!(!b.waits(0, &again[0]), "a repeat that fails is no news");
        assert!(!b.done(0, &again[0], "accepted", T0 + 61_000));
    }
}
