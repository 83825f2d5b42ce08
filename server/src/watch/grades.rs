//! Grades outlive the process: what each task and the roll-ups remember is brought back at the start,
//! and saved while they run.
//!
//! Invariant: the store is never asked on the way of a poll, and watching neither waits for a save nor
//! ends with a failed one: what was not saved is tried again with the next. The table mirrors the
//! memory: an object that is not remembered any more has no row. Refuses to know how a grade moves.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::score::Level;
use model::{At, InstanceId};
use scorer::Sticky;
use store::SavedGrades;
use tokio::sync::OnceCell;

use super::desk::Desk;
use crate::app::App;
use crate::rollup;

/// Intervals without us after which a rise or a fall begins anew: nobody saw that nothing happened.
const GAP_INTERVALS: i64 = 4;
/// Intervals until every instance was polled: one is its phase, one is for those that are slow.
const START_INTERVALS: i64 = 2;
/// The last save; what it does not bring to the disk is at most a minute old there.
const LAST_SAVE: Duration = Duration::from_secs(5);

/// The levels above the instance.
const ROLLED: [Level; 5] =
    [Level::Shard, Level::Service, Level::System, Level::Tenant, Level::Fleet];

/// The memory of all grades.
#[derive(Default)]
pub(crate) struct Grades {
    loaded: OnceCell<()>,
    /// Restored, and not yet given to a watch task.
    waiting: Mutex<HashMap<InstanceId, Sticky>>,
    /// As the table has them, by object.
    saved: tokio::sync::Mutex<BTreeMap<String, Sticky>>,
    /// Those of the roll-ups.
    pub rollup: rollup::Memory,
}

impl Grades {
    fn waiting(&self) -> MutexGuard<'_, HashMap<InstanceId, Sticky>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings everything back, once; whoever comes second waits for it. Without a store that answers
    /// every grade begins anew.
    pub(crate) async fn load(&self, app: &App) {
        let load = async || match app.store.grade_load().await {
            Ok(stored) => {
                let interval_ms = i64::from(app.config.exporter.interval_s) * 1000;
                self.restore(stored, interval_ms, app.now()).await;
            }
            Err(e) => {
                tracing::error!(error = %e, "the grades of before the start are not readable; they begin anew");
            }
        };
        self.loaded.get_or_init(load).await;
    }

    async fn restore(&self, stored: SavedGrades, interval_ms: i64, now: At) {
        let gap = |at: At| now.since_ms(at).abs() > GAP_INTERVALS * interval_ms;
        let broken = stored.at.is_none_or(gap);
        let mut saved = self.saved.lock().await;
        let mut rolled = Vec::new();
        for (object, body) in stored.rows {
            // One that another version wrote is as good as none, and is written anew or deleted.
            let sticky: Sticky = serde_json::from_str(&body).unwrap_or_default();
            saved.insert(object.clone(), sticky.clone());
            let mut sticky = sticky;
            if broken {
                sticky.break_off();
            }
            let Some((level, id)) = object.split_once(':') else { continue };
            if level == Level::Instance.as_str() {
                let id = InstanceId::parse(id).ok();
                id.map(|id| self.waiting().insert(id, sticky));
            } else if let Some(level) = ROLLED.into_iter().find(|l| l.as_str() == level) {
                rolled.push((level, id.to_string(), sticky));
            }
        }
        self.rollup.restore(rolled, now + START_INTERVALS * interval_ms).await;
    }

    /// Puts what an instance had before the start on its desk, before its task begins.
    pub(crate) fn give(&self, id: &InstanceId, desk: &Desk) {
        let mut waiting = self.waiting();
        if let Some(sticky) = waiting.get(id) {
            desk.set_grade(sticky);
        }
        waiting.remove(id);
    }

    /// Saves what changed since the last time, and deletes what is remembered no more.
    pub(crate) async fn save(&self, app: &App, now: At) -> anyhow::Result<()> {
        if !self.loaded.initialized() {
            return Ok(());
        }
        let mut saved = self.saved.lock().await;
        let present = self.present(app).await;
        let (changed, gone) = difference(&saved, &present)?;
        app.store.grade_save(&changed, &gone, now).await?;
        *saved = present;
        Ok(())
    }

    /// The last save of the process, which does not hold up its end.
    pub(crate) async fn save_last(&self, app: &App) {
        let why = match tokio::time::timeout(LAST_SAVE, self.save(app, app.now())).await {
            Ok(Ok(())) => return,
            Ok(Err(e)) => format!("{e:#}"),
            Err(_) => "it took too long".to_string(),
        };
        tracing::warn!(why, "the latest changes of grades are not saved");
    }

