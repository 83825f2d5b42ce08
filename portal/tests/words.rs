//! The two language files against each other and against what the templates and the program ask.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use model::code::Code;

const EN: &str = include_str!("../i18n/en.ftl");
const ZH: &str = include_str!("../i18n/zh-CN.ftl");

/// key → names of its arguments.
fn keys(source: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut key = String::new();
    for line in source.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
        if line.starts_with(|c: char| c.is_ascii_alphabetic()) {
            key = line.split(" = ").next().unwrap().to_owned();
            assert!(found.insert(key.clone(), BTreeSet::new()).is_none(), "{key} stands twice");
        }
        let names = line
            .split("$")
            .skip(1)
            .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric()).collect::<String>());
        found.get_mut(&key).unwrap().extend(names);
    }
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path, ending: &str) -> Vec<(PathBuf, String)> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.extend(files(&path, ending));
        } else if path.extension().is_some_and(|e| e == ending) {
            let text = fs::read_to_string(&path).unwrap();
            out.push((path, text));
        }
    }
    out.sort();
    out
}

fn templates() -> Vec<(PathBuf, String)> {
    files(&root().join("templates"), "hbs")
}

/// Every `t "key" name=…` of the templates: (file, key, names).
fn asked() -> Vec<(String, String, BTreeSet<String>)> {
    let mut out = Vec::new();
    for (path, text) in templates() {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        for start in ["{{t \"", "(t \""] {
            for rest in text.split(start).skip(1) {
                let (key, rest) = rest.split_once('"').unwrap();
                out.push((file.clone(), key.to_owned(), names(rest)));
            }
        }
    }
    out
}

/// Names given up to the end of the call, not looking into nested calls.
fn names(rest: &str) -> BTreeSet<String> {
    let (mut depth, mut word, mut out) = (0, String::new(), BTreeSet::new());
    for c in rest.chars() {
        match c {
            '(' => depth += 1,
            ')' | '}' if depth == 0 => break,
            ')' => depth -= 1,
            '=' if depth == 0 => {
                out.insert(std::mem::take(&mut word));
            }
            c if c.is_ascii_alphanumeric() => word.push(c),
            _ => word.clear(),
        }
    }
    out
}

/// Families of words with every word the program has.
fn families() -> Vec<(&'static str, Vec<String>)> {
    let mut all = [of_items(), of_operations(), of_scores()].concat();
    all.extend(vec![
        ("title", portal::Page::ALL.iter().map(|p| p.id().to_owned()).collect()),
        (
            "nav",
            own(&[
                "overview",
                "services",
                "alerts",
                "incidents",
                "operations",
                "items",
                "score-policies",
                "docs",
            ]),
        ),
        ("quality", own(&["noisy", "never_acted_on", "flapping", "short", "silent"])),
        ("engine", own(&["embedded", "prometheus", "both"])),
        ("profile", own(&["cache", "store", "queue", "session"])),
        ("profilefrom", own(&["default", "guessed", "given"])),
        ("history", own(&["memory", "prometheus"])),
        ("lang", own(&["en", "zh-CN"])),
        ("theme", portal::Theme::ALL.iter().map(|t| t.as_str().to_owned()).collect()),
        ("verdict", own(&["up", "down", "unknown"])),
        ("grade", own(&["A", "B", "C", "D", "E", "unknown"])),
        ("level", own(&["info", "warning", "critical"])),
        ("phase", own(&["inactive", "pending", "firing", "recovering", "resolved"])),
        ("check", own(&["true", "false"])),
        ("role", own(&["master", "slave", "sentinel", "none"])),
        ("mode", own(&["standalone", "sentinel", "cluster", "sentinels"])),
        ("tier", own(&["core", "important", "general", "test"])),
        ("class", own(&["single", "host", "zone", "zone_durable"])),
        ("source", own(&["embedded", "alertmanager"])),
        ("danger", own(&["1", "2", "3", "4"])),
        (
            "event",
            own(&["planned", "claimed", "intent", "command", "outcome", "undo", "decision", "log"]),
        ),
        ("problem", Code::ALL.iter().map(|c| c.as_str().to_owned()).collect()),
    ]);
    all
}

/// Of operations, incidents and alerts.
fn of_operations() -> Vec<(&'static str, Vec<String>)> {
    vec![
        (
            "operation",
            own(&[
                "planned",
                "awaiting_approval",
                "queued",
                "running",
                "paused",
                "verifying",
                "done",
                "refused",
                "cancelled",
                "unwinding",
                "unwound",
                "stuck",
            ]),
        ),
        ("opkind", kinds()),
        ("opstart", kinds()),
        ("parameterstate", own(&["same", "differs", "unlike", "volatile", "unknown"])),
        ("consoleclass", own(&["read", "bounded"])),
        ("parameterrisk", own(&["low", "service", "data"])),
        ("risk-class", own(&["A", "B", "C"])),
        ("step", own(&["pending", "running", "done", "failed", "undoing", "undone", "stuck"])),
        ("incident", own(&["open", "acting", "waiting", "escalated", "closed"])),
        ("decision", own(&["auto", "ask", "page_only", "suppressed"])),
        (
            "evidence",
            own(&[
                "reading",
                "topology",
                "info",
                "slow_log",
                "clients",
                "latency",
                "memory",
                "operations",
            ]),
        ),
        ("delivery", own(&["waiting", "accepted", "rejected", "seen"])),
        ("silence", own(&["active", "pending", "expired"])),
        ("maintenance", own(&["running", "planned", "over"])),
        ("calendar", own(&["open", "closed"])),
        ("answer", own(&["yes", "no"])),
    ]
}

