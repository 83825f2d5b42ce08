//! `policy`: threshold policies from files, with what stands against them and whom they reach.
//!
//! Invariant: what is published is checked by the server against everything in force; a change is made
//! on the revision that was seen; a file is only read.

use std::fs;
use std::path::Path;

use model::policy::PolicyDoc;
use reqwest::Method;
use reqwest::header::IF_MATCH;
use serde_json::{Value, json};

use crate::args::{Layer, Output, Policy};
use crate::client::Client;
use crate::fail::Fail;
use crate::read::{many, one, segment};
use crate::table::{self, Column, text};

const POLICIES: &[Column] = &[
    ("POLICY", "id"),
    ("JUDGES", "signal"),
    ("LEVELS", "said"),
    ("LAYERS", "layered"),
    ("ON", "enabled"),
    ("ENGINE", "engine"),
    ("FIRING", "firing"),
    ("BY", "by"),
    ("AT", "at"),
];
const FIELDS: &[Column] = &[
    ("FIELD", "field"),
    ("VALUE", "value"),
    ("SET BY", "origin"),
    ("BEAT", "beat"),
    ("LOCKED", "locked"),
    ("CAP", "cap"),
];
const REVISIONS: &[Column] = &[
    ("SCOPE", "scope"),
    ("SELECTOR", "selector"),
    ("REV", "rev"),
    ("AT", "at"),
    ("BY", "by"),
    ("REASON", "reason"),
    ("STATE", "state"),
];
const REACH: &[Column] =
    &[("TENANT", "tenant"), ("INSTANCES", "instances"), ("JUDGED OTHERWISE", "changed")];

const OUTCOMES: &[Column] = &[
    ("", "name"),
    ("ALERTS", "fired"),
    ("A WEEK", "pages_per_week"),
    ("MINUTES", "minutes_firing"),
    ("FLAPPING", "flaps"),
    ("INSTANCES", "instances"),
];
const FILES: &[Column] = &[
    ("FILE", "name"),
    ("POLICIES", "held"),
    ("IN FORCE SINCE", "published_at"),
    ("ERROR", "error"),
];
const SUGGESTIONS: &[Column] =
    &[("LEVEL", "level"), ("FIRE", "fire"), ("CLEAR", "clear"), ("A WEEK", "pages_per_week")];

/// `policy`.
pub async fn policy(client: &Client, command: Policy, output: Output) -> Result<(), Fail> {
    match command {
        Policy::List { q, scope } => list(client, &q, &scope, output).await,
        Policy::Show { id, layer, instance, document } => {
            let page = page(client, &id, &layer, instance.as_deref()).await?;
            if document {
                print!("{}", page["text"].as_str().unwrap_or_default());
                return Ok(());
            }
            show(&page, output)
        }
        Policy::Effective { instance, policy } => {
            effective(client, &instance, policy.as_deref(), output).await
        }
        Policy::History { id } => history(client, &id, output).await,
        Policy::Lint { files } => lint(client, &files, output).await,
        Policy::Test { files } => test(&files),
        Policy::Rules { name } => rules(client, name.as_deref(), output).await,
        Policy::Edit { id, layer, reason } => edit(client, &id, &layer, &reason, output).await,
        Policy::Backtest { file, from, to, step, pages_per_week } => {
            let wish = json!({
                "text": read(&file)?, "from": from, "to": to, "step": step,
                "pages_per_week": pages_per_week,
            });
            backtest(client, &file.display().to_string(), &wish, output).await
        }
        Policy::Publish { file, reason, rev, dry_run } => {
            let said = read(&file)?;
            let doc = parsed(&file, &said)?;
            if dry_run {
                let page = check(client, &file.display().to_string(), &said).await?;
                return verdict(&page, output);
            }
            let seen = match rev {
                Some(rev) => rev,
                None => present(client, &doc).await?,
            };
            let reason = reason.unwrap_or_default();
            let name = file.display().to_string();
            show(&publish(client, &name, &doc.policy, &said, seen, &reason).await?, output)
        }
        Policy::Restore { id, rev, layer, reason } => {
            let body = place(&layer, json!({ "reason": reason, "rev": rev }))?;
            let path = format!("{}/restore", path(&id));
            let request = client.request(Method::POST, &path).json(&body);
            show(&client.send(request).await?.value, output)
        }
        Policy::Retire { id, layer, reason } => {
            let page = page(client, &id, &layer, None).await?;
            let body = place(&layer, json!({ "reason": reason, "rev": page["rev"] }))?;
            let path = format!("{}/retire", path(&id));
            let request = client.request(Method::POST, &path).json(&body);
            show(&client.send(request).await?.value, output)
        }
    }
}

fn path(id: &str) -> String {
    format!("/policies/{}", segment(id))
}

