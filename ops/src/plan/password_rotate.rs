//! Rotation of a service's password without a refused login: both passwords hold from the first step
//! until the gate, then only the new one.
//!
//! Invariants: no password is in the plan, its hash or its commands, only the revision of the staged
//! one; before the first revocation everything can be taken back; replicas come before masters, so a
//! failover meets no node that lacks what its master has. Refuses to know how owners change their
//! applications: the gate waits for them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use link::reply;
use model::field::Field;
use model::operation::OperationKind;
use model::plan::{Checked, Plan, PlannedStep};
use model::refusal::Refusal;
use model::secret::Secret;
use model::service::Mode;
use model::{At, InstanceId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{SECRET_NEXT, SECRET_REDIS, Store};

use crate::plan::Means;
use crate::topology::{self, Snapshot};
use crate::world::World;

/// Version of this definition.
pub const VERSION: u32 = 1;
/// Its steps.
pub const STEPS: &[&str] = &[
    "grant",
    "masterauth",
    "auth_pass",
    "switch_secret",
    "gate",
    "revoke",
    "requirepass",
    "prove_login",
    "drop_secrets",
];

const LOOK: Duration = Duration::from_secs(5);
/// A plan older than this is made again: the world it was made in has moved on.
const VALID_MS: i64 = 300_000;
/// A command and a rewrite take milliseconds.
const SET_MS: i64 = 60_000;
/// The store's generation is looked at every few seconds.
const SWITCH_MS: i64 = 120_000;
/// Links that were closed synchronise again, partially.
const PROVE_MS: i64 = 180_000;
/// What a gate has beyond its deadline.
const GATE_SLACK_MS: i64 = 60_000;
/// Owners deploy within a day, by default.
const GATE_S: u32 = 86_400;
/// And within a week at the latest.
const DEADLINE_S: u32 = 7 * 86_400;
/// Longest of both: a month.
const GATE_S_MAX: u32 = 31 * 86_400;
/// Shortest password: a random one of that length is not guessed.
const PASSWORD_MIN: usize = 16;
/// Longest: replies are read to 256 bytes, and it is compared.
const PASSWORD_MAX: usize = 128;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// How long no connection older than the change must have been seen, seconds.
    pub gate_s: u32,
    /// When the old password ends all the same, seconds after the new one is in force.
    pub deadline_s: u32,
}

impl Default for Params {
    fn default() -> Params {
        Params { gate_s: GATE_S, deadline_s: DEADLINE_S }
    }
}

/// What a data node says of its logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// Path of its ACL file; empty: users stand in its configuration.
    pub(crate) aclfile: String,
    /// As whom it follows a master; empty: the default user.
    pub(crate) masteruser: String,
    /// Hashes of the user's passwords.
    pub(crate) hashes: Vec<String>,
    /// Whether it takes any password.
    pub(crate) nopass: bool,
    /// Whether it has a configuration file.
    pub(crate) has_file: bool,
}

/// Asks the fleet, checks, and makes the plan.
pub async fn plan(
    world: &World,
    means: &Means<'_>,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    let params: Params = match params {
        Value::Null => Params::default(),
        given => serde_json::from_value(given.clone())
            .map_err(|e| Refusal::new("params", service, format!("password_rotate: {e}")))?,
    };
    let store = means.store(service)?;
    let (staged, old) = secrets(store, service).await?;
    let rev = store.secret_rev(service, SECRET_NEXT).await;
    let rev = rev.map_err(|e| Refusal::new("store", service, e.to_string()))?.unwrap_or_default();
    let snapshot = topology::snapshot(world, service, Instant::now() + LOOK).await?;
    let mut logins = BTreeMap::new();
    for node in &snapshot.nodes {
        let login = login(world, &node.id, &snapshot.service.auth_user).await;
        let login = login.map_err(|why| {
            Refusal::new("P1", &node.id, format!("{} does not tell its users: {why}", node.id))
        })?;
        logins.insert(node.id.clone(), login);
    }
    let old_hash = model::audit::sha256_hex(old.reveal().as_bytes());
    let checks = check(&snapshot, &params, (&staged, &old), &old_hash, &logins)?;
    Ok(assemble(&snapshot, &params, rev, &logins, checks, now))
}

