//! Instances: the list and one with its latest reading.
//!
//! Invariant: no text a client of that Redis wrote is answered but the server's own facts; slow
//! commands, keys and client names need a right of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::reading::Facts;
use model::row::Row;
use model::view::{AcceptLine, InstanceItem, InstancePage};

use super::ask::{Answer, Ask, Fail};
use super::sight::Sight;
use super::{Api, brief, list};
use crate::watch::AcceptSeen;

/// `GET /instances`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let sight = Sight::new(&api.app, &ask);
    let (q, scope) = (ask.query("q"), ask.query("in"));
    let mut items: Vec<InstanceItem> = Vec::new();
    for service in sight.inventory.services.values().filter(|s| sight.inside(scope, s)) {
        let members = sight.members(&service.id);
        let all = members.iter().map(|m| brief::instance(m, &members, ask.now));
        items.extend(all.filter(|i| {
            list::matches(q, &[i.id.as_str(), &i.zone, &i.role, &i.state, &i.host, &i.kind])
        }));
    }
    let down = ask.query("sort").starts_with('-');
    items.sort_by(|a, b| a.id.cmp(&b.id));
    match ask.query("sort").trim_start_matches('-') {
        "score" => list::by_number(&mut items, down, |i| i.health.score),
        "mem" => list::by_number(&mut items, down, |i| i.memory_used_bytes),
        "ops" => list::by_number(&mut items, down, |i| i.ops_per_s),
        "name" if down => items.reverse(),
        _ => {}
    }
    Ok(Answer::ok(list::page(&ask, items, |i| i.id.to_string(), ask.now)))
}

/// `GET /instances/{id}`.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let sight = Sight::new(&api.app, &ask);
    let instance = sight.instance(ask.id())?;
    let service = sight.service(instance.id.service().as_str())?;
    let members = sight.members(&service.id);
    let member = sight.member(instance);
    let row = member.row.as_deref();
    let facts = row.and_then(|r| r.last_good.as_ref()).map(|g| &g.facts);
    let failure = row.and_then(|r| r.reading.failure.as_ref());
    let desk = api.app.watching.desks.of(&instance.id);
    Ok(Answer::ok(InstancePage {
        as_of: ask.now,
        instance: brief::instance(&member, &members, ask.now),
        system: service.system.to_string(),
        health: row.and_then(|r: &Row| r.score.as_deref()).cloned(),
        values: facts.map(values).unwrap_or_default(),
        texts: facts.map(texts).unwrap_or_default(),
        upstream: facts.and_then(|f| f.upstream.clone()).unwrap_or_default(),
        failure: failure
            .map(|f| format!("{}: {}", f.reason.as_str(), f.detail))
            .unwrap_or_default(),
        accept: desk.as_ref().and_then(|d| d.accept()).map(accept),
        turbo_until: desk.and_then(|d| d.turbo(tokio::time::Instant::now())),
        interval_ms: row.map(|r| r.reading.interval_ms),
    }))
}

fn accept(seen: AcceptSeen) -> AcceptLine {
    let failure = seen.failure.map(|f| format!("{}: {}", f.reason.as_str(), f.detail));
    AcceptLine {
        at: seen.at,
        ok: failure.is_none(),
        duration_us: seen.total_us,
        failure: failure.unwrap_or_default(),
    }
}

fn values(facts: &Facts) -> BTreeMap<String, f64> {
    facts.values.known().map(|(f, v)| (f.info().metric.to_string(), v)).collect()
}

fn texts(facts: &Facts) -> BTreeMap<String, String> {
    let t = &facts.text;
    [
        ("redis_version", &t.version),
        ("valkey_version", &t.valkey_version),
        ("mode", &t.mode),
        ("os", &t.os),
        ("run_id", &t.run_id),
        ("maxmemory_policy", &t.maxmemory_policy),
        ("mem_allocator", &t.allocator),
    ]
    .into_iter()
    .filter(|(_, v)| !v.is_empty())
    .map(|(k, v)| (k.to_string(), v.clone()))
    .collect()
}
