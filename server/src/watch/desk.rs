//! What others may ask of a watch task and see of it: polls now, turbo, the latest accept probe, the
//! memory of its grade.
//!
//! Invariant: asking never waits and never does the task's work; a turbo ends by itself, and there
//! are at most `TURBOS_MAX` of them. Lives in memory only: over a restart a turbo simply ends.

mod looks;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::inventory::Inventory;
use model::reading::Failure;
use model::{At, InstanceId, ServiceId};
use scorer::{Inputs, Sticky};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::past::{Moments, Past, Recall};
use looks::Looks;

/// Interval of a turbo: live charts move once a second.
pub(super) const TURBO_INTERVAL: Duration = Duration::from_secs(1);
/// Longest turbo, minutes: who needs it longer looks at the server itself.
pub(crate) const TURBO_MINUTES_MAX: u32 = 10;
/// Instances in turbo at once: what 300 instances at 15 s cost us.
pub(crate) const TURBOS_MAX: usize = 20;

/// The latest accept probe of an instance.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AcceptSeen {
    /// When it ended.
    pub at: At,
    /// Connect, AUTH and PING together, µs; none when it failed.
    pub total_us: Option<u32>,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// What the latest score was made from: what a what-if begins with.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    /// When.
    pub at: At,
    /// Inputs.
    pub inputs: Arc<Inputs>,
}

#[derive(Debug, Clone, Copy)]
struct Turbo {
    until: At,
    end: Instant,
}

#[derive(Debug, Default)]
struct Kept {
    turbo: Option<Turbo>,
    looks: Looks,
    accept: Option<AcceptSeen>,
    grade: Sticky,
    past: Past,
}

/// One instance's.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    bell: Notify,
    kept: Mutex<Kept>,
}

impl Desk {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened: the task polls soon.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Waits until somebody rang; rings meanwhile are one.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// The masters of its service switched: the task polls soon, whatever was polled before.
    pub(crate) fn ring_switched(&self, now: At) {
        self.kept().looks.told(now, Instant::now());
        self.ring();
    }

    /// Until when it is polled every second: while a turbo lasts, or a look at a switch.
    pub(super) fn turbo_until(&self, moment: Instant) -> Option<At> {
        self.turbo(moment).max(self.kept().looks.until(moment))
    }

    /// End of the turbo somebody asked for, while there is one.
    pub(crate) fn turbo(&self, moment: Instant) -> Option<At> {
        let mut kept = self.kept();
        kept.turbo = kept.turbo.filter(|turbo| turbo.end > moment);
        kept.turbo.map(|turbo| turbo.until)
    }

    /// The latest accept probe; none before the first.
    pub(crate) fn accept(&self) -> Option<AcceptSeen> {
        self.kept().accept.clone()
    }

    pub(super) fn set_accept(&self, seen: Option<AcceptSeen>) {
        self.kept().accept = seen;
    }

    /// The memory of the grade: what the task begins with, then what it had at its latest score.
    pub(super) fn grade(&self) -> Sticky {
        self.kept().grade.clone()
    }

    /// What the latest score was made from; none before the first.
    pub(crate) fn judged(&self) -> Option<Judged> {
        self.kept().past.latest().map(|(at, inputs)| Judged { at, inputs })
    }

    /// Keeps what a score was made from, for previews of other policies.
    pub(super) fn remember(&self, at: At, inputs: Inputs, recall: Recall) {
        self.kept().past.push(at, Arc::new(inputs), recall);
    }

    /// What the latest score was made from, and what earlier ones were; the latest first.
    pub(crate) fn past(&self) -> Moments {
        self.kept().past.all()
    }

    /// Rarely a change, for a grade that holds has nothing new to remember.
    pub(super) fn set_grade(&self, grade: &Sticky) {
        let mut kept = self.kept();
        if kept.grade != *grade {
            kept.grade.clone_from(grade);
        }
    }
}

/// All desks.
#[derive(Debug, Default)]
pub(crate) struct Desks(Mutex<BTreeMap<InstanceId, Arc<Desk>>>);

