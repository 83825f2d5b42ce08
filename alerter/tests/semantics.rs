//! The rest of the table of evaluation: windows, expressions, errors, flapping, other signal forms.
//! Pure: no store, no network, no clock.
#![allow(clippy::unwrap_used, reason = "clippy does not see that helpers here are tests too")]

mod stage;

use model::alert::Phase;
use model::field::Field;
use model::reading::{Facts, ReplicaLink};
use model::row::Row;
use stage::*;

use Phase::{Firing, Pending, Recovering, Resolved};

const ABOVE: &str = "
policy: above
scope: platform
signal: {metric: redis_memory_used_bytes, over: redis_memory_max_bytes}
compare: '>'
levels: {warning: {fire: 0.5}}
";

fn fields(s: i64, values: &[(Field, f64)]) -> Row {
    let mut facts = Facts::default();
    values.iter().for_each(|(field, value)| facts.values.set(*field, *value));
    reading(s, true, facts)
}

fn replicas(s: i64, lags: &[(&str, f64)]) -> Row {
    let link = |(address, lag_s): &(&str, f64)| ReplicaLink {
        address: address.to_string(),
        state: "online".into(),
        offset: 0.0,
        lag_s: *lag_s,
    };
    let mut facts = Facts { replicas: lags.iter().map(link).collect(), ..Facts::default() };
    facts.values.set(Field::ConnectedSlaves, lags.len() as f64);
    reading(s, true, facts)
}

/// Swings the condition so often that it flaps; answers the time after it, and the steps.
fn swung(b: &mut Bench) -> (i64, Vec<alerter::Change>) {
    let mut all = Vec::new();
    for i in 0..8 {
        all.extend(b.feed(i * 60, Some(0.9)));
        all.extend(b.feed(i * 60 + 30, Some(0.1)));
    }
    (8 * 60, all)
}

#[test]
fn a_signal_that_swings_is_kept_firing_and_notified_once_more() {
    let mut b = Bench::new(ABOVE);
    let (_, all) = swung(&mut b);
    let fired = all.iter().filter(|c| c.from == Pending).count();
    let ended = all.iter().filter(|c| c.to == Resolved).count();
    assert_eq!((fired, ended), (3, 2), "after four transitions it stays");
    assert!(all.last().unwrap().pulse.is_flapping());
    assert!(!all[0].pulse.is_flapping());
    assert_eq!(b.phases(), [("warning", Recovering)]);
}

#[test]
fn a_flapping_alert_is_let_go_after_15_calm_minutes_and_then_behaves_as_any_other() {
    let mut b = Bench::new(ABOVE);
    let (s, _) = swung(&mut b);
    assert!(b.hold(s, s + 840, Some(0.1)).is_empty(), "calm for 14.5 minutes");
    let ended = b.hold(s + 855, s + 900, Some(0.1));
    assert_eq!(steps(&ended), [("warning", Recovering, Resolved)]);
    let again = b.feed(s + 915, Some(0.9));
    assert!(!again[0].pulse.is_flapping());
    assert_eq!(steps(&b.feed(s + 930, Some(0.1))), [("warning", Firing, Resolved)]);
}

#[test]
fn a_calm_flapping_alert_whose_condition_holds_goes_on_without_the_mark() {
    let mut b = Bench::new(ABOVE);
    let (s, _) = swung(&mut b);
    let back = b.feed(s, Some(0.9));
    assert_eq!(steps(&back), [("warning", Recovering, Firing)]);
    assert!(b.hold(s + 15, s + 930, Some(0.9)).is_empty());
    assert!(!back[0].pulse.is_flapping());
    assert_eq!(steps(&b.feed(s + 945, Some(0.1))), [("warning", Firing, Resolved)]);
}

#[test]
fn flapping_survives_a_restart() {
    let mut b = Bench::new(ABOVE);
    let (s, _) = swung(&mut b);
    b.restart(ABOVE);
    assert!(b.hold(s + 600, s + 1200, Some(0.1)).is_empty());
    assert_eq!(b.phases(), [("warning", Recovering)]);
}

#[test]
fn four_transitions_an_hour_are_no_flapping() {
    let mut b = Bench::new(ABOVE);
    let mut all = Vec::new();
    for i in 0..4 {
        all.extend(b.hold(i * 1800, i * 1800 + 885, Some(0.9)));
        all.extend(b.hold(i * 1800 + 900, i * 1800 + 1785, Some(0.1)));
    }
    assert_eq!(all.iter().filter(|c| c.to == Resolved).count(), 4);
    assert!(all.iter().all(|c| !c.pulse.is_flapping()));
}

const ERROR: &str = "
policy: lag
scope: platform
signal: {expr: 'redis_connected_slave_lag_seconds * on (instance) redis_connected_slaves'}
compare: '>'
levels: {warning: {fire: 10, for: 30s}}
on_missing: resolve
";

