//! The policies of every instance and object, resolved once per change of policies or inventory.
//!
//! Invariant: immutable once built and swapped whole; instances to which the same documents apply
//! share one set of rules; the states (`Cell`) live on from plan to plan.

mod objects;
mod thresholds;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use model::InstanceId;
use model::inventory::Inventory;
use model::policy::{AlertLevel, Engine, PolicyDoc, PolicyScope, SignalRef};
use model::service::Instance;

use crate::cell::Cell;
use crate::grid::Column;
use crate::resolve::{Effective, by_depth, resolve, selects};
use crate::rings::{POINTS_PER_INSTANCE_MAX, Windows};
use crate::signal::{Kind, Object, Signal, scoped};
use crate::window::Dialect;

pub use objects::GridObject;

/// Labels of the inventory that identify an alert. Shards are learnt and may be renumbered, and
/// site follows from zone, so neither is part of it.
const IDENTITY: [&str; 7] = ["tenant", "system", "service", "instance", "zone", "env", "tier"];

/// Who carries alerts, and the labels every alert of it has.
#[derive(Debug, Clone, PartialEq)]
pub struct Bearer {
    /// Who.
    pub object: Object,
    /// Labels of the inventory.
    pub labels: BTreeMap<String, String>,
    /// Labels of this installation, never overwriting one.
    pub external: Arc<BTreeMap<String, String>>,
}

/// The rules of one instance and its states.
pub struct Slot {
    /// Whose.
    pub bearer: Bearer,
    /// Policies in force.
    pub rules: Rules,
    /// What they look back on.
    pub windows: Arc<Windows>,
    /// Rules about samples that do not arrive, by index.
    pub silences: Arc<[usize]>,
    /// Columns its samples feed, with the rule that says how.
    pub columns: Arc<[(usize, Arc<Column>)]>,
    /// Its place in columns.
    pub ordinal: usize,
    /// Replicas its service should have.
    pub replicas_wanted: u32,
    /// Its states.
    pub cell: Arc<Mutex<Cell>>,
}

/// A threshold in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// Policy.
    pub policy: String,
    /// Level.
    pub level: AlertLevel,
    /// Whose; none: every instance's that has none of its own.
    pub instance: Option<InstanceId>,
    /// The value, in the unit of the signal.
    pub fire: f64,
}

/// A policy only Prometheus can evaluate.
#[derive(Debug, Clone, PartialEq)]
pub struct Delegated {
    /// Why it is not evaluated in process.
    pub why: String,
    /// The expression, held to the scope of its document.
    pub expr: String,
}

/// The rules of every instance.
#[derive(Default)]
pub struct Plan {
    /// By instance.
    pub slots: HashMap<InstanceId, Slot>,
    /// Other objects with the rules about them.
    pub objects: Vec<GridObject>,
    /// Documents that cannot be evaluated (`policy@scope`), with the reason.
    pub problems: BTreeMap<String, String>,
    /// Documents left to Prometheus (`policy@scope`).
    pub delegated: BTreeMap<String, Delegated>,
    /// Thresholds in force: the platform's, and those of instances that deviate. One for each
    /// instance, policy and level would be a quarter of a million that say the same.
    pub thresholds: Vec<Threshold>,
    /// Columns by policy.
    pub columns: BTreeMap<String, Arc<Column>>,
    /// The tree it was built for.
    pub inventory: Arc<Inventory>,
}

/// Rules shared by all instances with the same documents.
pub type Rules = Arc<[Arc<Effective>]>;

/// What instances with the same documents share.
#[derive(Clone)]
struct Variant {
    rules: Rules,
    windows: Arc<Windows>,
    silences: Arc<[usize]>,
    columns: Arc<[(usize, Arc<Column>)]>,
}

/// How a plan is built.
pub struct Ground<'a> {
    /// The tree.
    pub inventory: &'a Inventory,
    /// Documents, most general first.
    pub docs: &'a [PolicyDoc],
    /// Labels of this installation.
    pub external: &'a Arc<BTreeMap<String, String>>,
    /// Polls of an instance usually come this often.
    pub interval_ms: i64,
    /// Whose window functions: live evaluation speaks the newest, a comparison the server's.
    pub dialect: Dialect,
}

