//! What the nodes of a service run with and what their files say.
//!
//! Invariant: each node is asked itself; what it did not tell is missing with the reason, never
//! assumed.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::join_all;
use link::reply;
use model::InstanceId;
use model::reading::Facts;
use model::service::{Instance, InstanceKind, Service};

use super::file::{self, FileValues};
use super::{Engine, NODE, Param, SENTINEL};
use crate::topology;
use crate::world::World;

/// Values by parameter, in the form the server answers.
pub type Values = BTreeMap<&'static str, String>;

/// One node.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Which.
    pub id: InstanceId,
    /// Whether it is a Sentinel.
    pub is_sentinel: bool,
    /// Its engine; none when it did not tell.
    pub engine: Option<Engine>,
    /// Whether it has a configuration file to keep anything in.
    pub has_file: bool,
    /// What it runs with, or why that is not known.
    pub running: Result<Values, String>,
    /// What its file says, or why that is not known.
    pub file: Result<FileValues, String>,
}

impl Seen {
    /// What it would start with: of the file, else the default, as far as that is known.
    pub fn starts_with(&self, param: &Param) -> Option<String> {
        let file = self.file.as_ref().ok()?;
        match file.get(param.name) {
            Some(value) => Some(value.clone()),
            None => self.has_our_defaults().then(|| param.default.to_string()),
        }
    }

    /// The table's defaults are those of Redis 7.0 to 7.4; Valkey and later ones chose others.
    fn has_our_defaults(&self) -> bool {
        let known = |e: Engine| !e.valkey && ((7, 0)..=(7, 4)).contains(&e.version);
        !self.is_sentinel && self.engine.is_some_and(known)
    }
}

/// Asks every node and Sentinel of a service at once.
pub async fn service(world: &World, service: &Service, deadline: Instant) -> Vec<Seen> {
    let inventory = (world.inventory)();
    let instances: Vec<&Instance> = inventory.of_service(&service.id).collect();
    let asked = instances.into_iter().map(|i| node(world, service, &i.id, i.kind, deadline));
    join_all(asked).await
}

/// Asks one node.
pub async fn node(
    world: &World,
    service: &Service,
    id: &InstanceId,
    kind: InstanceKind,
    deadline: Instant,
) -> Seen {
    let is_sentinel = kind == InstanceKind::Sentinel;
    let master = service.sentinel_master.as_str();
    let commands: [&[&str]; 2] = match is_sentinel {
        true => [&["INFO", "server"], &["SENTINEL", "MASTER", master]],
        false => [&["INFO", "server"], &["CONFIG", "GET", "*"]],
    };
    let (answer, text) =
        tokio::join!(topology::ask(world, id, &commands, deadline), conf_text(world, id));
    let file = text.map(|text| match is_sentinel {
        true => file::read_sentinel(&text, master),
        false => file::read(&text),
    });
    let (engine, has_file, running) = match answer {
        Ok(replies) => (engine_of(&replies), has_file(&replies), values(&replies, is_sentinel)),
        Err(why) => (None, false, Err(why)),
    };
    Seen { id: id.clone(), is_sentinel, engine, has_file, running, file }
}

async fn conf_text(world: &World, id: &InstanceId) -> Result<String, String> {
    let inventory = (world.inventory)();
    let (provider, at) = world.providers.of(&inventory, id).map_err(|r| r.message)?;
    provider.conf_text(&at).await.map_err(|e| e.to_string())
}

fn engine_of(replies: &[link::Value]) -> Option<Engine> {
    let mut facts = Facts::default();
    reply::info::read(replies.first().and_then(reply::bytes)?, &mut facts);
    Engine::of(&facts.text)
}

fn has_file(replies: &[link::Value]) -> bool {
    let info = replies.first().and_then(reply::bytes).unwrap_or_default();
    reply::info::text(info, "config_file").is_some_and(|path| !path.trim().is_empty())
}

fn values(replies: &[link::Value], is_sentinel: bool) -> Result<Values, String> {
    let what = if is_sentinel { "SENTINEL MASTER" } else { "CONFIG GET" };
    let value = replies.get(1).ok_or("an incomplete answer")?;
    if let Some(error) = reply::error(value) {
        return Err(format!("{what}: {error}"));
    }
    let pairs = match is_sentinel {
        true => flat(value),
        false => reply::config::read(value),
    };
    let pairs = pairs.ok_or_else(|| format!("{what} was answered with something else"))?;
    let table = if is_sentinel { SENTINEL } else { NODE };
    let known = table.iter().filter_map(|param| {
        let named = |(name, _): &&(String, String)| {
            name == param.name || param.aliases.contains(&name.as_str())
        };
        let (_, value) = pairs.iter().find(named)?;
        // What the table does not understand stays as the server said it.
        Some((param.name, param.normal(value, "").unwrap_or_else(|_| value.clone())))
    });
    Ok(known.collect())
}

fn flat(value: &link::Value) -> Option<Vec<(String, String)>> {
    let words: Vec<String> = reply::items(value)?.iter().filter_map(reply::text).collect();
    Some(words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
}
