//! Score policies: what is in force and from where, what a change would do, the change, its history.
//!
//! Invariant: nothing is saved that was not previewed as it would happen now: who saves sends the hash
//! of the preview, and one that is stale is answered 409 with a fresh one. Refuses to know what a field
//! means (`scorer` judges) and who may write or sign (`store` decides).

use std::sync::Arc;

use model::code::{Code, Problem};
use model::right::{Place, Right, Scope};
use model::score_policy::{
    IgnoredField, PolicyFlaw, ScorePolicyDoc, ScorePolicyItem, ScorePolicyPage, ScorePolicyRevision,
};
use model::service::{Profile, ProfileFrom};
use portal::Page;
use scorer::Policies;
use serde::Deserialize;
use serde_json::json;
use store::ScorePolicyChange;

use super::ask::{Answer, Ask, Fail, if_match, invalid, moved};
use super::sight::Sight;
use super::{Api, list, problem};
use crate::{items, shadow};

/// Id of the page that opens whatever scope the query names.
const OPEN: &str = "open";
/// Tries to save while others save elsewhere; each needs one change in between.
const TRIES: usize = 5;

/// `GET /score-policies`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let sight = Sight::new(&api.app, &ask);
    let policies = api.app.policies.load_full();
    let tree = &sight.inventory;
    let mut scopes = vec![Scope::Platform];
    scopes.extend(tree.tenants.keys().cloned().map(Scope::Tenant));
    scopes.extend(tree.systems.keys().cloned().map(Scope::System));
    let services = tree.services.keys().cloned().map(Scope::Service);
    scopes.extend(services.filter(|s| policies.revision(s).is_some()));
    let items = scopes.into_iter().map(|scope| brief(&sight, &policies, &scope));
    let wanted = |item: &ScorePolicyItem| {
        let fields = item.fields.join(" ");
        list::matches(ask.query("q"), &[item.id.as_str(), &fields, &item.reason, &item.by])
            && inside(&sight, ask.query("in"), &item.id)
    };
    let found: Vec<ScorePolicyItem> = items.filter(wanted).collect();
    Ok(Answer::ok(list::page(&ask, found, |i| i.id.clone(), ask.now)).page(Page::ScorePolicies))
}

fn inside(sight: &Sight<'_>, within: &str, id: &str) -> bool {
    let own = id.split_once(':').map_or("", |(_, id)| id);
    let scope = Scope::try_from(id.to_string());
    within.is_empty()
        || own == within
        || own.strip_prefix(within).is_some_and(|rest| rest.starts_with('.'))
        || scope.is_ok_and(|s| {
            !matches!(s, Scope::Platform | Scope::Tenant(_))
                && items::services(&sight.inventory, &s).any(|s| sight.inside(within, s))
        })
}

fn brief(sight: &Sight<'_>, policies: &Policies, scope: &Scope) -> ScorePolicyItem {
    let found = policies.revision(scope);
    let text = |pick: fn(&ScorePolicyRevision) -> &String| found.map(pick).cloned();
    ScorePolicyItem {
        id: String::from(scope.clone()),
        rev: found.map_or(0, |r| r.rev),
        fields: found.map(|r| r.doc.fields()).unwrap_or_default(),
        services: items::services(&sight.inventory, scope).count() as u32,
        by: text(|r| &r.by).unwrap_or_default(),
        approver: text(|r| &r.approver).unwrap_or_default(),
        reason: text(|r| &r.reason).unwrap_or_default(),
        at: found.map_or(model::At::EPOCH, |r| r.at),
    }
}

/// `GET /score-policies/{id}`; `open` takes the scope from the query; `from=REV` shows the document of
/// an old revision, to be previewed and saved again.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let text = if ask.id() == OPEN { ask.query("scope").trim() } else { ask.id() };
    let (scope, _) = seen(&api, &ask, text)?;
    let mut page = page(&api, &ask, &scope).await?;
    if !ask.query("from").is_empty() {
        page.doc = of_revision(&page.revisions, ask.query("from").parse().unwrap_or(-1))?;
    }
    let rev = page.rev;
    Ok(Answer::ok(page).rev(rev).page(Page::ScorePolicy))
}

/// `GET /score-policies/{id}/revisions`.
pub async fn revisions(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let (scope, _) = seen(&api, &ask, ask.id())?;
    let all = api.app.store.score_policy_revisions(&ask.caller, &scope).await?;
    Ok(Answer::ok(json!({ "items": all, "next": null, "count": all.len(), "as_of": ask.now })))
}

/// The scope of a text with its place, when the caller sees it.
fn seen(api: &Api, ask: &Ask, text: &str) -> Result<(Scope, Place), Fail> {
    let sight = Sight::new(&api.app, ask);
    let shown: String = text.chars().take(120).collect();
    let scope = Scope::try_from(text.to_string())
        .map_err(|_| Fail::from(problem::not_found(&format!("scope {shown}"))))?;
    let place = match &scope {
        Scope::Platform => Place::platform(),
        Scope::Tenant(id) => Place::tenant(&sight.tenant(id.as_str())?.id),
        Scope::System(id) => Place::system(&sight.system(id.as_str())?.id),
        Scope::Service(id) => {
            let service = sight.service(id.as_str())?;
            Place::service(&service.id, &service.system)
        }
    };
    Ok((scope, place))
}

