//! Which gates of an instance hold, and how a cap meets a raw score.
//!
//! Invariant: the score is never above the cap of a gate that holds; at most one gate binds, the
//! lowest, and the points it takes are raw − score exactly.

use model::At;
use model::score::GateState;

use crate::exact::{cents, points};
use crate::inputs::{Inputs, Seen};
use crate::policy::{Counted, Gate, Policy};

/// A gate with its cap now.
#[derive(Debug, Clone)]
pub(crate) struct Cap {
    pub gate: Gate,
    /// Hundredths.
    pub cents: i64,
    pub holds: bool,
    /// One sentence, empty while it does not hold.
    pub text: String,
}

impl Cap {
    /// A gate with the cap a policy gives it.
    pub fn of(policy: &Policy, gate: Gate, holds: bool, text: &str) -> Cap {
        let text = if holds { text.to_owned() } else { String::new() };
        Cap { gate, cents: cents(policy.cap(gate)), holds, text }
    }
}

/// The gates a policy counts now.
pub(crate) fn counted(mut caps: Vec<Cap>, policy: &Policy, now: At) -> Vec<Cap> {
    caps.retain(|cap| policy.is_off(Counted::Gate(cap.gate), now).is_none());
    caps
}

/// Whether something is judged at the level of an instance.
pub(crate) fn is_of_instance(what: Counted) -> bool {
    match what {
        Counted::Signal(_) => true,
        Counted::Gate(gate) => !is_of_shard(gate) || gate == Gate::TwoMasters,
    }
}

/// Whether a gate is one of a shard.
pub(crate) fn is_of_shard(gate: Gate) -> bool {
    use Gate::{NoFailover, NoMaster, NoReplica, OneZone, TwoMasters};
    matches!(gate, NoFailover | NoMaster | NoReplica | OneZone | TwoMasters)
}

/// The gates of an instance that answers or did lately.
pub(crate) fn of_instance(inputs: &Inputs, policy: &Policy, now: At) -> Vec<Cap> {
    let alarms = &inputs.alarms;
    let cap = |gate, holds, text: &str| Cap::of(policy, gate, holds, text);
    let mut caps = vec![
        cap(
            Gate::TwoMasters,
            alarms.two_masters,
            "another writable master claims the same data: writes are being lost",
        ),
        cap(
            Gate::WritesRefused,
            alarms.writes_refused,
            "this master refuses writes (MISCONF, NOREPLICAS or READONLY)",
        ),
        cap(Gate::Loading, alarms.loading, "it is loading its data and serves nobody"),
        cap(
            Gate::OomErrors,
            alarms.oom_errors,
            "writes were refused within the window: memory is full (OOM)",
        ),
        cap(
            Gate::RejectedConnections,
            alarms.rejected_connections,
            "connections were refused within the window: maxclients is reached",
        ),
    ];
    if !matches!(inputs.slots_unserved, Seen::NotApplicable(_)) {
        let text = "the cluster is down in this node's view (cluster_state:fail)";
        caps.insert(1, cap(Gate::ClusterFail, alarms.cluster_fail, text));
    }
    counted(caps, policy, now)
}

/// The score in hundredths after all caps.
pub(crate) fn capped(raw_cents: i64, caps: &[Cap]) -> i64 {
    caps.iter().filter(|c| c.holds).map(|c| c.cents).fold(raw_cents, i64::min)
}

/// The gates as they are shown; `raw_cents` none: there is no number to limit.
pub(crate) fn states(caps: Vec<Cap>, raw_cents: Option<i64>) -> Vec<GateState> {
    let score = raw_cents.map(|raw| capped(raw, &caps));
    let mut bound = false;
    let state = |cap: Cap| {
        let limits = cap.holds && Some(cap.cents) == score && raw_cents > score;
        let binds = limits && !bound;
        bound |= binds;
        let taken = match (binds, raw_cents, score) {
            (true, Some(raw), Some(score)) => raw - score,
            _ => 0,
        };
        GateState {
            gate: cap.gate.as_str().to_owned(),
            cap: points(cap.cents),
            holds: cap.holds,
            binds,
            points: points(taken),
            text: cap.text,
        }
    };
    caps.into_iter().map(state).collect()
}
