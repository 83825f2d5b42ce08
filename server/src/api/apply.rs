//! `POST /apply`: an inventory file, YAML or JSON.
//!
//! Invariant: the file is checked whole before anything is written; what was written is in force
//! when this answers.

use std::sync::Arc;

use alerter::publish::Present;
use axum::http::header;
use model::At;
use model::apply::{Diff, Fault, InventoryDoc};
use model::caller::Caller;
use model::code::{Code, Problem};
use model::inventory::Inventory;
use model::policy::check::Flaw;
use model::right::{Place, Right};
use serde_json::json;
use store::{Apply, inventory_check};

use super::Api;
use super::ask::{Answer, Ask, Fail, invalid};
use crate::inventory_file;

/// Faults told at once: a file wrong in one place is often wrong in many.
const FAULTS_MAX: usize = 100;

/// Applies the file, or only answers what it would change.
pub async fn apply(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let doc = read(&ask)?;
    let how = Apply {
        dry_run: ask.flag("dry_run")?,
        prune: ask.flag("prune")?,
        prune_count: prune_count(&ask)?,
        adopt: false,
    };
    permit(&ask, &doc)?;
    let present = api.app.store.inventory().await?;
    let mut faults = inventory_check(&doc, &present, how.prune);
    for fault in policies(&api, &doc, &present, ask.now).await? {
        if !faults.iter().any(|f| f.pointer == fault.pointer) {
            faults.push(fault);
        }
    }
    if !faults.is_empty() {
        let text = String::from_utf8_lossy(&ask.body);
        return Err(refused(&inventory_file::placed(&text, faults)));
    }
    Ok(Answer::ok(write(&api, &ask, &doc, how).await?))
}

/// What is wrong with the policies of the file, also where they meet those in force.
async fn policies(
    api: &Api,
    doc: &InventoryDoc,
    inventory: &Inventory,
    now: At,
) -> Result<Vec<Fault>, Fail> {
    if doc.policies.is_empty() {
        return Ok(Vec::new());
    }
    // Of all layers: whoever writes one must not break another he does not see.
    let caller = Caller::system("policies", format!("policies-{}", now.ms()));
    let documents = api.app.store.policies(&caller).await?;
    let interval_ms = i64::from(api.app.config.exporter.interval_s) * 1000;
    let calendars = &super::policy::calendars(&api.app, &caller).await?;
    let present = Present { inventory, documents: &documents, interval_ms, now, calendars };
    let found = alerter::publish::faults(&doc.policies, &present);
    let fault = |(i, flaw): (usize, Flaw)| {
        let place = if flaw.place.is_empty() { String::new() } else { format!("/{}", flaw.place) };
        Fault { pointer: format!("/policies/{i}{place}"), detail: flaw.reason }
    };
    Ok(found.into_iter().map(fault).collect())
}

/// How many removals are expected, when that is said.
fn prune_count(ask: &Ask) -> Result<Option<usize>, Fail> {
    let Some(given) = ask.query.get("prune_count") else { return Ok(None) };
    let no_number = |_| invalid("/prune_count", "expected a number of removals, 0 or more");
    given.parse().map(Some).map_err(no_number)
}

/// Writes a document that passed its checks and puts it in force.
pub(super) async fn write(
    api: &Api,
    ask: &Ask,
    doc: &InventoryDoc,
    how: Apply,
) -> Result<Diff, Fail> {
    let diff = api.app.store.apply(&ask.caller, doc, how, ask.now).await?;
    if !how.dry_run && !diff.changes.is_empty() {
        api.app.reload_inventory().await.map_err(|e| {
            tracing::error!(cause = %format!("{e:#}"), "applied, but not in force yet");
            Problem::new(
                Code::NotWritable,
                "the file is applied, but could not be read back: it is not in force yet",
                "Apply it again: nothing is written twice.",
            )
        })?;
    }
    Ok(diff)
}

/// Whoever may not edit a tenant learns nothing of it by the checks either.
fn permit(ask: &Ask, doc: &InventoryDoc) -> Result<(), Fail> {
    for tenant in &doc.tenants {
        let id =
            tenant.id.parse().map_err(|e: model::id::BadId| invalid("/tenants", e.to_string()))?;
        ask.require(Right::TreeEdit, &Place::tenant(&id))?;
    }
    Ok(())
}

fn read(ask: &Ask) -> Result<InventoryDoc, Fail> {
    let kind = ask.header(header::CONTENT_TYPE.as_str()).to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_string();
    if kind == "application/json" {
        return ask.json();
    }
    let yaml = ["application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"];
    if !yaml.contains(&kind.as_str()) {
        let detail = format!("the body is {kind:?}, expected application/yaml or application/json");
        let next = "Send Content-Type: application/yaml.";
        return Err(Problem::new(Code::WrongType, detail, next).into());
    }
    let text = std::str::from_utf8(&ask.body).map_err(|e| {
        Problem::new(Code::Malformed, format!("the body is not UTF-8: {e}"), "Send UTF-8.")
    })?;
    inventory_file::parse(text).map_err(|said| {
        // Line and column stand in the message.
        let mut p = Problem::new(Code::Invalid, &said, "Correct the line named.");
        p.errors.push(json!({ "pointer": "", "detail": said }));
        p.into()
    })
}

fn refused(faults: &[Fault]) -> Fail {
    let mut p = Problem::new(
        Code::Invalid,
        format!("the file has {} faults; nothing was changed", faults.len()),
        "Correct what is named and apply again.",
    );
    let told = faults.iter().take(FAULTS_MAX);
    p.errors = told.map(|f| json!({ "pointer": f.pointer, "detail": f.detail })).collect();
    p.into()
}
