//! From a definition to something that can be read, or to every reason why not.
//!
//! Invariant: pure; what is compiled sends only commands of the allow-list and stays within the
//! limits below; each flaw names its place as a JSON pointer. Refuses to know instances.

use std::sync::Arc;

use link::slot;
use model::field::Field;
use model::item::{ItemDoc, ItemFlaw, ItemName, ItemOn, ItemSource, PeerSeries};

use super::command::{self, Class, Reply};
use super::expr::{Ask, Expr};
use super::lua;
use super::path::{Path, SERIES_MAX};
use super::peer;

/// Fastest reading: the poll's own interval.
const CADENCE_S_MIN: u32 = 15;
/// Fastest reading of what costs the server more than a look-up.
const CADENCE_S_HEAVY_MIN: u32 = 60;
/// Slowest reading: an alert on anything older than an hour would tell of yesterday.
const CADENCE_S_MAX: u32 = 3_600;
/// Least and most time one item may take, ms: items share the poll's deadline of 3 s.
const TIMEOUT_MS: std::ops::RangeInclusive<u32> = 50..=1_000;
/// Keys a count may look at: 200 steps of SCAN, some 10 ms of the server's time.
pub const SCAN_KEYS_MAX: u32 = 20_000;
/// Labels of an item: each multiplies its series.
const LABELS_MAX: usize = 3;
/// Longest argument, bytes: keys are names, not contents.
const ARG_MAX: usize = 512;
/// Keys or arguments of a script.
const ARGS_MAX: usize = 16;
/// Longest description, characters.
const TEXT_MAX: usize = 300;
/// Labels of the object on every series; an item's own would clash with them.
const RESERVED: &[&str] = &[
    "item",
    "reason",
    "tenant",
    "system",
    "service",
    "shard",
    "instance",
    "zone",
    "site",
    "env",
    "tier",
    "job",
    "le",
    "quantile",
    "alertname",
    "policy",
    "level",
    "severity",
];
/// Sections of INFO an item may ask for.
const SECTIONS: &[&str] = &[
    "server",
    "clients",
    "memory",
    "persistence",
    "threads",
    "stats",
    "replication",
    "cpu",
    "modules",
    "commandstats",
    "errorstats",
    "latencystats",
    "cluster",
    "keyspace",
    "keysizes",
];
/// What parameters of CONFIG that hold secrets have in their names.
const SECRET: &[&str] = &["pass", "auth", "secret", "key", "cert", "user", "token"];

/// What is to be read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Work {
    /// A scalar fact of the poll itself.
    Field(Field),
    /// A line of INFO.
    Info { section: String, field: String, part: Option<String>, equals: Option<String> },
    /// A parameter.
    Config { parameter: String, equals: Option<String> },
    /// A command whose reply is followed.
    Call { args: Vec<String>, path: Path, equals: Option<String> },
    /// A count by SCAN.
    Scan { pattern: String, keys_max: u32 },
    /// Arithmetic.
    Expr(Expr),
}

/// A definition that can be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// The definition.
    pub doc: Arc<ItemDoc>,
    pub(crate) work: Work,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) class: Class,
    /// Slot of its keys; none without keys.
    pub(crate) slot: Option<u16>,
    /// Whether the keys lie in several slots: no cluster can answer that.
    pub(crate) cross_slot: bool,
    /// Its name at redis_exporter.
    pub(crate) peer: Option<Arc<PeerSeries>>,
}

impl Compiled {
    /// Its name.
    pub fn name(&self) -> ItemName {
        self.doc.name
    }

    /// What it costs the server, in a word.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Whether its keys lie in several slots, which a cluster refuses.
    pub fn is_cross_slot(&self) -> bool {
        self.cross_slot
    }

    /// Whether it is about keys by name.
    pub fn has_slot(&self) -> bool {
        self.slot.is_some()
    }

    /// Whether it asks for a command that Redis has from version 7 on.
    pub fn needs_seven(&self) -> bool {
        self.class == Class::Script
    }

    /// Commands one reading sends, at most.
    pub fn commands(&self) -> u32 {
        match &self.work {
            Work::Field(_) | Work::Expr(_) => 0,
            Work::Scan { keys_max, .. } => super::read::scan_steps(*keys_max),
            _ => 1,
        }
    }

    /// Commands a minute it sends to one instance, at most.
    pub fn commands_per_min(&self) -> f64 {
        f64::from(self.commands()) * 60.0 / f64::from(self.doc.cadence_s.max(1))
    }

    /// Series it makes on one instance, at most.
    pub fn series_max(&self) -> u32 {
        if self.fans_out() { SERIES_MAX as u32 } else { 1 }
    }

