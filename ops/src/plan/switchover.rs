//! Planned change of the master: Sentinel services fenced, clusters by CLUSTER FAILOVER, plain
//! replication by draining.
//!
//! Invariants: the same world gives the same plan, so nothing that moves by itself (lags, offsets,
//! scores) is in it; a plan exists only when every check passed. Refuses to know how steps run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::field::Field;
use model::operation::OperationKind;
use model::plan::{Checked, Plan, PlannedStep};
use model::refusal::Refusal;
use model::service::Mode;
use model::{At, InstanceId, ServiceId, ZoneId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::choose::{old_master, target, unready, version};
use super::slot;
use crate::act::cast::{Cast, SentinelPart};
use crate::check::before::{self, Before};
use crate::placement::{Layout, risk};
use crate::topology::{self, Snapshot};
use crate::world::World;

/// Version of this definition.
pub const VERSION: u32 = 1;
/// All steps a switchover may have; each mode uses some.
pub const STEPS: &[&str] = &[
    "steer",
    "fence",
    "priorities",
    "drain",
    "cluster_failover",
    "persist",
    "roles",
    "data",
    "health",
];

/// Time to read the topology: one poll deadline and a margin.
const LOOK: Duration = Duration::from_secs(5);
/// A plan waits that long for a node that saves or loads; whoever asked wants an answer then.
const IDLE_WAIT: Duration = Duration::from_secs(5);
/// Between two looks at it.
const IDLE_EVERY: Duration = Duration::from_millis(250);
/// A plan older than this is made again: the world it was made in has moved on.
const VALID_MS: i64 = 600_000;
/// Sentinel reads priorities every 10 s; twice that, and the undo.
const STEER_MS: i64 = 30_000;
/// Beyond Sentinel's failover-timeout: the drain, telling the Sentinels (10 s), an old master that is
/// away for a while.
const FENCE_SLACK_MS: i64 = 40_000;
/// Drain, promotion, demotion and an old master that is away for a while.
const DRAIN_MS: i64 = 40_000;
/// Votes of an earlier election end within a minute at a node time-out of 15 s; then two tries of
/// 6 s, and a look.
const CLUSTER_MS: i64 = 90_000;
/// Settings are set at once; a node that is away for a while may come back.
const SET_MS: i64 = 30_000;
/// Replicas that resynchronise fully take their time.
const ROLES_MS: i64 = 120_000;
/// A write, an acknowledgement and reads, several times.
const DATA_MS: i64 = 30_000;
/// The score may lag by a few readings of 15 s.
const HEALTH_MS: i64 = 120_000;
/// Prefix of every key of ours; the platform user may write no other.
const KEY_PREFIX: &str = "__cachewarden:";

/// Parameters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// The replica to promote; none: the best one.
    pub target: Option<InstanceId>,
    /// Shard of a cluster, when no target is named.
    pub shard: Option<u32>,
    /// Zone the new master must not be in.
    pub avoid_zone: Option<ZoneId>,
    /// Nodes that may be dead.
    pub allow_dead: Vec<InstanceId>,
    /// How clients find the new master where nobody tells them.
    pub discovery: Option<Discovery>,
}

/// How clients of a service without Sentinels and cluster find the new master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Discovery {
    /// They try all nodes and ask for the role.
    NoneNeeded,
    /// The caller redirects them by hand, directly after the switchover.
    Manual,
}

/// Asks the fleet, checks, and makes the plan.
pub async fn plan(
    world: &World,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    let params = match params {
        Value::Null => Params::default(),
        given => serde_json::from_value(given.clone())
            .map_err(|e| Refusal::new("params", service, format!("switchover: {e}")))?,
    };
    let params = away_from_evacuated(world, params);
    let began = Instant::now();
    loop {
        let snapshot = topology::snapshot(world, service, Instant::now() + LOOK).await?;
        match make(&snapshot, &params, None, now) {
            // Saving and loading end by themselves, mostly soon.
            Err(busy) if busy.check == "P6" && began.elapsed() < IDLE_WAIT => {
                tokio::time::sleep(IDLE_EVERY).await;
            }
            made => return made.map(|plan| with_p7(world, &snapshot, plan)),
        }
    }
}