    /// All memories by object.
    async fn present(&self, app: &App) -> BTreeMap<String, Sticky> {
        let rolled = self.rollup.grades().await;
        let inventory = app.inventory();
        // Under one lock: what is not waiting any more lies on its desk.
        let waiting = self.waiting();
        let early = waiting.iter().filter(|(id, _)| inventory.instances.contains_key(*id));
        let early = early.map(|(id, sticky)| (id.clone(), sticky.clone()));
        let instances = early.chain(app.watching.desks.grades());
        instances
            .map(|(id, sticky)| (object(Level::Instance, id.as_str()), sticky))
            .chain(rolled.into_iter().map(|(level, id, sticky)| (object(level, &id), sticky)))
            .collect()
    }
}

fn object(level: Level, id: &str) -> String {
    format!("{}:{id}", level.as_str())
}

/// Rows to be written, in order, and objects to be deleted.
type Difference = (Vec<(String, String)>, Vec<String>);

fn difference(
    saved: &BTreeMap<String, Sticky>,
    present: &BTreeMap<String, Sticky>,
) -> serde_json::Result<Difference> {
    let changed = present.iter().filter(|(object, sticky)| saved.get(*object) != Some(sticky));
    let changed =
        changed.map(|(object, sticky)| Ok((object.clone(), serde_json::to_string(sticky)?)));
    let gone = saved.keys().filter(|object| !present.contains_key(*object));
    Ok((changed.collect::<serde_json::Result<_>>()?, gone.cloned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: At = At::from_ms(1_763_800_000_000);
    const SOLO: &str = "pay.solo@10.0.0.1:6379";

    /// Grade D since `T0`, with a rise to A on its way.
    fn rising() -> Sticky {
        let met = [T0 + 1_000; 4];
        let body =
            serde_json::json!({"grade": "D", "since": T0, "entered": ["D", 1.0], "met": met});
        serde_json::from_value(body).unwrap()
    }

    async fn restored(at: At) -> Grades {
        let grades = Grades::default();
        let rows = [object(Level::Instance, SOLO), "shard:pay.solo/0".into(), "fleet:".into()];
        let body = serde_json::to_string(&rising()).unwrap();
        let rows = rows.into_iter().map(|object| (object, body.clone())).collect();
        grades.restore(SavedGrades { at: Some(T0), rows }, 15_000, at).await;
        grades
    }

    #[tokio::test]
    async fn every_object_gets_its_own_back_and_the_rise_only_after_a_short_gap() {
        for (away_ms, broken) in [(59_000, false), (61_000, true), (-61_000, true)] {
            let grades = restored(T0 + away_ms).await;
            let mut wanted = rising();
            if broken {
                wanted.break_off();
            }
            assert_eq!(wanted == rising(), !broken);
            let desk = Desk::default();
            grades.give(&SOLO.parse().unwrap(), &desk);
            assert_eq!(desk.grade(), wanted, "{away_ms}");
            let mut rolled = grades.rollup.grades().await;
            rolled.sort_by_key(|(level, ..)| level.as_str());
            let (fleet, shard) =
                ((Level::Fleet, String::new()), (Level::Shard, "pay.solo/0".into()));
            let expected = [(fleet.0, fleet.1, wanted.clone()), (shard.0, shard.1, wanted)];
            assert_eq!(rolled, expected, "{away_ms}");
        }
    }

    #[tokio::test]
    async fn what_an_instance_had_is_given_once() {
        let grades = restored(T0).await;
        let (first, second) = (Desk::default(), Desk::default());
        grades.give(&SOLO.parse().unwrap(), &first);
        grades.give(&SOLO.parse().unwrap(), &second);
        assert_eq!((first.grade(), second.grade()), (rising(), Sticky::default()));
    }

    #[test]
    fn only_what_changed_is_written_and_what_is_gone_is_deleted() {
        let of = |all: &[(&str, Sticky)]| -> BTreeMap<String, Sticky> {
            all.iter().map(|(object, sticky)| (object.to_string(), sticky.clone())).collect()
        };
        let saved = of(&[("a", rising()), ("b", rising()), ("c", rising())]);
        let mut moved = rising();
        moved.break_off();
        let present = of(&[("b", rising()), ("c", moved), ("d", rising())]);
        let (changed, gone) = difference(&saved, &present).unwrap();
        let changed: Vec<&str> = changed.iter().map(|(object, _)| object.as_str()).collect();
        assert_eq!((changed, gone), (vec!["c", "d"], vec!["a".to_string()]));
        assert_eq!(difference(&present, &present).unwrap(), Default::default());
    }
}
