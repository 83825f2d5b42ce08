//! What single parameters ask before they are changed.
//!
//! Invariant: each refusal names node, value and limit. Pure.

use model::InstanceId;
use model::field::Field;
use model::plan::Checked;
use model::refusal::Refusal;
use model::service::Mode;

use super::{LOWER_SHARE, Params, Sight, Wishes, passed};
use crate::params::{Param, Risk, Rule};
use crate::topology::Node;

/// Descriptors a server keeps for itself beside its clients.
const DESCRIPTORS_OWN: u64 = 32;
/// maxmemory leaves this much above what is counted against it; below, it evicts or refuses writes.
const ROOM_ABOVE_USED: f64 = 1.05;
/// A rewrite stands beside the file it replaces.
const DISK_TIMES_USED: f64 = 2.0;

type Answer = Result<Option<Checked>, Refusal>;

pub(super) fn all(
    sight: &Sight<'_>,
    wishes: &Wishes,
    params: &Params,
) -> Result<Vec<Checked>, Refusal> {
    let mut checks = Vec::new();
    for (param, value) in wishes.values() {
        let answer = match param.rule {
            Rule::Memory => memory(sight, value)?,
            Rule::Eviction => eviction(sight, value)?,
            Rule::Clients => clients(sight, value)?,
            Rule::Replicas => replicas(sight, value)?,
            Rule::Disk => disk(sight, param, value, params)?,
            Rule::Failover => failover(sight, param, value)?,
            Rule::Plain | Rule::Restart | Rule::Never(_) => None,
        };
        checks.extend(answer);
        exists(sight, param)?;
    }
    idle(sight)?;
    Ok(checks)
}

/// Danger level: the highest risk, and data's when keys may be evicted that never were.
pub(super) fn level(sight: &Sight<'_>, wishes: &Wishes) -> u8 {
    let evicts = |(param, value): &(&Param, String)| {
        param.rule == Rule::Eviction && begins_to_evict(sight, value)
    };
    let shrinks = |(param, value): &(&Param, String)| {
        param.rule == Rule::Memory && masters(sight).any(|(_, n)| evicted_by(n, value) > 0.0)
    };
    let risk = |wish: &(&Param, String)| {
        if evicts(wish) || shrinks(wish) { Risk::Data } else { wish.0.risk }
    };
    wishes.values().map(|wish| risk(wish).level()).max().unwrap_or(Risk::Low.level())
}

fn masters<'a>(sight: &'a Sight<'_>) -> impl Iterator<Item = (&'a InstanceId, &'a Node)> {
    sight.snapshot.answered().filter(|(_, n)| n.master.is_none())
}

fn running<'a>(sight: &'a Sight<'_>, id: &InstanceId, name: &str) -> Option<&'a str> {
    let seen = sight.seen.iter().find(|s| s.id == *id)?;
    Some(seen.running.as_ref().ok()?.get(name)?.as_str())
}

fn refuse(check: &str, about: &InstanceId, why: String) -> Answer {
    Err(Refusal::new(check, about, why))
}

/// Every server that gets it has it.
fn exists(sight: &Sight<'_>, param: &Param) -> Result<(), Refusal> {
    for node in sight.seen.iter().filter(|s| s.is_sentinel == param.is_sentinels()) {
        let knows = node.running.as_ref().is_ok_and(|r| r.contains_key(param.name));
        let fits = node.engine.is_none_or(|e| param.exists_in(e));
        if !knows || !fits {
            let why = format!("{} has no parameter {}", node.id, param.name);
            return Err(Refusal::new("parameter", &node.id, why));
        }
    }
    Ok(())
}

/// P6, for nodes that load answer CONFIG and forget what was meant.
fn idle(sight: &Sight<'_>) -> Result<(), Refusal> {
    for (id, node) in sight.snapshot.answered() {
        if node.says(Field::Loading) || node.says(Field::MasterSyncInProgress) {
            let why = format!("{id} is loading or synchronising; try again when it is done");
            return Err(Refusal::new("P6", id, why));
        }
    }
    Ok(())
}

/// Bytes that count against maxmemory.
fn counted(node: &Node) -> f64 {
    let get = |field| node.get(field).unwrap_or_default();
    (get(Field::UsedMemory) - get(Field::MemNotCountedForEvict)).max(0.0)
}

