//! The Grafana dashboards: they are what the code here says, ask only for series that exist, and show
//! data of a real fleet through a real Prometheus. `BLESS=1` rewrites `dashboards/`.
#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]
#![allow(missing_docs, reason = "tests are their own reader")]

mod board;
mod boards;
mod compat;
mod grafana;
mod live;
mod names;
mod policy;
mod promql;
mod rules;
mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use board::{Board, Panel};
use names::Known;
use promql::Query;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where a panel's figures come from: the catalogue's own sentences.
fn sources(panel: &Panel, known: &BTreeMap<String, Known>) -> String {
    let mut names = BTreeSet::new();
    for target in &panel.targets {
        names.extend(promql::read(&target.expr).unwrap().asked.into_iter().map(|a| a.name));
    }
    let says = |name: &String| match known.get(name).map(|k| k.help.as_str()) {
        Some("") | None => format!("- `{name}`"),
        Some(help) => format!("- `{name}`: {help}"),
    };
    names.iter().map(says).collect::<Vec<_>>().join("\n")
}

/// Every query of every dashboard with its place, for messages.
fn queries() -> Vec<(Board, Panel, Query, String)> {
    let mut all = Vec::new();
    for board in boards::all() {
        for panel in board.panels() {
            for target in &panel.targets {
                let query = promql::read(&target.expr).unwrap_or_else(|e| panic!("{e}"));
                let at = format!("{} / {}: {}", board.uid, panel.title, target.expr);
                all.push((board.clone(), panel.clone(), query, at));
            }
        }
    }
    all
}

#[test]
fn the_committed_dashboards_are_what_the_catalogue_and_the_code_say() {
    let known = names::known();
    let folder = repository().join("dashboards");
    let mut wanted = BTreeSet::new();
    for board in boards::all() {
        let text = board.text(|panel| sources(panel, &known));
        let path = folder.join(board.file());
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let stale = "is stale; BLESS=1 cargo test -p tests --test dashboards rewrites it";
        assert!(committed == text, "{} {stale}", path.display());
        wanted.insert(board.file());
    }
    let there = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name());
    let there: BTreeSet<String> = there.map(|n| n.into_string().unwrap()).collect();
    assert_eq!(there, wanted, "no other file lies there");
}

