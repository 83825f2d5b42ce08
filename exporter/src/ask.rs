//! What a poll asks, and how the replies become facts.
//!
//! Invariant: what is asked follows from what this connection taught us (version, cluster, ACL); a
//! command that is forbidden or renamed is named in `missing` with the reason, never read as zero.

use link::reply::role::RoleReply;
use link::reply::{self, cluster, info, latency, role, sentinel, slowlog};
use link::{Pipeline, Value};
use model::At;
use model::field::Field;
use model::reading::{ClusterView, Facts, Failure, Reason, Role};
use model::service::InstanceKind;

/// Clusters up to this size give CLUSTER NODES (≈130 bytes a node) in every poll: a failover is then
/// seen at once for 13 kB. Above it the reply costs more than all the rest, so it is asked when the
/// epoch moves and every five minutes.
const NODES_EVERY_POLL_MAX: f64 = 100.0;
const NODES_MS: i64 = 300_000;
/// After this time forbidden commands are tried again: an ACL may have been mended.
const RELEARN_MS: i64 = 300_000;
/// Other Sentinels remembered of all masters together: as many as a family has label values.
const PEERS_MAX: usize = 128;
/// Masters of one Sentinel asked in detail (3 commands each) in a poll; the first by name.
const MASTERS_DETAIL_MAX: usize = 64;

/// One command of a poll.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ask {
    Ping,
    /// INFO default commandstats errorstats (Redis ≥ 7).
    Info,
    /// One section a call (Redis < 7); empty: the default ones.
    InfoPart(&'static str),
    SlowlogLen,
    SlowlogLast,
    Latency,
    Role,
    ClusterInfo,
    ClusterNodes,
    Masters,
    Replicas(String),
    Peers(String),
    Quorum(String),
}

impl Ask {
    fn args(&self) -> Vec<&str> {
        match self {
            Ask::Ping => vec!["PING"],
            Ask::Info => vec!["INFO", "default", "commandstats", "errorstats"],
            Ask::InfoPart("") => vec!["INFO"],
            Ask::InfoPart(section) => vec!["INFO", section],
            Ask::SlowlogLen => vec!["SLOWLOG", "LEN"],
            Ask::SlowlogLast => vec!["SLOWLOG", "GET", "1"],
            Ask::Latency => vec!["LATENCY", "LATEST"],
            Ask::Role => vec!["ROLE"],
            Ask::ClusterInfo => vec!["CLUSTER", "INFO"],
            Ask::ClusterNodes => vec!["CLUSTER", "NODES"],
            Ask::Masters => vec!["SENTINEL", "MASTERS"],
            Ask::Replicas(name) => vec!["SENTINEL", "SLAVES", name],
            Ask::Peers(name) => vec!["SENTINEL", "SENTINELS", name],
            Ask::Quorum(name) => vec!["SENTINEL", "CKQUORUM", name],
        }
    }

    /// The command's name in `Facts::missing`.
    fn command(&self) -> &'static str {
        match self {
            Ask::Ping => "PING",
            Ask::Info | Ask::InfoPart(_) => "INFO",
            Ask::SlowlogLen => "SLOWLOG LEN",
            Ask::SlowlogLast => "SLOWLOG GET",
            Ask::Latency => "LATENCY LATEST",
            Ask::Role => "ROLE",
            Ask::ClusterInfo => "CLUSTER INFO",
            Ask::ClusterNodes => "CLUSTER NODES",
            Ask::Masters => "SENTINEL MASTERS",
            Ask::Replicas(_) => "SENTINEL SLAVES",
            Ask::Peers(_) => "SENTINEL SENTINELS",
            Ask::Quorum(_) => "SENTINEL CKQUORUM",
        }
    }

    fn is_info(&self) -> bool {
        matches!(self, Ask::Info | Ask::InfoPart(_))
    }
}

/// Commands with their packed bytes.
pub(crate) struct Script {
    pub(crate) asks: Vec<Ask>,
    pub(crate) packed: Pipeline,
}