impl Plan {
    /// Resolves the documents for every instance and object. `cell` answers the states of an
    /// instance. A document that cannot be evaluated is left out and named in `problems`: the
    /// layers above it and the other policies must not suffer.
    pub fn build(
        ground: &Ground<'_>,
        mut cell: impl FnMut(&InstanceId) -> Arc<Mutex<Cell>>,
    ) -> Plan {
        let Ground { inventory, docs, external, .. } = *ground;
        let mut plan = Plan { inventory: Arc::new(inventory.clone()), ..Plan::default() };
        let by_scope = by_scope(docs);
        let mut variants: HashMap<Vec<usize>, Variant> = HashMap::new();
        for (ordinal, instance) in inventory.instances.values().enumerate() {
            let labels = labels_of(inventory, instance);
            let mine = applicable(inventory, instance, docs, &by_scope, &labels);
            let variant =
                variants.entry(mine).or_insert_with_key(|mine| plan.variant(mine, ground));
            let Variant { rules, windows, silences, columns } = variant.clone();
            let labels = IDENTITY
                .iter()
                .filter_map(|n| Some((n.to_string(), labels.get(n)?.clone())))
                .collect();
            let id = &instance.id;
            let object = Object::Instance(id.clone());
            let bearer = Bearer { object, labels, external: external.clone() };
            let service = inventory.services.get(&id.service());
            let replicas_wanted = service.map_or(0, |s| s.replicas_wanted);
            let cell = cell(id);
            let slot =
                Slot { bearer, rules, windows, silences, columns, ordinal, replicas_wanted, cell };
            plan.slots.insert(id.clone(), slot);
        }
        plan.objects = objects::of(ground, &by_scope, &mut plan.problems);
        plan.delegated = delegated(docs);
        plan.thresholds = thresholds::of(&plan.slots, docs);
        plan
    }

    fn variant(&mut self, mine: &[usize], ground: &Ground<'_>) -> Variant {
        let rules = rules(mine, ground.docs, &mut self.problems);
        let here = |rule: &&Arc<Effective>| {
            let aggregate = matches!(rule.signal, Signal::Aggregate(_));
            aggregate || (rule.signal.kind() == Kind::Instance && !is_delegated(rule))
        };
        let rules: Vec<Arc<Effective>> = rules.iter().filter(here).cloned().collect();
        let (rules, windows) = self.within_bounds(rules, ground);
        let enumerated = || rules.iter().enumerate();
        let silences =
            enumerated().filter(|(_, r)| matches!(r.signal, Signal::Silence(_))).map(|(i, _)| i);
        let silences = silences.collect();
        let of_columns = enumerated().filter(|(_, r)| matches!(r.signal, Signal::Aggregate(_)));
        let of_columns: Vec<(usize, String)> =
            of_columns.map(|(i, r)| (i, r.policy.clone())).collect();
        let places = ground.inventory.instances.len();
        let column = |(i, policy)| {
            let column =
                self.columns.entry(policy).or_insert_with(|| Arc::new(Column::new(places)));
            (i, column.clone())
        };
        let columns = of_columns.into_iter().map(column).collect();
        Variant { rules: rules.into(), windows: Arc::new(windows), silences, columns }
    }

    /// Leaves policies with windows out, the last by name first, until the others fit an instance.
    fn within_bounds(
        &mut self,
        mut rules: Vec<Arc<Effective>>,
        ground: &Ground<'_>,
    ) -> (Vec<Arc<Effective>>, Windows) {
        loop {
            let windows = Windows::of(&rules, ground.interval_ms, ground.dialect);
            let points = windows.points();
            let last = rules.iter().rposition(|r| !r.signal.windows().is_empty());
            let Some(last) = last.filter(|_| points > POINTS_PER_INSTANCE_MAX) else {
                return (rules, windows);
            };
            let rule = rules.remove(last);
            let scope = rule.origin.get("window").or_else(|| rule.origin.get("signal")).cloned();
            let scope = String::from(scope.unwrap_or(PolicyScope::Platform));
            let why = format!(
                "windows need {points} points an instance, allowed are {POINTS_PER_INSTANCE_MAX}"
            );
            self.problems.insert(format!("{}@{scope}", rule.policy), why);
        }
    }

    /// Takes over what the columns of the plan before knew, so that no aggregate goes blind until
    /// the next samples.
    pub fn adopt(&self, before: &Plan) {
        for (policy, column) in &self.columns {
            let Some(old) = before.columns.get(policy) else { continue };
            for (id, slot) in &self.slots {
                if let Some(was) = before.slots.get(id) {
                    column.adopt(slot.ordinal, old, was.ordinal);
                }
            }
        }
    }
}

fn is_delegated(rule: &Effective) -> bool {
    matches!(rule.signal, Signal::Delegated(_))
}

