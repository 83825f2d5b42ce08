//! What would help most: each losing signal names its remedy as an override, evaluated in full.
//!
//! Invariant: at most three, best first, each worth at least half a point.

use model::At;
use model::score::Suggestion;
use serde_json::Value;

use crate::exact::points;
use crate::explain::tally;
use crate::gates::{self, Cap};
use crate::inputs::Inputs;
use crate::measure::{Measures, measure};
use crate::policy::Policy;
use crate::signal::Signal;
use crate::text::bytes;
use crate::whatif::Overrides;

/// Suggestions shown.
const SHOWN: usize = 3;

/// Smaller gains are not worth a change, hundredths.
const GAIN_MIN: i64 = 50;

/// A raised `maxmemory` should leave this much used at most.
const USED_WANTED: f64 = 0.75;

/// A raised `maxclients` should leave this much used at most: where C1 begins.
const CLIENTS_WANTED: f64 = 0.6;

/// Part of the host's memory that `maxmemory` may take: the rest is for buffers and forks.
const HOST_PART: f64 = 0.85;

struct Remedy {
    overrides: Overrides,
    feasible: Option<bool>,
    text: String,
}

/// The best remedies for a score (hundredths).
pub(crate) fn suggest(
    (inputs, policy, now): (&Inputs, &Policy, At),
    measures: &Measures,
    caps: &[Cap],
    score: i64,
) -> Vec<Suggestion> {
    let held = caps.iter().any(|c| c.holds);
    if !held && score > crate::exact::ALL - GAIN_MIN {
        return Vec::new();
    }
    let loses = |signal: Signal| measures[signal as usize].known().is_some_and(|m| m.loss > 0.0);
    let any = |signals: &[Signal]| signals.iter().any(|s| loses(*s));
    let mut remedies: Vec<Remedy> = Vec::new();
    remedies.extend(any(&[Signal::A5]).then(|| replicas(inputs)).flatten());
    remedies.extend(any(&[Signal::M1, Signal::M5]).then(|| maxmemory(inputs)).flatten());
    remedies.extend(any(&[Signal::C1]).then(|| maxclients(inputs)).flatten());
    remedies.extend(any(&[Signal::S1, Signal::S2, Signal::S3]).then(|| no_slow_commands(inputs)));
    remedies.extend(caps.iter().filter(|c| c.holds).map(cleared));
    let mut all: Vec<Suggestion> =
        remedies.into_iter().filter_map(|r| evaluate((inputs, policy, now), r, score)).collect();
    all.sort_by(|a, b| b.gain.total_cmp(&a.gain));
    all.truncate(SHOWN);
    all
}

fn evaluate(
    (inputs, policy, now): (&Inputs, &Policy, At),
    remedy: Remedy,
    score: i64,
) -> Option<Suggestion> {
    let changed = remedy.overrides.apply(inputs);
    let raw = tally(&measure(&changed, policy, now), policy).raw?;
    let new = gates::capped(raw, &gates::of_instance(&changed, policy, now));
    let gain = new - score;
    (gain >= GAIN_MIN).then(|| Suggestion {
        overrides: serde_json::to_value(&remedy.overrides).unwrap_or(Value::Null),
        score: points(new),
        gain: points(gain),
        feasible: remedy.feasible,
        text: remedy.text,
    })
}

fn replicas(inputs: &Inputs) -> Option<Remedy> {
    let wanted = inputs.replicas_required.known()?;
    let missing = wanted.saturating_sub(inputs.replicas_healthy.known()?);
    let noun = if missing == 1 { "replica" } else { "replicas" };
    Some(Remedy {
        overrides: Overrides { replicas_healthy: Some(wanted), ..Overrides::default() },
        feasible: None,
        text: format!("bring {missing} {noun} back"),
    })
}

fn maxmemory(inputs: &Inputs) -> Option<Remedy> {
    let now = inputs.maxmemory_bytes.known()?;
    let value = step_up(now, inputs.used_memory_bytes.known()?, USED_WANTED)?;
    let feasible = inputs.host_memory_bytes.known().map(|host| {
        // Other instances of the host keep what they use.
        let others = inputs
            .host_rss_bytes
            .and(inputs.rss_bytes)
            .known()
            .map_or(0.0, |(all, own)| (all - own).max(0.0));
        others + value <= HOST_PART * host
    });
    Some(Remedy {
        overrides: Overrides { maxmemory_bytes: Some(value), ..Overrides::default() },
        feasible,
        text: format!("raise maxmemory from {} to {}", bytes(now), bytes(value)),
    })
}

fn maxclients(inputs: &Inputs) -> Option<Remedy> {
    let now = inputs.maxclients.known()?;
    let value = step_up(now, inputs.connected_clients.known()?, CLIENTS_WANTED)?.ceil();
    Some(Remedy {
        overrides: Overrides { maxclients: Some(value), ..Overrides::default() },
        feasible: None,
        text: format!("raise maxclients from {now:.0} to {value:.0}"),
    })
}

/// The smallest step of 10 % of the present limit that leaves at most `wanted` used.
fn step_up(limit: f64, used: f64, wanted: f64) -> Option<f64> {
    if limit <= 0.0 {
        return None;
    }
    let steps = ((used / wanted / limit - 1.0) * 10.0 - 1e-9).ceil().max(1.0);
    Some((limit * (10.0 + steps) / 10.0).round())
}

/// Without the command that blocks most; without all of them where nobody can name it.
fn no_slow_commands(inputs: &Inputs) -> Remedy {
    let known = inputs.slow_per_min.and(inputs.slow_share).known();
    let (overrides, text) = match inputs.slow_top.as_ref().zip(known) {
        Some((top, (per_min, share))) => {
            let rest = |all: f64, part: f64| Some((all * (1.0 - part) * 1e4).round() / 1e4);
            let overrides = Overrides {
                slow_per_min: rest(per_min, top.count),
                slow_share: rest(share, top.time),
                slow_worst_ms: Some(top.others_us / 1000.0),
                ..Overrides::default()
            };
            let cmd = top.cmd.to_uppercase().replace('|', " ");
            (overrides, format!("get rid of slow {cmd} commands"))
        }
        None => {
            let overrides = Overrides { slow_per_min: Some(0.0), ..Overrides::default() };
            (overrides, "get rid of the slow commands".into())
        }
    };
    Remedy { overrides, feasible: None, text }
}

fn cleared(cap: &Cap) -> Remedy {
    Remedy {
        overrides: Overrides {
            gates_cleared: vec![cap.gate.as_str().into()],
            ..Overrides::default()
        },
        feasible: None,
        text: format!("clear the cause of {}", cap.gate.as_str()),
    }
}
