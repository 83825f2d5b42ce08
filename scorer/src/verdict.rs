//! Up, down or unknown: down is not unknown.
//!
//! Invariant: `down` needs evidence that does not come from our own failed polls alone; what may be
//! our own password, parser or network is unknown. Refuses to know: scores.

use model::At;
use model::reading::Reason;
use model::verdict::Verdict;

use crate::window::{Latest, Outage, Window, is_unreachable};

/// Failed probes in a row before anything is concluded.
const CONFIRM_POLLS: u32 = 3;

/// Time-outs for this long are believed where nobody else can be asked, ms.
const ALONE_MS: i64 = 60_000;

/// Share of the zone's other targets that must answer then.
const ZONE_ANSWERS: f64 = 0.9;

/// With fewer other targets than this, all of them must answer.
const ZONE_FEW: u32 = 3;

/// What others see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// The latest failure is a refused connection: the host answers, the process does not.
    pub port_refuses: bool,
    /// Whether another vantage, a Sentinel, its replica's link or a cluster peer agrees that it is
    /// gone; none: nobody to ask.
    pub others_agree: Option<bool>,
    /// Of the other targets in its zone: (answering, all). None: not known.
    pub zone_others_answering: Option<(u32, u32)>,
    /// More than half of its zone's targets (at least 5) vanished for this scraper within one
    /// interval.
    pub observer_isolated: bool,
    /// Whether targets of other zones answer this scraper; none: there are none.
    pub other_zones_answer: Option<bool>,
    /// The previous verdict was down: a known fact that only an answer, or a failure that proves
    /// life, takes back.
    pub was_down: bool,
}

/// The verdict on an instance, from its window and what others see.
pub fn verdict(window: &Window, evidence: &Evidence, now: At) -> Verdict {
    let Some(latest) = window.latest() else {
        return Verdict::Unknown("not_polled_yet".into());
    };
    match (latest.up, latest.reason) {
        (true, _) | (_, Some(Reason::Loading | Reason::Busy | Reason::Masterdown)) => Verdict::Up,
        // The process answered that it is full.
        (_, Some(Reason::Maxclients)) => Verdict::Up,
        (_, Some(reason)) if !is_unreachable(reason) => Verdict::Unknown(reason.as_str().into()),
        _ => unreachable(window, latest, evidence, now),
    }
}

fn unreachable(window: &Window, latest: Latest, evidence: &Evidence, now: At) -> Verdict {
    let reason = latest.reason.map_or("timeout", Reason::as_str);
    let unknown = || Verdict::Unknown(reason.into());
    let Some(outage) = window.outage() else { return unknown() };
    if outage.polls < CONFIRM_POLLS {
        return match (evidence.was_down, window.ever_good()) {
            (true, _) => Verdict::Down(words(outage, reason, "was down before")),
            (false, true) => Verdict::Up,
            // It never answered us: nothing says that it was ever up.
            (false, false) => unknown(),
        };
    }
    if evidence.port_refuses {
        return Verdict::Down(words(outage, reason, "the port refuses connections"));
    }
    if evidence.others_agree == Some(true) {
        return Verdict::Down(words(outage, reason, "others agree that it is gone"));
    }
    if evidence.was_down {
        return Verdict::Down(words(outage, reason, "no answer since it went down"));
    }
    if evidence.observer_isolated || evidence.other_zones_answer == Some(false) {
        return Verdict::Unknown("observer_isolated".into());
    }
    if evidence.others_agree.is_none()
        && now.since_ms(outage.since) >= ALONE_MS
        && evidence.zone_others_answering.is_some_and(zone_answers)
    {
        return Verdict::Down(words(outage, reason, "its zone answers, nobody else to ask"));
    }
    unknown()
}

fn zone_answers((answering, all): (u32, u32)) -> bool {
    match all {
        0..ZONE_FEW => answering >= all,
        _ => f64::from(answering) >= ZONE_ANSWERS * f64::from(all),
    }
}

fn words(outage: Outage, reason: &str, why: &str) -> String {
    format!("{} failed polls in a row ({reason}); {why}", outage.polls)
}

#[cfg(test)]
mod tests;
