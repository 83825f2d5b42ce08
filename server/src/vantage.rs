//! Other processes of the same store as further vantages: what they see of a server that is silent here.
//!
//! Invariant: another process has a word only about what it asked after the silence began, and only
//! while its tree is ours; who has not polled everything yet has none. Polls never wait for the store.
//! Refuses to know verdicts: `scorer::verdict` weighs this.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use model::reading::{Reading, Reason};
use model::row::Row;
use model::{At, InstanceId};
use serde::{Deserialize, Serialize};
use store::Sighting;

use crate::app::App;

/// Longest time between two exchanges: three failed polls are confirmed in less.
const EVERY_MAX_S: u32 = 5;
/// What a process said so many exchanges ago is stale: it may be stopped.
const STALE_EXCHANGES: i64 = 4;
/// Failed polls in a row after which silence is told as such.
const CONFIRM_POLLS: u32 = 3;
/// Silent instances a process tells of, at most: beyond it the trouble is its own.
const TOLD_MAX: usize = 20_000;

/// What one process says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Said {
    /// Its tree.
    generation: i64,
    /// Time from one exchange to the next, ms.
    every_ms: i64,
    /// A poll is over within this time of its turn, ms.
    poll_ms: i64,
    /// It has polled everything at least once, and tells of everything it cannot reach.
    whole: bool,
    /// Silent, confirmed by repeated polls.
    gone: BTreeSet<String>,
    /// Silent, not confirmed yet.
    doubtful: BTreeSet<String>,
}

/// What another process said, by our clock.
#[derive(Debug, Clone)]
struct Heard {
    at: At,
    said: Said,
}

/// The other processes.
pub(crate) struct Vantages {
    process: String,
    heard: ArcSwap<Vec<Heard>>,
}

impl Default for Vantages {
    fn default() -> Vantages {
        Vantages { process: uuid::Uuid::now_v7().to_string(), heard: ArcSwap::default() }
    }
}

impl Vantages {
    /// Whether each of the others says that an instance is gone which has been silent here since then;
    /// who cannot know says nothing.
    pub(crate) fn votes(
        &self,
        id: &InstanceId,
        silent_since: At,
        generation: i64,
        now: At,
    ) -> Vec<bool> {
        let heard = self.heard.load();
        let fresh = |h: &&Heard| now.since_ms(h.at) <= STALE_EXCHANGES * h.said.every_ms;
        let ours = |h: &&Heard| h.said.generation == generation;
        let votes = heard.iter().filter(fresh).filter(ours);
        votes.filter_map(|h| vote(h, id.as_str(), silent_since)).collect()
    }

    fn take(&self, others: Vec<Sighting>, now: At) {
        let heard = |s: Sighting| {
            // One of another version has no word.
            let said = serde_json::from_str(&s.body).ok()?;
            Some(Heard { at: now - s.age_ms, said })
        };
        self.heard.store(Arc::new(others.into_iter().filter_map(heard).collect()));
    }
}

fn vote(heard: &Heard, id: &str, silent_since: At) -> Option<bool> {
    let said = &heard.said;
    if said.gone.contains(id) {
        return Some(true);
    }
    // Its latest poll of it is at most one turn older than what it said.
    let asked_since = heard.at.since_ms(silent_since) >= said.poll_ms;
    (said.whole && asked_since && !said.doubtful.contains(id)).then_some(false)
}

/// Between two exchanges.
pub(crate) fn every(app: &App) -> Duration {
    Duration::from_secs(u64::from(app.config.exporter.interval_s.min(EVERY_MAX_S)))
}

/// Tells the others, and hears them. Called by the loop `vantage`, where others may be.
pub(crate) async fn round(app: &App, now: At) -> anyhow::Result<()> {
    let interval_ms = i64::from(app.config.exporter.interval_s) * 1000;
    let said = Said {
        every_ms: every(app).as_millis() as i64,
        poll_ms: interval_ms + app.config.link.deadline_ms as i64,
        ..seen(&app.board.rows(), app.inventory().instances.len(), app.inventory().generation)
    };
    let body = serde_json::to_string(&said)?;
    let others = app.store.sighting_exchange(&app.vantages.process, &body).await?;
    app.vantages.take(others, now);
    Ok(())
}

fn seen(rows: &[Arc<Row>], instances: usize, generation: i64) -> Said {
    let silent = |row: &&Arc<Row>| is_silent(&row.reading);
    let name = |row: &Arc<Row>| row.instance.id.as_str().to_owned();
    let (gone, doubtful): (Vec<_>, Vec<_>) =
        rows.iter().filter(silent).partition(|r| r.reading.failed_in_row >= CONFIRM_POLLS);
    let whole = rows.len() >= instances && gone.len() + doubtful.len() <= TOLD_MAX;
    Said {
        generation,
        every_ms: 0,
        poll_ms: 0,
        whole,
        gone: gone.into_iter().take(TOLD_MAX).map(name).collect(),
        doubtful: doubtful.into_iter().take(TOLD_MAX).map(name).collect(),
    }
}

/// An error is an answer; silence is none.
fn is_silent(reading: &Reading) -> bool {
    let reason = reading.failure.as_ref().map(|f| f.reason);
    !reading.up && matches!(reason, Some(Reason::Refused | Reason::Timeout | Reason::Reset))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: At = At::from_ms(1_763_800_000_000);
    const ID: &str = "pay.cart@10.0.0.1:6379";

    fn said(gone: &[&str], doubtful: &[&str]) -> Said {
        let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_string()).collect();
        Said {
            generation: 7,
            every_ms: 5_000,
            poll_ms: 18_000,
            whole: true,
            gone: set(gone),
            doubtful: set(doubtful),
        }
    }

    fn votes(said: &Said, age_ms: i64, silent_ms: i64, generation: i64) -> Vec<bool> {
        let vantages = Vantages::default();
        let body = serde_json::to_string(said).unwrap();
        vantages.take(vec![Sighting { process: "b".into(), age_ms, body }], T0);
        vantages.votes(&ID.parse().unwrap(), T0 - silent_ms, generation, T0)
    }

    #[test]
    fn another_process_speaks_of_what_it_asked_since() {
        assert_eq!(votes(&said(&[ID], &[]), 1_000, 2_000, 7), [true]);
        assert_eq!(votes(&said(&[], &[]), 1_000, 60_000, 7), [false]);
        assert!(votes(&said(&[], &[]), 1_000, 10_000, 7).is_empty(), "it may not have asked since");
        assert!(votes(&said(&[], &[ID]), 1_000, 60_000, 7).is_empty(), "it is not sure itself");
    }

    #[test]
    fn a_stale_or_partial_word_or_one_about_another_tree_is_none() {
        assert!(votes(&said(&[ID], &[]), 21_000, 60_000, 7).is_empty());
        assert!(votes(&said(&[ID], &[]), 1_000, 60_000, 8).is_empty());
        let part = Said { whole: false, ..said(&[], &[]) };
        assert!(votes(&part, 1_000, 60_000, 7).is_empty());
    }
}
