//! The semantics of evaluation, line by line: each test states a rule and shows it on samples.
//! Pure: no store, no network, no clock.
#![allow(clippy::unwrap_used, reason = "clippy does not see that helpers here are tests too")]

mod stage;

use std::sync::Arc;

use alerter::{Ground, Late, Plan};
use model::At;
use model::alert::Phase;
use model::field::Field;
use model::policy::PolicyDoc;
use model::reading::{Facts, ReplicaLink};
use proptest::prelude::*;
use stage::*;

use Phase::{Firing, Pending, Recovering, Resolved};

const DOWN: &str = "
policy: instance-down
scope: platform
alertname: RedisDown
signal: {metric: {name: redis_up}}
compare: '=='
levels: {critical: {fire: 0, for: 1m}}
keep_firing_for: 2m
";

#[test]
fn the_first_true_sample_is_pending_and_fires_when_for_has_passed_by_sample_time() {
    let mut b = Bench::new(DOWN);
    assert!(b.hold(0, 45, None).is_empty());
    assert_eq!(b.phases(), [("critical", Pending)]);
    let fired = b.feed(60, None);
    assert_eq!(steps(&fired), [("critical", Pending, Firing)]);
    assert_eq!(fired[0].starts_at, at(60), "startsAt is when it fired, not when it began");
    assert_eq!(fired[0].identity.labels["alertname"], "RedisDown");
}

#[test]
fn with_for_zero_the_first_true_sample_fires() {
    let mut b = Bench::new(MEMORY);
    assert_eq!(steps(&b.feed(0, Some(0.96))), [("critical", Pending, Firing)]);
    assert_eq!(b.phases(), [("critical", Firing), ("warning", Pending)]);
}

#[test]
fn one_false_sample_deletes_a_pending_alert_whatever_keep_firing_for_says() {
    let mut b = Bench::new(DOWN);
    b.hold(0, 45, None);
    assert!(b.feed(60, Some(0.5)).is_empty());
    assert_eq!(b.phases(), []);
    b.hold(75, 120, None);
    assert_eq!(b.phases(), [("critical", Pending)], "for started anew");
}

#[test]
fn a_value_on_the_threshold_does_not_breach_a_strict_comparison() {
    let mut b = Bench::new(MEMORY);
    assert!(b.feed(0, Some(0.85)).is_empty());
    assert_eq!(b.phases(), []);
}

#[test]
fn keep_firing_for_starts_at_the_first_false_sample_and_any_true_one_resets_it() {
    let mut b = Bench::new(DOWN);
    b.hold(0, 60, None);
    assert_eq!(steps(&b.feed(75, Some(0.5))), [("critical", Firing, Recovering)]);
    assert!(b.hold(90, 180, Some(0.5)).is_empty(), "105 s of 120 s");
    assert_eq!(steps(&b.feed(195, None)), [("critical", Recovering, Firing)]);
    b.feed(210, Some(0.5));
    assert!(b.hold(225, 315, Some(0.5)).is_empty());
    let ended = b.feed(330, Some(0.5));
    assert_eq!(steps(&ended), [("critical", Recovering, Resolved)]);
    assert_eq!((ended[0].starts_at, ended[0].reason.as_str()), (at(60), "threshold"));
}

#[test]
fn an_alert_that_fires_again_is_a_new_one_with_a_new_start() {
    let mut b = Bench::new(MEMORY);
    let first = b.feed(0, Some(0.96));
    b.feed(15, Some(0.5));
    assert_eq!(b.phases(), []);
    let second = b.feed(30, Some(0.96));
    assert_eq!((first[0].starts_at, second[0].starts_at), (at(0), at(30)));
    assert_eq!(first[0].identity.fingerprint, second[0].identity.fingerprint);
}

