//! What scores were: the last hour of every object in memory, and what is to be stored for good.
//!
//! Invariant: nobody who scores waits for the store; a transition of a grade or gate is never told twice
//! and is lost only when the store stays away for longer than `PENDING_MAX` of them last. Memory is
//! bounded whatever the fleet does. Refuses to know how a score is made.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::At;
use model::board::{Board, Rollup};
use model::health::Mark;
use model::inventory::Inventory;
use model::right::Place;
use model::score::{Bar, Explained, Level};
use store::Shown;

use crate::app::App;

/// How far back the memory goes.
const KEPT_MS: i64 = 3_600_000;
/// Different moments of all objects together: at about one kilobyte each some 60 MB.
const MOMENTS_MAX: usize = 60_000;
/// Moments of one object: an hour of polls every 15 s.
const OBJECT_MAX: usize = 240;
/// … and what each may keep however large the fleet: before, the change, after.
const OBJECT_MIN: usize = 3;
/// Transitions waiting for the store: every instance of a large fleet twice.
const PENDING_MAX: usize = 20_000;
/// Rows of one round: the rest waits a second.
const ROUND_MAX: usize = 2_000;
const HOUR_MS: i64 = 3_600_000;

type Key = (Level, String);

/// A score that moved by less since it was stored last is not stored again, points: what is told of an
/// hour is at most so far from what was shown in it.
const MOVED: f64 = 1.0;

/// One object's last hour: moments that differ, each in force from its own time on.
#[derive(Debug, Default)]
struct Track {
    moments: VecDeque<Explained>,
    /// The score of the row this process stored last; none: it stored none.
    stored: Option<Option<f64>>,
}

#[derive(Default)]
struct Kept {
    tracks: HashMap<Key, Track>,
    pending: VecDeque<(Mark, Arc<Explained>)>,
    lost: u64,
    /// The hour that was stored last.
    hour: Option<i64>,
}

/// The book.
#[derive(Default)]
pub(crate) struct ScoreBook(Mutex<Kept>);

impl ScoreBook {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a score that is about to be shown.
    pub(crate) fn saw(&self, explained: &Arc<Explained>) {
        self.kept().saw(explained);
    }

    /// Takes in the roll-ups that are new since `before`.
    pub(crate) fn saw_rollup(&self, before: &Rollup, now: &Rollup) {
        let mut kept = self.kept();
        let key = |e: &Arc<Explained>| (e.level, e.id.clone());
        let mut old = before.levels.iter().peekable();
        for explained in now.levels.iter() {
            // In step as long as nothing came or went, which costs no look at the ids.
            if old.next_if(|before| Arc::ptr_eq(before, explained)).is_some() {
                continue;
            }
            while old.next_if(|before| key(before) < key(explained)).is_some() {}
            let same = old.next_if(|before| key(before) == key(explained));
            if same.is_none_or(|before| !Arc::ptr_eq(before, explained)) {
                kept.saw(explained);
            }
        }
    }

    /// The score of an object as it was at a moment; none when the memory does not reach there.
    pub(crate) fn at(&self, level: Level, id: &str, at: At) -> Option<Explained> {
        let kept = self.kept();
        let track = kept.tracks.get(&(level, id.to_owned()))?;
        track.moments.iter().rev().find(|m| m.at <= at).cloned()
    }

    /// Since when the memory knows an object; none: not at all.
    pub(crate) fn since(&self, level: Level, id: &str) -> Option<At> {
        Some(self.kept().tracks.get(&(level, id.to_owned()))?.moments.front()?.at)
    }

    /// Rows to be stored next, oldest first; they stay until `stored`.
    fn due(&self) -> (Vec<(Mark, Arc<Explained>)>, u64) {
        let mut kept = self.kept();
        let lost = std::mem::take(&mut kept.lost);
        (kept.pending.iter().take(ROUND_MAX).cloned().collect(), lost)
    }

