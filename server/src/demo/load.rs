//! Clients of the demonstration: a light read/write load on each service, and a recording writer
//! that proves what a switchover lost.
//!
//! They find the master the way real clients do: ask Sentinel, or follow MOVED. Invariant: only
//! addresses of the demonstration's own fleet are dialled, whatever a server answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use link::{Link, Target, Value, reply};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// One operation may take this long before the client looks for the master again. Longer than a
/// switchover's write pause, so that a paused write is waited for and not repeated.
const CALL_MAX: Duration = Duration::from_secs(5);
const DIAL_MAX: Duration = Duration::from_secs(1);
/// Pause after a failed call; clients that do not pause storm a server that is coming back.
const AFTER_ERROR: Duration = Duration::from_millis(25);
/// About 50 operations a second on each service: visible in every chart, a fraction of a percent
/// of a core.
const LIGHT_PACE: Duration = Duration::from_millis(20);

/// How a client finds where to write.
#[derive(Clone)]
pub(super) enum Finder {
    /// One fixed address.
    Fixed(String),
    /// Ask these Sentinels for the master of that name.
    Sentinel { sentinels: Vec<String>, name: String },
    /// Any node, following MOVED.
    Cluster(Vec<String>),
}

/// What the recording writer saw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tally {
    /// Writes the server acknowledged.
    pub acknowledged: u64,
    /// Acknowledged writes that are not there afterwards.
    pub lost: u64,
    /// Longest time between two acknowledged writes, ms.
    pub gap_ms: u64,
}

/// A running client; stops when dropped.
pub(super) struct Client {
    stop: CancellationToken,
    task: Option<JoinHandle<Recorder>>,
    finder: Finder,
}

#[derive(Default)]
struct Recorder {
    acknowledged: BTreeSet<u64>,
    gap: Duration,
}

impl Client {
    /// A light load: sets, gets, expiring keys.
    pub(super) fn light(finder: Finder) -> Client {
        Client::start(finder, Some(LIGHT_PACE))
    }

    /// Writes as fast as the server answers and remembers every acknowledged number.
    pub(super) fn recording(finder: Finder) -> Client {
        Client::start(finder, None)
    }

