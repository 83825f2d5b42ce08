//! A seeded simulation of the machine: two workers on one store and one world, with crashes, lost
//! replies, lost leases, frozen workers and a person who asks to stop.

use model::At;
use model::operation::{OperationState, Step, StepState};
use serde_json::{Value, json};

use super::machine::{Commit, Heard, Machine, Order, RESUME_MS_MIN, SPENT_MAX, When};
use crate::act::{ActError, Observed};

const LEASE: u64 = 15_000;
const SEND: u64 = 10_000;

/// xorshift64: the same seed gives the same run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
    fn one_in(&mut self, n: u64) -> bool {
        self.roll(n) == 0
    }
}

/// What the store keeps.
struct Kept {
    state: OperationState,
    reason: String,
    steps: Vec<Step>,
    fence: i64,
    lease_until: u64,
    stop: bool,
}

/// One effect per step: whether it is there, and how often it was brought about.
#[derive(Default, Clone)]
struct Effect {
    there: bool,
    applied: u32,
    impossible: bool,
}

struct Worker {
    machine: Machine,
    order: Order,
    fence: i64,
    renewed: u64,
    flushed: u64,
    frozen_until: u64,
}

struct Sim {
    dice: Dice,
    now: u64,
    kept: Kept,
    world: Vec<Effect>,
    workers: [Option<Worker>; 2],
    /// Until then nothing can be seen of the world.
    blind_until: u64,
    /// While true faults are injected; afterwards everything must come to an end.
    hostile: bool,
}

fn step(seq: u32, dice: &mut Dice) -> Step {
    let repeatable = dice.one_in(2);
    Step {
        operation_id: "op".into(),
        seq,
        kind: format!("s{seq}"),
        target: "t".into(),
        title: format!("step {seq}"),
        args: Value::Null,
        commands: vec!["X".into()],
        timeout_ms: 2_000 + dice.roll(60_000) as i64,
        tries: 1 + dice.roll(3) as u32,
        repeatable,
        point_of_no_return: dice.one_in(4),
        state: StepState::Pending,
        attempt: 0,
        undo_attempt: 0,
        started_at: None,
        ended_at: None,
        spent_ms: 0,
        before: Value::Null,
        after: Value::Null,
        error: String::new(),
    }
}

impl Sim {
    fn new(seed: u64) -> Sim {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let n = 1 + dice.roll(5) as u32;
        let steps: Vec<Step> = (0..n).map(|i| step(i, &mut dice)).collect();
        let mut world = vec![Effect::default(); n as usize];
        if dice.one_in(3) {
            let i = dice.roll(u64::from(n)) as usize;
            world[i].impossible = true;
        }
        if dice.one_in(4) {
            let i = dice.roll(u64::from(n)) as usize;
            world[i].there = true;
        }
        let kept = Kept {
            state: OperationState::Queued,
            reason: String::new(),
            steps,
            fence: 0,
            lease_until: 0,
            stop: false,
        };
        Sim { dice, now: 1, kept, world, workers: [None, None], blind_until: 0, hostile: true }
    }

    fn holders(&self) -> usize {
        let may_send = |w: &&Worker| w.fence == self.kept.fence && self.now - w.renewed < SEND;
        let stale = |w: &&Worker| w.fence != self.kept.fence && self.now - w.renewed < SEND;
        let all = || self.workers.iter().flatten();
        assert_eq!(all().filter(stale).count(), 0, "a worker without the lease may still send");
        all().filter(may_send).count()
    }

    fn tick(&mut self) {
        self.now += 10 + self.dice.roll(200);
        let i = self.dice.roll(2) as usize;
        if self.hostile {
            self.harm(i);
        }
        if self.workers[i].as_ref().is_some_and(|w| w.frozen_until > self.now) {
            return;
        }
        match self.workers[i].take() {
            None => self.claim(i),
            Some(worker) => self.go(i, worker),
        }
        assert!(self.holders() <= 1, "two workers may send at once");
    }

    fn harm(&mut self, i: usize) {
        match self.dice.roll(120) {
            0 => self.workers[i] = None,
            1 => self.now += 20_000,
            2 => self.kept.stop = true,
            5 => self.blind_until = self.now + self.dice.roll(150_000),
            3 | 4 => {
                let until = self.now + self.dice.roll(40_000);
                if let Some(w) = &mut self.workers[i] {
                    w.frozen_until = until;
                }
            }
            _ => {}
        }
    }

