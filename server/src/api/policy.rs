//! Threshold policies: what is in force and from where, what a change would break and whom it would
//! reach, the change, its history.
//!
//! Invariant: a document is published only if it passes every check against what is in force at that
//! moment; who changes one names the revision he saw. Refuses to know what a field means (`alerter`
//! judges) and who may publish (`store` decides).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alerter::{defaults, explain};
use model::InstanceId;
use model::alert::Phase;
use model::code::{Code, Problem};
use model::policy::{
    PolicyCheck, PolicyDoc, PolicyFault, PolicyItem, PolicyPage, PolicyRevision, PolicyScope,
};
use model::right::{Place, Right};
use portal::Page;
use serde::Deserialize;
use serde_json::{Value, json};
use store::PolicyChange;

use super::ask::{Answer, Ask, Fail, if_match, invalid, moved};
use super::sight::Sight;
use super::{Api, list, problem, score_policy};
use crate::policies::{World, placed, read, yaml};

pub(crate) use crate::policies::calendars;

/// Id of the page that opens whatever policy the query names.
const OPEN: &str = "open";
/// Tries to publish while others publish elsewhere; each needs one change in between.
const TRIES: usize = 5;

type Selector = BTreeMap<String, Vec<String>>;

/// `GET /policies`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let sight = Sight::new(&api.app, &ask);
    let revisions = api.app.store.policies_in_force(&ask.caller).await?;
    let firing = firing(&api, &sight);
    let shipped = defaults::policies().iter().map(|d| d.policy.as_str());
    let ids: BTreeSet<&str> = shipped.chain(revisions.iter().map(|r| r.policy.as_str())).collect();
    let items = ids.into_iter().map(|id| brief(id, &revisions, &firing));
    let within = ask.query("in");
    let wanted = |item: &PolicyItem| {
        let levels = item.levels.join(" ");
        let layers = item.layers.join(" ");
        let names = item.alertnames.join(" ");
        list::matches(ask.query("q"), &[&item.id, &names, &item.signal, &levels, &layers])
            && (within.is_empty() || item.layers.iter().any(|scope| inside(&sight, within, scope)))
    };
    let found: Vec<PolicyItem> = items.filter(wanted).collect();
    Ok(Answer::ok(list::page(&ask, found, |i| i.id.clone(), ask.now)).page(Page::Policies))
}

/// Whether a layer lies in `in=`.
fn inside(sight: &Sight<'_>, within: &str, scope: &str) -> bool {
    let own = scope.split_once(':').map_or("", |(_, id)| id);
    let below = own.strip_prefix(within).is_some_and(|rest| rest.starts_with(['.', '@']));
    let service = own.split('@').next().unwrap_or_default();
    own == within || below || sight.service(service).is_ok_and(|s| sight.inside(within, s))
}

fn brief(id: &str, revisions: &[PolicyRevision], firing: &BTreeMap<String, u32>) -> PolicyItem {
    let mine: Vec<&PolicyRevision> = revisions.iter().filter(|r| r.policy == id).collect();
    let published = mine.iter().filter_map(|r| r.doc.as_ref());
    let shipped = defaults::policies().iter().filter(|d| d.policy == id);
    let general = |d: &&PolicyDoc| d.scope == PolicyScope::Platform && d.selector.is_empty();
    let platform: Vec<&PolicyDoc> =
        shipped.clone().chain(published.clone().filter(general)).collect();
    let all = shipped.clone().chain(published);
    let signal = all.clone().find_map(|d| d.signal.as_ref().map(|s| (s, d.window.as_ref())));
    let merged = alerter::resolve::resolve(&platform).ok();
    let newest = mine.iter().max_by_key(|r| r.seq);
    let names = all.clone().flat_map(|d| {
        d.levels.values().filter_map(|t| t.alertname.clone()).chain(d.alertname.clone())
    });
    let mut alertnames: Vec<String> = match &merged {
        Some(rule) => rule.levels.iter().map(|l| l.alertname.clone()).collect(),
        None => names.chain([alerter::resolve::camel_case(id)]).take(1).collect(),
    };
    alertnames.dedup();
    let levels = match &merged {
        Some(rule) => rule.levels.iter().rev().map(|l| level(l, rule)).collect(),
        None => all.clone().next().map(explain::level_words).unwrap_or_default(),
    };
    PolicyItem {
        id: id.into(),
        alertnames,
        signal: signal.map(|(s, window)| explain::words(s, window)).unwrap_or_default(),
        levels,
        shipped: shipped.count() > 0,
        enabled: merged.as_ref().is_none_or(|rule| rule.enabled),
        engine: merged.as_ref().map(|rule| rule.engine).unwrap_or_default(),
        layers: mine.iter().map(|r| layer_name(&r.scope, &r.selector)).collect(),
        firing: firing.get(id).copied().unwrap_or(0),
        by: newest.map(|r| r.by.clone()).unwrap_or_default(),
        at: newest.map(|r| r.at),
    }
}

