//! Closing connections of applications, one by one, as listed and agreed to.
//!
//! Invariants: the list is part of the plan and its hash; what is closed is a connection of that list
//! that is still the same one; links between servers, Sentinels, monitors and whoever is spared are
//! never in it. There is no undo: clients connect again.

use std::time::{Duration, Instant};

use link::reply;
use model::operation::OperationKind;
use model::plan::Plan;
use model::refusal::Refusal;
use model::{At, InstanceId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::upkeep::{self, Told, passed};
use crate::act::clients::Client;
use crate::topology;
use crate::world::World;

/// Its steps.
pub const STEPS: &[&str] = &["kill_clients"];
/// A list longer than this is read by nobody.
const LISTED_MAX: usize = 1_000;
/// 100 a second, and a margin.
const KILL_MS: i64 = 60_000;
const LOOK: Duration = Duration::from_secs(5);

/// Which connections; at least one condition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// On these nodes only; empty: all.
    pub nodes: Vec<InstanceId>,
    /// Idle for at least that long, seconds.
    pub idle_s_min: Option<i64>,
    /// Query and output buffers of at least that many bytes.
    pub buffers_bytes_min: Option<i64>,
    /// From this address (without port).
    pub address: Option<String>,
    /// Of this ACL user.
    pub user: Option<String>,
    /// With this name.
    pub name: Option<String>,
    /// Never those: addresses (without port), names or users.
    pub spare: Vec<String>,
}

impl Params {
    fn has_condition(&self) -> bool {
        self.idle_s_min.is_some()
            || self.buffers_bytes_min.is_some()
            || self.address.is_some()
            || self.user.is_some()
            || self.name.is_some()
    }

    fn meets(&self, client: &Client) -> bool {
        let host = client.address.rsplit_once(':').map_or("", |(host, _)| host);
        let is = |wish: &Option<String>, has: &str| wish.as_deref().is_none_or(|w| w == has);
        let spared = |s: &String| [host, &client.name, &client.user].contains(&s.as_str());
        client.is_closable()
            && self.idle_s_min.is_none_or(|min| client.idle_s >= min)
            && self.buffers_bytes_min.is_none_or(|min| client.buffers_bytes >= min)
            && is(&self.address, host)
            && is(&self.user, &client.user)
            && is(&self.name, &client.name)
            && !self.spare.iter().any(spared)
    }
}

/// Asks the fleet and lists who would be closed.
pub async fn plan(
    world: &World,
    service: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    let params: Params = upkeep::params(OperationKind::ClientsKill, service, params)?;
    if !params.has_condition() {
        let why = "name at least one of idle_s_min, buffers_bytes_min, address, user, name";
        return Err(Refusal::new("params", service, why));
    }
    let snapshot = upkeep::look(world, service).await?;
    let (mut steps, mut listed) = (Vec::new(), 0);
    for (id, _) in upkeep::nodes(&snapshot, &params.nodes)? {
        let clients = clients(world, id).await?;
        let mut meant: Vec<&Client> = clients.iter().filter(|c| params.meets(c)).collect();
        meant.sort_by_key(|c| c.id);
        if meant.is_empty() {
            continue;
        }
        listed += meant.len();
        let list: Vec<Value> = meant
            .iter()
            .map(|c| json!({ "id": c.id, "addr": c.address, "name": c.name, "user": c.user }))
            .collect();
        let commands = meant
            .iter()
            .map(|c| format!("{id}> CLIENT KILL ID {} ({} {})", c.id, c.address, c.name))
            .collect();
        let title = format!("Close {} connections of {id}", meant.len());
        let args = json!({ "clients": list });
        let mut step = upkeep::step("kill_clients", id, title, args, commands, KILL_MS);
        step.point_of_no_return = true;
        steps.push(step);
    }
    if steps.is_empty() || listed > LISTED_MAX {
        let why =
            format!("{listed} connections meet the conditions, allowed are 1 to {LISTED_MAX}");
        return Err(Refusal::new("clients", service, why));
    }
    let told = Told {
        kind: OperationKind::ClientsKill,
        params: serde_json::to_value(&params).expect("parameters are plain data"),
        title: format!("Close {listed} connections of {service}"),
        blast_radius: format!(
            "{listed} connections; their clients connect again, nothing is undone"
        ),
        level: 3,
    };
    let checks =
        vec![passed("clients", format!("{listed} listed; servers and monitors are spared"))];
    Ok(upkeep::assemble(&snapshot, told, checks, steps, now))
}

async fn clients(world: &World, id: &InstanceId) -> Result<Vec<Client>, Refusal> {
    let commands: [&[&str]; 1] = [&["CLIENT", "LIST"]];
    let replies = topology::ask(world, id, &commands, Instant::now() + LOOK).await;
    let replies = replies.map_err(|why| Refusal::new("P1", id, format!("{id}: {why}")))?;
    let list = replies.first().and_then(reply::bytes);
    let list = list.ok_or_else(|| {
        let why = format!("{id}: CLIENT LIST was answered with something else");
        Refusal::new("P1", id, why)
    })?;
    Ok(String::from_utf8_lossy(list).lines().filter_map(Client::of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(more: &str) -> Client {
        Client::of(&format!("id=7 addr=10.0.0.9:5 cmd=get flags=N {more}")).unwrap()
    }

    #[test]
    fn only_applications_that_meet_every_condition_and_are_not_spared_are_meant() {
        let wish = Params { idle_s_min: Some(60), user: Some("app".into()), ..Params::default() };
        assert!(wish.meets(&client("idle=60 user=app name=x")));
        assert!(!wish.meets(&client("idle=59 user=app name=x")));
        assert!(!wish.meets(&client("idle=99 user=other name=x")));
        let spared = Params { spare: vec!["10.0.0.9".into()], ..wish.clone() };
        assert!(!spared.meets(&client("idle=60 user=app name=x")));
        let replica = Client::of("id=8 addr=a:1 cmd=replconf flags=S idle=99 user=app").unwrap();
        assert!(!wish.meets(&replica));
        assert!(!Params::default().has_condition());
    }
}