    fn claim(&mut self, i: usize) {
        use OperationState::{Queued, Running, Unwinding, Verifying};
        let open = matches!(self.kept.state, Queued | Running | Verifying | Unwinding);
        if !open || self.kept.lease_until >= self.now {
            return;
        }
        self.kept.fence += 1;
        self.kept.lease_until = self.now + LEASE;
        if self.kept.state == Queued {
            self.kept.state = Running;
        }
        if self.kept.fence > 1
            && let Some(present) = self.kept.steps.iter_mut().find(|s| s.state != StepState::Done)
        {
            present.spent_ms += store::CLAIM_CHARGE_MS;
        }
        let kept = &self.kept;
        let mut machine = Machine::new(kept.state, kept.reason.clone(), kept.steps.clone());
        let order = machine.start();
        let fence = kept.fence;
        let (renewed, flushed) = (self.now, self.now);
        self.workers[i] = Some(Worker { machine, order, fence, renewed, flushed, frozen_until: 0 });
    }

    fn go(&mut self, i: usize, mut w: Worker) {
        let ours = w.fence == self.kept.fence;
        if ours && !self.dice.one_in(3) {
            self.kept.lease_until = self.now + LEASE;
            w.renewed = self.now;
        }
        if self.now - w.renewed >= SEND {
            return;
        }
        let heard = match w.order.clone() {
            Order::End | Order::Rest => return,
            Order::Ask if !ours => return,
            Order::Ask => Heard::Asked { stop: self.kept.stop },
            Order::Observe { seq, .. } => {
                // As the driver does while it waits.
                if ours && self.now - w.flushed >= store::CLAIM_CHARGE_MS as u64 {
                    w.flushed = self.now;
                    self.kept.steps[seq] = w.machine.steps[seq].clone();
                }
                Heard::Observed(self.observe(&w, seq))
            }
            Order::Commit(commit) => match self.commit(&w, &commit) {
                true => Heard::Committed,
                false => return,
            },
            Order::Apply { seq } => Heard::Applied(self.apply(seq)),
            Order::Undo { seq, .. } => Heard::Undone(self.undo(seq)),
        };
        w.order = w.machine.hear(heard, When { at: At::from_ms(self.now as i64), ms: self.now });
        self.workers[i] = Some(w);
    }

    fn observe(&mut self, _w: &Worker, seq: usize) -> Observed {
        let blind = self.now < self.blind_until;
        if blind || self.hostile && self.dice.one_in(12) {
            return Observed::Unknown("cannot be seen".into());
        }
        match (self.world[seq].there, self.world[seq].impossible) {
            (true, _) => Observed::Wished(json!("there")),
            (false, true) if self.dice.one_in(2) => Observed::Other("impossible".into()),
            (false, _) => Observed::NotYet("not there".into()),
        }
    }

    /// The effect happens at once or not at all; its answer may get lost either way.
    fn apply(&mut self, seq: usize) -> Result<(), ActError> {
        let lost = self.hostile && self.dice.one_in(4);
        if self.world[seq].impossible {
            return Err(ActError::Failed("impossible".into()));
        }
        if self.hostile && self.dice.one_in(6) {
            return Err(ActError::Retry("never arrived".into()));
        }
        self.world[seq].there = true;
        self.world[seq].applied += 1;
        if lost { Err(ActError::Retry("reply lost".into())) } else { Ok(()) }
    }

    fn undo(&mut self, seq: usize) -> Result<(), ActError> {
        if self.hostile && self.dice.one_in(3) {
            return Err(ActError::Retry("undo did not arrive".into()));
        }
        self.world[seq].there = false;
        Ok(())
    }

    fn commit(&mut self, w: &Worker, commit: &Commit) -> bool {
        if w.fence != self.kept.fence {
            return false;
        }
        // The store can fail; the run then ends and somebody resumes.
        if self.hostile && self.dice.one_in(25) {
            return false;
        }
        if let Some(seq) = commit.seq {
            self.kept.steps[seq] = w.machine.steps[seq].clone();
        }
        if let Some((state, reason)) = &commit.state {
            self.kept.state = *state;
            self.kept.reason = reason.clone();
        }
        // Committed, but the worker does not learn it.
        !(self.hostile && self.dice.one_in(25))
    }