#[test]
fn values_between_clear_and_fire_make_one_alert_and_no_pending_one() {
    let mut b = Bench::new(MEMORY);
    assert!(b.feed(0, Some(0.83)).is_empty());
    assert_eq!(b.phases(), [], "inactive looks at fire");
    let mut all = b.hold(15, 75, Some(0.86));
    for s in (90..390).step_by(30) {
        all.extend(b.feed(s, Some(0.81)));
        all.extend(b.feed(s + 15, Some(0.86)));
    }
    let ends = all.iter().filter(|c| c.to == Resolved).count();
    let begins = all.iter().filter(|c| c.from == Pending).count();
    assert_eq!((begins, ends), (1, 0));
    b.feed(390, Some(0.81));
    assert_eq!(b.phases(), [("warning", Recovering)]);
    assert_eq!(steps(&b.feed(405, Some(0.80))), [("warning", Recovering, Resolved)]);
}

#[test]
fn warning_then_critical_then_warning_is_one_story_and_warning_keeps_its_start() {
    let mut b = Bench::new(MEMORY);
    let warned = b.hold(0, 60, Some(0.87));
    assert_eq!(steps(&warned), [("warning", Pending, Firing)]);
    assert_eq!(steps(&b.feed(75, Some(0.97))), [("critical", Pending, Firing)]);
    assert_eq!(b.phases(), [("critical", Firing), ("warning", Firing)], "not resolved, inhibited");
    let cleared = b.feed(90, Some(0.87));
    assert_eq!(steps(&cleared), [("critical", Firing, Resolved)]);
    let over = b.feed(105, Some(0.5));
    assert_eq!(steps(&over), [("warning", Firing, Resolved)]);
    assert_eq!(over[0].starts_at, at(60));
}

#[test]
fn missing_data_is_held_then_resolves_as_missing() {
    let mut b = Bench::new(MEMORY);
    b.feed(0, Some(0.96));
    let fired = b.hold(15, 45, None);
    assert!(fired.is_empty());
    assert_eq!(b.phases(), [("critical", Firing), ("warning", Pending)]);
    let ended = b.feed(60, None);
    assert_eq!(steps(&ended), [("critical", Firing, Resolved)]);
    assert_eq!(ended[0].reason, "missing");
    assert_eq!(b.phases(), []);
}

#[test]
fn held_values_count_toward_for() {
    let doc = MEMORY.replace("{hold: 1m}", "{hold: 10m}");
    let mut b = Bench::new(&doc);
    b.feed(0, Some(0.86));
    let fired = b.hold(15, 60, None);
    assert_eq!(steps(&fired), [("warning", Pending, Firing)]);
}

#[test]
fn on_missing_resolve_and_fire_do_what_they_say() {
    let mut b = Bench::new(&MEMORY.replace("{hold: 1m}", "resolve"));
    b.feed(0, Some(0.96));
    let ended = b.feed(15, None);
    assert_eq!(steps(&ended), [("critical", Firing, Resolved)]);
    assert_eq!(ended[0].reason, "missing");

    let mut b = Bench::new(&MEMORY.replace("{hold: 1m}", "fire"));
    assert_eq!(steps(&b.feed(0, None)), [("critical", Pending, Firing)], "the highest level");
    assert_eq!(b.phases(), [("critical", Firing)]);
    b.feed(15, Some(0.5));
    b.hold(30, 90, Some(0.87));
    b.feed(105, None);
    assert_eq!(
        b.phases(),
        [("critical", Firing), ("warning", Firing)],
        "a lower level keeps its state behind the highest"
    );
}

#[test]
fn a_failed_poll_is_down_and_its_other_signals_are_missing() {
    let mut b = Bench::new(DOWN);
    b.plan = build(&[DOWN, MEMORY], "az-1", b.cell());
    b.feed(0, Some(0.96));
    b.feed(15, None);
    assert_eq!(b.phases(), [("critical", Pending), ("critical", Firing), ("warning", Pending)]);
}

#[test]
fn a_divisor_of_zero_is_missing_and_never_a_breach() {
    let mut b = Bench::new(MEMORY);
    let mut facts = Facts::default();
    facts.values.set(Field::UsedMemory, 5e9);
    facts.values.set(Field::Maxmemory, 0.0);
    assert!(b.row(&reading(0, true, facts)).unwrap().is_empty());
    assert_eq!(b.phases(), []);
}

