//! The worked examples, and what must hold for any inputs.

mod whole;

use model::score::Grade;
use model::service::Profile;
use proptest::prelude::*;

use super::*;
use crate::fixture::{T0, healthy, id, sum};
use crate::inputs::{Alarms, Growth, Inputs, SLOTS};
use crate::measure::{Measure, judge};
use crate::whatif::{Overrides, whatif};
use crate::window::SlowTop;

fn store() -> Policy {
    Policy::for_profile(Profile::Store)
}

fn once(inputs: &Inputs, policy: &Policy) -> Explained {
    explain(inputs, policy, &id(), &mut Sticky::default(), T0)
}

/// 1 of 2 replicas missing, 88 % of 10 GB used and growing, 65 % of maxclients, 0.8 slow/min.
fn example() -> Inputs {
    Inputs {
        replicas_healthy: Seen::Known(1),
        used_memory_bytes: Seen::Known(8.8e9),
        growth: Seen::Known(Growth { level_bytes: 8.8e9, bytes_per_day: 1.2e9 / 9.0 }),
        rss_bytes: Seen::Known(9e9),
        connected_clients: Seen::Known(6500.0),
        usual_clients: Seen::Known(6500.0),
        slow_per_min: Seen::Known(0.8),
        ..healthy()
    }
}

#[test]
fn a_healthy_instance_scores_exactly_100() {
    let explained = once(&healthy(), &store());
    assert_eq!((explained.score, explained.grade), (Some(100.0), Grade::A));
    assert!(explained.bars.is_empty() && explained.unknown.is_empty());
    assert!((explained.confidence - 1.0).abs() < 1e-12);
}

#[test]
fn the_worked_waterfall_has_these_bars() {
    let explained = once(&example(), &store());
    let bars: Vec<(&str, f64, String)> = explained
        .bars
        .iter()
        .map(|b| {
            (b.signal.as_str(), b.points, format!("{:.2} × {} × {:.2}", b.loss, b.share, b.weight))
        })
        .collect();
    let expected = [
        ("A5", 10.0, "25.00 × 1 × 0.40"),
        ("M1", 13.0, "52.00 × 1 × 0.25"),
        ("M5", 2.59, "41.43 × 0.25 × 0.25"),
        ("C1", 0.75, "5.00 × 1 × 0.15"),
        ("S1", 1.6, "8.00 × 1 × 0.20"),
    ];
    assert_eq!(bars, expected.map(|(s, p, t)| (s, p, t.to_owned())));
    assert_eq!((explained.score, explained.grade), (Some(72.06), Grade::C));
    assert_eq!(sum(&explained), 10_000);
    assert_eq!(explained.bars[0].text, "1 of 2 replicas missing");
    assert_eq!(explained.bars[1].text, "used 88 % of maxmemory (8.8 of 10.0 GB), noeviction");
    assert_eq!(explained.bars[2].text, "full in 9 days");
}

#[test]
fn the_worked_suggestions_have_these_gains() {
    let explained = once(&example(), &store());
    let shown: Vec<(f64, f64)> = explained.suggestions.iter().map(|s| (s.score, s.gain)).collect();
    assert_eq!(shown, [(85.36, 13.3), (82.06, 10.0), (73.66, 1.6)]);
    let first = &explained.suggestions[0];
    assert_eq!(first.overrides, serde_json::json!({"maxmemory_bytes": 12e9}));
    assert_eq!(first.feasible, Some(true));
}

#[test]
fn a_suggestion_is_what_whatif_answers() {
    let explained = once(&example(), &store());
    for suggestion in explained.suggestions {
        let overrides: Overrides = serde_json::from_value(suggestion.overrides).unwrap();
        let changed = whatif(&example(), &overrides, &store(), &id(), T0);
        assert_eq!(changed.score, Some(suggestion.score));
        assert_eq!(sum(&changed), 10_000);
    }
}

#[test]
fn of_slow_commands_the_one_that_blocks_most_is_named_and_the_others_stay() {
    let slow = Inputs {
        slow_per_min: Seen::Known(6.0),
        slow_share: Seen::Known(0.05),
        slow_worst_ms: Seen::Known(900.0),
        slow_us: vec![900_000, 20_000, 30_000],
        ..healthy()
    };
    let top = |count| SlowTop { cmd: "config|get".into(), count, time: 0.9, others_us: 30e3 };
    let advice = |inputs: &Inputs| {
        let all = once(inputs, &store()).suggestions;
        all.iter().map(|s| (s.text.clone(), s.overrides.clone())).collect::<Vec<_>>()
    };
    let named = advice(&Inputs { slow_top: Some(top(0.5)), ..slow.clone() });
    assert_eq!(named[0].0, "get rid of slow CONFIG GET commands");
    let wanted =
        serde_json::json!({"slow_per_min": 3.0, "slow_share": 0.005, "slow_worst_ms": 30.0});
    assert_eq!(named[0].1, wanted);
    assert_eq!(advice(&slow)[0].0, "get rid of the slow commands");
}

