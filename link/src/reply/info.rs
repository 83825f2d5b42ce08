//! INFO and CLUSTER INFO: lines of `name:value` under `# Section` headers.
//!
//! Invariant: a field counts only in its own section and only the first time; a known field or
//! section that is repeated or misplaced, and a line that cannot be one the server wrote, is counted as
//! a conflict. Clients can plant lines here, so nothing of it decides role or topology.
//!
//! The one place where text of clients stands in INFO is the list of replicas: a replica says its own
//! address, line breaks included. Between the first of those lines and the last line that only the
//! server writes behind them nothing but well-formed lines of replicas is read, so that a planted
//! header opens no section and a planted field cannot be the first of its name.

use std::ops::Range;

use memchr::memmem;
use model::field::Field;
use model::reading::{CommandStat, Facts, Keyspace, ReplicaLink, Role};

use super::fold::{Fold, VALUES_MAX, drop_repeated};
use super::table::{self, Section};
use super::{cut, join_address, parse_number};

pub use super::fold::OVERFLOW;

/// Entries kept of one list that is no fold (replicas, databases, threads).
const LIST_MAX: usize = 512;

/// Error names Redis, Sentinel and Cluster themselves write; they keep a place of their own whatever
/// scripts invent.
pub const ERROR_NAMES: &[&str] = &[
    "ASK",
    "BUSY",
    "BUSYGROUP",
    "BUSYKEY",
    "CLUSTERDOWN",
    "CROSSSLOT",
    "DENIED",
    "ERR",
    "EXECABORT",
    "INPROG",
    "INVALIDOBJ",
    "IOERR",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOAUTH",
    "NOGOODSLAVE",
    "NOGROUP",
    "NOMASTERLINK",
    "NOPERM",
    "NOPROTO",
    "NOREPLICAS",
    "NOSCRIPT",
    "NOTBUSY",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "UNBLOCKED",
    "UNKILLABLE",
    "WRONGPASS",
    "WRONGTYPE",
];

/// What the lists of one server that clients can lengthen remember from poll to poll.
pub struct Folds {
    commands: Fold<CommandStat>,
    errors: Fold<(String, f64)>,
}

impl Default for Folds {
    fn default() -> Folds {
        Folds::new(VALUES_MAX, VALUES_MAX - 1 - ERROR_NAMES.len())
    }
}

impl Folds {
    /// With at most `commands` label values of commands, and so many error names beside
    /// [`ERROR_NAMES`].
    pub fn new(commands: usize, errors: usize) -> Folds {
        let errors = errors + ERROR_NAMES.len() + 1;
        Folds { commands: Fold::new(commands, &[]), errors: Fold::new(errors, ERROR_NAMES) }
    }
}

/// Reads one INFO reply into `facts`, adding to what is there; answers the role INFO claims (a hint:
/// ROLE decides). For a single look; polls use [`read_again`].
pub fn read(raw: &[u8], facts: &mut Facts) -> Option<Role> {
    read_again(raw, facts, &mut Folds::default())
}

/// Like [`read`] for a server that is read again and again: `folds` keeps the choice of what has a
/// series of its own.
pub fn read_again(raw: &[u8], facts: &mut Facts, folds: &mut Folds) -> Option<Role> {
    let mut pass = Pass::new(folds);
    let block = replicas_block(raw);
    pass.lines(&raw[..block.start], facts);
    pass.replicas_block(&raw[block.clone()], facts);
    pass.lines(&raw[block.end..], facts);
    let conflicts = pass.conflicts;
    let role = pass.role;
    let (left_out, repeated_commands) = folds.commands.finish(&mut facts.commands);
    facts.commands_left_out += left_out;
    let (left_out, repeated_errors) = folds.errors.finish(&mut facts.errors);
    facts.errors_left_out += left_out;
    facts.conflicts += conflicts
        + repeated_commands
        + repeated_errors
        + drop_repeated(&mut facts.keyspace, |a, b| a.db.cmp(&b.db));
    role
}

