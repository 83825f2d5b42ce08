//! The allow-list of INFO fields as a hash table over name bytes.
//!
//! Invariant: built once from `model::field`, so a field exists here exactly when it exists there.
//! Open addressing instead of a `HashMap`: a poll looks up 200 names and allocates nothing.

use std::sync::OnceLock;

use model::field::Field;
use model::reading::Text;

/// A section of INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Server,
    Clients,
    Memory,
    Persistence,
    Stats,
    Replication,
    Cpu,
    Commandstats,
    Errorstats,
    Cluster,
    Keyspace,
    Sentinel,
    /// The reply to CLUSTER INFO.
    ClusterInfo,
    /// Fields that forks print in sections of their own.
    Any,
    /// A section with nothing of interest.
    Other,
}

impl Section {
    /// By the text after `# `, any case.
    pub(super) fn named(name: &[u8]) -> Section {
        const NAMES: [(&str, Section); 12] = [
            ("server", Section::Server),
            ("clients", Section::Clients),
            ("memory", Section::Memory),
            ("persistence", Section::Persistence),
            ("stats", Section::Stats),
            ("replication", Section::Replication),
            ("cpu", Section::Cpu),
            ("commandstats", Section::Commandstats),
            ("errorstats", Section::Errorstats),
            ("cluster", Section::Cluster),
            ("keyspace", Section::Keyspace),
            ("sentinel", Section::Sentinel),
        ];
        let found = NAMES.iter().find(|(text, _)| name.eq_ignore_ascii_case(text.as_bytes()));
        found.map_or(Section::Other, |(_, section)| *section)
    }

    fn of_field(name: &str) -> Section {
        match name {
            "cluster_info" => Section::ClusterInfo,
            "keydb" => Section::Any,
            other => Section::named(other.as_bytes()),
        }
    }
}

type TextOf = fn(&mut Text) -> &mut String;

/// What a name of the allow-list stands for.
pub(super) struct Slot {
    name: &'static str,
    pub(super) section: Section,
    pub(super) field: Option<Field>,
    pub(super) text: Option<TextOf>,
    pub(super) is_role: bool,
}

/// Text facts: section, name, place.
const TEXTS: [(Section, &str, TextOf); 16] = [
    (Section::Server, "redis_version", |t| &mut t.version),
    (Section::Server, "valkey_version", |t| &mut t.valkey_version),
    (Section::Server, "valkey_release_stage", |t| &mut t.valkey_release_stage),
    (Section::Server, "redis_build_id", |t| &mut t.build_id),
    (Section::Server, "redis_mode", |t| &mut t.mode),
    (Section::Server, "server_mode", |t| &mut t.mode),
    (Section::Server, "os", |t| &mut t.os),
    (Section::Server, "run_id", |t| &mut t.run_id),
    (Section::Server, "process_id", |t| &mut t.process_id),
    (Section::Server, "tcp_port", |t| &mut t.tcp_port),
    (Section::Memory, "maxmemory_policy", |t| &mut t.maxmemory_policy),
    (Section::Memory, "mem_allocator", |t| &mut t.allocator),
    (Section::Replication, "master_replid", |t| &mut t.master_replid),
    (Section::Replication, "master_host", |t| &mut t.master_host),
    (Section::Replication, "master_port", |t| &mut t.master_port),
    (Section::Replication, "master_failover_state", |t| &mut t.failover_state),
];

/// Power of two, at least twice the entries, so that chains stay short.
const BUCKETS: usize = 1024;

struct Table {
    /// Index + 1 of the slot; 0 = free.
    buckets: [u16; BUCKETS],
    slots: Vec<Slot>,
}

/// The entry of a name, with its number.
pub(super) fn find(name: &[u8]) -> Option<(usize, &'static Slot)> {
    static TABLE: OnceLock<Table> = OnceLock::new();
    let table = TABLE.get_or_init(build);
    let mut bucket = hash(name) % BUCKETS;
    loop {
        let index = usize::from(table.buckets[bucket]).checked_sub(1)?;
        let slot = &table.slots[index];
        if slot.name.as_bytes() == name {
            return Some((index, slot));
        }
        bucket = (bucket + 1) % BUCKETS;
    }
}

fn build() -> Table {
    let mut slots: Vec<Slot> = Field::all()
        .iter()
        .map(|field| Slot {
            name: field.info().name,
            section: Section::of_field(field.info().section),
            field: Some(*field),
            text: None,
            is_role: false,
        })
        .collect();
    for (section, name, text) in TEXTS {
        match slots.iter_mut().find(|s| s.name == name) {
            Some(slot) => slot.text = Some(text),
            None => {
                slots.push(Slot { name, section, field: None, text: Some(text), is_role: false });
            }
        }
    }
    let section = Section::Replication;
    slots.push(Slot { name: "role", section, field: None, text: None, is_role: true });
    assert!(slots.len() * 2 <= BUCKETS && slots.len() <= SeenSet::CAPACITY);
    let mut buckets = [0u16; BUCKETS];
    for (index, slot) in slots.iter().enumerate() {
        let mut bucket = hash(slot.name.as_bytes()) % BUCKETS;
        while buckets[bucket] != 0 {
            bucket = (bucket + 1) % BUCKETS;
        }
        buckets[bucket] = index as u16 + 1;
    }
    Table { buckets, slots }
}

/// FNV-1a.
fn hash(name: &[u8]) -> usize {
    name.iter().fold(0x811c_9dc5u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193)) as usize
}

/// Which entries were met in this pass.
#[derive(Default)]
pub(super) struct SeenSet([u64; 8]);

impl SeenSet {
    const CAPACITY: usize = 512;

    /// Marks an entry; true when it was marked before.
    pub(super) fn insert(&mut self, index: usize) -> bool {
        let (word, bit) = (index / 64, 1u64 << (index % 64));
        let met = self.0[word] & bit != 0;
        self.0[word] |= bit;
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_model_is_found_by_its_name_and_nothing_else_is() {
        for field in Field::all() {
            let (_, slot) = find(field.info().name.as_bytes()).unwrap();
            assert_eq!(slot.field, Some(*field));
            assert_ne!(slot.section, Section::Other, "{field:?} has an unknown section");
        }
        assert!(find(b"used_memory_human").is_none());
        assert!(find(b"").is_none());
    }
}
