//! `score-policy`: how scores are made, from a file, with what a change would do.
//!
//! Invariant: what is saved is what was previewed a moment before, on the revision that was read then;
//! a file is only read.

use std::fs;
use std::path::Path;

use reqwest::Method;
use reqwest::header::IF_MATCH;
use serde_json::{Value, json};

use crate::args::{Output, ScorePolicy};
use crate::client::Client;
use crate::fail::Fail;
use crate::read::{many, one, segment};
use crate::table::{self, Column, text};

const SCOPES: &[Column] = &[
    ("SCOPE", "id"),
    ("REV", "rev"),
    ("SETS", "sets"),
    ("SERVICES", "services"),
    ("BY", "by"),
    ("SIGNED", "approver"),
    ("AT", "at"),
    ("REASON", "reason"),
];
const FIELDS: &[Column] =
    &[("FIELD", "field"), ("VALUE", "value"), ("ORIGIN", "origin"), ("LOCKED", "locked")];
const REVISIONS: &[Column] = &[
    ("REV", "rev"),
    ("AT", "at"),
    ("BY", "by"),
    ("SIGNED", "approver"),
    ("REASON", "reason"),
    ("DOCUMENT", "doc"),
];
const LINES: &[Column] = &[
    ("SERVICE", "service"),
    ("NOW", "score_before"),
    ("GRADE", "grade_before"),
    ("WITH IT", "score_after"),
    ("GRADE", "grade_after"),
    ("MEAN", "mean_before"),
    ("WITH IT", "mean_after"),
    ("LOWEST", "lowest_before"),
    ("WITH IT", "lowest_after"),
    ("MOMENTS", "moments"),
    ("CAUSE", "cause"),
];

/// `score-policy`.
pub async fn score_policy(
    client: &Client,
    command: ScorePolicy,
    output: Output,
) -> Result<(), Fail> {
    match command {
        ScorePolicy::List { q, scope } => list(client, &q, &scope, output).await,
        ScorePolicy::Get { scope } => show(&client.get(&path(&scope)).await?, output),
        ScorePolicy::Revisions { scope } => {
            let all = client.get(&format!("{}/revisions", path(&scope))).await?;
            let mut all = all["items"].as_array().cloned().unwrap_or_default();
            if output == Output::Table {
                all.iter_mut().for_each(|r| r["doc"] = r["doc"].to_string().into());
            }
            many(REVISIONS, &all, output);
            Ok(())
        }
        ScorePolicy::Apply { file, reason, sign, dry_run } => {
            let doc = read(&file)?;
            let preview = preview(client, &doc).await?;
            if dry_run {
                shown(&preview, output);
                return verdict(&preview, sign);
            }
            let scope = text(&doc["scope"]);
            let body = json!({
                "doc": doc, "reason": reason.unwrap_or_default(), "sign": sign,
                "preview": preview["preview"]["hash"],
            });
            let mut request = client.request(Method::PUT, &path(&scope)).json(&body);
            if preview["rev"] != 0 {
                request = request.header(IF_MATCH, format!("\"{}\"", preview["rev"]));
            }
            show(&client.send(request).await?.value, output)
        }
        ScorePolicy::Restore { scope, rev, reason, sign } => {
            let all = client.get(&format!("{}/revisions", path(&scope))).await?;
            let mut all = all["items"].as_array().into_iter().flatten();
            let Some(old) = all.find(|r| r["rev"] == rev) else {
                return Err(Fail::Usage(format!("{scope} has no revision {rev}")));
            };
            let preview = preview(client, &old["doc"]).await?;
            let hash = &preview["preview"]["hash"];
            let body = json!({ "rev": rev, "reason": reason, "sign": sign, "preview": hash });
            let request = client.request(Method::POST, &format!("{}/restore", path(&scope)));
            show(&client.send(request.json(&body)).await?.value, output)
        }
        ScorePolicy::Profile { id, profile } => {
            let path = format!("/services/{}/profile", segment(&id));
            let request = client.request(Method::PUT, &path).json(&json!({ "profile": profile }));
            show(&client.send(request).await?.value, output)
        }
    }
}