    fn start(finder: Finder, pace: Option<Duration>) -> Client {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(finder.clone(), pace, stop.clone()));
        Client { stop, task: Some(task), finder }
    }

    /// Stops the writer and reads every acknowledged number back from the present master.
    pub(super) async fn tally(mut self) -> anyhow::Result<Tally> {
        self.stop.cancel();
        let task = self.task.take().expect("taken here only");
        let recorder = task.await?;
        let mut links = Links::new(self.finder.clone());
        let mut lost = 0;
        for n in &recorder.acknowledged {
            let Some((link, _)) = links.of(n % TAGS).await else {
                anyhow::bail!("no master answers, so the recorded writes cannot be read back");
            };
            let value = link.call(&["GET", &proof_key(*n)], CALL_MAX).await?;
            if reply::text(&value).as_deref() != Some(n.to_string().as_str()) {
                lost += 1;
            }
        }
        let acknowledged = recorder.acknowledged.len() as u64;
        Ok(Tally { acknowledged, lost, gap_ms: recorder.gap.as_millis() as u64 })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Keys carry one of so many hash tags, so that a cluster's slots are all met while a client needs
/// to remember few owners.
const TAGS: u64 = 24;

/// Connections of one client: which address owns a tag, and the link to it.
struct Links {
    finder: Finder,
    owner: BTreeMap<u64, String>,
    open: BTreeMap<String, Link>,
}

impl Links {
    fn new(finder: Finder) -> Links {
        Links { finder, owner: BTreeMap::new(), open: BTreeMap::new() }
    }

    async fn of(&mut self, tag: u64) -> Option<(&mut Link, String)> {
        let known = self.owner.get(&tag).cloned();
        let address = match known {
            Some(address) => address,
            None => master_of(&self.finder, tag).await?,
        };
        self.owner.insert(tag, address.clone());
        if self.open.get(&address).is_none_or(Link::poisoned) {
            self.open.remove(&address);
            match dial(&address).await {
                Some(link) => {
                    self.open.insert(address.clone(), link);
                }
                None => {
                    self.owner.remove(&tag);
                    return None;
                }
            }
        }
        self.open.get_mut(&address).map(|link| (link, address))
    }

    /// After an error: forget who owned the tag, or learn it from MOVED when it names one of ours.
    fn forget(&mut self, tag: u64, address: &str, e: &link::Error) {
        self.owner.remove(&tag);
        let moved = e.server().and_then(|line| line.strip_prefix("MOVED ")?.split(' ').nth(1));
        match (moved, &self.finder) {
            (Some(to), Finder::Cluster(nodes)) if nodes.iter().any(|n| n == to) => {
                self.owner.insert(tag, to.to_string());
            }
            _ => {
                self.open.remove(address);
            }
        }
    }
}

async fn run(finder: Finder, pace: Option<Duration>, stop: CancellationToken) -> Recorder {
    let mut seen = Recorder::default();
    let mut links = Links::new(finder);
    let mut last_ok = Instant::now();
    let mut number = 0;
    while !stop.is_cancelled() {
        number += 1;
        let tag = number % TAGS;
        let Some((link, address)) = links.of(tag).await else {
            tokio::time::sleep(AFTER_ERROR).await;
            continue;
        };
        let written = match pace {
            Some(_) => light(link, tag, number).await,
            None => set(link, &proof_key(number), number, None).await,
        };
        match written {
            Ok(()) => {
                seen.gap = seen.gap.max(last_ok.elapsed());
                last_ok = Instant::now();
                if pace.is_none() {
                    seen.acknowledged.insert(number);
                }
            }
            Err(e) => {
                let moved = e.server().is_some_and(|line| line.starts_with("MOVED "));
                links.forget(tag, &address, &e);
                if !moved {
                    tokio::time::sleep(AFTER_ERROR).await;
                }
            }
        }
        if let Some(pace) = pace {
            tokio::time::sleep(pace).await;
        }
    }
    seen
}

fn proof_key(number: u64) -> String {
    format!("proof:{{t{}}}:{number}", number % TAGS)
}

/// A set (a third expiring), a hit, now and then a miss: every chart has something to show. A
/// thousand keys at most.
async fn light(link: &mut Link, tag: u64, number: u64) -> Result<(), link::Error> {
    let key = |n: u64| format!("demo:{{t{tag}}}:{}", n % 40);
    set(link, &key(number), number, number.is_multiple_of(3).then_some("60")).await?;
    link.call(&["GET", &key(number)], CALL_MAX).await?;
    if number.is_multiple_of(5) {
        link.call(&["GET", &format!("demo:{{t{tag}}}:absent")], CALL_MAX).await?;
    }
    Ok(())
}

async fn set(link: &mut Link, key: &str, n: u64, ttl: Option<&str>) -> Result<(), link::Error> {
    let value = n.to_string();
    let mut args = vec!["SET", key, &value];
    args.extend(ttl.iter().flat_map(|s| ["EX", s]));
    match link.call(&args, CALL_MAX).await? {
        Value::Okay => Ok(()),
        other => {
            let said = format!("SET answered {other:?}");
            Err(link::Error::new(model::reading::Reason::Protocol, said))
        }
    }
}

async fn master_of(finder: &Finder, tag: u64) -> Option<String> {
    match finder {
        Finder::Fixed(address) => Some(address.clone()),
        Finder::Sentinel { sentinels, name } => ask(sentinels, name).await,
        // Any node knows; which one is asked moves on with each miss of a node that is gone.
        Finder::Cluster(nodes) => {
            static TURN: AtomicU64 = AtomicU64::new(0);
            let turn = TURN.fetch_add(1, Ordering::Relaxed) + tag;
            nodes.get(turn as usize % nodes.len()).cloned()
        }
    }
}

async fn ask(sentinels: &[String], name: &str) -> Option<String> {
    for sentinel in sentinels {
        let Some(mut link) = dial(sentinel).await else { continue };
        let asked = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name];
        if let Ok(value) = link.call(&asked, DIAL_MAX).await
            && let Some(address) = reply::sentinel::address(&value)
        {
            return Some(address);
        }
    }
    None
}

/// Opens a plain connection; none when nobody answers.
pub(super) async fn dial(address: &str) -> Option<Link> {
    let target = Target { address: address.into(), user: String::new(), password: None, tls: None };
    link::dial(&target, DIAL_MAX).await.ok()
}
