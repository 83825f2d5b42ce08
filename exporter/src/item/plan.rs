//! Which items an instance has, in the order they can be read, and what is wrong between them.
//!
//! Invariant: of one name the nearest scope wins; an expression stands after everything it needs, and
//! what cannot be ordered is left out with the reason. Refuses to know connections.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::item::ItemName;
use model::right::Scope;

use super::check::Compiled;
use super::expr::Ask;

/// Items of one instance: more than a page of them nobody looks at.
pub const ITEMS_MAX: usize = 50;
/// Commands a minute all items of one instance may send: 4 a second, beside some 30 a minute of the
/// poll; with 100 µs each 0.04 % of the server's time.
pub const COMMANDS_PER_MIN_MAX: f64 = 240.0;
/// Series all items of one instance may make, of the 2 000 an instance may show.
pub const SERIES_PER_INSTANCE_MAX: u32 = 500;

/// The items of an instance.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// In the order they are read.
    pub items: Arc<[Arc<Compiled>]>,
    /// Items left out or unreadable, with the reason.
    pub flaws: Vec<(ItemName, String)>,
}

/// How near a scope is: deeper wins.
fn depth(scope: &Scope) -> u8 {
    match scope {
        Scope::Platform => 0,
        Scope::Tenant(_) => 1,
        Scope::System(_) => 2,
        Scope::Service(_) => 3,
    }
}

/// Resolves the items whose scopes cover an instance.
pub fn resolve<'a>(items: impl IntoIterator<Item = &'a Arc<Compiled>>) -> Plan {
    let mut nearest: BTreeMap<ItemName, &Arc<Compiled>> = BTreeMap::new();
    for item in items {
        let slot = nearest.entry(item.name()).or_insert(item);
        if depth(&item.doc.scope) > depth(&slot.doc.scope) {
            *slot = item;
        }
    }
    nearest.retain(|_, item| item.doc.enabled);
    let mut flaws = Vec::new();
    let mut left: Vec<&Arc<Compiled>> = nearest.values().copied().collect();
    for item in &left {
        flaws.extend(references(item, &nearest).into_iter().map(|why| (item.name(), why)));
    }
    let mut order: Vec<Arc<Compiled>> = Vec::new();
    loop {
        let ready = |item: &&Arc<Compiled>| {
            let needed = needs(item);
            needed
                .iter()
                .all(|n| !nearest.contains_key(n) || order.iter().any(|done| done.name() == *n))
        };
        let (now, later): (Vec<_>, Vec<_>) = left.into_iter().partition(ready);
        left = later;
        if now.is_empty() {
            break;
        }
        order.extend(now.into_iter().cloned());
    }
    for item in &left {
        flaws.push((item.name(), circle(item.name(), &nearest)));
    }
    budget(&mut order, &mut flaws);
    Plan { items: order.into(), flaws }
}

/// What an item needs to be read before.
fn needs(item: &Compiled) -> Vec<ItemName> {
    let name = |ask: &Ask| match ask {
        Ask::Item(name) | Ask::Fold(_, name) | Ask::ItemRate(name) => Some(*name),
        Ask::Field(_) | Ask::FieldRate(_) => None,
    };
    item.asks().iter().filter_map(name).collect()
}

fn references(item: &Compiled, all: &BTreeMap<ItemName, &Arc<Compiled>>) -> Vec<String> {
    let one = |ask: &Ask| {
        let (name, folds) = match ask {
            Ask::Item(name) | Ask::ItemRate(name) => (name, false),
            Ask::Fold(_, name) => (name, true),
            Ask::Field(_) | Ask::FieldRate(_) => return None,
        };
        match all.get(name) {
            None => Some(format!("{{{name}}} is no item that holds here")),
            Some(other) if other.fans_out() && !folds => {
                Some(format!("{{{name}}} has labels: write sum, min, max or count({{{name}}})"))
            }
            Some(_) => None,
        }
    };
    item.asks().iter().filter_map(one).collect()
}

/// The circle an item that cannot be ordered is in, or leads to.
fn circle(from: ItemName, all: &BTreeMap<ItemName, &Arc<Compiled>>) -> String {
    let mut way = vec![from];
    // Each step goes to an item that could not be ordered either; there are finitely many.
    while let Some(item) = way.last().and_then(|name| all.get(name)) {
        let next = needs(item)
            .into_iter()
            .find(|n| all.get(n).is_some_and(|other| !needs(other).is_empty()));
        let Some(next) = next else { break };
        let again = way.contains(&next);
        way.push(next);
        if again {
            break;
        }
    }
    let way: Vec<String> = way.iter().map(|n| format!("{{{n}}}")).collect();
    format!("expressions go in a circle: {}", way.join(" → "))
}

