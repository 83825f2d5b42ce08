//! Polls of one instance every second for some minutes: live charts.
//!
//! Invariant: it only reads, is on record before it begins, and ends by itself; at most so many at
//! once. Lives in memory: over a restart it simply ends.

use std::sync::Arc;

use model::code::{Code, Problem};
use model::right::{Place, Right};
use model::{At, InstanceId};
use serde::Deserialize;
use serde_json::json;
use store::AuditEntry;

use super::Api;
use super::ask::{Answer, Ask, Fail, invalid};
use super::sight::Sight;
use crate::watch::{TURBO_MINUTES_MAX, TURBOS_MAX};

/// `POST /instances/{id}/turbo`.
pub async fn start(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        minutes: u32,
    }
    let (id, place) = allowed(&api, &ask)?;
    let Body { minutes } = ask.json()?;
    if !(1..=TURBO_MINUTES_MAX).contains(&minutes) {
        let detail = format!("{minutes}: allowed are 1 to {TURBO_MINUTES_MAX} minutes");
        return Err(invalid("/minutes", detail));
    }
    let mut entry = AuditEntry::new(ask.action.id, &id, place);
    entry.after = json!({ "minutes": minutes });
    api.app.store.audit_write(&ask.caller, entry, ask.now).await?;
    match api.app.watching.desks.turbo(&id, minutes, ask.now) {
        Some(until) => Ok(Answer::ok(state(&id, Some(until)))),
        None => Err(Problem::new(
            Code::OverCapacity,
            format!("{TURBOS_MAX} instances are polled every second already"),
            "Wait until one of them ends, or end one.",
        )
        .into()),
    }
}

/// `DELETE /instances/{id}/turbo`; also good when there is none.
pub async fn end(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let (id, place) = allowed(&api, &ask)?;
    let desks = &api.app.watching.desks;
    if desks.of(&id).is_some_and(|desk| desk.turbo(tokio::time::Instant::now()).is_some()) {
        let entry = AuditEntry::new(ask.action.id, &id, place);
        api.app.store.audit_write(&ask.caller, entry, ask.now).await?;
        desks.end_turbo(&id);
    }
    Ok(Answer::ok(state(&id, None)))
}

fn allowed(api: &Api, ask: &Ask) -> Result<(InstanceId, Place), Fail> {
    let sight = Sight::new(&api.app, ask);
    let instance = sight.instance(ask.id())?;
    let service = sight.service(instance.id.service().as_str())?;
    let place = Place::service(&service.id, &service.system);
    ask.require(Right::InspectRun, &place)?;
    Ok((instance.id.clone(), place))
}

fn state(id: &InstanceId, until: Option<At>) -> serde_json::Value {
    json!({ "instance": id, "turbo_until": until })
}
