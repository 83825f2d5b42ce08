//! Custom items: define, cost, test, save, history.
//!
//! Invariant: nothing is saved that could not be read, and nothing is sent that a poll would not
//! send; a test run is on record before it is sent; replies are masked for whoever lacks
//! `data.read`. What is there already is judged where it is read, not here.

use std::sync::Arc;
use std::time::Duration;

use axum::http::header;
use exporter::item::{Compiled, Trial, compile, try_once};
use model::InstanceId;
use model::code::{Code, Problem};
use model::item::{
    ItemCost, ItemDoc, ItemFlaw, ItemId, ItemItem, ItemPage, ItemPoint, ItemReading, ItemRevision,
    ItemSeries, ItemTest,
};
use model::reading::Facts;
use model::right::{Place, Right};
use model::service::InstanceKind;
use portal::Page;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{AuditEntry, ItemChange};
use tokio::sync::Semaphore;

use super::ask::{Answer, Ask, Fail, if_match, invalid, moved};
use super::sight::Sight;
use super::{Api, list, problem};
use crate::items::{self, Judged};

/// Test runs of the process at once: each dials a Redis on somebody's word.
const TESTS_MAX: usize = 4;
/// Values and instances shown of one item: what a page still shows.
const SHOWN_MAX: usize = 100;
static TESTS: Semaphore = Semaphore::const_new(TESTS_MAX);

/// Id of the blank definition.
const NEW: &str = "new";

/// What every change and question carries.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    item: ItemDoc,
    #[serde(default)]
    reason: String,
    /// Revision it is based on; a form's `If-Match`.
    #[serde(default)]
    rev: Option<i64>,
    /// Instance to test on.
    #[serde(default)]
    instance: Option<InstanceId>,
}

/// `GET /items`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let sight = Sight::new(&api.app, &ask);
    let mut found: Vec<ItemItem> = Vec::new();
    for revision in api.app.store.item_list(&ask.caller).await? {
        let scope = String::from(revision.item.scope.clone());
        let texts = [revision.item.name.as_str(), &revision.item.description, &scope];
        if list::matches(ask.query("q"), &texts) && inside(&sight, ask.query("in"), &revision) {
            found.push(brief(&sight, revision));
        }
    }
    Ok(Answer::ok(list::page(&ask, found, |i| i.id.clone(), ask.now)).page(Page::Items))
}

fn inside(sight: &Sight<'_>, scope: &str, revision: &ItemRevision) -> bool {
    let own = String::from(revision.item.scope.clone());
    scope.is_empty()
        || own.split_once(':').is_some_and(|(_, id)| id == scope)
        || items::services(&sight.inventory, &revision.item.scope).any(|s| sight.inside(scope, s))
}

fn brief(sight: &Sight<'_>, revision: ItemRevision) -> ItemItem {
    let (mut with_value, mut with_fault) = (0, 0);
    for (_, reading) in readings(sight, &revision.item) {
        with_value += u32::from(!reading.series.is_empty());
        with_fault += u32::from(reading.fault.is_some());
    }
    let ItemRevision { rev, item, by, at, .. } = revision;
    ItemItem { id: item.id().to_string(), item, rev, by, at, with_value, with_fault }
}

/// What the instances in sight say of an item.
fn readings(sight: &Sight<'_>, item: &ItemDoc) -> Vec<(InstanceId, ItemReading)> {
    let nodes = items::nodes(&sight.inventory, &item.scope);
    let one = |id: &InstanceId| {
        let row = sight.row(id)?;
        let reading = row.facts()?.items.iter().find(|r| r.name == item.name)?.clone();
        Some((id.clone(), reading))
    };
    nodes.filter_map(|node| one(&node.id)).collect()
}

/// `GET /items/{id}`; the id `new` is a blank definition.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    if ask.id() == NEW {
        let page = page(&api, &ask, blank(&ask)?, 0, Vec::new());
        return Ok(Answer::ok(page).page(Page::Item));
    }
    let revisions = api.app.store.item_revisions(&ask.caller, &id_of(&ask)?).await?;
    let (rev, item) = present(&revisions);
    // The history of a deleted one can still be read, and an old revision restored.
    let page = page(&api, &ask, item, rev, revisions);
    Ok(Answer::ok(page).rev(rev).page(Page::Item))
}

/// Revision and definition in force; 0 when the newest one deleted it.
fn present(revisions: &[ItemRevision]) -> (i64, ItemDoc) {
    let newest = revisions.first().expect("an item has a revision, or it is not found");
    (if newest.deleted { 0 } else { newest.rev }, newest.item.clone())
}

