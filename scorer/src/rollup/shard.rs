//! One shard: its master, its replicas and the gates that look at both.

use std::sync::Arc;

use model::At;
use model::reading::Role;
use model::score::{Explained, Level, PolicyUse};
use model::service::{Class, Mode, Service};

use super::agg::{ABSENT, Child, MISSING, Node, cause, losing_since, needs};
use super::failover::Promise;
use super::index::Member;
use crate::gates::{self, Cap};
use crate::grade::Sticky;
use crate::inputs::replica_healthy;
use crate::policy::{Counted, Gate, Policy};

/// Weight of the master; the replicas share the rest.
const MASTER: f64 = 0.85;

/// Why a service that was just added, or a process that just started, has no number for an interval.
const UNPOLLED: &str = "not all of its nodes were polled yet";

/// Why a cluster that was just added has no number for some seconds.
const UNSORTED: &str = "its nodes are not sorted into shards yet";

/// Why nobody can name the master although the last one is known to be gone.
const MAYBE_PROMOTED: &str =
    "no member in sight is one, and one out of sight may have been promoted";

/// Zones a service of class zone wants when no policy says otherwise.
const ZONES: u32 = 3;

/// What a service's shards are held to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    pub policy: &'a Policy,
    /// Replicas each master must have.
    pub replicas: u32,
    /// Zones the members must stand in; up to 1: anywhere.
    zones: u32,
    now: At,
}

impl<'a> Rules<'a> {
    pub fn of(service: &Service, policy: &'a Policy, now: At) -> Rules<'a> {
        let class = match service.class {
            Class::Zone | Class::ZoneDurable => ZONES,
            Class::Single | Class::Host => 1,
        };
        Rules {
            policy,
            replicas: policy.replicas.unwrap_or(service.replicas_wanted),
            zones: policy.zones.unwrap_or(class),
            now,
        }
    }
}

/// Who the master of a shard is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Master<'a> {
    /// Answers and takes writes.
    Serving(Member<'a>),
    /// Nobody takes writes, proven; the last one known, when there was one.
    Gone(Option<Member<'a>>),
    /// Cannot be told.
    Unknown(Option<Member<'a>>),
}

impl<'a> Master<'a> {
    fn member(&self) -> Option<Member<'a>> {
        match self {
            Master::Serving(member) => Some(*member),
            Master::Gone(member) | Master::Unknown(member) => *member,
        }
    }
}

/// A shard's members and what was concluded about them.
#[derive(Debug, Clone)]
pub(super) struct Shard<'a> {
    /// From 0.
    pub number: u32,
    pub members: Vec<Member<'a>>,
    pub master: Master<'a>,
    /// Writable masters beyond the first that claim the same data.
    pub rivals: usize,
    /// A replica in it follows a master of another shard, or the other way round.
    pub misplaced: bool,
}

impl<'a> Shard<'a> {
    /// `owns` says how many slots a member holds in the cluster's view; 0 elsewhere.
    pub fn new(
        number: u32,
        members: Vec<Member<'a>>,
        mode: Mode,
        owns: impl Fn(&Member<'a>) -> u32,
    ) -> Shard<'a> {
        let mut serving: Vec<Member<'a>> = members.iter().copied().filter(Member::serves).collect();
        let followers = |m: &Member<'_>| {
            let n = m.reading().and_then(|r| r.get(model::field::Field::ConnectedSlaves));
            n.unwrap_or(0.0) as u32
        };
        // The master in force first: it owns the slots, or has the replicas.
        serving.sort_by_key(|m| std::cmp::Reverse((owns(m), followers(m))));
        let rivals = match mode {
            Mode::Sentinel => serving.iter().skip(1).filter(|m| together(&serving[0], m)).count(),
            Mode::Cluster => {
                let rival = |m: &&Member<'a>| overlaps(&serving[0], m) && together(&serving[0], m);
                serving.iter().skip(1).filter(rival).count()
            }
            _ => 0,
        };
        let master = match serving.first() {
            Some(member) => Master::Serving(*member),
            None => absent(&members),
        };
        Shard { number, members, master, rivals, misplaced: false }
    }

    /// Masters of different slots stand in it: nobody has told yet which node belongs to which
    /// shard, so what it says means nothing.
    pub fn is_unsorted(&self) -> bool {
        let with_slots = |m: &&Member<'a>| m.serves() && !own_slots(m).is_empty();
        let masters: Vec<&Member<'a>> = self.members.iter().filter(with_slots).collect();
        self.misplaced || masters.iter().skip(1).any(|m| !overlaps(masters[0], m))
    }

    /// Some member has no row: nothing of it is known, and a replica that is not there yet looks
    /// like one that is missing.
    pub fn is_unpolled(&self) -> bool {
        self.members.iter().any(|m| m.row.is_none())
    }

