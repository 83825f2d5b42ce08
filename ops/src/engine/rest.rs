//! Batches in the machine: a wave that went wrong asks a person once, and a stop between waves leaves
//! what was done as it is.

use model::At;
use model::operation::{OperationState, Step, StepState};
use serde_json::{Value, json};

use super::machine::{Heard, Machine, Order, When};
use crate::act::Observed;

fn step(seq: u32, kind: &str, state: StepState) -> Step {
    Step {
        operation_id: "op".into(),
        seq,
        kind: kind.into(),
        target: "az-1".into(),
        title: kind.into(),
        args: Value::Null,
        commands: vec![],
        timeout_ms: 60_000,
        tries: 1,
        repeatable: true,
        point_of_no_return: kind == "wave",
        state,
        attempt: u32::from(state != StepState::Pending),
        undo_attempt: 0,
        started_at: None,
        ended_at: None,
        spent_ms: 0,
        before: Value::Null,
        after: Value::Null,
        error: String::new(),
    }
}

fn batch(states: [StepState; 4]) -> Vec<Step> {
    let kinds = ["close_zone", "wave", "judge", "wave"];
    (0..).zip(kinds.into_iter().zip(states)).map(|(n, (k, s))| step(n, k, s)).collect()
}

fn at(ms: u64) -> When {
    When { at: At::from_ms(ms as i64), ms }
}

use StepState::{Done, Pending, Running};

#[test]
fn a_judge_that_holds_pauses_once_and_goes_on_when_a_person_says_so() {
    let steps = batch([Done, Done, Pending, Pending]);
    let mut machine = Machine::new(OperationState::Running, String::new(), steps);
    assert_eq!(machine.start(), Order::Ask);
    let order = machine.hear(Heard::Asked { stop: false }, at(0));
    assert!(matches!(order, Order::Observe { seq: 2, .. }), "{order:?}");
    let hold = || Heard::Observed(Observed::Hold("two failed in a row".into()));
    let Order::Commit(commit) = machine.hear(hold(), at(1)) else { panic!("nothing committed") };
    assert_eq!(commit.state.unwrap().0, OperationState::Paused);
    assert_eq!(machine.hear(Heard::Committed, at(2)), Order::Rest);

    // Whoever claims it next was let to it by a person.
    let mut again = Machine::new(OperationState::Running, String::new(), machine.steps);
    again.start();
    again.hear(Heard::Asked { stop: false }, at(0));
    let Order::Commit(commit) = again.hear(hold(), at(1)) else { panic!("nothing committed") };
    assert_eq!((commit.seq, commit.state), (Some(2), None));
    assert_eq!(again.steps[2].state, Done);
    assert_eq!(again.steps[2].after["held"], json!("two failed in a row"));
}

#[test]
fn a_stop_between_waves_leaves_what_was_moved() {
    let steps = batch([Done, Done, Running, Pending]);
    let mut machine = Machine::new(OperationState::Running, String::new(), steps);
    machine.start();
    let Order::Commit(commit) = machine.hear(Heard::Asked { stop: true }, at(0)) else { panic!() };
    let (state, reason) = commit.state.unwrap();
    assert_eq!(state, OperationState::Cancelled);
    assert!(reason.contains("1 of 2 waves are done and stay"), "{reason}");
    assert_eq!(machine.hear(Heard::Committed, at(1)), Order::End);
}

#[test]
fn a_stop_in_front_of_the_first_wave_takes_the_mark_back() {
    let steps = batch([Done, Pending, Pending, Pending]);
    let mut machine = Machine::new(OperationState::Running, String::new(), steps);
    machine.start();
    let Order::Commit(commit) = machine.hear(Heard::Asked { stop: true }, at(0)) else { panic!() };
    assert_eq!(commit.state.unwrap().0, OperationState::Unwinding);
}

#[test]
fn a_wave_that_was_begun_is_awaited_before_the_stop() {
    let steps = batch([Done, Running, Pending, Pending]);
    let mut machine = Machine::new(OperationState::Running, String::new(), steps);
    machine.start();
    let order = machine.hear(Heard::Asked { stop: true }, at(0));
    assert!(matches!(order, Order::Observe { seq: 1, .. }), "{order:?}");
    let seen = Heard::Observed(Observed::Wished(json!({})));
    assert!(matches!(machine.hear(seen, at(1)), Order::Commit(_)));
    assert_eq!(machine.hear(Heard::Committed, at(2)), Order::Ask);
    let Order::Commit(commit) = machine.hear(Heard::Asked { stop: true }, at(3)) else { panic!() };
    assert_eq!(commit.state.unwrap().0, OperationState::Cancelled);
}