    /// The greatest count of keys it may look at; none for what is no count.
    pub fn scan_max(&self) -> Option<u32> {
        match self.work {
            Work::Scan { keys_max, .. } => Some(keys_max),
            _ => None,
        }
    }

    pub(crate) fn fans_out(&self) -> bool {
        matches!(&self.work, Work::Call { path, .. } if path.fans_out())
    }

    /// What an expression asks; nothing for all else.
    pub(crate) fn asks(&self) -> &[Ask] {
        match &self.work {
            Work::Expr(expr) => expr.asks(),
            _ => &[],
        }
    }
}

/// Flaws while they are gathered.
struct Flaws(Vec<ItemFlaw>);

impl Flaws {
    fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.0.push(ItemFlaw { pointer: pointer.into(), detail: detail.into() });
    }

    /// The value; its error becomes a flaw at `pointer`.
    fn take<T>(&mut self, pointer: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|detail| self.add(pointer, detail)).ok()
    }
}

/// Compiles a definition; answers every flaw.
pub fn compile(doc: &ItemDoc) -> Result<Compiled, Vec<ItemFlaw>> {
    let mut flaws = Flaws(Vec::new());
    let source = source(&doc.source, &mut flaws);
    let class = source.as_ref().map_or(Class::None, |s| s.class);
    head(doc, class, &mut flaws);
    if let Some(source) = &source {
        labels(doc, source, &mut flaws);
        if doc.on() != ItemOn::Any && matches!(source.work, Work::Expr(_)) {
            flaws.add("/on", "an expression is read where its items are; leave `on` out");
        }
    }
    match source {
        Some(source) if flaws.0.is_empty() => {
            let slots: Vec<u16> = source.keys.iter().map(|k| slot::of(k.as_bytes())).collect();
            Ok(Compiled {
                doc: Arc::new(doc.clone()),
                labels: doc.labels.iter().map(|(n, p)| (n.clone(), p.clone())).collect(),
                class,
                slot: slots.first().copied(),
                cross_slot: slots.windows(2).any(|pair| pair[0] != pair[1]),
                work: source.work,
                peer: peer::series(&doc.source, &doc.labels).map(Arc::new),
            })
        }
        _ => Err(flaws.0),
    }
}

struct Source {
    work: Work,
    class: Class,
    reply: Reply,
    keys: Vec<String>,
}

fn head(doc: &ItemDoc, class: Class, flaws: &mut Flaws) {
    let least = match class {
        Class::Scan | Class::Script => CADENCE_S_HEAVY_MIN,
        _ => CADENCE_S_MIN,
    };
    if !(least..=CADENCE_S_MAX).contains(&doc.cadence_s) {
        let detail = format!("{} s: expected {least} to {CADENCE_S_MAX} s here", doc.cadence_s);
        flaws.add("/cadence_s", detail);
    }
    if !TIMEOUT_MS.contains(&doc.timeout_ms) {
        let (least, most) = (TIMEOUT_MS.start(), TIMEOUT_MS.end());
        flaws.add("/timeout_ms", format!("{} ms: expected {least} to {most}", doc.timeout_ms));
    }
    if doc.description.chars().count() > TEXT_MAX {
        flaws.add("/description", format!("at most {TEXT_MAX} characters"));
    }
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_%/".contains(c);
    if doc.unit.len() > 20 || !doc.unit.chars().all(plain) {
        flaws.add("/unit", "expected at most 20 of a-z, 0-9, '_', '/' and '%'");
    }
}

fn labels(doc: &ItemDoc, source: &Source, flaws: &mut Flaws) {
    let fans_out = matches!(&source.work, Work::Call { path, .. } if path.fans_out());
    if fans_out && doc.labels.is_empty() {
        flaws.add("/labels", "`*` gives a series per element: name a label that tells them apart");
    }
    if !fans_out && !doc.labels.is_empty() {
        flaws.add("/labels", "labels come from the elements of a list: a path with `*` is needed");
    }
    // A stored text as a label would show what keys hold to everybody who sees series.
    if !doc.labels.is_empty() && source.reply != Reply::Named {
        flaws.add("/labels", "only XINFO GROUPS, XINFO CONSUMERS and LATENCY LATEST give labels");
    }
    if doc.labels.len() > LABELS_MAX {
        flaws.add("/labels", format!("at most {LABELS_MAX}"));
    }
    for (name, part) in &doc.labels {
        let pointer = format!("/labels/{}", name.replace('~', "~0").replace('/', "~1"));
        let letter = |c: char| c.is_ascii_lowercase() || c == '_';
        let fine = name.starts_with(letter)
            && name.len() <= 40
            && !name.starts_with("__")
            && name.chars().all(|c| letter(c) || c.is_ascii_digit());
        if !fine {
            flaws.add(&pointer, "a label's name is 1 to 40 of a-z, 0-9 and '_'");
        } else if RESERVED.contains(&name.as_str()) {
            flaws.add(&pointer, format!("the label {name} is set by the product"));
        }
        if part.is_empty() || part.len() > 64 || part.contains(['.', '*', '#']) {
            flaws.add(&pointer, "expected the name or the number of one part of the element");
        }
    }
}

