//! History and states: what waits for the store, and what a restart brings back.
//!
//! Invariant: rows and the states they belong to commit together; a failing store delays them and
//! loses nothing below `WRITES_MAX`; what the database itself refuses is left out alone and counted. A restored state is exactly the saved one.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::At;
use model::alert::{Alert, AlertSource, Phase, Transition};
use model::caller::Caller;
use model::policy::AlertLevel;
use store::{AlertWrite, RefusedWrite, SavedState};

use crate::book::{RETAINED_MS, UNSENT_MAX_MS};
use crate::cell::Cell;
use crate::live::Live;
use crate::signal::Object;
use crate::{Alerter, lock};

/// Steps that wait while the store fails: ten for every alert of a mass event on 5 000 instances.
/// Beyond it the oldest history is dropped and counted; live rows are written anew afterwards.
pub const WRITES_MAX: usize = 50_000;
/// Writes of one transaction: a mass event of 5 000 alerts is one.
const COMMIT_MAX: usize = 5_000;
/// Running timers are saved this often; a crash loses at most as much of a `for`.
const SNAPSHOT_MS: i64 = 15_000;
/// Subjects of refused writes that are remembered: beyond it they are only counted.
const NAMED_MAX: usize = 1_000;
/// A commit that takes longer is given up (rolled back) and tried again.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(20);

/// What waits for the store.
#[derive(Default)]
pub(crate) struct Outbox {
    writes: VecDeque<(AlertWrite, At)>,
    /// Instances whose saved state must go.
    pub forgotten: Vec<String>,
    /// Steps dropped because the store failed for too long.
    pub lost: u64,
    /// Writes left out because the database will never take them.
    pub refused: u64,
    /// Their subjects, so that each is named in the log once.
    named: BTreeSet<String>,
    lost_since_write: bool,
    snapshot_at: At,
    rows_at: At,
    /// Why the last commit failed; empty when it did not.
    pub error: String,
}

impl Outbox {
    pub fn push(&mut self, write: AlertWrite, now: At) {
        if self.writes.len() >= WRITES_MAX {
            self.writes.pop_front();
            self.lost += 1;
            self.lost_since_write = true;
        }
        self.writes.push_back((write, now));
    }

    fn rows(&mut self, alerts: Vec<Alert>, now: At) {
        for alert in alerts {
            self.push(AlertWrite::Row(Arc::new(alert)), now);
        }
    }

    pub fn oldest(&self) -> Option<At> {
        self.writes.front().map(|(_, at)| *at)
    }

    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Makes the next round save the running timers too.
    pub fn snapshot_now(&mut self) {
        self.snapshot_at = At::EPOCH;
    }

    /// Counts what the database refuses, and names each subject once.
    fn left_out(&mut self, refused: Vec<RefusedWrite>) {
        self.refused += refused.len() as u64;
        for RefusedWrite { subject, why } in refused {
            if self.named.len() < NAMED_MAX && self.named.insert(subject.clone()) {
                tracing::error!(
                    subject,
                    why,
                    "the database refuses this piece of history; it is \
                    left out, notification goes on"
                );
            }
        }
    }

    fn give_back(&mut self, writes: Vec<(AlertWrite, At)>, forgotten: Vec<String>) {
        for write in writes.into_iter().rev() {
            self.writes.push_front(write);
        }
        self.forgotten.extend(forgotten);
    }
}

/// A cell as it must be saved, when it must; no body: its saved copy must go.
fn saved_state(name: &str, cell: &mut Cell, all: bool) -> Option<SavedState> {
    if !cell.take_unsaved(all) {
        return None;
    }
    let body = match cell.is_empty() {
        true if !cell.saved => return None,
        true => None,
        false => serde_json::to_string(cell).ok(),
    };
    cell.saved = body.is_some();
    Some((name.to_string(), body))
}

async fn in_time<T>(
    commit: impl Future<Output = Result<T, store::Error>>,
) -> Result<T, store::Error> {
    let late = |_| store::Error::NotWritable("alerts did not commit within 20 s".into());
    tokio::time::timeout(COMMIT_TIMEOUT, commit).await.map_err(late)?
}

fn caller(now: At) -> Caller {
    Caller::system("alerter", format!("alerter-{}", now.ms()))
}

impl Alerter {
    /// Writes what waits: steps and the states they led to, in one transaction; every 15 s the
    /// running timers, every resend period when a firing alert was last seen. Idempotent; on an
    /// error everything stays and is tried at the next round. Delivery does not wait for it.
    pub async fn round(&self, now: At) -> Result<(), store::Error> {
        self.queue_rows(now);
        loop {
            let (more, done) = self.commit(now).await;
            let mut outbox = lock(&self.outbox);
            match done {
                Ok(()) => outbox.error.clear(),
                Err(e) => {
                    outbox.error = e.to_string();
                    return Err(e);
                }
            }
            if !more {
                break;
            }
        }
        self.requeue_lost(now);
        self.sweep(now);
        Ok(())
    }