impl Script {
    fn new(asks: Vec<Ask>) -> Script {
        let args: Vec<Vec<&str>> = asks.iter().map(Ask::args).collect();
        let args: Vec<&[&str]> = args.iter().map(Vec::as_slice).collect();
        let packed = Pipeline::new(&args);
        Script { asks, packed }
    }
}

/// What one connection taught us.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Learnt {
    one_section_a_call: bool,
    cluster: bool,
    nodes_now: bool,
    masters: Vec<String>,
    refused: Vec<(&'static str, String)>,
}

/// The present questions of one connection.
pub(crate) struct Asker {
    kind: InstanceKind,
    learnt: Learnt,
    script: Script,
    /// When forbidden commands are tried again, and when a large cluster is read again.
    again: Option<(At, At)>,
    view: Option<ClusterView>,
    epoch: Option<f64>,
}

/// What one poll gathered so far.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) facts: Facts,
    /// INFO was read.
    pub(crate) info: bool,
    /// PING was answered with PONG.
    pub(crate) pong: bool,
    /// Round trip of that PING, µs.
    pub(crate) ping_us: Option<u32>,
    /// The first error that says something about the server itself.
    pub(crate) failure: Option<Failure>,
    info_role: Option<Role>,
    answered: Vec<Ask>,
    /// Lent by the poller: what its lists remember from poll to poll.
    pub(crate) folds: info::Folds,
}

impl Gathered {
    /// Nothing yet, with what the lists of this server remember.
    pub(crate) fn lent(folds: info::Folds) -> Gathered {
        Gathered { folds, ..Gathered::default() }
    }
}

impl Asker {
    /// For a fresh connection.
    pub(crate) fn new(kind: InstanceKind) -> Asker {
        let learnt = Learnt::default();
        let script = Script::new(wanted(kind, &learnt));
        Asker { kind, learnt, script, again: None, view: None, epoch: None }
    }

    /// Begins a poll; answers what to send first.
    pub(crate) fn begin(&mut self, now: At) -> &Script {
        let (relearn, nodes) = self.again.get_or_insert((now + RELEARN_MS, now + NODES_MS));
        let (relearns, nodes_due) = (now >= *relearn, now >= *nodes);
        if relearns {
            *relearn = now + RELEARN_MS;
        }
        if nodes_due {
            *nodes = now + NODES_MS;
        }
        let before = self.learnt.clone();
        if relearns {
            self.learnt.refused.clear();
        }
        let known = self.view.as_ref().map_or(0.0, |v| v.nodes.len() as f64);
        self.learnt.nodes_now = self.learnt.cluster && (known <= NODES_EVERY_POLL_MAX || nodes_due);
        if self.learnt != before {
            self.script = Script::new(wanted(self.kind, &self.learnt));
        }
        &self.script
    }

    /// Reads replies; answers what to send next in this poll, if anything became known to be needed.
    pub(crate) fn take(
        &mut self,
        asks: &[Ask],
        replies: Vec<Value>,
        got: &mut Gathered,
    ) -> Option<Script> {
        let before = self.learnt.clone();
        for (ask, reply) in asks.iter().zip(&replies) {
            self.read(ask, reply, got);
        }
        self.learn(got);
        if self.learnt == before {
            return None;
        }
        let wanted = wanted(self.kind, &self.learnt);
        self.script = Script::new(wanted.clone());
        got.answered.extend_from_slice(asks);
        let rest: Vec<Ask> = wanted.into_iter().filter(|a| !got.answered.contains(a)).collect();
        (!rest.is_empty()).then(|| Script::new(rest))
    }

    /// Completes the facts of a poll.
    pub(crate) fn finish(&mut self, got: &mut Gathered) {
        let facts = &mut got.facts;
        facts.missing.extend(self.learnt.refused.iter().cloned());
        // Without ROLE the claim of INFO stands in, unless the text contradicts itself.
        if facts.role.is_none() && facts.conflicts == 0 {
            facts.role = match self.kind {
                InstanceKind::Sentinel => None,
                InstanceKind::Redis => got.info_role,
            };
        }
        info::believe_role(facts);
        match &facts.cluster {
            Some(view) => self.view = Some(view.clone()),
            None if self.learnt.cluster => facts.cluster.clone_from(&self.view),
            None => {}
        }
    }