#[test]
fn an_evaluation_error_changes_no_state_and_resolves_nothing() {
    let mut b = Bench::new(ERROR);
    b.row(&replicas(0, &[("10.0.0.1:1", 20.0)])).unwrap();
    b.row(&replicas(15, &[("10.0.0.1:1", 20.0)])).unwrap();
    let fired = b.row(&replicas(30, &[("10.0.0.1:1", 20.0)])).unwrap();
    assert_eq!(steps(&fired), [("warning", Pending, Firing)]);
    for s in (45..600).step_by(15) {
        // Two on a side that must have one: as in Prometheus nothing can be said.
        let both = replicas(s, &[("10.0.0.1:1", 0.0), ("10.0.0.2:1", 0.0)]);
        assert!(b.row(&both).unwrap().is_empty());
    }
    assert_eq!(b.phases(), [("warning", Firing)]);
    let ended = b.row(&replicas(600, &[("10.0.0.1:1", 0.0)])).unwrap();
    assert_eq!(steps(&ended), [("warning", Firing, Resolved)]);
}

#[test]
fn with_group_left_the_same_expression_is_evaluated_for_each_sub_series() {
    let doc =
        ERROR.replace("on (instance)", "on (instance) group_left ()").replace(", for: 30s", "");
    let mut b = Bench::new(&doc);
    let fired = b.row(&replicas(0, &[("10.0.0.1:1", 20.0), ("10.0.0.2:1", 1.0)])).unwrap();
    assert_eq!(steps(&fired), [("warning", Pending, Firing)]);
    assert_eq!(fired[0].identity.labels["slave_ip"], "10.0.0.1");
    assert_eq!(fired[0].value, Some(40.0));
}

const GUARDED: &str = "
policy: frag
scope: platform
signal: {expr: 'redis_mem_fragmentation_ratio and on (instance) redis_memory_used_bytes > 1000'}
compare: '>'
levels: {warning: {fire: 1.5}}
";

#[test]
fn a_guard_that_does_not_hold_resolves_and_a_guard_nobody_can_read_holds() {
    let mut b = Bench::new(GUARDED);
    let row =
        |s, used| fields(s, &[(Field::MemFragmentationRatio, 2.0), (Field::UsedMemory, used)]);
    assert!(b.row(&row(0, 999.0)).unwrap().is_empty());
    assert_eq!(steps(&b.row(&row(15, 2000.0)).unwrap()), [("warning", Pending, Firing)]);
    assert!(b.feed(30, None).is_empty(), "the poll failed: held");
    assert_eq!(b.phases(), [("warning", Firing)]);
    let ended = b.row(&row(45, 999.0)).unwrap();
    assert_eq!(
        (steps(&ended)[0], ended[0].reason.as_str()),
        (("warning", Firing, Resolved), "threshold")
    );
}

const RESETS: &str = "
policy: crash-loop
scope: platform
signal: {metric: redis_uptime_in_seconds}
window: {fn: resets, range: 30m}
compare: '>'
levels: {critical: {fire: 2}}
";

fn uptime(s: i64, up: f64) -> Row {
    fields(s, &[(Field::UptimeInSeconds, up)])
}

#[test]
fn a_window_looks_back_over_failed_polls_and_forgets_what_is_older_than_its_range() {
    let mut b = Bench::new(RESETS);
    let mut fired = Vec::new();
    for s in (0..480).step_by(15) {
        // It began anew at 60, 180 and 300 s, and could not be read in between.
        let up = match s {
            s if s < 60 => 1000.0 + s as f64,
            s => ((s - 60) % 120) as f64,
        };
        fired.extend(match s % 120 {
            45 => b.feed(s, None),
            _ if s < 420 => b.row(&uptime(s, up)).unwrap(),
            _ => b.row(&uptime(s, 120.0 + up)).unwrap(),
        });
    }
    assert_eq!(steps(&fired), [("critical", Pending, Firing)]);
    assert_eq!((fired[0].starts_at, fired[0].value), (at(300), Some(3.0)));
    let mut after = Vec::new();
    for s in (480..2000).step_by(15) {
        after.extend(b.row(&uptime(s, s as f64)).unwrap());
    }
    assert_eq!(steps(&after), [("critical", Firing, Resolved)]);
    // The reset lies between the samples at 30 s and 60 s; at 1 830 s the former is out of range.
    assert_eq!(after[0].at, at(1830));
}

#[test]
fn a_restart_does_not_resolve_what_only_the_past_can_tell() {
    let mut b = Bench::new(RESETS);
    for (i, up) in [900.0, 5.0, 20.0, 5.0, 20.0, 5.0].into_iter().enumerate() {
        b.row(&uptime(i as i64 * 15, up)).unwrap();
    }
    assert_eq!(b.phases(), [("critical", Firing)]);
    b.restart(RESETS);
    assert!(b.row(&uptime(120, 20.0)).unwrap().is_empty());
    assert_eq!(b.phases(), [("critical", Firing)], "its window came back with it");
}

