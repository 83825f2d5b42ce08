//! The acts of `password_rotate`: both passwords everywhere, our own login, the gate, one password.
//!
//! Invariants: a password leaves memory only towards the servers and Sentinels of its own service, and
//! stands in no journal line, error or figure; passwords are given by their hash where the server takes
//! one; each act reads back what the server keeps. Refuses to know who the owners are.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use model::InstanceId;
use model::audit::sha256_hex;
use model::reading::Reason;
use model::secret::Secret;
use serde_json::{Value, json};
use store::{SECRET_NEXT, SECRET_OLD, SECRET_REDIS};

use super::clients::{self, Client};
use super::conn::{Conn, Trouble};
use super::{ActError, Cx, Observed};
use crate::topology;

/// Longest look at the whole service.
const LOOK_MAX: Duration = Duration::from_secs(4);
/// Connecting for a proof: a refused login is answered at once.
const LOGIN_MAX: Duration = Duration::from_secs(2);
/// The store's generation is looked at every few seconds.
const SWITCH_BACK_MAX: Duration = Duration::from_secs(20);
/// Connections closed in a row before a pause, so that clients do not all come back at one moment.
const KILLS_AT_ONCE: usize = 10;
/// That pause: 100 connections in a second.
const KILL_PAUSE: Duration = Duration::from_millis(100);

type Seen = Result<Observed, ActError>;

pub(super) async fn observe(cx: &Cx<'_>) -> Observed {
    let seen = match cx.step.kind.as_str() {
        "grant" => granted(cx).await,
        "masterauth" => masterauth_is(cx).await,
        "auth_pass" => watches(cx).await,
        "switch_secret" => switched(cx).await,
        "gate" => gate(cx).await,
        "revoke" => revoked(cx).await,
        "requirepass" => requirepass_is(cx).await,
        "prove_login" => proved(cx).await,
        _ => dropped(cx).await,
    };
    match seen {
        Ok(observed) => observed,
        Err(ActError::Failed(why)) => Observed::Other(why),
        Err(ActError::Retry(why)) => Observed::Unknown(why),
    }
}

pub(super) async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    match cx.step.kind.as_str() {
        "grant" => allow(cx, true).await,
        "masterauth" => set_masterauth(cx, &next(cx).await?).await,
        "auth_pass" => set_auth_pass(cx, &next(cx).await?).await,
        "switch_secret" => {
            cx.may_send()?;
            let now = (cx.world.clock)();
            let switch = cx.store()?.secret_switch(cx.caller()?, &cx.operation.service, now).await;
            switch.map_err(|e| ActError::Retry(e.to_string()))
        }
        "gate" => Ok(()),
        "revoke" => revoke(cx).await,
        "requirepass" => set_requirepass(cx).await,
        "prove_login" => relink(cx).await,
        _ => {
            cx.may_send()?;
            let now = (cx.world.clock)();
            let drop = cx.store()?.secret_rotated(cx.caller()?, &cx.operation.service, now).await;
            drop.map_err(|e| ActError::Retry(e.to_string()))
        }
    }
}

pub(super) async fn undo(cx: &Cx<'_>) -> Result<(), ActError> {
    match cx.step.kind.as_str() {
        "grant" => allow(cx, false).await,
        "masterauth" => set_masterauth(cx, &old(cx).await?).await,
        "auth_pass" => set_auth_pass(cx, &old(cx).await?).await,
        "switch_secret" => {
            let now = (cx.world.clock)();
            let back =
                cx.store()?.secret_switch_back(cx.caller()?, &cx.operation.service, now).await;
            back.map_err(|e| ActError::Retry(e.to_string()))?;
            logs_in_with_the_old(cx).await
        }
        // Behind the first revocation nothing is undone.
        _ => Ok(()),
    }
}

/// Waits until this process logs in with the password before again: what is undone next takes the
/// other away, and would lock us out.
async fn logs_in_with_the_old(cx: &Cx<'_>) -> Result<(), ActError> {
    let next = next(cx).await?;
    let inventory = (cx.world.inventory)();
    let end = Instant::now() + SWITCH_BACK_MAX;
    loop {
        let uses = |id: &InstanceId| {
            let target = (cx.world.target)(id);
            target.and_then(|t| t.password).is_some_and(|p| p.reveal() == next.reveal())
        };
        if !inventory.nodes(&cx.operation.service).any(|i| uses(&i.id)) {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(ActError::Retry("the old password is stored, not yet in force".into()));
        }
        tokio::time::sleep(KILL_PAUSE).await;
    }
}

async fn secret(cx: &Cx<'_>, kind: &str) -> Result<Option<Secret>, ActError> {
    let found = cx.store()?.secret_of(&cx.operation.service, kind).await;
    found.map_err(|e| ActError::Retry(e.to_string()))
}

