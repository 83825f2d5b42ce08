//! Days to full, seconds and lost zones in words.
//!
//! Invariant: an interval is said as one; what has no end is never a number.

use model::outlook::{CapacityLine, CapacityPage, SloPage};
use model::zone_loss::{Outcome, ZoneLoss};
use serde_json::{Value, json};

use crate::words::{Arg, Voice};

/// The lines of a service's capacity with their sentences.
pub(super) fn capacity(page: &CapacityPage, voice: Voice<'_>) -> Vec<Value> {
    let line = |l: &CapacityLine| {
        json!({
            "line": l,
            "sentence": sentence(l, voice),
            "unit": if l.resource == "connections" { "number" } else { "bytes" },
            "kind": urgency(l),
        })
    };
    page.lines.iter().map(line).collect()
}

/// How soon that is: as M5 loses points.
fn urgency(line: &CapacityLine) -> &'static str {
    match line.low {
        _ if !line.known => "unknown",
        Some(days) if days <= 7.0 => "crit",
        Some(days) if days <= 30.0 => "warn",
        _ => "ok",
    }
}

fn sentence(line: &CapacityLine, voice: Voice<'_>) -> String {
    let text = |days: f64| Arg::from(format!("{days:.0}"));
    if !line.known {
        return voice.say("capacity-short", &[("days", text(f64::from(line.days)))]);
    }
    match (line.low, line.mid, line.high) {
        (_, Some(mid), _) if mid <= 0.0 => voice.say("capacity-today", &[]),
        (Some(low), _, Some(high)) => {
            voice.say("capacity-between", &[("low", text(low)), ("high", text(high))])
        }
        (Some(low), Some(mid), None) => {
            voice.say("capacity-open", &[("low", text(low)), ("mid", text(mid))])
        }
        (Some(low), ..) => voice.say("capacity-far", &[("low", text(low))]),
        _ => voice.say("capacity-never", &[]),
    }
}

/// What of the objective is not a plain number.
pub(super) fn slo(page: &SloPage) -> Value {
    let both = |ends: Option<[f64; 2]>| {
        ends.map(|[low, high]| match (share(low), share(high)) {
            (low, high) if low == high => low,
            (low, high) => format!("{low} – {high}"),
        })
    };
    json!({
        "target": page.target.map(share),
        "availability": both(page.availability),
        "adjusted": both(page.adjusted),
        "remaining": both(page.budget_remaining),
        "overdrawn": page.budget_remaining.is_some_and(|[_, high]| high < 0.0),
        "holding": page.alerts.iter().any(|a| a.holds),
        "budget_ms": page.budget_s.map(|s| s * 1000.0),
        "good_ms": page.seconds.good * 1000.0,
        "bad_ms": page.seconds.bad * 1000.0,
        "planned_ms": page.seconds.bad_planned * 1000.0,
        "unknown_ms": page.seconds.unknown * 1000.0,
        "windows": page.windows.iter().map(|w| json!({
            "window": w.window, "burn": w.burn, "bad_ms": w.bad_s * 1000.0,
            "unknown": w.unknown_ratio,
        })).collect::<Vec<_>>(),
    })
}

/// 99.99 %: as many digits as it takes, for each is a tenth of the badness.
fn share(ratio: f64) -> String {
    let text = format!("{:.4}", ratio * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A lost zone: services with the look of their outcome.
pub(super) fn zone_loss(loss: &ZoneLoss) -> Value {
    let kind = |o: Outcome| match o {
        Outcome::Ok => "ok",
        Outcome::Degraded => "warn",
        Outcome::Down => "crit",
    };
    let services = loss.services.iter().map(|s| json!({ "s": s, "kind": kind(s.outcome) }));
    json!({ "services": services.collect::<Vec<_>>() })
}
