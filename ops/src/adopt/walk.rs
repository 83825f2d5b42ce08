//! Expanding seeds: look at what was named, then at what that names, until nothing is left.
//!
//! Invariant: bounded in addresses, in time and in dials at once; an address is dialled only when the
//! tenant may reach it, whoever named it, and once. A name is resolved only when a person wrote it,
//! once, and what it resolved to is what is dialled. A node that is in the inventory is asked with the
//! credentials of its own service; one of another tenant is not asked at all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use link::Target;
use model::InstanceId;
use model::adopt::RefusedAddress;
use model::id::split_address;
use model::service::InstanceKind;

use super::guard::Guard;
use super::look::{Doors, Login, Seen, Unread, look};
use super::seed::{Hints, Scheme, Seed};

/// Addresses looked at in one adoption: what fits into its time at the process' own rate of dials.
pub const ADDRESSES_MAX: usize = 5_000;
/// Dials at once: enough to fill the time, few enough not to be felt by anybody.
const AT_ONCE: usize = 32;
/// Whole time; a request ends after 30 s.
const TIME: Duration = Duration::from_secs(22);
/// A name that takes longer is a name that does not resolve.
const RESOLVE_TIME: Duration = Duration::from_secs(2);

/// Who has an address already.
pub type OwnerOf<'a> = Box<dyn Fn(&str) -> Option<InstanceId> + Send + Sync + 'a>;
/// How a known instance is reached; none when its secret cannot be opened.
pub type ReachOf<'a> = Box<dyn Fn(&InstanceId) -> Option<Target> + Send + Sync + 'a>;

/// What the walk needs to know of the tree.
pub struct Ground<'a> {
    /// Which addresses may be dialled.
    pub guard: Guard,
    /// Who has an address already; none: nobody.
    pub owner: OwnerOf<'a>,
    /// How a known instance is reached.
    pub target: ReachOf<'a>,
    /// The credentials given.
    pub doors: Doors,
    /// TLS for seeds that ask for it when nothing else is said.
    pub plain_tls: link::Tls,
}

/// One process that was found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// What it is.
    pub seen: Seen,
    /// Its id in the inventory; none: new.
    pub known: Option<InstanceId>,
    /// `named`, or the address that named it.
    pub found_by: String,
    /// What stood beside it in a document, or beside whoever led to it.
    pub hints: Hints,
    /// It was reached by TLS.
    pub tls: bool,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Walk {
    /// Processes, by the address they were asked at.
    pub found: BTreeMap<String, Found>,
    /// Addresses that were not taken.
    pub refused: Vec<RefusedAddress>,
    /// Addresses nobody was asked.
    pub unasked: usize,
}

/// An address to look at.
#[derive(Clone)]
struct Candidate {
    address: String,
    kind: Option<InstanceKind>,
    by: Option<String>,
    hints: Hints,
    scheme: Scheme,
}

/// Walks from the seeds.
pub async fn walk(seeds: Vec<Seed>, ground: &Ground<'_>) -> Walk {
    let end = Instant::now() + TIME;
    let mut out = Walk::default();
    let mut queue: VecDeque<Candidate> = seeds.into_iter().map(candidate).collect();
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut looking = FuturesUnordered::new();
    loop {
        while looking.len() < AT_ONCE && Instant::now() < end {
            let Some(next) = queue.pop_front() else { break };
            let next = match place(next, ground).await {
                Ok(next) => next,
                Err(refused) => {
                    out.refuse(refused);
                    continue;
                }
            };
            if asked.contains(&next.address) {
                continue;
            }
            if asked.len() >= ADDRESSES_MAX {
                out.unasked += 1;
                continue;
            }
            asked.insert(next.address.clone());
            looking.push(ask(next, ground));
        }
        let Some((candidate, known, looked)) = looking.next().await else { break };
        match looked {
            Ok(seen) => {
                let tls = candidate.scheme == Scheme::Tls;
                for (address, kind) in seen.named() {
                    if !asked.contains(&address) {
                        queue.push_back(Candidate {
                            address,
                            kind: Some(kind),
                            by: Some(candidate.address.clone()),
                            hints: candidate.hints.clone(),
                            // What a node reached by TLS names is reached by TLS.
                            scheme: if tls { Scheme::Tls } else { Scheme::Unsaid },
                        });
                    }
                }
                let tls = tls || ground.doors.redis_tls.is_some();
                let found_by = by(&candidate);
                let found = Found { seen, known, found_by, hints: candidate.hints, tls };
                out.found.insert(candidate.address, found);
            }
            Err((reason, detail)) => out.refuse(refusal(&candidate, reason, detail)),
        }
    }
    let left: BTreeSet<String> = queue.into_iter().map(|c| c.address).collect();
    out.unasked += left.iter().filter(|a| !asked.contains(*a)).count();
    out
}