/// The staged password and the present one.
async fn secrets(store: &Store, service: &ServiceId) -> Result<(Secret, Secret), Refusal> {
    let open = async |kind| {
        let found = store.secret_of(service, kind).await;
        found.map_err(|e| Refusal::new("secret", service, e.to_string()))
    };
    let missing = |why: String| Refusal::new("secret", service, why);
    let staged = open(SECRET_NEXT).await?.ok_or_else(|| {
        missing(format!(
            "no next password is staged for {service}: `cachewarden secret set {service} --kind \
             redis-next`"
        ))
    })?;
    let old = open(SECRET_REDIS).await?.ok_or_else(|| {
        missing(format!(
            "{service} has no password: the first one locks out every client that has none, so a \
             person sets it"
        ))
    })?;
    Ok((staged, old))
}

pub(crate) async fn login(world: &World, id: &InstanceId, user: &str) -> Result<Login, String> {
    let user = if user.is_empty() { "default" } else { user };
    let commands: [&[&str]; 4] = [
        &["ACL", "GETUSER", user],
        &["CONFIG", "GET", "aclfile"],
        &["CONFIG", "GET", "masteruser"],
        &["INFO", "server"],
    ];
    let replies = topology::ask(world, id, &commands, Instant::now() + LOOK).await?;
    let [acl, aclfile, masteruser, info] = replies.as_slice() else {
        return Err("an incomplete answer".into());
    };
    if let Some(error) = replies.iter().find_map(reply::error) {
        return Err(error);
    }
    let value = |v| reply::items(v).and_then(|i| reply::text(i.get(1)?)).unwrap_or_default();
    let (hashes, nopass) = user_of(acl).ok_or_else(|| format!("it has no user {user}"))?;
    let info = reply::bytes(info).unwrap_or_default();
    let file = reply::info::text(info, "config_file").unwrap_or_default();
    Ok(Login {
        aclfile: value(aclfile),
        masteruser: value(masteruser),
        hashes,
        nopass,
        has_file: !file.trim().is_empty(),
    })
}

/// Hashes of the passwords of ACL GETUSER, and whether none is needed.
fn user_of(value: &link::Value) -> Option<(Vec<String>, bool)> {
    let flat = reply::items(value)?;
    let named = |name: &str| {
        let at = flat.iter().step_by(2).position(|k| reply::bytes(k) == Some(name.as_bytes()))?;
        flat.get(2 * at + 1)
    };
    let texts = |v| reply::items(v).map(|i| i.iter().filter_map(reply::text).collect::<Vec<_>>());
    let nopass = texts(named("flags")?)?.iter().any(|f| f == "nopass");
    Some((texts(named("passwords")?)?, nopass))
}

fn check(
    snapshot: &Snapshot,
    params: &Params,
    (staged, old): (&Secret, &Secret),
    old_hash: &str,
    logins: &BTreeMap<InstanceId, Login>,
) -> Result<Vec<Checked>, Refusal> {
    let service = &snapshot.service.id;
    let refuse = |check: &str, why: String| Err(Refusal::new(check, service, why));
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '#');
    let chars = staged.reveal().chars();
    if !(PASSWORD_MIN..=PASSWORD_MAX).contains(&staged.reveal().len()) || !chars.clone().all(plain)
    {
        let why = format!(
            "the staged password: expected {PASSWORD_MIN} to {PASSWORD_MAX} printable ASCII \
             characters without blanks, quotes, '#' and backslashes (Sentinel writes it bare into \
             its file)"
        );
        return refuse("secret", why);
    }
    if staged.reveal() == old.reveal() {
        return refuse("secret", "the staged password is the present one".into());
    }
    if params.deadline_s < params.gate_s || params.deadline_s > GATE_S_MAX {
        let why = format!(
            "gate_s = {}, deadline_s = {}: the deadline is not before the gate and at most \
             {GATE_S_MAX} s",
            params.gate_s, params.deadline_s
        );
        return refuse("params", why);
    }
    every_node(snapshot, old_hash, logins)?;
    links(snapshot)?;
    let wait = format!(
        "{} s without an older connection, {} s at the latest",
        params.gate_s, params.deadline_s
    );
    Ok(vec![
        passed("P1", format!("{} nodes told their users", logins.len())),
        passed("P3", "every replica follows over a live link".into()),
        passed("secret", "a next password is staged".into()),
        passed("gate", wait),
    ])
}