/// Adds the place of a document to a body.
fn place(layer: &Layer, mut body: Value) -> Result<Value, Fail> {
    let pair = |part: &str| {
        let (label, words) = part.split_once('=')?;
        let words: Vec<&str> = words.split('|').map(str::trim).collect();
        Some((label.trim().to_string(), json!(words)))
    };
    let parts = layer.selector.split(',').filter(|part| !part.trim().is_empty());
    let selector: Option<serde_json::Map<String, Value>> = parts.map(pair).collect();
    let wrong =
        || Fail::Usage(format!("--selector {:?}: expected label=word|word,…", layer.selector));
    body["selector"] = selector.ok_or_else(wrong)?.into();
    body["scope"] = layer.scope.as_str().into();
    Ok(body)
}

async fn page(
    client: &Client,
    id: &str,
    layer: &Layer,
    instance: Option<&str>,
) -> Result<Value, Fail> {
    let mut query = vec![("selector", layer.selector.as_str())];
    match instance {
        Some(id) => query.push(("instance", id)),
        None => query.push(("scope", layer.scope.as_str())),
    }
    let request = client.request(Method::GET, &path(id)).query(&query);
    Ok(client.send(request).await?.value)
}

async fn list(client: &Client, q: &str, scope: &str, output: Output) -> Result<(), Fail> {
    let query: Vec<(&str, &str)> =
        [("q", q), ("in", scope)].into_iter().filter(|(_, v)| !v.is_empty()).collect();
    let mut found = client.list("/policies", &query, None).await?;
    if output == Output::Table {
        for item in &mut found {
            item["said"] = joined(&item["levels"]).into();
            item["layered"] = joined(&item["layers"]).into();
        }
    }
    many(POLICIES, &found, output);
    Ok(())
}

fn joined(list: &Value) -> String {
    list.as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join("; ")
}

async fn effective(
    client: &Client,
    instance: &str,
    policy: Option<&str>,
    output: Output,
) -> Result<(), Fail> {
    let query = [("instance", instance), ("policy", policy.unwrap_or_default())];
    let request = client.request(Method::GET, "/policies/effective").query(&query);
    let answer = client.send(request).await?.value;
    if output != Output::Table {
        one(&answer, output);
        return Ok(());
    }
    for item in answer["items"].as_array().into_iter().flatten() {
        println!("{}", text(&item["policy"]));
        if item["problem"] != "" {
            println!("  cannot be evaluated: {}", text(&item["problem"]));
        }
        fields(&item["effective"]);
    }
    Ok(())
}

fn fields(list: &Value) {
    let mut list = list.as_array().cloned().unwrap_or_default();
    for field in &mut list {
        let beaten = field["beaten"].as_array().into_iter().flatten();
        let beaten = beaten.map(|b| format!("{} ({})", text(&b["value"]), text(&b["origin"])));
        field["beat"] = beaten.collect::<Vec<_>>().join("; ").into();
    }
    table::print(FIELDS, &list);
}

async fn history(client: &Client, id: &str, output: Output) -> Result<(), Fail> {
    let all = client.get(&format!("{}/revisions", path(id))).await?;
    let mut all = all["items"].as_array().cloned().unwrap_or_default();
    if output == Output::Table {
        for r in &mut all {
            r["state"] = if r["doc"].is_null() { "taken out of force" } else { "" }.into();
            let selector = r["selector"].as_object().is_some_and(|s| !s.is_empty());
            r["selector"] = if selector { r["selector"].to_string() } else { String::new() }.into();
        }
    }
    many(REVISIONS, &all, output);
    Ok(())
}

/// What is in force at a scope.
fn show(page: &Value, output: Output) -> Result<(), Fail> {
    if output != Output::Table {
        one(page, output);
        return Ok(());
    }
    let state = match page["rev"].as_i64() {
        Some(0) | None => "no document of its own".to_string(),
        Some(rev) => format!("revision {rev}"),
    };
    let firing = text(&page["firing"]);
    println!("{} at {}, {state}, {firing} firing", text(&page["id"]), text(&page["scope"]));
    if page["problem"] != "" {
        println!("  cannot be evaluated: {}", text(&page["problem"]));
    }
    fields(&page["effective"]);
    Ok(())
}

fn read(file: &Path) -> Result<String, Fail> {
    fs::read_to_string(file).map_err(|e| Fail::Usage(format!("{}: {e}", file.display())))
}

/// The document of a text; a fault names its line.
fn parsed(file: &Path, said: &str) -> Result<PolicyDoc, Fail> {
    serde_saphyr::from_str(said).map_err(|e| Fail::Usage(format!("{}: {e}", file.display())))
}

