//! Why a score is what it is, at every level: now, at a past moment, and with other inputs.
//!
//! Invariant: the waterfall answered is the one the score was made with, not computed again; a what-if
//! changes nothing and is made by the same code; what lies in sight only in part is explained from that
//! part.

mod levers;
mod past;
mod rebuild;
mod whatif;

use std::sync::Arc;

use model::code::{Code, Problem};
use model::health::{Crumb, HealthPage, Source, page_of};
use model::score::{Explained, Level};
use model::service::{Instance, InstanceKind, Service};
use model::{At, InstanceId};
use portal::Page;
use serde_json::json;

use super::ask::{Answer, Ask, Fail, invalid};
use super::sight::Sight;
use super::{Api, brief, problem};
use whatif::Wishes;

/// Children answered at most, the worst: more is a list, and lists have pages of their own.
const CHILDREN_MAX: usize = 20;
/// Stored moments answered at most, and how far back.
const MARKS_MAX: i64 = 200;
const MARKS_MS: i64 = 86_400_000;

/// What is asked about.
pub(super) struct Subject {
    level: Level,
    id: String,
    above: Vec<Crumb>,
    /// Whether the caller sees all of it: history is kept of whole objects only.
    whole: bool,
}

/// `GET …/health`, at every level.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let (subject, wishes) = {
        let sight = Sight::new(&api.app, &ask);
        let subject = Subject::of(&sight, &ask)?;
        let wishes = Wishes::of_query(&subject, &ask)?;
        (subject, wishes)
    };
    let at = ask.query("at");
    let page = match (at.is_empty(), wishes.is_empty()) {
        (true, _) => present(&api, &ask, &subject, &wishes)?,
        (false, true) => past::page(&api, &ask, &subject, at).await?,
        (false, false) => {
            let said = "inputs are set on the present: leave either at or set.… out";
            return Err(invalid("/at", said));
        }
    };
    Ok(Answer::ok(with_history(&api, &ask, &subject, page).await).page(Page::Health))
}

/// `POST …/health/whatif`, at every level.
pub async fn whatif(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let (subject, wishes) = {
        let sight = Sight::new(&api.app, &ask);
        let subject = Subject::of(&sight, &ask)?;
        let wishes = Wishes::of_body(&subject, &ask)?;
        (subject, wishes)
    };
    let page = present(&api, &ask, &subject, &wishes)?;
    Ok(Answer::ok(with_history(&api, &ask, &subject, page).await))
}

/// The score in force, or what it would be with `wishes`.
fn present(api: &Api, ask: &Ask, subject: &Subject, wishes: &Wishes) -> Result<HealthPage, Fail> {
    let sight = Sight::new(&api.app, ask);
    let in_force = subject.score(&sight).ok_or_else(|| not_yet(&subject.id))?;
    let (children, children_count) = children(&sight, subject);
    let mut page = HealthPage {
        children,
        children_count,
        inputs: levers::levers(&api.app, &sight, subject, wishes),
        ..page(subject, Explained::clone(&in_force), ask.now)
    };
    if wishes.is_empty() {
        if subject.level != Level::Instance {
            page.health.suggestions = levers::suggestions(&api.app, &sight, subject, &in_force);
        }
        return Ok(page);
    }
    page.health = whatif::evaluate(&api.app, &sight, subject, wishes)?;
    page.source = Source::WhatIf;
    page.overrides = wishes.to_json(subject);
    page.present = Some(brief::score(Some(&in_force)));
    Ok(page)
}

/// A page of nothing but a score.
fn page(subject: &Subject, health: Explained, now: At) -> HealthPage {
    HealthPage {
        health,
        as_of: now,
        source: Source::Live,
        asked: None,
        exact: true,
        above: subject.above.clone(),
        children: Vec::new(),
        children_count: 0,
        overrides: json!({}),
        present: None,
        inputs: Vec::new(),
        history: Vec::new(),
        history_missing: String::new(),
    }
}

