//! `get` and `describe`.
//!
//! Invariant: what is printed is what the API answered, nothing is computed here.

use reqwest::Method;
use reqwest::header::LINK;
use serde_json::Value;

use crate::args::{Get, Noun, Nouns, Output};
use crate::client::Client;
use crate::fail::Fail;
use crate::summary;
use crate::table::{self, Column};

/// Length of the id of an alert or an incident at most: a hash in hex.
const HASH: usize = 64;
/// Length of the id of an operation.
const UUID: usize = 36;

const SERVICES: &[Column] = &[
    ("ID", "id"),
    ("SYSTEM", "system"),
    ("MODE", "mode"),
    ("TIER", "tier"),
    ("ENGINE", "engine"),
    ("INSTANCES", "verdicts.+"),
    ("UP", "verdicts.up"),
    ("DOWN", "verdicts.down"),
    ("UNKNOWN", "verdicts.unknown"),
    ("SCORE", "health.score"),
    ("GRADE", "health.grade"),
    ("OPS/S", "ops_per_s"),
    ("ALERTS", "alerts"),
    ("CAUSE", "health.cause"),
];
const INSTANCES: &[Column] = &[
    ("ID", "id"),
    ("KIND", "kind"),
    ("ROLE", "role"),
    ("ZONE", "zone"),
    ("STATE", "state"),
    ("SCORE", "health.score"),
    ("GRADE", "health.grade"),
    ("OPS/S", "ops_per_s"),
    ("CLIENTS", "clients"),
    ("LAG", "lag_bytes"),
    ("VERSION", "version"),
    ("REASON", "reason"),
];
const TENANTS: &[Column] = &[
    ("ID", "id"),
    ("DISPLAY", "display"),
    ("SYSTEMS", "systems"),
    ("SERVICES", "services"),
    ("INSTANCES", "verdicts.+"),
    ("UP", "verdicts.up"),
    ("DOWN", "verdicts.down"),
    ("UNKNOWN", "verdicts.unknown"),
    ("SCORE", "health.score"),
    ("GRADE", "health.grade"),
];
const SYSTEMS: &[Column] = &[
    ("ID", "id"),
    ("DISPLAY", "display"),
    ("ENV", "env"),
    ("OWNER", "owner"),
    ("SERVICES", "services"),
    ("INSTANCES", "verdicts.+"),
    ("UP", "verdicts.up"),
    ("DOWN", "verdicts.down"),
    ("UNKNOWN", "verdicts.unknown"),
    ("SCORE", "health.score"),
    ("GRADE", "health.grade"),
];
const ALERTS: &[Column] = &[
    ("ID", "id"),
    ("ALERT", "alertname"),
    ("LEVEL", "level"),
    ("PHASE", "phase"),
    ("SERVICE", "service"),
    ("INSTANCE", "instance"),
    ("SINCE", "starts_at"),
    ("ENDED", "ends_at"),
    ("VALUE", "value"),
];
const INCIDENTS: &[Column] = &[
    ("ID", "id"),
    ("RUNBOOK", "runbook"),
    ("ALERT", "alertname"),
    ("SERVICE", "service"),
    ("INSTANCE", "instance"),
    ("STATE", "state"),
    ("COUNT", "count"),
    ("OPENED", "opened_at"),
    ("OPERATION", "operation"),
    ("REASON", "reason"),
];
const OPERATIONS: &[Column] = &[
    ("ID", "id"),
    ("KIND", "kind"),
    ("SERVICE", "service"),
    ("STATE", "state"),
    ("DONE", "steps_done"),
    ("STEPS", "steps"),
    ("BY", "created_by"),
    ("AT", "created_at"),
    ("MS", "elapsed_ms"),
    ("REASON", "reason"),
];
const RUNBOOKS: &[Column] = &[
    ("NO", "number"),
    ("NAME", "name"),
    ("AVAILABLE", "available"),
    ("MODES", "modes.mode@scope"),
    ("REV", "rev"),
    ("DOES", "does"),
];