fn level(l: &alerter::resolve::LevelRule, rule: &alerter::resolve::Effective) -> String {
    let held = model::policy::Span::from_ms(l.for_ms);
    let held = if l.for_ms > 0 { format!(" for {}", String::from(held)) } else { String::new() };
    format!("{} {} {}{held}", l.level.as_str(), rule.compare.as_str(), l.fire)
}

fn layer_name(scope: &PolicyScope, selector: &Selector) -> String {
    let labels: Vec<String> =
        selector.iter().map(|(l, v)| format!("{l}={}", v.join("|"))).collect();
    match labels.is_empty() {
        true => scope.to_string(),
        false => format!("{scope} ({})", labels.join(", ")),
    }
}

/// Alerts that fire now by policy, of those in sight.
fn firing(api: &Api, sight: &Sight<'_>) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    let facts = api.app.fleet.load();
    let seen = |a: &&model::alert::Alert| match (&a.service, &a.tenant) {
        (Some(service), _) => sight.inventory.services.contains_key(service),
        (None, Some(tenant)) => sight.whole_tenant(tenant.as_str()),
        (None, None) => sight.whole(),
    };
    let fires = |a: &&model::alert::Alert| matches!(a.phase, Phase::Firing | Phase::Recovering);
    for alert in facts.alerts.iter().filter(fires).filter(seen) {
        *all.entry(alert.policy.clone()).or_insert(0) += 1;
    }
    all
}

/// What is looked at: a policy at a scope, in general or for one instance.
pub(super) struct View {
    /// Policy id.
    pub policy: String,
    /// The scope.
    pub scope: PolicyScope,
    /// To which instances of it the document applies.
    pub selector: Selector,
    /// One instance; none: in general.
    pub instance: Option<InstanceId>,
}

/// `GET /policies/{id}`: `scope=` or `instance=` says where; `from=REV` shows an old document.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let view = view(&api, &ask)?;
    let mut page = page(&api, &ask, &view).await?;
    let begins = ask.flag("new")? && ask.caller.may_somewhere(Right::PolicyPublish);
    if !begins && !page.shipped && page.revisions.is_empty() {
        let policies = defaults::policies().iter().map(|d| d.policy.as_str());
        return Err(problem::not_found_near("policy", &page.id, policies).into());
    }
    if !ask.query("from").is_empty() {
        let rev = ask.query("from").parse().unwrap_or(-1);
        page.doc = of_revision(&page.revisions, &view, rev)?;
        page.text = yaml(&page.doc);
    }
    let rev = page.rev;
    Ok(Answer::ok(page).rev(rev).page(Page::Policy))
}

/// `GET /policies/{id}/revisions`.
pub async fn revisions(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let all = api.app.store.policy_revisions(&ask.caller, ask.id()).await?;
    Ok(Answer::ok(json!({ "items": all, "next": null, "count": all.len(), "as_of": ask.now })))
}