    fn read(&mut self, ask: &Ask, value: &Value, got: &mut Gathered) {
        if let Some(said) = reply::error(value)
            && !matches!(ask, Ask::Quorum(_))
        {
            return self.refused(ask, said, got);
        }
        if fill(ask, value, got).is_none() {
            let detail = format!("{}: not the reply of that command", ask.command());
            got.failure.get_or_insert(Failure { reason: Reason::Protocol, detail });
        }
    }

    fn refused(&mut self, ask: &Ask, said: String, got: &mut Gathered) {
        let reason = link::reason_of(&said);
        if *ask == Ask::Info && said.starts_with("ERR syntax") {
            self.learnt.one_section_a_call = true;
        } else if ask.is_info() || (*ask == Ask::Ping && reason != Reason::Noperm) {
            let detail = format!("{}: {said}", ask.command());
            got.failure.get_or_insert(Failure { reason, detail });
        } else if reason == Reason::Noperm || said.starts_with("ERR unknown subcommand") {
            if !self.learnt.refused.iter().any(|(command, _)| *command == ask.command()) {
                self.learnt.refused.push((ask.command(), said));
            }
        } else {
            got.facts.missing.push((ask.command(), said));
        }
    }

    fn learn(&mut self, got: &Gathered) {
        let facts = &got.facts;
        let cluster = facts.values.get(Field::ClusterEnabled) == Some(1.0);
        if got.info && cluster != self.learnt.cluster {
            self.learnt.cluster = cluster;
            self.learnt.nodes_now = cluster;
        }
        let epoch = facts.values.get(Field::ClusterCurrentEpoch);
        if epoch.is_some() && epoch != self.epoch {
            self.epoch = epoch;
            self.learnt.nodes_now = true;
        }
        if self.kind == InstanceKind::Sentinel && !facts.masters.is_empty() {
            let mut names: Vec<String> = facts.masters.iter().map(|m| m.name.clone()).collect();
            names.sort_unstable();
            names.truncate(MASTERS_DETAIL_MAX);
            self.learnt.masters = names;
        }
    }
}

/// The words of every command a poll can send to such a server.
pub(crate) fn every(kind: InstanceKind, cluster: bool) -> Vec<Vec<String>> {
    let masters = if kind == InstanceKind::Sentinel { vec!["name".to_string()] } else { vec![] };
    let learnt = Learnt { cluster, nodes_now: cluster, masters, ..Learnt::default() };
    let words = |ask: &Ask| ask.args().into_iter().map(String::from).collect();
    wanted(kind, &learnt).iter().map(words).collect()
}

/// All commands of a poll, given what is known.
fn wanted(kind: InstanceKind, learnt: &Learnt) -> Vec<Ask> {
    let mut asks = vec![Ask::Ping];
    if learnt.one_section_a_call {
        // Error statistics came with 6.2, in the default sections.
        asks.extend(["", "commandstats"].map(Ask::InfoPart));
    } else {
        asks.push(Ask::Info);
    }
    match kind {
        InstanceKind::Redis => {
            asks.extend([Ask::SlowlogLen, Ask::SlowlogLast, Ask::Latency, Ask::Role]);
        }
        InstanceKind::Sentinel => asks.extend([Ask::Role, Ask::Masters]),
    }
    if learnt.cluster {
        asks.push(Ask::ClusterInfo);
    }
    if learnt.nodes_now {
        asks.push(Ask::ClusterNodes);
    }
    for name in &learnt.masters {
        asks.extend([Ask::Replicas, Ask::Peers, Ask::Quorum].map(|ask| ask(name.clone())));
    }
    asks.retain(|ask| !learnt.refused.iter().any(|(command, _)| *command == ask.command()));
    asks
}