/// Bytes a master would have to evict to fit; 0 = no limit.
fn evicted_by(node: &Node, value: &str) -> f64 {
    let wished: f64 = value.parse().unwrap_or_default();
    if wished == 0.0 { 0.0 } else { (counted(node) * ROOM_ABOVE_USED - wished).max(0.0) }
}

fn memory(sight: &Sight<'_>, value: &str) -> Answer {
    let wished: f64 = value.parse().unwrap_or_default();
    for (id, node) in sight.snapshot.answered() {
        let has: f64 = running(sight, id, "maxmemory").and_then(|v| v.parse().ok()).unwrap_or(0.0);
        let raised = has != 0.0 && (wished == 0.0 || wished > has);
        if raised && wished == 0.0 {
            return refuse("P8", id, format!("maxmemory 0 takes the limit of {id} away: name one"));
        }
        let Some(room) = sight.hosts.get(id) else { continue };
        if raised {
            room.fits(id, wished, node)?;
        }
    }
    Ok(Some(passed("P8", format!("{value} bytes fit on every host, or shrink"))))
}

/// Steps down per master: empty when maxmemory does not shrink below what some master is limited to.
pub(super) fn lowered(
    sight: &Sight<'_>,
    wishes: &Wishes,
    params: &Params,
) -> Result<Vec<(InstanceId, Vec<u64>)>, Refusal> {
    let Some((_, value)) = wishes.get("maxmemory") else { return Ok(Vec::new()) };
    let wished: u64 = value.parse().unwrap_or_default();
    let mut all = Vec::new();
    for (id, node) in masters(sight) {
        let has: u64 = running(sight, id, "maxmemory").and_then(|v| v.parse().ok()).unwrap_or(0);
        if wished == 0 || (has != 0 && has <= wished) {
            continue;
        }
        let evicted = evicted_by(node, value);
        may_evict(sight, id, node, (wished, evicted), params)?;
        all.push((id.clone(), way_down(has, wished, evicted, params.evict_bytes_max)));
    }
    if !all.is_empty() && wishes.len() > 1 {
        let service = &sight.snapshot.service.id;
        let why = "maxmemory goes down in an operation of its own: it begins at the masters";
        return Err(Refusal::new("order", service, why));
    }
    Ok(all)
}

fn may_evict(
    sight: &Sight<'_>,
    id: &InstanceId,
    node: &Node,
    (wished, evicted): (u64, f64),
    params: &Params,
) -> Result<(), Refusal> {
    if evicted == 0.0 {
        return Ok(());
    }
    let used = counted(node);
    let policy = running(sight, id, "maxmemory-policy").unwrap_or("noeviction");
    if policy == "noeviction" {
        let why = format!(
            "{id} holds {used} bytes and evicts nothing: with maxmemory {wished} it would refuse \
             writes; {} are needed at least",
            (used * ROOM_ABOVE_USED).ceil()
        );
        return Err(Refusal::new("maxmemory", id, why));
    }
    if (params.evict_bytes_max as f64) < evicted {
        let why = format!(
            "{id} holds {used} bytes: maxmemory {wished} evicts about {evicted} of them by {policy}; \
             say evict_bytes_max = {} or more to agree",
            evicted.ceil()
        );
        return Err(Refusal::new("maxmemory", id, why));
    }
    Ok(())
}

/// From where eviction begins down to the wish. Only by what the person said and what is configured:
/// by what is used this moment every plan would have another hash.
fn way_down(has: u64, wished: u64, evicted: f64, evict_max: u64) -> Vec<u64> {
    if evicted == 0.0 {
        return vec![wished];
    }
    let agreed = wished.saturating_add(evict_max);
    let from = if has == 0 { agreed } else { agreed.min(has) };
    let stride = ((from as f64 * LOWER_SHARE) as u64).max(1);
    let mut values: Vec<u64> =
        (1..).map(|n| from.saturating_sub(n * stride)).take_while(|v| *v > wished).collect();
    values.push(wished);
    values
}

fn begins_to_evict(sight: &Sight<'_>, value: &str) -> bool {
    let never = |(id, _): (&InstanceId, &Node)| {
        running(sight, id, "maxmemory-policy").is_none_or(|p| p == "noeviction")
    };
    value.starts_with("allkeys-") && masters(sight).any(never)
}

