//! Evidence first: what the servers say when an incident opens, before anything is done about it.
//!
//! Invariant: reads only, under one deadline, within limits; a server that does not answer is a part
//! that says why. No argument of a command and no value of a key is taken: of slow commands only the
//! shape. Nothing decides on evidence: guards ask for themselves.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use link::{Pipeline, Value, reply};
use model::evidence::{Evidence, EvidencePart};
use model::field::Field;
use model::incident::{Incident, IncidentState};
use model::row::Row;
use model::service::InstanceKind;
use model::verdict::Verdict;
use model::{At, InstanceId, ServiceId};
use store::OperationFilter;

use super::Remedy;
use crate::topology::{self, Snapshot};
use crate::world::World;

/// Time for everything that is read of one incident: a page waits for it.
const READ_MAX: Duration = Duration::from_secs(3);
/// Incidents that get their evidence in one round. More at once are a storm, in which nothing acts
/// by itself and asking every node would be load on what is in trouble.
const INCIDENTS_MAX: usize = 10;
/// Lines of one part: more is not read at three in the morning.
const LINES_MAX: usize = 200;
/// Bytes of a line.
const LINE_BYTES_MAX: usize = 200;
/// Groups of clients shown of one kind.
const GROUPS_MAX: usize = 10;
/// Above it CLIENT LIST is not asked: the list is linear in clients.
const CLIENTS_MAX: f64 = 3_000.0;
/// Earlier operations of the service.
const OPERATIONS_MAX: i64 = 5;

impl Remedy {
    /// Reads the evidence of open incidents that have none for their present opening.
    pub(super) async fn gather(&self, open: &[Incident], now: At) -> store::Result<()> {
        let known: HashSet<(String, i64)> =
            self.engine.store().evidence_known().await?.into_iter().collect();
        let bare = |i: &&Incident| !known.contains(&(i.id.clone(), i64::from(i.reopened)));
        let fresh = open.iter().filter(|i| i.state == IncidentState::Open).filter(bare);
        let read = join_all(fresh.take(INCIDENTS_MAX).map(|i| self.read(i, now))).await;
        for evidence in read {
            self.engine.store().evidence_put(&self.caller, &evidence).await?;
        }
        Ok(())
    }

    async fn read(&self, incident: &Incident, now: At) -> Evidence {
        let (world, began) = (self.engine.world(), Instant::now());
        let end = began + READ_MAX;
        let mut parts = Vec::new();
        if let Some(node) = &incident.instance {
            parts.push(reading(world, node));
        }
        if let Some(service) = &incident.service {
            let node = incident.instance.as_ref().filter(|n| is_data(world, n));
            let asked = async {
                match node {
                    Some(node) => self::node(world, node, end).await,
                    None => Vec::new(),
                }
            };
            let (topology, of_node) = tokio::join!(topology(world, service, end), asked);
            parts.push(topology);
            parts.extend(of_node);
            parts.push(self.operations(service).await);
        }
        Evidence {
            incident_id: incident.id.clone(),
            opening: incident.reopened,
            at: now,
            took_ms: began.elapsed().as_millis() as i64,
            parts,
        }
    }

    async fn operations(&self, service: &ServiceId) -> EvidencePart {
        let filter = OperationFilter { service: Some(service.clone()), ..Default::default() };
        let store = self.engine.store();
        match store.operation_list(&self.caller, &filter, OPERATIONS_MAX, None).await {
            Ok(all) => {
                let line = |o: model::operation::Operation| {
                    let (at, state) = (o.created_at, o.state.as_str());
                    format!("{at} {state} {} by {}: {}", o.plan.title, o.created_by, o.reason)
                };
                part(None, "operations", &[], all.into_iter().map(line))
            }
            Err(e) => failed(None, "operations", &[], e.to_string()),
        }
    }
}

fn is_data(world: &World, node: &InstanceId) -> bool {
    let inventory = (world.inventory)();
    inventory.instances.get(node).is_some_and(|i| i.kind != InstanceKind::Sentinel)
}

/// What the latest poll said, from the Board.
fn reading(world: &World, node: &InstanceId) -> EvidencePart {
    let Some(row) = world.board.row(node) else {
        return failed(Some(node), "reading", &[], "it was not polled yet".into());
    };
    part(Some(node), "reading", &[], reading_lines(&row))
}

