//! Merging, locks and checks of policy documents, and what a changed policy does to a score.

use model::right::Scope;
use model::score_policy::{PolicyFlaw, ScorePolicyDoc};
use model::service::ProfileFrom;
use model::verdict::Verdict;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fixture::{T0, healthy, id};
use crate::inputs::{Inputs, Seen};
use crate::{Sticky, explain};

const PROFILES: [Profile; 4] = [Profile::Cache, Profile::Store, Profile::Queue, Profile::Session];

#[test]
fn every_built_in_policy_passes_the_check() {
    for profile in PROFILES {
        assert_eq!(Policy::for_profile(profile).check(), Ok(()));
    }
}

#[test]
fn the_table_of_curves_is_in_the_order_of_signals() {
    for (i, (signal, _)) in CURVES.iter().enumerate() {
        assert_eq!(*signal as usize, i);
    }
}

#[test]
fn weights_that_do_not_sum_to_one_are_refused_naming_the_field() {
    let mut policy = Policy::for_profile(Profile::Store);
    policy.weights = [0.4, 0.3, 0.2, 0.2];
    assert!(policy.check().unwrap_err().to_string().starts_with("weights.sum"));
    policy.weights = [0.9, 0.04, 0.03, 0.03];
    assert!(policy.check().unwrap_err().to_string().starts_with("weights.memory"));
}

#[test]
fn a_falling_loss_is_refused_and_the_old_curve_stays() {
    let mut policy = Policy::for_profile(Profile::Store);
    let error = policy.set_curve(Signal::M1, vec![(0.7, 10.0), (0.8, 5.0)]).unwrap_err();
    assert!(error.to_string().starts_with("curves.M1[1]"), "{error}");
    assert_eq!(policy, Policy::for_profile(Profile::Store));
}

fn doc(scope: &str, body: Value) -> ScorePolicyDoc {
    let mut body = body;
    body["scope"] = scope.into();
    serde_json::from_value(body).unwrap()
}

/// Documents in order, with revisions 11, 12, …
fn merged(docs: &[ScorePolicyDoc]) -> Merged {
    let layers: Vec<Layer<'_>> =
        docs.iter().zip(11..).map(|(doc, rev)| Layer { doc, rev }).collect();
    merge(&Base { profile: Profile::Store, service: None, replicas: 2 }, &layers)
}

fn flaws(above: &[ScorePolicyDoc], doc: &ScorePolicyDoc) -> Vec<PolicyFlaw> {
    judge(doc, &merged(above), T0)
}

/// `pointer: detail` of all flaws.
fn said(above: &[ScorePolicyDoc], doc: &ScorePolicyDoc) -> Vec<String> {
    flaws(above, doc).iter().map(|f| format!("{}: {}", f.pointer, f.detail)).collect()
}

fn score(inputs: &Inputs, policy: &Policy) -> model::score::Explained {
    explain(inputs, policy, &id(), &mut Sticky::default(), T0)
}

/// Until a day after `T0`.
fn tomorrow() -> String {
    (T0 + 86_400_000).to_string()
}

const M1: [[f64; 2]; 5] = [[0.7, 0.0], [0.8, 25.0], [0.9, 70.0], [0.95, 90.0], [1.0, 100.0]];

#[test]
fn per_field_the_deepest_setter_wins_and_each_field_keeps_its_origin() {
    let docs = [
        doc("platform", json!({"slowlog_limit_ms": 20.0, "required": {"replicas": 1}})),
        doc("tenant:pay", json!({"curves": {"M1": M1}, "required": {"zones": 3}})),
        doc("system:pay.shop", json!({"slowlog_limit_ms": 5.0})),
        doc("service:pay.cart", json!({"profile": "cache", "slo": {"target": 0.9999}})),
    ];
    let all = merged(&docs);
    let policy = &all.policy;
    assert_eq!((policy.replicas, policy.zones), (Some(1), Some(3)));
    assert_eq!((policy.slowlog_limit_ms, policy.slo_target), (5.0, Some(0.9999)));
    assert_eq!((policy.profile, policy.persistence), (Profile::Cache, Persistence::No));
    assert_eq!(policy.origin(Signal::M1), "tenant pay, rev 12");
    assert_eq!(policy.origin(Signal::M3), "profile cache");
    assert_eq!(policy.origin_of("slowlog_limit_ms"), "system pay.shop, rev 13");
    assert_eq!(policy.used(), PolicyUse { profile: Profile::Cache, revision: 14 });
    assert!(all.ignored.is_empty());
    let shown = all.effective();
    let curve = shown.iter().find(|f| f.field == "curves.M1").unwrap();
    assert_eq!(curve.value, "0.7: 0, 0.8: 25, 0.9: 70, 0.95: 90, 1: 100");
    assert_eq!(curve.origin, "tenant pay, rev 12");
}