/// Only these signals, everything else at no loss.
fn with(policy: &Policy, losing: &[(Signal, f64)]) -> Measures {
    let mut measures =
        [Seen::Known(Measure { value: 0.0, loss: 0.0, threshold: 0.0, second: false });
            Signal::COUNT];
    for (signal, value) in losing {
        measures[*signal as usize] = Seen::Known(judge(policy, *signal, *value, false));
    }
    measures
}

#[test]
fn a_full_cache_with_light_evictions_stays_a_and_noeviction_does_not() {
    let cache = Policy::for_profile(Profile::Cache);
    let raw = |losing: &[(Signal, f64)]| tally(&with(&cache, losing), &cache).raw;
    let evictions = (Signal::M2, 0.0005);
    assert_eq!(raw(&[(Signal::M1c, 0.999), evictions]), Some(9458));
    assert_eq!(raw(&[(Signal::M1, 0.999), evictions]), Some(7500));
    assert_eq!(raw(&[(Signal::M1c, 0.999), evictions, (Signal::M5, 0.0)]), Some(7579));
}

#[test]
fn a_survivor_that_sees_a_hundredth_of_the_slots_unserved_has_72_8() {
    let (policy, hole) = (store(), SLOTS / 100.0);
    assert!((judge(&policy, Signal::A8, 0.01, false).loss - 68.0).abs() < 1e-9);
    let inputs = Inputs { slots_unserved: Seen::Known(hole), ..healthy() };
    assert_eq!(once(&inputs, &policy).score, Some(72.8));
    let full = Inputs { slots_unserved: Seen::Known(0.0), ..healthy() };
    assert_eq!(once(&full, &policy).score, Some(100.0));
}

#[test]
fn a_suspected_node_loses_at_least_40() {
    let inputs = Inputs { slots_unserved: Seen::Known(0.0), pfail: true, ..healthy() };
    let explained = once(&inputs, &store());
    assert_eq!((explained.bars[0].signal.as_str(), explained.bars[0].loss), ("A8", 40.0));
}

#[test]
fn the_same_full_cache_through_its_inputs() {
    let full = Inputs {
        used_memory_bytes: Seen::Known(9.99e9),
        maxmemory_policy: "allkeys-lru".into(),
        evicted: Seen::Known(150.0),
        growth: Seen::NotApplicable("no history yet"),
        ..healthy()
    };
    let cache = Policy::for_profile(Profile::Cache);
    let lru = once(&full, &cache);
    assert_eq!((lru.score, lru.grade), (Some(94.58), Grade::A));
    let noeviction =
        Inputs { maxmemory_policy: "noeviction".into(), evicted: Seen::Known(0.0), ..full };
    let explained = once(&noeviction, &cache);
    assert_eq!((explained.score, explained.grade), (Some(75.08), Grade::C));
}

#[test]
fn the_same_signal_counts_whole_when_worst_and_a_quarter_otherwise() {
    let policy = store();
    let both = tally(&with(&policy, &[(Signal::C1, 0.9), (Signal::C3, 200.0)]), &policy);
    assert_eq!(both.losses[2], Some(70.0 + 0.25 * 30.0));
    let shares: Vec<_> = both.pieces.iter().map(|p| (p.signal, p.share)).collect();
    assert_eq!(shares, [(Signal::C1, 1.0), (Signal::C3, 0.25)]);
}

#[test]
fn of_equal_losses_the_lower_id_is_the_worst() {
    let policy = store();
    let equal = tally(&with(&policy, &[(Signal::C1, 1.0), (Signal::C2, 10.0)]), &policy);
    assert_eq!(equal.pieces[0].signal, Signal::C1);
}

#[test]
fn a_confirmed_down_is_a_known_zero() {
    let inputs = Inputs { verdict: Verdict::Down("3 failed polls".into()), ..healthy() };
    let explained = once(&inputs, &store());
    assert_eq!((explained.score, explained.grade), (Some(0.0), Grade::E));
    assert_eq!(explained.confidence, 1.0);
    assert_eq!(sum(&explained), 10_000);
    assert!(explained.gates.iter().any(|g| g.gate == "down" && g.binds));
    assert_eq!(explained.not_applicable.len(), Signal::COUNT);
}

