//! Policies → alert states → notifications, and the intake of alerts evaluated elsewhere.
//!
//! Invariant: an alert that fired is delivered to every Alertmanager, whatever the store does; a
//! restart, an error or missing data resolves nothing by itself. Owns no loop: `server` calls
//! `round` and `deliver`, once each second and whenever woken.
//! Refuses to know: how an instance is read, what may run on an alert.

pub mod backtest;
mod book;
mod cell;
mod config;
pub mod defaults;
mod deliver;
mod errors;
pub mod explain;
mod gate;
mod grid;
pub mod intake;
mod live;
pub mod locks;
mod machine;
pub mod notify;
mod outlook;
mod peer;
mod persist;
pub mod plan;
pub mod publish;
mod reconcile;
pub mod resolve;
mod rings;
pub mod rules;
mod send;
pub mod signal;
mod status;
pub mod template;
mod watchdog;
pub mod window;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use model::At;
use model::alert::{Alert, AlertSource, Phase, Transition, occurrence_id};
use model::inventory::Inventory;
use model::policy::PolicyDoc;
use model::row::Row;
use store::{AlertWrite, Store};
use tokio::sync::Notify;

pub use book::Wire;
pub use cell::{Cell, Late, evaluate};
pub use config::{
    AlertmanagerConfig, Config, MailConfig, MailTls, ReceiverConfig, ReceiverKind, RulesConfig,
    WatchdogConfig,
};
pub use gate::Gate;
pub use grid::{Column, Grid, evaluate_grid};
pub use intake::{IntakeError, Receipt};
pub use live::{Change, Identity, Live, Pulse};
pub use outlook::{Objective, objective, outlook};
pub use plan::{Bearer, Delegated, Ground, Plan, Slot, Threshold};
pub use rings::{POINTS_PER_INSTANCE_MAX, Windows};
pub use status::{ReceiverStatus, Status};

use book::{Book, annotations};
use deliver::Receiver;
use errors::Errors;
use persist::Outbox;
use signal::{Object, Outlook};

/// How often instances are polled where nobody says otherwise.
const INTERVAL_MS: i64 = 15_000;

/// The alerter of a process; shared in an `Arc`.
///
/// Who needs two locks at once takes them in this order: `building`, `parked`, `grid`, the cell of an
/// instance, then either `errors`, or `book` and after it `outbox`. The others are the last ones taken.
pub struct Alerter {
    config: Config,
    store: Arc<Store>,
    http: reqwest::Client,
    public_url: String,
    external: Arc<BTreeMap<String, String>>,
    plan: ArcSwap<Plan>,
    /// Held while a plan is built and swapped: two at once would lose one's ends.
    building: Mutex<()>,
    /// States from before a restart that no plan has claimed yet.
    parked: Mutex<HashMap<Object, Cell>>,
    /// Documents in force, for when one that is switched off comes back.
    documents: Mutex<Arc<[PolicyDoc]>>,
    grid: Mutex<Grid>,
    errors: Mutex<Errors>,
    interval_ms: AtomicI64,
    book: Mutex<Book>,
    outbox: Mutex<Outbox>,
    receivers: Vec<Receiver>,
    gate: ArcSwap<Gate>,
    desks: Vec<notify::Desk>,
    acks: Mutex<notify::Acks>,
    audience: Mutex<Option<Arc<notify::Audience>>>,
    alarm: watchdog::Alarm,
    alarm_desk: Option<notify::Desk>,
    reconciled: Mutex<reconcile::Reconciled>,
    wake: Notify,
    evaluations: AtomicU64,
    late: AtomicU64,
    last_eval: AtomicI64,
    watchdogs: Mutex<HashMap<String, At>>,
    /// Says of an object, by its labels, why its score is what it is.
    explains: OnceLock<Explains>,
    /// Posted alerts by result.
    taken: Mutex<BTreeMap<&'static str, u64>>,
}