/// From the first line of a replica to the last line the server writes behind all of them; empty at
/// the end when there is none.
fn replicas_block(raw: &[u8]) -> Range<usize> {
    let none = raw.len()..raw.len();
    let Some(start) = memmem::find(raw, b"\nslave0:") else { return none };
    // Every server since Redis 4 writes it; since 6.2 one line stands before it.
    let Some(end) = memmem::rfind(&raw[start..], b"\nmaster_replid:") else { return none };
    let end = start + end;
    let above = memchr::memrchr(b'\n', &raw[..end]).unwrap_or(start).max(start);
    match raw[above + 1..].starts_with(b"master_failover_state:") {
        true => start + 1..above + 1,
        false => start + 1..end + 1,
    }
}

/// Lets ROLE, which clients cannot forge, decide where INFO says the same: the state of a replica's
/// link, and that a master follows nobody. To be called when both were read.
pub fn believe_role(facts: &mut Facts) {
    const OF_REPLICAS: [Field; 8] = [
        Field::MasterLastIoSecondsAgo,
        Field::MasterLinkDownSinceSeconds,
        Field::MasterLinkStatus,
        Field::MasterSyncInProgress,
        Field::MasterSyncLeftBytes,
        Field::MasterSyncTotalBytes,
        Field::SlaveReadReplOffset,
        Field::SlaveReplOffset,
    ];
    match (facts.role, &facts.link_state) {
        (Some(Role::Master), _) => {
            OF_REPLICAS.into_iter().for_each(|field| facts.values.set(field, f64::NAN));
            facts.text.master_host.clear();
            facts.text.master_port.clear();
        }
        (Some(Role::Replica), Some(state)) => {
            let up = f64::from(u8::from(state == "connected"));
            facts.values.set(Field::MasterLinkStatus, up);
        }
        _ => {}
    }
}

/// Reads a reply without section headers, all of whose fields belong to `cluster_info`.
pub fn read_cluster_info(raw: &[u8], facts: &mut Facts) {
    let mut no_folds = Folds::default();
    let mut pass = Pass { section: Section::ClusterInfo, ..Pass::new(&mut no_folds) };
    for line in lines(raw) {
        pass.line(line, facts);
    }
    facts.conflicts +=
        pass.conflicts + drop_repeated(&mut facts.cluster_messages, |a, b| a.0.cmp(&b.0));
}

/// The first value of `name` anywhere in an INFO reply, for a quick look at one field. Written by the
/// server's clients in part: fit to be shown or waited for, not to decide.
pub fn text<'a>(raw: &'a [u8], name: &str) -> Option<&'a str> {
    lines(raw).find_map(|line| {
        let value = line.strip_prefix(name.as_bytes())?.strip_prefix(b":")?;
        std::str::from_utf8(value).ok()
    })
}

pub(super) fn lines(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = raw;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
    .filter(|line| !line.is_empty())
}

/// State of one pass over one reply.
struct Pass<'a> {
    folds: &'a mut Folds,
    section: Section,
    sections_seen: u32,
    seen: table::SeenSet,
    replicas_seen: Vec<u32>,
    conflicts: u32,
    role: Option<Role>,
}