const HISTORY: &[Column] = &[
    ("ID", "id"),
    ("ALERT", "alertname"),
    ("LEVEL", "level"),
    ("SERVICE", "service"),
    ("INSTANCE", "instance"),
    ("SINCE", "starts_at"),
    ("ENDED", "ends_at"),
    ("MS", "duration_ms"),
    ("REASON", "reason"),
    ("ACK", "ack.by"),
];
const RESPONSE: &[Column] = &[
    ("TENANT", "tenant"),
    ("POLICY", "policy"),
    ("FIRED", "fired"),
    ("ACK", "acknowledged"),
    ("RESOLVED", "resolved"),
    ("MTTA_MS", "mtta_ms"),
    ("MTTR_MS", "mttr_ms"),
];
const BACKUPS: &[Column] = &[
    ("ID", "id"),
    ("SERVICE", "service"),
    ("SHARD", "shard"),
    ("FROM", "instance"),
    ("KEYS", "keys"),
    ("BYTES", "bytes"),
    ("TAKEN", "taken_at"),
    ("PATH", "path"),
];

/// Path and columns of a list; none: one value.
fn list_of(nouns: Nouns) -> (&'static str, Option<&'static [Column]>) {
    match nouns {
        Nouns::Overview => ("/overview", None),
        Nouns::Me => ("/me", None),
        Nouns::Tenants => ("/tenants", Some(TENANTS)),
        Nouns::Systems => ("/systems", Some(SYSTEMS)),
        Nouns::Services => ("/services", Some(SERVICES)),
        Nouns::Instances => ("/instances", Some(INSTANCES)),
        Nouns::Alerts => ("/alerts", Some(ALERTS)),
        Nouns::Incidents => ("/incidents", Some(INCIDENTS)),
        Nouns::Operations => ("/operations", Some(OPERATIONS)),
        Nouns::Runbooks => ("/runbooks", Some(RUNBOOKS)),
        Nouns::AlertHistory => ("/alerts/history", Some(HISTORY)),
        Nouns::AlertResponse => ("/alerts/response", Some(RESPONSE)),
        Nouns::AlertQuality => ("/alerts/quality", Some(QUALITY)),
        Nouns::Backups => ("/backups", Some(BACKUPS)),
    }
}

const QUALITY: &[Column] = &[
    ("POLICY", "policy"),
    ("TENANT", "tenant"),
    ("VERDICT", "verdicts"),
    ("FIRED", "fired"),
    ("A WEEK", "pages_per_week"),
    ("ACTED", "acted"),
    ("SHORT", "short"),
    ("FLAPPING", "flapping"),
    ("MTTA_MS", "mtta_ms"),
    ("MTTR_MS", "mttr_ms"),
];

/// `get`.
pub async fn get(client: &Client, get: &Get, output: Output) -> Result<(), Fail> {
    let (path, columns) = list_of(get.nouns);
    let Some(columns) = columns else {
        let value = client.get(path).await?;
        match (get.nouns, output) {
            (_, Output::Csv) => return Err(Fail::Usage("-o csv is for lists".into())),
            (Nouns::Overview, Output::Table) => print!("{}", summary::overview(&value)),
            (Nouns::Me, Output::Table) => print!("{}", summary::me(&value)),
            _ => one(&value, output),
        }
        return Ok(());
    };
    let query = [("q", get.q.as_str()), ("in", &get.scope), ("sort", &get.sort)];
    let mut asked: Vec<(&str, &str)> = query.into_iter().filter(|(_, v)| !v.is_empty()).collect();
    for filter in &get.filters {
        let pair = filter.split_once('=');
        asked.push(pair.ok_or_else(|| Fail::Usage(format!("--where {filter}: NAME=VALUE")))?);
    }
    if output == Output::Csv {
        return csv(client, path, &asked, get.limit).await;
    }
    let items = client.list(path, &asked, get.limit).await?;
    many(columns, &items, output);
    Ok(())
}