fn reading_lines(row: &Row) -> Vec<String> {
    let why = match &row.verdict {
        Verdict::Up => String::new(),
        Verdict::Down(why) | Verdict::Unknown(why) => format!(": {why}"),
    };
    let mut lines = vec![format!("{} at {}{why}", row.verdict.as_str(), row.reading.at)];
    if let Some(failure) = &row.reading.failure {
        lines.push(format!("poll failed: {} {}", failure.reason.as_str(), failure.detail));
    }
    if let Some(good) = &row.last_good {
        let role = good.facts.role.map_or("not known", |r| r.as_redis());
        lines.push(format!("last good poll {}, role {role}", good.at));
    }
    if let Some(score) = &row.score {
        let number = score.score.map_or("?".to_string(), |s| format!("{s:.2}"));
        lines.push(format!("score {number}, grade {}", score.grade.as_str()));
        lines.extend(score.bars.iter().map(|bar| format!("-{:.2} {}", bar.points, bar.text)));
    }
    lines
}

/// Every node and Sentinel of the service, a line each.
async fn topology(world: &World, service: &ServiceId, end: Instant) -> EvidencePart {
    const COMMANDS: &[&str] = &["ROLE", "INFO", "CLUSTER NODES", "SENTINEL MASTER"];
    match topology::look(world, service, end).await {
        Ok(snapshot) => part(None, "topology", COMMANDS, topology_lines(&snapshot)),
        Err(refusal) => failed(None, "topology", COMMANDS, refusal.to_string()),
    }
}

fn topology_lines(snapshot: &Snapshot) -> Vec<String> {
    let nodes = snapshot.nodes.iter().map(|n| match &n.seen {
        Err(why) => format!("{} ({}): {why}", n.id, n.zone),
        Ok(node) => match &node.master {
            None => format!("{} ({}): master at offset {}", n.id, n.zone, node.offset),
            Some(master) => {
                let (link, offset) = (&node.link, node.offset);
                format!("{} ({}): replica of {master}, {link}, offset {offset}", n.id, n.zone)
            }
        },
    });
    let sentinels = snapshot.sentinels.iter().map(|s| match &s.seen {
        Err(why) => format!("{} ({}): {why}", s.id, s.zone),
        Ok(watch) => {
            let (m, quorum) = (&watch.master, watch.master.ckquorum.as_ref());
            let quorum = quorum.map_or("quorum not known", |(_, said)| said.as_str());
            let epoch = m.config_epoch;
            format!(
                "{} ({}): names {}, {}, epoch {epoch}, {quorum}",
                s.id, s.zone, m.address, m.flags
            )
        }
    });
    nodes.chain(sentinels).collect()
}

/// What the node itself says: each exchange for itself, so that one it refuses costs no other.
async fn node(world: &World, id: &InstanceId, end: Instant) -> Vec<EvidencePart> {
    let left = || end.saturating_duration_since(Instant::now());
    let failed = |why: String| vec![failed(Some(id), "info", &["INFO"], why)];
    let Some(target) = (world.target)(id) else {
        return failed("its address or secret is not known".into());
    };
    let mut link = match link::dial(&target, left()).await {
        Ok(link) => link,
        Err(e) => return failed(e.to_string()),
    };
    let mut parts = Vec::new();
    for ask in ASKS {
        if parts.iter().any(|p: &EvidencePart| (ask.skip)(p)) {
            continue;
        }
        let pipeline = Pipeline::new(ask.commands);
        let said: Vec<String> = ask.commands.iter().map(|c| c.join(" ")).collect();
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        let asked = link.pipeline(&pipeline, left()).await;
        parts.push(match asked {
            Ok(replies) => match replies.iter().find_map(reply::error) {
                Some(error) => self::failed(Some(id), ask.what, &said, error),
                None => part(Some(id), ask.what, &said, (ask.lines)(&replies)),
            },
            Err(e) => self::failed(Some(id), ask.what, &said, e.to_string()),
        });
        if link.poisoned() {
            break;
        }
    }
    parts
}

