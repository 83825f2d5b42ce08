//! Previews of score policies: which services a change would reach, and what it would have made of the
//! moments that are remembered.
//!
//! Invariant: nothing is changed; the hash names everything the change is decided on (its documents,
//! the tree it reaches, the time), and nothing that moves by itself. Refuses to know callers.

mod series;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::At;
use model::audit::sha256_hex;
use model::board::Board;
use model::inventory::Inventory;
use model::reading::Reading;
use model::right::Scope;
use model::row::Row;
use model::score_policy::{
    IgnoredField, PolicyFlaw, ScorePolicyDoc, ScorePolicyPreview, ScorePolicyRevision, ShadowLine,
};
use model::service::{Instance, InstanceKind, Service};
use scorer::policy::{Base, Replaced};
use scorer::shadow::Member;
use scorer::{Inputs, Policies, Scene};

use crate::app::App;
use crate::items;
use crate::watch::{Desks, Recall};

/// How long a preview may be decided on: scores of an hour ago say little about now.
const PREVIEW_MS_MAX: i64 = 3_600_000;
/// Instance scores one preview may make: some seconds of one core.
const SCORES_MAX: usize = 60_000;
/// Revision a draft counts as; none is in force that is larger.
const DRAFT: i64 = i64::MAX;

/// The scopes above one, outermost first.
pub(crate) fn above(inventory: &Inventory, scope: &Scope) -> Vec<Scope> {
    match scope {
        Scope::Platform => Vec::new(),
        Scope::Tenant(_) => vec![Scope::Platform],
        Scope::System(id) => vec![Scope::Platform, Scope::Tenant(id.tenant())],
        Scope::Service(id) => {
            let system = inventory.services.get(id).map(|s| Scope::System(s.system.clone()));
            let outer = [Scope::Platform, Scope::Tenant(id.tenant())];
            outer.into_iter().chain(system).collect()
        }
    }
}

/// What documents at a scope are laid upon.
pub(crate) fn base(inventory: &Inventory, scope: &Scope) -> Base {
    match scope {
        Scope::Service(id) => inventory.services.get(id).map(Base::of).unwrap_or_default(),
        _ => Base::default(),
    }
}

/// What stands against a document.
pub(crate) fn flaws(
    inventory: &Inventory,
    policies: &Policies,
    doc: &ScorePolicyDoc,
    now: At,
) -> Vec<PolicyFlaw> {
    let above = policies.at(&above(inventory, &doc.scope), &base(inventory, &doc.scope));
    scorer::policy::judge(doc, &above, now)
}

/// The hash of a change decided at a time.
pub(crate) fn hash(
    inventory: &Inventory,
    policies: &Policies,
    doc: &ScorePolicyDoc,
    at: At,
) -> String {
    let reached: Vec<&Service> = items::services(inventory, &doc.scope).collect();
    let above = above(inventory, &doc.scope);
    let own = [doc.scope.clone()];
    let systems = reached.iter().map(|s| Scope::System(s.system.clone()));
    let below = reached.iter().map(|s| Scope::Service(s.id.clone())).chain(systems);
    let tenants = reached.iter().map(|s| Scope::Tenant(s.id.tenant()));
    let mut revisions: BTreeMap<String, i64> = BTreeMap::new();
    for scope in above.into_iter().chain(own).chain(below).chain(tenants) {
        let rev = policies.revision(&scope).map_or(0, |r| r.rev);
        revisions.insert(String::from(scope), rev);
    }
    let tree: Vec<String> = reached
        .iter()
        .map(|s| {
            let from = (s.profile.as_str(), s.profile_from.as_str(), s.class.as_str());
            format!("{} {} {from:?} {}", s.id, s.system, s.replicas_wanted)
        })
        .collect();
    let doc = serde_json::to_string(doc).unwrap_or_default();
    let essence = format!("{}\n{doc}\n{revisions:?}\n{tree:?}", at.ms());
    format!("{}-{}", at.ms(), sha256_hex(essence.as_bytes()))
}

/// Whether a hash is that of a preview of this change that still says what would happen.
pub(crate) fn holds(
    inventory: &Inventory,
    policies: &Policies,
    doc: &ScorePolicyDoc,
    given: &str,
    now: At,
) -> bool {
    let at = given.split_once('-').and_then(|(ms, _)| ms.parse().ok()).map(At::from_ms);
    let fresh = |at: &At| (0..=PREVIEW_MS_MAX).contains(&now.since_ms(*at));
    at.filter(fresh).is_some_and(|at| hash(inventory, policies, doc, at) == given)
}