async fn with_history(api: &Api, ask: &Ask, subject: &Subject, mut page: HealthPage) -> HealthPage {
    if !subject.whole {
        page.history_missing = PART_ONLY.into();
        return page;
    }
    let (of, since) = ((subject.level, subject.id.as_str()), ask.now - MARKS_MS);
    match api.app.store.explained_marks(&ask.caller, of, since, MARKS_MAX).await {
        Ok(marks) => page.history = marks,
        Err(e) => {
            tracing::warn!(error = %e, "a history of scores could not be read");
            page.history_missing = "the store is not available".into();
        }
    }
    page
}

/// Why there is no history for a caller with a narrow scope.
const PART_ONLY: &str = "only a part of it is in your scope, and history is kept of the whole";

impl Subject {
    fn of(sight: &Sight<'_>, ask: &Ask) -> Result<Subject, Fail> {
        let word = ask.action.id.split('.').next().unwrap_or_default();
        let level = Level::parse(word).ok_or_else(|| Fail::from(problem::fault()))?;
        match level {
            Level::Instance => Subject::instance(sight, sight.instance(ask.id())?),
            Level::Shard => Subject::shard(sight, sight.service(ask.id())?, ask),
            Level::Service => {
                let service = sight.service(ask.id())?;
                Ok(Subject::new(sight, level, service.id.as_str(), owners(service)))
            }
            Level::System => {
                let system = sight.system(ask.id())?;
                let above = vec![crumb(Level::Tenant, system.id.tenant().as_str())];
                Ok(Subject::new(sight, level, system.id.as_str(), above))
            }
            Level::Tenant | Level::Fleet => {
                let tenant = sight.tenant(ask.id())?;
                Ok(Subject::new(sight, level, tenant.id.as_str(), Vec::new()))
            }
        }
    }

    fn new(sight: &Sight<'_>, level: Level, id: &str, above: Vec<Crumb>) -> Subject {
        Subject { level, id: id.to_owned(), above, whole: sight.sees_all_of(level, id) }
    }

    fn instance(sight: &Sight<'_>, instance: &Instance) -> Result<Subject, Fail> {
        if instance.kind == InstanceKind::Sentinel {
            let detail = "a Sentinel has no score: it is watched and alerted on";
            return Err(Problem::new(Code::NotFound, detail, "Look at the instance itself.").into());
        }
        let service = sight.service(instance.id.service().as_str())?;
        let shard = format!("{}/{}", service.id, shard_of(sight, instance));
        let mut above = owners(service);
        above.push(crumb(Level::Service, service.id.as_str()));
        above.push(crumb(Level::Shard, &shard));
        Ok(Subject::new(sight, Level::Instance, instance.id.as_str(), above))
    }

    fn shard(sight: &Sight<'_>, service: &Service, ask: &Ask) -> Result<Subject, Fail> {
        let given = ask.path.get("n").map(String::as_str).unwrap_or_default();
        let has = |n: &u32| sight.inventory.nodes(&service.id).any(|i| shard_of(sight, i) == *n);
        let Some(n) = given.parse().ok().filter(has) else {
            let given: String = given.chars().take(20).collect();
            return Err(problem::not_found(&format!("shard {given} of {}", service.id)).into());
        };
        let mut above = owners(service);
        above.push(crumb(Level::Service, service.id.as_str()));
        Ok(Subject::new(sight, Level::Shard, &format!("{}/{n}", service.id), above))
    }

    fn score(&self, sight: &Sight<'_>) -> Option<Arc<Explained>> {
        match self.level {
            Level::Instance => sight.row(&self.id.parse().ok()?)?.score.clone(),
            level => sight.rolled(level, &self.id),
        }
    }

    /// The services it is made of.
    fn services<'s>(&self, sight: &'s Sight<'_>) -> Vec<&'s Service> {
        let part = self.id.split(['/', '@']).next().unwrap_or_default();
        let mine = |s: &&Service| match self.level {
            Level::System => s.system.as_str() == self.id,
            Level::Tenant => s.id.tenant().as_str() == self.id,
            Level::Fleet => true,
            _ => s.id.as_str() == part,
        };
        sight.inventory.services.values().filter(mine).collect()
    }

