//! What plans that make or remove nodes share: where a new node goes and the steps around one node.
//!
//! Invariant: a new node's address is one of a host of the inventory, and nobody has it yet.

use std::path::PathBuf;
use std::time::Duration;

use model::plan::PlannedStep;
use model::refusal::Refusal;
use model::service::Mode;
use model::{HostId, InstanceId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::placement::pick;
use crate::topology::Snapshot;
use crate::world::World;

/// Time to read the topology: one poll deadline and a margin.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// A plan older than this is made again.
pub(super) const VALID_MS: i64 = 600_000;
/// Folder, file and a process that answers: an empty one needs 50 ms.
const CREATE_MS: i64 = 60_000;
/// A full synchronisation of 16 GB at 100 MB/s, and a margin.
pub(super) const ATTACH_MS: i64 = 600_000;
/// Sentinel finds a replica with its master's INFO, every 10 s, and reads its own 10 s later.
const ENLIST_MS: i64 = 90_000;
/// Gossip goes round a cluster in seconds.
const MEET_MS: i64 = 90_000;
/// Another process reads the inventory every 5 s.
const LIST_MS: i64 = 30_000;
/// What a step that waits for the Board has beyond the time it must hold.
const HEALTHY_SLACK_MS: i64 = 120_000;
/// Saving, ending, blanking.
const RETIRE_MS: i64 = 60_000;
/// How long a new node is looked at before the operation ends, seconds.
pub(super) const HOLD_S: u32 = 10;

/// Where somebody wants a new node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wish {
    /// Host; none: the best one.
    pub host: Option<HostId>,
    /// Port; none: the next free one above the port of the node it is like.
    pub port: Option<u16>,
}

/// A node to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fresh {
    pub(super) id: InstanceId,
    pub(super) host: Standing,
    /// The node whose settings it gets.
    pub(super) like: InstanceId,
    pub(super) program: PathBuf,
    pub(super) shard: u32,
}

/// Host and zone as the steps name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) id: HostId,
    pub(super) zone: String,
}

/// Finds the place of a node more and checks that it is free.
pub(super) async fn place(
    world: &World,
    service: &ServiceId,
    wish: &Wish,
    like: &InstanceId,
    shard: u32,
    taken: &[Fresh],
) -> Result<Fresh, Refusal> {
    let inventory = (world.inventory)();
    let refuse = |why: String| Refusal::new("place", service, why);
    if inventory.services.get(service).is_some_and(|s| s.access.tls.is_some()) {
        return Err(refuse(format!("{service} speaks TLS: its nodes are made elsewhere")));
    }
    let beside: Vec<HostId> =
        taken.iter().filter(|f| f.shard == shard).map(|f| f.host.id.clone()).collect();
    let host = match &wish.host {
        Some(id) => inventory.hosts.get(id).ok_or_else(|| refuse(format!("no host {id}")))?,
        None => pick::host(&inventory, service, shard, &beside)
            .ok_or_else(|| refuse(format!("every host with a provider holds shard {shard}")))?,
    };
    let used = |port: u16| taken.iter().any(|f| f.host.id == host.id && f.id.host_port().1 == port);
    let mut from = wish.port.unwrap_or(like.host_port().1);
    let port = loop {
        let port = pick::port(&inventory, &host.address, from)
            .ok_or_else(|| refuse(format!("no free port on {}", host.id)))?;
        if !used(port) {
            break port;
        }
        from = port.saturating_add(1);
    };
    if wish.port.is_some_and(|wished| wished != port) {
        return Err(refuse(format!("port {from} of host {} is used already", host.id)));
    }
    let id = InstanceId::new(service, &format!("{}:{port}", host.address));
    let id = id.map_err(|e| refuse(e.to_string()))?;
    let provider = world.providers.on_host(&inventory, &host.id)?;
    let seen = provider.observe(&crate::provider::NodeRef::of(&id)).await;
    if seen.map_err(|e| refuse(e.to_string()))?.exists {
        return Err(refuse(format!(
            "the provider of {} has a node {} already",
            host.id,
            id.address()
        )));
    }
    let program = program(world, like).await?;
    let host = Standing { id: host.id.clone(), zone: host.zone.to_string() };
    Ok(Fresh { id, host, like: like.clone(), program, shard })
}