fn passed(check: &str, seen: String) -> Checked {
    Checked { check: check.into(), passed: true, seen }
}

/// Every node takes the present password and can keep another.
fn every_node(
    snapshot: &Snapshot,
    old_hash: &str,
    logins: &BTreeMap<InstanceId, Login>,
) -> Result<(), Refusal> {
    let user = user(snapshot);
    for (id, login) in logins {
        if login.nopass {
            let why = format!("user {user} of {id} needs no password: there is nothing to rotate");
            return Err(Refusal::new("secret", id, why));
        }
        if !login.hashes.iter().any(|h| h == old_hash) {
            let why = format!("{id} does not take the stored password for user {user}");
            return Err(Refusal::new("secret", id, why));
        }
        if login.aclfile.is_empty() && !login.has_file {
            let why = format!(
                "{id} has neither an ACL file nor a configuration file: it would \
                               forget the password at its next start"
            );
            return Err(Refusal::new("file", id, why));
        }
        let theirs = if login.masteruser.is_empty() { "default" } else { &login.masteruser };
        if theirs != user {
            let why =
                format!("{id} follows its master as {theirs}, not as {user}: rotate that one");
            return Err(Refusal::new("masteruser", id, why));
        }
    }
    Ok(())
}

/// A replica whose link is down may need the old password to come back. Not during a slot move.
fn links(snapshot: &Snapshot) -> Result<(), Refusal> {
    for (id, node) in snapshot.answered() {
        if node.master.is_some() && node.link != "connected" {
            let why = format!("the link of {id} to its master is {:?}", node.link);
            return Err(Refusal::new("P3", id, why));
        }
        if node.says(Field::Loading) {
            return Err(Refusal::new("P6", id, format!("{id} is loading")));
        }
        let open = node.cluster.iter().flat_map(|v| &v.nodes).flat_map(|n| &n.open_slots).next();
        if let Some(open) = open {
            return Err(Refusal::new("P5", id, format!("{id} has an open slot: {open}")));
        }
    }
    let silent = snapshot.nodes.iter().find_map(|n| Some((&n.id, n.seen.as_ref().err()?)));
    let watch = snapshot.sentinels.iter().find_map(|s| Some((&s.id, s.seen.as_ref().err()?)));
    match silent.or(watch) {
        Some((id, why)) => Err(Refusal::new("P1", id, format!("{id} does not answer: {why}"))),
        None => Ok(()),
    }
}

fn user(snapshot: &Snapshot) -> &str {
    let user = snapshot.service.auth_user.as_str();
    if user.is_empty() { "default" } else { user }
}

fn assemble(
    snapshot: &Snapshot,
    params: &Params,
    rev: i64,
    logins: &BTreeMap<InstanceId, Login>,
    checks: Vec<Checked>,
    now: At,
) -> Plan {
    let service = &snapshot.service.id;
    let of = |id: &InstanceId| {
        let node = snapshot.node(id);
        let role = node.map(|n| if n.master.is_none() { "master" } else { "slave" });
        json!({ "run_id": node.map(|n| n.facts.text.run_id.as_str()), "role": role })
    };
    let nodes: serde_json::Map<_, _> = logins.keys().map(|id| (id.to_string(), of(id))).collect();
    Plan {
        kind: OperationKind::PasswordRotate,
        kind_version: VERSION,
        service: service.clone(),
        params: serde_json::to_value(params).expect("parameters are plain data"),
        title: format!("Rotate the password of user {} of {service}", user(snapshot)),
        blast_radius: format!(
            "{} nodes of {service}; both passwords hold until the gate, then older connections are \
             closed and the old password ends everywhere",
            logins.len()
        ),
        level: 4,
        confirm: service.to_string(),
        world: json!({ "nodes": nodes, "next_rev": rev }),
        checks,
        steps: steps(snapshot, params, logins),
        locks: vec![format!("service:{service}")],
        made_at: now,
        expires_at: now + VALID_MS,
    }
}

/// The nodes in their order, with how each keeps its users.
struct Nodes<'a> {
    user: &'a str,
    all: Vec<(&'a InstanceId, &'static str)>,
}