#[test]
fn a_grade_rises_again_after_a_down_although_not_everything_can_be_read() {
    let (policy, mut sticky) = (store(), Sticky::default());
    let unread = Seen::Unknown { reason: "not_read", needs: "" };
    let up = Inputs { command_p99_ms: unread, slowlog_limit_ms: unread, ..healthy() };
    let dead = Inputs { verdict: Verdict::Down("gone".into()), ..up.clone() };
    let mut grade = |inputs: &Inputs, i: i64| {
        explain(inputs, &policy, &id(), &mut sticky, T0 + i * 15_000).grade
    };
    assert_eq!((grade(&up, 0), grade(&dead, 1)), (Grade::A, Grade::E));
    assert_eq!((grade(&up, 2), grade(&up, 22)), (Grade::E, Grade::A));
}

#[test]
fn an_unknown_verdict_has_no_number_and_says_why() {
    let probes = Seen::Unknown { reason: "auth", needs: "a password" };
    let inputs = Inputs { verdict: Verdict::Unknown("auth".into()), probes, ..healthy() };
    let explained = once(&inputs, &store());
    assert_eq!((explained.score, explained.grade), (None, Grade::Unknown));
    assert!(explained.reason.contains("auth"), "{}", explained.reason);
    assert_eq!(explained.unknown[0].signal, "A1");
    assert!(explained.suggestions.is_empty());
}

#[test]
fn below_six_tenths_confidence_there_is_no_number() {
    let policy = store();
    let mut measures = with(&policy, &[]);
    for signal in Signal::all().iter().filter(|s| s.dimension() > 0) {
        measures[*signal as usize] = Seen::Unknown { reason: "stale", needs: "" };
    }
    let blind = tally(&measures, &policy);
    assert!((blind.confidence - 0.4).abs() < 1e-9);
    assert_eq!(blind.raw, None);
}

#[test]
fn the_lowest_gate_that_holds_limits_the_score_and_takes_the_rest() {
    let mut inputs = example();
    inputs.alarms.oom_errors = true;
    inputs.alarms.writes_refused = true;
    let explained = once(&inputs, &store());
    let gates: Vec<(&str, bool, f64)> = explained
        .gates
        .iter()
        .filter(|g| g.holds)
        .map(|g| (g.gate.as_str(), g.binds, g.points))
        .collect();
    assert_eq!(gates, [("writes_refused", true, 33.06), ("oom_errors", false, 0.0)]);
    assert_eq!((explained.score, explained.raw), (Some(39.0), Some(72.06)));
    assert_eq!((explained.grade, sum(&explained)), (Grade::E, 10_000));
}

#[test]
fn without_maxmemory_the_host_is_the_limit_and_it_costs_something() {
    let inputs = Inputs {
        maxmemory_bytes: Seen::Known(0.0),
        growth: Seen::NotApplicable("no history yet"),
        ..healthy()
    };
    let explained = once(&inputs, &store());
    assert_eq!(explained.score, Some(96.25));
    assert!(explained.bars[0].text.starts_with("maxmemory is not set"));
    assert!(explained.not_applicable.iter().any(|n| n.signal == "M3"));
}

#[test]
fn a_bar_remembers_since_when_it_loses() {
    let (policy, mut sticky) = (store(), Sticky::default());
    explain(&healthy(), &policy, &id(), &mut sticky, T0);
    let first = explain(&example(), &policy, &id(), &mut sticky, T0 + 15_000);
    let later = explain(&example(), &policy, &id(), &mut sticky, T0 + 30_000);
    assert_eq!(first.bars[0].since, Some(T0 + 15_000));
    assert_eq!(later.bars[0].since, first.bars[0].since);
}

/// A value somewhere around a signal's curve, and a worse one.
fn value_and_worse(signal: Signal) -> impl Strategy<Value = (f64, f64)> {
    let policy = store();
    let knots = policy.curve(signal).knots().to_vec();
    let (first, last) = (knots[0].0, knots[knots.len() - 1].0);
    let span = last - first;
    (-0.2..1.4f64, 0.0..1.0f64).prop_map(move |(t, more)| {
        let value = first + t * span;
        (value, value + more * span)
    })
}

#[derive(Debug, Clone)]
enum Slot {
    Value(f64, f64, bool),
    Silent(bool),
}

fn slots() -> impl Strategy<Value = Vec<Slot>> {
    let each: Vec<_> = Signal::all()
        .iter()
        .map(|signal| {
            prop_oneof![
                8 => (value_and_worse(*signal), any::<bool>()).prop_map(|((v, w), f)| Slot::Value(v, w, f)),
                1 => any::<bool>().prop_map(Slot::Silent),
            ]
        })
        .collect();
    each
}

