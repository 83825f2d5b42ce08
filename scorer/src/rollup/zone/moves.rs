//! Who takes over, and the rows as they are then.
//!
//! Invariant: the choice is the one Sentinel or the cluster makes from the same facts. Refuses to know
//! whether anybody may choose.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use model::At;
use model::field::Field;
use model::reading::Role;
use model::row::Row;
use model::service::Mode;
use model::zone_loss::MasterMove;

use super::super::index::Member;
use crate::inputs::replica_healthy;

/// The value of a parameter of a server, as last read.
pub(super) fn text<'a>(member: &Member<'a>, name: &str) -> Option<&'a str> {
    member.facts()?.detail.settings.as_ref()?.parameters.as_ref()?.get(name)
}

pub(super) fn parameter(member: &Member<'_>, name: &str) -> Option<f64> {
    text(member, name)?.parse().ok()
}

/// The replica that takes over. Sentinel: lowest priority (0 never), then most data, then the smallest
/// run id. Cluster: most data.
pub(super) fn candidate<'s, 'a>(
    mode: Mode,
    master: &Member<'a>,
    left: &[&'s Member<'a>],
) -> Option<&'s Member<'a>> {
    let upstream = |m: &Member<'a>| m.facts().and_then(|f| f.upstream.as_deref());
    let follows = |m: &Member<'a>| upstream(m).is_none_or(|u| u == master.instance.id.address());
    let healthy = |m: &Member<'a>| m.row.is_some_and(|r| replica_healthy(r) == Some(true));
    let priority = |m: &Member<'a>| {
        let said = m.reading().and_then(|r| r.get(Field::SlavePriority));
        if mode == Mode::Sentinel { said.unwrap_or(100.0) as i64 } else { 1 }
    };
    let offset = |m: &Member<'a>| m.facts().and_then(|f| f.offset).unwrap_or(-1.0) as i64;
    let run_id = |m: &Member<'a>| m.facts().map_or("", |f| f.text.run_id.as_str());
    left.iter()
        .copied()
        .filter(|m| follows(m) && healthy(m) && priority(m) > 0)
        .min_by_key(|m| (priority(m), Reverse(offset(m)), run_id(m), m.instance.id.as_str()))
}

/// Masters that move: from and to, by id.
#[derive(Default)]
pub(super) struct Moved {
    to: BTreeMap<String, Arc<Row>>,
}

impl Moved {
    /// Notes a move.
    pub fn note(&mut self, shard: u32, from: &Member<'_>, to: &Member<'_>) -> MasterMove {
        let offset = |m: &Member<'_>| m.facts().and_then(|f| f.offset);
        let lag = offset(from).zip(offset(to)).map(|(sent, received)| (sent - received).max(0.0));
        if let Some(row) = from.row {
            self.to.insert(to.instance.id.to_string(), row.clone());
        }
        MasterMove {
            shard,
            from: from.instance.id.address().to_owned(),
            to: to.instance.id.address().to_owned(),
            lag_bytes: lag,
        }
    }

    /// (who takes over, the row of the master it takes over from).
    pub fn each(&self) -> impl Iterator<Item = (&str, &Arc<Row>)> {
        self.to.iter().map(|(to, from)| (to.as_str(), from))
    }

    /// The rows after everybody took over.
    pub fn apply(&self, rows: &[Arc<Row>], now: At) -> Vec<Arc<Row>> {
        let turned = |row: &Arc<Row>| match self.to.get(row.instance.id.as_str()) {
            Some(_) => Arc::new(self.promoted(row, now)),
            None => row.clone(),
        };
        rows.iter().map(turned).collect()
    }

    fn promoted(&self, row: &Row, now: At) -> Row {
        let mut row = row.clone();
        let mut reading = (*row.reading).clone();
        reading.facts.role = Some(Role::Master);
        reading.facts.upstream = None;
        // The newest epoch: it speaks for the cluster, whose slots moved with the masters.
        let epoch = reading.get(Field::ClusterCurrentEpoch).unwrap_or(0.0);
        reading.facts.values.set(Field::ClusterCurrentEpoch, epoch + 1.0);
        if let Some(view) = &mut reading.facts.cluster {
            for (to, from) in self.each() {
                let address = |id: &str| id.split_once('@').map_or(String::new(), |a| a.1.into());
                let (to, from) = (address(to), from.instance.id.address());
                let Some(old) = view.nodes.iter().position(|n| n.address == from) else { continue };
                let slots = std::mem::take(&mut view.nodes[old].slots);
                let own = view.my_id.clone();
                let mine = row.instance.id.address() == to;
                let new = view.nodes.iter_mut().find(|n| n.address == to || (mine && n.id == own));
                if let Some(new) = new {
                    new.slots.extend(slots);
                }
            }
        }
        row.role_since = Some(now);
        row.reading = Arc::new(reading);
        row.last_good = Some(row.reading.clone());
        row
    }
}