    fn stored(&self, rows: &[(Mark, Arc<Explained>)]) {
        let mut kept = self.kept();
        for (_, row) in rows {
            // What was dropped meanwhile is not there any more.
            if kept.pending.front().is_some_and(|(_, first)| Arc::ptr_eq(first, row)) {
                kept.pending.pop_front();
            }
            kept.told(row);
        }
    }

    /// What the hour that begins stores: services and what is above them always, for their rows prove
    /// that somebody watched; of shards and instances those that moved since their row before.
    fn hourly(&self, board: &Board) -> Vec<Arc<Explained>> {
        let rollup = board.rollup();
        let scores = board.rows().into_iter().filter_map(|row| row.score.clone());
        let below = rollup.levels.of(Level::Shard).iter().cloned().chain(scores);
        let kept = self.kept();
        let below = below.filter(|e| kept.moved(e));
        let levels = [Level::Service, Level::System, Level::Tenant, Level::Fleet];
        let above = levels.iter().flat_map(|level| rollup.levels.of(*level)).cloned();
        above.chain(below).collect()
    }

    /// Notes what an hour stored.
    fn told(&self, rows: &[Arc<Explained>]) {
        let mut kept = self.kept();
        rows.iter().for_each(|row| kept.told(row));
    }

    /// Whether an hour began since this was asked last.
    fn new_hour(&self, now: At) -> bool {
        let hour = now.ms() / HOUR_MS;
        self.kept().hour.replace(hour) != Some(hour)
    }

    /// Forgets objects that are gone and moments older than an hour.
    fn prune(&self, inventory: &Inventory, rollup: &Rollup, now: At) {
        let mut kept = self.kept();
        kept.tracks.retain(|(level, id), _| match level {
            Level::Instance => id.parse().is_ok_and(|id| inventory.instances.contains_key(&id)),
            level => rollup.levels.get(*level, id).is_some(),
        });
        let most = (MOMENTS_MAX / kept.tracks.len().max(1)).clamp(OBJECT_MIN, OBJECT_MAX);
        for track in kept.tracks.values_mut() {
            // The one that was in force an hour ago stays.
            let old = |t: &Track| t.moments.get(1).is_some_and(|m| now.since_ms(m.at) > KEPT_MS);
            while old(track) || track.moments.len() > most {
                track.moments.pop_front();
            }
        }
    }
}

impl Kept {
    fn told(&mut self, row: &Explained) {
        if let Some(track) = self.tracks.get_mut(&(row.level, row.id.clone())) {
            track.stored = Some(row.score);
        }
    }

    fn moved(&self, now: &Explained) -> bool {
        let track = self.tracks.get(&(now.level, now.id.clone()));
        match (track.and_then(|t| t.stored), now.score) {
            (Some(Some(before)), Some(score)) => (before - score).abs() >= MOVED,
            (Some(None), None) => false,
            _ => true,
        }
    }

    fn saw(&mut self, explained: &Arc<Explained>) {
        let key = (explained.level, explained.id.clone());
        let track = self.tracks.entry(key).or_default();
        let mark = match track.moments.back() {
            Some(last) if shows_the_same(last, explained) => return,
            Some(last) => transition(last, explained),
            // The first one of this process tells of a change only when its grade begins with it.
            None => (explained.grade_since == explained.at).then_some(Mark::Grade),
        };
        track.moments.push_back(trimmed(explained));
        if track.moments.len() > OBJECT_MAX {
            track.moments.pop_front();
        }
        let Some(mark) = mark else { return };
        if self.pending.len() >= PENDING_MAX {
            self.pending.pop_front();
            self.lost += 1;
        }
        self.pending.push_back((mark, explained.clone()));
    }
}

/// Why the change from one score to the next is stored.
fn transition(before: &Explained, now: &Explained) -> Option<Mark> {
    match before.grade == now.grade {
        false => Some(Mark::Grade),
        true => {
            let names = |e: &'_ Explained| held(e).map(|(gate, _)| gate.to_owned()).collect();
            let (old, new): (Vec<String>, Vec<String>) = (names(before), names(now));
            (old != new).then_some(Mark::Gate)
        }
    }
}