/// `GET /policies/effective?instance=`: every policy of an instance, each field with its origin.
pub async fn effective(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let given = ask.query("instance");
    if given.is_empty() {
        return Err(invalid("/instance", "say which: instance=ID"));
    }
    let sight = Sight::new(&api.app, &ask);
    let id = sight.instance(given)?.id.clone();
    let revisions = api.app.store.policies_in_force(&ask.caller).await?;
    let published = || revisions.iter().filter_map(|r| r.doc.as_ref());
    let all: Vec<&PolicyDoc> = defaults::policies().iter().chain(published()).collect();
    let mut ids: BTreeSet<&str> = all.iter().map(|d| d.policy.as_str()).collect();
    if !ask.query("policy").is_empty() {
        ids.retain(|policy| *policy == ask.query("policy"));
    }
    let one = |policy: &str| {
        let docs = explain::of_instance(all.iter().copied(), policy, &id, &sight.inventory);
        let (fields, problem) = explain::explain(&docs);
        let none = docs.is_empty();
        (!none).then(|| json!({ "policy": policy, "effective": fields, "problem": problem }))
    };
    let items: Vec<Value> = ids.into_iter().filter_map(one).collect();
    Ok(Answer::ok(json!({
        "instance": id, "count": items.len(), "items": items, "next": null, "as_of": ask.now,
    })))
}

/// What the query looks at, when the caller sees it.
fn view(api: &Api, ask: &Ask) -> Result<View, Fail> {
    let sight = Sight::new(&api.app, ask);
    let instance = match ask.query("instance") {
        "" => None,
        id => Some(sight.instance(id)?.id.clone()),
    };
    let text = match (ask.query("scope").trim(), &instance) {
        ("", Some(id)) => format!("instance:{id}"),
        ("", None) => "platform".to_string(),
        (text, _) => text.to_string(),
    };
    let (scope, _) = seen(&sight, &text)?;
    let selector = selector(ask.query("selector"))?;
    let policy = if ask.id() == OPEN { ask.query("policy").trim() } else { ask.id() };
    Ok(View { policy: policy.into(), scope, selector, instance })
}

/// `tier=core|important,env=prod` or JSON, as a selector.
fn selector(text: &str) -> Result<Selector, Fail> {
    if text.trim().is_empty() {
        return Ok(Selector::new());
    }
    if text.starts_with('{') {
        return serde_json::from_str(text).map_err(|e| invalid("/selector", e.to_string()));
    }
    let pair = |part: &str| {
        let (label, words) = part.split_once('=')?;
        Some((label.trim().to_string(), words.split('|').map(|w| w.trim().to_string()).collect()))
    };
    let all: Option<Selector> = text.split(',').map(pair).collect();
    all.ok_or_else(|| invalid("/selector", format!("{text:?}: expected label=word|word, …")))
}

/// A scope with its place, when the caller sees it.
fn seen(sight: &Sight<'_>, text: &str) -> Result<(PolicyScope, Place), Fail> {
    let shown: String = text.chars().take(120).collect();
    let scope = PolicyScope::try_from(text.to_string())
        .map_err(|_| Fail::from(problem::not_found(&format!("scope {shown}"))))?;
    let of_service = |id: &model::ServiceId| {
        sight.service(id.as_str()).map(|s| Place::service(&s.id, &s.system))
    };
    let place = match &scope {
        PolicyScope::Platform => Place::platform(),
        PolicyScope::Tenant(id) => Place::tenant(&sight.tenant(id.as_str())?.id),
        PolicyScope::System(id) => Place::system(&sight.system(id.as_str())?.id),
        PolicyScope::Service(id) => of_service(id)?,
        PolicyScope::Instance(id) => of_service(&sight.instance(id.as_str())?.id.service())?,
    };
    Ok((scope, place))
}

/// What is in force of a policy where the view looks.
async fn page(api: &Api, ask: &Ask, view: &View) -> Result<PolicyPage, Fail> {
    let store = &api.app.store;
    let sight = Sight::new(&api.app, ask);
    let revisions = store.policy_revisions(&ask.caller, &view.policy).await?;
    let layers = store.policies_in_force(&ask.caller).await?;
    let layers: Vec<PolicyRevision> =
        layers.into_iter().filter(|r| r.policy == view.policy).collect();
    let own = layers.iter().find(|r| r.scope == view.scope && r.selector == view.selector);
    let rev = own.map_or(0, |r| r.rev);
    let mut empty = PolicyDoc::empty(&view.policy, view.scope.clone());
    empty.selector.clone_from(&view.selector);
    let doc = own.and_then(|r| r.doc.clone()).unwrap_or(empty);
    let all = || defaults::policies().iter().chain(layers.iter().filter_map(|r| r.doc.as_ref()));
    let tree = api.app.inventory();
    let docs = match &view.instance {
        Some(id) => explain::of_instance(all(), &view.policy, id, &tree),
        None => explain::at_scope(all(), &doc, &tree),
    };
    let (effective, problem) = explain::explain(&docs);
    let firing = firing(api, &sight).get(&view.policy).copied().unwrap_or(0);
    Ok(PolicyPage {
        as_of: ask.now,
        id: view.policy.clone(),
        scope: view.scope.to_string(),
        instance: view.instance.as_ref().map(ToString::to_string),
        rev,
        text: yaml(&doc),
        doc,
        effective,
        problem: if docs.is_empty() { String::new() } else { problem },
        shipped: defaults::policies().iter().any(|d| d.policy == view.policy),
        layers,
        revisions,
        firing,
        check: None,
        backtest: None,
    })
}

