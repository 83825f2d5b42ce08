//! `op`: plan, run, watch, cancel.
//!
//! Invariant: what is started is the plan that was shown; leaving (Ctrl-C) never stops an operation,
//! it prints the way back.

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use model::operation::{OperationState, StepState};
use model::plan::Plan;
use model::view::OperationPage;
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::args::{Op, Output, Wish};
use crate::client::Client;
use crate::fail::Fail;
use crate::read::{one, segment, whole_id};
use crate::table::plain;

/// How often a running operation is looked at.
const LOOK: Duration = Duration::from_millis(400);
/// Looks that may fail in a row: a restart of the server takes some seconds.
const AWAY_MAX: u32 = 75;

/// Runs a command.
pub async fn run(client: &Client, op: Op, output: Output) -> Result<(), Fail> {
    match op {
        Op::Plan(wish) => {
            let planned = plan(client, &body(&wish)?).await?;
            show(&planned, output)
        }
        Op::Run { wish, confirm, reason, idem_key, dry_run, detach } => {
            let wish = body(&wish)?;
            let planned = plan(client, &wish).await?;
            if output == Output::Table || dry_run {
                show(&planned, output)?;
            }
            if dry_run {
                return Ok(());
            }
            let confirm = match confirm {
                Some(confirm) => confirm,
                None => type_it(planned["plan"]["confirm"].as_str().unwrap_or_default())?,
            };
            let mut start = wish;
            start["plan"] = planned["hash"].clone();
            start["confirm"] = confirm.into();
            start["reason"] = reason.into();
            let mut request = client.request(Method::POST, "/operations").json(&start);
            if let Some(key) = idem_key {
                request = request.header("idempotency-key", key);
            }
            let made = client.send(request).await?.value;
            let id = made["id"].as_str().unwrap_or_default().to_string();
            if detach {
                println!("{id}");
                return Ok(());
            }
            watch(client, &id, output).await
        }
        Op::Watch { id } => {
            let id = whole_id(client, "operations", &id).await?;
            watch(client, &id, output).await
        }
        Op::Approve { id, plan, refuse, reason } => {
            let id = whole_id(client, "operations", &id).await?;
            decide(client, &id, plan, json!({ "approve": !refuse, "reason": reason }), output).await
        }
        Op::Pause { id } => steer(client, &id, "pause").await,
        Op::Resume { id } => steer(client, &id, "resume").await,
        Op::Cancel { id, reason } => {
            let id = whole_id(client, "operations", &id).await?;
            let path = format!("/operations/{}/cancel", segment(&id));
            let request = client.request(Method::POST, &path).json(&json!({ "reason": reason }));
            let state = client.send(request).await?.value["state"].clone();
            println!("{id}: asked to stop (now {})", state.as_str().unwrap_or("?"));
            Ok(())
        }
    }
}

/// Says yes or no to the plan of that hash; without one, shows it.
async fn decide(
    client: &Client,
    id: &str,
    plan: Option<String>,
    mut word: Value,
    output: Output,
) -> Result<(), Fail> {
    let path = format!("/operations/{}", segment(id));
    let Some(plan) = plan else {
        let page = client.get(&path).await?;
        let operation = &page["operation"];
        show(&json!({ "plan": operation["plan"], "hash": operation["plan_hash"] }), output)?;
        return Err(Fail::Usage("this needs --plan with the hash of the plan shown".into()));
    };
    word["plan"] = plan.into();
    let request = client.request(Method::POST, &format!("{path}/approve")).json(&word);
    let state = client.send(request).await?.value["state"].clone();
    println!("{id}: now {}", state.as_str().unwrap_or("?"));
    Ok(())
}

async fn steer(client: &Client, id: &str, verb: &str) -> Result<(), Fail> {
    let id = whole_id(client, "operations", id).await?;
    let path = format!("/operations/{}/{verb}", segment(&id));
    let request = client.request(Method::POST, &path).json(&json!({}));
    let state = client.send(request).await?.value["state"].clone();
    println!("{id}: {verb} (now {})", state.as_str().unwrap_or("?"));
    Ok(())
}

/// The wish as the API reads it.
fn body(wish: &Wish) -> Result<Value, Fail> {
    let mut params = Map::new();
    if let Some(target) = &wish.target {
        let of_one = matches!(
            wish.kind.as_str(),
            "node_restart" | "replica_remove" | "restore" | "node_move" | "demote"
        );
        let name = if of_one { "instance" } else { "target" };
        params.insert(name.into(), target.clone().into());
    }
    params.extend(pairs("--param", &wish.params)?);
    if !wish.set.is_empty() {
        params.insert("set".into(), Value::Object(pairs("--set", &wish.set)?));
    }
    Ok(json!({ "kind": wish.kind, "service": wish.service, "params": params }))
}

/// NAME=VALUE, the value as JSON where it is, else as text.
fn pairs(option: &str, given: &[String]) -> Result<Map<String, Value>, Fail> {
    let mut all = Map::new();
    for pair in given {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| Fail::Usage(format!("{option} {pair:?}: expected NAME=VALUE")))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        all.insert(name.into(), value);
    }
    Ok(all)
}

async fn plan(client: &Client, wish: &Value) -> Result<Value, Fail> {
    let request = client.request(Method::POST, "/operations/plans").json(wish);
    Ok(client.send(request).await?.value)
}

