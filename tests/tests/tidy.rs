//! Rules of the house that a machine can check: arrows between crates, fences around libraries,
//! sizes, file headers, forbidden words. A rule here has its reason beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which of our crates each crate may import. Arrows only point down.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("link", &["model"]),
    ("exporter", &["model", "link"]),
    ("scorer", &["model"]),
    ("store", &["model"]),
    ("alerter", &["model", "store"]),
    ("ops", &["model", "link", "store"]),
    ("portal", &["model"]),
    ("server", &["model", "link", "exporter", "scorer", "store", "alerter", "ops", "portal"]),
    ("cli", &["server", "model"]),
];

/// Libraries that live in one crate only, so that what they do has one place.
const FENCES: &[(&str, &str)] = &[("redis", "link"), ("sqlx", "store"), ("axum", "server")];

/// Crates that must stay free of IO and of the clock.
const PURE: &[(&str, &[&str])] = &[
    ("model", &["tokio", "sqlx", "reqwest", "redis", "axum"]),
    ("scorer", &["tokio", "sqlx", "reqwest", "redis", "axum", "futures-util", "async-trait"]),
    ("portal", &["tokio", "sqlx", "reqwest", "redis", "axum"]),
];

/// A file one can hold in the head.
const FILE_LINES_MAX: usize = 600;
/// A function that fits on a screen.
const FUNCTION_LINES_MAX: usize = 70;
/// Words that name no thing of the field.
const BANNED_SUFFIXES: &[&str] =
    &["Manager", "Helper", "Util", "Utils", "Impl", "Processor", "Wrapper"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the workspace").into()
}

fn manifest(krate: &str) -> toml::Table {
    let path = root().join(krate).join("Cargo.toml");
    fs::read_to_string(&path).unwrap().parse().unwrap()
}

fn dependencies(krate: &str, section: &str) -> Vec<String> {
    let table = manifest(krate);
    table
        .get(section)
        .and_then(|d| d.as_table())
        .map(|d| d.keys().cloned().collect())
        .unwrap_or_default()
}

fn crates() -> Vec<&'static str> {
    ARROWS.iter().map(|(name, _)| *name).collect()
}

/// Every Rust file of ours, with its text.
fn sources(of: &[&str]) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = of.iter().map(|c| root().join(c)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()) {
            let name = entry.file_name().unwrap().to_string_lossy().into_owned();
            if entry.is_dir() && name != "target" && name != "node_modules" {
                folders.push(entry);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&entry).unwrap();
                found.insert(entry.strip_prefix(root()).unwrap().into(), text);
            }
        }
    }
    found
}

/// The part of a file that ships: everything before its test module.
fn production(text: &str) -> &str {
    text.split("\n#[cfg(test)]").next().unwrap_or(text)
}

#[test]
fn crates_import_only_what_lies_below_them() {
    let ours = crates();
    for (krate, allowed) in ARROWS {
        for dep in dependencies(krate, "dependencies") {
            let fine = !ours.contains(&dep.as_str()) || allowed.contains(&dep.as_str());
            assert!(fine, "{krate} imports {dep}: the arrow points up or sideways");
        }
    }
}

#[test]
fn the_table_of_arrows_names_every_crate_of_the_workspace() {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let members = table["workspace"]["members"].as_array().unwrap();
    for member in members.iter().map(|m| m.as_str().unwrap()) {
        assert!(member == "tests" || crates().contains(&member), "{member} has no arrows");
    }
}

#[test]
fn fenced_libraries_stay_in_their_crate() {
    for (library, home) in FENCES {
        for krate in crates().iter().filter(|c| *c != home) {
            let all =
                [dependencies(krate, "dependencies"), dependencies(krate, "dev-dependencies")];
            let leaks = all.concat().contains(&library.to_string());
            assert!(!leaks, "{krate} imports {library}, which belongs to {home}");
        }
    }
}

