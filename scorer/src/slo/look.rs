//! From the rows of a shard to what one poll says of its writable master.
//!
//! Invariant: only what a reading or a verdict proves is good or bad. A poll that lasted far beyond its
//! deadline tells of our own pause, not of the server.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use model::At;
use model::field::Field;
use model::reading::{Reading, Reason, Role};
use model::row::Row;
use model::verdict::Verdict;

use super::ledger::{Look, Sight};
use crate::window::is_unreachable;

/// Intervals without a poll after which nobody looked.
const GAP_INTERVALS: i64 = 3;

/// … but not less than this, ms: a busy machine is late by seconds.
const GAP_MIN_MS: i64 = 5_000;

/// Errors that refuse a write.
const REFUSALS: [&str; 4] = ["OOM", "MISCONF", "NOREPLICAS", "READONLY"];

/// What the rows of a shard's members say; none before any was polled. `whole`: no member is missing
/// among them. A probe may take `deadline_ms`.
pub fn look(rows: &[Arc<Row>], whole: bool, deadline_ms: i64) -> Option<Look> {
    let master = rows.iter().filter(|r| r.role() == Some(Role::Master));
    // The one that became master last is in force: the other has not been asked since.
    if let Some(row) = master.max_by_key(|r| (r.role_since, r.reading.at)) {
        return Some(made(row, answered(&row.reading), deadline_ms));
    }
    let was_master = |r: &&Arc<Row>| last_role(r) == Some(Role::Master);
    if let Some(row) = rows.iter().filter(was_master).max_by_key(|r| r.reading.at) {
        return Some(made(row, silent(row, deadline_ms), deadline_ms));
    }
    // Nobody is a master: proven only by all, and by those who answer.
    let row = rows.iter().max_by_key(|r| r.reading.at)?;
    let all_answer = rows.iter().all(|r| r.verdict.is_up() && r.reading.up);
    let sight = if whole && all_answer { Sight::Bad } else { Sight::Unknown };
    Some(made(row, sight, deadline_ms))
}

fn last_role(row: &Row) -> Option<Role> {
    row.last_good.as_ref().and_then(|r| r.facts.role)
}

fn answered(reading: &Reading) -> Sight {
    let off = |field| reading.get(field).is_some_and(|v| v < 1.0);
    let loading = reading.get(Field::Loading).is_some_and(|v| v > 0.0);
    match loading || off(Field::ClusterState) || off(Field::AofLastWriteStatus) {
        true => Sight::Bad,
        false => Sight::Good,
    }
}

fn silent(row: &Row, deadline_ms: i64) -> Sight {
    let reading = &row.reading;
    let late = reading.at.since_ms(reading.began) > 2 * deadline_ms + GAP_MIN_MS;
    let reason = reading.failure.as_ref().map(|f| f.reason);
    match &row.verdict {
        Verdict::Unknown(_) => Sight::Unknown,
        _ if late => Sight::Unknown,
        Verdict::Down(_) => Sight::Bad,
        Verdict::Up => match reason {
            Some(Reason::Loading) => Sight::Bad,
            Some(Reason::Busy) => Sight::Pending,
            Some(reason) if is_unreachable(reason) => Sight::Pending,
            _ => Sight::Unknown,
        },
    }
}

fn made(row: &Row, sight: Sight, deadline_ms: i64) -> Look {
    let reading = &row.reading;
    let interval = i64::from(reading.interval_ms);
    let errors = reading.facts.errors.iter();
    let refused = errors.filter(|(name, _)| REFUSALS.contains(&name.as_str())).map(|(_, n)| n);
    let mut hasher = DefaultHasher::new();
    row.instance.id.as_str().hash(&mut hasher);
    reading.facts.text.run_id.hash(&mut hasher);
    row.role_since.map(At::ms).hash(&mut hasher);
    Look {
        began: reading.began,
        at: reading.at,
        sight,
        who: hasher.finish(),
        refusals: refused.sum(),
        gap_ms: (GAP_INTERVALS * interval).max(interval + GAP_MIN_MS) + deadline_ms,
    }
}