fn blank(ask: &Ask) -> Result<ItemDoc, Fail> {
    let scope = match ask.query("scope") {
        "" => ask.caller.scopes(Right::ItemEdit).into_iter().cloned().map(String::from).next(),
        given => Some(given.to_string()),
    };
    let scope = scope.filter(|s| s != "platform").unwrap_or_else(|| "tenant:default".into());
    let blank = json!({
        "name": "queue-length", "scope": scope, "source": { "command": { "args": ["LLEN", "queue"] } },
    });
    serde_json::from_value(blank).map_err(|e| invalid("/scope", e.to_string()))
}

fn id_of(ask: &Ask) -> Result<ItemId, Fail> {
    ItemId::parse(ask.id()).map_err(|_| {
        let shown: String = ask.id().chars().take(120).collect();
        problem::not_found(&format!("item {shown}")).into()
    })
}

/// The page of a definition, saved or not.
fn page(api: &Api, ask: &Ask, item: ItemDoc, rev: i64, revisions: Vec<ItemRevision>) -> ItemPage {
    let sight = Sight::new(&api.app, ask);
    let (flaws, cost) = match checked(api, &item) {
        Ok((_, judged)) => (judged.flaws, judged.cost),
        Err(flaws) => (flaws, ItemCost::default()),
    };
    let nodes = items::nodes(&sight.inventory, &item.scope);
    let instances = nodes.take(SHOWN_MAX).map(|node| node.id.clone()).collect();
    let points = readings(&sight, &item);
    let points = points.into_iter().flat_map(|(id, r)| points_of(&id, &r)).take(SHOWN_MAX);
    ItemPage {
        as_of: ask.now,
        id: if rev > 0 { item.id().to_string() } else { String::new() },
        points: points.collect(),
        item,
        rev,
        flaws,
        cost,
        instances,
        revisions,
        test: None,
    }
}

type Checked = Result<(Arc<Compiled>, Judged), Vec<ItemFlaw>>;

fn checked(api: &Api, item: &ItemDoc) -> Checked {
    let compiled = Arc::new(compile(item)?);
    let (book, inventory) = (api.app.items.load(), api.app.inventory());
    let judged = items::judge(&book, &inventory, &api.app.board, &compiled);
    Ok((compiled, judged))
}

fn points_of(instance: &InstanceId, reading: &ItemReading) -> Vec<ItemPoint> {
    let point = |series: Option<&ItemSeries>| ItemPoint {
        instance: instance.clone(),
        labels: series.map(shown_labels).unwrap_or_default(),
        value: series.map(|s| s.value),
        fault: reading.fault,
        at: reading.at,
    };
    if reading.series.is_empty() {
        return vec![point(None)];
    }
    reading.series.iter().map(|s| point(Some(s))).collect()
}