    fn check_end(&self) {
        let all_there = self.world.iter().all(|e| e.there);
        let ours_left =
            self.kept.steps.iter().zip(&self.world).any(|(s, e)| s.attempt > 0 && e.there);
        match self.kept.state {
            OperationState::Done => assert!(all_there, "done, but not everything is there"),
            OperationState::Unwound => {
                assert!(!ours_left, "unwound, but something of ours is left");
                let undone = |s: &Step| s.point_of_no_return && s.state == StepState::Undone;
                let applied = |i: usize| self.world[i].applied > 0;
                let past = |(i, s): (usize, &Step)| undone(s) && applied(i);
                assert!(
                    !self.kept.steps.iter().enumerate().any(past),
                    "undone past a point of no return"
                );
            }
            OperationState::Cancelled | OperationState::Refused => {
                assert!(
                    self.world.iter().all(|e| e.applied == 0),
                    "refused, but something was sent"
                );
            }
            OperationState::Stuck => assert!(!self.kept.reason.is_empty()),
            other => panic!("{other:?} is not an end"),
        }
    }
}

fn run(seed: u64) -> OperationState {
    let mut sim = Sim::new(seed);
    for _ in 0..1_500 {
        sim.tick();
        for (step, effect) in sim.kept.steps.iter().zip(&sim.world) {
            let once = step.repeatable || step.undo_attempt > 0 || effect.applied <= 1;
            assert!(once, "a step that is not repeatable was applied {} times", effect.applied);
        }
    }
    (sim.hostile, sim.blind_until) = (false, 0);
    for _ in 0..20_000 {
        if sim.kept.state.is_final() {
            break;
        }
        sim.tick();
    }
    sim.check_end();
    sim.kept.state
}

#[test]
fn under_any_faults_one_worker_acts_and_what_may_not_repeat_happens_once() {
    let mut ends = std::collections::BTreeMap::new();
    for seed in 1..3_000 {
        let end = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|_| panic!("seed {seed}"));
        *ends.entry(end.as_str()).or_insert(0) += 1;
    }
    for state in ["done", "unwound", "stuck", "cancelled", "refused"] {
        assert!(ends.contains_key(state), "no run ended {state}: {ends:?}");
    }
}

/// One worker that never sees the world, and dies `life_ms` after each claim.
fn blind(timeout_ms: i64, life_ms: u64) -> (OperationState, i64) {
    let mut sim = Sim::new(7);
    sim.kept.steps.truncate(1);
    sim.kept.steps[0].timeout_ms = timeout_ms;
    sim.world.truncate(1);
    (sim.hostile, sim.blind_until) = (false, u64::MAX);
    let mut worked = 0;
    for _claims in 0..200 {
        sim.now = sim.now.max(sim.kept.lease_until + 1);
        sim.claim(0);
        let end = sim.now + life_ms;
        while let Some(worker) = sim.workers[0].take().filter(|_| sim.now < end) {
            sim.go(0, worker);
            sim.now += 100;
            worked += 100;
        }
        sim.workers[0] = None;
        if sim.kept.state.is_final() {
            break;
        }
    }
    (sim.kept.state, worked)
}

#[test]
fn a_step_whose_process_dies_again_and_again_does_not_get_its_time_anew() {
    for (timeout_ms, life_ms) in [(20_000, 8_000), (60_000, 4_000), (60_000, 30_000)] {
        let (state, worked) = blind(timeout_ms, life_ms);
        assert!(state.is_final(), "{timeout_ms} {life_ms}: still {state:?} after {worked} ms");
        let limit = SPENT_MAX * timeout_ms + RESUME_MS_MIN;
        assert!(worked <= limit, "{timeout_ms} {life_ms}: worked {worked} ms of {limit}");
    }
}

#[test]
fn a_step_that_is_resumed_has_what_was_left_of_its_time() {
    let (state, worked) = blind(60_000, 40_000);
    assert!(state.is_final());
    assert!((50_000..=61_000).contains(&worked), "worked {worked} ms of 60000");
}