fn source(source: &ItemSource, flaws: &mut Flaws) -> Option<Source> {
    let before = flaws.0.len();
    let made = match source {
        ItemSource::Info { field, section, part, equals } => {
            info(field, section.as_deref(), part, equals, flaws)
        }
        ItemSource::Config { parameter, equals } => config(parameter, equals, flaws),
        ItemSource::Command { args, path, equals } => call(args, path, equals, flaws),
        ItemSource::Scan { pattern, keys_max } => scan(pattern, *keys_max, flaws),
        ItemSource::Script { lua, keys, args, path } => {
            flaws.take("/source/script/lua", lua::check(lua));
            run("EVAL_RO", "script", lua, (keys, args), path, flaws)
        }
        ItemSource::Function { function, keys, args, path } => {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if function.is_empty() || function.len() > 64 || !function.chars().all(word) {
                flaws.add("/source/function/function", "expected 1 to 64 letters, digits or '_'");
            }
            run("FCALL_RO", "function", function, (keys, args), path, flaws)
        }
        ItemSource::Expr(text) => {
            let expr = flaws.take("/source/expr", Expr::parse(text))?;
            let (class, reply) = (Class::None, Reply::Numbers);
            Some(Source { work: Work::Expr(expr), class, reply, keys: Vec::new() })
        }
    };
    made.filter(|_| flaws.0.len() == before)
}

fn info(
    field: &str,
    section: Option<&str>,
    part: &Option<String>,
    equals: &Option<String>,
    flaws: &mut Flaws,
) -> Option<Source> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "_.-|".contains(c);
    if field.is_empty() || field.len() > 80 || !field.chars().all(fine) {
        flaws.add("/source/info/field", "expected a field of INFO by its name: used_memory");
        return None;
    }
    let known = Field::all().iter().copied().find(|f| f.info().name == field);
    if let Some(section) = section.filter(|s| !SECTIONS.contains(s)) {
        let detail = format!("{section:?}: expected one of {}", SECTIONS.join(", "));
        flaws.add("/source/info/section", detail);
        return None;
    }
    let plain = part.is_none() && equals.is_none() && section.is_none();
    let work = match (known, section) {
        // What the poll reads anyway costs nothing more; a scaled value is not what INFO prints.
        (Some(f), None) if plain && (f.info().scale == 1.0 || !is_section(f)) => Work::Field(f),
        (Some(f), None) => info_line(f.info().section, field, part, equals),
        (_, Some(section)) => info_line(section, field, part, equals),
        (None, None) => {
            let detail = format!(
                "{field} is no field that is known; if this server has it, say in which section"
            );
            flaws.add("/source/info/field", detail);
            return None;
        }
    };
    let class = if matches!(work, Work::Field(_)) { Class::None } else { Class::Constant };
    Some(Source { work, class, reply: Reply::Word, keys: Vec::new() })
}

fn is_section(field: Field) -> bool {
    SECTIONS.contains(&field.info().section)
}

fn info_line(section: &str, field: &str, part: &Option<String>, equals: &Option<String>) -> Work {
    let (section, field) = (section.to_string(), field.to_string());
    Work::Info { section, field, part: part.clone(), equals: equals.clone() }
}

fn config(parameter: &str, equals: &Option<String>, flaws: &mut Flaws) -> Option<Source> {
    let at = "/source/config/parameter";
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if parameter.is_empty() || parameter.len() > 64 || !parameter.chars().all(fine) {
        flaws.add(at, "expected one parameter by its name, without wildcards: maxmemory");
        return None;
    }
    if SECRET.iter().any(|word| parameter.contains(word)) {
        flaws.add(at, "this parameter may hold a secret");
        return None;
    }
    let work = Work::Config { parameter: parameter.into(), equals: equals.clone() };
    Some(Source { work, class: Class::Constant, reply: Reply::Word, keys: Vec::new() })
}