    /// One transaction. Answers whether more waits.
    async fn commit(&self, now: At) -> (bool, Result<(), store::Error>) {
        let (writes, forgotten, more, all) = {
            let mut outbox = lock(&self.outbox);
            let n = outbox.writes.len().min(COMMIT_MAX);
            let writes: Vec<_> = outbox.writes.drain(..n).collect();
            let all = now.since_ms(outbox.snapshot_at) >= SNAPSHOT_MS || now < outbox.snapshot_at;
            let forgotten = std::mem::take(&mut outbox.forgotten);
            (writes, forgotten, !outbox.writes.is_empty(), all)
        };
        // States are taken after the steps: a state may be ahead of its row, never behind it.
        let mut states = self.states(all);
        states.extend(forgotten.iter().map(|cell| (cell.clone(), None)));
        if writes.is_empty() && states.is_empty() {
            return (more, Ok(()));
        }
        let batch: Vec<AlertWrite> = writes.iter().map(|(w, _)| w.clone()).collect();
        let caller = caller(now);
        let mut done = in_time(self.store.alert_commit(&caller, &batch, &states, now)).await;
        // One piece the database will never take must not keep all others out for ever.
        if done.as_ref().is_err_and(store::Error::is_refusal) {
            let sifted = self.store.alert_commit_sifted(&caller, &batch, &states, now);
            done = in_time(sifted).await.map(|refused| lock(&self.outbox).left_out(refused));
        }
        let mut outbox = lock(&self.outbox);
        if done.is_ok() {
            outbox.snapshot_at = if all { now } else { outbox.snapshot_at };
        } else {
            outbox.give_back(writes, forgotten);
            drop(outbox);
            self.unsaved(&states);
        }
        (more, done)
    }

    /// States to save: those that made a step; with `all` every one that changed.
    fn states(&self, all: bool) -> Vec<SavedState> {
        let plan = self.plan.load();
        let mut states = Vec::new();
        for (id, slot) in &plan.slots {
            states.extend(saved_state(id.as_str(), &mut lock(&slot.cell), all));
        }
        let mut grid = lock(&self.grid);
        for (object, cell) in &mut grid.cells {
            let name = crate::grid::saved_as(object).to_string();
            states.extend(saved_state(&name, cell, all));
        }
        grid.cells.retain(|_, cell| !cell.is_empty() || cell.saved);
        states
    }

    /// The states were not saved after all.
    fn unsaved(&self, states: &[SavedState]) {
        let plan = self.plan.load();
        let mut grid = lock(&self.grid);
        for (name, body) in states {
            let again = |cell: &mut Cell| {
                cell.unsaved();
                cell.saved |= body.is_none();
            };
            match Object::try_from(name.clone()) {
                Ok(Object::Instance(id)) => {
                    plan.slots.get(&id).into_iter().for_each(|s| again(&mut lock(&s.cell)));
                }
                Ok(object) => {
                    // One that was empty and is forgotten already must still lose its saved copy.
                    let told = crate::grid::told(object);
                    again(grid.cells.entry(told).or_default());
                }
                Err(_) => {}
            }
        }
    }

    /// Every resend period the rows of firing alerts learn when they were last seen.
    fn queue_rows(&self, now: At) {
        let period = i64::from(self.config.resend_s) * 1000;
        let due = {
            let outbox = lock(&self.outbox);
            let due = now.since_ms(outbox.rows_at) >= period || now < outbox.rows_at;
            // Rows of alerts are no news worth waiting for while the store fails.
            due && outbox.error.is_empty()
        };
        if due {
            let firing = lock(&self.book).firing();
            let mut outbox = lock(&self.outbox);
            outbox.rows_at = now;
            outbox.rows(firing, now);
        }
    }

    /// After history was lost, the rows of all alerts are written anew, also of those that ended
    /// meanwhile: an end that was lost would leave its row open for ever. None of them was forgotten
    /// since, for ends are swept behind a good commit only.
    fn requeue_lost(&self, now: At) {
        let lost = std::mem::take(&mut lock(&self.outbox).lost_since_write);
        if lost {
            let all = lock(&self.book).all();
            lock(&self.outbox).rows(all, now);
        }
    }

