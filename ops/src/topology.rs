//! The topology snapshot: what every node and every Sentinel of a service says right now.
//!
//! Invariants: each is asked itself, never the Board, and addresses come from the inventory alone; a
//! node that does not answer is in the snapshot with the reason; observers that contradict each other
//! are a refusal. Refuses to know what is planned.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use link::Pipeline;
use link::reply::{self, role::RoleReply};
use model::field::Field;
use model::reading::{ClusterView, Facts, Role, SentinelMaster};
use model::refusal::Refusal;
use model::service::{Instance, Mode, Service};
use model::{InstanceId, ServiceId, ZoneId};

use crate::world::World;

/// A healthy server answers PING in far less; one that needs longer is no node to move a master to.
pub const PING_MAX: Duration = Duration::from_millis(500);

/// What the service says of itself.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Which service.
    pub service: Service,
    /// Its data nodes, in id order.
    pub nodes: Vec<NodeSeen>,
    /// Its Sentinels, in id order.
    pub sentinels: Vec<SentinelSeen>,
}

/// A data node and its answer.
#[derive(Debug, Clone)]
pub struct NodeSeen {
    /// Which.
    pub id: InstanceId,
    /// Where it stands.
    pub zone: ZoneId,
    /// Its shard in the inventory.
    pub shard: u32,
    /// What it said, or why it did not answer.
    pub seen: Result<Node, String>,
}

/// What a data node said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// `host:port` of the master it follows, from ROLE; none: it is a master itself.
    pub master: Option<String>,
    /// ROLE's state of its link to the master: `connected` … Empty for a master.
    pub link: String,
    /// Replication offset from ROLE, bytes.
    pub offset: f64,
    /// INFO: scalars and texts. Never decides role or topology.
    pub facts: Facts,
    /// Its view of the cluster; none outside of one.
    pub cluster: Option<ClusterView>,
}

impl Node {
    /// A scalar of INFO.
    pub fn get(&self, field: Field) -> Option<f64> {
        self.facts.values.get(field)
    }

    /// Whether INFO says that field is other than zero; unknown counts as no.
    pub fn says(&self, field: Field) -> bool {
        self.get(field).is_some_and(|v| v != 0.0)
    }

    /// Its epoch: of its own line in a cluster, 0 elsewhere.
    pub fn epoch(&self) -> u64 {
        let view = self.cluster.as_ref();
        view.and_then(|v| v.nodes.iter().find(|n| n.id == v.my_id)).map_or(0, |n| n.epoch)
    }
}

/// A Sentinel and its answer.
#[derive(Debug, Clone)]
pub struct SentinelSeen {
    /// Which.
    pub id: InstanceId,
    /// Where it stands.
    pub zone: ZoneId,
    /// What it said, or why it did not answer.
    pub seen: Result<Watch, String>,
}

/// What a Sentinel says of the service's master.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watch {
    /// The master: address, flags, epoch, limits, `ckquorum` filled in.
    pub master: SentinelMaster,
    /// The replicas it knows.
    pub replicas: Vec<reply::sentinel::Replica>,
}

/// Asks every node and Sentinel of the service at once and refuses when two observers contradict
/// each other. Answers by `deadline`.
pub async fn snapshot(
    world: &World,
    service: &ServiceId,
    deadline: Instant,
) -> Result<Snapshot, Refusal> {
    let snapshot = look(world, service, deadline).await?;
    match contradiction(&snapshot) {
        Some(refusal) => Err(refusal),
        None => Ok(snapshot),
    }
}

/// The same without judging contradictions: in the middle of a change observers do differ. Refuses
/// only when the inventory names no data node of the service.
pub async fn look(
    world: &World,
    service: &ServiceId,
    deadline: Instant,
) -> Result<Snapshot, Refusal> {
    let inventory = (world.inventory)();
    let Some(found) = inventory.services.get(service) else {
        return Err(Refusal::new(
            "topology",
            service,
            format!("{service} is not in the inventory"),
        ));
    };
    if inventory.nodes(service).next().is_none() {
        return Err(Refusal::new("topology", service, format!("{service} has no data nodes")));
    }
    let nodes = join_all(inventory.nodes(service).map(|i| ask_node(world, found, i, deadline)));
    let watch = inventory.sentinels(service).map(|i| ask_sentinel(world, found, i, deadline));
    let (nodes, sentinels) = tokio::join!(nodes, join_all(watch));
    Ok(Snapshot { service: found.clone(), nodes, sentinels })
}

