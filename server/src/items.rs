//! The custom items in force: compiled, resolved per service, with what they cost.
//!
//! Invariant: built whole from the store's revisions and the tree, then only read; what cannot be
//! compiled any more is left out and logged, the others go on. Refuses to know callers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use exporter::item::{COMMANDS_PER_MIN_MAX, Compiled, Plan, applies, compile, resolve};
use model::ServiceId;
use model::board::Board;
use model::inventory::Inventory;
use model::item::{ItemCost, ItemDoc, ItemFlaw, ItemName, ItemOn, ItemRevision};
use model::right::{Place, Scope};
use model::row::Row;
use model::service::{Instance, Mode, Service};

/// Which items every service has.
#[derive(Default)]
pub(crate) struct ItemBook {
    /// Of the store when it was built.
    pub(crate) generation: i64,
    all: Vec<Arc<Compiled>>,
    plans: BTreeMap<ServiceId, Plan>,
}

impl ItemBook {
    /// Builds the book.
    pub(crate) fn build(
        generation: i64,
        revisions: &[ItemRevision],
        inventory: &Inventory,
    ) -> ItemBook {
        let mut all = Vec::new();
        for revision in revisions {
            match compile(&revision.item) {
                Ok(item) => all.push(Arc::new(item)),
                Err(flaws) => {
                    let (item, why) = (revision.item.id().to_string(), &flaws[0].detail);
                    tracing::warn!(item, why, "an item cannot be read any more; the others are");
                }
            }
        }
        let plan = |s: &Service| (s.id.clone(), resolve(covering(&all, &place(s))));
        let plans = inventory.services.values().map(plan).collect();
        ItemBook { generation, all, plans }
    }

    /// The items of a service's instances, in the order they are read.
    pub(crate) fn of(&self, service: &ServiceId) -> Arc<[Arc<Compiled>]> {
        self.plans.get(service).map(|p| p.items.clone()).unwrap_or_default()
    }
}

fn place(service: &Service) -> Place {
    Place::service(&service.id, &service.system)
}

fn covering<'a>(
    all: &'a [Arc<Compiled>],
    place: &'a Place,
) -> impl Iterator<Item = &'a Arc<Compiled>> {
    all.iter().filter(move |item| item.doc.scope.covers(place))
}

/// The services a scope reaches.
pub(crate) fn services<'a>(
    inventory: &'a Inventory,
    scope: &'a Scope,
) -> impl Iterator<Item = &'a Service> {
    inventory.services.values().filter(move |s| scope.covers(&place(s)))
}

/// The data nodes a scope reaches.
pub(crate) fn nodes<'a>(
    inventory: &'a Inventory,
    scope: &'a Scope,
) -> impl Iterator<Item = &'a Instance> {
    services(inventory, scope).flat_map(|s| inventory.nodes(&s.id))
}

/// A definition before it is saved: what stands against it where it would hold, and what it costs.
pub(crate) struct Judged {
    pub(crate) flaws: Vec<ItemFlaw>,
    pub(crate) cost: ItemCost,
}

/// Judges a definition that compiled.
pub(crate) fn judge(
    book: &ItemBook,
    inventory: &Inventory,
    board: &Board,
    item: &Arc<Compiled>,
) -> Judged {
    let doc = &item.doc;
    let mut with: Vec<Arc<Compiled>> = book.all.clone();
    with.retain(|other| other.doc.id() != doc.id());
    with.push(item.clone());
    let mut flaws = Vec::new();
    between(book, inventory, &with, doc, &mut flaws);
    if doc.enabled {
        where_it_runs(inventory, board, item, &mut flaws);
    }
    Judged { flaws, cost: cost(inventory, board, item, &with) }
}

/// What is wrong between items: references, circles, budgets. Only what this change brings counts:
/// an old flaw elsewhere must not stop a change here.
fn between(
    book: &ItemBook,
    inventory: &Inventory,
    with: &[Arc<Compiled>],
    doc: &ItemDoc,
    flaws: &mut Vec<ItemFlaw>,
) {
    let mut seen: BTreeSet<(ItemName, String)> = BTreeSet::new();
    let own = scope_place(inventory, &doc.scope);
    let alone = resolve(covering(with, &own)).flaws.into_iter().filter(|(n, _)| *n == doc.name);
    for (name, why) in alone {
        flaws.push(flaw(doc, name, &why, None));
        seen.insert((name, why));
    }
    for service in services(inventory, &doc.scope) {
        let before = book.plans.get(&service.id).map(|p| p.flaws.as_slice()).unwrap_or_default();
        for (name, why) in resolve(covering(with, &place(service))).flaws {
            let known = before.contains(&(name, why.clone()));
            if !known && seen.insert((name, why.clone())) {
                flaws.push(flaw(doc, name, &why, Some(&service.id)));
            }
        }
    }
}

