//! Looking at one address: what it is, and whom it names.
//!
//! Invariant: only reads, within one time, with the credentials given for it and no others; whatever
//! it names is a candidate and nothing more. Roles and topology come from RESP arrays and from a
//! cluster's node table, never from INFO.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use link::reply::{self, cluster, info, role, role::RoleReply, sentinel};
use link::{Link, Pipeline, Target, Tls, Value};
use model::field::Field;
use model::reading::{ClusterView, Facts, Reason, Role};
use model::secret::Secret;
use model::service::InstanceKind;

/// One address has this long, dialling included; a healthy one needs milliseconds.
const LOOK_TIME: Duration = Duration::from_secs(3);
/// Masters of one Sentinel that are asked for in detail.
const MASTERS_MAX: usize = 64;
/// Clients a server may have for its CLIENT LIST to be read: at 200 bytes a line the reply stays far
/// below its budget.
const CLIENTS_MAX: f64 = 1000.0;
/// Name that Sentinels give their connections.
const SENTINEL_CLIENT: &str = "sentinel-";

/// Who we are somewhere.
#[derive(Clone, Default)]
pub struct Login {
    /// ACL user; empty: the default user.
    pub user: String,
    /// Password.
    pub password: Option<Secret>,
}

/// How an address may be reached.
#[derive(Clone, Default)]
pub struct Doors {
    /// At data nodes; none: without AUTH.
    pub redis: Option<Login>,
    /// At Sentinels; none: without AUTH.
    pub sentinel: Option<Login>,
    /// TLS at data nodes; none: plain.
    pub redis_tls: Option<Tls>,
    /// TLS at Sentinels; none: plain.
    pub sentinel_tls: Option<Tls>,
}

/// A master as a Sentinel describes it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Watched {
    /// Its name there.
    pub name: String,
    /// `host:port`.
    pub master: String,
    /// Its replicas, `host:port`.
    pub replicas: Vec<String>,
    /// The other Sentinels, `host:port`.
    pub sentinels: Vec<String>,
}

/// What an address is.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// `host:port` it was asked at.
    pub address: String,
    /// Data node or Sentinel.
    pub kind: InstanceKind,
    /// `redis` or `valkey`.
    pub engine: &'static str,
    /// Its version.
    pub version: String,
    /// Changes with every start of the process: two addresses with one are one process.
    pub run_id: String,
    /// From ROLE.
    pub role: Option<Role>,
    /// Replica: its master.
    pub upstream: Option<String>,
    /// Master: its replicas.
    pub replicas: Vec<String>,
    /// Its view of the cluster.
    pub cluster: Option<ClusterView>,
    /// Sentinel: the masters it watches.
    pub watched: Vec<Watched>,
    /// What most of its clients call themselves; empty when they say nothing.
    pub clients: String,
    /// What it does at its memory limit; empty when it does not say.
    pub eviction: String,
    /// Hosts from which Sentinels are connected to it.
    pub sentinels_at: Vec<String>,
    /// It took no AUTH: the credentials given are not needed.
    pub open: bool,
}

impl Seen {
    /// Whom it names, with what they are.
    pub fn named(&self) -> Vec<(String, InstanceKind)> {
        let redis = |a: &String| (a.clone(), InstanceKind::Redis);
        let mut all: Vec<_> = self.upstream.iter().chain(&self.replicas).map(redis).collect();
        for node in self.cluster.iter().flat_map(|view| &view.nodes) {
            let gone = node.flags.iter().any(|f| f == "noaddr" || f == "handshake");
            if !node.address.is_empty() && !gone {
                all.push(redis(&node.address));
            }
        }
        for watched in &self.watched {
            all.push(redis(&watched.master));
            all.extend(watched.replicas.iter().map(redis));
            all.extend(watched.sentinels.iter().map(|a| (a.clone(), InstanceKind::Sentinel)));
        }
        all
    }
}