/// Documents whose signal only Prometheus can evaluate, or that say it shall.
fn delegated(docs: &[PolicyDoc]) -> BTreeMap<String, Delegated> {
    let one = |doc: &PolicyDoc| {
        let signal = doc.signal.as_ref()?;
        let why = match Signal::compile(signal, doc.window.as_ref()).ok()? {
            Signal::Delegated(why) => why,
            _ if doc.engine == Some(Engine::Prometheus) => "engine: prometheus".to_string(),
            _ => return None,
        };
        let expr = match signal {
            SignalRef::Expr(text) => scoped(text, &doc.scope).ok()?,
            _ => String::new(),
        };
        let name = format!("{}@{}", doc.policy, String::from(doc.scope.clone()));
        Some((name, Delegated { why, expr }))
    };
    docs.iter().filter_map(one).collect()
}

type ByScope<'a> = HashMap<&'a PolicyScope, Vec<usize>>;

fn by_scope(docs: &[PolicyDoc]) -> ByScope<'_> {
    let mut by_scope = ByScope::new();
    for (i, doc) in docs.iter().enumerate() {
        by_scope.entry(&doc.scope).or_default().push(i);
    }
    by_scope
}

/// Indices of the documents that apply to an instance, in the order of `docs`.
fn applicable(
    inventory: &Inventory,
    instance: &Instance,
    docs: &[PolicyDoc],
    by_scope: &ByScope<'_>,
    labels: &BTreeMap<&str, String>,
) -> Vec<usize> {
    let id = &instance.id;
    let mut scopes = vec![
        PolicyScope::Platform,
        PolicyScope::Tenant(id.tenant()),
        PolicyScope::Service(id.service()),
        PolicyScope::Instance(id.clone()),
    ];
    scopes.extend(inventory.owner(id).map(|(_, system)| PolicyScope::System(system.id.clone())));
    among(&scopes, docs, by_scope, labels)
}

/// Whether a document's selector takes an instance.
pub(crate) fn selected_by(doc: &PolicyDoc, id: &InstanceId, inventory: &Inventory) -> bool {
    if doc.selector.is_empty() {
        return true;
    }
    let Some(instance) = inventory.instances.get(id) else { return false };
    selects(doc, &labels_of(inventory, instance))
}

/// What selectors see of an instance.
fn labels_of(inventory: &Inventory, instance: &Instance) -> BTreeMap<&'static str, String> {
    let kind = ("kind", instance.kind.as_str().to_string());
    inventory.labels(instance).into_iter().chain([kind]).collect()
}

/// Indices of the documents of `scopes` that select these labels.
fn among(
    scopes: &[PolicyScope],
    docs: &[PolicyDoc],
    by_scope: &ByScope<'_>,
    labels: &BTreeMap<&str, String>,
) -> Vec<usize> {
    let mut mine: Vec<usize> = scopes
        .iter()
        .filter_map(|scope| by_scope.get(scope))
        .flatten()
        .copied()
        .filter(|i| selects(&docs[*i], labels))
        .collect();
    mine.sort_unstable();
    mine
}

/// The policies these documents make that are on and ours to evaluate.
fn rules(mine: &[usize], docs: &[PolicyDoc], problems: &mut BTreeMap<String, String>) -> Rules {
    let mut by_policy: BTreeMap<&str, Vec<&PolicyDoc>> = BTreeMap::new();
    for i in mine {
        by_policy.entry(&docs[*i].policy).or_default().push(&docs[*i]);
    }
    let mut rules = Vec::new();
    for (policy, docs) in by_policy {
        let mut docs = by_depth(&docs);
        // A deeper layer that breaks the policy must not switch it off: the layers above it count.
        while let Some(deepest) = docs.last() {
            match resolve(&docs) {
                Ok(rule) if rule.enabled && rule.engine != Engine::Prometheus => {
                    rules.push(Arc::new(rule));
                }
                Ok(_) => {}
                Err(why) => {
                    let scope = String::from(deepest.scope.clone());
                    problems.insert(format!("{policy}@{scope}"), why);
                    docs.pop();
                    continue;
                }
            }
            break;
        }
    }
    rules.into()
}

/// The smallest tree with an instance in it, for tests.
#[cfg(test)]
pub(crate) fn one_instance(inventory: &mut Inventory) {
    use model::service::{InstanceKind, Service};
    use model::tenant::{Env, System};
    let system = System {
        id: "pay.shop".parse().unwrap(),
        display: String::new(),
        env: Env::Prod,
        owner: String::new(),
        cmdb: String::new(),
    };
    let service = Service {
        id: "pay.cart".parse().unwrap(),
        system: system.id.clone(),
        display: String::new(),
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
    let instance = Instance {
        id: "pay.cart@10.1.0.7:6379".parse().unwrap(),
        kind: InstanceKind::Redis,
        zone: "az-1".parse().unwrap(),
        host: None,
        shard: 0,
    };
    inventory.systems.insert(system.id.clone(), system);
    inventory.services.insert(service.id.clone(), service);
    inventory.instances.insert(instance.id.clone(), instance);
}
