//! Policies on the grid: groups of instances, services, and samples that do not arrive.
//! Pure: no store, no network, no clock.
#![allow(clippy::unwrap_used, reason = "clippy does not see that helpers here are tests too")]

mod stage;

use std::sync::{Arc, Mutex};

use alerter::signal::{MASTERS_EXPECTED, MASTERS_SEEN, Object, Outlook};
use alerter::{
    Cell, Change, Grid, Ground, Objective, Plan, defaults, evaluate, evaluate_grid, objective,
    outlook,
};
use model::InstanceId;
use model::alert::Phase;
use model::board::{Board, Rollup};
use model::inventory::Inventory;
use model::policy::PolicyDoc;
use model::reading::{Facts, Reading, Role};
use model::row::Row;
use model::service::Instance;
use stage::{at, inventory, reading, steps};

use Phase::{Firing, Pending, Resolved};

/// Six instances of one service in one zone.
struct Fleet {
    inventory: Inventory,
    plan: Plan,
    grid: Grid,
    outlook: Outlook,
}

fn ids() -> Vec<InstanceId> {
    (1..=6).map(|i| format!("pay.cart@10.1.0.{i}:6379").parse().unwrap()).collect()
}

impl Fleet {
    fn new(doc: &str) -> Fleet {
        let mut inventory = inventory("az-1");
        let base = inventory.instances.pop_first().unwrap().1;
        for id in ids() {
            inventory.instances.insert(id.clone(), Instance { id, ..base.clone() });
        }
        let mut fleet = Fleet {
            inventory,
            plan: Plan::default(),
            grid: Grid::default(),
            outlook: Outlook::default(),
        };
        fleet.replan(doc);
        fleet
    }

    fn replan(&mut self, doc: &str) {
        let docs: Vec<PolicyDoc> = vec![serde_saphyr::from_str(doc).unwrap()];
        let external = Arc::default();
        let ground = Ground {
            inventory: &self.inventory,
            docs: &docs,
            external: &external,
            interval_ms: 15_000,
            dialect: Default::default(),
        };
        let plan = Plan::build(&ground, |id| match self.plan.slots.get(id) {
            Some(slot) => slot.cell.clone(),
            None => Arc::new(Mutex::new(Cell::default())),
        });
        assert_eq!(plan.problems.len(), 0, "{:?}", plan.problems);
        plan.adopt(&self.plan);
        self.plan = plan;
    }

    fn row(&self, n: usize, s: i64, up: bool) -> Row {
        let mut facts = Facts {
            role: Some(if n == 0 { Role::Master } else { Role::Replica }),
            ..Facts::default()
        };
        facts.values.set(model::field::Field::UsedMemory, 100.0 * (n + 1) as f64);
        let base = reading(s, up, if up { facts } else { Facts::default() });
        let instance = Arc::new(self.inventory.instances[&ids()[n]].clone());
        let last_good = up.then(|| base.reading.clone());
        Row { instance, last_good, ..base }
    }

    /// A poll of the first `n` instances; those in `down` fail.
    fn poll(&mut self, s: i64, n: usize, down: &[usize]) {
        for i in 0..n {
            let row = self.row(i, s, !down.contains(&i));
            let slot = &self.plan.slots[&row.instance.id];
            evaluate(slot, &mut slot.cell.lock().unwrap(), &row, at(s)).unwrap();
        }
    }

    /// The grid once a second, up to `to`.
    fn look(&mut self, from: i64, to: i64) -> Vec<Change> {
        (from..=to)
            .flat_map(|s| evaluate_grid(&self.plan, &mut self.grid, &self.outlook, at(s)))
            .collect()
    }
}

const ZONE: &str = "
policy: zone-outage
scope: platform
signal: {aggregate: {of: {fact: unanswered}, op: avg, by: zone, at_least: 5}}
compare: '>'
levels: {critical: {fire: 0.6}}
";

#[test]
fn a_zone_is_out_when_most_of_its_instances_do_not_answer() {
    let mut f = Fleet::new(ZONE);
    f.poll(0, 6, &[0, 1]);
    assert!(f.look(0, 20).is_empty(), "a third");
    f.poll(15, 6, &[0, 1, 2, 3]);
    let fired = f.look(21, 40);
    assert_eq!(steps(&fired), [("critical", Pending, Firing)]);
    assert_eq!(fired[0].identity.object, Object::Zone("az-1".parse().unwrap()));
    assert_eq!(fired[0].identity.labels["zone"], "az-1");
    assert!(
        !fired[0].identity.labels.contains_key("instance"),
        "stays audible when instances are muted"
    );
    assert!((fired[0].value.unwrap() - 4.0 / 6.0).abs() < 1e-12);
    f.poll(45, 6, &[]);
    assert_eq!(steps(&f.look(41, 65)), [("critical", Firing, Resolved)]);
}