fn of_revision(all: &[PolicyRevision], view: &View, rev: i64) -> Result<PolicyDoc, Fail> {
    let mine = |r: &&PolicyRevision| r.scope == view.scope && r.selector == view.selector;
    let found = all.iter().filter(mine).find(|r| r.rev == rev);
    found.and_then(|r| r.doc.clone()).ok_or_else(|| {
        let known = all.iter().filter(mine).filter(|r| r.doc.is_some());
        let known: Vec<String> = known.map(|r| r.rev.to_string()).collect();
        invalid("/rev", format!("revision {rev} is none of {}", known.join(", ")))
    })
}

/// What a change carries.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// The document.
    #[serde(default)]
    doc: Option<PolicyDoc>,
    /// The same as people write it, so that faults have lines.
    #[serde(default)]
    text: Option<String>,
    /// Of the form, so that its page can be drawn again.
    #[serde(default)]
    #[allow(dead_code, reason = "read by `again`")]
    policy: String,
    /// Where, for what needs no document.
    #[serde(default)]
    scope: String,
    #[serde(default)]
    selector: Selector,
    /// Why.
    #[serde(default)]
    reason: String,
    /// The revision that was seen; of `restore` the one that comes back.
    #[serde(default)]
    rev: Option<i64>,
}

/// What was sent.
pub(super) struct Draft {
    /// The documents.
    pub docs: Vec<PolicyDoc>,
    /// As text; empty: as JSON.
    text: String,
    list: bool,
}

/// The documents of a body that says them as JSON or as text.
pub(super) fn draft(doc: Option<PolicyDoc>, text: Option<String>) -> Result<Draft, Fail> {
    match (doc, text) {
        (Some(doc), None) => Ok(Draft { docs: vec![doc], text: String::new(), list: false }),
        (None, Some(text)) => match read(&text) {
            Ok(found) => Ok(Draft { docs: found.docs, list: found.list, text }),
            Err(fault) => Err(refused(vec![fault])),
        },
        _ => Err(invalid("/doc", "send the document as doc (JSON) or as text (YAML)")),
    }
}

impl Draft {
    /// The one document there is.
    pub fn one(&self) -> Result<&PolicyDoc, Fail> {
        match &self.docs[..] {
            [doc] if !self.list => Ok(doc),
            all => Err(invalid("/text", format!("{} documents; send one at a time", all.len()))),
        }
    }

    fn faults(&self, world: &World, now: model::At) -> Vec<PolicyFault> {
        placed(&self.text, self.list, world.faults(&self.docs, now))
    }
}