/// Lines that explain the score of the object with these labels; none: it has none.
pub type Explains = Box<dyn Fn(&BTreeMap<String, String>) -> Option<String> + Send + Sync>;

/// A panic while a lock was held left plain data behind; the alerts in it must still go out.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Alerter {
    /// An alerter without policies; `public_url` without a trailing slash is where our pages are.
    /// Call `restore`, then `rebuild`, before the first sample.
    pub fn new(
        config: Config,
        store: Arc<Store>,
        http: reqwest::Client,
        public_url: String,
    ) -> Alerter {
        let receivers: Vec<Receiver> =
            config.alertmanager.iter().cloned().map(Receiver::new).collect();
        let desks = config.receiver.iter().cloned().map(notify::Desk::new).collect();
        let alarm_desk = notify::alarm(&config);
        let book = Book::new(receivers.len(), i64::from(config.resend_s) * 1000);
        Alerter {
            external: Arc::new(config.external_labels.clone()),
            config,
            store,
            http,
            public_url: public_url.trim_end_matches('/').to_string(),
            plan: ArcSwap::from_pointee(Plan::default()),
            building: Mutex::default(),
            parked: Mutex::default(),
            documents: Mutex::new(Arc::from([])),
            grid: Mutex::default(),
            errors: Mutex::default(),
            interval_ms: AtomicI64::new(INTERVAL_MS),
            book: Mutex::new(book),
            outbox: Mutex::default(),
            receivers,
            gate: ArcSwap::default(),
            desks,
            acks: Mutex::default(),
            audience: Mutex::default(),
            alarm: watchdog::Alarm::default(),
            alarm_desk,
            reconciled: Mutex::default(),
            wake: Notify::new(),
            evaluations: AtomicU64::new(0),
            late: AtomicU64::new(0),
            last_eval: AtomicI64::new(0),
            watchdogs: Mutex::default(),
            explains: OnceLock::new(),
            taken: Mutex::default(),
        }
    }

    /// Judges a sample. Called by the instance's watch task right after it published the row;
    /// synchronous, without IO, and without allocation when nothing changes.
    pub fn evaluate(&self, row: &Row, now: At) {
        let id = &row.instance.id;
        let cell = match self.plan.load().slots.get(id) {
            Some(slot) => slot.cell.clone(),
            None => return,
        };
        let mut cell_state = lock(&cell);
        // The plan may have been swapped while we waited for the cell: judge by the newest.
        let plan = self.plan.load();
        let Some(slot) = plan.slots.get(id).filter(|s| Arc::ptr_eq(&s.cell, &cell)) else { return };
        self.evaluations.fetch_add(slot.rules.len() as u64, Ordering::Relaxed);
        self.last_eval.store(now.ms(), Ordering::Relaxed);
        let judged = evaluate(slot, &mut cell_state, row, now);
        self.note_failed(&mut cell_state);
        match judged {
            Ok(changes) if changes.is_empty() => {}
            Ok(changes) => {
                lock(&self.book).slowest_interval(i64::from(row.reading.interval_ms));
                self.apply(changes, now);
            }
            Err(Late) => {
                self.late.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Lets mails explain scores. Once; before the first message.
    pub fn explains_by(&self, explains: Explains) {
        let _ = self.explains.set(explains);
    }

    /// Tells how often instances are polled; windows are kept by it. Before the first `rebuild`.
    pub fn polled_every(&self, interval_ms: i64) {
        self.interval_ms.store(interval_ms.max(1), Ordering::Relaxed);
    }

    /// Judges what is judged on the grid. Call it once a second; `outlook` is asked what is known of
    /// the objects that are due, and must ask nothing of the alerter.
    pub fn evaluate_grid(
        &self,
        outlook: impl FnOnce(&dyn Fn(&Object) -> bool) -> Outlook,
        now: At,
    ) {
        self.switch_on_again(now);
        // The plan after the lock: a new plan brings the grid to its rules under the same lock.
        let mut grid = lock(&self.grid);
        let plan = self.plan.load_full();
        let mut outlook = outlook(&|object| grid.is_due(object, now));
        lock(&self.errors).tell(&mut outlook, now);
        let changes = evaluate_grid(&plan, &mut grid, &outlook, now);
        for cell in grid.cells.values_mut() {
            self.note_failed(cell);
        }
        self.last_eval.store(now.ms(), Ordering::Relaxed);
        self.apply(changes, now);
    }

    fn note_failed(&self, cell: &mut Cell) {
        if cell.has_failed() {
            lock(&self.errors).add(cell.take_failed());
        }
    }

    /// Policies whose time of being switched off is over come back.
    fn switch_on_again(&self, now: At) {
        let due = |doc: &PolicyDoc| {
            doc.enabled == Some(false) && doc.until.is_some_and(|until| until <= now)
        };
        let documents = lock(&self.documents).clone();
        if documents.iter().any(due) {
            let inventory = self.plan.load().inventory.clone();
            self.rebuild(&inventory, &documents, now);
        }
    }

    /// Takes a new tree or new policies into force. Alerts of instances that are gone, and of
    /// policies switched off, end at once; alerts of edited policies go on under the new
    /// thresholds. `documents` are the store's; the shipped defaults lie below them. Answers the
    /// documents that cannot be evaluated (`policy@scope`), with the reason.
    pub fn rebuild(
        &self,
        inventory: &Inventory,
        documents: &[PolicyDoc],
        now: At,
    ) -> std::collections::BTreeMap<String, String> {
        let _one = lock(&self.building);
        let old = self.plan.load_full();
        let mut parked = lock(&self.parked);
        let documents: Vec<PolicyDoc> = documents.iter().map(|d| in_force(d, now)).collect();
        let docs: Vec<PolicyDoc> = defaults::policies().iter().chain(&documents).cloned().collect();
        *lock(&self.documents) = documents.into();
        let ground = Ground {
            inventory,
            docs: &docs,
            external: &self.external,
            interval_ms: self.interval_ms.load(Ordering::Relaxed),
            dialect: window::Dialect::default(),
        };
        let plan = Plan::build(&ground, |id| match old.slots.get(id) {
            Some(slot) => slot.cell.clone(),
            None => {
                let was = parked.remove(&Object::Instance(id.clone()));
                Arc::new(Mutex::new(was.unwrap_or_default()))
            }
        });
        plan.adopt(&old);
        let plan = Arc::new(plan);
        self.plan.store(plan.clone());
        for slot in plan.slots.values() {
            let mut cell = lock(&slot.cell);
            let changes = cell.reconcile(slot, now);
            self.apply(changes, now);
            self.refresh(&slot.rules, &cell);
        }
        for (id, slot) in old.slots.iter().filter(|(id, _)| !plan.slots.contains_key(*id)) {
            self.remove(&Object::Instance(id.clone()), &mut lock(&slot.cell), now);
        }
        self.rebuild_grid(&plan, &mut parked, now);
        for (object, mut cell) in parked.drain() {
            self.remove(&object, &mut cell, now);
        }
        plan.problems.clone()
    }

    /// The same for what is judged on the grid.
    fn rebuild_grid(&self, plan: &Plan, parked: &mut HashMap<Object, Cell>, now: At) {
        let mut grid = lock(&self.grid);
        // The silence of an instance is kept apart from its samples, under a name of its own.
        let of_grid = |object: &Object| !matches!(object, Object::Instance(_));
        let back: Vec<Object> = parked.keys().filter(|o| of_grid(o)).cloned().collect();
        for object in back {
            if let Some(cell) = parked.remove(&object) {
                grid.cells.insert(grid::told(object), cell);
            }
        }
        let objects: HashMap<&Object, &plan::GridObject> =
            plan.objects.iter().map(|o| (&o.bearer.object, o)).collect();
        let mut gone = Vec::new();
        for (object, cell) in &mut grid.cells {
            let slot = object.instance().and_then(|id| plan.slots.get(id));
            let of_object = objects.get(object);
            let (bearer, rules) = match (slot, of_object) {
                (Some(slot), _) => (&slot.bearer, &slot.rules[..]),
                (None, Some(o)) => (&o.bearer, &o.rules[..]),
                (None, None) => {
                    gone.push(object.clone());
                    continue;
                }
            };
            let changes = cell.reconcile_on_grid(bearer, rules, now);
            self.apply(changes, now);
            self.refresh(rules, cell);
        }
        for object in gone {
            if let Some(mut cell) = grid.cells.remove(&object) {
                self.remove(&grid::saved_as(&object), &mut cell, now);
            }
        }
    }

    fn remove(&self, object: &Object, cell: &mut Cell, now: At) {
        let changes = cell.end("instance_removed", now);
        self.apply(changes, now);
        lock(&self.outbox).forgotten.push(object.to_string());
    }

    fn refresh(&self, rules: &[Arc<resolve::Effective>], cell: &Cell) {
        let mut book = lock(&self.book);
        for live in cell.lives() {
            if let Some(rule) = rules.iter().find(|r| *r.policy == *live.identity.policy) {
                book.refresh(&live.identity.fingerprint, rule);
            }
        }
    }

    /// Policies only Prometheus can evaluate (`policy@scope`).
    pub fn delegated(&self) -> std::collections::BTreeMap<String, Delegated> {
        self.plan.load().delegated.clone()
    }

    /// Memory of all windows, bytes.
    pub fn window_bytes(&self) -> usize {
        let plan = self.plan.load();
        plan.slots.values().map(|slot| lock(&slot.cell).window_bytes()).sum()
    }

    /// Hands changes to the book (delivery) and the outbox (history), and wakes the loops. Called
    /// with the instance's cell locked, so that its steps keep their order.
    fn apply(&self, changes: Vec<Change>, now: At) {
        if changes.is_empty() {
            return;
        }
        let gate = self.gate.load();
        let mut book = lock(&self.book);
        let mut outbox = lock(&self.outbox);
        // Of an alert whose labels moved, its end comes first, then the same under the new labels.
        let mut heir = None;
        for change in changes {
            let alert = Arc::new(row(&change, &book));
            let wire_is_same = |p: Phase| matches!(p, Phase::Firing | Phase::Recovering);
            let quiet = wire_is_same(change.from) && wire_is_same(change.to);
            let step = Transition {
                alert_id: alert.id.clone(),
                at: change.at,
                from: change.from,
                to: change.to,
                value: change.value,
                threshold: Some(change.threshold),
                reason: change.reason,
                in_maintenance: gate
                    .maintenance(&gate::place(&alert), alert.instance.as_ref(), now)
                    .is_some(),
            };
            let moved = step.reason == "instance_moved";
            if moved && change.to == Phase::Resolved {
                heir = book.told_of(&alert.fingerprint);
            }
            let told = heir.take_if(|_| moved && change.from == Phase::Pending).unwrap_or(false);
            let rule = change.rule.clone();
            let new = book.put(alert.clone(), change.rule, Some(change.pulse), now, quiet);
            let began = new && change.to != Phase::Resolved && !told;
            let held = began.then(|| gate::admit(&gate, &mut book, &alert, rule.as_deref(), now));
            outbox.push(AlertWrite::Step(alert, step), now);
            if let Some(hold) = held.flatten() {
                outbox.push(AlertWrite::Hold(hold), now);
            }
        }
        drop((book, outbox));
        self.wake_all();
    }

    fn wake_all(&self) {
        self.wake.notify_one();
        for receiver in &self.receivers {
            receiver.wake.notify_one();
        }
    }

    /// Thresholds in force: the platform's, and those of instances that deviate from them.
    pub fn thresholds(&self) -> Vec<Threshold> {
        self.plan.load().thresholds.clone()
    }

    /// Woken when `round` has something to write.
    pub fn wake(&self) -> &Notify {
        &self.wake
    }

    /// Everything that is not inactive, pending included (its `starts_at` is its first true
    /// sample), without touching the store.
    pub fn snapshot(&self) -> Vec<Alert> {
        let mut alerts = lock(&self.book).firing();
        let plan = self.plan.load();
        for slot in plan.slots.values() {
            let cell = lock(&slot.cell);
            let pending = cell.lives().filter(|live| live.phase == Phase::Pending);
            alerts.extend(pending.map(|live| pending_alert(&slot.rules, live)));
        }
        let grid = lock(&self.grid);
        for (object, cell) in &grid.cells {
            let slot = object.instance().and_then(|id| plan.slots.get(id));
            let of_object = || plan.objects.iter().find(|o| o.bearer.object == *object);
            let rules = match slot {
                Some(slot) => &slot.rules[..],
                None => of_object().map_or(&[][..], |o| &o.rules[..]),
            };
            let pending = cell.lives().filter(|live| live.phase == Phase::Pending);
            alerts.extend(pending.map(|live| pending_alert(rules, live)));
        }
        alerts
    }
}

/// A document as it counts now: one whose `until` is past is switched on again.
fn in_force(doc: &PolicyDoc, now: At) -> PolicyDoc {
    let mut doc = doc.clone();
    if doc.until.is_some_and(|until| until <= now) {
        (doc.enabled, doc.until) = (None, None);
    }
    doc
}

/// The row of an alert after a change.
fn row(change: &Change, book: &Book) -> Alert {
    let identity = &change.identity;
    let mut annotations = match &change.rule {
        Some(rule) => annotations(rule, &identity.labels, identity.level, change.value),
        None => book.annotations(&identity.fingerprint).unwrap_or_default(),
    };
    book::note_flapping(&mut annotations, &change.pulse);
    let runbooks = match &change.rule {
        Some(rule) => rule.runbooks.clone(),
        None => Vec::new(),
    };
    let ended = change.to == Phase::Resolved;
    Alert {
        phase: change.to,
        annotations,
        value: change.value,
        runbooks,
        starts_at: change.starts_at,
        // A clock set back may end an alert before it began.
        ends_at: ended.then_some(change.at.max(change.starts_at)),
        last_seen: change.pulse.seen().max(change.starts_at),
        reason: change.reason.clone(),
        ..blank(identity, change.starts_at, change.threshold)
    }
}

fn pending_alert(rules: &[Arc<resolve::Effective>], live: &Live) -> Alert {
    let identity = &live.identity;
    let rule = rules.iter().find(|r| *r.policy == *identity.policy);
    let value = live.pulse.value();
    Alert {
        phase: Phase::Pending,
        annotations: rule
            .map(|r| annotations(r, &identity.labels, identity.level, value))
            .unwrap_or_default(),
        value,
        runbooks: rule.map(|r| r.runbooks.clone()).unwrap_or_default(),
        last_seen: live.pulse.seen(),
        ..blank(identity, live.active_at, live.threshold)
    }
}

/// What follows from the identity alone.
fn blank(identity: &Identity, starts_at: At, threshold: f64) -> Alert {
    let tenant = identity.object.tenant();
    Alert {
        id: occurrence_id(tenant.as_ref(), &identity.fingerprint, starts_at),
        fingerprint: identity.fingerprint.clone(),
        source: AlertSource::Embedded,
        tenant,
        service: identity.object.service(),
        instance: identity.object.instance().cloned(),
        alertname: identity.labels.get("alertname").cloned().unwrap_or_default(),
        policy: identity.policy.to_string(),
        level: identity.level,
        phase: Phase::Firing,
        labels: identity.labels.clone(),
        annotations: Default::default(),
        value: None,
        threshold: Some(threshold),
        runbooks: Vec::new(),
        starts_at,
        ends_at: None,
        last_seen: starts_at,
        reason: "threshold".into(),
    }
}