fn measures(policy: &Policy, slots: &[Slot], worse: Option<usize>) -> Measures {
    let mut out = [Seen::NotApplicable("not here"); Signal::COUNT];
    for (i, signal) in Signal::all().iter().enumerate() {
        out[i] = match &slots[i] {
            Slot::Value(value, bad, floored) => {
                let value = if worse == Some(i) { *bad } else { *value };
                Seen::Known(judge(policy, *signal, value, *floored))
            }
            Slot::Silent(true) => Seen::Unknown { reason: "stale", needs: "" },
            Slot::Silent(false) => Seen::NotApplicable("not here"),
        };
    }
    out
}

fn total(tally: &Tally) -> Option<i64> {
    let exact: Vec<f64> = tally.pieces.iter().map(|p| p.points).collect();
    let raw = tally.raw?;
    Some(raw + split(&exact, ALL - raw).iter().sum::<i64>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn bars_add_up_and_a_worse_signal_never_scores_better(
        slots in slots(),
        which in 0..Signal::COUNT,
    ) {
        let policy = store();
        let before = tally(&measures(&policy, &slots, None), &policy);
        let after = tally(&measures(&policy, &slots, Some(which)), &policy);
        if let (Some(b), Some(a)) = (before.raw, after.raw) {
            prop_assert!((0..=ALL).contains(&b));
            prop_assert!(a <= b, "{a} after {b}");
        }
        prop_assert_eq!(before.raw.is_some(), after.raw.is_some());
        prop_assert!(total(&before).is_none_or(|t| t == ALL));
        prop_assert!(total(&after).is_none_or(|t| t == ALL));
    }

    #[test]
    fn a_signal_out_of_sight_scores_no_better_than_a_healthy_one_and_lowers_confidence(
        slots in slots(),
        which in 0..Signal::COUNT,
    ) {
        let policy = store();
        let mut known = measures(&policy, &slots, None);
        known[which] = Seen::Known(Measure { value: 0.0, loss: 0.0, threshold: 0.0, second: false });
        let mut blind = known;
        blind[which] = Seen::Unknown { reason: "stale", needs: "" };
        let (known, blind) = (tally(&known, &policy), tally(&blind, &policy));
        prop_assert!(blind.confidence <= known.confidence);
        if let (Some(b), Some(k)) = (blind.raw, known.raw) {
            prop_assert!(b <= k, "{b} blind, {k} seen");
        }
    }

    #[test]
    fn a_grade_never_rises_by_losing_sight(
        slots in slots(),
        which in 0..Signal::COUNT,
    ) {
        let policy = store();
        let seen = tally(&measures(&policy, &slots, None), &policy);
        let mut blind = measures(&policy, &slots, None);
        if matches!(blind[which], Seen::Known(_)) {
            blind[which] = Seen::Unknown { reason: "stale", needs: "" };
        }
        let blind = tally(&blind, &policy);
        let mut sticky = Sticky::default();
        let step = |t: &Tally| Evaluation {
            score: t.raw.map(points), sight: t.confidence,
            slack: SLACK_INSTANCE, gate_binds: false, best: Grade::A, rise_ms: policy.rise_ms,
        };
        let (first, _) = sticky.step(step(&seen), T0);
        for i in 1..30 {
            let (grade, _) = sticky.step(step(&blind), T0 + i * 15_000);
            prop_assert!(first == Grade::Unknown || grade.number() <= first.number());
        }
    }

    #[test]
    fn a_gate_always_limits_and_the_waterfall_still_adds_up(
        used in 0.0..1.2f64, clients in 0.0..1.1f64, slow in 0.0..400.0f64, lost in 0..3u32,
        alarms in any::<[bool; 6]>(),
    ) {
        let [two_masters, cluster_fail, writes_refused, loading, oom_errors, rejected_connections] =
            alarms;
        let inputs = Inputs {
            used_memory_bytes: Seen::Known(used * 10e9),
            connected_clients: Seen::Known(clients * 10_000.0),
            slow_per_min: Seen::Known(slow),
            replicas_healthy: Seen::Known(lost),
            slots_unserved: Seen::Known(0.0),
            alarms: Alarms {
                two_masters, cluster_fail, writes_refused, loading, oom_errors,
                rejected_connections,
            },
            ..healthy()
        };
        let explained = once(&inputs, &store());
        let score = explained.score.unwrap();
        prop_assert_eq!(sum(&explained), ALL);
        prop_assert_eq!(explained.gates.iter().filter(|g| g.holds).count(),
            alarms.iter().filter(|a| **a).count());
        for gate in explained.gates.iter().filter(|g| g.holds) {
            prop_assert!(score <= gate.cap);
        }
        for suggestion in &explained.suggestions {
            prop_assert!(suggestion.gain >= 0.5 && suggestion.score <= 100.0);
        }
    }
}