async fn ask_node(
    world: &World,
    service: &Service,
    instance: &Instance,
    deadline: Instant,
) -> NodeSeen {
    let commands: &[&[&str]] = match service.mode {
        Mode::Cluster => &[&["ROLE"], &["INFO"], &["CLUSTER", "NODES"], &["CLUSTER", "INFO"]],
        _ => &[&["ROLE"], &["INFO"]],
    };
    let seen = match ask(world, &instance.id, commands, deadline).await {
        Ok(replies) => node_of(&replies),
        Err(why) => Err(why),
    };
    let (id, zone) = (instance.id.clone(), instance.zone.clone());
    NodeSeen { id, zone, shard: instance.shard, seen }
}

/// PING within its limit, then the commands on the same connection.
pub(crate) async fn ask(
    world: &World,
    id: &InstanceId,
    commands: &[&[&str]],
    deadline: Instant,
) -> Result<Vec<link::Value>, String> {
    let left = || deadline.saturating_duration_since(Instant::now());
    let target = (world.target)(id).ok_or("its address or secret is not known")?;
    let mut link = link::dial(&target, left()).await.map_err(|e| e.to_string())?;
    let ping = link.call(&["PING"], left().min(PING_MAX)).await;
    ping.map_err(|e| format!("PING: {e}"))?;
    link.pipeline(&Pipeline::new(commands), left()).await.map_err(|e| e.to_string())
}

/// How long a node has to tell a setting.
const SETTING_MAX: Duration = Duration::from_secs(3);

/// One value of CONFIG GET, asked anew.
pub(crate) async fn setting(world: &World, id: &InstanceId, name: &str) -> Result<String, String> {
    let command: &[&str] = &["CONFIG", "GET", name];
    let replies = ask(world, id, &[command], Instant::now() + SETTING_MAX).await?;
    let value = replies.first().and_then(reply::items).and_then(|pair| reply::text(pair.get(1)?));
    value.ok_or_else(|| format!("CONFIG GET {name} was answered with something else"))
}

fn node_of(replies: &[link::Value]) -> Result<Node, String> {
    let said = |i: usize, what: &str| match replies.get(i).and_then(reply::error) {
        Some(error) => format!("{what}: {error}"),
        None => format!("{what} was answered with something else"),
    };
    let role = replies.first().and_then(reply::role::read).ok_or_else(|| said(0, "ROLE"))?;
    let mut node = Node::default();
    let bytes = |i: usize| replies.get(i).and_then(reply::bytes);
    let claimed = reply::info::read(bytes(1).ok_or_else(|| said(1, "INFO"))?, &mut node.facts);
    if claimed.is_some_and(|c| c != role.role()) {
        return Err(format!("ROLE says {}, INFO another role", role.role().as_redis()));
    }
    if replies.len() > 2 {
        let raw = bytes(2).ok_or_else(|| said(2, "CLUSTER NODES"))?;
        let (view, conflicts) = reply::cluster::nodes(raw);
        if conflicts > 0 || view.my_id.is_empty() {
            return Err(format!("CLUSTER NODES holds {conflicts} lines no node writes"));
        }
        node.cluster = Some(view);
        let raw = bytes(3).ok_or_else(|| said(3, "CLUSTER INFO"))?;
        reply::info::read_cluster_info(raw, &mut node.facts);
    }
    match role {
        RoleReply::Master { offset, .. } => node.offset = offset,
        RoleReply::Replica { master, link, offset } => {
            (node.master, node.link, node.offset) = (Some(master), link, offset);
        }
        RoleReply::Sentinel(_) => return Err("it is a Sentinel, not a data node".into()),
    }
    Ok(node)
}

async fn ask_sentinel(
    world: &World,
    service: &Service,
    instance: &Instance,
    deadline: Instant,
) -> SentinelSeen {
    let name = service.sentinel_master.as_str();
    let commands: [&[&str]; 3] = [
        &["SENTINEL", "MASTER", name],
        &["SENTINEL", "REPLICAS", name],
        &["SENTINEL", "CKQUORUM", name],
    ];
    let seen = match ask(world, &instance.id, &commands, deadline).await {
        Ok(replies) => watch_of(&replies),
        Err(why) => Err(why),
    };
    SentinelSeen { id: instance.id.clone(), zone: instance.zone.clone(), seen }
}

fn watch_of(replies: &[link::Value]) -> Result<Watch, String> {
    let [master, replicas, quorum] = replies else { return Err("an incomplete answer".into()) };
    let mut master = master_of(master)?;
    master.ckquorum = reply::sentinel::ckquorum(quorum);
    let replicas = reply::sentinel::replicas(replicas)
        .ok_or("SENTINEL REPLICAS was answered with something else")?;
    Ok(Watch { master, replicas })
}

/// Reads the reply to SENTINEL MASTER.
pub(crate) fn master_of(value: &link::Value) -> Result<SentinelMaster, String> {
    if let Some(error) = reply::error(value) {
        return Err(format!("SENTINEL MASTER: {error}"));
    }
    let list = link::Value::Array(vec![value.clone()]);
    let found = reply::sentinel::masters(&list).and_then(|mut all| all.pop());
    found.ok_or_else(|| "SENTINEL MASTER was answered with something else".to_string())
}