impl Walk {
    /// Each address once, whoever named it.
    fn refuse(&mut self, refused: RefusedAddress) {
        if !self.refused.iter().any(|r| r.address == refused.address) {
            self.refused.push(refused);
        }
    }
}

fn candidate(seed: Seed) -> Candidate {
    let Seed { address, scheme, hints } = seed;
    Candidate { address, kind: None, by: None, hints, scheme }
}

fn by(candidate: &Candidate) -> String {
    candidate.by.clone().unwrap_or_else(|| "named".into())
}

fn refusal(candidate: &Candidate, reason: &str, detail: String) -> RefusedAddress {
    let (address, found_by) = (candidate.address.clone(), by(candidate));
    RefusedAddress { address, found_by, reason: reason.into(), detail }
}

/// The candidate with an IP address that may be dialled, or why not.
async fn place(mut candidate: Candidate, ground: &Ground<'_>) -> Result<Candidate, RefusedAddress> {
    let Some((host, port)) = split_address(&candidate.address) else {
        return Err(refusal(&candidate, "address", "expected host:port".into()));
    };
    let ip = match (host.parse::<IpAddr>(), &candidate.by) {
        (Ok(ip), _) => ip.to_canonical(),
        (Err(_), None) => match resolve(host, port).await {
            Ok(ip) => ip,
            Err(said) => return Err(refusal(&candidate, "name", said)),
        },
        (Err(_), Some(_)) => {
            let said = "names in replies are not resolved: the server's clients write them; name \
                        its address yourself";
            return Err(refusal(&candidate, "name", said.into()));
        }
    };
    let address = if ip.is_ipv6() { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    let own_tenant = |id: &InstanceId| id.tenant().as_str() == ground.guard.tenant;
    match (ground.owner)(&address) {
        Some(id) if own_tenant(&id) => {}
        Some(_) => {
            let said = "the address belongs to another tenant already".to_string();
            return Err(refusal(&candidate, "other_tenant", said));
        }
        None => {
            if let Err((reason, said)) = ground.guard.check(ip, port) {
                return Err(refusal(&candidate, reason, said));
            }
        }
    }
    candidate.address = address;
    Ok(candidate)
}

/// The one address of a name. A name with two could be checked at one and dialled at the other.
async fn resolve(host: &str, port: u16) -> Result<IpAddr, String> {
    let found = tokio::time::timeout(RESOLVE_TIME, tokio::net::lookup_host((host, port))).await;
    let found = match found {
        Ok(Ok(found)) => found,
        Ok(Err(e)) => return Err(format!("{host}: {e}")),
        Err(_) => return Err(format!("{host}: no answer within {} s", RESOLVE_TIME.as_secs())),
    };
    let all: BTreeSet<IpAddr> = found.map(|a| a.ip().to_canonical()).collect();
    let list: Vec<String> = all.iter().map(IpAddr::to_string).collect();
    match all.len() {
        1 => Ok(*all.first().expect("it has one")),
        0 => Err(format!("{host}: no address")),
        n => Err(format!("{host} has {n} addresses ({}); name one of them", list.join(", "))),
    }
}

/// Looks at one, with its own service's credentials when it is known.
async fn ask(
    candidate: Candidate,
    ground: &Ground<'_>,
) -> (Candidate, Option<InstanceId>, Result<Seen, Unread>) {
    let known = (ground.owner)(&candidate.address);
    let doors = match known.as_ref().map(|id| (ground.target)(id)) {
        None => with_scheme(&ground.doors, candidate.scheme, &ground.plain_tls),
        Some(Some(target)) => doors_of(target),
        Some(None) => {
            let said = "it is known, but its service's secret cannot be opened".to_string();
            return (candidate, known, Err(("auth", said)));
        }
    };
    let looked = look(&candidate.address, candidate.kind, &doors).await;
    (candidate, known, looked)
}

/// The doors of a known instance are those of its service, whatever it turns out to be now.
fn doors_of(target: Target) -> Doors {
    let login = target.password.map(|p| Login { user: target.user, password: Some(p) });
    Doors {
        redis: login.clone(),
        sentinel: login,
        redis_tls: target.tls.clone(),
        sentinel_tls: target.tls,
    }
}

fn with_scheme(doors: &Doors, scheme: Scheme, plain_tls: &link::Tls) -> Doors {
    let mut doors = doors.clone();
    match scheme {
        Scheme::Unsaid => {}
        Scheme::Plain => (doors.redis_tls, doors.sentinel_tls) = (None, None),
        Scheme::Tls => {
            doors.redis_tls.get_or_insert_with(|| plain_tls.clone());
            doors.sentinel_tls.get_or_insert_with(|| plain_tls.clone());
        }
    }
    doors
}
