//! What a run does next: the pure core of the engine.
//!
//! Invariants: nothing is applied before its intent is committed; a step whose end is not known is
//! observed, never assumed; a step that is not repeatable is applied again only on proof that
//! nothing happened; past a point of no return nothing is undone. Refuses to know: time, stores,
//! servers. It is told what was heard and answers with one order.

use model::At;
use model::operation::{OperationState, Step, StepState};
use serde_json::Value;

use crate::act::{ActError, Observed};

/// Tries to undo a step before a person is called.
pub(crate) const UNDO_TRIES: u32 = 5;
/// Tries a step may have beyond its own, for those a crash took: a step that takes the process down
/// this often is the cause.
const RESUMES_MAX: u32 = 10;
/// A resumed step has at least this long in its run, ms, until it has spent `SPENT_MAX` times its
/// time: what is applied again needs a moment to be seen.
pub(crate) const RESUME_MS_MIN: i64 = 15_000;
/// A step works towards its wish this many times its own time at most, over all runs.
pub(crate) const SPENT_MAX: i64 = 2;
/// First pause between two looks, ms: a promotion takes 170–240 ms.
const LOOK_MS_MIN: u64 = 100;
/// Longest, ms: what the journal and the pages lag at most behind the fleet.
const LOOK_MS_MAX: u64 = 2_000;

/// What the driver has to do next. Each order is answered by one [`Heard`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Order {
    /// Read whether somebody asked to stop.
    Ask,
    /// Observe the step, after a pause.
    Observe { seq: usize, after_ms: u64 },
    /// Commit: the step as it stands in the machine, the state, the lines.
    Commit(Commit),
    /// Apply the step. Its intent is committed.
    Apply { seq: usize },
    /// Undo the step, after a pause. Its intent is committed.
    Undo { seq: usize, after_ms: u64 },
    /// A person has to go on: the lease is given back.
    Rest,
    /// The operation is over.
    End,
}

/// One journal write.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Commit {
    pub(crate) seq: Option<usize>,
    pub(crate) state: Option<(OperationState, String)>,
    pub(crate) lines: Vec<(&'static str, String)>,
}

/// What the driver heard.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Heard {
    Asked { stop: bool },
    Observed(Observed),
    Committed,
    Applied(Result<(), ActError>),
    Undone(Result<(), ActError>),
}

/// When it was heard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct When {
    /// Wall clock, to be written down.
    pub(crate) at: At,
    /// Monotonic milliseconds, for deadlines.
    pub(crate) ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Between,
    Looking,
    Intending,
    Applying,
    /// Applied with that answer; waiting to see it.
    Verifying(Result<(), ActError>),
    /// An end of the present step is being committed.
    Closing,
    /// That a person is asked is being committed.
    Holding,
    UndoIntending {
        after_ms: u64,
    },
    Undoing,
    Over,
}

/// The run of one operation.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) state: OperationState,
    pub(crate) reason: String,
    pub(crate) steps: Vec<Step>,
    seq: usize,
    phase: Phase,
    /// When this run began with the present step, and what the runs before had spent on it.
    begun_ms: u64,
    spent_before_ms: i64,
    /// Pause before the next look.
    pause_ms: u64,
}

impl Machine {
    /// A run over the journalled state.
    pub(crate) fn new(state: OperationState, reason: String, steps: Vec<Step>) -> Machine {
        Machine {
            state,
            reason,
            steps,
            seq: 0,
            phase: Phase::Between,
            begun_ms: 0,
            spent_before_ms: 0,
            pause_ms: LOOK_MS_MIN,
        }
    }

    /// The first order.
    pub(crate) fn start(&mut self) -> Order {
        self.between()
    }

    /// Whether waiting before the next step leaves nothing half done: only on the way forward.
    pub(crate) fn may_pause(&self) -> bool {
        let left = self.steps.iter().any(|s| s.state != StepState::Done);
        self.state == OperationState::Running && left
    }

    /// When the present step's time is over, monotonic ms: what runs before this one have spent of
    /// it is gone.
    pub(crate) fn deadline_ms(&self) -> u64 {
        let timeout = self.steps.get(self.seq).map_or(0, |s| s.timeout_ms);
        let floor = match self.spent_before_ms < SPENT_MAX * timeout {
            true => RESUME_MS_MIN.min(timeout),
            false => 0,
        };
        let left = (timeout - self.spent_before_ms).max(floor);
        self.begun_ms.saturating_add(u64::try_from(left).unwrap_or_default())
    }

