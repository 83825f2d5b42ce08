//! Writers that keep the list of what a server acknowledged, and afterwards prove what of it is left.
//!
//! Invariant: a write counts as acknowledged only when its own OK arrived, and each key is written
//! once, so a key that is gone is a lost write. Writers go the ordinary client's way: they ask where
//! the master is, keep the connection, and ask again after every error.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use link::{Link, Target, reply};
use tokio::task::JoinHandle;

use crate::wait;

/// A client's own time-out: longer than any pause of a switchover.
const CALL: Duration = Duration::from_secs(10);
const DIAL: Duration = Duration::from_millis(500);
/// Between two writes of one writer: some hundred a second show every loss; as fast as they can they
/// would take both cores from the servers and the program they are there to test.
const PACE: Duration = Duration::from_millis(1);
/// Keys read back at once.
const CHUNK: usize = 500;

/// How clients find the node that takes a key.
#[derive(Clone)]
pub enum Find {
    /// Ask Sentinels for the master of that name.
    Sentinel(Vec<String>, String),
    /// Try all nodes for the one that says master.
    Role(Vec<String>),
    /// Ask any node for CLUSTER SLOTS.
    Slots(Vec<String>),
}

/// Writers at work.
pub struct Load {
    find: Find,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    writers: Vec<JoinHandle<(Vec<String>, Duration)>>,
}

/// What the writers know when they have stopped.
pub struct Written {
    find: Find,
    /// Keys whose SET was acknowledged.
    pub keys: Vec<String>,
    /// Longest time one of them waited from one acknowledgement to the next.
    pub gap: Duration,
}

impl Load {
    /// Starts writers; answers when each kind of write works.
    pub async fn start(find: Find, writers: usize) -> Load {
        // A key of an earlier load must not pass for one of this.
        static LOADS: AtomicU64 = AtomicU64::new(0);
        let this = LOADS.fetch_add(1, Ordering::Relaxed);
        let (stop, acknowledged) = (Arc::default(), Arc::default());
        let tasks = (0..writers).map(|w| {
            let prefix = format!("load:{this}:{w}");
            tokio::spawn(write(prefix, find.clone(), Arc::clone(&stop), Arc::clone(&acknowledged)))
        });
        let load = Load { writers: tasks.collect(), find: find.clone(), stop, acknowledged };
        load.goes_on().await;
        load
    }