fn eviction(sight: &Sight<'_>, value: &str) -> Answer {
    if begins_to_evict(sight, value) {
        let said = format!("{value}: keys without a TTL may be evicted from now on");
        return Ok(Some(passed("eviction", said)));
    }
    let lasting = masters(sight).find(|(_, n)| {
        let (keys, with_ttl) =
            n.facts.keyspace.iter().fold((0.0, 0.0), |(a, b), k| (a + k.keys, b + k.expires));
        value.starts_with("volatile-") && keys > 0.0 && with_ttl == 0.0
    });
    Ok(lasting.map(|(id, _)| {
        let said = format!("{value} acts as noeviction on {id}: none of its keys has a TTL");
        passed("eviction", said)
    }))
}

fn clients(sight: &Sight<'_>, value: &str) -> Answer {
    let wished: u64 = value.parse().unwrap_or_default();
    let mut unknown = 0;
    for (id, _) in sight.snapshot.answered() {
        match sight.limits.get(id).and_then(|l| l.descriptors) {
            Some(limit) if limit < wished + DESCRIPTORS_OWN => {
                let why = format!(
                    "{id} may open {limit} files: maxclients {wished} needs {}",
                    wished + DESCRIPTORS_OWN
                );
                return refuse("maxclients", id, why);
            }
            Some(_) => {}
            None => unknown += 1,
        }
    }
    let connected = sight.snapshot.answered().filter_map(|(id, n)| {
        let now = n.get(Field::ConnectedClients)?;
        (now > wished as f64).then(|| format!("{id} has {now} clients now, none is closed"))
    });
    let mut said: Vec<String> = connected.collect();
    if unknown > 0 {
        said.push(format!("the file limit of {unknown} nodes is not known: their server decides"));
    }
    if said.is_empty() {
        said.push(format!("every node may open {} files", wished + DESCRIPTORS_OWN));
    }
    Ok(Some(passed("maxclients", said.join("; "))))
}

fn replicas(sight: &Sight<'_>, value: &str) -> Answer {
    let wished: usize = value.parse().unwrap_or_default();
    for (id, _) in masters(sight) {
        let follows = sight.snapshot.replicas_of(id);
        let connected =
            |r: &&&InstanceId| sight.snapshot.node(r).is_some_and(|n| n.link == "connected");
        let good = follows.iter().filter(connected).count();
        if good < wished {
            let why = format!("{id} has {good} good replicas: with {wished} it refuses writes now");
            return refuse("min-replicas", id, why);
        }
    }
    Ok(Some(passed("min-replicas", format!("every master has {wished} good replicas or more"))))
}

fn disk(sight: &Sight<'_>, param: &Param, value: &str, params: &Params) -> Answer {
    if matches!(value, "no" | "") {
        return Ok(None);
    }
    for (id, node) in sight.snapshot.answered() {
        if running(sight, id, param.name) == Some(value) {
            continue;
        }
        let needs = node.get(Field::UsedMemory).unwrap_or_default() * DISK_TIMES_USED;
        match sight.limits.get(id).and_then(|l| l.disk_free_bytes) {
            Some(free) if (free as f64) < needs => {
                let why = format!("{id}: {free} bytes are free on its disk, {needs} are needed");
                return refuse("disk", id, why);
            }
            None if !params.allow_unknown_disk => {
                let why = format!(
                    "the room on the disk of {id} is not known (no provider controls it); say \
                     allow_unknown_disk to do it all the same"
                );
                return refuse("disk", id, why);
            }
            _ => {}
        }
    }
    let said =
        format!("{}: room for twice the data on every disk, one node forks at a time", param.name);
    Ok(Some(passed("disk", said)))
}

fn failover(sight: &Sight<'_>, param: &Param, value: &str) -> Answer {
    let ms: f64 = value.parse().unwrap_or_default();
    let s = ms / 1000.0;
    let said = match param.name {
        "cluster-node-timeout" if sight.snapshot.service.mode != Mode::Cluster => {
            let service = &sight.snapshot.service.id;
            let why = format!("{service} is no cluster");
            return Err(Refusal::new("parameter", service, why));
        }
        "cluster-node-timeout" => {
            format!("a failover takes {:.1} to {:.1} s then", s + 1.0, 1.5 * s + 1.0)
        }
        "down-after-milliseconds" => {
            format!("a failover takes {:.1} to {:.1} s then", s + 1.0, s + 1.3)
        }
        _ => format!("a failed failover is tried again after {} s", 2.0 * s),
    };
    Ok(Some(passed("failover", said)))
}
