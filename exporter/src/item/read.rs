//! One reading of one item: what is sent, and what the reply says.
//!
//! Invariant: at most the item's own time and bytes; a reply that breaks the connection is told from
//! one that only has no value. Refuses to know when an item is due.

use std::time::{Duration, Instant};

use link::{Link, Pipeline, Value, reply};
use model::field::Field;
use model::item::{ItemFault, ItemOn, ItemSeries};
use model::reading::{Facts, Reason, Role};

use super::check::{Compiled, Work};
use super::path::{self, Found};

/// Longest reply of an item, bytes: 64 groups of a stream with all they say are 20 kB.
const REPLY_BYTES_MAX: usize = 64 << 10;
/// Longest section of INFO, bytes: command statistics of a busy server are 30 kB.
const INFO_BYTES_MAX: usize = 256 << 10;
/// Keys SCAN looks at in one step: some 30 µs of the server's time, which is nobody's pause.
const SCAN_STEP: u32 = 100;

/// Steps a count takes at most: SCAN may answer a few more than the keys need while it rehashes.
pub(crate) fn scan_steps(keys_max: u32) -> u32 {
    keys_max.div_ceil(SCAN_STEP) + 10
}

/// The connection broke; why, as the item's fault.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) ItemFault);

/// Replies of one round, so that two items of one command ask once; a record for tests.
#[derive(Default)]
pub(crate) struct Replies {
    pub(crate) kept: Vec<(Vec<String>, Value)>,
}

/// Whether an item is read on an instance that says this of itself: its role, and in a cluster its
/// slots.
pub fn applies(item: &Compiled, facts: &Facts) -> bool {
    let role = match item.doc.on() {
        ItemOn::Any => true,
        ItemOn::Master => facts.role == Some(Role::Master),
        ItemOn::Replica => facts.role == Some(Role::Replica),
    };
    role && match item.slot {
        Some(slot) if facts.values.get(Field::ClusterEnabled) == Some(1.0) => owns(facts, slot),
        _ => true,
    }
}

/// Whether this node of a cluster serves the slot; others would only answer MOVED.
fn owns(facts: &Facts, slot: u16) -> bool {
    let Some(view) = &facts.cluster else { return false };
    let me = view.nodes.iter().find(|n| n.flags.iter().any(|f| f == "myself"));
    me.is_some_and(|n| n.slots.iter().any(|(from, to)| (*from..=*to).contains(&slot)))
}

/// Reads one item other than an expression.
pub(crate) async fn read(
    link: &mut Link,
    item: &Compiled,
    facts: &Facts,
    replies: &mut Replies,
    limit: Duration,
) -> Result<Found, Broken> {
    let limit = limit.min(Duration::from_millis(u64::from(item.doc.timeout_ms)));
    match &item.work {
        Work::Field(field) => Ok(match facts.values.get(*field) {
            Some(value) => one(value),
            None => none(ItemFault::Path),
        }),
        Work::Info { section, field, part, equals } => {
            let args = ["INFO".to_string(), section.clone()];
            let value = ask(link, &args, INFO_BYTES_MAX, replies, limit).await?;
            Ok(said(&value).unwrap_or_else(|| {
                let text = reply::bytes(&value).unwrap_or_default();
                info(text, section, field, part.as_deref(), equals.as_deref())
            }))
        }
        Work::Config { parameter, equals } => {
            let args = ["CONFIG".to_string(), "GET".to_string(), parameter.clone()];
            let value = ask(link, &args, REPLY_BYTES_MAX, replies, limit).await?;
            Ok(said(&value).unwrap_or_else(|| config(&value, equals.as_deref())))
        }
        Work::Call { args, path, equals } => {
            let value = ask(link, args, REPLY_BYTES_MAX, replies, limit).await?;
            Ok(said(&value)
                .unwrap_or_else(|| path::read(&value, path, &item.labels, equals.as_deref())))
        }
        Work::Scan { pattern, keys_max } => {
            scan(link, pattern, *keys_max, facts, replies, limit).await
        }
        Work::Expr(_) => Ok(none(ItemFault::Reference)),
    }
}

fn one(value: f64) -> Found {
    (vec![ItemSeries::new(Vec::new(), value)], None)
}