/// Revision of a document that is in force; 0: none is.
async fn present(client: &Client, doc: &PolicyDoc) -> Result<i64, Fail> {
    let selector = serde_json::to_string(&doc.selector).unwrap_or_default();
    let selector = if doc.selector.is_empty() { String::new() } else { selector };
    let query = [("scope", doc.scope.to_string()), ("selector", selector), ("new", "1".into())];
    let request = client.request(Method::GET, &path(&doc.policy)).query(&query);
    let page = client.send(request).await?.value;
    Ok(page["rev"].as_i64().unwrap_or(0))
}

async fn publish(
    client: &Client,
    name: &str,
    policy: &str,
    said: &str,
    seen: i64,
    reason: &str,
) -> Result<Value, Fail> {
    let body = json!({ "text": said, "reason": reason, "rev": seen });
    let mut request = client.request(Method::PUT, &path(policy)).json(&body);
    if seen > 0 {
        request = request.header(IF_MATCH, format!("\"{seen}\""));
    }
    match client.send(request).await {
        Err(Fail::Problem(p)) if p.status == 422 => {
            told(name, &Value::from(p.errors.clone()));
            Err(Fail::Problem(p))
        }
        answer => Ok(answer?.value),
    }
}

/// Asks what stands against a text; one that is no document at all is a fault, too.
async fn check(client: &Client, name: &str, said: &str) -> Result<Value, Fail> {
    let request = client.request(Method::POST, "/policies/check").json(&json!({ "text": said }));
    match client.send(request).await {
        Ok(answer) => {
            told(name, &answer.value["check"]["faults"]);
            Ok(answer.value)
        }
        Err(Fail::Problem(p)) if p.status == 422 => {
            told(name, &Value::from(p.errors.clone()));
            Ok(json!({ "check": { "faults": p.errors, "reach": [] } }))
        }
        Err(e) => Err(e),
    }
}

/// `file:line: field: what is wrong`, as compilers say it.
fn told(name: &str, faults: &Value) {
    for fault in faults.as_array().into_iter().flatten() {
        eprintln!("{}", fault_line(name, fault));
    }
}

fn fault_line(name: &str, fault: &Value) -> String {
    let line = fault["line"].as_u64().map(|line| format!(":{line}")).unwrap_or_default();
    let pointer = fault["pointer"].as_str().unwrap_or_default();
    let field = pointer.trim_start_matches('/').replace('/', ".");
    let colon = if field.is_empty() { "" } else { ": " };
    format!("{name}{line}: {field}{colon}{}", text(&fault["detail"]))
}

async fn lint(client: &Client, files: &[std::path::PathBuf], output: Output) -> Result<(), Fail> {
    let (mut wrong, mut all) = (0, Vec::new());
    for file in files {
        let page = check(client, &file.display().to_string(), &read(file)?).await?;
        let faults = page["check"]["faults"].as_array().map_or(0, Vec::len);
        wrong += faults;
        all.push(json!({ "file": file.display().to_string(), "faults": page["check"]["faults"] }));
        if output == Output::Table && faults == 0 {
            println!("{}: fine", file.display());
        }
    }
    if output != Output::Table {
        many(&[], &all, output);
    }
    match wrong {
        0 => Ok(()),
        n => Err(Fail::Refused(format!("{n} faults"))),
    }
}

/// How a dry run ends: refused when the document could not be published as it is.
fn verdict(page: &Value, output: Output) -> Result<(), Fail> {
    if output != Output::Table {
        one(&page["check"], output);
    } else {
        let reach = page["check"]["reach"].as_array().cloned().unwrap_or_default();
        table::print(REACH, &reach);
    }
    match page["check"]["faults"].as_array().map_or(0, Vec::len) {
        0 => Ok(()),
        _ => Err(Fail::Refused("it cannot be published as it is".into())),
    }
}