/// What is in force at a scope.
async fn page(api: &Api, ask: &Ask, scope: &Scope) -> Result<ScorePolicyPage, Fail> {
    let revisions = api.app.store.score_policy_revisions(&ask.caller, scope).await?;
    let (inventory, policies) = (api.app.inventory(), api.app.policies.load_full());
    let above = shadow::above(&inventory, scope);
    let scopes: Vec<Scope> = above.iter().chain([scope]).cloned().collect();
    let merged = policies.at(&scopes, &shadow::base(&inventory, scope));
    let own = String::from(scope.clone());
    let newest = revisions.first();
    let from = match scope {
        Scope::Service(id) => inventory.services.get(id).map(|s| s.profile_from),
        _ => None,
    };
    Ok(ScorePolicyPage {
        as_of: ask.now,
        rev: newest.map_or(0, |r| r.rev),
        doc: newest.map_or_else(|| ScorePolicyDoc::empty(scope.clone()), |r| r.doc.clone()),
        profile: merged.policy.profile,
        profile_from: from.unwrap_or(ProfileFrom::Given),
        effective: merged.effective(),
        ignored: merged.ignored.into_iter().filter(|i: &IgnoredField| i.scope == own).collect(),
        above: above.into_iter().map(String::from).collect(),
        id: own,
        revisions,
        preview: None,
    })
}

fn of_revision(all: &[ScorePolicyRevision], rev: i64) -> Result<ScorePolicyDoc, Fail> {
    let found = all.iter().find(|r| r.rev == rev).map(|r| r.doc.clone());
    found.ok_or_else(|| {
        let known: Vec<String> = all.iter().map(|r| r.rev.to_string()).collect();
        invalid("/rev", format!("revision {rev} is none of {}", known.join(", ")))
    })
}

/// `POST /score-policies/preview`: what a document would do; changes nothing.
pub async fn preview(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        doc: ScorePolicyDoc,
    }
    let body: Body = ask.json()?;
    let (scope, place) = seen(&api, &ask, &String::from(body.doc.scope.clone()))?;
    // Whoever may draft or publish there: the arithmetic is not for everybody who reads.
    if !ask.caller.may(Right::PolicyDraft, &place) {
        ask.require(Right::PolicyPublish, &place)?;
    }
    let page = previewed(&api, &ask, &scope, body.doc).await?;
    Ok(Answer::ok(page).page(Page::ScorePolicy))
}

/// The page of a document that is not saved.
async fn previewed(
    api: &Api,
    ask: &Ask,
    scope: &Scope,
    doc: ScorePolicyDoc,
) -> Result<ScorePolicyPage, Fail> {
    follow(api).await?;
    let mut page = page(api, ask, scope).await?;
    page.preview = Some(shadow::preview(&api.app, &doc, ask.now).await);
    page.doc = doc;
    Ok(page)
}

/// Documents that another process saved are put in force before anything is decided on them.
async fn follow(api: &Api) -> Result<(), Fail> {
    let newest = api.app.store.score_policy_generation().await?;
    if newest != api.app.policies.load().generation {
        reload(api).await?;
    }
    Ok(())
}

pub(super) async fn reload(api: &Api) -> Result<(), Fail> {
    api.app.reload_inventory().await.map_err(|e| {
        tracing::error!(error = %e, "the policy is saved and not in force yet");
        let detail = "the policy is saved and not in force yet";
        Problem::new(Code::NotWritable, detail, "It will be within some seconds.").into()
    })
}

/// What a change carries beside the document.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    /// Of `put`.
    #[serde(default)]
    doc: Option<ScorePolicyDoc>,
    /// Of `restore`.
    #[serde(default)]
    rev: Option<i64>,
    reason: String,
    /// Hash of the preview.
    #[serde(default)]
    preview: String,
    /// Signs what lies far from the profile.
    #[serde(default)]
    sign: bool,
}

/// `PUT /score-policies/{id}`.
pub async fn put(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let body: Change = ask.json()?;
    let Some(doc) = body.doc.clone() else {
        return Err(invalid("/doc", "the document is missing"));
    };
    let given = String::from(doc.scope.clone());
    // The form of a page says its scope in the document alone.
    if !ask.id().is_empty() && ask.id() != given {
        let said = format!("the path says {}, the document {given}", ask.id());
        return Err(invalid("/doc/scope", said));
    }
    let (scope, place) = seen(&api, &ask, &given)?;
    ask.require(Right::PolicyPublish, &place)?;
    save(&api, &ask, &scope, doc, &body).await
}

/// `POST /score-policies/{id}/restore`: makes the document of an old revision the newest one.
pub async fn restore(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let body: Change = ask.json()?;
    let (scope, place) = seen(&api, &ask, ask.id())?;
    ask.require(Right::PolicyPublish, &place)?;
    let all = api.app.store.score_policy_revisions(&ask.caller, &scope).await?;
    let doc = of_revision(&all, body.rev.unwrap_or(-1))?;
    save(&api, &ask, &scope, doc, &body).await
}

