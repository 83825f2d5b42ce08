//! From what the guards said to what is done.
//!
//! Invariant: `auto` needs every guard; the first guard that said no names the decision. Guards that
//! mean "not now" leave the incident open; guards that mean "not by a machine" call a person.

use model::At;
use model::incident::{GuardSeen, Incident, Verb};
use model::runbook::RunbookMode;

use super::Look;
use super::book::{Can, Entry};
use super::context::{self, Seen};
use super::guards::Context;
use crate::Engine;

/// Guards after which only a person goes on.
const PEOPLE_ONLY: [&str; 4] = ["anti_flap", "quarantine", "failures", "available"];
/// What is too dangerous to do by itself is asked, not dropped.
pub(super) const TIER: &str = "tier";

/// Verb, deciding guard and one sentence.
pub(super) fn verb(
    context: &Context,
    guards: &[GuardSeen],
    incident: &Incident,
    now: At,
) -> (Verb, String, String) {
    if context.entry.can == Can::Watch {
        return watch(context, incident, now);
    }
    let tier = guards.iter().find(|g| !g.passed && g.guard == TIER);
    let no = guards.iter().find(|g| !g.passed && g.guard != TIER);
    let plan = || context.plan.clone().unwrap_or_default();
    let no = match (no, tier) {
        (Some(no), _) => no,
        (None, None) => {
            return (Verb::Auto, "all".into(), format!("every guard passed: {}", plan()));
        }
        (None, Some(tier)) => {
            let said = format!("{}; a person decides: {}", tier.seen, plan());
            return (Verb::Ask, TIER.into(), said);
        }
    };
    match no.guard.as_str() {
        "mode" => by_mode(context, guards, no),
        name if PEOPLE_ONLY.contains(&name) => (Verb::PageOnly, no.guard.clone(), no.seen.clone()),
        _ => (Verb::Suppressed, no.guard.clone(), no.seen.clone()),
    }
}

fn by_mode(context: &Context, guards: &[GuardSeen], no: &GuardSeen) -> (Verb, String, String) {
    let other = guards.iter().find(|g| !g.passed && g.guard != "mode" && g.guard != TIER);
    let asks = guards.iter().any(|g| !g.passed && g.guard == TIER);
    let would = match (other, &context.plan) {
        (None, Ok(plan)) if asks => format!("would ask a person: {plan}"),
        (None, Ok(plan)) => format!("would act: {plan}"),
        (None, Err(why)) => format!("would not act: {why}"),
        (Some(g), _) => format!("would not act either, because of {}: {}", g.guard, g.seen),
    };
    let verb = match (context.mode, other) {
        (RunbookMode::Ask, None) => Verb::Ask,
        _ => Verb::Suppressed,
    };
    (verb, "mode".into(), format!("{}; {would}", no.seen))
}

/// Runbook 2: the servers fail over by themselves. We say what we see, and call somebody when it
/// does not happen.
fn watch(context: &Context, incident: &Incident, now: At) -> (Verb, String, String) {
    let waited = now.since_ms(incident.opened_at);
    if !context.fresh.down {
        let said = format!("nothing to wait for: the node is {}", context.fresh.verdict);
        return (Verb::Suppressed, "answers".into(), said);
    }
    let done =
        matches!(&context.master_says, Ok(by) if by.is_empty()) && !context.copies.is_empty();
    if done {
        let said = "the others name another master: the failover happened; the lost node may be \
                    started again as a replica";
        return (Verb::Suppressed, "failed_over".into(), said.into());
    }
    let seen = match &context.master_says {
        Ok(by) => format!("still named as master by {}", by.join(", ")),
        Err(why) => why.clone(),
    };
    if waited >= 2 * context.failover_ms {
        let said = format!("no failover within {} s: {seen}", waited / 1000);
        return (Verb::PageOnly, "wait".into(), said);
    }
    let said = format!("waits for the failover of the servers: {seen}");
    (Verb::Suppressed, "wait".into(), said)
}

/// An incident about no single node: nothing of this build acts on those.
pub(super) fn without_node(
    seen: &Seen,
    incident: &Incident,
    entry: &Entry,
    engine: &Engine,
) -> Look {
    let inventory = (engine.world().inventory)();
    let mode = match &incident.service {
        Some(service) => seen.mode(entry.name, &context::place(&inventory, service)),
        None => seen.mode(entry.name, &model::right::Place::platform()),
    };
    let (verb, guard) = match mode {
        RunbookMode::Ask | RunbookMode::Auto => (Verb::PageOnly, "available"),
        RunbookMode::Off | RunbookMode::Observe => (Verb::Suppressed, "mode"),
    };
    let reason =
        format!("{} is in mode {}; no automatic action in this build", entry.name, mode.as_str());
    let params = serde_json::Value::Null;
    Look { verb, guard: guard.into(), reason, guards: Vec::new(), plan: None, params }
}