    /// Keeps what the present step has spent, so that whatever is committed next says it.
    fn spend(&mut self, now: When) {
        use Phase::{Applying, Intending, Looking, Verifying};
        if matches!(self.phase, Looking | Intending | Applying | Verifying(_)) {
            let here = i64::try_from(now.ms.saturating_sub(self.begun_ms)).unwrap_or(i64::MAX);
            self.steps[self.seq].spent_ms = self.spent_before_ms.saturating_add(here);
        }
    }

    /// Takes what was heard; answers the next order. Something that does not answer the last order
    /// is a fault of the driver: the run ends and is resumed by observation.
    pub(crate) fn hear(&mut self, heard: Heard, now: When) -> Order {
        self.spend(now);
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        match (phase, heard) {
            (Phase::Between, Heard::Asked { stop }) => self.next(stop, now),
            (Phase::Looking, Heard::Observed(seen)) => self.looked(seen, now),
            (Phase::Intending, Heard::Committed) => {
                self.phase = Phase::Applying;
                Order::Apply { seq: self.seq }
            }
            (Phase::Applying, Heard::Applied(answer)) => {
                self.phase = Phase::Verifying(answer);
                self.pause_ms = LOOK_MS_MIN;
                Order::Observe { seq: self.seq, after_ms: 0 }
            }
            (Phase::Verifying(answer), Heard::Observed(seen)) => self.verified(answer, seen, now),
            (Phase::Closing, Heard::Committed) => {
                if self.state.is_final() {
                    return Order::End;
                }
                self.between()
            }
            (Phase::Holding, Heard::Committed) => Order::Rest,
            (Phase::UndoIntending { after_ms }, Heard::Committed) => {
                self.phase = Phase::Undoing;
                Order::Undo { seq: self.seq, after_ms }
            }
            (Phase::Undoing, Heard::Undone(answer)) => self.undone(answer, now),
            _ => Order::End,
        }
    }

    fn between(&mut self) -> Order {
        self.phase = Phase::Between;
        Order::Ask
    }

    fn next(&mut self, stop: bool, now: When) -> Order {
        if self.state == OperationState::Unwinding {
            return self.unwind_next(now);
        }
        let Some(seq) = self.steps.iter().position(|s| s.state != StepState::Done) else {
            return self.close(OperationState::Done, String::new());
        };
        self.seq = seq;
        if stop && self.steps.iter().any(|s| s.stands() && s.attempt > 0) {
            return self.leave_off(now);
        }
        if stop && !self.no_return(self.steps[seq].attempt > 0) {
            return self.stop();
        }
        (self.begun_ms, self.spent_before_ms) = (now.ms, self.steps[seq].spent_ms);
        self.pause_ms = LOOK_MS_MIN;
        self.phase = Phase::Looking;
        Order::Observe { seq, after_ms: 0 }
    }

    /// Whether something happened that cannot be taken back. `maybe`: the present step may have.
    fn no_return(&self, maybe: bool) -> bool {
        self.steps.iter().enumerate().any(|(i, s)| {
            s.point_of_no_return
                && (s.state == StepState::Done && s.attempt > 0 || i == self.seq && maybe)
        })
    }

    fn touched(&self) -> bool {
        self.steps.iter().any(|s| s.attempt > 0)
    }

    fn stop(&mut self) -> Order {
        let reason = "a person asked to stop".to_string();
        if self.touched() {
            return self.turn(OperationState::Unwinding, reason, None);
        }
        self.close(OperationState::Cancelled, reason)
    }

    /// Stops behind what stands by itself. A wave that was begun is awaited first.
    fn leave_off(&mut self, now: When) -> Order {
        let step = &self.steps[self.seq];
        if step.stands() && step.attempt > 0 {
            (self.begun_ms, self.spent_before_ms) = (now.ms, step.spent_ms);
            self.pause_ms = LOOK_MS_MIN;
            self.phase = Phase::Looking;
            return Order::Observe { seq: self.seq, after_ms: 0 };
        }
        let done = self.steps.iter().filter(|s| s.stands() && s.attempt > 0).count();
        let all = self.steps.iter().filter(|s| s.stands()).count();
        let reason = format!("a person asked to stop; {done} of {all} waves are done and stay");
        self.close(OperationState::Cancelled, reason)
    }

