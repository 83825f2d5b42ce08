//! `runbook`, `audit`, `token`, `turbo`.
//!
//! Invariant: a mode is set on the revision that was read a moment before.

use std::io::IsTerminal;

use reqwest::Method;
use reqwest::header::IF_MATCH;
use serde_json::{Value, json};

use crate::args::{Audit, Output, RunbookCommand, Token};
use crate::client::Client;
use crate::fail::Fail;
use crate::op;
use crate::read::{csv, many, one, segment, whole_id};
use crate::table::{Column, text};

const RECORDS: &[Column] = &[
    ("AT", "at"),
    ("CHAIN", "chain"),
    ("SEQ", "seq"),
    ("ACTOR", "actor.subject"),
    ("VIA", "via"),
    ("ACTION", "action"),
    ("TARGET", "target"),
    ("RESULT", "result"),
    ("CODE", "code"),
];
const CHAINS: &[Column] =
    &[("CHAIN", "chain"), ("RECORDS", "records"), ("FAULT", "fault.how"), ("AT", "fault.seq")];

/// `runbook`.
pub async fn runbook(client: &Client, command: RunbookCommand, output: Output) -> Result<(), Fail> {
    let request = match command {
        RunbookCommand::Mode { name, mode, scope, reason } => {
            let all = client.list("/runbooks", &[], None).await?;
            let found = all.iter().find(|r| r["name"] == name.as_str());
            let rev = found.map_or("*".into(), |r| format!("\"{}\"", r["rev"]));
            let body = json!({ "mode": mode, "scope": scope, "reason": reason });
            let path = format!("/runbooks/{}/mode", segment(&name));
            client.request(Method::PUT, &path).header(IF_MATCH, rev).json(&body)
        }
        RunbookCommand::Approve { id, reason, plan } => {
            let id = whole_id(client, "incidents", &id).await?;
            let path = format!("/incidents/{}", segment(&id));
            let hash = match plan {
                Some(hash) => hash,
                None => agreed(&client.get(&path).await?, output)?,
            };
            let body = json!({ "plan": hash, "reason": reason });
            client.request(Method::POST, &format!("{path}/approve")).json(&body)
        }
        RunbookCommand::KillSwitch { state, scope, reason } => {
            let body = json!({ "on": state == "on", "scope": scope, "reason": reason });
            client.request(Method::PUT, "/kill-switch").header(IF_MATCH, "*").json(&body)
        }
    };
    one(&client.send(request).await?.value, output);
    Ok(())
}

/// Shows the plan the incident waits with and has it agreed to; answers its hash.
fn agreed(incident: &Value, output: Output) -> Result<String, Fail> {
    let Some(hash) = incident["waits_with"].as_str() else {
        let state = text(&incident["incident"]["state"]);
        return Err(Fail::Refused(format!("the incident is {state}: it waits for nobody")));
    };
    op::show(&json!({ "plan": incident["decisions"][0]["plan"], "hash": hash }), output)?;
    if !std::io::stdin().is_terminal() {
        return Err(Fail::Usage(format!("this needs --plan {hash}")));
    }
    match op::type_it("start")?.as_str() {
        "start" => Ok(hash.into()),
        _ => Err(Fail::Refused("not started".into())),
    }
}

/// `turbo`: begins one, or ends it without minutes.
pub async fn turbo(
    client: &Client,
    id: &str,
    minutes: Option<u32>,
    output: Output,
) -> Result<(), Fail> {
    let path = format!("/instances/{}/turbo", segment(id));
    let request = match minutes {
        Some(minutes) => client.request(Method::POST, &path).json(&json!({ "minutes": minutes })),
        None => client.request(Method::DELETE, &path),
    };
    one(&client.send(request).await?.value, output);
    Ok(())
}

/// `audit`.
pub async fn audit(client: &Client, command: Audit, output: Output) -> Result<(), Fail> {
    match command {
        Audit::List { limit } => {
            if output == Output::Csv {
                return csv(client, "/audit", &[], Some(limit)).await;
            }
            let items = client.list("/audit", &[], Some(limit)).await?;
            many(RECORDS, &items, output);
            Ok(())
        }
        Audit::Verify => {
            let request = client.request(Method::POST, "/audit/verify").json(&json!({}));
            let answer = client.send(request).await?.value;
            let chains = answer["items"].as_array().cloned().unwrap_or_default();
            many(CHAINS, &chains, output);
            match chains.iter().find(|c| !c["fault"].is_null()) {
                None => Ok(()),
                Some(c) => Err(Fail::Ended(format!(
                    "chain {}: record {} is {}",
                    text(&c["chain"]),
                    c["fault"]["seq"],
                    text(&c["fault"]["how"])
                ))),
            }
        }
    }
}

/// `token`.
pub async fn token(client: &Client, command: Token, output: Output) -> Result<(), Fail> {
    let Token::Create { name, kind, days, rights, scopes } = command;
    let mut body = json!({ "name": name, "kind": kind });
    if let Some(days) = days {
        body["days"] = days.into();
    }
    for (field, words) in [("rights", rights), ("scopes", scopes)] {
        if !words.is_empty() {
            body[field] = Value::from(words);
        }
    }
    let answer = client.send(client.request(Method::POST, "/me/tokens").json(&body)).await?.value;
    match output {
        Output::Table => {
            eprintln!("shown once; it ends {}", text(&answer["expires_at"]));
            println!("{}", text(&answer["token"]));
        }
        other => one(&answer, other),
    }
    Ok(())
}