/// What a document would do.
pub(crate) async fn preview(app: &App, doc: &ScorePolicyDoc, now: At) -> ScorePolicyPreview {
    let inventory = app.inventory();
    let policies = app.policies.load_full();
    let flaws = flaws(&inventory, &policies, doc, now);
    let hash = hash(&inventory, &policies, doc, now);
    let past = past(app, &inventory, &policies, doc, now).await;
    let (board, doc) = (app.board.clone(), doc.clone());
    let drawn = move || draw(&inventory, &policies, &board, &past, &doc, now);
    // Some seconds of arithmetic for a large tenant: not on a thread that answers others.
    let mut preview = tokio::task::spawn_blocking(drawn).await.unwrap_or_else(|_| empty(now));
    (preview.flaws, preview.hash) = (flaws, hash);
    preview
}

/// What is remembered of the instances.
struct Past {
    memory: Moments,
    /// Of Prometheus, when it is configured, answers and is not asked for too much.
    recorded: Option<series::Recorded>,
    /// Why nothing is.
    why: String,
}

async fn past(
    app: &App,
    inventory: &Inventory,
    policies: &Policies,
    doc: &ScorePolicyDoc,
    now: At,
) -> Past {
    let mut past =
        Past { memory: moments(&app.watching.desks), recorded: None, why: String::new() };
    let Some(history) = &app.config.history else { return past };
    let (changed, _, _) = changed(inventory, policies, doc, now);
    let ids = changed.iter().flat_map(|r| inventory.nodes(&r.service.id)).map(|i| i.id.clone());
    let nodes: BTreeSet<_> = ids.collect();
    if nodes.is_empty() {
        return past;
    }
    if nodes.len() > series::NODES_MAX {
        past.why = format!("more than {} instances", series::NODES_MAX);
        return past;
    }
    match series::recorded(&history.url, &nodes, now).await {
        Ok(recorded) => past.recorded = Some(recorded),
        Err(e) => {
            tracing::warn!(error = format!("{e:#}"), "a preview has no history");
            past.why = "the history service does not answer".into();
        }
    }
    past
}

/// The services a document changes, how many it reaches without changing, and what would be ignored.
fn changed<'i>(
    inventory: &'i Inventory,
    policies: &Policies,
    doc: &'i ScorePolicyDoc,
    now: At,
) -> (Vec<Replaced<'i>>, usize, Vec<IgnoredField>) {
    let revision = ScorePolicyRevision {
        rev: DRAFT,
        doc: doc.clone(),
        by: String::new(),
        approver: String::new(),
        reason: String::new(),
        at: now,
    };
    let reached = items::services(inventory, &doc.scope);
    let reached = reached.filter(|s| s.mode != model::service::Mode::Sentinels);
    let (replaced, ignored) = policies.with(revision, reached);
    let all = replaced.len();
    let changed: Vec<_> = replaced.into_iter().filter(|r| !r.before.judges_as(&r.after)).collect();
    let unchanged = all - changed.len();
    (changed, unchanged, ignored)
}

fn empty(now: At) -> ScorePolicyPreview {
    ScorePolicyPreview {
        at: now,
        hash: String::new(),
        flaws: Vec::new(),
        source: "memory".into(),
        window_s: 0,
        step_s: 0,
        note: String::new(),
        services: Vec::new(),
        unchanged: 0,
        ignored: Vec::new(),
    }
}

type Moments = BTreeMap<model::InstanceId, Vec<(At, Arc<Inputs>)>>;

fn moments(desks: &Desks) -> Moments {
    desks.pasts().into_iter().filter(|(_, past)| !past.is_empty()).collect()
}