async fn save(
    api: &Api,
    ask: &Ask,
    scope: &Scope,
    doc: ScorePolicyDoc,
    change: &Change,
) -> Result<Answer, Fail> {
    let app = &api.app;
    for _ in 0..TRIES {
        follow(api).await?;
        let (inventory, policies) = (app.inventory(), app.policies.load_full());
        refuse(shadow::flaws(&inventory, &policies, &doc, ask.now), change.sign)?;
        let rev = policies.revision(scope).map_or(0, |r| r.rev);
        if rev > 0 && ask.action.id == "score_policy.put" {
            if_match(ask, rev, page(api, ask, scope).await?)?;
        }
        if !shadow::holds(&inventory, &policies, &doc, &change.preview, app.now()) {
            let fresh = previewed(api, ask, scope, doc).await?;
            return Err(stale(&change.preview, &fresh));
        }
        let (reason, generation) = (change.reason.as_str(), policies.generation);
        let new = ScorePolicyChange { doc: &doc, reason, generation, sign: change.sign };
        match app.store.score_policy_put(&ask.caller, &new, ask.now).await {
            Ok(_) => {
                reload(api).await?;
                let page = page(api, ask, scope).await?;
                let rev = page.rev;
                return Ok(Answer::ok(page).rev(rev).page(Page::ScorePolicy));
            }
            // Somebody saved meanwhile, perhaps elsewhere: look again whether the preview holds.
            Err(store::Error::Moved { .. }) => {}
            Err(e) => return Err(e.into()),
        }
    }
    let page = page(api, ask, scope).await?;
    Err(moved("", page.rev, &page))
}

/// Refuses a document with flaws; signed, those that can be.
fn refuse(flaws: Vec<PolicyFlaw>, signed: bool) -> Result<(), Fail> {
    let flaws: Vec<PolicyFlaw> = flaws.into_iter().filter(|f| !(signed && f.signable)).collect();
    let Some(first) = flaws.first() else { return Ok(()) };
    let rest = match flaws.len() {
        1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let field = first.pointer.trim_start_matches('/').replace('/', ".");
    let detail = format!("{field}: {}{rest}", first.detail);
    let mut p = Problem::new(Code::Invalid, detail, "Correct what is named and send it again.");
    if flaws.iter().all(|f| f.signable) {
        p.next =
            "A system administrator saves it with sign, or it stays nearer the profile.".into();
    }
    let told = |f: &PolicyFlaw| json!({ "pointer": format!("/doc{}", f.pointer), "detail": f.detail, "signable": f.signable });
    p.errors = flaws.iter().map(told).collect();
    Err(p.into())
}

/// 409: the preview the change was decided on is missing, too old, or of another world.
fn stale(given: &str, fresh: &ScorePolicyPage) -> Fail {
    let said = match given {
        "" => "a change is saved with the hash of its preview",
        _ => "the preview is stale: the document, the tree or a policy above or below moved since",
    };
    let mut p =
        Problem::new(Code::Moved, said, "Look at the fresh preview (in errors) and send its hash.");
    p.errors.push(serde_json::to_value(fresh).unwrap_or_default());
    p.into()
}

/// The page a form came from, with what stands against it and a fresh preview.
pub async fn again(api: &Api, ask: &Ask) -> Option<serde_json::Value> {
    let body: Change = serde_json::from_slice(&ask.body).ok()?;
    let doc = body.doc?;
    let (scope, _) = seen(api, ask, &String::from(doc.scope.clone())).ok()?;
    let page = previewed(api, ask, &scope, doc).await.ok()?;
    serde_json::to_value(page).ok()
}

/// `PUT /services/{id}/profile`: says what the data of a service is for; a guess is confirmed.
pub async fn profile(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        profile: Profile,
    }
    let body: Body = ask.json()?;
    let (scope, _) = seen(&api, &ask, &format!("service:{}", ask.id()))?;
    let Scope::Service(id) = &scope else { return Err(problem::not_found("service").into()) };
    api.app.store.profile_confirm(&ask.caller, id, body.profile, ask.now).await?;
    reload(&api).await?;
    let page = page(&api, &ask, &scope).await?;
    let rev = page.rev;
    Ok(Answer::ok(page).rev(rev).page(Page::ScorePolicy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_what_is_far_and_nothing_that_is_wrong() {
        let flaw = |signable| PolicyFlaw {
            pointer: "/curves/M1/2".into(),
            detail: "far".into(),
            signable,
        };
        assert!(refuse(vec![flaw(true)], true).is_ok());
        let unsigned = refuse(vec![flaw(true)], false).unwrap_err().0;
        assert!(unsigned.detail.starts_with("curves.M1.2: far"), "{}", unsigned.detail);
        assert_eq!(unsigned.errors[0]["pointer"], "/doc/curves/M1/2");
        assert!(unsigned.next.contains("system administrator"));
        assert!(refuse(vec![flaw(true), flaw(false)], true).is_err());
    }
}
