//! `ack`, `silence`, `maintenance`, `calendar`: what people do about alerts.
//!
//! Invariant: a calendar is changed on the revision that was read a moment before; a file is only
//! read.

use std::fs;
use std::path::Path;

use reqwest::Method;
use reqwest::header::IF_MATCH;
use serde_json::{Value, json};

use crate::args::{Calendar, Maintenance, Output, Silence};
use crate::client::Client;
use crate::fail::Fail;
use crate::read::{csv, many, one, segment, whole_id};
use crate::table::Column;

const SILENCES: &[Column] = &[
    ("ID", "id"),
    ("STATE", "state"),
    ("MATCHERS", "text"),
    ("SCOPE", "scope"),
    ("ALERTS", "alerts"),
    ("ENDS", "ends_at"),
    ("BY", "created_by"),
    ("COMMENT", "comment"),
];
const MAINTENANCES: &[Column] = &[
    ("ID", "id"),
    ("STATE", "state"),
    ("SCOPE", "scope"),
    ("INSTANCES", "instances"),
    ("WITHHELD", "withheld"),
    ("BEGINS", "starts_at"),
    ("ENDS", "ends_at"),
    ("BY", "by"),
    ("REASON", "reason"),
];
const CALENDARS: &[Column] = &[
    ("ID", "id"),
    ("OPEN", "open"),
    ("ZONE", "calendar.zone"),
    ("CHANGES", "changes_at"),
    ("REV", "rev"),
    ("BY", "by"),
];

/// `ack`.
pub async fn ack(client: &Client, id: &str, note: &str, output: Output) -> Result<(), Fail> {
    let id = whole_id(client, "alerts", id).await?;
    let path = format!("/alerts/{}/ack", segment(&id));
    let request = client.request(Method::POST, &path).json(&json!({ "note": note }));
    one(&client.send(request).await?.value, output);
    Ok(())
}

async fn list(
    client: &Client,
    path: &str,
    query: &[(&str, &str)],
    columns: &[Column],
    output: Output,
) -> Result<(), Fail> {
    let asked: Vec<(&str, &str)> = query.iter().copied().filter(|(_, v)| !v.is_empty()).collect();
    if output == Output::Csv {
        return csv(client, path, &asked, None).await;
    }
    many(columns, &client.list(path, &asked, None).await?, output);
    Ok(())
}

/// `silence`.
pub async fn silence(client: &Client, command: Silence, output: Output) -> Result<(), Fail> {
    let request = match command {
        Silence::List { q, scope, state } => {
            let query = [("q", q.as_str()), ("in", &scope), ("state", &state)];
            return list(client, "/silences", &query, SILENCES, output).await;
        }
        Silence::Add { matchers, span, comment, scope } => {
            let body = json!({
                "matchers": matchers, "duration": span, "comment": comment, "scope": scope,
            });
            client.request(Method::POST, "/silences").json(&body)
        }
        Silence::Expire { id } => {
            client.request(Method::DELETE, &format!("/silences/{}", segment(&id)))
        }
    };
    one(&client.send(request).await?.value, output);
    Ok(())
}

/// `maintenance`.
pub async fn maintenance(
    client: &Client,
    command: Maintenance,
    output: Output,
) -> Result<(), Fail> {
    let request = match command {
        Maintenance::List { q, scope } => {
            let query = [("q", q.as_str()), ("in", &scope)];
            return list(client, "/maintenance", &query, MAINTENANCES, output).await;
        }
        Maintenance::Start { scope, span, reason, at } => {
            let mut body = json!({ "scope": scope, "duration": span, "reason": reason });
            if let Some(at) = at {
                body["starts_at"] = at.into();
            }
            client.request(Method::POST, "/maintenance").json(&body)
        }
        Maintenance::End { id } => {
            client.request(Method::POST, &format!("/maintenance/{}/end", segment(&id)))
        }
    };
    one(&client.send(request).await?.value, output);
    Ok(())
}

/// `calendar`.
pub async fn calendar(client: &Client, command: Calendar, output: Output) -> Result<(), Fail> {
    let path = |id: &str| format!("/calendars/{}", segment(id));
    match command {
        Calendar::List => list(client, "/calendars", &[], CALENDARS, output).await,
        Calendar::Get { id } => {
            one(&client.get(&path(&id)).await?, output);
            Ok(())
        }
        Calendar::Put { file } => {
            let calendar = read(&file)?;
            let id = calendar["id"].as_str().unwrap_or_default().to_string();
            let all = client.list("/calendars", &[], None).await?;
            let present = all.iter().find(|c| c["id"] == id.as_str());
            let mut request = client.request(Method::PUT, &path(&id));
            if let Some(present) = present {
                request = request.header(IF_MATCH, etag(present));
            }
            let request = request.json(&json!({ "calendar": calendar }));
            one(&client.send(request).await?.value, output);
            Ok(())
        }
        Calendar::Delete { id } => {
            let present = client.get(&path(&id)).await?;
            let request = client.request(Method::DELETE, &path(&id));
            client.send(request.header(IF_MATCH, etag(&present))).await?;
            println!("the calendar {id} is gone");
            Ok(())
        }
    }
}

fn etag(item: &Value) -> String {
    format!("\"{}\"", item["rev"])
}

/// The definition in a file, YAML or JSON.
fn read(file: &Path) -> Result<Value, Fail> {
    let shown = file.display();
    let text = fs::read_to_string(file).map_err(|e| Fail::Usage(format!("{shown}: {e}")))?;
    // Read as the definition first, so that a fault names its line.
    serde_saphyr::from_str::<model::calendar::CalendarDoc>(&text)
        .map_err(|e| Fail::Usage(format!("{shown}: {e}")))?;
    serde_saphyr::from_str(&text).map_err(|e| Fail::Usage(format!("{shown}: {e}")))
}