#[test]
fn a_query_asks_only_for_series_that_exist_and_uses_only_their_labels() {
    let known = names::known();
    let mut wrong = Vec::new();
    for (_, _, query, at) in queries() {
        let mut labels = BTreeSet::new();
        for asked in &query.asked {
            let Some(series) = known.get(&asked.name) else {
                wrong.push(format!("{at}: no series is called {}", asked.name));
                continue;
            };
            labels.extend(series.labels.clone());
            for (label, _) in &asked.matchers {
                if !series.labels.contains(label) {
                    wrong.push(format!("{at}: {} has no label {label}", asked.name));
                }
            }
        }
        let strange = query.named.iter().filter(|l| !labels.contains(*l));
        wrong.extend(strange.map(|l| format!("{at}: no series of it has a label {l}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn counters_stand_under_rates_and_gauges_never_do() {
    let known = names::known();
    let mut wrong = Vec::new();
    for (_, _, query, at) in queries() {
        for asked in &query.asked {
            let Some(series) = known.get(&asked.name) else { continue };
            let by = asked.ranged_by.as_deref().unwrap_or("nothing");
            let rated = matches!(by, "rate" | "irate" | "increase");
            if series.counter != rated {
                wrong.push(format!("{at}: {} stands under {by}", asked.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_lean_profile_is_enough_for_every_panel_and_rule() {
    let known = names::known();
    let rules = names::rules().into_iter().map(|r| (promql::read(&r.expr).unwrap(), r.name));
    for (query, at) in queries().into_iter().map(|(_, _, q, at)| (q, at)).chain(rules) {
        for asked in &query.asked {
            let lean = known.get(&asked.name).is_none_or(|k| k.lean);
            assert!(lean, "{at}: {} is only in the full profile", asked.name);
        }
    }
}

#[test]
fn a_legend_and_a_click_name_only_labels_the_query_answers() {
    let known = names::known();
    let of = |name: &str| known.get(name).map(|k| k.labels.clone()).unwrap_or_default();
    let mut wrong = Vec::new();
    for (_, panel, query, at) in queries() {
        let answers = query.answers(&of);
        let legend = panel.targets.iter().find(|t| at.ends_with(&t.expr)).unwrap().legend;
        let named = legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap());
        for label in named.chain(panel.opened_by().iter().copied()) {
            if !answers.contains(label) {
                wrong.push(format!("{at}: its answer has no label {label}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Labels a series of that level surely has: roll-ups above a service have no service.
fn carried(asked: &promql::Asked, series: &Known) -> BTreeSet<String> {
    let level = asked.matchers.iter().find(|(l, _)| l == "level").map(|(_, v)| v.as_str());
    let depth = match (asked.name.starts_with("cachewarden_health_"), level) {
        (true, Some("fleet")) => 0,
        (true, Some("tenant")) => 1,
        (true, Some("system")) => 2,
        (true, Some("service" | "shard")) => 3,
        _ => 5,
    };
    let chain = ["tenant", "system", "service", "instance", "zone"];
    chain[..depth].iter().map(|l| l.to_string()).filter(|l| series.labels.contains(l)).collect()
}

#[test]
fn every_query_keeps_to_what_the_variables_choose() {
    let known = names::known();
    let mut wrong = Vec::new();
    for (board, _, query, at) in queries() {
        for asked in &query.asked {
            let Some(series) = known.get(&asked.name) else { continue };
            let has = carried(asked, series);
            // A panel about services or tenants need not follow the choice of one below them.
            let chosen: Vec<&str> = board.vars.iter().map(|v| v.name).collect();
            for var in chosen.iter().filter(|v| has.contains(**v) && **v == "tenant") {
                let kept = asked.matchers.contains(&(var.to_string(), format!("${var}")));
                if !kept {
                    wrong.push(format!("{at}: {} does not follow ${var}", asked.name));
                }
            }
            for (label, value) in &asked.matchers {
                let var = value.strip_prefix('$');
                if var.is_some_and(|v| !chosen.contains(&v) || v != label) {
                    wrong.push(format!("{at}: {label} follows ${}", var.unwrap_or_default()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_variable_looks_only_at_those_before_it_and_at_series_that_have_it() {
    let known = names::known();
    for board in boards::all() {
        let mut before = BTreeSet::new();
        for var in &board.vars {
            for asked in promql::read(var.of).unwrap().asked {
                assert!(known[&asked.name].labels.contains(var.name), "{}", var.of);
                for (label, value) in asked.matchers {
                    assert_eq!(value, format!("${label}"));
                    assert!(before.contains(&label), "{}: {} before its time", board.uid, label);
                }
            }
            before.insert(var.name.to_string());
        }
    }
}

#[test]
fn every_panel_says_what_it_is_in_words_that_end() {
    let mut uids = BTreeSet::new();
    for board in boards::all() {
        assert!(uids.insert(board.uid) && board.uid.starts_with("cw-"), "{}", board.uid);
        let mut titles = BTreeSet::new();
        for panel in board.panels() {
            let at = format!("{} / {}", board.uid, panel.title);
            assert!(titles.insert(panel.title), "{at}: twice");
            assert!(panel.what.len() > 20 && panel.what.ends_with(['.', '?']), "{at}");
            assert!(!panel.unit.is_empty() && !panel.targets.is_empty(), "{at}");
            let mut legends = BTreeSet::new();
            assert!(panel.targets.iter().all(|t| legends.insert(t.legend)), "{at}: legends");
        }
    }
    let opened = boards::all().into_iter().flat_map(|b| b.panels().cloned().collect::<Vec<_>>());
    for uid in opened.filter_map(|p| p.opened()) {
        assert!(uids.contains(uid), "a click opens {uid}, which is no dashboard");
    }
}