impl Desks {
    fn all(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Arc<Desk>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The desk of an instance, made when it is new.
    pub(crate) fn open(&self, id: &InstanceId) -> Arc<Desk> {
        self.all().entry(id.clone()).or_default().clone()
    }

    /// The desk of an instance that is watched.
    pub(crate) fn of(&self, id: &InstanceId) -> Option<Arc<Desk>> {
        self.all().get(id).cloned()
    }

    /// Forgets those that left the inventory.
    pub(crate) fn keep(&self, inventory: &Inventory) {
        self.all().retain(|id, _| inventory.instances.contains_key(id));
    }

    /// Has every instance of a service polled soon.
    pub(crate) fn ring_service(&self, inventory: &Inventory, service: &ServiceId) {
        self.of_service(inventory, service).iter().for_each(|desk| desk.ring());
    }

    /// The same when its masters switched.
    pub(crate) fn ring_switched(&self, inventory: &Inventory, service: &ServiceId, now: At) {
        self.of_service(inventory, service).iter().for_each(|desk| desk.ring_switched(now));
    }

    fn of_service(&self, inventory: &Inventory, service: &ServiceId) -> Vec<Arc<Desk>> {
        let all = self.all();
        inventory.of_service(service).filter_map(|i| all.get(&i.id)).cloned().collect()
    }

    /// Polls an instance every second for `minutes`; answers the end, or none when too many are.
    /// Asked again for the same instance, the new end counts.
    pub(crate) fn turbo(&self, id: &InstanceId, minutes: u32, now: At) -> Option<At> {
        let all = self.all();
        let moment = Instant::now();
        let others = all.iter().filter(|(other, _)| *other != id);
        if others.filter(|(_, desk)| desk.turbo(moment).is_some()).count() >= TURBOS_MAX {
            return None;
        }
        let lasts = Duration::from_secs(60) * minutes.clamp(1, TURBO_MINUTES_MAX);
        let until = now + lasts.as_millis() as i64;
        let desk = all.get(id)?;
        desk.kept().turbo = Some(Turbo { until, end: moment + lasts });
        desk.ring();
        Some(until)
    }

    /// Ends a turbo; answers whether there was one.
    pub(crate) fn end_turbo(&self, id: &InstanceId) -> bool {
        let Some(desk) = self.of(id) else { return false };
        let was = desk.turbo(Instant::now()).is_some();
        desk.kept().turbo = None;
        desk.ring();
        was
    }

    /// Memories of the grades of all that have a score.
    pub(super) fn grades(&self) -> Vec<(InstanceId, Sticky)> {
        let all = self.all();
        let kept = all.iter().map(|(id, desk)| (id.clone(), desk.grade()));
        kept.filter(|(_, grade)| *grade != Sticky::default()).collect()
    }

    /// What the scores of all were made from.
    pub(crate) fn pasts(&self) -> Vec<(InstanceId, Moments)> {
        let desks: Vec<_> =
            self.all().iter().map(|(id, desk)| (id.clone(), desk.clone())).collect();
        desks.into_iter().map(|(id, desk)| (id, desk.past())).collect()
    }

    /// Latest accept probes of all that were probed.
    pub(crate) fn accepts(&self) -> BTreeMap<InstanceId, Option<u32>> {
        let all = self.all();
        let seen = all.iter().filter_map(|(id, desk)| Some((id.clone(), desk.accept()?.total_us)));
        seen.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: At = At::from_ms(1_763_800_000_000);

    fn id(n: usize) -> InstanceId {
        format!("pay.cart@10.0.0.{n}:6379").parse().unwrap()
    }

    #[test]
    fn only_so_many_are_in_turbo_and_an_ended_one_makes_room() {
        let desks = Desks::default();
        for n in 0..=TURBOS_MAX {
            desks.open(&id(n));
        }
        for n in 0..TURBOS_MAX {
            assert_eq!(desks.turbo(&id(n), 10, T0), Some(T0 + 600_000));
        }
        assert_eq!(desks.turbo(&id(TURBOS_MAX), 1, T0), None);
        assert_eq!(desks.turbo(&id(0), 1, T0), Some(T0 + 60_000), "the same may be asked again");
        assert!(desks.end_turbo(&id(3)) && !desks.end_turbo(&id(3)));
        assert!(desks.turbo(&id(TURBOS_MAX), 1, T0).is_some());
    }

    #[test]
    fn a_turbo_ends_by_itself() {
        let desks = Desks::default();
        let desk = desks.open(&id(1));
        let until = desks.turbo(&id(1), 1, T0).unwrap();
        let now = Instant::now();
        assert_eq!(desk.turbo_until(now), Some(until));
        assert_eq!(desk.turbo_until(now + Duration::from_secs(61)), None);
        assert_eq!(desk.turbo_until(now), None, "and does not come back");
    }

    #[test]
    fn a_look_at_a_switch_is_fast_like_a_turbo_and_counts_as_none() {
        let desks = Desks::default();
        let desk = desks.open(&id(1));
        desk.ring_switched(T0);
        let now = Instant::now();
        assert_eq!((desk.turbo_until(now), desk.turbo(now)), (Some(T0 + 4_000), None));
        assert!(!desks.end_turbo(&id(1)));
        let until = desks.turbo(&id(1), 1, T0).unwrap();
        assert_eq!(desk.turbo_until(now), Some(until));
    }

    #[test]
    fn an_instance_nobody_watches_has_no_turbo() {
        assert_eq!(Desks::default().turbo(&id(1), 1, T0), None);
    }
}