fn none(why: ItemFault) -> Found {
    (Vec::new(), Some(why))
}

async fn ask(
    link: &mut Link,
    args: &[String],
    bytes: usize,
    replies: &mut Replies,
    limit: Duration,
) -> Result<Value, Broken> {
    if let Some((_, value)) = replies.kept.iter().find(|(asked, _)| asked == args) {
        return Ok(value.clone());
    }
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let packed = Pipeline::bounded(&[&words], bytes);
    let answered = link.pipeline(&packed, limit).await.map_err(|e| {
        Broken(match e.reason {
            Reason::Timeout => ItemFault::Timeout,
            Reason::TooLarge => ItemFault::TooLarge,
            _ => ItemFault::Connection,
        })
    })?;
    let value = answered.into_iter().next().unwrap_or(Value::Nil);
    replies.kept.push((args.to_vec(), value.clone()));
    Ok(value)
}

/// What an error reply means; none for any other reply.
fn said(value: &Value) -> Option<Found> {
    let line = reply::error(value)?;
    let code = line.split(' ').next().unwrap_or_default();
    Some(match code {
        "NOPERM" => none(ItemFault::Noperm),
        "WRONGTYPE" => none(ItemFault::WrongType),
        // The slot moved since the poll; its new owner is asked.
        "MOVED" | "ASK" | "TRYAGAIN" => (Vec::new(), None),
        _ if line.starts_with("ERR unknown command")
            || line.starts_with("ERR unknown subcommand")
            || line.starts_with("ERR Unknown subcommand") =>
        {
            none(ItemFault::Unsupported)
        }
        _ if line.starts_with("ERR no such key") => none(ItemFault::Path),
        _ => none(ItemFault::Refused),
    })
}

/// The first line of that name in that section; anything after could be forged by a client.
fn info(
    text: &[u8],
    section: &str,
    field: &str,
    part: Option<&str>,
    equals: Option<&str>,
) -> Found {
    let mut inside = false;
    for line in text.split(|b| *b == b'\n') {
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        if let Some(title) = line.strip_prefix("# ") {
            inside = title.eq_ignore_ascii_case(section);
            continue;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        if inside && name == field {
            return info_value(value, part, equals);
        }
    }
    none(ItemFault::Path)
}

fn info_value(value: &str, part: Option<&str>, equals: Option<&str>) -> Found {
    let value = match part {
        None => value,
        Some(part) => {
            let mut pairs = value.split(',').filter_map(|pair| pair.split_once('='));
            match pairs.find(|(name, _)| *name == part) {
                Some((_, value)) => value,
                None => return none(ItemFault::Path),
            }
        }
    };
    text_value(value.trim(), equals)
}

fn text_value(text: &str, equals: Option<&str>) -> Found {
    match (equals, text) {
        (Some(wanted), text) => one(f64::from(u8::from(text == wanted))),
        (None, "yes") => one(1.0),
        (None, "no") => one(0.0),
        (None, text) => match text.trim_end_matches('%').parse::<f64>() {
            Ok(value) if value.is_finite() => one(value),
            _ => none(ItemFault::NotANumber),
        },
    }
}

fn config(value: &Value, equals: Option<&str>) -> Found {
    let pair = reply::items(value).filter(|pair| pair.len() == 2);
    match pair.and_then(|pair| reply::text(&pair[1])) {
        Some(text) => text_value(&text, equals),
        None => none(ItemFault::Path),
    }
}

/// Counts by SCAN; keys that SCAN names twice while a table grows are counted twice, as they are
/// nowhere kept.
async fn scan(
    link: &mut Link,
    pattern: &str,
    keys_max: u32,
    facts: &Facts,
    replies: &mut Replies,
    limit: Duration,
) -> Result<Found, Broken> {
    let keys = facts.keyspace.iter().find(|db| db.db == 0).map_or(0.0, |db| db.keys);
    if keys > f64::from(keys_max) {
        return Ok(none(ItemFault::Budget));
    }
    let (start, mut cursor, mut count) = (Instant::now(), "0".to_string(), 0_usize);
    for _ in 0..scan_steps(keys_max) {
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(none(ItemFault::Budget));
        }
        let step = ["SCAN", &cursor, "MATCH", pattern, "COUNT", "100"].map(String::from);
        let value = ask(link, &step, REPLY_BYTES_MAX, replies, left).await?;
        // Cursors come again in every round; only the first step is worth showing.
        replies.kept.truncate(replies.kept.len().min(SHOWN_MAX));
        if let Some(found) = said(&value) {
            return Ok(found);
        }
        let parts = reply::items(&value).filter(|parts| parts.len() == 2);
        let read = parts.and_then(|p| Some((reply::text(&p[0])?, reply::items(&p[1])?.len())));
        let Some((next, found)) = read else { return Ok(none(ItemFault::NotANumber)) };
        count += found;
        if next == "0" {
            return Ok(one(count as f64));
        }
        cursor = next;
    }
    Ok(none(ItemFault::Budget))
}