#[test]
fn an_explanation_names_the_document_behind_a_threshold_and_the_revision_it_was_made_by() {
    let mut inputs = healthy();
    inputs.used_memory_bytes = Seen::Known(8.8e9);
    let usual = score(&inputs, &Policy::for_profile(Profile::Store));
    let strict = merged(&[doc("tenant:pay", json!({"curves": {"M1": M1}}))]).policy;
    let told = score(&inputs, &strict);
    // 88 %: 52 on the built-in curve, 25 + 45 × 0.8 = 61 on this one, by the weight of memory.
    assert_eq!((usual.score, told.score), (Some(87.0), Some(84.75)));
    let threshold = told.bars[0].threshold.as_ref().unwrap();
    assert_eq!((threshold.at, threshold.origin.as_str()), (0.7, "tenant pay, rev 11"));
    assert_eq!(told.policy.unwrap().revision, 11);
}

#[test]
fn a_signal_that_is_switched_off_costs_nothing_is_named_and_counts_again_after_its_end() {
    let mut inputs = healthy();
    inputs.connections_per_s = Seen::Known(1000.0);
    let off = json!({"off": {"C3": {"reason": "CHG-7", "until": tomorrow()}}});
    let policy = merged(&[doc("tenant:pay", off.clone())]).policy;
    let told = score(&inputs, &policy);
    assert_eq!((told.score, told.confidence), (Some(100.0), 1.0));
    let named = &told.switched_off[0];
    assert_eq!((named.signal.as_str(), named.until), ("C3", Some(T0 + 86_400_000)));
    assert!(named.why.contains("CHG-7") && named.why.contains("tenant pay, rev 11"));
    assert!(told.not_applicable.iter().all(|n| n.signal != "C3"));
    let later = explain(&inputs, &policy, &id(), &mut Sticky::default(), T0 + 86_400_000);
    assert_eq!((later.score, later.switched_off.len()), (Some(88.0), 0));
    let on = doc("service:pay.cart", json!({"off": {"C3": null}}));
    let again = merged(&[doc("tenant:pay", off), on]).policy;
    assert_eq!(score(&inputs, &again).score, Some(88.0), "a deeper scope counts it again");
}

#[test]
fn a_lowered_cap_binds_and_a_gate_the_platform_switched_off_does_not() {
    let mut inputs = healthy();
    inputs.alarms.oom_errors = true;
    let lower = merged(&[doc("tenant:pay", json!({"gates": {"oom_errors": 30.0}}))]).policy;
    assert_eq!(score(&inputs, &lower).score, Some(30.0));
    let off = json!({"off": {"oom_errors": {"reason": "known", "until": tomorrow()}}});
    let none = merged(&[doc("platform", off)]).policy;
    let told = score(&inputs, &none);
    assert_eq!((told.score, told.switched_off[0].signal.as_str()), (Some(100.0), "oom_errors"));
    assert!(told.gates.iter().all(|g| g.gate != "oom_errors"));
}

#[test]
fn persistence_is_judged_where_it_is_required_and_nowhere_else() {
    let mut inputs = healthy();
    inputs.persistence = Seen::Known(3);
    let with = |docs: &[ScorePolicyDoc]| score(&inputs, &merged(docs).policy).score;
    let required = |on: bool| json!({"required": {"persistence": on}});
    assert_eq!(with(&[]), Some(68.0));
    assert_eq!(with(&[doc("tenant:pay", required(false))]), Some(100.0));
    let cache = doc("service:pay.cart", json!({"profile": "cache"}));
    assert_eq!(with(&[doc("tenant:pay", required(true)), cache]), Some(68.0));
}

#[test]
fn entries_below_the_limit_of_the_policy_are_not_slow() {
    let mut inputs = healthy();
    inputs.slow_per_min = Seen::Known(10.0);
    inputs.slow_worst_ms = Seen::Known(12.0);
    inputs.slowlog_limit_ms = Seen::Known(1.0);
    assert_eq!(score(&inputs, &merged(&[]).policy).score, Some(92.0));
    let slower = doc("tenant:pay", json!({"slowlog_limit_ms": 20.0}));
    assert_eq!(score(&inputs, &merged(std::slice::from_ref(&slower)).policy).score, Some(100.0));
    inputs.slow_partial = true;
    let unread = score(&inputs, &merged(&[slower]).policy).score;
    assert_eq!(unread, Some(92.0), "entries nobody read may have been slow");
}