    /// Brings back the states of before a restart: firing stays firing with its startsAt and
    /// fingerprint, running timers go on from where they stood, ends not taken by everybody are
    /// sent again. Call it once, before the first `rebuild`.
    pub async fn restore(&self, now: At) -> Result<(), store::Error> {
        // Before the first sample: what it fires may have to be withheld.
        self.reload_gate(now).await?;
        self.restore_told().await?;
        self.alarm.start(now);
        let caller = caller(now);
        let mut cells = HashMap::new();
        for (id, body) in self.store.alert_states(&caller).await? {
            match (Object::try_from(id.clone()), serde_json::from_str::<Cell>(&body)) {
                (Ok(object), Ok(cell)) => {
                    cells.insert(object, cell.after_restart());
                }
                _ => {
                    tracing::error!(cell = id, "a saved alert state cannot be read; it is left out")
                }
            }
        }
        let since = now - UNSENT_MAX_MS;
        let retained = self.store.alerts_retained(&caller, since).await?;
        let mut book = lock(&self.book);
        let mut open: HashMap<String, Alert> = HashMap::new();
        let mut holds = HashMap::new();
        for r in retained {
            if let Some(hold) = r.hold.clone() {
                holds.insert(r.alert.id.clone(), hold);
            }
            if r.alert.phase != Phase::Resolved {
                open.insert(r.alert.fingerprint.clone(), r.alert);
                continue;
            }
            let unsettled = |rx: &crate::Receiver| !r.settled.contains(&rx.config.url);
            let ended = r.alert.ends_at.unwrap_or(now);
            if now.since_ms(ended) >= RETAINED_MS && !self.receivers.iter().any(unsettled) {
                continue;
            }
            let fingerprint = r.alert.fingerprint.clone();
            book.put(Arc::new(r.alert), None, None, now, false);
            book.hold(&fingerprint, r.hold);
            for (i, rx) in self.receivers.iter().enumerate() {
                if !unsettled(rx) {
                    book.settle(&fingerprint, i);
                }
            }
        }
        for live in cells.values().flat_map(Cell::lives).filter(|l| l.phase != Phase::Pending) {
            let row = open.remove(&live.identity.fingerprint);
            let alert = Arc::new(row.unwrap_or_else(|| fired(live)));
            book.put(alert.clone(), None, Some(live.pulse.clone()), now, false);
            book.hold(&alert.fingerprint, holds.remove(&alert.id));
            lock(&self.outbox).push(AlertWrite::Row(alert), now);
        }
        for (_, row) in open {
            let (fingerprint, hold) = (row.fingerprint.clone(), holds.remove(&row.id));
            self.orphan(row, &mut book, now);
            book.hold(&fingerprint, hold);
        }
        book.put(Arc::new(self.watchdog(now)), None, None, now, false);
        drop(book);
        lock(&self.parked).extend(cells);
        self.wake_all();
        Ok(())
    }

    /// A row is open but its state is gone (it could not be read): it ends, and fires again when
    /// its condition still holds.
    fn orphan(&self, row: Alert, book: &mut crate::book::Book, now: At) {
        let reason = "state_lost".to_string();
        let from = row.phase;
        let ends_at = Some(now.max(row.starts_at));
        let ended = Arc::new(Alert { phase: Phase::Resolved, ends_at, reason, ..row });
        let step = Transition {
            alert_id: ended.id.clone(),
            at: now,
            from,
            to: Phase::Resolved,
            value: None,
            threshold: ended.threshold,
            reason: ended.reason.clone(),
            in_maintenance: false,
        };
        book.put(ended.clone(), None, None, now, false);
        lock(&self.outbox).push(AlertWrite::Step(ended, step), now);
    }

    /// The alert that always fires: its silence is the alarm. It has no row.
    fn watchdog(&self, now: At) -> Alert {
        let mut labels = (*self.external).clone();
        for (name, value) in [
            ("alertname", "Watchdog"),
            ("policy", WATCHDOG),
            ("severity", "none"),
            ("dimension", "platform"),
            ("evaluator", "embedded"),
        ] {
            labels.insert(name.into(), value.into());
        }
        let fingerprint = model::alert::fingerprint(&labels);
        let text = "Always firing: proves the path of alerts; its silence is the alarm";
        Alert {
            id: model::alert::occurrence_id(None, &fingerprint, now),
            fingerprint,
            source: AlertSource::Embedded,
            tenant: None,
            service: None,
            instance: None,
            alertname: "Watchdog".into(),
            policy: WATCHDOG.into(),
            level: AlertLevel::Info,
            phase: Phase::Firing,
            labels,
            annotations: [("summary".to_string(), text.to_string())].into(),
            value: None,
            threshold: None,
            runbooks: Vec::new(),
            starts_at: now,
            ends_at: None,
            last_seen: now,
            reason: String::new(),
        }
    }
}

/// Policy id of the alert that always fires.
pub(crate) const WATCHDOG: &str = "watchdog";

/// A fired alert whose row was never written.
fn fired(live: &Live) -> Alert {
    Alert {
        phase: live.phase,
        value: live.pulse.value(),
        last_seen: live.pulse.seen(),
        ..crate::blank(&live.identity, live.starts_at(), live.threshold)
    }
}