/// The gates that hold, and whether each binds.
fn held(e: &Explained) -> impl Iterator<Item = (&str, bool)> {
    e.gates.iter().filter(|g| g.holds).map(|g| (g.gate.as_str(), g.binds))
}

/// Whether a waterfall of one would show what the other's shows, values aside.
fn shows_the_same(a: &Explained, b: &Explained) -> bool {
    let same_bar = |(a, b): (&Bar, &Bar)| a.points == b.points && a.signal == b.signal;
    a.score == b.score
        && a.raw == b.raw
        && a.grade == b.grade
        && a.confidence == b.confidence
        && a.policy == b.policy
        && a.unknown == b.unknown
        && a.bars.len() == b.bars.len()
        && a.bars.iter().zip(&b.bars).all(same_bar)
        && held(a).eq(held(b))
}

/// Without what is the same at every time, or is advice for the present.
fn trimmed(e: &Explained) -> Explained {
    let mut kept = e.clone();
    kept.not_applicable = Vec::new();
    kept.suggestions = Vec::new();
    kept.gates.retain(|g| g.holds);
    kept
}

/// Where an object stands in the tree; none when it is there no more.
pub(crate) fn place(inventory: &Inventory, level: Level, id: &str) -> Option<Place> {
    let of_service = |id: &str| {
        let service = inventory.services.get(&id.parse().ok()?)?;
        Some(Place::service(&service.id, &service.system))
    };
    match level {
        Level::Instance => of_service(id.split('@').next()?),
        Level::Shard => of_service(id.split('/').next()?),
        Level::Service => of_service(id),
        Level::System => Some(Place::system(&inventory.systems.get(&id.parse().ok()?)?.id)),
        Level::Tenant => Some(Place::tenant(&inventory.tenants.get(&id.parse().ok()?)?.id)),
        Level::Fleet => Some(Place::platform()),
    }
}