impl Pass<'_> {
    fn new(folds: &mut Folds) -> Pass<'_> {
        Pass {
            folds,
            section: Section::Other,
            sections_seen: 0,
            seen: table::SeenSet::default(),
            replicas_seen: Vec::new(),
            conflicts: 0,
            role: None,
        }
    }

    fn lines(&mut self, text: &[u8], facts: &mut Facts) {
        for line in lines(text) {
            match line.strip_prefix(b"# ") {
                Some(name) => self.header(Section::named(name)),
                None => self.line(line, facts),
            }
        }
    }

    fn header(&mut self, section: Section) {
        self.section = section;
        let bit = 1 << section as u32;
        if section != Section::Other && self.sections_seen & bit != 0 {
            self.conflicts += 1;
        }
        self.sections_seen |= bit;
    }

    /// Lines that clients may have written: replicas in their order, each whole and on one line, no
    /// more than the master counts. Lines with names we do not know are no business of ours.
    fn replicas_block(&mut self, block: &[u8], facts: &mut Facts) {
        let mut next = 0;
        for line in lines(block) {
            let Some(colon) = memchr::memchr(b':', line) else {
                self.conflicts += u32::from(line.starts_with(b"# "));
                continue;
            };
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            match index_of(name, b"slave") {
                Some(index) if index == next && self.section == Section::Replication => {
                    next += 1;
                    self.replica(name, value, &mut facts.replicas);
                }
                Some(_) => self.conflicts += 1,
                // Valkey's own line behind the replicas; planted, it misleads about itself alone.
                None if name == b"replicas_waiting_psync" => self.scalar(name, value, facts),
                None => self.conflicts += u32::from(table::find(name).is_some()),
            }
        }
        let counted = facts.values.get(Field::ConnectedSlaves).unwrap_or(f64::MAX);
        self.conflicts += u32::from(f64::from(next) > counted);
    }

    fn line(&mut self, line: &[u8], facts: &mut Facts) {
        let Some(colon) = memchr::memchr(b':', line) else { return };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        match self.section {
            Section::Commandstats => command(name, value, &mut facts.commands, self.folds),
            Section::Errorstats => error(line, &mut facts.errors, self.folds),
            Section::Keyspace => self.keyspace(name, value, &mut facts.keyspace),
            Section::Replication if index_of(name, b"slave").is_some() => {
                self.replica(name, value, &mut facts.replicas);
            }
            Section::Cpu if name.starts_with(b"used_active_time_io_thread_") => {
                io_thread(name, value, &mut facts.io_threads);
            }
            Section::ClusterInfo if is_message_count(name) => {
                message_count(name, value, &mut facts.cluster_messages);
            }
            _ => self.scalar(name, value, facts),
        }
    }

    fn scalar(&mut self, name: &[u8], value: &[u8], facts: &mut Facts) {
        let Some((index, slot)) = table::find(name) else { return };
        let misplaced = slot.section != self.section && slot.section != Section::Any;
        if misplaced || self.seen.insert(index) {
            self.conflicts += 1;
            return;
        }
        if slot.is_role {
            self.role = role_of(value);
        }
        if let Some(text) = slot.text {
            *text(&mut facts.text) = cut(value);
        }
        if let Some(field) = slot.field
            && let Some(number) = scalar_value(value)
        {
            facts.values.set(field, number * field.info().scale);
        }
    }

    fn replica(&mut self, name: &[u8], value: &[u8], replicas: &mut Vec<ReplicaLink>) {
        let index = index_of(name, b"slave").unwrap_or(u32::MAX);
        match replica_of(value) {
            Some(replica) if replicas.len() < LIST_MAX && !self.replicas_seen.contains(&index) => {
                self.replicas_seen.push(index);
                replicas.push(replica);
            }
            _ => self.conflicts += 1,
        }
    }

    fn keyspace(&mut self, name: &[u8], value: &[u8], keyspace: &mut Vec<Keyspace>) {
        let Some(db) = index_of(name, b"db") else { return };
        let (mut keys, mut expires, mut avg_ttl_ms) = (None, None, None);
        let (mut cached, mut subexpiry) = (None, None);
        for (key, raw) in pairs(value) {
            match key {
                b"keys" => keys = parse_number(raw),
                b"expires" => expires = parse_number(raw),
                b"avg_ttl" => avg_ttl_ms = parse_number(raw),
                b"cached_keys" => cached = parse_number(raw),
                b"subexpiry" => subexpiry = parse_number(raw),
                _ => {}
            }
        }
        let (Some(keys), Some(expires)) = (keys, expires) else {
            self.conflicts += 1;
            return;
        };
        if keyspace.len() < LIST_MAX {
            let avg_ttl_ms = avg_ttl_ms.unwrap_or(0.0);
            keyspace.push(Keyspace { db, keys, expires, avg_ttl_ms, cached, subexpiry });
        }
    }
}