/// Nobody is chosen in a zone that masters were moved out of; a person may still name one there.
fn away_from_evacuated(world: &World, params: Params) -> Params {
    let evacuated = (world.inventory)().evacuated.first().cloned();
    match (&params.target, &params.avoid_zone) {
        (None, None) => Params { avoid_zone: evacuated, ..params },
        _ => params,
    }
}

/// P7, told: roles go back as they came, so it refuses nothing.
fn with_p7(world: &World, snapshot: &Snapshot, mut plan: Plan) -> Plan {
    let cast = plan.steps.first().and_then(|s| serde_json::from_value::<Cast>(s.args.clone()).ok());
    let layout = Layout::of_snapshot(&(world.inventory)(), snapshot);
    if let (Some(cast), Some(now)) = (cast, layout) {
        plan.checks.push(risk::told_check(&now, &now.promoted(&cast.old, &cast.target)));
    }
    plan
}

/// The plan for a snapshot; pure. `frozen`: why changes are frozen now.
pub fn make(
    snapshot: &Snapshot,
    params: &Params,
    frozen: Option<&str>,
    now: At,
) -> Result<Plan, Refusal> {
    let (cast, checks) = parts(snapshot, params, frozen)?;
    Ok(assemble(snapshot, params, &cast, checks, now))
}

/// Who plays which part, and what was checked for it; plans that hand a master over among other
/// things begin with it too.
pub(super) fn parts(
    snapshot: &Snapshot,
    params: &Params,
    frozen: Option<&str>,
) -> Result<(Cast, Vec<Checked>), Refusal> {
    admitted(snapshot, params)?;
    let old = old_master(snapshot, params)?;
    let target = target(snapshot, params, old)?;
    let others: Vec<InstanceId> =
        snapshot.replicas_of(old).into_iter().filter(|id| *id != target).cloned().collect();
    let (allow_dead, target) = (params.allow_dead.as_slice(), target);
    let looked = Before { now: snapshot, old, target, others: &others, allow_dead, frozen };
    let (checks, refusal) = before::all(&looked);
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    let cast = cast(snapshot, params, old, target, others)?;
    Ok((cast, checks))
}

fn admitted(snapshot: &Snapshot, params: &Params) -> Result<(), Refusal> {
    let service = &snapshot.service;
    if !service.managed {
        let why = format!("{} is not managed: operations are not allowed on it", service.id);
        return Err(Refusal::new("managed", &service.id, why));
    }
    if service.mode == Mode::Sentinels {
        return Err(Refusal::new("mode", &service.id, "a fleet of Sentinels has no master"));
    }
    if service.mode == Mode::Standalone && params.discovery.is_none() {
        let why = format!(
            "nobody tells the clients of {} where its master is: give discovery = \"manual\" (you \
             redirect them) or \"none_needed\" (they try all nodes)",
            service.id
        );
        return Err(Refusal::new("discovery", &service.id, why));
    }
    let foreign =
        params.allow_dead.iter().chain(&params.target).find(|id| snapshot.place(id).is_none());
    match foreign {
        Some(id) => Err(Refusal::new("params", id, format!("{id} is no node of {}", service.id))),
        None => Ok(()),
    }
}

fn cast(
    snapshot: &Snapshot,
    params: &Params,
    old: &InstanceId,
    target: &InstanceId,
    others: Vec<InstanceId>,
) -> Result<Cast, Refusal> {
    let mode = snapshot.service.mode;
    let master = snapshot.node(old).expect("checked: the old master answers");
    if mode != Mode::Cluster && version(master) < vec![6, 2] {
        let why = format!("{old} runs {}: holding writes needs 6.2", master.facts.text.version);
        return Err(Refusal::new("version", old, why));
    }
    let never = |id: &InstanceId| {
        let promotable = snapshot.node(id).and_then(|n| n.get(Field::SlavePriority)) != Some(0.0);
        !promotable || unready(snapshot, old, id).is_some()
    };
    let excluded = others.iter().filter(|id| never(id)).cloned().collect();
    let run_id = |id: &InstanceId| {
        let node = snapshot.node(id)?;
        Some((id.clone(), node.facts.text.run_id.clone()))
    };
    let run_ids = [old, target].into_iter().chain(&others).filter_map(run_id).collect();
    let sentinel = match mode {
        Mode::Sentinel => Some(sentinel_part(snapshot, old, target, &others)?),
        _ => None,
    };
    Ok(Cast {
        old: old.clone(),
        target: target.clone(),
        excluded,
        dead: params.allow_dead.clone(),
        run_ids,
        sentinel,
        key: probe_key(snapshot, old)?,
        others,
    })
}

