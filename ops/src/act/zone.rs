//! A zone is marked as evacuated or opened again, and its nodes are kept from being promoted meanwhile.
//!
//! Invariants: a master is never touched; a node that is away is left alone and said to be: what is set
//! is set on whoever answers, and what was saved is what is set back.

use link::reply::role::RoleReply;
use model::batch::{Bench, Evacuation, Move};
use model::{InstanceId, ZoneId};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::conn::{Conn, Trouble};
use super::create::observed;
use super::{ActError, Cx, Observed};

fn arg<T: DeserializeOwned>(cx: &Cx<'_>, name: &str) -> Result<T, ActError> {
    serde_json::from_value(cx.step.args[name].clone())
        .map_err(|e| ActError::Failed(format!("the step's {name}: {e}")))
}

/// Whether the inventory in force says what the step wishes.
pub(super) fn observe_marked(cx: &Cx<'_>) -> Observed {
    let zone: ZoneId = match arg(cx, "zone") {
        Ok(zone) => zone,
        Err(e) => return Observed::Other(e.to_string()),
    };
    let is = (cx.world.inventory)().evacuated.contains(&zone);
    let wished = cx.step.kind == "close_zone";
    match is == wished {
        true => Observed::Wished(json!({ "evacuated": is })),
        false => Observed::NotYet(format!("zone {zone} is evacuated: {is}, wished {wished}")),
    }
}

pub(super) async fn apply_marked(cx: &Cx<'_>) -> Result<(), ActError> {
    let zone: ZoneId = arg(cx, "zone")?;
    let now = (cx.world.clock)();
    let (store, caller) = cx.tree()?;
    let done = match cx.step.kind.as_str() {
        "close_zone" => {
            let (homes, benched): (Vec<Move>, Vec<Bench>) =
                (arg(cx, "homes")?, arg(cx, "benched")?);
            cx.command("inventory", format!("zone {zone} evacuated"))?;
            let operation = cx.operation.id.clone();
            let of = Evacuation { zone, operation, at: now, homes, benched };
            store.zone_evacuate(caller, &of, now).await
        }
        _ => {
            cx.command("inventory", format!("zone {zone} open"))?;
            store.zone_reopen(caller, &zone, now).await
        }
    };
    done.map_err(|e| ActError::Retry(e.to_string()))
}

/// Nothing was moved yet: the zone is as it was.
pub(super) async fn undo_closed(cx: &Cx<'_>) -> Result<(), ActError> {
    let zone: ZoneId = arg(cx, "zone")?;
    cx.command("inventory", format!("zone {zone} open"))?;
    let (store, caller) = cx.tree()?;
    let done = store.zone_reopen(caller, &zone, (cx.world.clock)()).await;
    done.map_err(|e| ActError::Retry(e.to_string()))
}

/// What the step wants of a node.
fn wished<'b>(cx: &Cx<'_>, bench: &'b Bench) -> &'b str {
    match (cx.step.kind.as_str(), bench.setting.as_str()) {
        ("unbench_zone", _) => &bench.saved,
        (_, "replica-priority") => "0",
        _ => "yes",
    }
}

/// What a node shows, or that it is not to be touched.
enum Seen<'c> {
    Set,
    Differs(Conn<'c>, String),
    Away(String),
}

async fn see<'c>(cx: &'c Cx<'c>, bench: &Bench) -> Result<Seen<'c>, ActError> {
    let mut conn = match Conn::dial(cx, &bench.id).await {
        Ok(conn) => conn,
        Err(Trouble::Gone(why)) => return Ok(Seen::Away(why)),
        Err(other) => return Err(other.into()),
    };
    let master = matches!(conn.role().await?, RoleReply::Master { .. });
    if master && cx.step.kind == "bench_zone" {
        return Ok(Seen::Away(format!("{} is a master: it did not move", bench.id)));
    }
    let has = conn.config(&bench.setting).await?;
    Ok(if has == wished(cx, bench) { Seen::Set } else { Seen::Differs(conn, has) })
}

/// Whether every node that answers has it.
pub(super) async fn observe_benched(cx: &Cx<'_>) -> Observed {
    let seen = async {
        let mut away: Vec<InstanceId> = Vec::new();
        for bench in arg::<Vec<Bench>>(cx, "benched")? {
            match see(cx, &bench).await? {
                Seen::Set => {}
                Seen::Away(_) => away.push(bench.id),
                Seen::Differs(_, has) => {
                    let Bench { id, setting, .. } = &bench;
                    return Ok(Observed::NotYet(format!("{id} has {setting} {has}")));
                }
            }
        }
        Ok(Observed::Wished(json!({ "left_alone": away })))
    };
    seen.await.unwrap_or_else(observed)
}

pub(super) async fn apply_benched(cx: &Cx<'_>) -> Result<(), ActError> {
    for bench in arg::<Vec<Bench>>(cx, "benched")? {
        match see(cx, &bench).await? {
            Seen::Set => {}
            Seen::Away(why) => cx.journal.note(why),
            Seen::Differs(mut conn, _) => {
                conn.send(&["CONFIG", "SET", &bench.setting, wished(cx, &bench)]).await?;
                match conn.send(&["CONFIG", "REWRITE"]).await {
                    Ok(_) => {}
                    // Without a file it holds until the node restarts.
                    Err(Trouble::Refused(why)) => cx.journal.note(why),
                    Err(other) => return Err(other.into()),
                }
            }
        }
    }
    Ok(())
}
