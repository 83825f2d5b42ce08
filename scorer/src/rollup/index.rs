//! Rows and instances by service, made once per round: the inventory is ordered by instance, and
//! looking a service's members up one by one would make a round quadratic.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use model::inventory::Inventory;
use model::reading::{Facts, Reading, Role, SentinelMaster};
use model::row::Row;
use model::service::{Instance, InstanceKind, Service};
use model::verdict::Verdict;

use crate::policy::{Policies, Policy};

/// An instance that should exist, with its row when it was polled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    pub instance: &'a Instance,
    pub row: Option<&'a Arc<Row>>,
}

impl<'a> Member<'a> {
    /// The latest good reading.
    pub fn reading(&self) -> Option<&'a Reading> {
        let row = self.row?;
        if row.reading.up { Some(&row.reading) } else { row.last_good.as_deref() }
    }

    pub fn facts(&self) -> Option<&'a Facts> {
        self.reading().map(|r| &r.facts)
    }

    /// Role at the latest good poll.
    pub fn role(&self) -> Option<Role> {
        self.facts().and_then(|f| f.role)
    }

    pub fn is_up(&self) -> bool {
        self.row.is_some_and(|r| r.verdict.is_up())
    }

    /// Up or down cannot be told.
    pub fn is_unknown(&self) -> bool {
        self.row.is_none_or(|r| matches!(r.verdict, Verdict::Unknown(_)))
    }

    /// Answers and takes writes.
    pub fn serves(&self) -> bool {
        self.is_up() && self.role() == Some(Role::Master)
    }

    /// Shard as learnt from the cluster, else as the inventory says.
    pub fn shard(&self) -> u32 {
        self.row.map_or(self.instance.shard, |r| r.instance.shard)
    }
}

/// Members of every service.
pub(super) struct Index<'a> {
    /// In id order, so those of a service stand together.
    nodes: Vec<Member<'a>>,
    sentinels: Vec<Member<'a>>,
    /// Service id → ranges of both.
    services: HashMap<&'a str, (Range<usize>, Range<usize>)>,
    /// Sentinels by the name of a master they watch.
    watchers: HashMap<&'a str, Vec<(Member<'a>, &'a SentinelMaster)>>,
    policies: &'a Policies,
}

impl<'a> Index<'a> {
    pub fn new(
        inventory: &'a Inventory,
        policies: &'a Policies,
        rows: &'a [Arc<Row>],
    ) -> Index<'a> {
        let mut index = Index {
            policies,
            nodes: Vec::with_capacity(inventory.instances.len()),
            sentinels: Vec::new(),
            services: HashMap::with_capacity(inventory.services.len()),
            watchers: HashMap::new(),
        };
        let (mut current, mut starts) = ("", (0, 0));
        for member in members(inventory, rows) {
            let service = member.instance.id.as_str().split('@').next().unwrap_or_default();
            if service != current {
                index.close(current, starts);
                (current, starts) = (service, (index.nodes.len(), index.sentinels.len()));
            }
            match member.instance.kind {
                InstanceKind::Redis => index.nodes.push(member),
                InstanceKind::Sentinel => index.sentinel(member),
            }
        }
        index.close(current, starts);
        index
    }

    fn close(&mut self, service: &'a str, starts: (usize, usize)) {
        let ranges = (starts.0..self.nodes.len(), starts.1..self.sentinels.len());
        self.services.insert(service, ranges);
    }

    fn sentinel(&mut self, member: Member<'a>) {
        self.sentinels.push(member);
        for master in member.facts().map_or(&[][..], |f| &f.masters) {
            self.watchers.entry(master.name.as_str()).or_default().push((member, master));
        }
    }

    /// The policy of a service.
    pub fn policy(&self, service: &Service) -> &'a Arc<Policy> {
        self.policies.of(service)
    }

    /// The data nodes of a service.
    pub fn nodes(&self, service: &Service) -> &[Member<'a>] {
        self.services.get(service.id.as_str()).map_or(&[], |r| &self.nodes[r.0.clone()])
    }

    /// The Sentinels in the inventory under that service.
    pub fn sentinels(&self, service: &Service) -> &[Member<'a>] {
        self.services.get(service.id.as_str()).map_or(&[], |r| &self.sentinels[r.1.clone()])
    }

    /// Sentinels anywhere that know a master of that name, with what they say of it.
    pub fn watchers(&self, master: &str) -> &[(Member<'a>, &'a SentinelMaster)] {
        self.watchers.get(master).map_or(&[], Vec::as_slice)
    }
}

/// Joins instances and rows, both in id order (rows are sorted when they are not).
fn members<'a>(inventory: &'a Inventory, rows: &'a [Arc<Row>]) -> impl Iterator<Item = Member<'a>> {
    let mut sorted: Vec<&'a Arc<Row>> = rows.iter().collect();
    sorted.sort_by(|a, b| a.instance.id.cmp(&b.instance.id));
    let mut rows = sorted.into_iter().peekable();
    inventory.instances.values().map(move |instance| {
        while rows.next_if(|row| row.instance.id < instance.id).is_some() {}
        Member { instance, row: rows.next_if(|row| row.instance.id == instance.id) }
    })
}