fn probe_key(snapshot: &Snapshot, old: &InstanceId) -> Result<String, Refusal> {
    let view = snapshot.node(old).and_then(|n| n.cluster.as_ref());
    let Some(view) = view else { return Ok(format!("{KEY_PREFIX}probe")) };
    let own = view.nodes.iter().find(|n| n.id == view.my_id);
    own.and_then(|n| slot::key_in(KEY_PREFIX, &n.slots))
        .ok_or_else(|| Refusal::new("P5", old, format!("{old} owns no slot: nothing to hand over")))
}

/// The Sentinel that will fail over: outside the old master's zone if there is one, then by id; it
/// must know every replica.
fn sentinel_part(
    snapshot: &Snapshot,
    old: &InstanceId,
    target: &InstanceId,
    others: &[InstanceId],
) -> Result<SentinelPart, Refusal> {
    let replicas = || std::iter::once(target).chain(others);
    let zone = snapshot.place(old).map(|p| &p.zone);
    let fit = snapshot.sentinels.iter().filter_map(|s| {
        let watch = s.seen.as_ref().ok()?;
        let knows = |id: &InstanceId| {
            watch.replicas.iter().any(|r| r.address() == id.address() && r.is_ok())
        };
        let quorum = matches!(watch.master.ckquorum, Some((true, _)));
        (quorum && replicas().all(knows)).then_some((Some(&s.zone) == zone, &s.id, watch))
    });
    let best = fit.min_by_key(|(same_zone, id, _)| (*same_zone, (*id).clone()));
    let (_, id, watch) = best.ok_or_else(|| {
        Refusal::new(
            "P4",
            old,
            format!("no Sentinel knows every replica of {old} and finds it well"),
        )
    })?;
    let mut saved = BTreeMap::new();
    for replica in replicas() {
        let priority = snapshot.node(replica).and_then(|n| n.get(Field::SlavePriority));
        let unknown =
            || Refusal::new("P4", replica, format!("{replica} does not tell its replica-priority"));
        saved.insert(replica.clone(), priority.ok_or_else(unknown)? as u32);
    }
    Ok(SentinelPart {
        id: id.clone(),
        name: snapshot.service.sentinel_master.clone(),
        epoch: watch.master.config_epoch as u64,
        failover_timeout_ms: watch.master.failover_timeout_ms as u64,
        saved,
    })
}

fn assemble(
    snapshot: &Snapshot,
    params: &Params,
    cast: &Cast,
    checks: Vec<Checked>,
    now: At,
) -> Plan {
    let service = &snapshot.service.id;
    let stall = match snapshot.service.mode {
        Mode::Sentinel => "2.5 s",
        Mode::Cluster => "0.2 s",
        _ => "0.3 s",
    };
    Plan {
        kind: OperationKind::Switchover,
        kind_version: VERSION,
        service: service.clone(),
        params: serde_json::to_value(params).expect("parameters are plain data"),
        title: format!("Make {} the master instead of {}", cast.target, cast.old),
        blast_radius: format!(
            "1 shard of {service}, writes stall ≤ {stall}; its clients reconnect"
        ),
        level: 3,
        confirm: service.to_string(),
        world: identity(snapshot, cast),
        checks,
        steps: steps(snapshot.service.mode, cast),
        locks: vec![format!("service:{service}")],
        made_at: now,
        expires_at: now + VALID_MS,
    }
}

/// What must not have moved when it runs.
pub(super) fn identity(snapshot: &Snapshot, cast: &Cast) -> Value {
    let of = |id: &InstanceId| {
        let node = snapshot.node(id)?;
        let role = if node.master.is_none() { "master" } else { "slave" };
        let run_id = &node.facts.text.run_id;
        Some((id.to_string(), json!({ "run_id": run_id, "role": role, "epoch": node.epoch() })))
    };
    let nodes: serde_json::Map<_, _> =
        std::iter::once(&cast.old).chain(cast.replicas()).filter_map(of).collect();
    json!({ "nodes": nodes, "sentinel_epoch": cast.sentinel.as_ref().map(|s| s.epoch) })
}