    /// A person is asked once per step; who lets it go on has been told why it rests.
    fn hold(&mut self, why: String, now: When) -> Order {
        if self.steps[self.seq].after["held"].is_string() {
            let held = self.steps[self.seq].after["held"].clone();
            return self.done(serde_json::json!({ "held": held, "went_on": true }), now);
        }
        let step = &mut self.steps[self.seq];
        step.state = StepState::Running;
        step.attempt = step.attempt.max(1);
        step.after = serde_json::json!({ "held": why });
        step.error.clone_from(&why);
        step.started_at.get_or_insert(now.at);
        self.state = OperationState::Paused;
        self.reason.clone_from(&why);
        self.phase = Phase::Holding;
        let lines = vec![("outcome", format!("paused until a person lets it go on: {why}"))];
        Order::Commit(Commit { seq: Some(self.seq), state: Some((self.state, why)), lines })
    }

    fn looked(&mut self, seen: Observed, now: When) -> Order {
        let step = &self.steps[self.seq];
        let resumed = step.attempt > 0;
        match seen {
            Observed::Wished(value) => self.done(value, now),
            Observed::Hold(why) => self.hold(why, now),
            Observed::NotYet(why) if !resumed => {
                self.steps[self.seq].before = Value::from(why);
                self.intend(now)
            }
            Observed::NotYet(_) if step.attempt < step.tries + RESUMES_MAX => self.intend(now),
            Observed::NotYet(why) => {
                let reason = format!("after {} tries: {why}", step.attempt);
                self.give_up(reason, step.repeatable, now)
            }
            Observed::Other(why) => self.give_up(why, resumed, now),
            Observed::Unknown(why) if now.ms < self.deadline_ms() => {
                self.phase = Phase::Looking;
                self.log_wait(why);
                self.look_again()
            }
            Observed::Unknown(why) if resumed => self.stuck(unseen(&why), now),
            Observed::Unknown(why) => self.give_up(unseen(&why), false, now),
        }
    }

    fn verified(&mut self, answer: Result<(), ActError>, seen: Observed, now: When) -> Order {
        let in_time = now.ms < self.deadline_ms();
        let step = &self.steps[self.seq];
        match (answer, seen) {
            (_, Observed::Wished(value)) => self.done(value, now),
            (_, Observed::Hold(why)) => self.hold(why, now),
            (_, Observed::Other(why)) => self.give_up(why, true, now),
            (answer, Observed::Unknown(why)) if in_time => {
                self.phase = Phase::Verifying(answer);
                self.log_wait(why);
                self.look_again()
            }
            (_, Observed::Unknown(why)) => self.stuck(unseen(&why), now),
            (Ok(()), Observed::NotYet(why)) if in_time => {
                self.phase = Phase::Verifying(Ok(()));
                self.log_wait(why);
                self.look_again()
            }
            (Ok(()), Observed::NotYet(why)) => {
                let reason = format!("not as wished within {} ms: {why}", step.spent_ms);
                self.give_up(reason, true, now)
            }
            // Nothing happened, says the fleet.
            (Err(ActError::Retry(_)), Observed::NotYet(_))
                if in_time && step.attempt < step.tries =>
            {
                self.intend(now)
            }
            (Err(e), Observed::NotYet(_)) => self.give_up(e.to_string(), false, now),
        }
    }

    /// Why a step still waits, kept where people look; written with the next commit.
    fn log_wait(&mut self, why: String) {
        self.steps[self.seq].error = why;
    }

    fn look_again(&mut self) -> Order {
        let after_ms = self.pause_ms;
        self.pause_ms = (self.pause_ms * 3 / 2).min(LOOK_MS_MAX);
        Order::Observe { seq: self.seq, after_ms }
    }

    fn intend(&mut self, now: When) -> Order {
        let last = self.seq + 1 == self.steps.len();
        let step = &mut self.steps[self.seq];
        step.state = StepState::Running;
        step.attempt += 1;
        step.error.clear();
        step.started_at.get_or_insert(now.at);
        let lines = vec![("intent", format!("try {}: {}", step.attempt, step.title))];
        let verifying = last && step.commands.is_empty() && self.state != OperationState::Verifying;
        if verifying {
            self.state = OperationState::Verifying;
        }
        let state = verifying.then(|| (self.state, self.reason.clone()));
        self.phase = Phase::Intending;
        Order::Commit(Commit { seq: Some(self.seq), state, lines })
    }

    fn done(&mut self, value: Value, now: When) -> Order {
        let step = &mut self.steps[self.seq];
        if step.attempt == 0 {
            step.before = value.clone();
        }
        step.state = StepState::Done;
        step.after = value;
        step.error.clear();
        step.started_at.get_or_insert(now.at);
        step.ended_at = Some(now.at);
        let said = if step.attempt == 0 { "is so already" } else { "done" };
        let lines = vec![("outcome", format!("{}: {said}", step.title))];
        let all = self.steps.iter().all(|s| s.state == StepState::Done);
        if all {
            self.state = OperationState::Done;
            self.reason.clear();
        }
        let state = all.then(|| (self.state, String::new()));
        self.phase = Phase::Closing;
        Order::Commit(Commit { seq: Some(self.seq), state, lines })
    }