impl<'a> Nodes<'a> {
    /// Replicas first: a failover meets no node that lacks what its master has.
    fn of(snapshot: &'a Snapshot, logins: &'a BTreeMap<InstanceId, Login>) -> Nodes<'a> {
        let masters = snapshot.masters();
        let keep = |login: &Login| {
            if login.aclfile.is_empty() { "CONFIG REWRITE" } else { "ACL SAVE" }
        };
        let mut all: Vec<_> = logins.iter().map(|(id, login)| (id, keep(login))).collect();
        all.sort_by_key(|(id, _)| (masters.contains(id), *id));
        Nodes { user: user(snapshot), all }
    }

    /// A step on each: `{id}` in the title, the commands without their node, `KEEP` for how it keeps
    /// its users.
    fn each(&self, kind: &str, title: &str, commands: &[&str]) -> Vec<PlannedStep> {
        let one = |(id, keep): &(&InstanceId, &str)| {
            let args = json!({ "user": self.user, "keep": keep });
            let command = |c: &&str| format!("{id}> {}", c.replace("KEEP", keep));
            PlannedStep {
                commands: commands.iter().map(command).collect(),
                ..step(kind, id.as_str(), title.replace("{id}", id.as_str()), args, SET_MS)
            }
        };
        self.all.iter().map(one).collect()
    }
}

fn steps(
    snapshot: &Snapshot,
    params: &Params,
    logins: &BTreeMap<InstanceId, Login>,
) -> Vec<PlannedStep> {
    let (service, nodes) = (&snapshot.service.id, Nodes::of(snapshot, logins));
    let user = nodes.user;
    let allow = format!("ACL SETUSER {user} #***");
    let title = "{id} takes the new password beside the old";
    let mut steps = nodes.each("grant", title, &[&allow, "KEEP"]);
    let commands = ["CONFIG SET masterauth ***", "CONFIG REWRITE"];
    steps.extend(nodes.each("masterauth", "{id} will follow with the new password", &commands));
    steps.extend(sentinels(snapshot, user));
    steps.extend(middle(service, user, params));
    let take = format!("ACL SETUSER {user} !***");
    let close = format!("CLIENT KILL ID (each connection of {user} from before the rotation)");
    let mut revoked =
        nodes.each("revoke", "{id} refuses the old password", &[&take, "KEEP", &close]);
    revoked.iter_mut().for_each(|step| step.point_of_no_return = true);
    steps.extend(revoked);
    if user == "default" {
        let commands = ["CONFIG SET requirepass ***", "CONFIG REWRITE"];
        steps.extend(nodes.each("requirepass", "{id} names the new password only", &commands));
    }
    steps.extend(end(snapshot, service, user));
    steps
}

fn sentinels(snapshot: &Snapshot, user: &str) -> Vec<PlannedStep> {
    if snapshot.service.mode != Mode::Sentinel {
        return Vec::new();
    }
    let name = &snapshot.service.sentinel_master;
    let one = |id: &InstanceId| PlannedStep {
        commands: vec![format!("{id}> SENTINEL SET {name} auth-pass ***")],
        ..step(
            "auth_pass",
            id.as_str(),
            format!("{id} will watch with the new password"),
            json!({ "user": user, "name": name }),
            SET_MS,
        )
    };
    snapshot.sentinels.iter().map(|s| one(&s.id)).collect()
}

fn middle(service: &ServiceId, user: &str, params: &Params) -> [PlannedStep; 2] {
    let wait = i64::from(params.deadline_s) * 1000 + GATE_SLACK_MS;
    let args = json!({ "user": user, "gate_s": params.gate_s, "deadline_s": params.deadline_s });
    [
        PlannedStep {
            commands: vec![format!("store> the password of {service}")],
            ..step(
                "switch_secret",
                service.as_str(),
                "cachewarden itself logs in with the new password".into(),
                json!({ "user": user }),
                SWITCH_MS,
            )
        },
        step(
            "gate",
            service.as_str(),
            "Owners give the new password to their applications".into(),
            args,
            wait,
        ),
    ]
}