pub(super) fn steps(mode: Mode, cast: &Cast) -> Vec<PlannedStep> {
    let mut steps = match (mode, &cast.sentinel) {
        (Mode::Sentinel, Some(part)) => {
            vec![steer(cast, part), fence(cast, part), priorities(cast, part)]
        }
        (Mode::Cluster, _) => vec![cluster_failover(cast)],
        _ => vec![drain(cast)],
    };
    let roles =
        step(cast, "roles", "Every node, and whoever watches, agrees on the new master", ROLES_MS);
    steps.push(roles);
    if mode == Mode::Standalone {
        steps.push(persist(cast));
    }
    steps.push(data(cast));
    steps.push(step(cast, "health", "The service is as healthy as before", HEALTH_MS));
    steps
}

/// A step that only looks, repeatable; others are made from it.
fn step(cast: &Cast, kind: &str, title: &str, timeout_ms: i64) -> PlannedStep {
    PlannedStep {
        kind: kind.into(),
        target: cast.target.to_string(),
        title: title.into(),
        args: serde_json::to_value(cast).expect("a cast is plain data"),
        commands: Vec::new(),
        timeout_ms,
        tries: 1,
        repeatable: true,
        point_of_no_return: false,
    }
}

fn steer(cast: &Cast, part: &SentinelPart) -> PlannedStep {
    let title =
        format!("Make Sentinel choose {}: set priorities and wait until it sees them", cast.target);
    let differ = cast
        .replicas()
        .filter(|id: &&InstanceId| part.saved.get(*id) != Some(&part.wished(cast, id)));
    let commands = differ
        .map(|id| format!("{id}> CONFIG SET replica-priority {}", part.wished(cast, id)))
        .collect();
    PlannedStep { commands, tries: 3, ..step(cast, "steer", &title, STEER_MS) }
}

fn fence(cast: &Cast, part: &SentinelPart) -> PlannedStep {
    let old = &cast.old;
    let (host, port) = cast.target.host_port();
    let timeout = FENCE_SLACK_MS + part.failover_timeout_ms as i64;
    let title =
        format!("Hold writes, drain, fail over by {}, demote {old}, let clients go", part.id);
    PlannedStep {
        commands: vec![
            format!("{old}> CLIENT PAUSE 3000 WRITE"),
            format!("{}> SENTINEL FAILOVER {}", part.id, part.name),
            format!("{old}> REPLICAOF {host} {port}"),
            format!("{old}> CLIENT UNPAUSE"),
            format!("{old}> CLIENT KILL TYPE normal SKIPME yes"),
            format!("{old}> CLIENT KILL TYPE pubsub SKIPME yes"),
        ],
        tries: 3,
        repeatable: false,
        point_of_no_return: true,
        ..step(cast, "fence", &title, timeout)
    }
}

fn priorities(cast: &Cast, part: &SentinelPart) -> PlannedStep {
    let mut commands = Vec::new();
    for (id, saved) in &part.saved {
        if *saved != part.wished(cast, id) {
            commands.push(format!("{id}> CONFIG SET replica-priority {saved}"));
        }
        commands.push(format!("{id}> CONFIG REWRITE"));
    }
    PlannedStep { commands, tries: 5, ..step(cast, "priorities", "Restore the priorities", SET_MS) }
}

fn drain(cast: &Cast) -> PlannedStep {
    let (old, target) = (&cast.old, &cast.target);
    let (host, port) = target.host_port();
    let mut commands = vec![
        format!("{old}> CLIENT PAUSE 5000 WRITE"),
        format!("{target}> REPLICAOF NO ONE"),
        format!("{old}> REPLICAOF {host} {port}"),
        format!("{old}> CLIENT UNPAUSE"),
        format!("{old}> CLIENT KILL TYPE normal SKIPME yes"),
        format!("{old}> CLIENT KILL TYPE pubsub SKIPME yes"),
    ];
    commands.extend(cast.others.iter().map(|id| format!("{id}> REPLICAOF {host} {port}")));
    let title = format!("Hold writes, drain and promote {target}, demote {old}, let clients go");
    PlannedStep {
        commands,
        tries: 3,
        repeatable: false,
        point_of_no_return: true,
        ..step(cast, "drain", &title, DRAIN_MS)
    }
}

fn persist(cast: &Cast) -> PlannedStep {
    let all = [&cast.target, &cast.old].into_iter().chain(&cast.others);
    let commands = all.map(|id| format!("{id}> CONFIG REWRITE")).collect();
    let title = "Write the roles into the configuration files";
    PlannedStep { commands, tries: 5, ..step(cast, "persist", title, SET_MS) }
}

