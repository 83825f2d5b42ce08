//! What keeps an alert from its receivers: maintenances, calendars, silences.
//!
//! Invariant: only what nobody was told of yet is withheld; what was delivered stays delivered, or
//! an Alertmanager would report an end that is none. Evaluation and history go on. A calendar that
//! cannot be read withholds nothing. Pure; the rows are read by `server`'s loop through `reload_gate`.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::alert::Alert;
use model::calendar::Calendar;
use model::caller::Caller;
use model::history::Hold;
use model::inventory::Inventory;
use model::maintenance::Maintenance;
use model::matcher::Matchers;
use model::right::Place;
use model::silence::Silence;
use model::{At, InstanceId, SystemId};
use store::AlertWrite;

use crate::book::Book;
use crate::persist::WATCHDOG;
use crate::resolve::Effective;
use crate::{Alerter, lock};

/// Rows of other processes are seen this late.
const RELOAD_MS: i64 = 5_000;

/// The rows in force.
#[derive(Default)]
pub struct Gate {
    maintenances: Vec<Maintenance>,
    calendars: BTreeMap<String, Calendar>,
    silences: Vec<(Silence, Matchers)>,
    read_at: At,
}

/// Where an alert stands in the tree.
pub(crate) fn place(alert: &Alert) -> Place {
    let tenant = alert.tenant.clone();
    let slug = alert.labels.get("system");
    let system = tenant.as_ref().zip(slug).and_then(|(t, s)| SystemId::new(t, s).ok());
    Place { system, service: alert.service.clone(), tenant }
}

impl Gate {
    /// From the rows.
    pub fn new(
        maintenances: Vec<Maintenance>,
        calendars: BTreeMap<String, Calendar>,
        silences: Vec<Silence>,
    ) -> Gate {
        let silences = silences.into_iter().filter_map(|s| {
            let matchers = Matchers::compile(&s.matchers).ok()?;
            Some((s, matchers))
        });
        Gate { maintenances, calendars, silences: silences.collect(), read_at: At::EPOCH }
    }

    /// The maintenance that goes on at that place; of several the one that ends last.
    pub fn maintenance(
        &self,
        place: &Place,
        instance: Option<&InstanceId>,
        now: At,
    ) -> Option<&Maintenance> {
        let here = |m: &&Maintenance| m.runs(now) && m.covers(place, instance);
        self.maintenances.iter().filter(here).max_by_key(|m| m.ends_at)
    }

    /// What withholds a new alert, `maintenance ID` or `calendar ID`; none: it may be told.
    pub fn withholds(&self, alert: &Alert, rule: Option<&Effective>, now: At) -> Option<String> {
        if alert.policy == WATCHDOG {
            return None;
        }
        if let Some(m) = self.maintenance(&place(alert), alert.instance.as_ref(), now) {
            return Some(format!("maintenance {}", m.id));
        }
        let used = &rule?.calendar;
        let known = |id: &String| self.calendars.get(id);
        let open = |id: &&String| known(id).is_some_and(|c| c.covers(now));
        if let Some(mute) = used.mute.iter().find(open) {
            return Some(format!("calendar {mute}"));
        }
        let known: Vec<&String> = used.active.iter().filter(|id| known(id).is_some()).collect();
        match known.first() {
            Some(first) if !known.iter().any(open) => Some(format!("calendar {first}")),
            _ => None,
        }
    }

    /// The silence that mutes an alert with these labels.
    pub fn silence(&self, labels: &BTreeMap<String, String>, now: At) -> Option<&Silence> {
        let hit = |(s, m): &&(Silence, Matchers)| s.state(now) == "active" && m.matches(labels);
        self.silences.iter().find(hit).map(|(s, _)| s)
    }
}

impl Alerter {
    /// The rows in force.
    pub fn gate(&self) -> Arc<Gate> {
        self.gate.load_full()
    }

    /// Reads maintenances, calendars and silences anew and lets go what they let go. An error leaves
    /// the rows of before in force.
    pub async fn reload_gate(&self, now: At) -> Result<(), store::Error> {
        let caller = Caller::system("gate", format!("gate-{}", now.ms()));
        let maintenances = self.store.maintenances_open(now).await?;
        let silences = match self.config.alertmanager.is_empty() {
            true => self.store.silences(now).await?,
            false => Vec::new(),
        };
        let mut calendars = BTreeMap::new();
        for row in self.store.calendar_list(&caller).await? {
            match row.calendar.compile() {
                Ok(calendar) => drop(calendars.insert(row.calendar.id, calendar)),
                Err((pointer, why)) => tracing::error!(
                    calendar = row.calendar.id,
                    pointer,
                    why,
                    "a calendar cannot be read; it withholds nothing"
                ),
            }
        }
        let gate = Gate { read_at: now, ..Gate::new(maintenances, calendars, silences) };
        self.gate.store(Arc::new(gate));
        self.let_go(now);
        Ok(())
    }

    /// One round: rows that may have changed are read, and what nothing withholds any more is let go.
    pub async fn gate_round(&self, now: At) -> Result<(), store::Error> {
        let age = now.since_ms(self.gate.load().read_at);
        if !(0..RELOAD_MS).contains(&age) {
            self.reload_gate(now).await?;
        }
        self.let_go(now);
        Ok(())
    }

    fn let_go(&self, now: At) {
        let gate = self.gate.load();
        let mut book = lock(&self.book);
        let released = book.release(|alert, rule| gate.withholds(alert, rule, now), now);
        drop(book);
        if released.is_empty() {
            return;
        }
        let mut outbox = lock(&self.outbox);
        for hold in released {
            outbox.push(AlertWrite::Hold(hold), now);
        }
        drop(outbox);
        self.wake_all();
    }

    /// Instances of the tree in a maintenance.
    pub fn maintained(&self, inventory: &Inventory, now: At) -> Vec<InstanceId> {
        let gate = self.gate.load();
        let running: Vec<&Maintenance> = gate.maintenances.iter().filter(|m| m.runs(now)).collect();
        if running.is_empty() {
            return Vec::new();
        }
        let inside = |id: &&InstanceId| {
            let service = id.service();
            let place = match inventory.services.get(&service) {
                Some(known) => Place::service(&service, &known.system),
                None => Place::tenant(&id.tenant()),
            };
            running.iter().any(|m| m.covers(&place, Some(id)))
        };
        inventory.instances.keys().filter(inside).cloned().collect()
    }

    /// What withholds live alerts, and how many.
    pub fn withheld(&self) -> BTreeMap<String, u32> {
        lock(&self.book).withheld()
    }
}

/// Decides about an occurrence that is new in the book; answers the row to keep.
pub(crate) fn admit(
    gate: &Gate,
    book: &mut Book,
    alert: &Alert,
    rule: Option<&Effective>,
    now: At,
) -> Option<Hold> {
    let why = gate.withholds(alert, rule, now)?;
    let hold = Hold { alert_id: alert.id.clone(), why, withheld_at: now, released_at: None };
    book.hold(&alert.fingerprint, Some(hold.clone()));
    Some(hold)
}
