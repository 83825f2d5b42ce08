//! Runbooks, how far each may go, and the kill switch.
//!
//! Invariant: a mode is set on the revision its asker saw; switching the kill switch on is never
//! refused for a revision, for it is used when there is no time to read one.

use std::sync::Arc;

use model::At;
use model::runbook::{ModeSetting, Runbook, RunbookMode};
use serde::Deserialize;
use serde_json::json;
use store::{KillSwitch, NewMode};

use super::ask::{Answer, Ask, Fail, if_match, invalid, moved};
use super::{Api, list, problem};
use crate::app::App;

/// Scope of the switch that stops everything.
const PLATFORM: &str = "platform";

/// `GET /runbooks`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let mut all = seen(&api.app, &ask).await?;
    all.retain(|r| list::matches(ask.query("q"), &[&r.name, &r.does]));
    Ok(Answer::ok(list::page(&ask, all, |r: &Runbook| r.name.clone(), ask.now)))
}

/// The runbooks with what the caller may see of their modes. The revision counts the settings of
/// all scopes: a mode set where he does not see it moved the runbook too.
async fn seen(app: &App, ask: &Ask) -> Result<Vec<Runbook>, Fail> {
    let mut all = ops::remedy::runbooks(&app.store, &ask.caller).await?;
    all.iter_mut().for_each(as_delivered);
    for (name, _, rev) in app.store.runbook_modes().await? {
        if let Some(runbook) = all.iter_mut().find(|r| r.name == name) {
            runbook.rev = runbook.rev.max(rev);
        }
    }
    Ok(all)
}

/// What holds where nobody has set anything is said, not left to be known.
fn as_delivered(runbook: &mut Runbook) {
    if runbook.modes.iter().all(|m| m.scope != PLATFORM) {
        let setting = ModeSetting {
            scope: PLATFORM.into(),
            mode: RunbookMode::default(),
            reason: "as delivered".into(),
            by: String::new(),
            at: At::EPOCH,
        };
        runbook.modes.insert(0, setting);
    }
}

async fn one(api: &Api, ask: &Ask) -> Result<Runbook, Fail> {
    let mut all = seen(&api.app, ask).await?;
    match all.iter().position(|r| r.name == ask.id()) {
        Some(n) => Ok(all.swap_remove(n)),
        None => {
            let names = all.iter().map(|r| r.name.as_str());
            Err(problem::not_found_near("runbook", ask.id(), names).into())
        }
    }
}

/// `PUT /runbooks/{name}/mode`.
pub async fn mode(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        mode: String,
        scope: String,
        #[serde(default)]
        reason: String,
    }
    let body: Body = ask.json()?;
    let mode = RunbookMode::parse(&body.mode).ok_or_else(|| {
        invalid("/mode", format!("{:?}: expected off, observe, ask or auto", body.mode))
    })?;
    let present = one(&api, &ask).await?;
    if_match(&ask, present.rev, &present)?;
    let new = NewMode {
        runbook: &present.name,
        scope: &body.scope,
        mode,
        reason: &body.reason,
        rev: Some(present.rev),
    };
    match api.app.store.runbook_mode_set(&ask.caller, &new, ask.now).await {
        Ok(_) => {}
        Err(store::Error::Moved { present: rev, .. }) => {
            let now = one(&api, &ask).await?;
            return Err(moved(&present.rev.to_string(), rev, &now));
        }
        Err(e) => return Err(e.into()),
    }
    let now = one(&api, &ask).await?;
    let rev = now.rev;
    Ok(Answer::ok(now).rev(rev))
}

/// `PUT /kill-switch`.
pub async fn kill_switch(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        on: bool,
        #[serde(default)]
        scope: Option<String>,
        reason: String,
    }
    let body: Body = ask.json()?;
    let scope = body.scope.unwrap_or_else(|| PLATFORM.into());
    if !body.on {
        let all = api.app.store.kill_switches().await?;
        let present = all.into_iter().find(|k| k.scope == scope);
        let rev = present.as_ref().map_or(0, revision);
        if_match(&ask, rev, json!(present))?;
    }
    let set = api.app.store.kill_switch_set(&ask.caller, &scope, body.on, &body.reason, ask.now);
    let set = set.await?;
    let rev = revision(&set);
    Ok(Answer::ok(set).rev(rev))
}

/// A switch is as old as its last setting.
fn revision(switch: &KillSwitch) -> i64 {
    switch.at.ms()
}

/// Whether everything automatic is stopped.
pub async fn kill_switch_on(app: &App) -> store::Result<bool> {
    let all = app.store.kill_switches().await?;
    Ok(all.iter().any(|k| k.scope == PLATFORM && k.active))
}