/// What the node that is copied runs.
async fn program(world: &World, like: &InstanceId) -> Result<PathBuf, Refusal> {
    let inventory = (world.inventory)();
    let (provider, at) = world.providers.of(&inventory, like)?;
    let state = provider.observe(&at).await;
    let state = state.map_err(|e| Refusal::new("provider", like, e.to_string()))?;
    match state.exists {
        true => Ok(state.program),
        false => {
            let why = format!("the provider of {like} did not make it: what it runs is not known");
            Err(Refusal::new("provider", like, why))
        }
    }
}

impl Fresh {
    /// What every step about it is told.
    fn args(&self, more: Value) -> Value {
        let mut args = json!({ "host": self.host.id, "zone": self.host.zone, "shard": self.shard });
        if let (Some(all), Some(more)) = (args.as_object_mut(), more.as_object()) {
            all.extend(more.clone());
        }
        args
    }

    /// Makes and starts it; `follows` in its configuration outside of a cluster.
    pub(super) fn create(&self, follows: Option<&InstanceId>) -> PlannedStep {
        let follows = follows.map(InstanceId::address);
        let args =
            self.args(json!({ "like": self.like, "program": self.program, "follows": follows }));
        let address = self.id.address();
        let commands = vec![
            format!("{}> provider create {address} like {}", self.id, self.like),
            format!("{}> provider start {address}", self.id),
        ];
        let title = format!("Make {} on {} in {}", self.id, self.host.id, self.host.zone);
        PlannedStep { commands, tries: 3, ..step("create", &self.id, title, args, CREATE_MS) }
    }

    /// Outside of a cluster: in step with its master, then electable and in every Sentinel's eyes.
    pub(super) fn attach(&self, master: &InstanceId) -> [PlannedStep; 2] {
        let id = &self.id;
        let args = self.args(json!({ "follows": master.address() }));
        let title = format!("Wait until {id} has everything of {master}");
        let attach = step("attach", id, title, args.clone(), ATTACH_MS);
        let commands =
            vec![format!("{id}> CONFIG SET replica-priority 100"), format!("{id}> CONFIG REWRITE")];
        let title = format!("{id} may be promoted from now on");
        let enlist = step("enlist", id, title, args, ENLIST_MS);
        [attach, PlannedStep { commands, tries: 3, ..enlist }]
    }

    /// Into the cluster, by one of its nodes.
    pub(super) fn meet(&self, via: &InstanceId) -> PlannedStep {
        let (host, port) = self.id.host_port();
        let commands = vec![format!("{via}> CLUSTER MEET {host} {port}")];
        let title = format!("Wait until every node lists {}", self.id);
        let args = self.args(json!({ "via": via }));
        PlannedStep { commands, tries: 3, ..step("meet", &self.id, title, args, MEET_MS) }
    }

    /// A replica of a master of the cluster.
    pub(super) fn replicate(&self, master: &InstanceId) -> PlannedStep {
        let commands = vec![format!("{}> CLUSTER REPLICATE <id of {master}>", self.id)];
        let title = format!("Wait until {} follows {master}", self.id);
        let args = self.args(json!({ "master": master }));
        PlannedStep { commands, tries: 3, ..step("replicate", &self.id, title, args, ATTACH_MS) }
    }

    /// Into the inventory.
    pub(super) fn register(&self) -> PlannedStep {
        let commands = vec![format!("{}> inventory add {}", self.id, self.id)];
        let title = format!("List {} in the inventory", self.id);
        let register = step("register", &self.id, title, self.args(json!({})), LIST_MS);
        PlannedStep { commands, tries: 3, ..register }
    }

    /// Up on the Board for a while; `role` is `replica` or `master`.
    pub(super) fn healthy(&self, role: &str, hold_s: u32) -> PlannedStep {
        let hold_ms = i64::from(hold_s) * 1000;
        let args = self.args(json!({ "up_for_ms": hold_ms, "role": role }));
        let title = format!("{} up for {hold_s} s", self.id);
        step("healthy", &self.id, title, args, hold_ms + HEALTHY_SLACK_MS)
    }
}

