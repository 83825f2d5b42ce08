//! When a grade moves.

use super::*;
use crate::fixture::T0;

const STEP: i64 = 15_000;

fn at(score: f64) -> Evaluation {
    Evaluation {
        score: Some(score),
        sight: 1.0,
        slack: SLACK_INSTANCE,
        gate_binds: false,
        best: Grade::A,
        rise_ms: RISE_MS,
    }
}

/// Grades after each evaluation, 15 s apart.
fn run(sticky: &mut Sticky, from: At, evaluations: &[Evaluation]) -> Vec<Grade> {
    let step = |(i, e): (usize, &Evaluation)| sticky.step(*e, from + i as i64 * STEP).0;
    evaluations.iter().enumerate().map(step).collect()
}

#[test]
fn bands_are_those_of_the_product() {
    let cases = [(100.0, Grade::A), (90.0, Grade::A), (89.99, Grade::B), (80.0, Grade::B)];
    let more = [(79.99, Grade::C), (60.0, Grade::C), (59.99, Grade::D), (39.99, Grade::E)];
    for (score, grade) in cases.into_iter().chain(more) {
        assert_eq!(band(score), grade, "{score}");
    }
}

#[test]
fn the_first_evaluation_sets_the_grade_at_once() {
    let mut sticky = Sticky::default();
    assert_eq!(sticky.step(at(72.0), T0), (Grade::C, T0));
}

#[test]
fn a_grade_falls_after_two_evaluations_below_its_margin() {
    let grades = run(&mut Sticky::default(), T0, &[at(95.0), at(87.9), at(87.9), at(70.0)]);
    assert_eq!(grades, [Grade::A, Grade::A, Grade::B, Grade::B]);
}

#[test]
fn one_dip_or_a_value_within_the_margin_does_not_change_the_grade() {
    let scores = [95.0, 50.0, 95.0, 88.5, 88.1, 88.0].map(at);
    assert_eq!(run(&mut Sticky::default(), T0, &scores), [Grade::A; 6]);
}

#[test]
fn a_binding_gate_lowers_the_grade_at_once() {
    let gated = Evaluation { gate_binds: true, ..at(59.0) };
    assert_eq!(run(&mut Sticky::default(), T0, &[at(95.0), gated]), [Grade::A, Grade::D]);
}

#[test]
fn a_grade_rises_to_the_best_met_for_five_minutes_without_break() {
    let mut sticky = Sticky::default();
    sticky.step(at(50.0), T0);
    let grades = run(&mut sticky, T0 + STEP, &[at(94.0); 21]);
    assert_eq!((grades[19], grades[20]), (Grade::D, Grade::A));
}

#[test]
fn a_break_starts_the_five_minutes_anew() {
    let mut sticky = Sticky::default();
    sticky.step(at(50.0), T0);
    let mut scores = [at(94.0); 30];
    scores[15] = at(50.0);
    assert!(run(&mut sticky, T0 + STEP, &scores).iter().all(|g| *g == Grade::D));
}

#[test]
fn a_value_hovering_about_a_bound_changes_the_grade_at_most_once() {
    for start in [89.0, 91.0] {
        let mut scores = vec![at(start)];
        scores.extend((0..40).map(|i| at(if i % 2 == 0 { 89.0 } else { 91.0 })));
        let grades = run(&mut Sticky::default(), T0, &scores);
        let changes = grades.windows(2).filter(|g| g[0] != g[1]).count();
        assert!(changes <= 1, "{start}: {changes} changes");
    }
}

#[test]
fn from_and_to_unknown_is_at_once() {
    let none = Evaluation { score: None, sight: 0.3, ..at(0.0) };
    let grades = run(&mut Sticky::default(), T0, &[at(95.0), none, at(70.0)]);
    assert_eq!(grades, [Grade::A, Grade::Unknown, Grade::C]);
}

#[test]
fn losing_sight_of_a_bad_signal_is_not_a_cure() {
    let blind = Evaluation { sight: 0.8, ..at(99.0) };
    let none = Evaluation { score: None, sight: 0.3, ..at(0.0) };
    let mut sticky = Sticky::default();
    sticky.step(at(30.0), T0);
    assert!(run(&mut sticky, T0 + STEP, &[blind; 60]).iter().all(|g| *g == Grade::E));
    // … not by the way of "?" either.
    let after = run(&mut sticky, T0 + 100 * STEP, &[none, blind, blind]);
    assert_eq!(after, [Grade::Unknown, Grade::E, Grade::E]);
    let cured = run(&mut sticky, T0 + 200 * STEP, &[at(99.0); 40]);
    assert_eq!(cured.last(), Some(&Grade::A));
}

#[test]
fn less_confidence_still_lets_a_grade_fall() {
    let blind = Evaluation { sight: 0.8, ..at(70.0) };
    assert_eq!(
        run(&mut Sticky::default(), T0, &[at(95.0), blind, blind]),
        [Grade::A, Grade::A, Grade::C]
    );
}

#[test]
fn a_partial_roll_up_is_never_a() {
    let partial = Evaluation { best: Grade::B, ..at(100.0) };
    assert_eq!(run(&mut Sticky::default(), T0, &[at(100.0), partial]), [Grade::A, Grade::B]);
}

#[test]
fn the_memory_survives_being_stored() {
    let mut sticky = Sticky::default();
    sticky.step(at(85.0), T0);
    sticky.losing(Signal::M1, true, T0);
    let text = serde_json::to_string(&sticky).unwrap();
    assert_eq!(serde_json::from_str::<Sticky>(&text).unwrap(), sticky);
}

#[test]
fn a_rise_and_a_fall_that_were_on_their_way_begin_anew_after_a_gap() {
    let mut rising = Sticky::default();
    run(&mut rising, T0, &[at(70.0), at(95.0)]);
    let mut falling = Sticky::default();
    run(&mut falling, T0, &[at(95.0), at(70.0)]);
    rising.break_off();
    falling.break_off();
    let later = T0 + 10 * RISE_MS;
    assert_eq!(rising.step(at(95.0), later).0, Grade::C, "five minutes are not proven");
    assert_eq!(rising.step(at(95.0), later + RISE_MS).0, Grade::A);
    assert_eq!(run(&mut falling, later, &[at(70.0), at(70.0)]), [Grade::A, Grade::C]);
}
