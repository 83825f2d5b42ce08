//! A custom monitoring item: a figure that a tenant defines for its own instances, and what a poll
//! read of it.
//!
//! Invariant: an item's name is a slug, one name is one item of an instance (the nearest scope
//! wins), and a value that could not be read is absent with a reason. How an item is checked and
//! read is known in `exporter`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::is_slug;
use crate::right::Scope;
use crate::service::word;
use crate::{At, InstanceId};

/// Longest name, bytes: that of a slug.
const NAME_MAX: usize = 40;

/// Name of an item: a slug, kept inline so that a compiled policy that names one stays `Copy`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemName {
    bytes: [u8; NAME_MAX],
    len: u8,
}

impl ItemName {
    /// Checks the rule of a slug.
    pub fn parse(text: &str) -> Result<ItemName, String> {
        if !is_slug(text) {
            return Err(format!(
                "item name {:?}: 1 to 40 of a-z, 0-9 and '-', not starting or ending with '-'",
                text.chars().take(80).collect::<String>()
            ));
        }
        let mut bytes = [0; NAME_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(ItemName { bytes, len: text.len() as u8 })
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("a slug is ASCII")
    }
}

impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl fmt::Debug for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl Default for ItemName {
    fn default() -> ItemName {
        ItemName::parse("item").expect("a slug")
    }
}
impl Serialize for ItemName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}
impl<'de> Deserialize<'de> for ItemName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<ItemName, D::Error> {
        ItemName::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// Which item: its name and the scope that defines it, `queue-length@service:pay.cart`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemId {
    /// Name.
    pub name: ItemName,
    /// Tenant, system or service.
    pub scope: Scope,
}

impl ItemId {
    /// From `name@scope`; a platform is no scope of an item.
    pub fn parse(text: &str) -> Result<ItemId, String> {
        let bad = || "expected NAME@tenant:ID, NAME@system:ID or NAME@service:ID".to_string();
        let (name, scope) = text.split_once('@').ok_or_else(bad)?;
        let scope = Scope::try_from(scope.to_string())?;
        if scope == Scope::Platform {
            return Err(bad());
        }
        Ok(ItemId { name: ItemName::parse(name)?, scope })
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, String::from(self.scope.clone()))
    }
}

word! {
    /// How the figure behaves over time: decides what `rate` makes of it.
    ItemKind {
        /// Goes up and down.
        #[default]
        Gauge = "gauge",
        /// Only grows, or starts anew.
        Counter = "counter",
    }
}
word! {
    /// On which instances it is read.
    ItemOn {
        /// Where a role is known, on the master only: what the data says, once.
        #[default]
        Master = "master",
        /// On replicas only, to spare the master.
        Replica = "replica",
        /// On every data node.
        Any = "any",
    }
}

/// Where the figure comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ItemSource {
    /// A field of INFO.
    Info {
        /// `used_memory_lua`, `cmdstat_get`, `db0`.
        field: String,
        /// Section it stands in; needed for fields the product does not know itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        section: Option<String>,
        /// Part of a value like `calls=1,usec=2`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        part: Option<String>,
        /// For texts: 1 while the value is this, 0 otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        equals: Option<String>,
    },
    /// A parameter of CONFIG; `yes` is 1, `no` is 0.
    Config {
        /// `maxmemory`.
        parameter: String,
        /// For texts: 1 while the value is this, 0 otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        equals: Option<String>,
    },
    /// A read-only command of the allow-list.
    Command {
        /// The command and its arguments, one each: `["XINFO", "GROUPS", "orders"]`.
        args: Vec<String>,
        /// Path into the reply, `*.lag`; empty: the reply itself.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        path: String,
        /// For names (TYPE, OBJECT ENCODING): 1 while the reply is this, 0 otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        equals: Option<String>,
    },
    /// How many keys match a pattern, counted by SCAN over at most `keys_max` keys of database 0.
    Scan {
        /// `session:*`.
        pattern: String,
        /// Above so many keys nothing is counted.
        keys_max: u32,
    },
    /// A read-only Lua script, sent by EVAL_RO (Redis 7 and later).
    Script {
        /// Its text.
        lua: String,
        /// KEYS.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<String>,
        /// ARGV.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        args: Vec<String>,
        /// Path into the reply.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        path: String,
    },
    /// A read-only function, called by FCALL_RO (Redis 7 and later).
    Function {
        /// Its name.
        function: String,
        /// KEYS.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<String>,
        /// ARGV.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        args: Vec<String>,
        /// Path into the reply.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        path: String,
    },
    /// Arithmetic over items, `{name}`, and fields of INFO, by name.
    Expr(String),
}

