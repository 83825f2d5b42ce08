//! A master that came back behind its successor becomes its replica.
//!
//! Invariant: who is master is judged anew directly before the first command; clients are let go only
//! when it is a replica, or when nothing was changed.

use std::time::{Duration, Instant};

use link::reply::role::RoleReply;
use serde_json::json;

use super::cast::look;
use super::conn::{Conn, Trouble};
use super::create::observed;
use super::member::named;
use super::recycle::target;
use super::{ActError, Cx, Observed};
use crate::plan::demote::chosen;

/// Writers stand still at most that long should we die, ms.
const PAUSE_MS: &str = "3000";
/// How long the change of its role may take.
const ROLE_MAX: Duration = Duration::from_secs(2);
/// Between two looks at it.
const ROLE_EVERY: Duration = Duration::from_millis(10);

/// Whether it follows the master the plan names.
pub(super) async fn observe(cx: &Cx<'_>) -> Observed {
    let seen = async {
        let (old, new) = (target(cx)?, named(cx, "new")?);
        Ok(match Conn::dial(cx, &old).await?.role().await? {
            RoleReply::Replica { master, .. } if master == new.address() => {
                Observed::Wished(json!({ "master": new }))
            }
            RoleReply::Replica { master, .. } => {
                Observed::Other(format!("{old} follows {master}, not {new}"))
            }
            _ => Observed::NotYet(format!("{old} says it is a master")),
        })
    };
    seen.await.unwrap_or_else(observed)
}

pub(super) async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    let (old, new) = (target(cx)?, named(cx, "new")?);
    let now = look(cx).await.map_err(ActError::Retry)?;
    let found = chosen(&now, &old).map_err(|e| ActError::Failed(e.to_string()))?;
    if found.new != new {
        return Err(ActError::Failed(format!("the Sentinels name {} by now", found.new)));
    }
    let mut conn = Conn::dial(cx, &old).await?;
    let RoleReply::Master { .. } = conn.role().await? else { return Ok(()) };
    let (host, port) = new.host_port();
    conn.send(&["CLIENT", "PAUSE", PAUSE_MS, "WRITE"]).await?;
    let followed = conn.send(&["REPLICAOF", host, &port.to_string()]).await;
    let end = Instant::now() + ROLE_MAX;
    while followed.is_ok() && Instant::now() < end {
        if matches!(conn.role().await, Ok(RoleReply::Replica { .. })) {
            break;
        }
        tokio::time::sleep(ROLE_EVERY).await;
    }
    conn.send(&["CLIENT", "UNPAUSE"]).await?;
    followed?;
    for kind in ["normal", "pubsub"] {
        match conn.send(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]).await {
            Ok(_) | Err(Trouble::Refused(_)) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}