    /// Waits until another few hundred writes are acknowledged.
    pub async fn goes_on(&self) {
        let goal = self.acknowledged.load(Ordering::Relaxed) + 500;
        wait::until("writes are acknowledged", || async {
            (self.acknowledged.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// Stops the writers.
    pub async fn stop(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        let (mut keys, mut gap) = (Vec::new(), Duration::ZERO);
        for writer in self.writers {
            let (wrote, waited) = writer.await.expect("a writer does not panic");
            keys.extend(wrote);
            gap = gap.max(waited);
        }
        Written { find: self.find, keys, gap }
    }
}

impl Written {
    /// Acknowledged keys that cannot be read where clients look now.
    pub async fn lost(&self) -> Vec<String> {
        let mut by_node: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let map = wait::until("the masters are found", || async { self.find.map().await }).await;
        for key in &self.keys {
            by_node.entry(map.node(key)).or_default().push(key);
        }
        let mut lost = Vec::new();
        for (node, keys) in by_node {
            let mut link = dial(&node).await.expect("the master answers");
            for chunk in keys.chunks(CHUNK) {
                let commands: Vec<[&str; 2]> = chunk.iter().map(|k| ["EXISTS", *k]).collect();
                let commands: Vec<&[&str]> = commands.iter().map(|c| &c[..]).collect();
                let replies = link.pipeline(&link::Pipeline::new(&commands), CALL).await;
                let replies = replies.expect("the master answers");
                let gone =
                    chunk.iter().zip(&replies).filter(|(_, r)| reply::number(r) != Some(1.0));
                lost.extend(gone.map(|(key, _)| key.to_string()));
            }
        }
        lost
    }
}

/// Who takes which key.
enum Map {
    One(String),
    Slots(Vec<(u16, u16, String)>),
}

impl Map {
    fn node(&self, key: &str) -> String {
        let slot = ops::plan::slot::of(key);
        match self {
            Map::One(node) => node.clone(),
            Map::Slots(ranges) => {
                let found = ranges.iter().find(|(from, to, _)| (*from..=*to).contains(&slot));
                found.map(|(_, _, node)| node.clone()).unwrap_or_default()
            }
        }
    }
}

impl Find {
    async fn map(&self) -> Option<Map> {
        let nodes = match self {
            Find::Sentinel(nodes, _) | Find::Role(nodes) | Find::Slots(nodes) => nodes,
        };
        for node in nodes {
            let Some(mut link) = dial(node).await else { continue };
            let found = match self {
                Find::Sentinel(_, name) => sentinel(&mut link, name).await,
                Find::Role(_) => role(&mut link, node).await,
                Find::Slots(_) => slots(&mut link).await,
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

async fn sentinel(link: &mut Link, name: &str) -> Option<Map> {
    let value = link.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name], DIAL).await.ok()?;
    reply::sentinel::address(&value).map(Map::One)
}

async fn role(link: &mut Link, node: &str) -> Option<Map> {
    let value = link.call(&["ROLE"], DIAL).await.ok()?;
    match reply::role::read(&value)? {
        reply::role::RoleReply::Master { .. } => Some(Map::One(node.to_string())),
        _ => None,
    }
}

async fn slots(link: &mut Link) -> Option<Map> {
    let value = link.call(&["CLUSTER", "SLOTS"], DIAL).await.ok()?;
    let mut ranges = Vec::new();
    for range in reply::items(&value)? {
        let parts = reply::items(range)?;
        let (from, to) = (reply::number(parts.first()?)?, reply::number(parts.get(1)?)?);
        let master = reply::items(parts.get(2)?)?;
        let (host, port) = (reply::text(master.first()?)?, reply::number(master.get(1)?)?);
        ranges.push((from as u16, to as u16, format!("{host}:{port}")));
    }
    Some(Map::Slots(ranges))
}

async fn dial(address: &str) -> Option<Link> {
    let target = Target { address: address.into(), user: String::new(), password: None, tls: None };
    link::dial(&target, DIAL).await.ok()
}

async fn write(
    prefix: String,
    find: Find,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
) -> (Vec<String>, Duration) {
    let mut keys = Vec::new();
    let (mut last, mut gap) = (None::<Instant>, Duration::ZERO);
    let mut links: BTreeMap<String, Link> = BTreeMap::new();
    let mut map = None;
    let mut n = 0u64;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let key = format!("{prefix}:{n}");
        if map.is_none() {
            links.clear();
            map = find.map().await;
        }
        let done = match &map {
            Some(known) => set(&mut links, &known.node(&key), &key).await,
            None => false,
        };
        if done {
            gap = gap.max(last.map_or(Duration::ZERO, |at| at.elapsed()));
            last = Some(Instant::now());
            keys.push(key);
            acknowledged.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PACE).await;
        } else {
            map = None;
            // A client's back-off; without it errors would keep both cores busy.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    (keys, gap)
}

async fn set(links: &mut BTreeMap<String, Link>, node: &str, key: &str) -> bool {
    if !links.contains_key(node) {
        let Some(link) = dial(node).await else { return false };
        links.insert(node.to_string(), link);
    }
    let link = links.get_mut(node).expect("just put there");
    let began = Instant::now();
    let answer = link.call(&["SET", key, "1"], CALL).await;
    if answer.is_err() || link.poisoned() || began.elapsed() > CALL {
        links.remove(node);
    }
    matches!(answer, Ok(link::Value::Okay))
}
