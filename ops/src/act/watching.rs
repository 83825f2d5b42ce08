//! A Sentinel that was started again watches as before.
//!
//! Invariant: it is asked itself, and must name the master the other Sentinels name.

use serde_json::json;

use super::cast::look;
use super::{Cx, Observed, recycle};

pub(super) async fn observe(cx: &Cx<'_>) -> Observed {
    let id = match recycle::target(cx) {
        Ok(id) => id,
        Err(e) => return Observed::Other(e.to_string()),
    };
    let now = match look(cx).await {
        Ok(now) => now,
        Err(why) => return Observed::Unknown(why),
    };
    let Some(watch) = now.watches().find(|(other, _)| **other == id).map(|(_, w)| w) else {
        return Observed::NotYet(format!("{id} does not answer yet"));
    };
    let others = now.watches().filter(|(other, _)| **other != id);
    for (other, theirs) in others {
        if theirs.master.address != watch.master.address {
            let (one, two) = (&watch.master.address, &theirs.master.address);
            return Observed::NotYet(format!("{id} names {one} as master, {other} names {two}"));
        }
    }
    match &watch.master.ckquorum {
        Some((true, _)) => Observed::Wished(json!({ "master": watch.master.address })),
        Some((false, said)) => Observed::NotYet(format!("{id}: {said}")),
        None => Observed::NotYet(format!("{id} did not answer CKQUORUM")),
    }
}