fn end(snapshot: &Snapshot, service: &ServiceId, user: &str) -> [PlannedStep; 2] {
    let masters = snapshot.masters();
    [
        PlannedStep {
            commands: masters.iter().map(|id| format!("{id}> CLIENT KILL TYPE replica")).collect(),
            ..step(
                "prove_login",
                service.as_str(),
                "Every link logs in anew, the new password works everywhere, the old one nowhere"
                    .into(),
                json!({ "user": user }),
                PROVE_MS,
            )
        },
        PlannedStep {
            commands: vec![format!("store> forget the old password of {service}")],
            ..step(
                "drop_secrets",
                service.as_str(),
                "Forget the old password".into(),
                json!({ "user": user }),
                SET_MS,
            )
        },
    ]
}

fn step(kind: &str, target: &str, title: String, args: Value, timeout_ms: i64) -> PlannedStep {
    PlannedStep {
        kind: kind.into(),
        target: target.into(),
        title,
        args,
        commands: Vec::new(),
        timeout_ms,
        tries: 5,
        repeatable: true,
        point_of_no_return: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{edit, id, service};

    const OLD: &str = "old-password-of-the-fleet";
    const NEW: &str = "new-password-of-the-fleet";

    fn logins(hash: &str) -> BTreeMap<InstanceId, Login> {
        let login = Login {
            aclfile: String::new(),
            masteruser: String::new(),
            hashes: vec![hash.into()],
            nopass: false,
            has_file: true,
        };
        (1..=3).map(|n| (id(n, 6379), login.clone())).collect()
    }

    fn old_hash() -> String {
        model::audit::sha256_hex(OLD.as_bytes())
    }

    fn made(snapshot: &Snapshot, staged: &str) -> Result<Plan, Refusal> {
        let (staged, old) = (Secret::new(staged.into()), Secret::new(OLD.into()));
        let (params, logins) = (Params::default(), logins(&old_hash()));
        let checks = check(snapshot, &params, (&staged, &old), &old_hash(), &logins)?;
        Ok(assemble(snapshot, &params, 1, &logins, checks, At::EPOCH))
    }

    #[test]
    fn all_seven_steps_stand_in_order_and_the_way_back_ends_at_the_revocation() {
        let plan = made(&service(Mode::Sentinel), NEW).unwrap();
        let mut kinds: Vec<&str> = plan.steps.iter().map(|s| s.kind.as_str()).collect();
        kinds.dedup();
        assert_eq!(kinds, STEPS);
        let first = plan.steps.iter().position(|s| s.point_of_no_return).unwrap();
        assert_eq!(plan.steps[first].kind, "revoke");
        assert_eq!(plan.steps[0].target, id(2, 6379).to_string(), "replicas first");
        assert_eq!(plan.level, 4);
        let cluster = made(&service(Mode::Cluster), NEW).unwrap();
        assert!(cluster.steps.iter().all(|s| s.kind != "auth_pass"));
    }

    #[test]
    fn no_password_and_no_hash_of_one_is_in_a_plan() {
        let text = serde_json::to_string(&made(&service(Mode::Sentinel), NEW).unwrap()).unwrap();
        for secret in [OLD, NEW, &old_hash(), &model::audit::sha256_hex(NEW.as_bytes())] {
            assert!(!text.contains(secret), "{secret}");
        }
    }

    #[test]
    fn what_would_lock_somebody_out_is_refused() {
        let fine = service(Mode::Sentinel);
        for weak in ["short", "has blanks in it, it has", "ends-with-quote-here\"", OLD] {
            assert_eq!(made(&fine, weak).unwrap_err().check, "secret", "{weak}");
        }
        let mut broken = service(Mode::Sentinel);
        edit(&mut broken, 2).link = "connect".into();
        assert_eq!(made(&broken, NEW).unwrap_err().check, "P3");
        let mut silent = service(Mode::Sentinel);
        silent.sentinels[1].seen = Err("timeout".into());
        assert_eq!(made(&silent, NEW).unwrap_err().check, "P1");
        let mut other = logins(&old_hash());
        other.get_mut(&id(3, 6379)).unwrap().masteruser = "replicator".into();
        assert_eq!(every_node(&fine, &old_hash(), &other).unwrap_err().check, "masteruser");
        assert_eq!(every_node(&fine, "another", &logins("x")).unwrap_err().check, "secret");
    }
}
