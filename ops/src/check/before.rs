//! P1–P6 and P9: may the switchover begin.

use model::InstanceId;
use model::field::Field;
use model::plan::Checked;
use model::refusal::Refusal;
use model::service::Mode;

use crate::topology::{Node, Snapshot};

/// A target may lag that far, bytes: a second of a busy master, drained in the pause within
/// milliseconds.
pub const LAG_BYTES_MIN: f64 = 1_048_576.0;
/// Slots of a cluster.
const SLOTS: f64 = 16384.0;

/// What the checks look at.
pub struct Before<'a> {
    /// The world.
    pub now: &'a Snapshot,
    /// The master to be replaced.
    pub old: &'a InstanceId,
    /// The replica to be promoted.
    pub target: &'a InstanceId,
    /// Further replicas of the shard.
    pub others: &'a [InstanceId],
    /// Nodes allowed to be dead.
    pub allow_dead: &'a [InstanceId],
    /// Why changes are frozen now; none: they are not.
    pub frozen: Option<&'a str>,
}

type Seen = Result<String, Refusal>;

/// Runs every check that applies. When some fail, the refusal is the first one's and names the
/// others.
pub fn all(before: &Before<'_>) -> (Vec<Checked>, Option<Refusal>) {
    let mut checks: Vec<(&str, Seen)> =
        vec![("P1", before.reachable()), ("P2", before.one_master()), ("P3", before.replication())];
    match before.now.service.mode {
        Mode::Sentinel => checks.push(("P4", before.sentinel_quorum())),
        Mode::Cluster => checks.push(("P5", before.cluster_quorum())),
        _ => {}
    }
    checks.push(("P6", before.idle()));
    checks.push(("P9", before.not_frozen()));
    let mut refusal: Option<Refusal> = None;
    let mut seen = Vec::new();
    for (check, answer) in checks {
        let (passed, words) = match answer {
            Ok(words) => (true, words),
            Err(no) => {
                let words = no.message.clone();
                match &mut refusal {
                    None => refusal = Some(no),
                    Some(first) => first.message.push_str(&format!("; {check}: {words}")),
                }
                (false, words)
            }
        };
        seen.push(Checked { check: check.into(), passed, seen: words });
    }
    (seen, refusal)
}

fn no<T>(check: &str, about: &InstanceId, why: String) -> Result<T, Refusal> {
    Err(Refusal::new(check, about, why))
}

/// Bytes a replica may lag behind its master, by the master's rate of incoming bytes.
pub fn lag_max(master: &Node) -> f64 {
    let rate = master.get(Field::InstantaneousInputKbps).unwrap_or(0.0) * 1024.0;
    rate.max(LAG_BYTES_MIN)
}