fn call(args: &[String], path: &str, equals: &Option<String>, flaws: &mut Flaws) -> Option<Source> {
    let allowed = match command::find(args) {
        Ok(allowed) => allowed,
        Err((at, why)) => {
            flaws.add(format!("/source/command/args/{at}"), why);
            return None;
        }
    };
    arguments(args, "/source/command/args", flaws);
    let path = flaws.take("/source/command/path", Path::parse(path))?;
    if equals.is_some() && allowed.reply != Reply::Word {
        // Comparing would tell what a key holds, one guess at a time.
        flaws.add("/source/command/equals", "only TYPE and OBJECT ENCODING can be compared");
    }
    if equals.is_none() && allowed.reply == Reply::Word {
        flaws.add("/source/command/equals", "the reply is a word: say which one counts as 1");
    }
    let keys = allowed.keys(args).into_iter().map(String::from).collect();
    let work = Work::Call { args: args.to_vec(), path, equals: equals.clone() };
    Some(Source { work, class: allowed.class, reply: allowed.reply, keys })
}

fn scan(pattern: &str, keys_max: u32, flaws: &mut Flaws) -> Option<Source> {
    if pattern.is_empty() || pattern.len() > ARG_MAX {
        flaws.add("/source/scan/pattern", format!("expected 1 to {ARG_MAX} bytes"));
    }
    if !(1..=SCAN_KEYS_MAX).contains(&keys_max) {
        let detail = format!(
            "{keys_max}: a count may look at 1 to {SCAN_KEYS_MAX} keys; above that keep a counter \
             or a set, and read its size"
        );
        flaws.add("/source/scan/keys_max", detail);
    }
    let work = Work::Scan { pattern: pattern.into(), keys_max };
    Some(Source { work, class: Class::Scan, reply: Reply::Numbers, keys: Vec::new() })
}

fn run(
    command: &str,
    kind: &str,
    text: &str,
    (keys, args): (&[String], &[String]),
    path: &str,
    flaws: &mut Flaws,
) -> Option<Source> {
    for (name, list) in [("keys", keys), ("args", args)] {
        let pointer = format!("/source/{kind}/{name}");
        if list.len() > ARGS_MAX {
            flaws.add(&pointer, format!("at most {ARGS_MAX}"));
        }
        arguments(list, &pointer, flaws);
    }
    let path = flaws.take(&format!("/source/{kind}/path"), Path::parse(path))?;
    if path.fans_out() {
        flaws.add(format!("/source/{kind}/path"), "`*` needs a label, and a script gives none");
    }
    let mut all = vec![command.to_string(), text.to_string(), keys.len().to_string()];
    all.extend(keys.iter().chain(args).cloned());
    let work = Work::Call { args: all, path, equals: None };
    Some(Source { work, class: Class::Script, reply: Reply::Numbers, keys: keys.to_vec() })
}