/// Of scores, forecasts and objectives.
fn of_scores() -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("healthsource", own(&["live", "whatif", "stored", "memory", "prometheus"])),
        ("mark", own(&["grade", "gate", "hour"])),
        (
            "input",
            own(&[
                "maxmemory_bytes",
                "used_memory_bytes",
                "maxclients",
                "connected_clients",
                "replicas_required",
                "replicas_healthy",
                "slow_per_min",
                "slow_share",
                "slow_worst_ms",
                "command_p99_ms",
                "probe_p99_ms",
                "cpu_ratio",
                "link_down_s",
                "lag_bytes",
                "backlog_bytes",
                "changes_24h",
                "evicted",
                "rss_bytes",
                "host_memory_bytes",
                "fragmentation",
                "client_memory_bytes",
                "rejected",
                "connections_per_s",
                "blocked_clients",
                "fork_s",
                "spikes_per_h",
                "slowlog_limit_ms",
                "growth_bytes_per_day",
            ]),
        ),
        (
            "dimension",
            own(&["availability", "memory", "connections", "slowlog", "child", "worst", "gate"]),
        ),
        ("resource", own(&["memory", "connections", "host_memory"])),
        ("outcome", own(&["ok", "degraded", "down"])),
        ("burn", own(&["page", "ticket"])),
        ("scale", own(&["instance", "shard", "service", "system", "tenant", "fleet"])),
    ]
}

/// Of custom items.
fn of_items() -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("itemsource", own(&["info", "config", "command", "scan", "script", "function", "expr"])),
        ("itemkind", own(&["gauge", "counter"])),
        ("itemon", own(&["auto", "master", "replica", "any"])),
        (
            "itemclass",
            own(&["none", "constant", "logarithmic", "samples", "groups", "scan", "script"]),
        ),
        (
            "itemfault",
            own(&[
                "timeout",
                "noperm",
                "unsupported",
                "wrong_type",
                "refused",
                "path",
                "not_a_number",
                "too_large",
                "budget",
                "series_limit",
                "reference",
                "connection",
            ]),
        ),
    ]
}

fn kinds() -> Vec<String> {
    model::operation::OperationKind::ALL.iter().map(|k| k.as_str().to_owned()).collect()
}

fn own(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

fn family_keys() -> BTreeSet<String> {
    let key = |family: &str, word: &String| format!("{family}-{}", word.replace('_', "-"));
    families()
        .iter()
        .flat_map(|(f, words)| words.iter().map(|w| key(f, w)).collect::<Vec<_>>())
        .collect()
}

#[test]
fn both_languages_have_the_same_keys() {
    let (en, zh) = (keys(EN), keys(ZH));
    let of = |k: &BTreeMap<String, BTreeSet<String>>| k.keys().cloned().collect::<Vec<_>>();
    assert_eq!(of(&en), of(&zh));
}

#[test]
fn a_translation_uses_no_argument_the_source_does_not_have() {
    let (en, zh) = (keys(EN), keys(ZH));
    for (key, args) in zh {
        assert!(args.is_subset(&en[&key]), "{key}: {args:?}, English has {:?}", en[&key]);
    }
}

#[test]
fn templates_ask_for_keys_that_exist_with_the_arguments_they_have() {
    let en = keys(EN);
    for (file, key, names) in asked() {
        let args = en.get(&key).unwrap_or_else(|| panic!("{file}: no key {key}"));
        assert_eq!(&names, args, "{file}: {key}");
    }
}

#[test]
fn every_word_of_the_program_has_its_key_in_both_languages() {
    let (en, zh) = (keys(EN), keys(ZH));
    for key in family_keys() {
        assert!(en.contains_key(&key) && zh.contains_key(&key), "{key}");
    }
}

#[test]
fn no_key_is_left_unused() {
    let mut used = family_keys();
    used.extend(asked().into_iter().map(|(_, key, _)| key));
    let sources = files(&root().join("src"), "rs");
    let unused: Vec<String> = keys(EN)
        .into_keys()
        .filter(|k| !used.contains(k))
        .filter(|k| !sources.iter().any(|(_, text)| text.contains(&format!("\"{k}\""))))
        .collect();
    assert_eq!(unused, Vec::<String>::new());
}

#[test]
fn templates_hold_no_raw_text_and_no_unescaped_output() {
    // Words that are the same in every language: the name, its two other faces, commands.
    let same = ["cachewarden"];
    for (path, text) in templates() {
        assert!(!text.contains("{{{") && !text.contains("{{&"), "{}", path.display());
        let mut plain = strip(&text, "<code", "</code>");
        plain = strip(&plain, "{{", "}}");
        for name in ["title=\"", "placeholder=\"", "aria-label=\"", "alt=\""] {
            for value in text.split(&format!(" {name}")).skip(1) {
                assert!(value.starts_with("{{"), "{}: {name} {}", path.display(), &value[..20]);
            }
        }
        plain = strip(&plain, "<", ">");
        let words: Vec<&str> = plain
            .split(|c: char| !c.is_alphabetic())
            .filter(|w| w.chars().count() > 1 && !same.contains(w))
            .collect();
        assert_eq!(words, Vec::<&str>::new(), "{}", path.display());
    }
}

fn strip(text: &str, open: &str, close: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(open) {
        out.push_str(&rest[..start]);
        out.push(' ');
        let after = &rest[start + open.len()..];
        rest = after.find(close).map_or("", |end| &after[end + close.len()..]);
    }
    out + rest
}