/// Runs tests; nothing is asked of a server.
fn test(files: &[std::path::PathBuf]) -> Result<(), Fail> {
    let (mut passed, mut failed) = (0, 0);
    for file in files {
        let name = file.display();
        let found = server::policy_tests(&read(file)?);
        for verdict in found.map_err(|e| Fail::Usage(format!("{name}: {e}")))? {
            if verdict.failures.is_empty() {
                passed += 1;
                continue;
            }
            failed += 1;
            for failure in &verdict.failures {
                eprintln!("{name}: {}: {failure}", verdict.name);
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    match failed {
        0 => Ok(()),
        n => Err(Fail::Ended(format!("{n} tests failed"))),
    }
}

/// Rule files: all of them, or the text of one.
async fn rules(client: &Client, name: Option<&str>, output: Output) -> Result<(), Fail> {
    if let Some(name) = name {
        let request = client.request(Method::GET, &format!("/rules/{}", segment(name)));
        let (_, text) = client.text(request).await?;
        print!("{text}");
        return Ok(());
    }
    let all = client.get("/rules").await?;
    if output != Output::Table {
        one(&all, output);
        return Ok(());
    }
    let mut items = all["items"].as_array().cloned().unwrap_or_default();
    items.iter_mut().for_each(|item| item["held"] = joined(&item["policies"]).into());
    table::print(FILES, &items);
    for (policy, why) in all["problems"].as_object().into_iter().flatten() {
        println!("cannot be said in rules  {policy}: {}", text(why));
    }
    for d in all["differences"].as_array().into_iter().flatten() {
        let (here, there) = (text(&d["only_embedded"]), text(&d["only_prometheus"]));
        println!("shadow of {}: {here} fire here only, {there} there only", text(&d["policy"]));
    }
    Ok(())
}

/// Asks what a document would have done.
async fn backtest(client: &Client, name: &str, wish: &Value, output: Output) -> Result<(), Fail> {
    let request = client.request(Method::POST, "/policies/backtest").json(wish);
    let page = match client.send(request).await {
        Err(Fail::Problem(p)) if p.status == 422 => {
            told(name, &Value::from(p.errors.clone()));
            return Err(Fail::Problem(p));
        }
        answer => answer?.value,
    };
    let found = &page["backtest"];
    if output != Output::Table {
        one(found, output);
        return Ok(());
    }
    let data = &found["data"];
    let covered = data["coverage"].as_f64().unwrap_or(0.0) * 100.0;
    println!(
        "{} to {}, from {}, {covered:.0} % covered, {} instances, {} of them unknown",
        text(&found["from"]),
        text(&found["to"]),
        text(&data["source"]),
        text(&data["instances"]),
        text(&data["without_data"]),
    );
    for note in data["notes"].as_array().into_iter().flatten() {
        println!("  {}", text(note));
    }
    let mut rows = Vec::new();
    for (name, outcome) in [("this document", &found["draft"]), ("in force now", &found["current"])]
    {
        if !outcome.is_null() {
            let mut row = outcome.clone();
            row["name"] = name.into();
            rows.push(row);
        }
    }
    table::print(OUTCOMES, &rows);
    let more = found["versus"]["per_day"].as_f64().unwrap_or(0.0);
    println!("{more:+.1} alerts a day");
    let suggestions = found["suggestions"].as_array().cloned().unwrap_or_default();
    if !suggestions.is_empty() {
        println!("thresholds that page no more than asked for:");
        table::print(SUGGESTIONS, &suggestions);
    }
    Ok(())
}

/// Lets the person change the document; a text that is refused is kept, so that no work is lost.
async fn edit(
    client: &Client,
    id: &str,
    layer: &Layer,
    reason: &str,
    output: Output,
) -> Result<(), Fail> {
    let page = page(client, id, layer, None).await?;
    let before = page["text"].as_str().unwrap_or_default().to_string();
    let name = format!("cachewarden-{}-{}.yaml", id.replace('/', "-"), std::process::id());
    let file = std::env::temp_dir().join(name);
    fs::write(&file, &before).map_err(|e| Fail::Usage(format!("{}: {e}", file.display())))?;
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok());
    let editor = editor.filter(|e| !e.trim().is_empty()).unwrap_or_else(|| "vi".into());
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let ended = std::process::Command::new(program).args(words).arg(&file).status();
    let ended = ended.map_err(|e| Fail::Usage(format!("{editor}: {e}; set EDITOR")))?;
    let after = read(&file)?;
    if !ended.success() || after == before {
        let _ = fs::remove_file(&file);
        println!("nothing was changed");
        return Ok(());
    }
    let seen = page["rev"].as_i64().unwrap_or(0);
    let shown = file.display().to_string();
    match publish(client, &shown, id, &after, seen, reason).await {
        Ok(page) => {
            let _ = fs::remove_file(&file);
            show(&page, output)
        }
        Err(e) => {
            eprintln!("what you wrote is kept in {shown}");
            Err(e)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_as_compilers_do() {
        let fault = json!({"line": 7, "pointer": "/levels/critical/fire", "detail": "too high"});
        assert_eq!(fault_line("a.yaml", &fault), "a.yaml:7: levels.critical.fire: too high");
        let whole = json!({"line": null, "pointer": "", "detail": "no document"});
        assert_eq!(fault_line("a.yaml", &whole), "a.yaml: no document");
    }

    #[test]
    fn a_selector_is_written_as_labels_with_words() {
        let layer =
            |selector: &str| Layer { scope: "tenant:pay".into(), selector: selector.into() };
        let body = place(&layer("tier=core|important, env=prod"), json!({ "rev": 1 })).unwrap();
        assert_eq!(
            body,
            json!({ "rev": 1, "scope": "tenant:pay",
                "selector": { "tier": ["core", "important"], "env": ["prod"] } })
        );
        assert!(place(&layer("tier"), json!({})).is_err());
    }
}