#[test]
fn a_window_is_kept_over_a_change_of_another_policy() {
    let mut b = Bench::new(RESETS);
    for (i, up) in [900.0, 5.0, 20.0, 5.0, 20.0].into_iter().enumerate() {
        b.row(&uptime(i as i64 * 15, up)).unwrap();
    }
    b.replan(&[RESETS, ABOVE], "az-1", 80);
    let fired = b.row(&uptime(90, 3.0)).unwrap();
    assert_eq!(steps(&fired), [("critical", Pending, Firing)]);
}

#[test]
fn the_first_series_of_a_list_that_is_there_counts() {
    let doc = "
policy: clients
scope: platform
signal: {metric: redis_connected_clients, over: [redis_max_clients, redis_config_maxclients]}
compare: '>'
levels: {warning: {fire: 0.8}}
";
    let mut b = Bench::new(doc);
    let both = [(Field::ConnectedClients, 90.0), (Field::Maxclients, 100.0)];
    assert_eq!(b.row(&fields(0, &both)).unwrap()[0].value, Some(0.9));
    assert!(b.row(&fields(15, &both[..1])).unwrap().is_empty(), "neither is there: held");
}

#[test]
fn an_average_of_two_minutes_hides_a_spike_of_one_sample() {
    let doc = ABOVE.replace("compare:", "window: {fn: avg, range: 2m}\ncompare:");
    let mut b = Bench::new(&doc);
    b.hold(0, 120, Some(0.3));
    assert!(b.feed(135, Some(0.99)).is_empty());
    assert_eq!(b.phases(), []);
    assert!(!b.hold(150, 240, Some(0.99)).is_empty());
}

#[test]
fn picked_sub_series_are_judged_alone_and_folded_ones_as_their_largest() {
    let errors = "
policy: oom
scope: platform
signal: {metric: redis_errors_total, where: {err: OOM}}
window: {fn: increase, range: 1m}
compare: '>'
levels: {critical: {fire: 0}}
";
    let row = |s, oom: f64, other: f64| {
        let errors = vec![("OOM".to_string(), oom), ("ERR".to_string(), other)];
        reading(s, true, Facts { errors, ..Facts::default() })
    };
    let mut b = Bench::new(errors);
    assert!(b.row(&row(0, 5.0, 1.0)).unwrap().is_empty());
    assert!(b.row(&row(15, 5.0, 99.0)).unwrap().is_empty());
    let fired = b.row(&row(30, 6.0, 99.0)).unwrap();
    assert_eq!(fired[0].identity.labels["err"], "OOM");

    let folded = "
policy: lag
scope: platform
signal: {metric: redis_connected_slave_lag_seconds, without: [slave_ip, slave_port, slave_state]}
compare: '>'
levels: {warning: {fire: 10}}
";
    let mut b = Bench::new(folded);
    let fired = b.row(&replicas(0, &[("10.0.0.1:1", 2.0), ("10.0.0.2:1", 20.0)])).unwrap();
    assert_eq!((fired.len(), fired[0].value), (1, Some(20.0)));
    assert!(!fired[0].identity.labels.contains_key("slave_ip"));
}

#[test]
fn severity_and_receiver_are_labels_and_external_labels_never_overwrite() {
    let doc = format!("{ABOVE}severity_map: {{warning: P3}}\nroute: {{receiver: pay-team}}\n");
    let mut b = Bench::new(&doc);
    let labels = &b.feed(0, Some(0.9))[0].identity.labels;
    assert_eq!((labels["severity"].as_str(), labels["level"].as_str()), ("P3", "warning"));
    assert_eq!((labels["receiver"].as_str(), labels["region"].as_str()), ("pay-team", "east"));
}

#[test]
fn a_policy_of_prometheus_or_beyond_the_subset_is_delegated_and_held_to_its_tenant() {
    let node = "{policy: load, scope: 'tenant:pay', signal: {expr: 'node_load1 > 4'}, compare: '>', \
                levels: {info: {fire: 0}}}";
    let theirs = format!("{ABOVE}engine: prometheus\n");
    let b = Bench::of(&[node, &theirs]);
    let load = &b.plan.delegated["load@tenant:pay"];
    assert!(load.why.contains("node_load1") && load.expr.contains("tenant=\"pay\""), "{load:?}");
    assert_eq!(b.plan.delegated["above@platform"].why, "engine: prometheus");
    assert!(b.plan.slots[&id()].rules.is_empty());
}

#[test]
fn a_score_without_a_number_is_missing_and_not_a_breach() {
    let doc = "
policy: score
scope: platform
signal: {score: score}
compare: '<'
levels: {warning: {fire: 60}}
";
    let mut b = Bench::new(doc);
    assert!(b.row(&fields(0, &[])).unwrap().is_empty());
    assert_eq!(b.phases(), []);
}