/// Leaves out what does not fit into the instance's budgets, the last by order of reading first.
fn budget(order: &mut Vec<Arc<Compiled>>, flaws: &mut Vec<(ItemName, String)>) {
    let (mut count, mut commands, mut series) = (0, 0.0, 0);
    order.retain(|item| {
        let (c, s) = (item.commands_per_min(), item.series_max());
        let why = if count + 1 > ITEMS_MAX {
            format!("an instance has {ITEMS_MAX} items at most")
        } else if commands + c > COMMANDS_PER_MIN_MAX {
            format!(
                "{:.0} commands a minute to one instance with its other items; at most \
                 {COMMANDS_PER_MIN_MAX:.0} are sent: read it less often",
                commands + c
            )
        } else if series + s > SERIES_PER_INSTANCE_MAX {
            let all = series + s;
            format!(
                "{all} series on one instance with its other items; at most \
                     {SERIES_PER_INSTANCE_MAX}"
            )
        } else {
            count += 1;
            commands += c;
            series += s;
            return true;
        };
        flaws.push((item.name(), why));
        false
    });
}

#[cfg(test)]
mod tests {
    use super::super::check::compile;
    use super::*;
    use serde_json::{Value, json};

    fn item(name: &str, scope: &str, source: Value, more: Value) -> Arc<Compiled> {
        let mut doc = json!({ "name": name, "scope": scope, "source": source });
        doc.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Arc::new(compile(&serde_json::from_value(doc).unwrap()).unwrap())
    }

    fn expr(name: &str, text: &str) -> Arc<Compiled> {
        item(name, "tenant:pay", json!({ "expr": text }), json!({}))
    }

    fn llen(name: &str, scope: &str, more: Value) -> Arc<Compiled> {
        item(name, scope, json!({"command": {"args": ["LLEN", "q"]}}), more)
    }

    fn names(plan: &Plan) -> Vec<String> {
        plan.items.iter().map(|i| i.name().to_string()).collect()
    }

    #[test]
    fn the_nearest_scope_wins_and_may_switch_off() {
        let all = [
            llen("a", "tenant:pay", json!({})),
            llen("a", "service:pay.cart", json!({"unit": "jobs"})),
            llen("b", "tenant:pay", json!({})),
            llen("b", "system:pay.shop", json!({"enabled": false})),
        ];
        let plan = resolve(&all);
        assert_eq!(names(&plan), ["a"]);
        assert_eq!(plan.items[0].doc.unit, "jobs");
        assert!(plan.flaws.is_empty());
    }

    #[test]
    fn expressions_stand_after_what_they_need() {
        let all = [expr("a", "{b} + 1"), expr("b", "{c} + 1"), llen("c", "tenant:pay", json!({}))];
        assert_eq!(names(&resolve(&all)), ["c", "b", "a"]);
    }

    #[test]
    fn a_circle_is_named_and_the_rest_is_read() {
        let all = [expr("a", "{b}"), expr("b", "{a}"), expr("self", "{self}"), expr("d", "1")];
        let plan = resolve(&all);
        assert_eq!(names(&plan), ["d"]);
        let said: Vec<&str> = plan.flaws.iter().map(|(_, why)| why.as_str()).collect();
        assert!(said.iter().any(|w| w.contains("{a} → {b} → {a}")), "{said:?}");
        assert!(said.iter().any(|w| w.contains("{self} → {self}")), "{said:?}");
    }

    #[test]
    fn what_is_not_there_or_has_labels_is_a_flaw() {
        let groups = json!({"command": {"args": ["XINFO", "GROUPS", "s"], "path": "*.lag"}});
        let lag = item("lag", "tenant:pay", groups, json!({"labels": {"group": "name"}}));
        let plan =
            resolve(&[lag, expr("a", "{gone}"), expr("b", "{lag}"), expr("c", "sum({lag})")]);
        let of = |name: &str| plan.flaws.iter().filter(|(n, _)| n.as_str() == name).count();
        assert_eq!((of("a"), of("b"), of("c")), (1, 1, 0));
    }

    #[test]
    fn an_instance_has_a_budget_of_commands_items_and_series() {
        let fast = |n: usize| llen(&format!("i{n:02}"), "tenant:pay", json!({"cadence_s": 15}));
        let all: Vec<_> = (0..70).map(fast).collect();
        let plan = resolve(&all);
        assert_eq!((plan.items.len(), plan.flaws.len()), (ITEMS_MAX, 20));
        let scan = json!({"scan": {"pattern": "s:*", "keys_max": 20_000}});
        let all = ["a", "b", "c"].map(|n| item(n, "tenant:pay", scan.clone(), json!({})));
        let plan = resolve(&all);
        assert_eq!(plan.items.len(), 1);
        assert!(plan.flaws[0].1.contains("commands a minute"), "{:?}", plan.flaws);
    }
}