/// Stores what is due, and every hour a row of what is to be found by its hour.
pub(crate) async fn round(app: &App, now: At) -> anyhow::Result<()> {
    let inventory = app.inventory();
    let shown = |at: At, why: Mark, explained: &Arc<Explained>| {
        let place = place(&inventory, explained.level, &explained.id)?;
        Some(Shown { at, why, place, explained: explained.clone() })
    };
    let (due, lost) = app.scores.due();
    if lost > 0 {
        tracing::warn!(lost, "changes of grades are lost: the store was away for too long");
    }
    let rows: Vec<Shown> = due.iter().filter_map(|(why, e)| shown(e.at, *why, e)).collect();
    app.store.explained_save(&rows).await?;
    app.scores.stored(&due);
    if app.scores.new_hour(now) {
        app.scores.prune(&inventory, &app.board.rollup(), now);
        let hourly = app.scores.hourly(&app.board);
        let rows: Vec<Shown> = hourly.iter().filter_map(|e| shown(now, Mark::Hour, e)).collect();
        app.store.explained_save(&rows).await?;
        app.scores.told(&hourly);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::score::{GateState, Grade};

    use super::*;

    const T0: At = At::from_ms(1_763_800_000_000);

    fn score(at: At, score: f64, gate: bool) -> Arc<Explained> {
        let gate = GateState {
            gate: "oom_errors".into(),
            cap: 59.0,
            holds: gate,
            binds: false,
            points: 0.0,
            text: String::new(),
        };
        let bar = Bar { signal: "M1".into(), points: 100.0 - score, ..Bar::default() };
        Arc::new(Explained {
            id: "pay.cart@10.0.0.1:6379".into(),
            at,
            score: Some(score),
            grade: Grade::of(score),
            grade_since: T0,
            bars: vec![bar],
            gates: vec![gate],
            ..Explained::default()
        })
    }

    fn marks(book: &ScoreBook) -> Vec<(Mark, At)> {
        book.due().0.iter().map(|(mark, e)| (*mark, e.at)).collect()
    }

    #[test]
    fn a_moment_is_answered_with_what_was_in_force_then_and_only_changes_are_stored() {
        let book = ScoreBook::default();
        for (s, value, gate) in [
            (0, 95.0, false),
            (15, 95.0, false),
            (30, 94.0, false),
            (45, 94.0, true),
            (60, 70.0, true),
        ] {
            book.saw(&score(T0 + s * 1000, value, gate));
        }
        let at = |s: i64| book.at(Level::Instance, "pay.cart@10.0.0.1:6379", T0 + s * 1000);
        assert_eq!(at(-1), None);
        let seen = [0, 29, 30, 59, 3000].map(|s| at(s).unwrap().score.unwrap());
        assert_eq!(seen, [95.0, 95.0, 94.0, 94.0, 70.0]);
        let wanted = [(Mark::Grade, T0), (Mark::Gate, T0 + 45_000), (Mark::Grade, T0 + 60_000)];
        assert_eq!(marks(&book), wanted);
        book.stored(&book.due().0);
        assert_eq!(marks(&book), []);
    }

    #[test]
    fn a_grade_held_since_before_the_start_is_no_change() {
        let book = ScoreBook::default();
        book.saw(&score(T0 + 1, 95.0, false));
        assert_eq!(marks(&book), []);
    }

    #[test]
    fn of_a_roll_up_only_what_is_new_is_looked_at() {
        let book = ScoreBook::default();
        let named = |id: &str, value: f64| {
            let one = score(T0, value, false);
            Arc::new(Explained { id: id.into(), level: Level::Service, ..(*one).clone() })
        };
        let of = |all: &[&Arc<Explained>]| Rollup {
            at: T0,
            levels: all.iter().map(|e| Arc::clone(e)).collect(),
        };
        let (a, b, c) = (named("a", 95.0), named("b", 50.0), named("c", 70.0));
        let seen = |book: &ScoreBook| -> Vec<String> {
            book.due().0.iter().map(|(_, e)| e.id.clone()).collect()
        };
        book.saw_rollup(&Rollup::default(), &of(&[&a, &c]));
        book.saw_rollup(&of(&[&a, &c]), &of(&[&b, &c]));
        assert_eq!(seen(&book), ["a", "c", "b"]);
        book.saw_rollup(&of(&[&b, &c]), &of(&[&b, &c]));
        assert_eq!(seen(&book).len(), 3);
    }

    #[test]
    fn an_hour_stores_services_always_and_what_is_below_them_when_it_moved() {
        let (book, board) = (ScoreBook::default(), Board::default());
        let at = |level, value: f64| {
            let one = score(T0, value, false);
            let id = if level == Level::Shard { "pay.cart/0" } else { "pay.cart" };
            Arc::new(Explained { id: id.into(), level, ..(*one).clone() })
        };
        let hour = |value: f64| {
            let all = [at(Level::Service, value), at(Level::Shard, value)];
            book.saw_rollup(
                &Rollup::default(),
                &Rollup { at: T0, levels: all.into_iter().collect() },
            );
            let all = [at(Level::Service, value), at(Level::Shard, value)];
            board.publish_rollup(Rollup { at: T0, levels: all.into_iter().collect() });
            let rows = book.hourly(&board);
            book.told(&rows);
            rows.iter().map(|e| e.level).collect::<Vec<_>>()
        };
        assert_eq!(hour(95.0), [Level::Service, Level::Shard]);
        assert_eq!(hour(94.5), [Level::Service]);
        assert_eq!(hour(93.9), [Level::Service, Level::Shard]);
    }

    #[test]
    fn an_hour_is_new_once() {
        let book = ScoreBook::default();
        let hours = [T0, T0 + 1, T0 + HOUR_MS, T0 + HOUR_MS + 1].map(|at| book.new_hour(at));
        assert_eq!(hours, [true, false, true, false]);
    }
}
