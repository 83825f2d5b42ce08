//! The slow log, followed by ids.
//!
//! Invariant: every entry with an id above the first one seen is counted once, or counted as lost;
//! entries from before watching began are shown and not counted. Ids grow with each slow command,
//! also across SLOWLOG RESET; a restart begins them anew, which the caller tells by `restarted`.

use std::sync::Arc;

use link::reply::info::OVERFLOW;
use model::At;
use model::detail::{SlowEntry, SlowShape, SlowTally};
use model::reading::Slowlog;

/// Entries asked for at once, and kept for people: Redis' own default length of the log.
const ENTRIES_MAX: u32 = 128;
/// Shapes counted, the rest together: a service uses 20 to 40 commands.
const SHAPES_MAX: usize = 64;
/// Asked for beyond what is known to be new: entries come between the question and the answer.
const SLACK: f64 = 16.0;
/// From this many new entries on they are read at once: at the next minute some would be gone.
const HURRY: f64 = 64.0;
/// Ids that jump further within a minute are not believed: a Redis runs 10⁵ commands a second.
const JUMP_MAX: f64 = 1e7;

/// Follows one slow log.
#[derive(Debug, Default)]
pub(super) struct SlowWatch {
    tally: SlowTally,
    met: bool,
    /// Entries were read since the start.
    read: bool,
    /// Highest id counted or set aside; none: the log was empty when it was met.
    newest: Option<f64>,
    /// More had come than were asked for, so all are asked for now.
    short: bool,
}

impl SlowWatch {
    /// Meets the log's head for the first time.
    pub(super) fn meet(&mut self, log: &Slowlog, now: At) {
        if !self.met && log.len.is_some() {
            self.met = true;
            self.newest = log.last_id;
            self.tally.at = now;
        }
    }

    /// The server started anew: its ids begin again at 0, with none of them seen.
    pub(super) fn restarted(&mut self) {
        self.newest = None;
        self.read = false;
    }

    /// How many entries to ask for; none while there is nothing to read.
    pub(super) fn wanted(&self, log: &Slowlog) -> Option<u32> {
        let last = log.last_id?;
        if !self.read || self.short {
            return Some(ENTRIES_MAX);
        }
        let new = self.newest.map_or(f64::from(ENTRIES_MAX), |newest| last - newest);
        // Ids that went back without a restart: the log is not the one we followed.
        let new = if new < 0.0 { f64::from(ENTRIES_MAX) } else { new };
        (new > 0.0).then(|| (new + SLACK).min(f64::from(ENTRIES_MAX)) as u32)
    }

    /// Whether so many entries are new that the next minute is too late.
    pub(super) fn hurries(&self, log: &Slowlog) -> bool {
        let many = log.last_id.zip(self.newest).is_some_and(|(last, n)| last - n >= HURRY);
        self.read && (many || self.short)
    }

    /// Counts entries, newest first as the server gives them; so many were `asked` for.
    pub(super) fn take(&mut self, asked: u32, entries: Vec<(SlowEntry, String)>, now: At) {
        let oldest = entries.iter().map(|(e, _)| e.id).reduce(f64::min);
        let gap = oldest.zip(self.newest).is_some_and(|(oldest, newest)| oldest > newest + 1.0);
        let cut = entries.len() as u32 == asked && asked < ENTRIES_MAX;
        self.short = gap && cut;
        if self.short {
            return;
        }
        self.read = true;
        self.tally.at = now;
        let Some(last) = entries.iter().map(|(e, _)| e.id).reduce(f64::max) else { return };
        if self.newest.is_some_and(|newest| last < newest) {
            self.newest = Some(last);
        }
        let newest = self.newest;
        let mut fresh = Vec::new();
        let (mut kept, mut counted) = (Vec::new(), 0.0);
        for (entry, shape) in entries {
            let is_new = newest.is_none_or(|newest| entry.id > newest);
            if is_new {
                counted += 1.0;
                self.count(shape, entry.us);
                fresh.push(Arc::new(entry));
            } else {
                kept.push(Arc::new(entry));
            }
        }
        if let Some(newest) = newest {
            let grown = last - newest;
            let lost = (grown - counted).max(0.0);
            self.tally.lost += if grown > JUMP_MAX { 0.0 } else { lost };
        }
        self.newest = Some(newest.map_or(last, |n| n.max(last)));
        if self.tally.recent.is_empty() {
            fresh.append(&mut kept);
        }
        fresh.append(&mut self.tally.recent);
        fresh.truncate(ENTRIES_MAX as usize);
        self.tally.recent = fresh;
    }

    /// What is known; none before the log was met.
    pub(super) fn tally(&self) -> Option<Arc<SlowTally>> {
        self.met.then(|| Arc::new(self.tally.clone()))
    }