#[test]
fn a_sample_not_newer_than_the_last_is_dropped() {
    let mut b = Bench::new(DOWN);
    b.hold(0, 45, None);
    assert_eq!(b.row(&sample(45, Some(0.5))).err(), Some(Late));
    assert_eq!(b.row(&sample(30, Some(0.5))).err(), Some(Late));
    assert_eq!(b.phases(), [("critical", Pending)], "a late good sample deletes nothing");
}

#[test]
fn a_jump_of_the_clock_never_ends_a_for_early() {
    let mut b = Bench::new(DOWN);
    b.hold(0, 15, None);
    assert!(b.feed(3615, None).is_empty(), "one hour ahead counts as one interval");
    assert!(b.feed(3630, None).is_empty(), "45 s so far");
    assert_eq!(steps(&b.feed(3645, None)), [("critical", Pending, Firing)]);

    let mut b = Bench::new(DOWN);
    b.hold(3600, 3615, None);
    b.now = At::EPOCH;
    assert!(b.feed(15, None).is_empty(), "one hour back is taken up again");
    assert!(b.feed(30, None).is_empty());
    assert_eq!(steps(&b.feed(45, None)), [("critical", Pending, Firing)]);
}

#[test]
fn a_firing_alert_stays_firing_when_its_policy_is_edited_also_when_for_grew() {
    let mut b = Bench::new(MEMORY);
    b.feed(0, Some(0.96));
    let longer = MEMORY.replace("clear: 0.90}", "clear: 0.90, for: 1h}");
    assert!(b.replan(&[&longer], "az-1", 10).is_empty());
    assert!(b.feed(15, Some(0.96)).is_empty());
    assert_eq!(b.phases()[0], ("critical", Firing));
}

#[test]
fn below_the_new_clear_an_edited_alert_resolves_and_says_that_the_policy_changed() {
    let mut b = Bench::new(MEMORY);
    b.feed(0, Some(0.96));
    let higher = MEMORY.replace("fire: 0.95, clear: 0.90", "fire: 0.99, clear: 0.98");
    assert!(b.replan(&[&higher], "az-1", 10).is_empty());
    let ended = b.feed(15, Some(0.96));
    assert_eq!(steps(&ended), [("critical", Firing, Resolved)]);
    assert_eq!(ended[0].reason, "policy_changed");
}

#[test]
fn a_policy_switched_off_or_deleted_or_a_level_removed_ends_its_alerts_at_once() {
    let off = format!("{MEMORY}enabled: false\n");
    let no_critical = MEMORY.replace("  critical: {fire: 0.95, clear: 0.90}\n", "");
    for docs in [vec![off.as_str()], vec![], vec![DOWN], vec![no_critical.as_str()]] {
        let mut b = Bench::new(MEMORY);
        b.feed(0, Some(0.96));
        let ended = b.replan(&docs, "az-1", 10);
        assert_eq!(steps(&ended), [("critical", Firing, Resolved)], "{docs:?}");
        assert_eq!((ended[0].reason.as_str(), ended[0].at), ("policy_changed", at(10)));
    }
}

#[test]
fn an_instance_removed_from_the_inventory_ends_its_alerts_at_once() {
    let mut b = Bench::new(MEMORY);
    b.feed(0, Some(0.96));
    let ended = b.cell().lock().unwrap().end("instance_removed", at(10));
    assert_eq!(steps(&ended), [("critical", Firing, Resolved)], "the pending one just goes");
    assert_eq!(ended[0].reason, "instance_removed");
    assert!(b.cell().lock().unwrap().is_empty());
}

#[test]
fn labels_are_fixed_while_an_alert_lives_and_change_with_the_next_one() {
    let mut b = Bench::new(MEMORY);
    let labels = b.feed(0, Some(0.96))[0].identity.labels.clone();
    let said: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(
        said.join(" "),
        "alertname=MemoryUsed env=prod instance=pay.cart@10.1.0.7:6379 level=critical \
         policy=memory-used region=east service=cart severity=critical system=shop tenant=pay \
         tier=general zone=az-1"
    );
    let team = format!("{MEMORY}labels: {{team: x}}\n");
    assert!(b.replan(&[&team], "az-1", 10).is_empty());
    let ended = b.feed(15, Some(0.5));
    assert_eq!(ended[0].identity.labels, labels);
    assert_eq!(b.feed(30, Some(0.96))[0].identity.labels["team"], "x");
}