/// Puts one good reply into the facts; none when it has not the shape of that command's reply.
fn fill(ask: &Ask, value: &Value, got: &mut Gathered) -> Option<()> {
    let facts = &mut got.facts;
    match ask {
        Ask::Ping => got.pong = reply::bytes(value)? == b"PONG",
        Ask::Info | Ask::InfoPart(_) => {
            let role = info::read_again(reply::bytes(value)?, facts, &mut got.folds);
            got.info_role = got.info_role.or(role);
            // A text without anything of Redis in it is some other server's, or none.
            let known = facts.values.known().next().is_some() || facts.text != Default::default();
            got.info |= known;
            // Only the default sections always have fields: statistics may be empty.
            if !known && !matches!(ask, Ask::InfoPart(section) if !section.is_empty()) {
                return None;
            }
        }
        Ask::SlowlogLen => facts.slowlog.len = Some(reply::number(value)?),
        Ask::SlowlogLast => {
            let newest = slowlog::read(value)?.first().copied();
            facts.slowlog.last_id = newest.map(|e| e.id);
            facts.slowlog.last_us = newest.map(|e| e.us);
        }
        Ask::Latency => facts.latency = latency::read(value)?,
        Ask::Role => role_facts(role::read(value)?, facts),
        Ask::ClusterInfo => info::read_cluster_info(reply::bytes(value)?, facts),
        Ask::ClusterNodes => {
            let (view, conflicts) = cluster::nodes(reply::bytes(value)?);
            facts.conflicts += conflicts;
            facts.cluster = Some(view);
        }
        Ask::Masters => facts.masters = sentinel::masters(value)?,
        Ask::Replicas(name) => {
            let ok = sentinel::replicas(value)?.iter().filter(|r| r.is_ok()).count();
            set_master(facts, name, |m| m.replicas_ok = Some(ok as f64));
        }
        Ask::Peers(name) => {
            let peers = sentinel::peers(value)?;
            let ok = peers.iter().filter(|p| p.is_ok()).count();
            set_master(facts, name, |m| m.sentinels_ok = Some(ok as f64 + 1.0));
            let room = PEERS_MAX.saturating_sub(facts.sentinel_peers.len());
            facts.sentinel_peers.extend(peers.into_iter().take(room).map(|peer| peer.of(name)));
        }
        Ask::Quorum(name) => {
            let quorum = sentinel::ckquorum(value);
            set_master(facts, name, |m| m.ckquorum = quorum);
        }
    }
    Some(())
}

fn role_facts(reply: RoleReply, facts: &mut Facts) {
    facts.role = Some(reply.role());
    match reply {
        RoleReply::Master { offset, .. } => facts.offset = Some(offset),
        RoleReply::Replica { master, link, offset } => {
            facts.upstream = Some(master);
            facts.link_state = Some(link);
            facts.offset = Some(offset);
        }
        RoleReply::Sentinel(_) => {}
    }
}

fn set_master(
    facts: &mut Facts,
    name: &str,
    set: impl FnOnce(&mut model::reading::SentinelMaster),
) {
    if let Some(master) = facts.masters.iter_mut().find(|m| m.name == name) {
        set(master);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_info_without_a_known_field_is_not_read() {
        let read = |ask: Ask, text: &str| {
            let mut got = Gathered::default();
            let value = Value::BulkString(text.as_bytes().to_vec());
            Asker::new(InstanceKind::Redis).read(&ask, &value, &mut got);
            (got.info, got.failure.map(|f| f.reason))
        };
        let lie = (false, Some(Reason::Protocol));
        assert_eq!(read(Ask::Info, ""), lie);
        assert_eq!(read(Ask::InfoPart(""), "220 mail.example ESMTP\r\n"), lie);
        assert_eq!(read(Ask::Info, "# Clients\r\nconnected_clients:3\r\n"), (true, None));
        assert_eq!(read(Ask::InfoPart("commandstats"), "# Commandstats\r\n"), (false, None));
    }
}