/// 422 with every fault.
fn refused(faults: Vec<PolicyFault>) -> Fail {
    let said = match faults.first() {
        Some(f) => {
            let line = f.line.map(|l| format!("line {l}: ")).unwrap_or_default();
            let field = f.pointer.trim_start_matches('/').replace('/', ".");
            let colon = if field.is_empty() { "" } else { ": " };
            format!("{line}{field}{colon}{}", f.detail)
        }
        None => String::new(),
    };
    let rest = match faults.len() {
        0 | 1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let next = "Correct what is named and send it again.";
    let mut p = Problem::new(Code::Invalid, format!("{said}{rest}"), next);
    p.errors = faults.iter().filter_map(|f| serde_json::to_value(f).ok()).collect();
    p.into()
}

/// `POST /policies/check`: what stands against documents and whom the first one would reach; changes
/// nothing.
pub async fn check(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let body: Body = ask.json()?;
    let draft = draft(body.doc, body.text)?;
    let page = checked(&api, &ask, &draft).await?;
    Ok(Answer::ok(page).page(Page::Policy))
}

/// The page of documents that are not published.
pub(super) async fn checked(api: &Api, ask: &Ask, draft: &Draft) -> Result<PolicyPage, Fail> {
    let sight = Sight::new(&api.app, ask);
    for doc in &draft.docs {
        let (_, place) = seen(&sight, &doc.scope.to_string())?;
        // Whoever may draft or publish there: the checks look at layers he may not see.
        if !ask.caller.may(Right::PolicyDraft, &place) {
            ask.require(Right::PolicyPublish, &place)?;
        }
    }
    let world = World::load(&api.app, ask.now).await?;
    let doc = &draft.docs[0];
    let mut page = page(api, ask, &view_of(doc)).await?;
    let faults = draft.faults(&world, ask.now);
    let mut reach = world.reach(doc);
    reach.retain(|r| sight.tenant(&r.tenant).is_ok());
    page.check = Some(PolicyCheck { faults, reach });
    page.text = if draft.text.is_empty() { yaml(doc) } else { draft.text.clone() };
    page.doc = doc.clone();
    Ok(page)
}

fn view_of(doc: &PolicyDoc) -> View {
    View {
        policy: doc.policy.clone(),
        scope: doc.scope.clone(),
        selector: doc.selector.clone(),
        instance: None,
    }
}

/// `PUT /policies/{id}`; `dry_run=1` only checks.
pub async fn put(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let body: Body = ask.json()?;
    let draft = draft(body.doc, body.text)?;
    let doc = draft.one()?.clone();
    // The form of a page says its policy in the document alone.
    if !ask.id().is_empty() && ask.id() != doc.policy {
        let said = format!("the path says {:?}, the document {:?}", ask.id(), doc.policy);
        return Err(invalid("/policy", said));
    }
    let sight = Sight::new(&api.app, &ask);
    let (_, place) = seen(&sight, &doc.scope.to_string())?;
    ask.require(Right::PolicyPublish, &place)?;
    drop(sight);
    if ask.flag("dry_run")? {
        return Ok(Answer::ok(checked(&api, &ask, &draft).await?).page(Page::Policy));
    }
    publish(&api, &ask, &draft, (body.rev, &body.reason)).await
}

/// `POST /policies/{id}/restore`: makes the document of an old revision the newest one.
pub async fn restore(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let body: Body = ask.json()?;
    let sight = Sight::new(&api.app, &ask);
    let (scope, place) = seen(&sight, &body.scope)?;
    ask.require(Right::PolicyPublish, &place)?;
    drop(sight);
    let view = View { policy: ask.id().into(), scope, selector: body.selector, instance: None };
    let all = api.app.store.policy_revisions(&ask.caller, ask.id()).await?;
    let doc = of_revision(&all, &view, body.rev.unwrap_or(-1))?;
    let draft = Draft { docs: vec![doc], text: String::new(), list: false };
    publish(&api, &ask, &draft, (None, &body.reason)).await
}

/// `POST /policies/{id}/retire`: takes a scope's document out of force.
pub async fn retire(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let body: Body = ask.json()?;
    let sight = Sight::new(&api.app, &ask);
    let (scope, place) = seen(&sight, &body.scope)?;
    ask.require(Right::PolicyPublish, &place)?;
    drop(sight);
    let view = View { policy: ask.id().into(), scope, selector: body.selector, instance: None };
    let present = page(&api, &ask, &view).await?;
    if present.rev == 0 {
        let what = format!("document of policy {} at {}", view.policy, view.scope);
        return Err(problem::not_found(&what).into());
    }
    stands(&ask, body.rev, present.rev, &present)?;
    let change =
        PolicyChange { doc: &present.doc, retire: true, reason: &body.reason, generation: None };
    api.app.store.policy_publish(&ask.caller, &change, ask.now).await?;
    score_policy::reload(&api).await?;
    Ok(Answer::ok(page(&api, &ask, &view).await?).page(Page::Policy))
}

/// Whether the caller saw the revision that is in force: he says it in the body or in `If-Match`.
fn stands(ask: &Ask, seen: Option<i64>, rev: i64, present: &PolicyPage) -> Result<(), Fail> {
    match seen {
        Some(seen) if seen != rev => Err(moved(&seen.to_string(), rev, present)),
        Some(_) => Ok(()),
        None if rev > 0 && ask.action.id != "policy.restore" => if_match(ask, rev, present),
        None => Ok(()),
    }
}

async fn publish(
    api: &Api,
    ask: &Ask,
    draft: &Draft,
    (seen_rev, reason): (Option<i64>, &str),
) -> Result<Answer, Fail> {
    let doc = &draft.docs[0];
    let view = view_of(doc);
    for _ in 0..TRIES {
        let world = World::load(&api.app, ask.now).await?;
        let faults = draft.faults(&world, ask.now);
        if !faults.is_empty() {
            return Err(refused(faults));
        }
        let present = page(api, ask, &view).await?;
        stands(ask, seen_rev, present.rev, &present)?;
        let generation = Some(world.generation);
        let change = PolicyChange { doc, retire: false, reason, generation };
        match api.app.store.policy_publish(&ask.caller, &change, ask.now).await {
            Ok(rev) => {
                score_policy::reload(api).await?;
                let page = page(api, ask, &view).await?;
                return Ok(Answer::ok(page).rev(rev).page(Page::Policy));
            }
            // Somebody published meanwhile, perhaps elsewhere: it may have locked what is changed here.
            Err(store::Error::Moved { .. } | store::Error::Conflict(_)) => {}
            Err(e) => return Err(e.into()),
        }
    }
    let page = page(api, ask, &view).await?;
    Err(moved("", page.rev, &page))
}

/// The page a form came from, with what stands against it.
pub async fn again(api: &Api, ask: &Ask, problem: &Problem) -> Option<Value> {
    #[derive(Deserialize)]
    struct Form {
        #[serde(default)]
        text: String,
        #[serde(default)]
        policy: String,
        #[serde(default)]
        scope: String,
    }
    let form: Form = serde_json::from_slice(&ask.body).ok()?;
    let doc = read(&form.text).ok().filter(|t| !t.list).map(|t| t.docs[0].clone());
    let view = match &doc {
        Some(doc) => view_of(doc),
        None => View {
            policy: form.policy,
            scope: PolicyScope::try_from(form.scope).ok()?,
            selector: Selector::new(),
            instance: None,
        },
    };
    seen(&Sight::new(&api.app, ask), &view.scope.to_string()).ok()?;
    let mut page = page(api, ask, &view).await.ok()?;
    let known = problem.errors.iter().filter_map(|e| serde_json::from_value(e.clone()).ok());
    let mut faults: Vec<PolicyFault> = known.collect();
    if faults.is_empty() {
        let detail = problem.detail.clone();
        faults.push(PolicyFault { line: None, pointer: String::new(), detail });
    }
    page.check = Some(PolicyCheck { faults, reach: Vec::new() });
    page.text = form.text;
    if let Some(doc) = doc {
        page.doc = doc;
    }
    serde_json::to_value(page).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_written_in_a_query_as_labels_with_words() {
        let read = |text: &str| selector(text).map_err(|e| e.0.detail);
        let found = read("tier=core|important, env=prod").unwrap();
        assert_eq!((found["tier"].len(), &found["env"][..]), (2, &["prod".to_string()][..]));
        assert!(read("").unwrap().is_empty());
        assert!(read("core").unwrap_err().contains("label=word"));
        assert_eq!(read("{\"env\":[\"prod\"]}").unwrap().len(), 1);
    }

    #[test]
    fn a_refusal_names_line_field_and_how_many_more() {
        let fault = |line, pointer: &str| PolicyFault {
            line,
            pointer: pointer.into(),
            detail: "too high".into(),
        };
        let said = refused(vec![fault(Some(7), "/levels/critical/fire"), fault(None, "")]).0;
        assert_eq!(said.detail, "line 7: levels.critical.fire: too high (and 1 more)");
        assert_eq!(said.errors[0]["line"], 7);
        assert!(draft(None, None).is_err());
        let said = draft(None, Some("policy: [".into())).err().unwrap().0;
        assert!(said.errors[0]["line"].is_u64(), "{said:?}");
    }
}