fn cluster_failover(cast: &Cast) -> PlannedStep {
    PlannedStep {
        commands: vec![format!("{}> CLUSTER FAILOVER", cast.target)],
        tries: 2,
        repeatable: false,
        point_of_no_return: true,
        ..step(
            cast,
            "cluster_failover",
            &format!("{} takes over from {}", cast.target, cast.old),
            CLUSTER_MS,
        )
    }
}

fn data(cast: &Cast) -> PlannedStep {
    let (target, key, replicas) = (&cast.target, &cast.key, cast.others.len() + 1);
    PlannedStep {
        commands: vec![
            format!("{target}> SET {key} <operation id> EX 30"),
            format!("{target}> WAIT {replicas} 500"),
        ],
        tries: 5,
        ..step(cast, "data", "A write on the new master reaches every replica", DATA_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{OFFSET, edit, follow, id, promote, service, watch};

    fn of(mode: Mode) -> Params {
        let discovery = (mode == Mode::Standalone).then_some(Discovery::Manual);
        Params { discovery, ..Params::default() }
    }

    fn planned(now: &Snapshot) -> Result<Plan, Refusal> {
        make(now, &of(now.service.mode), None, At::EPOCH)
    }

    fn kinds(plan: &Plan) -> Vec<&str> {
        plan.steps.iter().map(|s| s.kind.as_str()).collect()
    }

    #[test]
    fn each_mode_has_its_steps_and_one_point_of_no_return() {
        let of = |mode| planned(&service(mode)).unwrap();
        let sentinel = of(Mode::Sentinel);
        assert_eq!(kinds(&sentinel), ["steer", "fence", "priorities", "roles", "data", "health"]);
        assert_eq!(kinds(&of(Mode::Cluster)), ["cluster_failover", "roles", "data", "health"]);
        let plain = of(Mode::Standalone);
        assert_eq!(kinds(&plain), ["drain", "roles", "persist", "data", "health"]);
        for plan in [sentinel, of(Mode::Cluster), plain] {
            let held = plan.steps.iter().filter(|s| s.point_of_no_return && !s.repeatable).count();
            assert_eq!(held, 1);
            assert!(plan.steps.iter().all(|s| STEPS.contains(&s.kind.as_str())));
        }
    }

    #[test]
    fn what_moves_by_itself_is_not_in_the_hash() {
        let now = service(Mode::Sentinel);
        let mut later = now.clone();
        for n in 1..=3 {
            edit(&mut later, n).offset += 4_242.0;
        }
        assert_eq!(planned(&now).unwrap().hash(), planned(&later).unwrap().hash());
        edit(&mut later, 3).facts.text.run_id = "restarted".into();
        assert_ne!(planned(&now).unwrap().hash(), planned(&later).unwrap().hash());
    }

    #[test]
    fn the_target_is_outside_the_masters_zone_and_the_sentinel_too() {
        let mut now = service(Mode::Sentinel);
        now.nodes[1].zone = now.nodes[0].zone.clone();
        let plan = planned(&now).unwrap();
        assert_eq!(plan.steps[0].target, id(3, 6379).to_string());
        assert_eq!(plan.steps[0].args["sentinel"]["id"], json!(id(2, 26379)));
    }

    fn refused(spoil: impl FnOnce(&mut Snapshot), mode: Mode) -> (String, String) {
        let mut now = service(mode);
        spoil(&mut now);
        let params = Params { target: Some(id(2, 6379)), ..of(mode) };
        let no = make(&now, &params, None, At::EPOCH).unwrap_err();
        (no.check, no.message)
    }

    #[test]
    fn a_lagging_target_is_refused_with_value_and_limit_and_another_is_chosen() {
        let lag = |now: &mut Snapshot| edit(now, 2).offset = OFFSET - 2_000_000.0;
        let (check, why) = refused(lag, Mode::Sentinel);
        assert_eq!(check, "P3");
        assert!(why.contains("2000000") && why.contains("1048576"), "{why}");
        let mut now = service(Mode::Sentinel);
        lag(&mut now);
        let plan = planned(&now).unwrap();
        assert_eq!(plan.steps[0].args["excluded"], json!([id(2, 6379)]));
        let set = format!("{}> CONFIG SET replica-priority 0", id(2, 6379));
        assert!(plan.steps[0].commands.contains(&set), "{:?}", plan.steps[0].commands);
    }

    fn stranger() -> model::reading::ReplicaLink {
        let (address, state) = ("10.0.9.9:6379".to_string(), "online".to_string());
        model::reading::ReplicaLink { address, state, offset: OFFSET, lag_s: 0.0 }
    }

    #[test]
    fn every_doubt_is_refused_by_its_check() {
        use Mode::{Cluster, Sentinel};
        let set = |n: usize, field: Field, value: f64| {
            move |now: &mut Snapshot| edit(now, n).facts.values.set(field, value)
        };
        let check = |spoil: &dyn Fn(&mut Snapshot), mode| refused(spoil, mode).0;
        type Spoil<'a> = &'a dyn Fn(&mut Snapshot);
        let spoiled: [(Spoil<'_>, Mode, &str); 13] = [
            (&|now| now.nodes[2].seen = Err("timeout".into()), Sentinel, "P1"),
            (&|now| promote(now, 3, 0.0), Sentinel, "P2"),
            (&|now| edit(now, 3).link = "sync".into(), Sentinel, "P3"),
            (&set(2, Field::MasterSyncInProgress, 1.0), Sentinel, "P3"),
            (&|now| watch(now, 1).master.flags = "master,o_down".into(), Sentinel, "P4"),
            (&|now| now.nodes.truncate(2), Sentinel, "P4"),
            (&|now| edit(now, 1).facts.replicas.push(stranger()), Sentinel, "P3"),
            (&set(1, Field::ClusterSlotsPfail, 1.0), Cluster, "P5"),
            (&|now| edit(now, 1).cluster.as_mut().unwrap().nodes[1].master = None, Cluster, "P5"),
            (&set(1, Field::RdbBgsaveInProgress, 1.0), Sentinel, "P6"),
            (&set(2, Field::SlavePriority, 0.0), Sentinel, "target"),
            (&|now| edit(now, 2).facts.text.version = "6.2.1".into(), Sentinel, "target"),
            (&|now| now.service.managed = false, Sentinel, "managed"),
        ];
        for (spoil, mode, wished) in spoiled {
            assert_eq!(check(spoil, mode), wished);
        }
    }

    #[test]
    fn one_sentinel_without_quorum_is_tolerated_two_are_not() {
        let mut now = service(Mode::Sentinel);
        watch(&mut now, 2).master.ckquorum = Some((false, "NOQUORUM".into()));
        assert!(planned(&now).is_ok());
        now.sentinels[0].seen = Err("timeout".into());
        assert_eq!(planned(&now).unwrap_err().check, "P4");
    }

    #[test]
    fn a_freeze_a_missing_discovery_and_an_unclear_shard_are_refused() {
        let now = service(Mode::Sentinel);
        let frozen = make(&now, &of(Mode::Sentinel), Some("month end"), At::EPOCH).unwrap_err();
        assert_eq!(frozen.check, "P9");
        let plain = service(Mode::Standalone);
        let open = make(&plain, &Params::default(), None, At::EPOCH).unwrap_err();
        assert_eq!(open.check, "discovery");
        let mut two = service(Mode::Cluster);
        promote(&mut two, 3, 0.0);
        assert_eq!(planned(&two).unwrap_err().check, "P2");
        follow(&mut two, 3, 1);
        assert!(planned(&two).is_ok());
    }

    #[test]
    fn a_dead_node_may_be_allowed_but_never_the_target() {
        let mut now = service(Mode::Sentinel);
        now.nodes[2].seen = Err("refused".into());
        let dead = vec![id(3, 6379)];
        let params = Params { allow_dead: dead.clone(), ..of(Mode::Sentinel) };
        let alive = make(&now, &params, None, At::EPOCH).unwrap_err();
        assert_eq!(alive.check, "P4", "Sentinel still sees it and could promote it");
        for n in 1..=3 {
            watch(&mut now, n).replicas[1].flags.push("s_down".into());
        }
        let plan = make(&now, &params, None, At::EPOCH).unwrap();
        assert_eq!(plan.steps[0].args["others"], json!([]));
        let params = Params { target: Some(id(3, 6379)), allow_dead: dead, ..of(Mode::Sentinel) };
        assert_eq!(make(&now, &params, None, At::EPOCH).unwrap_err().check, "P1");
    }
}