    fn count(&mut self, shape: String, us: f64) {
        let shapes = &mut self.tally.shapes;
        let at = match shapes.iter().position(|s| *s.cmd == *shape) {
            Some(at) => at,
            None => {
                let cmd = if shapes.len() < SHAPES_MAX { shape.into() } else { OVERFLOW.into() };
                if shapes.len() <= SHAPES_MAX {
                    shapes.push(SlowShape { cmd, count: 0.0, us: 0.0, us_max: 0.0 });
                }
                shapes.len() - 1
            }
        };
        let one = &mut shapes[at];
        one.count += 1.0;
        one.us += us;
        one.us_max = one.us_max.max(us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(last_id: Option<f64>) -> Slowlog {
        Slowlog { len: Some(1.0), last_id, last_us: None }
    }

    /// Entries with these ids, newest first, each of 1 ms.
    fn entries(ids: std::ops::RangeInclusive<u32>) -> Vec<(SlowEntry, String)> {
        let none = Box::<str>::default;
        let one = |id: u32| SlowEntry {
            id: f64::from(id),
            at_s: 0.0,
            us: 1000.0,
            args: none(),
            client: none(),
            name: none(),
        };
        ids.rev().map(|id| (one(id), format!("cmd{}", id % 3))).collect()
    }

    const T: At = At::from_ms(60_000);

    fn counted(watch: &SlowWatch) -> f64 {
        watch.tally.shapes.iter().map(|s| s.count).sum()
    }

    #[test]
    fn entries_from_before_are_shown_and_only_new_ones_are_counted_once() {
        let mut watch = SlowWatch::default();
        watch.meet(&log(Some(9.0)), T);
        assert_eq!(watch.wanted(&log(Some(9.0))), Some(128));
        watch.take(128, entries(0..=9), T);
        assert_eq!((counted(&watch), watch.tally.recent.len()), (0.0, 10));
        assert_eq!(watch.wanted(&log(Some(9.0))), None);
        assert_eq!(watch.wanted(&log(Some(12.0))), Some(19));
        // One more came between the question and the answer.
        watch.take(19, entries(10..=13), T);
        watch.take(19, entries(11..=13), T);
        assert_eq!((counted(&watch), watch.tally.lost), (4.0, 0.0));
        assert_eq!(watch.tally.recent[0].id, 13.0);
        assert_eq!(watch.tally.recent.len(), 14);
    }

    #[test]
    fn entries_that_were_overwritten_are_counted_as_lost() {
        let mut watch = SlowWatch::default();
        watch.meet(&log(Some(0.0)), T);
        watch.take(128, entries(0..=0), T);
        assert!(!watch.hurries(&log(Some(63.0))) && watch.hurries(&log(Some(64.0))));
        watch.take(128, entries(173..=300), T);
        assert_eq!((counted(&watch), watch.tally.lost), (128.0, 172.0));
        assert_eq!(watch.tally.recent.len(), 128);
    }

    #[test]
    fn entries_beyond_what_was_asked_for_are_asked_for_and_not_lost() {
        let mut watch = SlowWatch::default();
        watch.meet(&log(Some(0.0)), T);
        watch.take(128, entries(0..=0), T);
        assert_eq!(watch.wanted(&log(Some(1.0))), Some(17));
        watch.take(17, entries(24..=40), T);
        assert_eq!((counted(&watch), watch.tally.lost), (0.0, 0.0));
        assert!(watch.hurries(&log(Some(40.0))));
        assert_eq!(watch.wanted(&log(Some(40.0))), Some(128));
        watch.take(128, entries(0..=41), T);
        assert_eq!((counted(&watch), watch.tally.lost), (41.0, 0.0));
        assert!(!watch.hurries(&log(Some(41.0))));
    }

    #[test]
    fn an_empty_log_and_a_restart_begin_anew_without_a_loss() {
        let mut watch = SlowWatch::default();
        watch.meet(&log(None), T);
        assert_eq!(watch.wanted(&log(None)), None);
        watch.take(128, entries(500..=502), T);
        assert_eq!((counted(&watch), watch.tally.lost), (3.0, 0.0));
        watch.restarted();
        assert_eq!(watch.wanted(&log(Some(1.0))), Some(128));
        watch.take(128, entries(0..=1), T);
        assert_eq!((counted(&watch), watch.tally.lost), (5.0, 0.0));
    }

    #[test]
    fn a_server_that_invents_ids_and_commands_costs_little() {
        let mut watch = SlowWatch::default();
        watch.meet(&log(Some(0.0)), T);
        let mut all = entries(1..=100);
        all[0].0.id = 1e300;
        for (i, (_, shape)) in all.iter_mut().enumerate() {
            *shape = format!("x{i}");
        }
        watch.take(128, all, T);
        assert_eq!(watch.tally.shapes.len(), SHAPES_MAX + 1);
        assert_eq!((counted(&watch), watch.tally.lost), (100.0, 0.0));
    }
}