fn shown_labels(series: &ItemSeries) -> String {
    let one = |(name, value): &(String, String)| format!("{name}={value}");
    series.labels.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The definition of a body, with the right to define it there.
async fn asked(api: &Api, ask: &Ask) -> Result<(Body, Place), Fail> {
    let body: Body = ask.json()?;
    let place = api.app.store.item_place(&body.item.scope).await?;
    ask.require(Right::ItemEdit, &place)?;
    Ok((body, place))
}

/// `POST /items/check`: what is wrong with a definition, and what it would cost; saves nothing.
pub async fn check(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let (body, _) = asked(&api, &ask).await?;
    Ok(Answer::ok(draft(&api, &ask, body.item).await?).page(Page::Item))
}

/// The page of a definition that is not saved, over what is.
async fn draft(api: &Api, ask: &Ask, item: ItemDoc) -> Result<ItemPage, Fail> {
    let revisions = match api.app.store.item_revisions(&ask.caller, &item.id()).await {
        Ok(revisions) => revisions,
        Err(store::Error::NotFound(_)) => Vec::new(),
        Err(e) => return Err(e.into()),
    };
    let rev = revisions.first().filter(|r| !r.deleted).map_or(0, |r| r.rev);
    Ok(page(api, ask, item, rev, revisions))
}

/// `POST /items/test`: reads the definition once on one instance.
pub async fn test(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let (body, _) = asked(&api, &ask).await?;
    let compiled = match checked(&api, &body.item) {
        Ok((compiled, _)) => compiled,
        Err(flaws) => return Err(refused(&flaws)),
    };
    let (instance, place) = node(&api, &ask, &body)?;
    let _turn = TESTS.try_acquire().map_err(|_| {
        let detail = format!("{TESTS_MAX} test runs are going on");
        Problem::new(Code::OverCapacity, detail, "Try again in a second.")
    })?;
    let bare = ask.caller.may(Right::DataRead, &place);
    let what = json!({
        "instance": instance, "unmasked": bare,
        "item": serde_json::to_string(&body.item).unwrap_or_default(),
    });
    let entry = AuditEntry::new("item.test", body.item.id(), place).change(Value::Null, what);
    api.app.store.audit_write(&ask.caller, entry, ask.now).await?;
    let tested = run(&api, &ask, &compiled, &instance, bare).await;
    let mut page = draft(&api, &ask, body.item).await?;
    page.cost.took_us = Some(tested.took_us).filter(|us| *us > 0);
    page.test = Some(tested);
    Ok(Answer::ok(page).page(Page::Item))
}

/// The instance to test on: a data node in the item's scope and in the caller's sight.
fn node(api: &Api, ask: &Ask, body: &Body) -> Result<(InstanceId, Place), Fail> {
    let sight = Sight::new(&api.app, ask);
    let Some(wanted) = &body.instance else {
        return Err(invalid("/instance", "name the instance to ask"));
    };
    let found = sight.instance(wanted.as_str())?;
    let service = sight.service(found.id.service().as_str())?;
    let place = Place::service(&service.id, &service.system);
    if found.kind == InstanceKind::Sentinel {
        return Err(invalid("/instance", "a Sentinel holds no data; name a data node"));
    }
    if !body.item.scope.covers(&place) {
        let scope = String::from(body.item.scope.clone());
        return Err(invalid("/instance", format!("{wanted} does not lie in {scope}")));
    }
    Ok((found.id.clone(), place))
}

async fn run(api: &Api, ask: &Ask, item: &Compiled, instance: &InstanceId, bare: bool) -> ItemTest {
    let app = &api.app;
    let row = app.board.row(instance);
    let facts = row.as_ref().and_then(|r| r.facts()).cloned().unwrap_or_else(Facts::default);
    let target = match app.targets.load().get(instance) {
        Some(Ok(target)) => target.clone(),
        Some(Err(why)) => return unread(instance, why),
        None => return unread(instance, "the instance is not watched"),
    };
    if row.is_none_or(|r| !r.reading.up) {
        return unread(instance, "the latest poll of the instance failed");
    }
    let deadline = Duration::from_millis(app.config.link.deadline_ms);
    let tried = async {
        let mut link = link::dial(&target, deadline).await?;
        try_once(&mut link, item, &facts, ask.now, bare).await
    };
    match tried.await {
        Ok(trial) => told(instance, trial, ask),
        Err(e) => unread(instance, &format!("{}: {}", e.reason.as_str(), e.detail)),
    }
}

fn unread(instance: &InstanceId, why: &str) -> ItemTest {
    ItemTest {
        instance: instance.clone(),
        commands: Vec::new(),
        raw: String::new(),
        masked: true,
        points: Vec::new(),
        fault: Some(model::item::ItemFault::Connection),
        detail: why.chars().take(200).collect(),
        took_us: 0,
        ping_us: 0,
    }
}

fn told(instance: &InstanceId, trial: Trial, ask: &Ask) -> ItemTest {
    let Trial { commands, raw, masked, series, fault, detail, took_us, ping_us } = trial;
    let point = |s: &ItemSeries| ItemPoint {
        instance: instance.clone(),
        labels: shown_labels(s),
        value: Some(s.value),
        fault: None,
        at: ask.now,
    };
    let points = series.iter().take(SHOWN_MAX).map(point).collect();
    let instance = instance.clone();
    ItemTest { instance, commands, raw, masked, points, fault, detail, took_us, ping_us }
}

fn refused(flaws: &[ItemFlaw]) -> Fail {
    let first = flaws.first().map(|f| f.detail.clone()).unwrap_or_default();
    let detail = match flaws.len() {
        0 | 1 => first,
        n => format!("{first} (and {} more)", n - 1),
    };
    let mut p = Problem::new(Code::Invalid, detail, "Correct what is named and send it again.");
    let told =
        |f: &ItemFlaw| json!({ "pointer": format!("/item{}", f.pointer), "detail": f.detail });
    p.errors = flaws.iter().map(told).collect();
    p.into()
}

/// `PUT /items/{id}`: creates or replaces.
pub async fn put(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let (body, _) = asked(&api, &ask).await?;
    let id = body.item.id().to_string();
    // A form for a new item cannot know its path before it is sent.
    if !ask.id().is_empty() && ask.id() != id {
        return Err(invalid("/item/name", format!("the path says {}, the item {id}", ask.id())));
    }
    let before = draft(&api, &ask, body.item.clone()).await?;
    let based = based_on(&ask, body.rev, &before)?;
    save(&api, &ask, &body.item, &body.reason, based).await
}

/// Revision a change is based on: the body's, or `If-Match`; a new item needs neither.
fn based_on(ask: &Ask, given: Option<i64>, present: &ItemPage) -> Result<Option<i64>, Fail> {
    match given {
        Some(rev) if rev != present.rev => Err(moved(&rev.to_string(), present.rev, present)),
        Some(_) => Ok(given),
        None if present.rev == 0 && ask.header(header::IF_MATCH.as_str()).is_empty() => Ok(Some(0)),
        None => if_match(ask, present.rev, present).map(|()| Some(present.rev)),
    }
}

async fn save(
    api: &Api,
    ask: &Ask,
    item: &ItemDoc,
    reason: &str,
    rev: Option<i64>,
) -> Result<Answer, Fail> {
    let flaws = match checked(api, item) {
        Ok((_, judged)) => judged.flaws,
        Err(flaws) => flaws,
    };
    if !flaws.is_empty() {
        return Err(refused(&flaws));
    }
    let change = ItemChange { item, delete: false, reason, rev };
    write(api, ask, &change).await?;
    let page = draft(api, ask, item.clone()).await?;
    let rev = page.rev;
    Ok(Answer::ok(page).rev(rev).page(Page::Item))
}

/// Writes a change and puts it in force.
async fn write(api: &Api, ask: &Ask, change: &ItemChange<'_>) -> Result<(), Fail> {
    match api.app.store.item_put(&ask.caller, change, ask.now).await {
        Ok(_) => {}
        Err(store::Error::Moved { present, .. }) => {
            let now = draft(api, ask, change.item.clone()).await?;
            let given = change.rev.map(|r| r.to_string()).unwrap_or_default();
            return Err(moved(&given, present, &now));
        }
        Err(e) => return Err(e.into()),
    }
    api.app.reload_inventory().await.map_err(|e| {
        tracing::error!(cause = %format!("{e:#}"), "an item is saved, but not in force yet");
        let detail = "the item is saved, but could not be read back: it is in force within seconds";
        Problem::new(Code::NotWritable, detail, "Look at it again in some seconds.").into()
    })
}

/// `DELETE /items/{id}`; `?reason=`.
pub async fn delete(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    #[derive(Deserialize, Default)]
    struct Said {
        #[serde(default)]
        reason: String,
        #[serde(default)]
        rev: Option<i64>,
    }
    let said: Said = if ask.body.is_empty() { Said::default() } else { ask.json()? };
    let id = id_of(&ask)?;
    let place = api.app.store.item_place(&id.scope).await?;
    let revisions = api.app.store.item_revisions(&ask.caller, &id).await?;
    ask.require(Right::ItemEdit, &place)?;
    let (rev, item) = present(&revisions);
    if rev == 0 {
        return Err(problem::not_found(&format!("item {id}")).into());
    }
    let before = page(&api, &ask, item.clone(), rev, revisions);
    let based = based_on(&ask, said.rev, &before)?;
    let reason = if said.reason.is_empty() { ask.query("reason") } else { &said.reason };
    // Whatever needs it would say nothing any more: the same flaws as when it is switched off.
    let off = ItemDoc { enabled: false, ..item.clone() };
    if let Ok((_, judged)) = checked(&api, &off)
        && let Some(flaw) = judged.flaws.iter().find(|f| f.pointer.is_empty())
    {
        return Err(refused(std::slice::from_ref(flaw)));
    }
    write(&api, &ask, &ItemChange { item: &item, delete: true, reason, rev: based }).await?;
    let revisions = api.app.store.item_revisions(&ask.caller, &id).await?;
    Ok(Answer::ok(page(&api, &ask, item, 0, revisions)).page(Page::Item))
}

/// `POST /items/{id}/restore`: an old revision becomes the newest one.
pub async fn restore(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        rev: i64,
        #[serde(default)]
        reason: String,
    }
    let wanted: Wanted = ask.json()?;
    let id = id_of(&ask)?;
    let place = api.app.store.item_place(&id.scope).await?;
    let revisions = api.app.store.item_revisions(&ask.caller, &id).await?;
    ask.require(Right::ItemEdit, &place)?;
    let Some(old) = revisions.iter().find(|r| r.rev == wanted.rev) else {
        return Err(problem::not_found(&format!("revision {} of item {id}", wanted.rev)).into());
    };
    let (rev, _) = present(&revisions);
    let reason = match wanted.reason.trim() {
        "" => format!("restored from revision {}", old.rev),
        said => said.to_string(),
    };
    save(&api, &ask, &old.item, &reason, Some(rev)).await
}

/// A definition that was not taken, with what is wrong, for the form it came from.
pub async fn again(api: &Api, ask: &Ask, problem: &Problem) -> Option<Value> {
    let body: Body = ask.json().ok()?;
    let mut page = draft(api, ask, body.item).await.ok()?;
    if page.flaws.is_empty() {
        let (pointer, detail) = (String::new(), problem.detail.clone());
        page.flaws.push(ItemFlaw { pointer, detail });
    }
    serde_json::to_value(page).ok()
}