/// Prints a list as the server writes it for spreadsheets.
pub async fn csv(
    client: &Client,
    path: &str,
    query: &[(&str, &str)],
    limit: Option<usize>,
) -> Result<(), Fail> {
    let mut request = client.request(Method::GET, path).query(query).query(&[("format", "csv")]);
    if let Some(limit) = limit {
        request = request.query(&[("limit", limit)]);
    }
    let (headers, text) = client.text(request).await?;
    print!("{text}");
    if limit.is_none() && headers.contains_key(LINK) {
        eprintln!("there are more rows than one file holds; narrow it with --in or -q");
    }
    Ok(())
}

/// The whole id of what `id` is the beginning of, where ids are too long to be typed. What nothing
/// begins with is left to the server to refuse.
pub async fn whole_id(client: &Client, noun: &str, id: &str) -> Result<String, Fail> {
    let length = match noun {
        "alerts" | "incidents" => HASH,
        "operations" => UUID,
        _ => 0,
    };
    if id.is_empty() || id.len() >= length {
        return Ok(id.to_string());
    }
    let all = client.list(&format!("/{noun}"), &[], None).await?;
    let ids: Vec<&str> = all.iter().filter_map(|i| i["id"].as_str()).collect();
    begins(id, &ids, noun).map_err(Fail::Usage)
}

fn begins(id: &str, ids: &[&str], noun: &str) -> Result<String, String> {
    let found: Vec<&str> = ids.iter().copied().filter(|i| i.starts_with(id)).collect();
    match found.as_slice() {
        [] => Ok(id.to_string()),
        [one] => Ok(one.to_string()),
        many => Err(format!(
            "{id} is the beginning of {} {noun}, among them {}; give more of it",
            many.len(),
            many[..2].join(" and ")
        )),
    }
}

/// Prints a list.
pub fn many(columns: &[Column], items: &[Value], output: Output) {
    match output {
        Output::Table => table::print(columns, items),
        Output::Json => println!("{:#}", Value::Array(items.to_vec())),
        // Where the server has no such form.
        Output::Csv | Output::Ndjson => items.iter().for_each(|i| println!("{i}")),
    }
}

/// Prints one value.
pub fn one(value: &Value, output: Output) {
    match output {
        Output::Table => table::describe(value),
        Output::Json => println!("{value:#}"),
        Output::Csv | Output::Ndjson => println!("{value}"),
    }
}

/// `describe`.
pub async fn describe(client: &Client, noun: Noun, id: &str, output: Output) -> Result<(), Fail> {
    let noun = match noun {
        Noun::Tenant => "tenants",
        Noun::System => "systems",
        Noun::Service => "services",
        Noun::Instance => "instances",
        Noun::Alert => "alerts",
        Noun::Incident => "incidents",
        Noun::Operation => "operations",
    };
    let id = whole_id(client, noun, id).await?;
    one(&client.get(&format!("/{noun}/{}", segment(&id))).await?, output);
    Ok(())
}

/// An id as one part of a path.
pub fn segment(id: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~@:".contains(&b);
    id.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_id_is_enough_while_it_is_the_beginning_of_one_only() {
        let ids = ["01a2-1", "01a2-2", "01b7-3"];
        assert_eq!(begins("01b", &ids, "operations").unwrap(), "01b7-3");
        assert_eq!(begins("01a2-2", &ids, "operations").unwrap(), "01a2-2");
        assert_eq!(begins("zz", &ids, "operations").unwrap(), "zz", "the server says so");
        let both = begins("01a", &ids, "operations").unwrap_err();
        assert!(both.contains("2 operations") && both.contains("01a2-1 and 01a2-2"), "{both}");
    }

    #[test]
    fn an_id_stays_one_part_of_the_path() {
        assert_eq!(segment("pay.cart@[::1]:6379"), "pay.cart@%5B::1%5D:6379");
        assert_eq!(segment("../me?x"), "..%2Fme%3Fx");
    }
}