fn role_of(value: &[u8]) -> Option<Role> {
    match value {
        b"master" => Some(Role::Master),
        b"slave" => Some(Role::Replica),
        _ => None,
    }
}

/// Numbers, per cent, and the words redis_exporter turns into 1 and 0.
fn scalar_value(value: &[u8]) -> Option<f64> {
    match value {
        b"ok" | b"up" => Some(1.0),
        b"err" | b"fail" | b"down" => Some(0.0),
        _ => parse_number(value.strip_suffix(b"%").unwrap_or(value)),
    }
}

/// The number after `prefix` when `name` is exactly the two.
fn index_of(name: &[u8], prefix: &[u8]) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?;
    let fine = (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    fine.then(|| digits.iter().fold(0, |n, b| n * 10 + u32::from(b - b'0')))
}

fn pairs(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    value.split(|b| *b == b',').filter_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        Some((&pair[..at], &pair[at + 1..]))
    })
}

fn command(name: &[u8], value: &[u8], commands: &mut Vec<CommandStat>, folds: &mut Folds) {
    let Some(name) = name.strip_prefix(b"cmdstat_") else { return };
    let (mut calls, mut usec, mut rejected, mut failed) = (None, None, None, None);
    for (key, raw) in pairs(value) {
        match key {
            b"calls" => calls = parse_number(raw),
            b"usec" => usec = parse_number(raw),
            b"rejected_calls" => rejected = parse_number(raw),
            b"failed_calls" => failed = parse_number(raw),
            _ => {}
        }
    }
    let (Some(calls), Some(usec)) = (calls, usec) else { return };
    folds.commands.push(commands, CommandStat { cmd: cut(name), calls, usec, rejected, failed });
}

/// `errorstat_<name>:count=<n>`; the name may hold colons on servers that do not mask them.
fn error(line: &[u8], errors: &mut Vec<(String, f64)>, folds: &mut Folds) {
    let Some(rest) = line.strip_prefix(b"errorstat_") else { return };
    let Some(colon) = memchr::memrchr(b':', rest) else { return };
    let Some(count) = rest[colon + 1..].strip_prefix(b"count=").and_then(parse_number) else {
        return;
    };
    folds.errors.push(errors, (cut(&rest[..colon]), count));
}

fn replica_of(value: &[u8]) -> Option<ReplicaLink> {
    let (mut host, mut port, mut state, mut offset, mut lag) = (None, None, None, None, None);
    for (key, raw) in pairs(value) {
        match key {
            b"ip" => host = Some(cut(raw)),
            b"port" => port = parse_number(raw).map(|_| cut(raw)),
            b"state" => state = Some(cut(raw)),
            b"offset" => offset = parse_number(raw),
            b"lag" => lag = parse_number(raw),
            _ => {}
        }
    }
    Some(ReplicaLink {
        address: join_address(&host?, &port?),
        state: state?,
        offset: offset?,
        lag_s: lag.unwrap_or(-1.0),
    })
}

fn io_thread(name: &[u8], value: &[u8], threads: &mut Vec<(String, f64)>) {
    let thread = &name[b"used_active_time_io_thread_".len()..];
    if let Some(seconds) = parse_number(value)
        && threads.len() < LIST_MAX
    {
        threads.push((cut(thread), seconds));
    }
}

fn is_message_count(name: &[u8]) -> bool {
    name.strip_prefix(b"cluster_stats_messages_")
        .is_some_and(|rest| rest.ends_with(b"_sent") || rest.ends_with(b"_received"))
}

/// Part of a metric's name later, so only what may stand in one is taken.
fn message_count(name: &[u8], value: &[u8], messages: &mut Vec<(String, f64)>) {
    let kind = &name[b"cluster_stats_messages_".len()..];
    let plain = kind.iter().all(|b| b.is_ascii_lowercase() || matches!(b, b'-' | b'_'));
    if let Some(count) = parse_number(value)
        && plain
        && kind.len() <= 40
        && messages.len() < LIST_MAX
    {
        messages.push((cut(kind).replace('-', "_"), count));
    }
}