async fn next(cx: &Cx<'_>) -> Result<Secret, ActError> {
    let next = secret(cx, SECRET_NEXT).await?;
    next.ok_or_else(|| ActError::Failed("no next password is staged any more".into()))
}

/// The password before: the present one until the switch, the kept one after it.
async fn old(cx: &Cx<'_>) -> Result<Secret, ActError> {
    let next = next(cx).await?;
    let present = secret(cx, SECRET_REDIS).await?;
    let old = match present {
        Some(present) if present.reveal() != next.reveal() => Some(present),
        _ => secret(cx, SECRET_OLD).await?,
    };
    old.ok_or_else(|| ActError::Failed("the password before is not kept any more".into()))
}

fn hash(secret: &Secret) -> String {
    sha256_hex(secret.reveal().as_bytes())
}

fn node(cx: &Cx<'_>) -> Result<InstanceId, ActError> {
    cx.step.target.parse().map_err(|e: model::id::BadId| ActError::Failed(e.to_string()))
}

/// Hashes the node keeps for the user, in memory and, where it can be read, in its file.
struct Kept {
    running: Vec<String>,
    file: Option<String>,
}

async fn kept(cx: &Cx<'_>) -> Result<Kept, ActError> {
    let id = node(cx)?;
    let login = crate::plan::password_rotate::login(cx.world, &id, cx.arg("user")?).await;
    let login = login.map_err(|why| ActError::Retry(format!("{id}: {why}")))?;
    let inventory = (cx.world.inventory)();
    let file = match cx.world.providers.of(&inventory, &id) {
        Ok((provider, at)) if login.aclfile.is_empty() => provider.conf_text(&at).await.ok(),
        _ => None,
    };
    Ok(Kept { running: login.hashes, file })
}

impl Kept {
    /// Whether memory and file both hold the hash, or both do not.
    fn all(&self, hash: &str, wished: bool) -> bool {
        let running = self.running.iter().any(|h| h == hash) == wished;
        let file = self.file.as_ref().is_none_or(|f| f.contains(&format!("#{hash}")) == wished);
        running && file
    }
}

async fn granted(cx: &Cx<'_>) -> Seen {
    let (kept, next) = (kept(cx).await?, next(cx).await?);
    Ok(match kept.all(&hash(&next), true) {
        true => Observed::Wished(json!({ "passwords": kept.running.len() })),
        false => Observed::NotYet(format!("{} does not keep the new password", cx.step.target)),
    })
}

/// Adds or takes the new password by its hash, and keeps that over a restart.
async fn allow(cx: &Cx<'_>, wished: bool) -> Result<(), ActError> {
    let next = hash(&next(cx).await?);
    change(cx, if wished { '#' } else { '!' }, &next).await
}

async fn change(cx: &Cx<'_>, sign: char, hash: &str) -> Result<(), ActError> {
    let kept = kept(cx).await?;
    if kept.all(hash, sign == '#') {
        return Ok(());
    }
    let (id, user) = (node(cx)?, cx.arg("user")?);
    let mut conn = Conn::dial(cx, &id).await?;
    if kept.running.iter().any(|h| h == hash) != (sign == '#') {
        let rule = format!("{sign}{hash}");
        let shown = format!("ACL SETUSER {user} {sign}***");
        conn.send_secretly(&["ACL", "SETUSER", user, &rule], &shown).await?;
    }
    keep(cx, &mut conn).await
}

async fn keep(cx: &Cx<'_>, conn: &mut Conn<'_>) -> Result<(), ActError> {
    let command: Vec<&str> = cx.arg("keep")?.split(' ').collect();
    conn.send(&command).await?;
    Ok(())
}

async fn masterauth_is(cx: &Cx<'_>) -> Seen {
    config_is(cx, "masterauth", &next(cx).await?).await
}

async fn requirepass_is(cx: &Cx<'_>) -> Seen {
    config_is(cx, "requirepass", &next(cx).await?).await
}

/// Compared here and told nobody.
async fn config_is(cx: &Cx<'_>, name: &str, wished: &Secret) -> Seen {
    let id = node(cx)?;
    let mut conn = Conn::dial(cx, &id).await?;
    let has = Secret::new(conn.config(name).await?);
    Ok(match has.reveal() == wished.reveal() {
        true => Observed::Wished(json!({ "set": true })),
        false => Observed::NotYet(format!("{id} has another {name}")),
    })
}

async fn set_masterauth(cx: &Cx<'_>, secret: &Secret) -> Result<(), ActError> {
    set_config(cx, "masterauth", secret).await
}

async fn set_requirepass(cx: &Cx<'_>) -> Result<(), ActError> {
    set_config(cx, "requirepass", &next(cx).await?).await
}