fn draw(
    inventory: &Inventory,
    policies: &Policies,
    board: &Board,
    past: &Past,
    doc: &ScorePolicyDoc,
    now: At,
) -> ScorePolicyPreview {
    let (changed, unchanged, ignored) = changed(inventory, policies, doc, now);
    let step_ms = Recall::of(inventory.instances.len()).step_ms;
    let nodes: usize = changed.iter().map(|r| inventory.nodes(&r.service.id).count()).sum();
    let moments_max = (SCORES_MAX / (2 * nodes.max(1))).max(1);
    let sentinels = sentinels(inventory, board);
    let mut preview = ScorePolicyPreview {
        unchanged: unchanged as u32,
        ignored,
        step_s: step_ms / 1000,
        ..empty(now)
    };
    let mut oldest = now;
    for one in &changed {
        let watchers = watchers(one.service, &sentinels);
        let mut scenes = scenes(inventory, board, &past.memory, one.service, &watchers, step_ms);
        if let Some(recorded) = &past.recorded {
            let nodes: Vec<&Instance> = inventory.nodes(&one.service.id).collect();
            let week = series::scenes(recorded, one.service, &nodes, &watchers);
            // What is not recorded yet is still in memory.
            if week.len() > 1 {
                scenes.truncate(1);
                scenes.extend(week);
                preview.source = "prometheus".into();
                preview.step_s = recorded.step_ms / 1000;
            }
        }
        // Beyond what one preview may compute every second, third … moment stands for the others.
        let stride = scenes.len().div_ceil(moments_max).max(1);
        let scenes: Vec<Scene> = scenes.into_iter().step_by(stride).collect();
        oldest = scenes.iter().map(|s| s.at).min().unwrap_or(now).min(oldest);
        preview.services.push(scorer::shadow(one.service, &scenes, &one.before, &one.after));
    }
    let fall = |l: &ShadowLine| l.score_before.unwrap_or(0.0) - l.score_after.unwrap_or(0.0);
    preview.services.sort_by(|a, b| fall(b).total_cmp(&fall(a)).then(a.service.cmp(&b.service)));
    preview.window_s = now.since_ms(oldest) / 1000;
    preview.note = note(&preview, &past.why);
    preview
}

/// How much history was compared, and why not more.
fn note(preview: &ScorePolicyPreview, why: &str) -> String {
    let reach = minutes(preview.window_s);
    if preview.source == "prometheus" {
        return format!("compared over the {reach} in Prometheus");
    }
    let because = if why.is_empty() { "older readings are not kept there" } else { why };
    format!("compared over the {reach} in memory: {because}")
}

fn minutes(seconds: i64) -> String {
    match seconds / 60 {
        0 => "latest reading".into(),
        1 => "last minute".into(),
        n if n < 180 => format!("last {n} minutes"),
        n if n < 2 * 1440 => format!("last {} hours", n / 60),
        n => format!("last {} days", n / 1440),
    }
}

/// Every Sentinel of the fleet: a shared one watches services of others.
fn sentinels(inventory: &Inventory, board: &Board) -> Vec<Arc<Row>> {
    let all = inventory.instances.values().filter(|i| i.kind == InstanceKind::Sentinel);
    all.filter_map(|i| board.row(&i.id)).collect()
}

/// The Sentinels that watch a service.
fn watchers(service: &Service, all: &[Arc<Row>]) -> Vec<Member> {
    let watches = |row: &&Arc<Row>| {
        let own = row.instance.id.service() == service.id;
        let named =
            |r: &Arc<Reading>| r.facts.masters.iter().any(|m| m.name == service.sentinel_master);
        own || row.last_good.as_ref().is_some_and(named)
    };
    all.iter().filter(watches).map(|row| (row.clone(), None)).collect()
}

/// The moments of a service: the present, then back in steps as far as all of its nodes remember;
/// none while one of them was never scored.
fn scenes(
    inventory: &Inventory,
    board: &Board,
    all: &Moments,
    service: &Service,
    watchers: &[Member],
    step_ms: i64,
) -> Vec<Scene> {
    type Node<'a> = (Arc<Row>, &'a [(At, Arc<Inputs>)]);
    let node = |i: &Instance| Some((board.row(&i.id)?, all.get(&i.id)?.as_slice()));
    let nodes: Option<Vec<Node<'_>>> = inventory.nodes(&service.id).map(node).collect();
    let nodes = nodes.unwrap_or_default();
    let Some(latest) = nodes.iter().filter_map(|(_, past)| Some(past.first()?.0)).max() else {
        return Vec::new();
    };
    let back = nodes.iter().filter_map(|(_, past)| Some(past.last()?.0)).max();
    let steps = latest.since_ms(back.unwrap_or(latest)) / step_ms.max(1);
    let scene = |k: i64| {
        let at = latest - k * step_ms;
        let member = |(row, past): &Node<'_>| {
            let seen = past.iter().find(|(seen, _)| *seen <= at).or_else(|| past.last());
            (row.clone(), seen.map(|(_, inputs)| inputs.clone()))
        };
        let members = nodes.iter().map(member).chain(watchers.iter().cloned()).collect();
        Scene { at, members }
    };
    (0..=steps).map(scene).collect()
}
