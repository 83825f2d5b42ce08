//! An instance's surroundings, as its score needs them: lag, healthy replicas, rival masters, host.
//!
//! Invariant: read from the Board and the inventory alone; what a neighbour's latest row does not
//! say is not known. Refuses to know scores.

use std::sync::Arc;

use exporter::topology;
use model::At;
use model::field::Field;
use model::inventory::Inventory;
use model::reading::{Reading, Role};
use model::row::Row;
use model::service::{Instance, Mode, Service};
use model::verdict::Verdict;
use scorer::{Around, HostMemory, Past};

use crate::app::App;

/// The surroundings of `instance`, whose newest `reading` is not on the Board yet.
pub(crate) fn around<'a>(
    app: &App,
    inventory: &Inventory,
    (service, instance, policy): (&'a Service, &'a Instance, &scorer::Policy),
    reading: &Reading,
    role_since: Option<At>,
    verdict: &'a Verdict,
) -> Around<'a> {
    let others: Vec<Option<Arc<Row>>> = inventory
        .nodes(&service.id)
        .filter(|i| i.id != instance.id)
        .map(|i| app.board.row(&i.id))
        .collect();
    let all_polled = others.iter().all(Option::is_some);
    let others: Vec<Arc<Row>> = others.into_iter().flatten().collect();
    let role = reading.facts.role;
    let (past, expected) = expected(app, inventory, service, instance);
    let required = policy.replicas.unwrap_or(expected);
    Around {
        service,
        instance,
        verdict,
        lag_bytes: if role == Some(Role::Replica) { lag_bytes(reading, &others) } else { None },
        healthy_replicas: match role {
            // What was never polled is neither healthy nor missing.
            Some(Role::Master) => healthy_replicas(instance, &others)
                .filter(|healthy| all_polled || *healthy >= required),
            _ => None,
        },
        required_replicas: required,
        masters_in_group: masters_in_group(service, reading, role_since, &others),
        host_memory: host_memory(app, inventory, instance, reading),
        slowlog_limit_ms: None,
        past,
    }
}

/// The past of the instance's shard, and the replicas its master must have: declared, else the most
/// seen healthy in a week. What the inventory does not list any more is not missing.
fn expected(
    app: &App,
    inventory: &Inventory,
    service: &Service,
    instance: &Instance,
) -> (Past, u32) {
    let shard = if service.mode == Mode::Cluster { instance.shard } else { 0 };
    let past = app.usage.past(&service.id, shard);
    if service.replicas_wanted > 0 {
        return (past, service.replicas_wanted);
    }
    let nodes = inventory.nodes(&service.id);
    let mine = nodes.filter(|i| service.mode != Mode::Cluster || i.shard == instance.shard);
    let listed = mine.count().saturating_sub(1) as u32;
    (past, past.replicas.unwrap_or(0).min(listed))
}

/// Master's offset − this replica's; the two were read up to an interval apart, so a replica that
/// was asked later may be ahead: that is 0.
fn lag_bytes(reading: &Reading, others: &[Arc<Row>]) -> Option<f64> {
    let upstream = reading.facts.upstream.as_deref()?;
    let master = others.iter().find(|r| r.instance.id.address() == upstream)?.facts()?;
    let received = reading.facts.offset.filter(|o| *o >= 0.0)?;
    (master.role == Some(Role::Master)).then_some((master.offset? - received).max(0.0))
}

/// Healthy replicas that follow this master; none while any that might is unknown.
fn healthy_replicas(instance: &Instance, others: &[Arc<Row>]) -> Option<u32> {
    let mut healthy = 0;
    for row in others {
        let follows = upstream(row) == Some(instance.id.address());
        match scorer::replica_healthy(row) {
            Some(true) if follows => healthy += 1,
            None if follows => return None,
            _ => {}
        }
    }
    Some(healthy)
}

/// The master a node followed when it last said so.
fn upstream(row: &Row) -> Option<&str> {
    let reading = if row.reading.up { &row.reading } else { row.last_good.as_ref()? };
    reading.facts.upstream.as_deref()
}

/// Masters that answer now and claim the same data, this one included.
/// A row from before a failover proves nothing: each must have said it after the other began to.
fn masters_in_group(
    service: &Service,
    reading: &Reading,
    role_since: Option<At>,
    others: &[Arc<Row>],
) -> u32 {
    if !reading.up || reading.facts.role != Some(Role::Master) {
        return 0;
    }
    let together = |row: &Arc<Row>| {
        let since = role_since.is_some_and(|mine| row.reading.at >= mine);
        since && row.role_since.is_some_and(|theirs| reading.at >= theirs)
    };
    let masters = topology::masters(others).into_iter().filter(|m| together(m));
    let masters: Vec<_> = masters.collect();
    let rivals = match service.mode {
        Mode::Sentinel => masters.len(),
        Mode::Cluster => masters.iter().filter(|r| shares_slots(reading, r)).count(),
        // Several masters side by side are what a standalone service may be made of.
        Mode::Standalone | Mode::Sentinels => 0,
    };
    1 + rivals as u32
}

/// Both nodes claim one slot in their own lines: each answers for it.
fn shares_slots(reading: &Reading, other: &Row) -> bool {
    let own = |facts: &model::reading::Facts| {
        let view = facts.cluster.as_ref()?;
        Some(view.nodes.iter().find(|n| n.id == view.my_id)?.slots.clone())
    };
    let Some((mine, theirs)) = own(&reading.facts).zip(other.facts().and_then(own)) else {
        return false;
    };
    mine.iter().any(|(a, b)| theirs.iter().any(|(c, d)| a <= d && c <= b))
}

/// Memory of the host all its instances share: as the inventory knows it, else as the server says.
pub(crate) fn host_memory(
    app: &App,
    inventory: &Inventory,
    instance: &Instance,
    reading: &Reading,
) -> Option<HostMemory> {
    let id = instance.host.as_ref()?;
    let listed = inventory.hosts.get(id).map(|h| h.memory_bytes as f64).filter(|b| *b > 0.0);
    let said = || reading.get(Field::TotalSystemMemory).filter(|b| *b > 0.0);
    let total = listed.or_else(said)?;
    let own = reading.get(Field::UsedMemoryRss)?;
    let on_host = app.on_host.load();
    let others = on_host.get(id)?.iter().filter(|other| **other != instance.id);
    let rss_of = |id| app.board.row(id).and_then(|r| r.facts()?.values.get(Field::UsedMemoryRss));
    let rss: f64 = others.filter_map(rss_of).sum();
    Some(HostMemory { total_bytes: total, instances_rss_bytes: own + rss })
}
