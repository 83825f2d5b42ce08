//! `parameters`: wished, running and stored values of a service's nodes.
//!
//! Invariant: what is printed is what the API answered; a node that did not tell is named.

use serde_json::Value;

use crate::args::Output;
use crate::client::Client;
use crate::fail::Fail;
use crate::read::{csv, many, segment};
use crate::table::Column;

const PARAMETERS: &[Column] = &[
    ("NAME", "name"),
    ("DRIFT", "drift"),
    ("WISHED", "desired.value"),
    ("DEFAULT", "default"),
    ("UNIT", "unit"),
    ("RISK", "risk"),
    ("RUNNING", "running"),
];

/// `parameters`.
pub async fn list(client: &Client, service: &str, drift: bool, output: Output) -> Result<(), Fail> {
    let path = format!("/services/{}/parameters", segment(service));
    if output == Output::Csv {
        return csv(client, &path, &[], None).await;
    }
    let page = client.get(&path).await?;
    let mut items = page["items"].as_array().cloned().unwrap_or_default();
    items.retain(|row| !drift || row["drift"] == true);
    if output == Output::Table {
        items.iter_mut().for_each(|row| row["running"] = running(row).into());
    }
    many(PARAMETERS, &items, output);
    for node in page["nodes"].as_array().into_iter().flatten() {
        if let Some(why) = node["error"].as_str().filter(|why| !why.is_empty()) {
            eprintln!("{}: {why}", node["instance"].as_str().unwrap_or_default());
        }
    }
    Ok(())
}

/// One value when all nodes agree, else each with its node.
fn running(row: &Value) -> String {
    let nodes: Vec<&Value> = row["nodes"].as_array().into_iter().flatten().collect();
    let value = |n: &Value| n["running"].as_str().unwrap_or("?").to_string();
    let mut values: Vec<String> = nodes.iter().map(|n| value(n)).collect();
    values.sort();
    values.dedup();
    match (values.as_slice(), row["drift"] == true) {
        ([one], false) => one.clone(),
        _ => {
            let each = nodes.iter().map(|n| {
                let state = n["state"].as_str().unwrap_or_default();
                let node = n["instance"].as_str().unwrap_or_default();
                format!("{} ({state}) {node}", value(n))
            });
            each.collect::<Vec<_>>().join(", ")
        }
    }
}