fn scope_place(inventory: &Inventory, scope: &Scope) -> Place {
    match scope {
        Scope::Platform => Place::platform(),
        Scope::Tenant(id) => Place::tenant(id),
        Scope::System(id) => Place::system(id),
        Scope::Service(id) => match inventory.services.get(id) {
            Some(service) => place(service),
            None => Place { service: Some(id.clone()), ..Place::tenant(&id.tenant()) },
        },
    }
}

fn flaw(doc: &ItemDoc, name: ItemName, why: &str, service: Option<&ServiceId>) -> ItemFlaw {
    let place = service.map(|s| format!(" (service {s})")).unwrap_or_default();
    match name == doc.name {
        true if why.contains('{') => {
            ItemFlaw { pointer: "/source/expr".into(), detail: format!("{why}{place}") }
        }
        true => ItemFlaw { pointer: "/cadence_s".into(), detail: format!("{why}{place}") },
        false => ItemFlaw {
            pointer: String::new(),
            detail: format!("item {name} would not hold any more: {why}{place}"),
        },
    }
}

/// What is wrong with the item on the instances it would be read on.
fn where_it_runs(inventory: &Inventory, board: &Board, item: &Compiled, flaws: &mut Vec<ItemFlaw>) {
    let doc = &item.doc;
    let mut add = |pointer: &str, detail: String| {
        flaws.push(ItemFlaw { pointer: pointer.into(), detail });
    };
    let source = format!("/source/{}", doc.source.word());
    if let Some(cluster) = services(inventory, &doc.scope).find(|s| s.mode == Mode::Cluster) {
        if item.is_cross_slot() {
            let id = &cluster.id;
            let detail = format!(
                "the keys lie in several slots and {id} is a cluster: give them one {{tag}}"
            );
            add(&source, detail);
        }
        if item.has_slot() && doc.on() == ItemOn::Replica {
            add("/on", format!("replicas of the cluster {} answer no keys", cluster.id));
        }
    }
    let rows: Vec<Arc<Row>> =
        nodes(inventory, &doc.scope).filter_map(|i| board.row(&i.id)).collect();
    let versions: Vec<(&str, u32)> = rows.iter().filter_map(|r| version(r)).collect();
    if item.needs_seven() && !versions.is_empty() && versions.iter().all(|(_, major)| *major < 7) {
        let detail = format!("needs Redis 7; the newest here is {}", versions[0].0);
        add(&source, detail);
    }
    if let Some(keys_max) = item.scan_max() {
        let asked = rows.iter().filter_map(|r| Some((r, r.facts()?)));
        let mut keys = asked
            .filter(|(_, f)| applies(item, f))
            .filter_map(|(r, f)| Some((r, f.keyspace.iter().find(|db| db.db == 0)?.keys)));
        if let Some((row, keys)) = keys.find(|(_, n)| *n > f64::from(keys_max)) {
            let id = &row.instance.id;
            let detail = format!(
                "{id} holds {keys} keys and the count may look at {keys_max}: keep a counter or a \
                 set instead, and read its size"
            );
            add("/source/scan/keys_max", detail);
        }
    }
}

fn version(row: &Arc<Row>) -> Option<(&str, u32)> {
    let text = &row.last_good.as_ref()?.facts.text;
    Some((text.version.as_str(), text.version.split('.').next()?.parse().ok()?))
}