/// Ends, blanks, forgets and strikes out a node.
pub(super) struct Leaving<'a> {
    pub(super) id: &'a InstanceId,
    pub(super) host: &'a HostId,
    pub(super) mode: Mode,
    /// `replica` or `master` (of a cluster, without slots).
    pub(super) role: &'a str,
    /// Seconds between two Sentinels.
    pub(super) gap_s: u32,
    /// Its files stay, blanked.
    pub(super) keep: bool,
}

impl Leaving<'_> {
    pub(super) fn steps(&self, snapshot: &Snapshot) -> Vec<PlannedStep> {
        let id = self.id;
        let args = json!({ "host": self.host, "role": self.role, "gap_s": self.gap_s });
        let mut steps = Vec::new();
        let retire =
            step("retire", id, format!("End {id} and blank its files"), args.clone(), RETIRE_MS);
        steps.push(PlannedStep {
            commands: vec![
                format!("{id}> CLIENT KILL TYPE normal SKIPME yes"),
                format!("{id}> SHUTDOWN NOSAVE"),
                format!("{id}> provider blank {}", id.address()),
            ],
            tries: 3,
            point_of_no_return: true,
            ..retire
        });
        if let Some(forget) = self.forget(snapshot, &args) {
            steps.push(forget);
        }
        let title = format!("Strike {id} out of the inventory");
        let commands = vec![format!("{id}> inventory remove {id}")];
        let unregister = step("unregister", id, title, args.clone(), LIST_MS);
        steps.push(PlannedStep { commands, tries: 3, ..unregister });
        if !self.keep {
            let commands = vec![format!("{id}> provider release {}", id.address())];
            let release = step("release", id, format!("Remove the files of {id}"), args, RETIRE_MS);
            steps.push(PlannedStep { commands, tries: 3, ..release });
        }
        steps
    }

    fn forget(&self, snapshot: &Snapshot, args: &Value) -> Option<PlannedStep> {
        let id = self.id;
        let commands: Vec<String> = match self.mode {
            Mode::Sentinel => {
                let name = &snapshot.service.sentinel_master;
                let watch = snapshot.sentinels.iter();
                watch.map(|s| format!("{}> SENTINEL RESET {name}", s.id)).collect()
            }
            Mode::Cluster => {
                let others = snapshot.nodes.iter().filter(|n| n.id != *id);
                others.map(|n| format!("{}> CLUSTER FORGET <id of {id}>", n.id)).collect()
            }
            _ => return None,
        };
        // Each Sentinel takes up to 20 s to find its world again, and the gap.
        let each = 40_000 + i64::from(self.gap_s) * 1000;
        let time = if self.mode == Mode::Sentinel { commands.len() as i64 * each } else { MEET_MS };
        let title = format!("Everybody else forgets {id}");
        let forget = step("forget", id, title, args.clone(), time);
        Some(PlannedStep { commands, tries: 3, ..forget })
    }
}

/// A step that looks before it acts and may be repeated.
pub(super) fn step(
    kind: &str,
    id: &InstanceId,
    title: String,
    args: Value,
    timeout_ms: i64,
) -> PlannedStep {
    PlannedStep {
        kind: kind.into(),
        target: id.to_string(),
        title,
        args,
        commands: Vec::new(),
        timeout_ms,
        tries: 1,
        repeatable: true,
        point_of_no_return: false,
    }
}

/// Run id of each node: the world a plan was made in.
pub(super) fn identity(snapshot: &Snapshot) -> Value {
    let of = |(id, node): (&InstanceId, &crate::topology::Node)| {
        let role = if node.master.is_none() { "master" } else { "slave" };
        (
            id.to_string(),
            json!({ "run_id": node.facts.text.run_id, "role": role, "epoch": node.epoch() }),
        )
    };
    json!({ "nodes": snapshot.answered().map(of).collect::<serde_json::Map<_, _>>() })
}