#[test]
fn a_group_with_too_few_values_says_nothing() {
    let mut f = Fleet::new(&ZONE.replace("at_least: 5", "at_least: 7"));
    f.poll(0, 6, &[0, 1, 2, 3, 4, 5]);
    assert!(f.look(0, 60).is_empty());
}

#[test]
fn what_was_not_polled_since_the_start_is_missing_at_first_and_an_outage_later() {
    let mut f = Fleet::new(ZONE);
    assert!(f.look(0, 299).is_empty(), "we may only just have started");
    assert_eq!(steps(&f.look(300, 330)), [("critical", Pending, Firing)]);
}

const MISSING: &str = "
policy: instance-missing
scope: platform
signal: {fact: expected_without_reading}
compare: '=='
levels: {critical: {fire: 1, for: 1m}}
";

#[test]
fn an_instance_nobody_polls_is_found_by_the_grid() {
    let mut f = Fleet::new(MISSING);
    for s in (0..600).step_by(15) {
        f.poll(s, 5, &[1]);
        let early = f.look(s, s + 14);
        if s < 300 {
            assert!(early.is_empty());
        } else if let Some(fired) = early.first() {
            assert_eq!(steps(&early), [("critical", Pending, Firing)]);
            assert_eq!(fired.identity.object.instance(), Some(&ids()[5]));
            assert_eq!(fired.identity.labels["instance"], ids()[5].to_string());
            assert!(fired.at >= at(360) && fired.at <= at(380));
            f.poll(s + 15, 6, &[]);
            assert_eq!(steps(&f.look(s + 15, s + 40)), [("critical", Firing, Resolved)]);
            return;
        }
    }
    panic!("never fired");
}

#[test]
fn a_sum_by_service_is_over_the_latest_values_and_survives_a_new_plan() {
    let doc = "
policy: total
scope: platform
signal: {aggregate: {of: {metric: redis_memory_used_bytes}, op: sum, by: service}}
compare: '>'
levels: {warning: {fire: 2000}}
";
    let mut f = Fleet::new(doc);
    f.look(0, 0);
    f.poll(0, 6, &[]);
    let fired = f.look(1, 20);
    assert_eq!((steps(&fired)[0], fired[0].value), (("warning", Pending, Firing), Some(2100.0)));
    f.replan(doc);
    assert!(f.look(21, 120).is_empty(), "the columns came along");
}

#[test]
fn values_older_than_five_minutes_are_none() {
    let doc = "
policy: total
scope: platform
signal: {aggregate: {of: {metric: redis_memory_used_bytes}, op: count, by: tenant}}
compare: '>='
levels: {info: {fire: 1}}
on_missing: resolve
";
    let mut f = Fleet::new(doc);
    f.look(0, 0);
    f.poll(0, 6, &[]);
    let fired = f.look(1, 20);
    assert_eq!((steps(&fired)[0], fired[0].value), (("info", Pending, Firing), Some(6.0)));
    let ended = f.look(21, 330);
    assert_eq!(steps(&ended), [("info", Firing, Resolved)]);
    assert!(ended[0].at >= at(300));
}

const MASTERS: &str = "
policy: masters
scope: platform
signal: {fact: masters_seen, over: masters_expected}
compare: '>'
levels: {critical: {fire: 1}}
";

#[test]
fn a_fact_of_a_service_is_judged_by_what_is_known_of_it() {
    let mut f = Fleet::new(MASTERS);
    let service = Object::Service("pay.cart".parse().unwrap());
    f.look(0, 30);
    f.outlook.set(MASTERS_SEEN, service.clone(), "", 2.0);
    f.outlook.set(MASTERS_EXPECTED, service.clone(), "", 1.0);
    let fired = f.look(31, 50);
    assert_eq!((steps(&fired)[0], fired[0].value), (("critical", Pending, Firing), Some(2.0)));
    assert_eq!(fired[0].identity.labels["service"], "cart");
    f.outlook = Outlook::default();
    assert!(f.look(51, 120).is_empty(), "nothing is known: held");
}

#[test]
fn an_expression_over_series_of_a_service_is_no_data_until_something_fills_them() {
    let doc = "
policy: slo
scope: platform
signal: {expr: 'cachewarden_slo_burn_rate{window=\"1h\"} > 14 and on (tenant, service) cachewarden_slo_burn_rate{window=\"5m\"} > 14'}
compare: '>'
levels: {critical: {fire: 0}}
";
    let mut f = Fleet::new(doc);
    assert!(f.look(0, 60).is_empty());
    let service = Object::Service("pay.cart".parse().unwrap());
    f.outlook.set("cachewarden_slo_burn_rate{window=\"1h\"}", service.clone(), "", 20.0);
    f.outlook.set("cachewarden_slo_burn_rate{window=\"5m\"}", service, "", 15.0);
    let fired = f.look(61, 80);
    assert_eq!(fired[0].value, Some(20.0));
}