impl ItemSource {
    /// Its word: `info`, `config`, `command`, `scan`, `script`, `function` or `expr`.
    pub fn word(&self) -> &'static str {
        match self {
            ItemSource::Info { .. } => "info",
            ItemSource::Config { .. } => "config",
            ItemSource::Command { .. } => "command",
            ItemSource::Scan { .. } => "scan",
            ItemSource::Script { .. } => "script",
            ItemSource::Function { .. } => "function",
            ItemSource::Expr(_) => "expr",
        }
    }

    /// Whether it reads data of keys, which a cluster spreads and replicas repeat.
    pub fn reads_keys(&self) -> bool {
        !matches!(self, ItemSource::Info { .. } | ItemSource::Config { .. } | ItemSource::Expr(_))
    }
}

fn yes() -> bool {
    true
}
fn minute() -> u32 {
    60
}
fn second() -> u32 {
    1_000
}

/// The definition of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemDoc {
    /// Name, and value of the label `item`.
    pub name: ItemName,
    /// Where it applies: a tenant, a system or a service, and everything below.
    pub scope: Scope,
    /// What it tells, for people.
    #[serde(default)]
    pub description: String,
    /// Unit of the value: `bytes`, `seconds`, `jobs`; empty: a bare number.
    #[serde(default)]
    pub unit: String,
    /// Gauge or counter.
    #[serde(default)]
    pub kind: ItemKind,
    /// Where it comes from.
    pub source: ItemSource,
    /// Labels out of the elements of a list: label name → name or number of the part.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Read every so many seconds.
    #[serde(default = "minute")]
    pub cadence_s: u32,
    /// Given up after so many milliseconds.
    #[serde(default = "second")]
    pub timeout_ms: u32,
    /// On which instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<ItemOn>,
    /// Off: not read; below another scope's item of that name: switches it off there.
    #[serde(default = "yes")]
    pub enabled: bool,
}

impl ItemDoc {
    /// Its id.
    pub fn id(&self) -> ItemId {
        ItemId { name: self.name, scope: self.scope.clone() }
    }

    /// Where it is read: as said, else what keys hold on the master, all else everywhere.
    pub fn on(&self) -> ItemOn {
        match self.on {
            Some(on) => on,
            None if self.source.reads_keys() => ItemOn::Master,
            None => ItemOn::Any,
        }
    }
}

word! {
    /// Why an item has no value; a closed set, used as label `reason`.
    ItemFault {
        /// No answer within its time-out.
        #[default]
        Timeout = "timeout",
        /// The ACL forbids the command.
        Noperm = "noperm",
        /// The server does not know the command: too old, or renamed.
        Unsupported = "unsupported",
        /// The key holds another type.
        WrongType = "wrong_type",
        /// Another error of the server.
        Refused = "refused",
        /// The reply has no such part.
        Path = "path",
        /// The part is no number.
        NotANumber = "not_a_number",
        /// The reply is above its budget.
        TooLarge = "too_large",
        /// More keys than it may look at, or no time left in this poll.
        Budget = "budget",
        /// More series than an item may have; the largest are shown.
        SeriesLimit = "series_limit",
        /// An item of the expression has no value, or is not there.
        Reference = "reference",
        /// The connection broke; tried again later.
        Connection = "connection",
    }
}

/// One series of an item.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemSeries {
    /// Labels as defined, in the order of their names.
    pub labels: Vec<(String, String)>,
    /// `name=value` of the labels, joined; tells the series of an item apart.
    pub key: String,
    /// Value.
    pub value: f64,
}

impl ItemSeries {
    /// Stands between the labels in `key`; no label name or value holds it.
    pub const SEPARATOR: char = '\u{1f}';

    /// A series with those labels.
    pub fn new(labels: Vec<(String, String)>, value: f64) -> ItemSeries {
        let clean =
            |(name, text): (String, String)| (name, text.replace(|c: char| c.is_control(), " "));
        let labels: Vec<(String, String)> = labels.into_iter().map(clean).collect();
        let one = |(name, text): &(String, String)| format!("{name}={text}");
        let key: Vec<String> = labels.iter().map(one).collect();
        ItemSeries { key: key.join(&ItemSeries::SEPARATOR.to_string()), labels, value }
    }
}

/// The latest of one item on one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemReading {
    /// Which.
    pub name: ItemName,
    /// When it was read.
    pub at: At,
    /// Its series; none while it has no value.
    pub series: Vec<ItemSeries>,
    /// Why it has none, or not all.
    pub fault: Option<ItemFault>,
    /// Its name at redis_exporter; none when that shows nothing alike.
    pub peer: Option<Arc<PeerSeries>>,
}