#[test]
fn an_instance_that_moves_ends_the_old_set_and_starts_the_new_one_with_the_old_start() {
    let mut b = Bench::new(MEMORY);
    b.feed(0, Some(0.96));
    let moved = b.replan(&[MEMORY], "az-2", 10);
    assert_eq!(
        steps(&moved),
        [("critical", Firing, Resolved), ("critical", Pending, Firing)],
        "one batch"
    );
    assert_eq!((moved[0].starts_at, moved[1].starts_at), (at(0), at(0)));
    assert_eq!(moved[0].identity.labels["zone"], "az-1");
    assert_eq!(moved[1].identity.labels["zone"], "az-2");
    assert_eq!(b.phases(), [("critical", Firing), ("warning", Pending)]);
}

#[test]
fn a_layer_that_breaks_a_policy_is_left_out_and_the_layers_above_it_count() {
    let mut b = Bench::new(MEMORY);
    b.feed(0, Some(0.96));
    let broken = "{policy: memory-used, scope: 'tenant:pay', levels: {warning: {fire: 0.99}}}";
    let docs = [MEMORY, broken].map(|d| serde_saphyr::from_str::<PolicyDoc>(d).unwrap());
    let cell = b.cell();
    let (inventory, external) = (inventory("az-1"), Arc::default());
    let ground = Ground {
        inventory: &inventory,
        docs: &docs,
        external: &external,
        interval_ms: STEP * 1000,
        dialect: Default::default(),
    };
    b.plan = Plan::build(&ground, |_| cell.clone());
    assert!(b.plan.problems["memory-used@tenant:pay"].contains("would fire before warning"));
    let slot = &b.plan.slots[&id()];
    assert!(cell.lock().unwrap().reconcile(slot, at(10)).is_empty(), "nothing was resolved");
    assert_eq!(slot.rules[0].levels[0].fire, 0.85);
}

#[test]
fn each_sub_series_has_its_own_state() {
    let lag = "
policy: replica-lag
scope: platform
signal: {metric: {name: redis_connected_slave_lag_seconds}}
compare: '>'
levels: {warning: {fire: 10}}
on_missing: resolve
";
    let mut b = Bench::new(lag);
    let row = |s: i64, lags: &[(&str, f64)]| {
        let link = |(address, lag_s): &(&str, f64)| ReplicaLink {
            address: address.to_string(),
            state: "online".into(),
            offset: 0.0,
            lag_s: *lag_s,
        };
        let facts = Facts { replicas: lags.iter().map(link).collect(), ..Facts::default() };
        reading(s, true, facts)
    };
    let fired = b.row(&row(0, &[("10.0.0.1:1", 11.0), ("10.0.0.2:1", 2.0)])).unwrap();
    assert_eq!(steps(&fired), [("warning", Pending, Firing)]);
    assert_eq!(fired[0].identity.labels["slave_ip"], "10.0.0.1");
    let both = b.row(&row(15, &[("10.0.0.1:1", 12.0), ("10.0.0.2:1", 20.0)])).unwrap();
    assert_eq!(both[0].identity.labels["slave_ip"], "10.0.0.2");
    let gone = b.row(&row(30, &[("10.0.0.2:1", 20.0)])).unwrap();
    assert_eq!(steps(&gone), [("warning", Firing, Resolved)]);
    assert_eq!(gone[0].identity.labels["slave_ip"], "10.0.0.1");
    // A server that lists endless replicas costs a bounded number of states.
    let many: Vec<String> = (0..500).map(|i| format!("10.9.0.1:{}", i + 1)).collect();
    let many: Vec<(&str, f64)> = many.iter().map(|a| (a.as_str(), 99.0)).collect();
    b.row(&row(45, &many)).unwrap();
    assert!(b.phases().len() <= alerter::signal::SUB_SERIES_MAX);
}