#[test]
fn each_entry_is_held_against_the_limit_of_the_policy() {
    let mut inputs = healthy();
    inputs.slow_per_min = Seen::Known(20.0);
    inputs.slow_share = Seen::Known(0.032);
    inputs.slow_worst_ms = Seen::Known(300.0);
    inputs.slowlog_limit_ms = Seen::Known(1.0);
    inputs.slow_us = vec![300_000, 15_000, 3_000, 2_000];
    for (limit, [count, share, worst]) in [
        (1.0, [20.0, 0.032, 300.0]),
        (10.0, [10.0, 0.0315, 300.0]),
        (20.0, [5.0, 0.03, 300.0]),
        (500.0, [0.0, 0.0, 0.0]),
    ] {
        let policy = merged(&[doc("tenant:pay", json!({"slowlog_limit_ms": limit}))]).policy;
        let measures = crate::measure::measure(&inputs, &policy, T0);
        let value = |signal: Signal| measures[signal as usize].known().unwrap().value;
        let seen = [Signal::S1, Signal::S2, Signal::S3].map(value);
        assert!(
            seen.iter().zip([count, share, worst]).all(|(a, b)| (a - b).abs() < 1e-9),
            "{limit} ms: {seen:?}"
        );
    }
}

#[test]
fn weights_of_a_document_are_the_weights_of_the_score() {
    let mut inputs = healthy();
    inputs.connected_clients = Seen::Known(8_000.0);
    let weights =
        json!({"availability": 0.45, "memory": 0.25, "connections": 0.10, "slowlog": 0.20});
    let policy = merged(&[doc("tenant:pay", json!({"weights": weights}))]).policy;
    inputs.usual_clients = Seen::NotApplicable("no history");
    assert_eq!(score(&inputs, &policy).score, Some(96.5), "35 points of loss at 0.10");
}

#[test]
fn every_refusal_names_its_place_and_what_is_allowed() {
    let weights = |a: f64, m: f64, c: f64, s: f64| json!({"weights": {"availability": a, "memory": m, "connections": c, "slowlog": s}});
    let curve = |name: &str, knots: Value| json!({"curves": {name: knots}});
    let off = |name: &str| json!({"off": {name: {"reason": "r", "until": tomorrow()}}});
    for (body, place, allowed) in [
        (weights(0.4, 0.25, 0.15, 0.21), "/weights: ", "sum to 1"),
        (weights(0.5, 0.3, 0.16, 0.04), "/weights/slowlog: ", "0.05 to 1"),
        (weights(0.25, 0.40, 0.15, 0.20), "/weights/memory: ", "system administrator"),
        (curve("M1", json!([[0.7, 0.0], [0.8, 30.0], [0.9, 20.0]])), "/curves/M1/2: ", "not fall"),
        (curve("M1", json!([[0.7, 0.0], [0.7, 30.0]])), "/curves/M1/1: ", "one way"),
        (curve("M1", json!([[0.7, 0.0]])), "/curves/M1: ", "2 to 12"),
        (curve("M1", json!([[0.7, 0.0], [0.8, 101.0]])), "/curves/M1/1: ", "0 to 100"),
        (curve("M1", json!([[1.0, 0.0], [0.7, 100.0]])), "/curves/M1: ", "must rise"),
        (
            curve("M1", json!([[0.7, 0.0], [0.8, 31.0], [0.9, 60.0], [0.95, 85.0], [1.0, 100.0]])),
            "/curves/M1/1: ",
            "10.0 to 30.0",
        ),
        (curve("M1", json!([[0.9, 0.0], [1.0, 100.0]])), "/curves/M1", "between its knots, at 0.8"),
        (curve("M99", json!([[0.7, 0.0], [1.0, 100.0]])), "/curves/M99: ", "A1, A2"),
        (off("A1"), "/off/A1: ", "below the platform"),
        (off("no_replica"), "/off/no_replica: ", "below the platform"),
        (off("down"), "/off/down: ", "cannot be switched off"),
        (
            json!({"off": {"C3": {"reason": " ", "until": tomorrow()}}}),
            "/off/C3/reason: ",
            "say why",
        ),
        (json!({"off": {"C3": {"reason": "r", "until": T0}}}), "/off/C3/until: ", "ahead"),
        (json!({"gates": {"no_replica": 70.0}}), "/gates/no_replica: ", "69 is in force"),
        (json!({"gates": {"down": 10.0}}), "/gates/down: ", "cannot be set"),
        (json!({"gates": {"gone": 10.0}}), "/gates/gone: ", "oom_errors"),
        (json!({"required": {"replicas": 99}}), "/required/replicas: ", "0 to 20"),
        (json!({"required": {"zones": 0}}), "/required/zones: ", "1 to 9"),
        (json!({"slowlog_limit_ms": 0.0}), "/slowlog_limit_ms: ", "0.1 to 10000"),
        (json!({"slo": {"target": 1.0}}), "/slo/target: ", "0.5 to"),
        (json!({"locked": ["curves.M99"]}), "/locked/0: ", "slowlog_limit_ms"),
    ] {
        let doc = doc("tenant:pay", body);
        let all = said(&[], &doc);
        let found = all.iter().any(|s| s.starts_with(place) && s.contains(allowed));
        assert!(found, "{place} {allowed}: {all:#?}");
    }
}