/// How redis_exporter names what an item reads, for dashboards made for it.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerSeries {
    /// Its metric.
    pub metric: &'static str,
    /// Labels every series of the item has there.
    pub labels: Vec<(&'static str, String)>,
    /// A label there, and the item's own it is taken from.
    pub taken: Option<(&'static str, String)>,
    /// What a value there is of the item's.
    pub scale: f64,
}

/// All items of an instance; shared while none was read anew.
pub type ItemReadings = Arc<[ItemReading]>;

/// What an item costs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ItemCost {
    /// Data nodes in its scope.
    pub instances: u32,
    /// Those of them that are asked, as roles stand now.
    pub asked: u32,
    /// Commands a minute, over all asked instances.
    pub commands_per_min: f64,
    /// The same for the instance asked most, with every other item of it.
    pub commands_per_min_instance: f64,
    /// What the server does for it: `constant`, `logarithmic`, `samples`, `groups`, `scan`, `script`
    /// or `none` (nothing is sent).
    pub class: String,
    /// Series at most, over all asked instances.
    pub series_max: u32,
    /// Series shown now.
    pub series: u32,
    /// Round trip of the last test, µs; none before one.
    pub took_us: Option<u32>,
}

/// One thing that is wrong with a definition, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemFlaw {
    /// JSON pointer into the definition.
    pub pointer: String,
    /// What is wrong and what is allowed.
    pub detail: String,
}

/// A revision of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemRevision {
    /// Number, from 1.
    pub rev: i64,
    /// The definition; that of the deletion repeats the last one.
    pub item: ItemDoc,
    /// Deleted by this revision.
    pub deleted: bool,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: At,
}

/// An item in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemItem {
    /// `name@scope`.
    pub id: String,
    /// Definition in force.
    pub item: ItemDoc,
    /// Revision in force.
    pub rev: i64,
    /// Who set it.
    pub by: String,
    /// When.
    pub at: At,
    /// Instances that show a value now.
    pub with_value: u32,
    /// Instances that show a fault now.
    pub with_fault: u32,
}

/// A present value, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemPoint {
    /// Instance.
    pub instance: InstanceId,
    /// Labels, `group=billing`; empty: none.
    pub labels: String,
    /// Value; none: see `fault`.
    pub value: Option<f64>,
    /// Why there is none, or not all.
    pub fault: Option<ItemFault>,
    /// When it was read.
    pub at: At,
}

/// One item whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemPage {
    /// When.
    pub as_of: At,
    /// `name@scope`; empty while it is not saved.
    pub id: String,
    /// The definition shown.
    pub item: ItemDoc,
    /// Revision in force; 0 while it is not saved.
    pub rev: i64,
    /// What is wrong with the definition shown; nothing can be saved then.
    pub flaws: Vec<ItemFlaw>,
    /// What it costs.
    pub cost: ItemCost,
    /// Instances a test may ask.
    pub instances: Vec<InstanceId>,
    /// Present values, at most 100.
    pub points: Vec<ItemPoint>,
    /// Revisions, newest first, at most 50.
    pub revisions: Vec<ItemRevision>,
    /// The test just run.
    pub test: Option<ItemTest>,
}

/// What one test run said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemTest {
    /// Instance asked.
    pub instance: InstanceId,
    /// Commands sent.
    pub commands: Vec<String>,
    /// The reply, cut; its texts and numbers masked unless the caller has `data.read`.
    pub raw: String,
    /// Whether it is masked.
    pub masked: bool,
    /// The series it would make.
    pub points: Vec<ItemPoint>,
    /// Why there is no value, or not all of them.
    pub fault: Option<ItemFault>,
    /// In words.
    pub detail: String,
    /// Round trip of all commands, µs.
    pub took_us: u32,
    /// Round trip of a PING on the same connection before, µs: what the network alone takes.
    pub ping_us: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_item_and_scope_and_round_trips() {
        for text in ["queue-length@service:pay.cart", "a@tenant:pay", "b@system:pay.shop"] {
            assert_eq!(ItemId::parse(text).unwrap().to_string(), text);
        }
        for bad in ["a", "a@platform", "A@tenant:pay", "a@tenant:", "a@instance:pay.cart@h:1", ""] {
            assert!(ItemId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_definition_needs_a_name_a_scope_and_a_source_only() {
        let doc: ItemDoc = serde_json::from_value(serde_json::json!({
            "name": "queue", "scope": "service:pay.cart",
            "source": {"command": {"args": ["LLEN", "q"]}},
        }))
        .unwrap();
        assert_eq!((doc.cadence_s, doc.timeout_ms, doc.enabled), (60, 1000, true));
        assert_eq!(doc.on(), ItemOn::Master);
        let again: ItemDoc = serde_json::from_str(&serde_json::to_string(&doc).unwrap()).unwrap();
        assert_eq!(again, doc);
    }

    #[test]
    fn control_characters_of_a_server_cannot_forge_a_second_label() {
        let labels = vec![("group".to_string(), "a\u{1f}group=b".to_string())];
        let series = ItemSeries::new(labels, 1.0);
        assert_eq!(series.key, "group=a group=b");
    }
}