pub(crate) fn show(planned: &Value, output: Output) -> Result<(), Fail> {
    if output != Output::Table {
        one(planned, output);
        return Ok(());
    }
    let plan: Plan = serde_json::from_value(planned["plan"].clone())
        .map_err(|e| Fail::Other(anyhow::Error::new(e)))?;
    println!("{}", plain(&plan.title));
    println!("  level {}, {}", plan.level, plain(&plan.blast_radius));
    for check in &plan.checks {
        let mark = if check.passed { "ok" } else { "NO" };
        println!("  {mark:<3} {:<4} {}", check.check, plain(&check.seen));
    }
    for (n, step) in plan.steps.iter().enumerate() {
        println!("  {:>2}. {}", n + 1, plain(&step.title));
        for command in &step.commands {
            println!("        {}", plain(command));
        }
    }
    println!("  plan {} until {}", planned["hash"].as_str().unwrap_or_default(), plan.expires_at);
    Ok(())
}

pub(crate) fn type_it(expected: &str) -> Result<String, Fail> {
    if expected.is_empty() {
        return Ok(String::new());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Fail::Usage(format!("this needs --confirm {expected}")));
    }
    eprint!("type {expected} to start: ");
    std::io::stderr().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_string())
}

/// Follows an operation to its end; Ctrl-C leaves it alone.
async fn watch(client: &Client, id: &str, output: Output) -> Result<(), Fail> {
    tokio::select! {
        ended = follow(client, id, output) => ended,
        _ = tokio::signal::ctrl_c() => Err(Fail::Detached(format!("cachewarden op watch {id}"))),
    }
}

async fn follow(client: &Client, id: &str, output: Output) -> Result<(), Fail> {
    let path = format!("/operations/{}", segment(id));
    let bar = output == Output::Table && std::io::stdout().is_terminal();
    let (mut told, mut away) = (0, 0);
    loop {
        let page: OperationPage = match client.get(&path).await {
            Ok(value) => {
                away = 0;
                serde_json::from_value(value).map_err(|e| Fail::Other(anyhow::Error::new(e)))?
            }
            Err(e) if e.code() == 5 && away < AWAY_MAX => {
                away += 1;
                tokio::time::sleep(LOOK).await;
                continue;
            }
            Err(e) => return Err(e),
        };
        told = tell(&page, told, bar, output)?;
        if page.operation.state.is_final() {
            if bar {
                println!();
            }
            return ended(&page);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Prints what is new: a bar on a terminal, else the journal's lines.
fn tell(page: &OperationPage, told: i64, bar: bool, output: Output) -> Result<i64, Fail> {
    let last = page.events.iter().map(|e| e.n).max().unwrap_or(told).max(told);
    if bar {
        print!("\r\u{1b}[K{}", progress(page));
        std::io::stdout().flush()?;
        return Ok(last);
    }
    for event in page.events.iter().filter(|e| e.n > told) {
        match output {
            Output::Table => println!("{} {:<8} {}", event.at, event.what, plain(&event.line)),
            _ => println!("{}", serde_json::to_string(event).unwrap_or_default()),
        }
    }
    Ok(last)
}

fn progress(page: &OperationPage) -> String {
    const WIDTH: usize = 24;
    let (done, all) = share(page);
    let full = WIDTH * done / all;
    let doing = page
        .steps
        .iter()
        .find(|s| matches!(s.state, StepState::Running | StepState::Undoing | StepState::Stuck));
    let what = doing.map_or(page.operation.state.as_str(), |s| s.title.as_str());
    let what: String = plain(what).chars().take(60).collect();
    format!("[{}{}] {done}/{all} {what}", "#".repeat(full), "-".repeat(WIDTH - full))
}

/// Steps done and all of them; of a batch its parts.
fn share(page: &OperationPage) -> (usize, usize) {
    let parts: Vec<_> = page.rows.iter().filter(|r| r.wave > 0).collect();
    if !parts.is_empty() {
        let over = parts.iter().filter(|r| r.state.is_some_and(OperationState::is_final));
        return (over.count(), parts.len());
    }
    let done = page.steps.iter().filter(|s| s.state == StepState::Done).count();
    (done, page.steps.len().max(1))
}

fn ended(page: &OperationPage) -> Result<(), Fail> {
    let o = &page.operation;
    let line = match o.reason.is_empty() {
        true => format!("{}: {}", o.id, o.state.as_str()),
        false => format!("{}: {} ({})", o.id, o.state.as_str(), plain(&o.reason)),
    };
    match o.state {
        OperationState::Done => {
            eprintln!("{line}");
            Ok(())
        }
        OperationState::Refused => Err(Fail::Refused(line)),
        _ => Err(Fail::Ended(line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_and_further_parameters_are_read() {
        let wish = Wish {
            kind: "switchover".into(),
            service: "pay.cart".into(),
            target: Some("pay.cart@10.1.0.8:6379".into()),
            params: vec!["shard=1".into(), "avoid_zone=az-1".into()],
            set: Vec::new(),
        };
        let body = body(&wish).unwrap();
        assert_eq!(
            body["params"],
            json!({ "target": "pay.cart@10.1.0.8:6379", "shard": 1, "avoid_zone": "az-1" })
        );
    }

    #[test]
    fn a_parameter_without_a_value_is_a_usage_error() {
        let wish = Wish {
            kind: "switchover".into(),
            service: "a.b".into(),
            target: None,
            params: vec!["shard".into()],
            set: Vec::new(),
        };
        assert!(matches!(body(&wish), Err(Fail::Usage(_))));
    }
}
