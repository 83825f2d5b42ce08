//! The overview's four answers: is the fleet fine, where not, since when, who acts.
//!
//! Invariant: the fleet is called fine only when nothing is down, nothing unknown, nothing fires
//! above info, and its grade and that of every service say so.

use model::At;
use model::alert::Alert;
use model::policy::AlertLevel;
use model::view::Overview;
use serde_json::{Value, json};

use crate::format;
use crate::frame::Frame;
use crate::helpers::kind;
use crate::words::{Arg, Voice};

/// Differences below this are no change: the last digit of a score.
const STILL: f64 = 0.005;

pub(super) fn derive(v: &Overview, frame: &Frame, voice: Voice<'_>) -> Value {
    let troubled = v.worst.iter().filter(|s| kind::grade(s.health.grade.as_str()) != "ok").count();
    let state = state(v, troubled);
    let firing = v.firing.unwrap_or_default();
    let gravest = gravest(&v.alerts);
    json!({
        "state": state,
        "headline": headline(v, state, troubled, voice),
        "troubled": troubled,
        "more": troubled.saturating_sub(1),
        "first": v.worst.first().filter(|_| state != "ok" && troubled > 0),
        "since": gravest.map(|a| a.starts_at),
        "since_alert": gravest.map(|a| json!({ "id": a.id, "name": a.alertname })),
        "acts": acts(v, state),
        "acting": v.operations.first(),
        "change": change(v, frame.now, voice),
        "firing": v.firing.map(|n| n.iter().sum::<u32>()),
        "levels": [
            { "level": "critical", "n": firing[2] },
            { "level": "warning", "n": firing[1] },
            { "level": "info", "n": firing[0] },
        ],
        "instances": v.verdicts.up + v.verdicts.down + v.verdicts.unknown,
        "memory_ratio": ratio(v.memory_used_bytes, v.memory_max_bytes),
        "masters": v.zones.iter().filter_map(|z| z.masters).sum::<u32>(),
        "quiet": if state == "unknown" || v.firing.is_none() { "unknown" } else { "ok" },
        "empty": v.services == 0,
        "fair_share": if v.zones.is_empty() { 0.0 } else { 1.0 / v.zones.len() as f64 },
    })
}

fn ratio(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    Some(part? / whole.filter(|w| *w > 0.0)?)
}

/// Without the store nobody knows what fires: what looks fine is not called so.
fn state(v: &Overview, troubled: usize) -> &'static str {
    let firing = v.firing.unwrap_or_default();
    let grade = kind::grade(v.health.grade.as_str());
    if v.services == 0 {
        "unknown"
    } else if grade == "crit" || v.verdicts.down > 0 || firing[2] > 0 {
        "crit"
    } else if grade == "unknown" {
        "unknown"
    } else if grade == "warn" || firing[1] > 0 || v.verdicts.unknown > 0 || troubled > 0 {
        "warn"
    } else if v.firing.is_none() {
        "unknown"
    } else {
        "ok"
    }
}

fn headline(v: &Overview, state: &str, troubled: usize, voice: Voice<'_>) -> String {
    let n = |n: f64| Arg::Number(n);
    match state {
        _ if v.services == 0 => voice.say("headline-empty", &[]),
        "ok" => voice.say("headline-ok", &[("n", n(f64::from(v.services)))]),
        "unknown" => voice.say("headline-unknown", &[]),
        _ if v.verdicts.down > 0 => {
            voice.say("headline-down", &[("n", n(f64::from(v.verdicts.down)))])
        }
        _ if troubled > 0 => voice.say("headline-troubled", &[("n", n(troubled as f64))]),
        _ if v.verdicts.unknown > 0 => {
            voice.say("headline-unseen", &[("n", n(f64::from(v.verdicts.unknown)))])
        }
        _ => voice
            .say("headline-firing", &[("n", n(f64::from(v.firing.iter().flatten().sum::<u32>())))]),
    }
}

/// The oldest of the highest level: that is since when.
fn gravest(alerts: &[Alert]) -> Option<&Alert> {
    let top = alerts.iter().map(|a| a.level).max().filter(|l| *l > AlertLevel::Info)?;
    alerts.iter().filter(|a| a.level == top).min_by_key(|a| a.starts_at)
}

fn acts(v: &Overview, state: &str) -> &'static str {
    let firing = v.firing.unwrap_or_default();
    let killed = v.kill_switch == Some(true);
    if !v.operations.is_empty() {
        "operation"
    } else if v.firing.is_none() {
        "unknown"
    } else if state == "unknown" && !killed {
        "nobody"
    } else if state != "unknown" && firing[1] + firing[2] == 0 {
        "none"
    } else if killed {
        "kill"
    } else {
        "nobody"
    }
}

fn change(v: &Overview, now: At, voice: Voice<'_>) -> Value {
    let before = v.score_before.as_ref().and_then(|p| Some((p.t, p.v?)));
    let (Some((at, before)), Some(score)) = (before, v.health.score) else { return Value::Null };
    let by = score - before;
    let direction = if by.abs() < STILL {
        "same"
    } else if by > 0.0 {
        "up"
    } else {
        "down"
    };
    json!({
        "direction": direction,
        "by": format::signed(by),
        "over": format::span(voice, now.since_ms(at) / 60_000 * 60_000),
    })
}
