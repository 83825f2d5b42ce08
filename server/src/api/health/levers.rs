//! What could be set, and what would help most above the instance.
//!
//! Invariant: a suggestion of a roll-up is one of an instance below it, evaluated in full at that level;
//! few are evaluated, so that the answer costs the same in a large tenant.

use std::sync::Arc;

use model::health::Lever;
use model::score::{Explained, Level, Suggestion};
use model::service::Instance;
use scorer::Overrides;
use serde_json::json;

use super::Subject;
use super::whatif::{Wishes, evaluate};
use crate::api::sight::Sight;
use crate::app::App;

/// Instances whose inputs are offered above the instance, the worst: a form, no table.
const INSTANCES: usize = 8;
/// Inputs offered above the instance: those people can change.
const OFFERED: [&str; 6] = [
    "maxmemory_bytes",
    "used_memory_bytes",
    "maxclients",
    "connected_clients",
    "replicas_healthy",
    "slow_per_min",
];
/// Suggestions evaluated: each costs a roll-up of its service and what is above it.
const EVALUATED: usize = 6;
/// Suggestions shown.
const SHOWN: usize = 3;
/// Smaller gains are not worth a change.
const GAIN_MIN: f64 = 0.5;

/// The inputs that may be set, with their present values.
pub(super) fn levers(
    app: &App,
    sight: &Sight<'_>,
    subject: &Subject,
    wishes: &Wishes,
) -> Vec<Lever> {
    let own = subject.level == Level::Instance;
    let mut out = Vec::new();
    for (instance, _) in worst(sight, subject).into_iter().take(INSTANCES) {
        let desk = app.watching.desks.of(&instance.id);
        let Some(judged) = desk.and_then(|d| d.judged()) else { continue };
        for input in Overrides::settable(&judged.inputs) {
            if !own && !OFFERED.contains(&input.name.as_str()) {
                continue;
            }
            out.push(Lever {
                parameter: match own {
                    true => format!("set.{}", input.name),
                    false => format!("set.{}.{}", instance.id, input.name),
                },
                instance: instance.id.to_string(),
                set: wishes.set(&instance.id, &input.name),
                input: input.name,
                unit: input.unit,
                value: input.value,
            });
        }
    }
    out
}

/// Scored instances of its worst services, the lowest first.
fn worst<'s>(sight: &'s Sight<'_>, subject: &Subject) -> Vec<(&'s Instance, Arc<Explained>)> {
    let number = |e: &Option<Arc<Explained>>| {
        e.as_ref().and_then(|e| e.score).map_or(i64::MAX, |s| (s * 100.0) as i64)
    };
    let nodes: Vec<&Instance> = match subject.level {
        Level::System | Level::Tenant | Level::Fleet => {
            let mut services = subject.services(sight);
            // Each once: looking one up is a search.
            services.sort_by_cached_key(|s| number(&sight.rolled(Level::Service, s.id.as_str())));
            services.truncate(INSTANCES);
            services.iter().flat_map(|s| sight.inventory.nodes(&s.id)).collect()
        }
        _ => subject.nodes(sight),
    };
    let scored = nodes.into_iter().filter_map(|i| Some((i, sight.row(&i.id)?.score.clone()?)));
    let mut all: Vec<_> = scored.collect();
    all.sort_by_cached_key(|(_, e)| number(&Some(e.clone())));
    all
}

/// What would raise the score of a roll-up most.
pub(super) fn suggestions(
    app: &App,
    sight: &Sight<'_>,
    subject: &Subject,
    present: &Explained,
) -> Vec<Suggestion> {
    let Some(score) = present.score.filter(|s| *s <= 100.0 - GAIN_MIN) else { return Vec::new() };
    let mut found: Vec<Suggestion> = Vec::new();
    let mut tried = 0;
    for (instance, explained) in worst(sight, subject) {
        for remedy in &explained.suggestions {
            if tried == EVALUATED {
                break;
            }
            tried += 1;
            let overrides: Result<Overrides, _> = serde_json::from_value(remedy.overrides.clone());
            let Ok(overrides) = overrides else { continue };
            let wishes = Wishes::one(instance.id.clone(), overrides);
            let Ok(after) = evaluate(app, sight, subject, &wishes) else { continue };
            let gain = after.score.map_or(0.0, |after| ((after - score) * 100.0).round() / 100.0);
            if gain >= GAIN_MIN {
                found.push(Suggestion {
                    overrides: json!({ instance.id.as_str(): remedy.overrides }),
                    score: after.score.unwrap_or(score),
                    gain,
                    feasible: remedy.feasible,
                    text: format!("{} on {}", remedy.text, instance.id.address()),
                });
            }
        }
    }
    found.sort_by(|a, b| b.gain.total_cmp(&a.gain));
    found.truncate(SHOWN);
    found
}