/// Two observers that cannot both be right.
fn contradiction(snapshot: &Snapshot) -> Option<Refusal> {
    sentinels_differ(snapshot)
        .or_else(|| sentinels_against_node(snapshot))
        .or_else(|| cluster_views_differ(snapshot))
}

fn sentinels_differ(snapshot: &Snapshot) -> Option<Refusal> {
    let mut views = snapshot.watches();
    let (first, one) = views.next()?;
    let (second, two) = views.find(|(_, w)| {
        w.master.address != one.master.address || w.master.config_epoch != one.master.config_epoch
    })?;
    let message = format!(
        "Sentinels disagree: {first} names {} in epoch {}, {second} names {} in epoch {}",
        one.master.address, one.master.config_epoch, two.master.address, two.master.config_epoch
    );
    Some(Refusal::new("P4", second, message))
}

fn sentinels_against_node(snapshot: &Snapshot) -> Option<Refusal> {
    let (sentinel, watch) = snapshot.watches().next()?;
    let (id, node) = snapshot.answered().find(|(id, _)| id.address() == watch.master.address)?;
    let upstream = node.master.as_ref()?;
    let message = format!(
        "{sentinel} names {id} as master, but {id} itself says it is a replica of {upstream}"
    );
    Some(Refusal::new("P2", id, message))
}

/// In a cluster: all nodes must list the same owner of the same slots. Epoch-free, for a replica may
/// learn an epoch later.
fn cluster_views_differ(snapshot: &Snapshot) -> Option<Refusal> {
    let mut views =
        snapshot.answered().filter_map(|(id, n)| Some((id, layout(n.cluster.as_ref()?))));
    let (first, one) = views.next()?;
    let (second, _) = views.find(|(_, other)| *other != one)?;
    let message = format!(
        "cluster nodes disagree about roles or slots: {first} and {second} list different owners"
    );
    Some(Refusal::new("V4", second, message))
}

/// A node as a view lists it: id, its master's id when it is a replica, slots.
pub(crate) type Member = (String, Option<String>, Vec<(u16, u16)>);

/// Sorted (id, master or own, slots) of the nodes a view lists as members.
pub(crate) fn layout(view: &ClusterView) -> Vec<Member> {
    let member =
        |flags: &[String]| !flags.iter().any(|f| f == "handshake" || f == "noaddr" || f == "fail");
    let members = view.nodes.iter().filter(|n| member(&n.flags));
    let mut all: Vec<_> =
        members.map(|n| (n.id.clone(), n.master.clone(), n.slots.clone())).collect();
    all.sort();
    all
}

impl Snapshot {
    /// Nodes that answered.
    pub fn answered(&self) -> impl Iterator<Item = (&InstanceId, &Node)> {
        self.nodes.iter().filter_map(|n| Some((&n.id, n.seen.as_ref().ok()?)))
    }

    /// Sentinels that answered.
    pub fn watches(&self) -> impl Iterator<Item = (&InstanceId, &Watch)> {
        self.sentinels.iter().filter_map(|s| Some((&s.id, s.seen.as_ref().ok()?)))
    }

    /// A node of the service that answered.
    pub fn node(&self, id: &InstanceId) -> Option<&Node> {
        self.answered().find(|(other, _)| *other == id).map(|(_, node)| node)
    }

    /// The place of a node.
    pub fn place(&self, id: &InstanceId) -> Option<&NodeSeen> {
        self.nodes.iter().find(|n| n.id == *id)
    }

    /// Whether a node or Sentinel of the service answered, or why not; none when it was not asked.
    pub fn silence(&self, id: &InstanceId) -> Option<Result<(), &str>> {
        let node = self.nodes.iter().find(|n| n.id == *id).map(|n| n.seen.as_ref().map(drop));
        let watch = self.sentinels.iter().find(|s| s.id == *id);
        let seen = node.or_else(|| watch.map(|s| s.seen.as_ref().map(drop)))?;
        Some(seen.map_err(String::as_str))
    }

    /// The nodes that say they are masters.
    pub fn masters(&self) -> Vec<&InstanceId> {
        self.answered().filter(|(_, n)| n.master.is_none()).map(|(id, _)| id).collect()
    }

    /// The nodes that say they follow `master`.
    pub fn replicas_of(&self, master: &InstanceId) -> Vec<&InstanceId> {
        let follows = |n: &Node| n.master.as_deref() == Some(master.address());
        self.answered().filter(|(_, n)| follows(n)).map(|(id, _)| id).collect()
    }

    /// The role a node claims.
    pub fn role(&self, id: &InstanceId) -> Option<Role> {
        let node = self.node(id)?;
        Some(if node.master.is_none() { Role::Master } else { Role::Replica })
    }
}