    /// Whether an instance is part of it.
    fn holds(&self, sight: &Sight<'_>, id: &InstanceId) -> bool {
        let Some(instance) = sight.inventory.instances.get(id) else { return false };
        let service = id.service();
        match self.level {
            Level::Instance => id.as_str() == self.id,
            Level::Shard => self.id == format!("{service}/{}", shard_of(sight, instance)),
            Level::Service => service.as_str() == self.id,
            Level::System => {
                let service = sight.inventory.services.get(&service);
                service.is_some_and(|s| s.system.as_str() == self.id)
            }
            Level::Tenant => service.tenant().as_str() == self.id,
            Level::Fleet => true,
        }
    }

    /// The data nodes it is made of.
    fn nodes<'s>(&self, sight: &'s Sight<'_>) -> Vec<&'s Instance> {
        let services = self.services(sight);
        let all = services.into_iter().flat_map(|s| sight.inventory.nodes(&s.id));
        let mine = |i: &&Instance| match self.level {
            Level::Instance => i.id.as_str() == self.id,
            Level::Shard => self.id.ends_with(&format!("/{}", shard_of(sight, i))),
            _ => true,
        };
        all.filter(mine).collect()
    }
}

/// The shard an instance is in: as learnt from the cluster, else as the inventory says.
fn shard_of(sight: &Sight<'_>, instance: &Instance) -> u32 {
    sight.row(&instance.id).map_or(instance.shard, |row| row.instance.shard)
}

fn crumb(level: Level, id: &str) -> Crumb {
    Crumb { level, id: id.to_owned(), link: page_of(level, id) }
}

/// Tenant and system of a service.
fn owners(service: &Service) -> Vec<Crumb> {
    let tenant = service.id.tenant();
    vec![crumb(Level::Tenant, tenant.as_str()), crumb(Level::System, service.system.as_str())]
}

/// The levels below, worst first, and how many there are.
fn children(sight: &Sight<'_>, subject: &Subject) -> (Vec<Explained>, usize) {
    let (level, id) = (subject.level, subject.id.as_str());
    let instances = || -> Vec<Arc<Explained>> {
        subject.nodes(sight).iter().filter_map(|i| sight.row(&i.id)?.score.clone()).collect()
    };
    let all: Vec<Arc<Explained>> = match level {
        Level::Instance => Vec::new(),
        Level::Shard => instances(),
        Level::Service => {
            let nodes = subject.nodes(sight);
            let shards = nodes.iter().map(|i| shard_of(sight, i)).max().map_or(0, |n| n + 1);
            let ids = (0..shards).map(|n| format!("{id}/{n}"));
            let shards: Vec<_> = ids.filter_map(|s| sight.rolled(Level::Shard, &s)).collect();
            // A shard alone says nothing its nodes do not.
            if shards.len() > 1 { shards } else { instances() }
        }
        Level::System => {
            let services = subject.services(sight).into_iter();
            services.filter_map(|s| sight.rolled(Level::Service, s.id.as_str())).collect()
        }
        Level::Tenant | Level::Fleet => {
            let systems = sight.inventory.systems.keys().filter(|s| s.tenant().as_str() == id);
            systems.filter_map(|s| sight.rolled(Level::System, s.as_str())).collect()
        }
    };
    worst_first(all)
}

/// Children as answered: those without a number before all, then the lowest score.
fn worst_first(mut children: Vec<Arc<Explained>>) -> (Vec<Explained>, usize) {
    let count = children.len();
    let key = |e: &Explained| e.score.unwrap_or(-1.0);
    children.sort_by(|a, b| key(a).total_cmp(&key(b)).then_with(|| a.id.cmp(&b.id)));
    children.truncate(CHILDREN_MAX);
    (children.iter().map(|e| Explained::clone(e)).collect(), count)
}

/// Nothing was scored yet.
fn not_yet(id: &str) -> Fail {
    Problem::new(
        Code::NoHistory,
        format!("{id} is not scored yet: no poll has ended"),
        "Ask again after one polling interval.",
    )
    .into()
}
