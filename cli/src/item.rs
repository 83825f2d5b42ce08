//! `item`: custom monitoring items from a file, with their cost, their tests and their history.
//!
//! Invariant: a change is made on the revision that was read a moment before; a file is only read.

use std::fs;
use std::path::Path;

use reqwest::Method;
use reqwest::header::IF_MATCH;
use serde_json::{Value, json};

use crate::args::{Item, Output};
use crate::client::Client;
use crate::fail::Fail;
use crate::read::{many, one, segment};
use crate::table::{self, Column, text};

const ITEMS: &[Column] = &[
    ("ID", "id"),
    ("SOURCE", "source"),
    ("UNIT", "item.unit"),
    ("EVERY_S", "item.cadence_s"),
    ("ENABLED", "item.enabled"),
    ("VALUES", "with_value"),
    ("FAULTS", "with_fault"),
    ("REV", "rev"),
    ("BY", "by"),
];
const REVISIONS: &[Column] = &[
    ("REV", "rev"),
    ("AT", "at"),
    ("BY", "by"),
    ("DELETED", "deleted"),
    ("REASON", "reason"),
    ("SOURCE", "item.source"),
];
const POINTS: &[Column] = &[
    ("INSTANCE", "instance"),
    ("LABELS", "labels"),
    ("VALUE", "value"),
    ("FAULT", "fault"),
    ("AT", "at"),
];

/// `item`.
pub async fn item(client: &Client, command: Item, output: Output) -> Result<(), Fail> {
    match command {
        Item::List { q, scope } => list(client, &q, &scope, output).await,
        Item::Get { id } => {
            let page = client.get(&path(&id)).await?;
            show(&page, output)
        }
        Item::History { id } => {
            let page = client.get(&path(&id)).await?;
            let revisions = page["revisions"].as_array().cloned().unwrap_or_default();
            many(REVISIONS, &revisions, output);
            Ok(())
        }
        Item::Apply { file, reason, dry_run } => {
            apply(client, &file, &reason, dry_run, output).await
        }
        Item::Test { file, on } => {
            let body = json!({ "item": read(&file)?, "instance": on });
            let request = client.request(Method::POST, "/items/test").json(&body);
            tested(&client.send(request).await?.value, output)
        }
        Item::Restore { id, rev, reason } => {
            let body = json!({ "rev": rev, "reason": reason });
            let path = format!("{}/restore", path(&id));
            let request = client.request(Method::POST, &path).json(&body);
            show(&client.send(request).await?.value, output)
        }
        Item::Delete { id, reason } => {
            let present = client.get(&path(&id)).await?;
            let request = client.request(Method::DELETE, &path(&id));
            let request = request.header(IF_MATCH, etag(&present)).query(&[("reason", &reason)]);
            client.send(request).await?;
            println!("{id} is not read any more; `cachewarden item history {id}` keeps it");
            Ok(())
        }
    }
}

fn path(id: &str) -> String {
    format!("/items/{}", segment(id))
}

fn etag(page: &Value) -> String {
    format!("\"{}\"", page["rev"])
}

async fn list(client: &Client, q: &str, scope: &str, output: Output) -> Result<(), Fail> {
    let query: Vec<(&str, &str)> =
        [("q", q), ("in", scope)].into_iter().filter(|(_, v)| !v.is_empty()).collect();
    let mut found = client.list("/items", &query, None).await?;
    if output == Output::Table {
        for item in &mut found {
            item["source"] = source(item).into();
        }
    }
    many(ITEMS, &found, output);
    Ok(())
}

fn source(item: &Value) -> String {
    let source = item["item"]["source"].as_object();
    source.and_then(|s| s.keys().next()).cloned().unwrap_or_default()
}

async fn apply(
    client: &Client,
    file: &Path,
    reason: &str,
    dry_run: bool,
    output: Output,
) -> Result<(), Fail> {
    let item = read(file)?;
    let body = json!({ "item": item, "reason": reason });
    let checked = client.request(Method::POST, "/items/check").json(&json!({ "item": item }));
    let checked = client.send(checked).await?.value;
    if dry_run {
        show(&checked, output)?;
        return match checked["flaws"].as_array().is_none_or(Vec::is_empty) {
            true => Ok(()),
            false => Err(Fail::Refused("it cannot be saved as it is".into())),
        };
    }
    let id = format!("{}@{}", text(&item["name"]), text(&item["scope"]));
    let mut request = client.request(Method::PUT, &path(&id)).json(&body);
    if checked["rev"] != 0 {
        request = request.header(IF_MATCH, etag(&checked));
    }
    show(&client.send(request).await?.value, output)
}

/// The definition in a file, YAML or JSON.
fn read(file: &Path) -> Result<Value, Fail> {
    let shown = file.display();
    let text = fs::read_to_string(file).map_err(|e| Fail::Usage(format!("{shown}: {e}")))?;
    // Read as the definition first, so that a fault names its line.
    serde_saphyr::from_str::<model::item::ItemDoc>(&text)
        .map_err(|e| Fail::Usage(format!("{shown}: {e}")))?;
    serde_saphyr::from_str(&text).map_err(|e| Fail::Usage(format!("{shown}: {e}")))
}

fn show(page: &Value, output: Output) -> Result<(), Fail> {
    if output != Output::Table {
        one(page, output);
        return Ok(());
    }
    let state =
        if page["rev"] == 0 { "not saved".into() } else { format!("revision {}", page["rev"]) };
    let (name, scope) = (text(&page["item"]["name"]), text(&page["item"]["scope"]));
    println!("{name}@{scope}, {state}");
    for flaw in page["flaws"].as_array().into_iter().flatten() {
        println!("  wrong  {}: {}", text(&flaw["pointer"]), text(&flaw["detail"]));
    }
    let cost = &page["cost"];
    println!(
        "  cost   {} of {} instances asked, {} commands/min ({} to the instance asked most), \
         work {}, at most {} series",
        text(&cost["asked"]),
        text(&cost["instances"]),
        text(&cost["commands_per_min"]),
        text(&cost["commands_per_min_instance"]),
        text(&cost["class"]),
        text(&cost["series_max"]),
    );
    let points = page["points"].as_array().cloned().unwrap_or_default();
    if !points.is_empty() {
        table::print(POINTS, &points);
    }
    Ok(())
}

fn tested(page: &Value, output: Output) -> Result<(), Fail> {
    let test = &page["test"];
    if output != Output::Table {
        one(test, output);
    } else {
        for command in test["commands"].as_array().into_iter().flatten() {
            println!("> {}", text(command));
        }
        for line in test["raw"].as_str().unwrap_or_default().lines() {
            println!("  {}", table::plain(line));
        }
        let points = test["points"].as_array().cloned().unwrap_or_default();
        table::print(POINTS, &points);
        println!("{} µs, of which a PING takes {}", text(&test["took_us"]), text(&test["ping_us"]));
        let detail = text(&test["detail"]);
        if detail != "-" {
            println!("{detail}");
        }
    }
    match test["fault"].as_str() {
        None => Ok(()),
        Some(why) => Err(Fail::Ended(format!("no value: {why}"))),
    }
}