/// Replies kept of one round: one for each item an instance may have.
const SHOWN_MAX: usize = super::plan::ITEMS_MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use model::reading::Keyspace;

    fn value(found: Found) -> Result<f64, ItemFault> {
        match found {
            (series, None) if series.len() == 1 => Ok(series[0].value),
            (_, why) => Err(why.unwrap()),
        }
    }

    #[test]
    fn a_line_of_info_counts_only_in_its_section_and_only_the_first() {
        let text = b"# Replication\r\nmem_x:666\r\n# Memory\r\nmem_x:7\r\nmem_x:8\r\nr:1.5%\r\n\
            cmdstat_get:calls=3,usec=9\r\nstatus:ok\r\n";
        let get = |field, part, equals| value(info(text, "memory", field, part, equals));
        assert_eq!(get("mem_x", None, None), Ok(7.0));
        assert_eq!(get("r", None, None), Ok(1.5));
        assert_eq!(get("cmdstat_get", Some("usec"), None), Ok(9.0));
        assert_eq!(get("cmdstat_get", Some("p99"), None), Err(ItemFault::Path));
        assert_eq!(get("status", None, Some("ok")), Ok(1.0));
        assert_eq!(get("status", None, None), Err(ItemFault::NotANumber));
        assert_eq!(get("gone", None, None), Err(ItemFault::Path));
    }

    #[test]
    fn a_parameter_that_says_yes_is_one() {
        let reply = |v: &str| {
            let text = |s: &str| Value::BulkString(s.as_bytes().to_vec());
            Value::Array(vec![text("appendonly"), text(v)])
        };
        assert_eq!(value(config(&reply("yes"), None)), Ok(1.0));
        assert_eq!(value(config(&reply("104857600"), None)), Ok(104_857_600.0));
        assert_eq!(value(config(&reply("everysec"), Some("everysec"))), Ok(1.0));
        assert_eq!(value(config(&Value::Array(vec![]), None)), Err(ItemFault::Path));
    }

    #[test]
    fn items_of_keys_are_read_on_masters_and_in_a_cluster_where_the_slot_is() {
        let doc = serde_json::from_value(serde_json::json!({
            "name": "q", "scope": "tenant:pay", "source": {"command": {"args": ["LLEN", "foo"]}},
        }))
        .unwrap();
        let item = super::super::check::compile(&doc).unwrap();
        let mut facts = Facts { role: Some(Role::Master), ..Facts::default() };
        assert!(applies(&item, &facts));
        facts.values.set(Field::ClusterEnabled, 1.0);
        assert!(!applies(&item, &facts), "the node does not know its slots yet");
        let mut view = crate::fixture::view('a', &[('a', "h:1", '-', Some(12_180), 1)]);
        view.nodes[0].flags.push("myself".into());
        facts.cluster = Some(view);
        assert!(applies(&item, &facts));
        facts.cluster.as_mut().unwrap().nodes[0].slots = vec![(0, 12_181)];
        assert!(!applies(&item, &facts));
        facts = Facts { role: Some(Role::Replica), ..Facts::default() };
        assert!(!applies(&item, &facts));
        facts.keyspace = vec![Keyspace {
            db: 0,
            keys: 1.0,
            expires: 0.0,
            avg_ttl_ms: 0.0,
            ..Default::default()
        }];
    }
}