    pub fn replicas(&self) -> impl Iterator<Item = &Member<'a>> {
        let master = self.master.member().map(|m| &m.instance.id);
        self.members.iter().filter(move |m| Some(&m.instance.id) != master)
    }

    /// The policy its members are judged by: that of the first one that has a score.
    pub fn policy(&self) -> Option<PolicyUse> {
        self.members.iter().find_map(|m| m.row?.score.as_ref()?.policy)
    }

    /// Scores the shard.
    pub fn explain(
        &self,
        id: &str,
        rules: &Rules<'_>,
        promise: &Promise,
        sticky: &mut Sticky,
    ) -> (Explained, Option<f64>) {
        let mut node = Node::new(Level::Shard, id, 0.0, rules.policy.rise_ms);
        node.policy = self.policy();
        node.children.push(self.master_child());
        self.replica_children(rules.replicas, &mut node.children);
        node.switched_off = rules.policy.switched_off(rules.now, is_of_shard);
        if !self.is_unsorted() && !self.is_unpolled() {
            let caps = self.gates(rules, promise);
            node.caps.extend(gates::counted(caps, rules.policy, rules.now));
        }
        if self.is_unsorted() {
            node.unknown = Some(UNSORTED.into());
        } else if self.is_unpolled() {
            node.unknown = Some(UNPOLLED.into());
        } else if let (Master::Unknown(member), 0) = (&self.master, self.rivals) {
            node.unknown = Some(match member {
                Some(m) => format!("its master ({}) is unknown", m.instance.id.address()),
                None => format!("its master is unknown: {MAYBE_PROMOTED}"),
            });
        }
        node.explain(sticky, rules.now)
    }

    fn master_child(&self) -> Child<'a> {
        match self.master.member() {
            Some(member) => child("master", &member, MASTER),
            None => self.nobody(),
        }
    }

    /// The place of the master when no member can be named: known to be empty, or not known.
    fn nobody(&self) -> Child<'a> {
        let gone = matches!(self.master, Master::Gone(_));
        Child {
            label: "master",
            name: ABSENT,
            score: gone.then_some(0.0),
            confidence: if gone { 1.0 } else { 0.0 },
            sight: if gone { None } else { Some(0.0) },
            weight: MASTER,
            cover: MASTER,
            cause: if gone { "no member is a master" } else { MAYBE_PROMOTED },
            needs: if gone { "" } else { "a readable answer of every member" },
            since: None,
            page: None,
        }
    }

    /// Replicas that are there, and zeros for those that must be and are not.
    fn replica_children(&self, wanted: u32, children: &mut Vec<Child<'a>>) {
        let there: Vec<&Member<'a>> = self.replicas().collect();
        let missing = (wanted as usize).saturating_sub(there.len());
        let known = there.iter().filter(|m| score_of(m).is_some()).count() + missing;
        let part = |n: usize| (1.0 - MASTER) / n.max(1) as f64;
        let (weight, cover) = (part(known), part(there.len() + missing));
        for member in there {
            children.push(Child { cover, ..child("replica", member, weight) });
        }
        for _ in 0..missing {
            children.push(Child {
                label: "replica",
                name: MISSING,
                score: Some(0.0),
                confidence: 1.0,
                sight: None,
                weight,
                cover,
                cause: "a required replica does not exist",
                needs: "",
                since: None,
                page: None,
            });
        }
    }

    fn gates(&self, rules: &Rules<'_>, promise: &Promise) -> Vec<Cap> {
        let wanted = rules.replicas > 0;
        let cap = |gate, holds, text: &str| Cap::of(rules.policy, gate, holds, text);
        let serving = matches!(self.master, Master::Serving(_));
        let mut caps = vec![
            cap(
                Gate::NoMaster,
                matches!(self.master, Master::Gone(_)),
                "no master serves this shard",
            ),
            cap(
                Gate::TwoMasters,
                self.rivals > 0,
                "two writable masters claim this shard: writes are being lost",
            ),
        ];
        if promise.made {
            let why = match (promise.broken, self.no_candidate()) {
                (Some(why), _) if serving => Some(why),
                (_, true) if serving => Some("no replica could take over"),
                _ => None,
            };
            let say = |why| format!("automatic failover is impossible now: {why}");
            caps.push(cap(Gate::NoFailover, why.is_some(), &why.map_or_else(String::new, say)));
        } else if wanted {
            let text = "none of the required replicas is healthy";
            caps.push(cap(Gate::NoReplica, self.no_healthy_replica(), text));
        }
        if rules.zones > 1 {
            let holds = self.one_zone();
            let text = if holds { one_zone_text(rules.zones) } else { String::new() };
            caps.push(cap(Gate::OneZone, holds, &text));
        }
        caps
    }

    /// Proven: every replica is known not to serve as one.
    fn no_healthy_replica(&self) -> bool {
        self.replicas().all(|m| m.row.is_some_and(|r| replica_healthy(r) == Some(false)))
    }

    /// Proven: no replica is, or may be, fit for promotion.
    fn no_candidate(&self) -> bool {
        let forbidden = |m: &Member<'_>| {
            let priority = m.reading().and_then(|r| r.get(model::field::Field::SlavePriority));
            priority == Some(0.0)
        };
        let unfit = |m: &Member<'_>| {
            m.row.is_some_and(|r| replica_healthy(r) == Some(false)) || forbidden(m)
        };
        self.replicas().all(unfit)
    }

    fn one_zone(&self) -> bool {
        let first = self.members.first().map(|m| &m.instance.zone);
        self.members.iter().all(|m| Some(&m.instance.zone) == first)
    }
}

