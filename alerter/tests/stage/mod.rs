//! One instance under policies of a test's own, fed sample by sample.
//! Pure: no store, no network, no clock.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "clippy does not see that helpers here are tests too")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use alerter::{Cell, Change, Ground, Late, Plan, evaluate};
use model::alert::Phase;
use model::field::Field;
use model::inventory::Inventory;
use model::policy::PolicyDoc;
use model::reading::{Facts, Reading};
use model::row::Row;
use model::service::{Instance, InstanceKind, Service};
use model::tenant::{Env, System};
use model::verdict::Verdict;
use model::{At, InstanceId};

pub const T0: i64 = 1_763_800_000_000;
pub const STEP: i64 = 15;

pub fn at(s: i64) -> At {
    At::from_ms(T0 + s * 1000)
}

pub fn id() -> InstanceId {
    "pay.cart@10.1.0.7:6379".parse().unwrap()
}

pub fn inventory(zone: &str) -> Inventory {
    let mut inv = Inventory::default();
    let system = System {
        id: "pay.shop".parse().unwrap(),
        display: "Shop".into(),
        env: Env::Prod,
        owner: String::new(),
        cmdb: String::new(),
    };
    let service = Service {
        id: "pay.cart".parse().unwrap(),
        system: system.id.clone(),
        display: "Cart".into(),
        tier: Default::default(),
        class: Default::default(),
        mode: Default::default(),
        profile: Default::default(),
        profile_from: Default::default(),
        managed: true,
        sentinel_master: String::new(),
        replicas_wanted: 0,
        auth_user: String::new(),
        has_password: false,
        access: Default::default(),
    };
    inv.systems.insert(system.id.clone(), system);
    inv.services.insert(service.id.clone(), service);
    let instance = Instance {
        id: id(),
        kind: InstanceKind::Redis,
        zone: zone.parse().unwrap(),
        host: None,
        shard: 0,
    };
    inv.instances.insert(id(), instance);
    inv
}

/// One instance under one policy, fed sample by sample.
pub struct Bench {
    pub plan: Plan,
    pub now: At,
}

pub const MEMORY: &str = "
policy: memory-used
scope: platform
signal: {metric: {name: redis_memory_used_bytes, over: redis_memory_max_bytes}}
compare: '>'
levels:
  warning: {fire: 0.85, clear: 0.80, for: 1m}
  critical: {fire: 0.95, clear: 0.90}
on_missing: {hold: 1m}
";

pub fn build(docs: &[&str], zone: &str, cell: Arc<Mutex<Cell>>) -> Plan {
    let docs: Vec<PolicyDoc> = docs.iter().map(|d| serde_saphyr::from_str(d).unwrap()).collect();
    let external = Arc::new(BTreeMap::from([("region".to_string(), "east".to_string())]));
    let (inventory, interval_ms) = (inventory(zone), STEP * 1000);
    let ground = Ground {
        inventory: &inventory,
        docs: &docs,
        external: &external,
        interval_ms,
        dialect: Default::default(),
    };
    let plan = Plan::build(&ground, |_| cell.clone());
    assert_eq!(plan.problems, BTreeMap::new());
    plan
}

impl Bench {
    pub fn new(doc: &str) -> Bench {
        Bench::of(&[doc])
    }

    pub fn of(docs: &[&str]) -> Bench {
        Bench { plan: build(docs, "az-1", Arc::default()), now: At::EPOCH }
    }

    pub fn cell(&self) -> Arc<Mutex<Cell>> {
        self.plan.slots[&id()].cell.clone()
    }

    pub fn replan(&mut self, docs: &[&str], zone: &str, s: i64) -> Vec<Change> {
        self.plan = build(docs, zone, self.cell());
        let slot = &self.plan.slots[&id()];
        self.cell().lock().unwrap().reconcile(slot, at(s))
    }

    /// Kill and start again: what was saved is all that is left.
    pub fn restart(&mut self, doc: &str) {
        let saved = serde_json::to_string(&*self.cell().lock().unwrap()).unwrap();
        let cell: Cell = serde_json::from_str(&saved).unwrap();
        self.plan = build(&[doc], "az-1", Arc::new(Mutex::new(cell.after_restart())));
    }

    pub fn row(&mut self, row: &Row) -> Result<Vec<Change>, Late> {
        self.now = self.now.max(row.reading.at);
        let slot = &self.plan.slots[&id()];
        evaluate(slot, &mut self.cell().lock().unwrap(), row, self.now)
    }

    /// A sample at `s` seconds with used/max = `ratio`; none: the poll failed.
    pub fn feed(&mut self, s: i64, ratio: Option<f64>) -> Vec<Change> {
        self.row(&sample(s, ratio)).expect("newer than the last")
    }

    /// The same value every 15 s from `from` to `to`.
    pub fn hold(&mut self, from: i64, to: i64, ratio: Option<f64>) -> Vec<Change> {
        (from..=to).step_by(STEP as usize).flat_map(|s| self.feed(s, ratio)).collect()
    }

    pub fn phases(&self) -> Vec<(&'static str, Phase)> {
        let cell = self.cell();
        let cell = cell.lock().unwrap();
        let mut all: Vec<_> = cell.lives().map(|l| (l.identity.level.as_str(), l.phase)).collect();
        all.sort();
        all
    }
}

pub fn sample(s: i64, ratio: Option<f64>) -> Row {
    let mut facts = Facts::default();
    if let Some(ratio) = ratio {
        facts.values.set(Field::UsedMemory, ratio * 1000.0);
        facts.values.set(Field::Maxmemory, 1000.0);
    }
    reading(s, ratio.is_some(), facts)
}

pub fn reading(s: i64, up: bool, facts: Facts) -> Row {
    let reading = Reading {
        at: at(s),
        began: at(s),
        up,
        failure: None,
        ping_us: None,
        duration_us: 900,
        connect_us: 0,
        failed_in_row: 0,
        interval_ms: (STEP * 1000) as u32,
        facts,
    };
    let inv = inventory("az-1");
    Row {
        role_since: None,
        instance: Arc::new(inv.instances[&id()].clone()),
        reading: Arc::new(reading),
        last_good: None,
        verdict: Verdict::Up,
        score: None,
    }
}

pub fn steps(changes: &[Change]) -> Vec<(&'static str, Phase, Phase)> {
    changes.iter().map(|c| (c.identity.level.as_str(), c.from, c.to)).collect()
}