fn path(scope: &str) -> String {
    format!("/score-policies/{}", segment(scope))
}

async fn list(client: &Client, q: &str, scope: &str, output: Output) -> Result<(), Fail> {
    let query: Vec<(&str, &str)> =
        [("q", q), ("in", scope)].into_iter().filter(|(_, v)| !v.is_empty()).collect();
    let mut found = client.list("/score-policies", &query, None).await?;
    if output == Output::Table {
        for item in &mut found {
            let fields = item["fields"].as_array().into_iter().flatten().map(text);
            item["sets"] = fields.collect::<Vec<_>>().join(" ").into();
        }
    }
    many(SCOPES, &found, output);
    Ok(())
}

async fn preview(client: &Client, doc: &Value) -> Result<Value, Fail> {
    let request = client.request(Method::POST, "/score-policies/preview");
    Ok(client.send(request.json(&json!({ "doc": doc }))).await?.value)
}

/// The document in a file, YAML or JSON.
fn read(file: &Path) -> Result<Value, Fail> {
    let shown = file.display();
    let text = fs::read_to_string(file).map_err(|e| Fail::Usage(format!("{shown}: {e}")))?;
    // Read as the document first, so that a fault names its line.
    serde_saphyr::from_str::<model::score_policy::ScorePolicyDoc>(&text)
        .map_err(|e| Fail::Usage(format!("{shown}: {e}")))?;
    serde_saphyr::from_str(&text).map_err(|e| Fail::Usage(format!("{shown}: {e}")))
}

/// What is in force at a scope.
fn show(page: &Value, output: Output) -> Result<(), Fail> {
    if output != Output::Table {
        one(page, output);
        return Ok(());
    }
    let state = match page["rev"].as_i64() {
        Some(0) | None => "inherits everything".to_string(),
        Some(rev) => format!("revision {rev}"),
    };
    println!("{}, {state}, profile {}", text(&page["id"]), text(&page["profile"]));
    if page["profile_from"] == "guessed" {
        println!("  the profile is a guess; `cachewarden score-policy profile` confirms it");
    }
    for one in page["ignored"].as_array().into_iter().flatten() {
        println!("  not in force  {}: {}", text(&one["field"]), text(&one["why"]));
    }
    let fields = page["effective"].as_array().cloned().unwrap_or_default();
    table::print(FIELDS, &fields);
    Ok(())
}

/// What a document would do.
fn shown(page: &Value, output: Output) {
    let preview = &page["preview"];
    if output != Output::Table {
        one(preview, output);
        return;
    }
    for flaw in preview["flaws"].as_array().into_iter().flatten() {
        println!("wrong  {}: {}", text(&flaw["pointer"]), text(&flaw["detail"]));
    }
    let services = preview["services"].as_array().cloned().unwrap_or_default();
    println!(
        "{} services would be judged otherwise, {} as before; {}",
        services.len(),
        text(&preview["unchanged"]),
        text(&preview["note"])
    );
    table::print(LINES, &services);
    for one in preview["ignored"].as_array().into_iter().flatten() {
        let (scope, field) = (text(&one["scope"]), text(&one["field"]));
        println!("would not count any more  {scope} {field}: {}", text(&one["why"]));
    }
}

/// How a dry run ends: refused when the document could not be saved as it is.
fn verdict(page: &Value, sign: bool) -> Result<(), Fail> {
    let flaws = page["preview"]["flaws"].as_array().into_iter().flatten();
    match flaws.filter(|f| !(sign && f["signable"] == true)).count() {
        0 => Ok(()),
        _ => Err(Fail::Refused("it cannot be saved as it is".into())),
    }
}