/// Why an address could not be read: the reason's word and the words for people.
pub type Unread = (&'static str, String);

/// Looks at an address. `kind`: what a reply said it is; none: find out.
///
/// Of an unknown kind only the door without AUTH is tried first, so that no password is shown to the
/// wrong process; then the door of what it is.
pub async fn look(
    address: &str,
    kind: Option<InstanceKind>,
    doors: &Doors,
) -> Result<Seen, Unread> {
    let end = Instant::now() + LOOK_TIME;
    if let Some(kind) = kind {
        return through(address, kind, doors, end).await;
    }
    let redis_first = [InstanceKind::Redis, InstanceKind::Sentinel];
    let mut last = ("timeout", String::new());
    for guess in redis_first {
        let tls = tls_of(doors, guess);
        if guess == InstanceKind::Sentinel && tls == tls_of(doors, InstanceKind::Redis) {
            break;
        }
        match peek(&target(address, None, tls), end).await {
            Ok(Some(kind)) => return through(address, kind, doors, end).await,
            Ok(None) => return closed(address, doors, end).await,
            Err(e) => last = unread(e),
        }
    }
    Err(last)
}

/// With the credentials of its kind, and when there are none for it or it wants none, without.
async fn through(
    address: &str,
    kind: InstanceKind,
    doors: &Doors,
    end: Instant,
) -> Result<Seen, Unread> {
    let login = login_of(doors, kind);
    let tls = tls_of(doors, kind);
    let failed = match read(&target(address, login, tls), end).await {
        Ok(seen) => return Ok(seen),
        Err(e) => e,
    };
    let wants_none = failed.reason == Reason::Auth && failed.detail.contains("has no password");
    if login.is_none() || !wants_none {
        return Err(unread(failed));
    }
    let mut seen = read(&target(address, None, tls), end).await.map_err(unread)?;
    seen.open = true;
    Ok(seen)
}

/// An address that answers nobody without AUTH: the doors we have, in turn.
async fn closed(address: &str, doors: &Doors, end: Instant) -> Result<Seen, Unread> {
    let mut last = ("auth", "it wants a password, and none was given".to_string());
    for kind in [InstanceKind::Redis, InstanceKind::Sentinel] {
        let Some(login) = login_of(doors, kind) else { continue };
        match read(&target(address, Some(login), tls_of(doors, kind)), end).await {
            Ok(seen) => return Ok(seen),
            Err(e) => last = unread(e),
        }
    }
    Err(last)
}

fn login_of(doors: &Doors, kind: InstanceKind) -> Option<&Login> {
    match kind {
        InstanceKind::Redis => doors.redis.as_ref(),
        InstanceKind::Sentinel => doors.sentinel.as_ref(),
    }
}

fn tls_of(doors: &Doors, kind: InstanceKind) -> Option<&Tls> {
    match kind {
        InstanceKind::Redis => doors.redis_tls.as_ref(),
        InstanceKind::Sentinel => doors.sentinel_tls.as_ref(),
    }
}

fn target(address: &str, login: Option<&Login>, tls: Option<&Tls>) -> Target {
    let login = login.cloned().unwrap_or_default();
    Target {
        address: address.into(),
        user: login.user,
        password: login.password,
        tls: tls.cloned(),
    }
}

fn unread(e: link::Error) -> Unread {
    (e.reason.as_str(), e.detail)
}

/// What it is, as far as it says without AUTH; none when it wants AUTH first.
async fn peek(target: &Target, end: Instant) -> Result<Option<InstanceKind>, link::Error> {
    let mut link = link::dial(target, left(end)).await?;
    match link.call(&["ROLE"], left(end)).await {
        Ok(value) => Ok(role::read(&value).map(|said| kind_of(&said))),
        Err(e) if e.reason == Reason::Auth => Ok(None),
        // The default user may be there and allowed little; whoever was given is asked next.
        Err(e) if e.reason == Reason::Noperm => Ok(None),
        Err(e) => Err(e),
    }
}

fn kind_of(said: &RoleReply) -> InstanceKind {
    match said {
        RoleReply::Sentinel(_) => InstanceKind::Sentinel,
        _ => InstanceKind::Redis,
    }
}

/// Everything we want to know of it.
async fn read(target: &Target, end: Instant) -> Result<Seen, link::Error> {
    let mut link = link::dial(target, left(end)).await?;
    let first = Pipeline::new(&[&["ROLE"], &["INFO"]]);
    let replies = link.pipeline(&first, left(end)).await?;
    let [said, told] = replies.as_slice() else { return Err(strange("an incomplete answer")) };
    let role =
        role::read(good(said)?).ok_or_else(|| strange("ROLE was answered with something else"))?;
    let mut facts = Facts::default();
    let told = reply::bytes(good(told)?).ok_or_else(|| strange("INFO is no text"))?;
    info::read(told, &mut facts);
    let mut seen = Seen {
        address: target.address.clone(),
        kind: kind_of(&role),
        role: Some(role.role()),
        run_id: facts.text.run_id.clone(),
        eviction: facts.text.maxmemory_policy.clone(),
        ..Seen::default()
    };
    (seen.engine, seen.version) = match facts.text.valkey_version.as_str() {
        "" => ("redis", facts.text.version.clone()),
        valkey => ("valkey", valkey.to_string()),
    };
    match role {
        RoleReply::Master { replicas, .. } => {
            seen.replicas = replicas.into_iter().map(|(address, _)| address).collect();
        }
        RoleReply::Replica { master, .. } => seen.upstream = Some(master),
        RoleReply::Sentinel(_) => seen.watched = watched(&mut link, end).await?,
    }
    if facts.values.get(Field::ClusterEnabled) == Some(1.0) {
        let nodes = link.call(&["CLUSTER", "NODES"], left(end)).await?;
        let raw = reply::bytes(&nodes).ok_or_else(|| strange("CLUSTER NODES is no text"))?;
        let (view, conflicts) = cluster::nodes(raw);
        if conflicts > 0 {
            return Err(strange("CLUSTER NODES holds lines no node writes"));
        }
        seen.cluster = Some(view);
    }
    let few = facts.values.get(Field::ConnectedClients).is_some_and(|n| n <= CLIENTS_MAX);
    if seen.kind == InstanceKind::Redis && few {
        clients(&mut link, &mut seen, end).await;
    }
    Ok(seen)
}

async fn watched(link: &mut Link, end: Instant) -> Result<Vec<Watched>, link::Error> {
    let mut all = Vec::new();
    let masters = link.call(&["SENTINEL", "MASTERS"], left(end)).await?;
    let masters = sentinel::masters(&masters)
        .ok_or_else(|| strange("SENTINEL MASTERS was answered with something else"))?;
    for master in masters.into_iter().take(MASTERS_MAX) {
        let name = master.name.as_str();
        let asked =
            Pipeline::new(&[&["SENTINEL", "SLAVES", name], &["SENTINEL", "SENTINELS", name]]);
        let replies = link.pipeline(&asked, left(end)).await?;
        let [replicas, peers] = replies.as_slice() else { continue };
        // A master that was removed between two questions is no reason to give the Sentinel up.
        let replicas = sentinel::replicas(replicas).unwrap_or_default();
        let peers = sentinel::peers(peers).unwrap_or_default();
        all.push(Watched {
            name: name.into(),
            master: master.address,
            replicas: replicas.iter().map(sentinel::Replica::address).collect(),
            sentinels: peers.iter().map(sentinel::Peer::address).collect(),
        });
    }
    Ok(all)
}

/// What clients call themselves: a hint for people, so a refusal is no failure.
async fn clients(link: &mut Link, seen: &mut Seen, end: Instant) {
    let Ok(list) = link.call(&["CLIENT", "LIST"], left(end)).await else { return };
    let Some(text) = reply::bytes(&list).and_then(|b| std::str::from_utf8(b).ok()) else { return };
    (seen.clients, seen.sentinels_at) = client_names(text);
}

/// The commonest name of clients, and the hosts of Sentinels among them.
fn client_names(list: &str) -> (String, Vec<String>) {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut sentinels = std::collections::BTreeSet::new();
    for line in list.lines() {
        let field =
            |name: &str| line.split(' ').find_map(|f| f.strip_prefix(name)?.strip_prefix('='));
        let name = field("name").unwrap_or_default();
        let host = field("addr").and_then(|a| a.rsplit_once(':')).map_or("", |(host, _)| host);
        match name.starts_with(SENTINEL_CLIENT) {
            true => drop(sentinels.insert(host.to_string())),
            false if name.is_empty() => {}
            false => *names.entry(name).or_default() += 1,
        }
    }
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let most = names.into_iter().filter(|(n, _)| n.len() <= 64 && n.chars().all(fine));
    let most = most.max_by_key(|(_, count)| *count);
    (most.map_or_else(String::new, |(n, _)| n.to_string()), sentinels.into_iter().collect())
}

fn good(value: &Value) -> Result<&Value, link::Error> {
    match reply::error(value) {
        Some(line) => Err(link::Error::answered(&line)),
        None => Ok(value),
    }
}

fn strange(said: &str) -> link::Error {
    link::Error::new(Reason::Protocol, said)
}

fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_say_what_they_are_called_and_where_sentinels_are() {
        let list = "id=3 addr=10.0.0.9:5 name=cart-api db=0\nid=4 addr=10.0.0.8:6 name=cart-api\n\
            id=5 addr=10.0.0.7:1 name=sentinel-ab12-cmd\nid=6 addr=10.0.0.6:1 name=\nnonsense\n\
            id=7 addr=10.0.0.5:1 name=<script>\nid=8 addr=10.0.0.5:1 name=<script>\n\
            id=9 addr=10.0.0.5:1 name=<script>\n";
        assert_eq!(client_names(list), ("cart-api".into(), vec!["10.0.0.7".into()]));
        assert_eq!(client_names(""), (String::new(), Vec::new()));
    }
}