#[test]
fn only_what_lies_far_from_the_profile_can_be_signed() {
    let knots = json!([[0.7, 0.0], [0.8, 40.0], [0.9, 60.0], [0.95, 85.0], [1.0, 100.0]]);
    let far = doc("tenant:pay", json!({"curves": {"M1": knots}}));
    let all = flaws(&[], &far);
    assert!(!all.is_empty() && all.iter().all(|f| f.signable), "{all:#?}");
    let wrong = doc("tenant:pay", json!({"gates": {"no_replica": 70.0}}));
    assert!(flaws(&[], &wrong).iter().all(|f| !f.signable));
    let near = doc("tenant:pay", json!({"curves": {"M1": M1}}));
    assert_eq!(said(&[], &near), Vec::<String>::new());
}

#[test]
fn what_the_platform_may_say_nobody_below_may() {
    let off =
        json!({"off": {"A1": {"reason": "r", "until": tomorrow()}}, "gates": {"no_replica": 90.0}});
    assert!(said(&[], &doc("platform", off.clone())).is_empty());
    assert_eq!(said(&[], &doc("tenant:pay", off.clone())).len(), 2);
    let sneaked = merged(&[doc("tenant:pay", off)]);
    assert_eq!(sneaked.ignored.len(), 2, "{:?}", sneaked.ignored);
    assert!(sneaked.policy.judges_as(&Policy::for_profile(Profile::Store)));
}

#[test]
fn a_locked_field_can_be_tightened_below_and_not_loosened() {
    let lock = doc(
        "tenant:pay",
        json!({
            "locked": ["profile", "weights", "curves", "off", "gates", "required", "slowlog_limit_ms", "slo"],
            "required": {"replicas": 2, "zones": 2, "persistence": true}, "slo": {"target": 0.999},
        }),
    );
    let loose_m1 = json!([[0.75, 0.0], [0.8, 20.0], [0.9, 60.0], [0.95, 85.0], [1.0, 100.0]]);
    let weights = json!({"availability": 0.45, "memory": 0.25, "connections": 0.1, "slowlog": 0.2});
    for (looser, place) in [
        (json!({"profile": "cache"}), "/profile: "),
        (json!({"weights": weights}), "/weights: "),
        (json!({"curves": {"M1": loose_m1}}), "/curves/M1: "),
        (json!({"off": {"C3": {"reason": "r", "until": tomorrow()}}}), "/off/C3: "),
        (json!({"required": {"replicas": 1}}), "/required/replicas: "),
        (json!({"required": {"zones": 1}}), "/required/zones: "),
        (json!({"required": {"persistence": false}}), "/required/persistence: "),
        (json!({"slowlog_limit_ms": 11.0}), "/slowlog_limit_ms: "),
        (json!({"slo": {"target": 0.99}}), "/slo: "),
    ] {
        let below = doc("service:pay.cart", looser);
        let all = said(std::slice::from_ref(&lock), &below);
        let told =
            all.iter().any(|s| s.starts_with(place) && s.contains("tenant pay, rev 11 locks"));
        assert!(told, "{place}: {all:?}");
        // One that was there before the lock does not count either.
        let both = merged(&[lock.clone(), below]);
        assert_eq!(both.ignored.len(), 1, "{place}");
        assert!(both.policy.judges_as(&merged(std::slice::from_ref(&lock)).policy), "{place}");
    }
    for tighter in [
        json!({"curves": {"M1": M1}}),
        json!({"gates": {"no_replica": 60.0}}),
        json!({"required": {"replicas": 3, "zones": 3}, "slowlog_limit_ms": 5.0}),
        json!({"slo": {"target": 0.9999}, "off": {"C3": null}, "profile": "store"}),
    ] {
        let below = doc("service:pay.cart", tighter);
        assert_eq!(said(std::slice::from_ref(&lock), &below), Vec::<String>::new());
    }
}