fn arguments(args: &[String], pointer: &str, flaws: &mut Flaws) {
    for (i, arg) in args.iter().enumerate() {
        if arg.is_empty() || arg.len() > ARG_MAX {
            flaws.add(format!("{pointer}/{i}"), format!("expected 1 to {ARG_MAX} bytes"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn item(source: Value, more: Value) -> Result<Compiled, Vec<ItemFlaw>> {
        let mut doc = json!({ "name": "x", "scope": "tenant:pay", "source": source });
        doc.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        compile(&serde_json::from_value(doc).unwrap())
    }

    #[test]
    fn every_kind_of_source_compiles() {
        let none = json!({});
        for (source, class, commands) in [
            (json!({"info": {"field": "used_memory"}}), "none", 0),
            (
                json!({"info": {"field": "cmdstat_get", "section": "commandstats", "part": "calls"}}),
                "constant",
                1,
            ),
            (json!({"config": {"parameter": "maxmemory"}}), "constant", 1),
            (json!({"command": {"args": ["LLEN", "q"]}}), "constant", 1),
            (json!({"scan": {"pattern": "s:*", "keys_max": 5000}}), "scan", 60),
            (
                json!({"script": {"lua": "return redis.call('LLEN', KEYS[1])", "keys": ["q"]}}),
                "script",
                1,
            ),
            (json!({"function": {"function": "depth", "keys": ["q"]}}), "script", 1),
            (json!({"expr": "{a} / maxmemory"}), "none", 0),
        ] {
            let made =
                item(source.clone(), none.clone()).unwrap_or_else(|e| panic!("{source}: {e:?}"));
            assert_eq!((made.class().as_str(), made.commands()), (class, commands), "{source}");
        }
        let groups = json!({"command": {"args": ["XINFO", "GROUPS", "s"], "path": "*.lag"}});
        let made = item(groups, json!({"labels": {"group": "name"}})).unwrap();
        assert_eq!(made.series_max(), SERIES_MAX as u32);
    }

    #[test]
    fn a_bad_definition_is_refused_with_place_and_reason() {
        let long = "x".repeat(600);
        let llen = json!({"command": {"args": ["LLEN", "q"]}});
        for (source, more, pointer, why) in [
            (
                json!({"command": {"args": ["KEYS", "*"]}}),
                json!({}),
                "/source/command/args/0",
                "budget",
            ),
            (json!({"command": {"args": []}}), json!({}), "/source/command/args/0", "no command"),
            (
                json!({"command": {"args": ["LLEN", long]}}),
                json!({}),
                "/source/command/args/1",
                "512",
            ),
            (
                json!({"command": {"args": ["TYPE", "k"]}}),
                json!({}),
                "/source/command/equals",
                "word",
            ),
            (
                json!({"command": {"args": ["GET", "k"], "equals": "s3cret"}}),
                json!({}),
                "/source/command/equals",
                "only TYPE",
            ),
            (
                json!({"command": {"args": ["LLEN", "q"], "path": ".."}}),
                json!({}),
                "/source/command/path",
                "empty step",
            ),
            (
                json!({"command": {"args": ["XINFO", "GROUPS", "s"], "path": "*.lag"}}),
                json!({}),
                "/labels",
                "tells them apart",
            ),
            (
                json!({"info": {"field": "no_such_field"}}),
                json!({}),
                "/source/info/field",
                "section",
            ),
            (
                json!({"info": {"field": "x", "section": "everything"}}),
                json!({}),
                "/source/info/section",
                "memory",
            ),
            (
                json!({"config": {"parameter": "max*"}}),
                json!({}),
                "/source/config/parameter",
                "wildcards",
            ),
            (
                json!({"config": {"parameter": "requirepass"}}),
                json!({}),
                "/source/config/parameter",
                "secret",
            ),
            (
                json!({"scan": {"pattern": "*", "keys_max": 1_000_000}}),
                json!({}),
                "/source/scan/keys_max",
                "20000",
            ),
            (
                json!({"scan": {"pattern": "*", "keys_max": 10}}),
                json!({"cadence_s": 15}),
                "/cadence_s",
                "60 to",
            ),
            (
                json!({"script": {"lua": "while true do end"}}),
                json!({}),
                "/source/script/lua",
                "never end",
            ),
            (
                json!({"function": {"function": "a b"}}),
                json!({}),
                "/source/function/function",
                "letters",
            ),
            (json!({"expr": "1 +"}), json!({}), "/source/expr", "at character 4"),
            (json!({"expr": "1"}), json!({"on": "replica"}), "/on", "leave"),
            (llen.clone(), json!({"cadence_s": 5}), "/cadence_s", "15 to"),
            (llen.clone(), json!({"timeout_ms": 5000}), "/timeout_ms", "1000"),
            (llen.clone(), json!({"labels": {"a": "b"}}), "/labels", "`*`"),
            (llen.clone(), json!({"unit": "<b>"}), "/unit", "a-z"),
        ] {
            let flaws = item(source.clone(), more).expect_err(&source.to_string());
            let found = flaws.iter().any(|f| f.pointer == pointer && f.detail.contains(why));
            assert!(found, "{source}: {flaws:?}");
        }
        let groups = json!({"command": {"args": ["XINFO", "GROUPS", "s"], "path": "*.lag"}});
        for name in ["tenant", "Bad", "__x", ""] {
            let flaws = item(groups.clone(), json!({"labels": {name: "name"}})).unwrap_err();
            assert!(flaws[0].pointer.starts_with("/labels/"), "{name}: {flaws:?}");
        }
    }

    #[test]
    fn keys_of_several_slots_are_told_from_those_of_one() {
        let exists = |a: &str, b: &str| json!({"command": {"args": ["EXISTS", a, b]}});
        assert!(item(exists("a", "b"), json!({})).unwrap().is_cross_slot());
        assert!(!item(exists("{x}a", "{x}b"), json!({})).unwrap().is_cross_slot());
    }

    #[test]
    fn a_field_is_read_from_the_poll_only_when_it_is_what_info_prints() {
        let work = |field: &str| item(json!({"info": {"field": field}}), json!({})).unwrap().work;
        assert!(matches!(work("used_memory"), Work::Field(Field::UsedMemory)));
        let scaled =
            Field::all().iter().find(|f| f.info().scale != 1.0 && is_section(**f)).unwrap();
        assert!(matches!(work(scaled.info().name), Work::Info { .. }));
    }
}