    /// The present step ends without its wish. `maybe`: it may have changed something.
    fn give_up(&mut self, why: String, maybe: bool, now: When) -> Order {
        if self.no_return(maybe) {
            return self.stuck(why, now);
        }
        self.fail_step(&why, now);
        let reason = format!("{}: {why}", self.steps[self.seq].title);
        let state = match self.touched() {
            true => OperationState::Unwinding,
            false => OperationState::Refused,
        };
        self.turn(state, reason, Some(self.seq))
    }

    fn stuck(&mut self, why: String, now: When) -> Order {
        self.fail_step(&why, now);
        let reason = format!("{}: {why}; a person has to decide", self.steps[self.seq].title);
        self.turn(OperationState::Stuck, reason, Some(self.seq))
    }

    fn fail_step(&mut self, why: &str, now: When) {
        let step = &mut self.steps[self.seq];
        step.state = StepState::Failed;
        step.error = why.to_string();
        step.ended_at = Some(now.at);
    }

    fn close(&mut self, state: OperationState, reason: String) -> Order {
        self.turn(state, reason, None)
    }

    fn turn(&mut self, state: OperationState, reason: String, seq: Option<usize>) -> Order {
        self.state = state;
        self.reason.clone_from(&reason);
        self.phase = Phase::Closing;
        let lines = vec![("outcome", format!("{}: {reason}", state.as_str()))];
        Order::Commit(Commit { seq, state: Some((state, reason)), lines })
    }

    /// Steps that are done or maybe done, last first. A step that was so already (never tried) is
    /// not ours to take back.
    fn unwind_next(&mut self, now: When) -> Order {
        use StepState::{Done, Failed, Running, Undoing};
        let ours = |s: &Step| s.attempt > 0 && matches!(s.state, Done | Failed | Running | Undoing);
        let Some(seq) = self.steps.iter().rposition(ours) else {
            let reason = self.reason.clone();
            return self.close(OperationState::Unwound, reason);
        };
        self.seq = seq;
        self.pause_ms = LOOK_MS_MIN;
        self.undo_intent(now, 0)
    }

    fn undo_intent(&mut self, now: When, after_ms: u64) -> Order {
        let step = &mut self.steps[self.seq];
        if step.undo_attempt >= UNDO_TRIES {
            return self.undo_stuck(now);
        }
        step.state = StepState::Undoing;
        step.undo_attempt += 1;
        let lines = vec![("undo", format!("undo, try {}: {}", step.undo_attempt, step.title))];
        // Every try to undo has the whole time; the tries are counted.
        (self.begun_ms, self.spent_before_ms) = (now.ms, 0);
        self.phase = Phase::UndoIntending { after_ms };
        Order::Commit(Commit { seq: Some(self.seq), state: None, lines })
    }

    fn undone(&mut self, answer: Result<(), ActError>, now: When) -> Order {
        let step = &mut self.steps[self.seq];
        match answer {
            Ok(()) => {
                step.state = StepState::Undone;
                step.ended_at = Some(now.at);
                let lines = vec![("outcome", format!("undone: {}", step.title))];
                self.phase = Phase::Closing;
                Order::Commit(Commit { seq: Some(self.seq), state: None, lines })
            }
            Err(e) => {
                step.error = e.to_string();
                let pause = self.pause_ms;
                self.pause_ms = (self.pause_ms * 3).min(LOOK_MS_MAX);
                self.undo_intent(now, pause)
            }
        }
    }

    fn undo_stuck(&mut self, now: When) -> Order {
        let step = &mut self.steps[self.seq];
        step.state = StepState::Stuck;
        step.ended_at = Some(now.at);
        let error = step.error.clone();
        let left = |s: &&Step| s.attempt > 0 && s.state != StepState::Undone;
        let orphans: Vec<String> =
            self.steps.iter().filter(left).map(|s| format!("{} of {}", s.kind, s.target)).collect();
        let reason = format!(
            "{}; the undo failed {UNDO_TRIES} times: {error}; orphans: {}",
            self.reason,
            orphans.join(", ")
        );
        self.turn(OperationState::Stuck, reason, Some(self.seq))
    }
}

fn unseen(why: &str) -> String {
    format!("what happened cannot be seen: {why}")
}