#[test]
fn down_time_never_counts_toward_for() {
    let mut b = Bench::new(DOWN);
    b.hold(0, 30, None);
    b.restart(DOWN);
    assert!(b.feed(3000, None).is_empty(), "30 s so far");
    assert!(b.feed(3015, None).is_empty());
    assert_eq!(steps(&b.feed(3030, None)), [("critical", Pending, Firing)]);
}

#[test]
fn a_short_down_time_does_not_count_either() {
    let mut b = Bench::new(DOWN);
    b.hold(0, 30, None);
    b.restart(DOWN);
    assert!(b.feed(45, None).is_empty());
    assert!(b.feed(60, None).is_empty(), "45 s watched");
    assert_eq!(steps(&b.feed(75, None)), [("critical", Pending, Firing)]);
}

#[test]
fn a_firing_alert_survives_a_restart_with_start_and_fingerprint() {
    let mut b = Bench::new(DOWN);
    let fired = b.hold(0, 60, None);
    b.restart(DOWN);
    assert!(b.feed(900, None).is_empty(), "no step: it goes on firing");
    b.feed(915, Some(0.1));
    let ended = b.hold(930, 1035, Some(0.1));
    assert_eq!(steps(&ended), [("critical", Recovering, Resolved)]);
    assert_eq!(ended[0].starts_at, at(60));
    assert_eq!(ended[0].identity.fingerprint, fired[0].identity.fingerprint);
}

#[test]
fn a_recovering_alert_goes_on_with_the_rest_of_its_time_after_a_restart() {
    let mut b = Bench::new(DOWN);
    b.hold(0, 60, None);
    b.hold(75, 135, Some(0.1));
    b.restart(DOWN);
    assert!(b.hold(5000, 5045, Some(0.1)).is_empty(), "60 s before, 45 s after");
    assert_eq!(steps(&b.feed(5060, Some(0.1))), [("critical", Recovering, Resolved)]);
}

#[test]
fn what_healed_during_the_down_time_is_resolved_by_the_first_good_sample() {
    let mut b = Bench::new(MEMORY);
    b.feed(0, Some(0.96));
    b.restart(MEMORY);
    assert_eq!(steps(&b.feed(600, Some(0.2))), [("critical", Firing, Resolved)]);
}

#[test]
fn missing_data_is_not_held_against_down_time() {
    let mut b = Bench::new(MEMORY);
    b.feed(0, Some(0.96));
    b.feed(15, None);
    b.restart(MEMORY);
    assert!(b.feed(9000, None).is_empty(), "held for 15 s of 60 s, whatever the clock says");
}

proptest! {
    #[test]
    fn late_and_repeated_samples_change_nothing(
        breached in proptest::collection::vec(any::<bool>(), 4..40),
        late in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 0_i64..600), 0..60),
    ) {
        let value = |breached: bool| if breached { None } else { Some(0.1) };
        let mut clean = Bench::new(DOWN);
        let mut noisy = Bench::new(DOWN);
        for (i, b) in breached.iter().enumerate() {
            let s = i as i64 * STEP;
            let wanted = steps(&clean.feed(s, value(*b)));
            let got = steps(&noisy.feed(s, value(*b)));
            prop_assert_eq!(wanted, got);
            for (when, b, back) in &late {
                if when.index(breached.len()) == i {
                    prop_assert!(noisy.row(&sample(s - back, value(*b))).is_err());
                }
            }
            prop_assert_eq!(clean.phases(), noisy.phases());
        }
    }

    #[test]
    fn no_sequence_of_samples_fires_before_its_for_was_watched(
        gaps in proptest::collection::vec(1_i64..200, 1..60),
    ) {
        let mut b = Bench::new(DOWN);
        let (mut s, mut watched) = (0, 0);
        b.feed(0, None);
        for gap in gaps {
            s += gap;
            watched += if gap > 2 * STEP { STEP } else { gap };
            let fired = b.feed(s, None).iter().any(|c| c.to == Firing);
            prop_assert!(!fired || watched >= 60);
            if fired {
                break;
            }
        }
    }
}