/// One exchange with a node.
struct Ask {
    what: &'static str,
    commands: &'static [&'static [&'static str]],
    lines: fn(&[Value]) -> Vec<String>,
    /// Whether what was read before speaks against it.
    skip: fn(&EvidencePart) -> bool,
}

const ASKS: &[Ask] = &[
    Ask { what: "info", commands: &[&["INFO"]], lines: info, skip: |_| false },
    Ask {
        what: "slow_log",
        commands: &[&["SLOWLOG", "GET", "32"]],
        lines: slow_log,
        skip: |_| false,
    },
    Ask { what: "clients", commands: &[&["CLIENT", "LIST"]], lines: clients, skip: too_many },
    Ask { what: "latency", commands: &[&["LATENCY", "LATEST"]], lines: latency, skip: |_| false },
    Ask { what: "memory", commands: &[&["MEMORY", "DOCTOR"]], lines: words, skip: |_| false },
];

fn info(replies: &[Value]) -> Vec<String> {
    let raw = replies.first().and_then(reply::bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(raw);
    text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_string).collect()
}

/// Whether INFO said that there are too many clients to list.
fn too_many(before: &EvidencePart) -> bool {
    let prefix = format!("{}:", Field::ConnectedClients.info().name);
    let said = before.lines.iter().find_map(|l| l.strip_prefix(&prefix));
    before.what == "info"
        && said.and_then(|n| n.parse::<f64>().ok()).is_none_or(|n| n > CLIENTS_MAX)
}

fn slow_log(replies: &[Value]) -> Vec<String> {
    let entries = replies.first().and_then(reply::slowlog::entries).unwrap_or_default();
    let line = |(entry, shape): (model::detail::SlowEntry, String)| {
        let at = At::from_ms((entry.at_s * 1000.0) as i64);
        format!("{at} {:.1} ms {shape} from {} {}", entry.us / 1000.0, entry.client, entry.name)
    };
    entries.into_iter().map(line).collect()
}

fn clients(replies: &[Value]) -> Vec<String> {
    let raw = replies.first().and_then(reply::bytes).unwrap_or_default();
    let all = reply::clients::read(raw, At::EPOCH, false);
    let kinds = all.kinds.iter().filter(|(_, n)| *n > 0).map(|(k, n)| format!("{n} {k}"));
    let mut lines = vec![
        format!("{} clients: {}", all.count, kinds.collect::<Vec<_>>().join(", ")),
        format!("idle for more than an hour: {}, longest {} s", all.idle_1h, all.idle_s_max),
        format!(
            "largest query buffer {} bytes, largest output buffer {} bytes",
            all.query_buffer_bytes_max, all.output_buffer_bytes_max
        ),
    ];
    let groups = [("address", &all.by_address), ("user", &all.by_user), ("name", &all.by_name)];
    for (kind, groups) in groups {
        let line = |g: &model::detail::ClientGroup| format!("{kind} {:?}: {}", g.text, g.count);
        lines.extend(groups.iter().take(GROUPS_MAX).map(line));
    }
    lines
}

fn latency(replies: &[Value]) -> Vec<String> {
    let events = replies.first().and_then(reply::latency::read).unwrap_or_default();
    let line = |e: model::reading::LatencyEvent| {
        let at = At::from_ms((e.at_s * 1000.0) as i64);
        format!("{}: {} ms at {at}, highest {} ms", e.event, e.last_ms, e.max_ms)
    };
    events.into_iter().map(line).collect()
}

fn words(replies: &[Value]) -> Vec<String> {
    let raw = replies.first().and_then(reply::bytes).unwrap_or_default();
    String::from_utf8_lossy(raw).lines().map(str::to_string).collect()
}

fn part(
    instance: Option<&InstanceId>,
    what: &str,
    commands: &[&str],
    lines: impl IntoIterator<Item = String>,
) -> EvidencePart {
    let mut lines: Vec<String> = lines.into_iter().map(short).collect();
    let left_out = lines.len().saturating_sub(LINES_MAX) as u32;
    lines.truncate(LINES_MAX);
    EvidencePart {
        instance: instance.cloned(),
        what: what.into(),
        commands: commands.iter().map(ToString::to_string).collect(),
        lines,
        left_out,
        failed: None,
    }
}

fn failed(
    instance: Option<&InstanceId>,
    what: &str,
    commands: &[&str],
    why: String,
) -> EvidencePart {
    EvidencePart { failed: Some(short(why)), ..part(instance, what, commands, []) }
}

/// A line of text without control characters, cut at a character.
fn short(line: String) -> String {
    let mut out: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if out.len() > LINE_BYTES_MAX {
        let end = (0..=LINE_BYTES_MAX).rev().find(|n| out.is_char_boundary(*n)).unwrap_or(0);
        out.truncate(end);
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_keeps_the_first_lines_and_counts_the_others() {
        let many = (0..LINES_MAX + 7).map(|n| n.to_string());
        let part = part(None, "info", &["INFO"], many);
        assert_eq!((part.lines.len(), part.left_out), (LINES_MAX, 7));
    }

    #[test]
    fn a_long_line_is_cut_at_a_character_and_carries_no_control_character() {
        let line = short(format!("a\u{1b}[31m{}", "é".repeat(LINE_BYTES_MAX)));
        assert!(line.len() <= LINE_BYTES_MAX + '…'.len_utf8(), "{}", line.len());
        assert!(line.starts_with("a [31mé") && line.ends_with('…'), "{line}");
    }

    #[test]
    fn clients_are_not_listed_when_there_are_too_many_or_nobody_knows_how_many() {
        let info = |n: &str| part(None, "info", &[], [format!("connected_clients:{n}")]);
        assert!(!too_many(&info("3000")));
        assert!(too_many(&info("3001")) && too_many(&part(None, "info", &[], [])));
        assert!(!too_many(&part(None, "slow_log", &[], [])));
    }
}