#[test]
fn a_profile_given_to_the_service_stands_over_its_tenants_and_a_guessed_one_does_not() {
    let tenant = doc("tenant:pay", json!({"profile": "store"}));
    let layers = [Layer { doc: &tenant, rev: 3 }];
    let profile = |from| {
        let scope = Scope::Service("pay.cart".parse().unwrap());
        let base = Base { profile: Profile::Cache, service: Some((scope, from)), replicas: 0 };
        merge(&base, &layers).policy.profile
    };
    assert_eq!(profile(ProfileFrom::Given), Profile::Cache);
    assert_eq!(profile(ProfileFrom::Guessed), Profile::Store);
    assert_eq!(profile(ProfileFrom::Default), Profile::Store);
}

#[test]
fn a_confirmed_down_stays_at_zero_whatever_the_documents_say() {
    let mut inputs = healthy();
    inputs.verdict = Verdict::Down("gone".into());
    let policy = merged(&[doc("platform", json!({"gates": {"loading": 100.0}}))]).policy;
    assert_eq!(score(&inputs, &policy).score, Some(0.0));
}

/// Any curve over the values where M1 bends: rising losses at rising values.
fn any_curve() -> impl Strategy<Value = Vec<(f64, f64)>> {
    proptest::collection::btree_map(60..=100u32, 0..=100u32, 2..8).prop_map(|points| {
        let mut losses: Vec<u32> = points.values().copied().collect();
        losses.sort_unstable();
        points.keys().zip(losses).map(|(x, l)| (f64::from(*x) / 100.0, f64::from(l))).collect()
    })
}

fn any_doc(scope: &'static str) -> impl Strategy<Value = ScorePolicyDoc> {
    let lock = proptest::sample::subsequence(
        vec!["curves.M1", "required", "slowlog_limit_ms", "off"],
        0..=4,
    );
    let fields = (
        proptest::option::of(any_curve()),
        proptest::option::of(0..4u32),
        proptest::option::of(1..40u32),
        proptest::option::of(proptest::bool::ANY),
        lock,
    );
    fields.prop_map(move |(curve, replicas, slow, off, locked)| {
        let mut doc = ScorePolicyDoc::empty(Scope::try_from(scope.to_string()).unwrap());
        doc.curves.extend(curve.map(|c| ("M1".to_string(), c)));
        doc.required.replicas = replicas;
        doc.slowlog_limit_ms = slow.map(f64::from);
        let until = T0 + 1000;
        let one = |on: bool| (!on).then(|| Off { reason: "r".into(), until });
        doc.off.extend(off.map(|on| ("C3".to_string(), one(on))));
        doc.locked = locked.into_iter().map(str::to_string).collect();
        doc
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn below_a_lock_no_instance_ever_scores_better(
        tenant in any_doc("tenant:pay"), service in any_doc("service:pay.cart"),
        used in 0..=110u32, slow in 0..=40u32, healthy_replicas in 0..=4u32,
    ) {
        let mut locked = tenant;
        locked.locked = ["curves", "required", "slowlog_limit_ms", "off"].map(String::from).into();
        let mut inputs = healthy();
        inputs.used_memory_bytes = Seen::Known(f64::from(used) * 1e8);
        inputs.slow_per_min = Seen::Known(5.0);
        inputs.slow_worst_ms = Seen::Known(f64::from(slow));
        inputs.connections_per_s = Seen::Known(500.0);
        inputs.replicas_healthy = Seen::Known(healthy_replicas);
        let under = |docs: &[ScorePolicyDoc]| {
            let policy = merged(docs).policy;
            let mut inputs = inputs.clone();
            inputs.replicas_required = Seen::Known(policy.replicas.unwrap_or(2));
            score(&inputs, &policy).score.unwrap()
        };
        let alone = under(std::slice::from_ref(&locked));
        let below = under(&[locked, service]);
        prop_assert!(below <= alone + 1e-9, "{below} below, {alone} above");
    }

    #[test]
    fn merging_never_leaves_a_policy_that_does_not_pass_its_check(
        platform in any_doc("platform"), tenant in any_doc("tenant:pay"),
        service in any_doc("service:pay.cart"),
    ) {
        let all = merged(&[platform.clone(), tenant.clone(), service.clone()]);
        prop_assert_eq!(all.policy.check(), Ok(()));
        // A document without flaws counts whole.
        if judge(&service, &merged(&[platform, tenant]), T0).is_empty() {
            prop_assert!(all.ignored.iter().all(|i| i.scope != "service:pay.cart"));
        }
    }
}