async fn set_config(cx: &Cx<'_>, name: &str, secret: &Secret) -> Result<(), ActError> {
    let id = node(cx)?;
    let mut conn = Conn::dial(cx, &id).await?;
    if Secret::new(conn.config(name).await?).reveal() != secret.reveal() {
        let shown = format!("CONFIG SET {name} ***");
        conn.send_secretly(&["CONFIG", "SET", name, secret.reveal()], &shown).await?;
    }
    if name == "requirepass" {
        // It is a user's password: kept where users are kept.
        keep(cx, &mut conn).await?;
    }
    match conn.send(&["CONFIG", "REWRITE"]).await {
        Ok(_) => Ok(()),
        // A node with an ACL file may run without another one.
        Err(Trouble::Refused(_)) if cx.arg("keep")? == "ACL SAVE" => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// A Sentinel does not tell the password it has; what it makes of the master does. Before this run has
/// set it, it is set again.
async fn watches(cx: &Cx<'_>) -> Seen {
    let id = node(cx)?;
    let sent = {
        let memo = cx.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        memo["sent"].as_bool() == Some(true)
    };
    if !sent {
        return Ok(Observed::NotYet(format!("{id} was not told in this run")));
    }
    let mut conn = Conn::dial(cx, &id).await?;
    let master = topology::master_of(&conn.ask(&["SENTINEL", "MASTER", cx.arg("name")?]).await?);
    let master = master.map_err(ActError::Retry)?;
    Ok(match master.flags.contains("down") {
        true => Observed::NotYet(format!("{id} flags the master {}", master.flags)),
        false => Observed::Wished(json!({ "flags": master.flags })),
    })
}

async fn set_auth_pass(cx: &Cx<'_>, secret: &Secret) -> Result<(), ActError> {
    let (id, name) = (node(cx)?, cx.arg("name")?);
    let mut conn = Conn::dial(cx, &id).await?;
    let shown = format!("SENTINEL SET {name} auth-pass ***");
    conn.send_secretly(&["SENTINEL", "SET", name, "auth-pass", secret.reveal()], &shown).await?;
    *cx.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = json!({ "sent": true });
    Ok(())
}

/// Stored, and in force for every address this process would connect to.
async fn switched(cx: &Cx<'_>) -> Seen {
    let next = next(cx).await?;
    let stored = secret(cx, SECRET_REDIS).await?;
    if stored.is_none_or(|s| s.reveal() != next.reveal()) {
        return Ok(Observed::NotYet("the stored password is the old one".into()));
    }
    let inventory = (cx.world.inventory)();
    for node in inventory.nodes(&cx.operation.service) {
        let target = (cx.world.target)(&node.id);
        let uses = target.and_then(|t| t.password).is_some_and(|p| p.reveal() == next.reveal());
        if !uses {
            let why = format!("this process does not log in to {} with it yet", node.id);
            return Ok(Observed::NotYet(why));
        }
    }
    Ok(Observed::Wished(json!({ "switched": true })))
}

/// Clients of the user on every data node.
async fn sessions(cx: &Cx<'_>) -> Result<Vec<(InstanceId, Vec<Client>)>, ActError> {
    let inventory = (cx.world.inventory)();
    let user = cx.arg("user")?;
    let nodes: Vec<InstanceId> =
        inventory.nodes(&cx.operation.service).map(|i| i.id.clone()).collect();
    let asked = nodes.into_iter().map(|id| async move {
        let mut conn = Conn::dial(cx, &id).await?;
        let all = clients::list(&mut conn).await?;
        let theirs = all.into_iter().filter(|c| c.user == user && c.is_application());
        Ok::<_, ActError>((id, theirs.collect()))
    });
    join_all(asked).await.into_iter().collect()
}

/// Open when nobody who was there before the new password was given out is left for long enough, or
/// when the deadline is over.
async fn gate(cx: &Cx<'_>) -> Seen {
    let arg = |name: &str| cx.step.args[name].as_i64().unwrap_or_default();
    let Some(since) = cx.step.started_at else {
        return Ok(Observed::NotYet("the time for the owners begins".into()));
    };
    // It lasts for hours: who wants to stop is not kept waiting for its end.
    let now = cx.store()?.operation_get(cx.caller()?, &cx.operation.id).await;
    if now.map_err(|e| ActError::Retry(e.to_string()))?.cancel_requested {
        return Ok(Observed::Other("a person asked to stop".into()));
    }
    let waited_s = (cx.world.clock)().since_ms(since) / 1000;
    let mut older = 0;
    for (_, sessions) in sessions(cx).await? {
        older += sessions.iter().filter(|c| c.age_s > waited_s).count();
    }
    let quiet = waited_s >= arg("gate_s") && older == 0;
    if quiet || waited_s >= arg("deadline_s") {
        cx.journal.figure("older_connections", older as u64);
        return Ok(Observed::Wished(json!({ "waited_s": waited_s, "older": older })));
    }
    Ok(Observed::NotYet(format!(
        "{older} connections from before; {waited_s} s of {} waited, {} s at the latest",
        arg("gate_s"),
        arg("deadline_s")
    )))
}

async fn revoked(cx: &Cx<'_>) -> Seen {
    let (kept, old) = (kept(cx).await?, old(cx).await?);
    Ok(match kept.all(&hash(&old), false) {
        true => Observed::Wished(json!({ "passwords": kept.running.len() })),
        false => Observed::NotYet(format!("{} still keeps the old password", cx.step.target)),
    })
}

/// Takes the old password away; whoever has been connected since before then has to log in anew.
async fn revoke(cx: &Cx<'_>) -> Result<(), ActError> {
    let old = hash(&old(cx).await?);
    change(cx, '!', &old).await?;
    let id = node(cx)?;
    let gate = cx.operation.started_at.unwrap_or(cx.operation.created_at);
    let begun_s = (cx.world.clock)().since_ms(gate) / 1000;
    let mut conn = Conn::dial(cx, &id).await?;
    let user = cx.arg("user")?.to_string();
    let before = clients::list(&mut conn).await?;
    let before: Vec<Client> = before
        .into_iter()
        .filter(|c| c.user == user && c.is_application() && c.age_s > begun_s)
        .collect();
    for (n, client) in before.iter().enumerate() {
        if n > 0 && n % KILLS_AT_ONCE == 0 {
            tokio::time::sleep(KILL_PAUSE).await;
        }
        clients::kill(&mut conn, client).await?;
    }
    Ok(())
}

/// Every replica logs in to its master anew.
async fn relink(cx: &Cx<'_>) -> Result<(), ActError> {
    let end = Instant::now() + LOOK_MAX;
    let now = topology::look(cx.world, &cx.operation.service, end).await;
    let now = now.map_err(|r| ActError::Retry(r.to_string()))?;
    for master in now.masters() {
        let mut conn = Conn::dial(cx, master).await?;
        conn.send(&["CLIENT", "KILL", "TYPE", "replica"]).await?;
    }
    Ok(())
}

/// Links are up and younger than the step, Sentinels have their quorum, the old password opens nothing.
async fn proved(cx: &Cx<'_>) -> Seen {
    let Some(since) = cx.step.started_at else {
        return Ok(Observed::NotYet("the links are from before".into()));
    };
    let end = Instant::now() + LOOK_MAX;
    let now = topology::look(cx.world, &cx.operation.service, end).await;
    let now = now.map_err(|r| ActError::Retry(r.to_string()))?;
    let age_s = (cx.world.clock)().since_ms(since) / 1000;
    for node in &now.nodes {
        let said = match &node.seen {
            Ok(said) => said,
            Err(why) => return Ok(Observed::NotYet(format!("{}: {why}", node.id))),
        };
        if said.master.is_some() && said.link != "connected" {
            let why = format!("the link of {} is {:?}", node.id, said.link);
            return Ok(Observed::NotYet(why));
        }
        if said.master.is_none() {
            let mut conn = Conn::dial(cx, &node.id).await?;
            let all = clients::list(&mut conn).await?;
            if let Some(link) = all.iter().find(|c| c.is_replica() && c.age_s > age_s) {
                let why = format!("the link from {} to {} is from before", link.address, node.id);
                return Ok(Observed::NotYet(why));
            }
        }
    }
    for (id, watch) in now.watches() {
        if !matches!(watch.master.ckquorum, Some((true, _))) {
            return Ok(Observed::NotYet(format!("{id} has no quorum")));
        }
    }
    old_is_refused(cx).await
}

async fn old_is_refused(cx: &Cx<'_>) -> Seen {
    let old = old(cx).await?;
    let inventory = (cx.world.inventory)();
    let mut refused = 0;
    for node in inventory.nodes(&cx.operation.service) {
        let Some(target) = (cx.world.target)(&node.id) else { continue };
        let target = link::Target { password: Some(old.clone()), ..target };
        match link::dial(&target, LOGIN_MAX).await {
            Err(e) if e.reason == Reason::Auth => refused += 1,
            Ok(_) => {
                return Ok(Observed::Other(format!("{} still takes the old password", node.id)));
            }
            Err(e) => return Ok(Observed::NotYet(format!("{}: {e}", node.id))),
        }
    }
    Ok(Observed::Wished(json!({ "old_refused_by": refused })))
}

async fn dropped(cx: &Cx<'_>) -> Seen {
    let left = [secret(cx, SECRET_NEXT).await?, secret(cx, SECRET_OLD).await?];
    Ok(match left.iter().all(Option::is_none) {
        true => Observed::Wished(Value::Null),
        false => Observed::NotYet("the old password is still kept".into()),
    })
}