impl Before<'_> {
    fn shard(&self) -> impl Iterator<Item = &InstanceId> {
        [self.old, self.target].into_iter().chain(self.others)
    }

    fn reachable(&self) -> Seen {
        for place in &self.now.nodes {
            if let Err(why) = &place.seen
                && !self.allow_dead.contains(&place.id)
            {
                return no("P1", &place.id, format!("{} does not answer: {why}", place.id));
            }
        }
        let answered = self.now.answered().count();
        Ok(format!("{answered} of {} nodes answer PING within 500 ms", self.now.nodes.len()))
    }

    fn one_master(&self) -> Seen {
        let masters: Vec<_> = self
            .shard()
            .filter(|id| self.now.node(id).is_some_and(|n| n.master.is_none()))
            .collect();
        if masters.as_slice() != [self.old] {
            let why = format!("the shard of {} has masters {masters:?}, wanted one", self.old);
            return no("P2", self.old, why);
        }
        if self.now.service.mode != Mode::Cluster
            && let Some(stray) = self.now.masters().into_iter().find(|id| *id != self.old)
        {
            return no("P2", stray, format!("{stray} says it is a master too"));
        }
        Ok(format!("{} is the only master of its shard", self.old))
    }

    fn replication(&self) -> Seen {
        let Some(master) = self.now.node(self.old) else {
            return no("P3", self.old, format!("{} does not answer", self.old));
        };
        for id in [self.target].into_iter().chain(self.others) {
            let Some(replica) = self.now.node(id) else { continue };
            if replica.master.as_deref() != Some(self.old.address()) {
                let up = replica.master.as_deref().unwrap_or("nobody");
                return no("P3", id, format!("{id} follows {up}, not {}", self.old.address()));
            }
            if replica.link != "connected" || replica.get(Field::MasterLinkStatus) == Some(0.0) {
                let link = &replica.link;
                return no("P3", id, format!("the link of {id} to its master is {link:?}"));
            }
            if replica.says(Field::MasterSyncInProgress) {
                return no("P3", id, format!("{id} is in a full synchronisation"));
            }
        }
        self.known_replicas(master)?;
        let lag = self.now.node(self.target).map_or(f64::MAX, |t| master.offset - t.offset);
        let limit = lag_max(master);
        if lag > limit {
            let why = format!("{} lags {lag} bytes, at most {limit} are allowed", self.target);
            return no("P3", self.target, why);
        }
        Ok(format!("{} lags {} bytes, at most {limit} are allowed", self.target, lag.max(0.0)))
    }

    /// A replica that is not in the inventory would be left behind on the old master.
    fn known_replicas(&self, master: &Node) -> Result<(), Refusal> {
        let known = |address: &str| self.now.nodes.iter().any(|n| n.id.address() == address);
        match master.facts.replicas.iter().find(|r| !known(&r.address)) {
            Some(r) => {
                let (old, address) = (self.old, &r.address);
                no("P3", old, format!("{old} has a replica {address} that is not in the inventory"))
            }
            None => Ok(()),
        }
    }

    /// Whoever Sentinel could promote must be one we steer and drain: also a node that is dead only
    /// to us.
    fn electable_known(&self) -> Result<(), Refusal> {
        let ours = |address: &str| {
            [self.target].into_iter().chain(self.others).any(|id| id.address() == address)
        };
        for (id, watch) in self.now.watches() {
            let stranger =
                watch.replicas.iter().find(|r| r.is_ok() && r.priority != 0 && !ours(&r.address()));
            if let Some(stranger) = stranger {
                let address = stranger.address();
                let why = format!(
                    "{id} could promote {address}, which does not answer us or is not in the \
                     inventory: it would not be drained"
                );
                return no("P4", id, why);
            }
        }
        Ok(())
    }

    fn sentinel_quorum(&self) -> Seen {
        let known = self.now.sentinels.len();
        let mut fine = 0;
        let mut bad = String::new();
        for seen in &self.now.sentinels {
            let verdict = match &seen.seen {
                Err(why) => Err(format!("does not answer: {why}")),
                Ok(watch) => sentinel_fine(&watch.master, self.old),
            };
            match verdict {
                Ok(()) => fine += 1,
                Err(why) if bad.is_empty() => bad = format!("{}: {why}", seen.id),
                Err(_) => {}
            }
        }
        if fine * 2 <= known {
            let why = format!("{fine} of {known} Sentinels are fine, a majority is needed; {bad}");
            return no("P4", self.old, why);
        }
        // One that sees a failure stops us even alone: it is about to act by itself.
        let alarmed = self.now.watches().find(|(_, w)| {
            w.master.flags.split(',').any(|f| f == "o_down" || f == "failover_in_progress")
        });
        if let Some((id, watch)) = alarmed {
            return no("P4", id, format!("{id} flags the master {}", watch.master.flags));
        }
        self.electable_known()?;
        Ok(format!("{fine} of {known} Sentinels: quorum ok, they name {}", self.old.address()))
    }

    fn cluster_quorum(&self) -> Seen {
        let mut masters = 0;
        for (id, node) in self.now.answered().filter(|(_, n)| n.master.is_none()) {
            masters += 1;
            let is = |field: Field, wished: f64| node.get(field) == Some(wished);
            let whole = is(Field::ClusterState, 1.0) && is(Field::ClusterSlotsOk, SLOTS);
            if !whole || !is(Field::ClusterSlotsPfail, 0.0) || !is(Field::ClusterSlotsFail, 0.0) {
                let slots = node.get(Field::ClusterSlotsOk).unwrap_or(f64::NAN);
                let why = format!("{id} sees {slots} slots ok, {SLOTS} are needed, none failing");
                return no("P5", id, why);
            }
            let view = node.cluster.iter().flat_map(|v| &v.nodes);
            if let Some(open) = view.flat_map(|n| &n.open_slots).next() {
                return no("P5", id, format!("{id} has an open slot: {open}"));
            }
        }
        self.known_as_replica(masters)
    }

    /// A replica that masters do not know as one gets no votes.
    fn known_as_replica(&self, masters: usize) -> Seen {
        let knows = |node: &&Node| {
            let view = node.cluster.iter().flat_map(|v| &v.nodes);
            let line = view.into_iter().find(|n| n.address == self.target.address());
            line.is_some_and(|n| n.master.is_some())
        };
        let answered = self.now.answered().map(|(_, n)| n).filter(|n| n.master.is_none());
        let knowing = answered.filter(knows).count();
        if knowing * 2 <= masters {
            let why = format!("{knowing} of {masters} masters know {} as a replica", self.target);
            return no("P5", self.target, why);
        }
        Ok(format!("{masters} masters: cluster ok, no open slot, {knowing} know the target"))
    }

    fn idle(&self) -> Seen {
        const BUSY: [(Field, &str); 4] = [
            (Field::Loading, "is loading"),
            (Field::AsyncLoading, "is loading a new data set"),
            (Field::RdbBgsaveInProgress, "is saving an RDB file"),
            (Field::AofRewriteInProgress, "is rewriting its append-only file"),
        ];
        for id in self.shard() {
            let Some(node) = self.now.node(id) else { continue };
            if let Some((_, doing)) = BUSY.iter().find(|(field, _)| node.says(*field)) {
                return no("P6", id, format!("{id} {doing}; try again when it is done"));
            }
        }
        Ok("nobody loads, saves or rewrites".into())
    }

    fn not_frozen(&self) -> Seen {
        match self.frozen {
            Some(why) => no("P9", self.old, format!("changes are frozen: {why}")),
            None => Ok("no freeze is in force".into()),
        }
    }
}

fn sentinel_fine(master: &model::reading::SentinelMaster, old: &InstanceId) -> Result<(), String> {
    if master.address != old.address() {
        return Err(format!("names {} as master, not {}", master.address, old.address()));
    }
    if master.flags.split(',').any(|f| f == "s_down") {
        return Err(format!("flags the master {}", master.flags));
    }
    match &master.ckquorum {
        Some((true, _)) => Ok(()),
        Some((false, said)) => Err(said.clone()),
        None => Err("did not answer CKQUORUM".into()),
    }
}