#[test]
fn pure_crates_import_nothing_that_does_io() {
    for (krate, never) in PURE {
        for dep in dependencies(krate, "dependencies") {
            assert!(!never.contains(&dep.as_str()), "{krate} must not import {dep}");
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (path, text) in sources(&[crates(), vec!["tests"]].concat()) {
        let head = text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
        assert!(head.starts_with("//!"), "{} does not open with //!", path.display());
    }
}

#[test]
fn files_and_functions_stay_small_enough_to_read() {
    let mut wrong = Vec::new();
    for (path, text) in sources(&crates()) {
        let text = production(&text);
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{}: {lines} lines, allowed {FILE_LINES_MAX}", path.display()));
        }
        for (name, length) in functions(text) {
            if length > FUNCTION_LINES_MAX {
                let at = path.display();
                wrong.push(format!(
                    "{at}: fn {name} has {length} lines, allowed {FUNCTION_LINES_MAX}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Functions with their length, found by indentation: rustfmt closes a body at the column of `fn`.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(after) = line.trim_start().strip_prefix_fn() else { continue };
        let indent = line.len() - line.trim_start().len();
        let close = format!("{}}}", " ".repeat(indent));
        let end = lines[start..].iter().position(|l| *l == close);
        if let Some(length) = end {
            found.push((after, length + 1));
        }
    }
    found
}

trait StripFn {
    fn strip_prefix_fn(&self) -> Option<String>;
}

impl StripFn for str {
    fn strip_prefix_fn(&self) -> Option<String> {
        let words: Vec<&str> = self.split_whitespace().take(6).collect();
        let at = words.iter().position(|w| *w == "fn")?;
        let lead = ["pub", "pub(crate)", "pub(super)", "async", "const", "fn"];
        words[..at].iter().all(|w| lead.contains(w)).then_some(())?;
        let name = words.get(at + 1)?;
        Some(name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
    }
}

#[test]
fn no_type_hides_behind_an_empty_word() {
    for (path, text) in sources(&crates()) {
        for line in text.lines() {
            let mut words = line.trim_start().trim_start_matches("pub(crate) ").split_whitespace();
            let words: Vec<&str> = words.by_ref().take(3).collect();
            let Some(at) = words.iter().position(|w| matches!(*w, "struct" | "enum" | "trait"))
            else {
                continue;
            };
            let Some(name) = words.get(at + 1) else { continue };
            let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
            let bad = BANNED_SUFFIXES.iter().any(|s| name.ends_with(s) && name != *s);
            assert!(!bad, "{}: {name} ends in a word that says nothing", path.display());
        }
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for krate in crates() {
        let table = manifest(krate);
        let inherits = table.get("lints").and_then(|l| l.get("workspace")) == Some(&true.into());
        assert!(inherits, "{krate}/Cargo.toml lacks [lints] workspace = true");
    }
}

#[test]
fn store_methods_that_touch_tenant_data_ask_who_calls() {
    // Loads of the process itself, which answer nobody by themselves.
    let free =
        ["open", "close", "clock", "setting_", "engine_name", "inventory", "session_", "login_"];
    let nouns = [
        "alert_list",
        "alert_get",
        "operation_list",
        "operation_get",
        "incident_list",
        "incident_get",
        "policy_put",
        "apply",
        "runbook_mode_set",
        "kill_switch_set",
        "audit_list",
    ];
    let text: String = sources(&["store"]).into_values().collect();
    for noun in nouns.iter().filter(|n| !free.contains(n)) {
        let Some(at) = text.find(&format!("pub async fn {noun}(")) else {
            panic!("store has no method {noun}");
        };
        let head: String = text[at..].chars().take_while(|c| *c != '{').collect();
        assert!(head.contains("Caller"), "{noun} does not take a Caller: {head}");
    }
}

#[test]
fn no_test_is_switched_off() {
    for (path, text) in sources(&[crates(), vec!["tests"]].concat()) {
        let marker = concat!("#[", "ignore");
        assert!(!text.contains(marker), "{} ignores a test", path.display());
    }
}

#[test]
fn shell_scripts_stop_at_the_first_error() {
    let mut folders = vec![root().join("deploy"), root().join("tests"), root().join(".ci")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "sh") || path.ends_with("run") {
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.contains("set -euo pipefail"), "{}", path.display());
            }
        }
    }
}