fn cost(
    inventory: &Inventory,
    board: &Board,
    item: &Arc<Compiled>,
    with: &[Arc<Compiled>],
) -> ItemCost {
    let doc = &item.doc;
    let mut cost = ItemCost { class: item.class().as_str().into(), ..ItemCost::default() };
    for node in nodes(inventory, &doc.scope) {
        cost.instances += 1;
        let Some(row) = board.row(&node.id) else { continue };
        let Some(facts) = row.facts() else { continue };
        cost.asked += u32::from(doc.enabled && applies(item, facts));
        let mine = facts.items.iter().filter(|reading| reading.name == doc.name);
        cost.series += mine.map(|reading| reading.series.len() as u32).sum::<u32>();
    }
    let per_instance = |s: &Service| -> f64 {
        resolve(covering(with, &place(s))).items.iter().map(|i| i.commands_per_min()).sum()
    };
    cost.commands_per_min = f64::from(cost.asked) * item.commands_per_min();
    cost.commands_per_min_instance =
        services(inventory, &doc.scope).map(per_instance).fold(0.0, f64::max);
    debug_assert!(cost.commands_per_min_instance <= COMMANDS_PER_MIN_MAX);
    cost.series_max = cost.asked * item.series_max();
    cost
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::At;
    use model::service::{Class, Profile, Tier};
    use serde_json::{Value, json};

    fn tree(mode: Mode) -> Inventory {
        let mut tree = Inventory::default();
        for id in ["pay.cart", "pay.book"] {
            let service = Service {
                id: id.parse().unwrap(),
                system: "pay.shop".parse().unwrap(),
                mode,
                tier: Tier::Core,
                class: Class::Single,
                profile: Profile::Store,
                profile_from: Default::default(),
                ..service_default(id)
            };
            tree.services.insert(service.id.clone(), service);
        }
        tree
    }

    fn service_default(id: &str) -> Service {
        serde_json::from_value(json!({
            "id": id, "system": "pay.shop", "display": id, "tier": "core", "class": "single",
            "mode": "standalone", "profile": "store", "managed": false, "sentinel_master": "",
            "replicas_wanted": 0, "auth_user": "", "has_password": false,
        }))
        .unwrap()
    }

    fn doc(name: &str, scope: &str, source: Value) -> ItemDoc {
        serde_json::from_value(json!({ "name": name, "scope": scope, "source": source })).unwrap()
    }

    fn revision(item: ItemDoc) -> ItemRevision {
        let (by, reason) = (String::new(), String::new());
        ItemRevision { rev: 1, item, deleted: false, by, reason, at: At::EPOCH }
    }

    fn judged(saved: &[ItemDoc], new: &ItemDoc, mode: Mode) -> Vec<String> {
        let tree = tree(mode);
        let saved: Vec<ItemRevision> = saved.iter().cloned().map(revision).collect();
        let book = ItemBook::build(1, &saved, &tree);
        let item = Arc::new(compile(new).unwrap());
        let flaws = judge(&book, &tree, &Board::default(), &item).flaws;
        flaws.into_iter().map(|f| format!("{}: {}", f.pointer, f.detail)).collect()
    }

    #[test]
    fn an_item_is_inherited_and_the_nearest_wins() {
        let llen = |q: &str| json!({"command": {"args": ["LLEN", q]}});
        let saved = [
            doc("queue", "tenant:pay", llen("a")),
            doc("queue", "service:pay.cart", llen("b")),
            doc("other", "tenant:hr", llen("c")),
        ]
        .map(revision);
        let book = ItemBook::build(7, &saved, &tree(Mode::Standalone));
        let of = |service: &str| {
            let items = book.of(&service.parse().unwrap());
            items.iter().map(|i| String::from(i.doc.scope.clone())).collect::<Vec<_>>()
        };
        assert_eq!(of("pay.cart"), ["service:pay.cart"]);
        assert_eq!(of("pay.book"), ["tenant:pay"]);
        assert!(of("hr.none").is_empty());
    }

    #[test]
    fn a_change_that_closes_a_circle_or_takes_a_name_away_is_refused() {
        let a = doc("a", "tenant:pay", json!({"expr": "{b} + 1"}));
        let b = doc("b", "tenant:pay", json!({"info": {"field": "used_memory"}}));
        let saved = [a, b.clone()];
        let closes = doc("b", "service:pay.cart", json!({"expr": "{a} + 1"}));
        let said = judged(&saved, &closes, Mode::Standalone);
        assert!(
            said.iter().any(|s| s.contains("/source/expr") && s.contains("circle")),
            "{said:?}"
        );
        let off = ItemDoc { enabled: false, ..b.clone() };
        let said = judged(&saved, &off, Mode::Standalone);
        assert!(said[0].contains("item a would not hold any more"), "{said:?}");
        assert!(judged(&saved, &b, Mode::Standalone).is_empty());
        let gone = doc("c", "tenant:pay", json!({"expr": "{nowhere}"}));
        assert!(judged(&saved, &gone, Mode::Standalone)[0].contains("{nowhere}"));
    }

    #[test]
    fn keys_of_several_slots_are_refused_for_a_cluster_only() {
        let exists = doc("e", "tenant:pay", json!({"command": {"args": ["EXISTS", "a", "b"]}}));
        assert!(judged(&[], &exists, Mode::Cluster)[0].contains("several slots"));
        assert!(judged(&[], &exists, Mode::Standalone).is_empty());
        let mut replica = doc("r", "tenant:pay", json!({"command": {"args": ["LLEN", "a"]}}));
        replica.on = Some(ItemOn::Replica);
        assert!(judged(&[], &replica, Mode::Cluster)[0].starts_with("/on"));
    }

    #[test]
    fn the_commands_of_one_instance_have_a_budget_over_all_its_items() {
        let scan = |name: &str| {
            doc(name, "tenant:pay", json!({"scan": {"pattern": "s:*", "keys_max": 20000}}))
        };
        let said = judged(&[scan("a")], &scan("b"), Mode::Standalone);
        assert!(said[0].contains("commands a minute"), "{said:?}");
    }
}
