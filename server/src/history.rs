//! The last hour in memory: enough for trends on pages when no Prometheus is asked.
//!
//! Invariant: bounded by `POINTS_MAX` whatever the fleet does. Refuses to know pages.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use model::inventory::Inventory;
use model::score::Level;
use model::{At, ServiceId};

use crate::app::App;

/// One hour of the 15 s grid.
const POINTS_MAX: usize = 240;

/// The fleet at one moment.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    /// When.
    pub at: At,
    /// Score of the fleet.
    pub score: Option<f64>,
    /// Score of each tenant, by id.
    pub tenants: BTreeMap<String, Option<f64>>,
    /// Each service.
    pub services: BTreeMap<ServiceId, ServiceMoment>,
}

/// A service at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServiceMoment {
    /// Score.
    pub score: Option<f64>,
    /// Commands per second over all nodes; none when no node has a rate.
    pub ops_per_s: Option<f64>,
    /// Used memory of the nodes that answer, bytes.
    pub memory_used_bytes: f64,
}

/// The moments, oldest first.
#[derive(Default)]
pub struct History(RwLock<VecDeque<Arc<Moment>>>);

impl History {
    /// All moments kept, oldest first.
    pub fn moments(&self) -> Vec<Arc<Moment>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn push(&self, moment: Moment) {
        let mut moments = self.0.write().unwrap_or_else(PoisonError::into_inner);
        moments.push_back(Arc::new(moment));
        while moments.len() > POINTS_MAX {
            moments.pop_front();
        }
    }
}

/// Adds the present moment. Called by the grid loop.
pub(crate) fn take(app: &App, now: At) {
    let rollup = app.board.rollup();
    let score = |level: Level, id: &str| rollup.levels.get(level, id).and_then(|e| e.score);
    let inventory = app.inventory();
    let moment = Moment {
        at: now,
        score: score(Level::Fleet, ""),
        tenants: inventory
            .tenants
            .keys()
            .map(|t| (t.to_string(), score(Level::Tenant, t.as_str())))
            .collect(),
        services: inventory
            .services
            .keys()
            .map(|s| (s.clone(), of_service(app, &inventory, s, score(Level::Service, s.as_str()))))
            .collect(),
    };
    app.history.push(moment);
}

fn of_service(
    app: &App,
    inventory: &Inventory,
    id: &ServiceId,
    score: Option<f64>,
) -> ServiceMoment {
    let mut moment = ServiceMoment { score, ..ServiceMoment::default() };
    for node in inventory.nodes(id) {
        if let Some(ops) = app.rates.get(&node.id).ops_per_s {
            *moment.ops_per_s.get_or_insert(0.0) += ops;
        }
        let row = app.board.row(&node.id);
        let used =
            row.as_ref().and_then(|r| r.facts()?.values.get(model::field::Field::UsedMemory));
        moment.memory_used_bytes += used.unwrap_or(0.0);
    }
    moment
}