#[test]
fn missed_slots_are_counted_and_never_made_up() {
    let mut f = Fleet::new(MASTERS);
    f.look(0, 30);
    let judged = f.grid.judged;
    assert_eq!(f.grid.missed, 0);
    f.look(95, 95);
    assert_eq!((f.grid.missed, f.grid.judged), (3, judged + 1));
}

#[test]
fn two_masters_count_as_two_only_when_they_were_masters_at_one_time() {
    let f = Fleet::new(MASTERS);
    let master = |n: usize, read: i64, since: i64| {
        let row = f.row(n, read, true);
        let facts = Facts { role: Some(Role::Master), ..row.reading.facts.clone() };
        let reading = Arc::new(Reading { facts, ..(*row.reading).clone() });
        Arc::new(Row { reading, role_since: Some(at(since)), ..row })
    };
    let seen = |rows: &[Arc<Row>]| {
        let board = Board::default();
        board.reshape(f.inventory.instances.keys());
        rows.iter().for_each(|row| board.publish((**row).clone()));
        let known = outlook(&f.inventory, &board, &Rollup::default(), &|_| true);
        known.value(MASTERS_SEEN, &Object::Service("pay.cart".parse().unwrap()))
    };
    assert_eq!(seen(&[master(0, 100, 0), master(1, 100, 50)]), Some(2.0));
    assert_eq!(
        seen(&[master(0, 40, 0), master(1, 100, 50)]),
        Some(1.0),
        "read before the failover"
    );
    assert_eq!(seen(&[Arc::new(f.row(1, 0, true))]), Some(0.0));
    assert_eq!(seen(&[Arc::new(f.row(1, 0, false))]), None, "nothing was read");
}

/// The fleet under a shipped policy.
fn shipped(policy: &str) -> Fleet {
    let doc = defaults::policies().iter().find(|d| d.policy == policy).unwrap();
    Fleet::new(&serde_json::to_string(doc).unwrap())
}

/// What the grid knows of the service's budget.
fn burning(burn: &[(&'static str, Option<f64>)], unknown: &[(&'static str, f64)]) -> Outlook {
    let mut out = Outlook::default();
    objective(&mut out, &"pay.cart".parse().unwrap(), Objective { burn, unknown });
    out
}

/// Burn rates of two pairs of windows.
fn pairs(names: [&'static str; 4], rates: [f64; 4]) -> Outlook {
    let burn: Vec<_> = names.into_iter().zip(rates.map(Some)).collect();
    burning(&burn, &[])
}

#[test]
fn a_budget_pages_while_both_windows_of_a_pair_burn_and_stops_with_the_short_one() {
    let mut f = shipped("slo-burn-fast");
    let fast = |rates| pairs(["1h", "5m", "6h", "30m"], rates);
    f.outlook = fast([20.0, 3.0, 5.0, 9.0]);
    assert!(f.look(0, 60).is_empty(), "it was bad and is not any more");
    f.outlook = fast([20.0, 15.0, 5.0, 9.0]);
    let fired = f.look(61, 90);
    assert_eq!(steps(&fired), [("critical", Pending, Firing)]);
    assert_eq!(fired[0].identity.object, Object::Service("pay.cart".parse().unwrap()));
    assert_eq!(fired[0].value, Some(20.0));
    f.outlook = fast([20.0, 0.0, 5.0, 9.0]);
    assert_eq!(steps(&f.look(91, 120)), [("critical", Firing, Resolved)]);
    f.outlook = fast([1.0, 0.0, 7.0, 6.5]);
    assert_eq!(steps(&f.look(121, 150)), [("critical", Pending, Firing)], "the slower pair");
}

#[test]
fn a_slow_burn_is_a_ticket_and_without_a_target_there_is_nothing() {
    let mut f = shipped("slo-burn-slow");
    f.outlook = burning(&[("1d", None), ("2h", None), ("3d", None), ("6h", None)], &[]);
    assert!(f.look(0, 60).is_empty());
    f.outlook = pairs(["1d", "2h", "3d", "6h"], [0.5, 0.5, 1.2, 1.1]);
    assert_eq!(steps(&f.look(61, 90)), [("warning", Pending, Firing)]);
}

#[test]
fn too_much_that_nobody_knows_is_told_after_a_quarter_of_an_hour() {
    let mut f = shipped("slo-unknown");
    f.outlook = burning(&[], &[("6h", 0.2)]);
    let told = f.look(0, 1_000);
    assert_eq!(told.last().map(|c| c.to), Some(Firing), "{told:?}");
    f.outlook = burning(&[], &[("6h", 0.05)]);
    assert_eq!(f.look(1_001, 1_100).last().map(|c| c.to), Some(Resolved));
}