fn one_zone_text(zones: u32) -> String {
    let wanted = if zones == ZONES { "three".to_owned() } else { zones.to_string() };
    format!("all its members stand in one zone, {wanted} are wanted")
}

fn is_of_shard(what: Counted) -> bool {
    matches!(what, Counted::Gate(gate) if gates::is_of_shard(gate))
}

fn score_of(member: &Member<'_>) -> Option<f64> {
    member.row?.score.as_ref()?.score
}

fn row_is_down(member: &Member<'_>) -> bool {
    member.row.is_some_and(|r| r.verdict.is_down())
}

fn child<'a>(label: &'static str, member: &Member<'a>, weight: f64) -> Child<'a> {
    let name = member.instance.id.address();
    let explained: Option<&'a Arc<Explained>> = member.row.and_then(|r| r.score.as_ref());
    match explained {
        Some(explained) => Child {
            label,
            name,
            score: explained.score,
            confidence: explained.confidence,
            sight: (!row_is_down(member)).then_some(explained.confidence),
            weight,
            cover: weight,
            cause: cause(explained),
            needs: needs(explained),
            since: losing_since(explained),
            page: Some((Level::Instance, member.instance.id.as_str())),
        },
        None => Child {
            label,
            name,
            score: None,
            confidence: 0.0,
            sight: Some(0.0),
            weight,
            cover: weight,
            cause: "not_polled_yet",
            needs: "a poll",
            since: None,
            page: Some((Level::Instance, member.instance.id.as_str())),
        },
    }
}

/// The slots a member says it owns.
fn own_slots<'a>(member: &Member<'a>) -> &'a [(u16, u16)] {
    let view = member.facts().and_then(|f| f.cluster.as_ref());
    let own = view.and_then(|v| v.nodes.iter().find(|n| n.id == v.my_id));
    own.map_or(&[], |n| &n.slots)
}

/// Both were masters at one time.
fn together(a: &Member<'_>, b: &Member<'_>) -> bool {
    a.row.zip(b.row).is_some_and(|(a, b)| a.masters_together(b))
}

/// Both say that they own one slot.
fn overlaps(a: &Member<'_>, b: &Member<'_>) -> bool {
    let theirs = own_slots(b);
    own_slots(a).iter().any(|(a, b)| theirs.iter().any(|(c, d)| a <= d && c <= b))
}

/// `follower` names `node` as its master in a reading later than the latest one of `node`.
fn turned_to(follower: &Member<'_>, node: &Member<'_>) -> bool {
    let upstream = follower.facts().and_then(|f| f.upstream.as_deref());
    let later = follower.row.zip(node.row).is_some_and(|(f, n)| f.reading.at > n.reading.at);
    follower.is_up() && node.is_up() && later && upstream == Some(node.instance.id.address())
}

/// Nobody serves: proven, or only not seen.
fn absent<'a>(members: &[Member<'a>]) -> Master<'a> {
    let was_master = |m: &&Member<'a>| m.role() == Some(Role::Master);
    // Out of sight and last a master, or in sight with a role nobody can read.
    let hidden = |m: &&Member<'a>| match m.role() {
        Some(Role::Master) => m.is_unknown(),
        None => m.is_unknown() || m.is_up(),
        _ => false,
    };
    let may_be = members.iter().find(hidden).copied();
    if let Some(member) = may_be {
        return Master::Unknown(Some(member));
    }
    // Somebody follows a member that was last asked before that began: it was promoted since.
    if let Some(member) = members.iter().find(|m| members.iter().any(|f| turned_to(f, m))) {
        return Master::Unknown(Some(*member));
    }
    // One out of sight may have been promoted. That a replica in sight follows nobody proves nothing:
    // it may be the one that is cut off.
    if members.iter().any(Member::is_unknown) {
        return Master::Unknown(None);
    }
    Master::Gone(members.iter().find(was_master).copied())
}
