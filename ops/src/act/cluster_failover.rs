//! CLUSTER FAILOVER on the replica: the servers do pause, drain and hand-over themselves.
//!
//! Invariant: never FORCE, never TAKEOVER; asked at most twice, each time of a replica that follows
//! the planned master in the planned process and holds no votes of an earlier election.

use std::time::{Duration, Instant};

use link::reply::{self, role::RoleReply};

use super::cast::{Cast, Scene, look, note_score};
use super::conn::{Conn, Trouble};
use super::{ActError, Cx, Observed, demote};
use crate::topology::Snapshot;

/// The server gives up by itself after 5 s.
const PROMOTE_MAX: Duration = Duration::from_secs(6);
/// Between two looks; a hand-over takes 3–8 ms.
const ROLE_EVERY: Duration = Duration::from_millis(5);
/// Tries: the second covers a vote that was refused while an epoch settled.
const TRIES: u32 = 2;

/// A node that won an election keeps its votes for two node time-outs and takes over a second time on
/// them, asking nobody and in its old epoch: the others throw it out again, with all it took
/// meanwhile. For two more it does not begin an election at all.
const VOTES_TIMEOUTS: u32 = 4;
/// The server counts with at least this.
const VOTES_MIN: Duration = Duration::from_secs(4);
/// CLIENT LIST counts whole seconds.
const AGE_SLACK: Duration = Duration::from_secs(1);
/// What the step needs besides waiting for old votes to end: two tries and a look.
const TRIES_MAX: Duration = Duration::from_secs(15);
/// Between two looks at the age of a link.
const AGE_EVERY: Duration = Duration::from_millis(500);

/// What the fleet shows of the hand-over.
pub(super) async fn observe(cx: &Cx<'_>) -> Observed {
    match seen(cx).await {
        Ok((_, scene)) => scene.observed(),
        Err(ActError::Failed(why)) => Observed::Other(why),
        Err(ActError::Retry(why)) => Observed::Unknown(why),
    }
}

async fn seen(cx: &Cx<'_>) -> Result<(Cast, Scene), ActError> {
    let cast = Cast::of(cx)?;
    let now = look(cx).await.map_err(ActError::Retry)?;
    let scene = scene(&cast, &now);
    Ok((cast, scene))
}

fn scene(cast: &Cast, now: &Snapshot) -> Scene {
    let (Some(old), Some(target)) = (now.node(&cast.old), now.node(&cast.target)) else {
        return Scene::Unclear(format!("{} or {} does not answer", cast.old, cast.target));
    };
    match (&old.master, &target.master) {
        (Some(up), None) if up == cast.target.address() => Scene::Done(cast.target.clone()),
        (None, None) => Scene::Unclear("the old master has not followed yet".into()),
        (None, Some(up)) if up == cast.old.address() => match cast.same_process(now, &cast.old) {
            true => Scene::Fresh,
            false => Scene::Contradiction(format!("{} was restarted since the plan", cast.old)),
        },
        (_, Some(up)) => Scene::Contradiction(format!("{} follows {up}", cast.target)),
        (Some(up), None) => Scene::Contradiction(format!("{} follows {up}", cast.old)),
    }
}

/// Asks the replica to take over and waits until it says it is the master.
pub(super) async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    let cast = match seen(cx).await? {
        (cast, Scene::Fresh) => cast,
        (_, Scene::Done(_)) => return Ok(()),
        (_, Scene::Unclear(why)) => return Err(ActError::Retry(why)),
        (_, other) => return Err(ActError::Failed(format!("{other:?}"))),
    };
    note_score(cx);
    let mut target = Conn::dial(cx, &cast.target).await?;
    old_votes_end(cx, &cast, &mut target).await?;
    demote::enough_lease(cx).await?;
    let asked = Instant::now();
    for _ in 0..TRIES {
        demote::follows(&mut target, &cast).await?;
        match target.send(&["CLUSTER", "FAILOVER"]).await {
            Ok(_) => {}
            Err(Trouble::Gone(why) | Trouble::Lost(why)) => {
                cx.journal.note(format!("{why}: may have been accepted"))
            }
            Err(other) => return Err(other.into()),
        }
        if promoted(cx, &mut target).await? {
            cx.journal.figure("promoted_ms", asked.elapsed().as_millis() as u64);
            cx.journal.figure("new_master", cast.target.as_str());
            return Ok(());
        }
    }
    let limit = PROMOTE_MAX.as_millis();
    Err(ActError::Failed(format!("{} was not promoted within {limit} ms, twice", cast.target)))
}

/// Waits until the target has been a replica for longer than it keeps votes. No server tells when it
/// was last elected, but its link to the master is younger than that; one that is young for another
/// reason costs a wait in which nobody is held.
async fn old_votes_end(cx: &Cx<'_>, cast: &Cast, target: &mut Conn<'_>) -> Result<(), ActError> {
    let timeout = target.config("cluster-node-timeout").await?;
    let odd = |_| ActError::Failed(format!("{}: cluster-node-timeout is {timeout:?}", target.id));
    let timeout = Duration::from_millis(timeout.parse().map_err(odd)?);
    let needed = (timeout * VOTES_TIMEOUTS).max(VOTES_MIN) + AGE_SLACK;
    let mut old = Conn::dial(cx, &cast.old).await?;
    let mut noted = false;
    loop {
        let value = old.ask(&["CLIENT", "LIST", "TYPE", "replica"]).await?;
        let list = reply::text(&value).unwrap_or_default();
        let age = link_age(&list, target.id.host_port().0)
            .ok_or_else(|| ActError::Retry(format!("{} lists no link of a replica", old.id)))?;
        if age >= needed {
            return Ok(());
        }
        let (has, wants) = (age.as_secs(), needed.as_secs());
        let words = format!(
            "{} follows since {has} s and may hold votes of an earlier election for {wants} s",
            target.id
        );
        if needed - age + TRIES_MAX > cx.left() {
            return Err(ActError::Failed(format!("{words}: try again then")));
        }
        if !std::mem::replace(&mut noted, true) {
            cx.journal.note(format!("{words}: waiting"));
        }
        cx.may_send()?;
        tokio::time::sleep(AGE_EVERY).await;
    }
}

/// Age of the youngest link of a replica from that host; of the youngest of all when none says it
/// comes from there.
fn link_age(list: &str, host: &str) -> Option<Duration> {
    let field = |line: &str, name: &str| {
        line.split(' ').find_map(|f| f.strip_prefix(name)?.strip_prefix('=')).map(str::to_string)
    };
    let mut ages: Vec<(bool, u64)> = Vec::new();
    for line in list.lines() {
        let from = field(line, "addr").unwrap_or_default();
        let foreign = from.rsplit_once(':').is_none_or(|(from, _)| from != host);
        ages.extend(field(line, "age").and_then(|a| a.parse().ok()).map(|age| (foreign, age)));
    }
    ages.into_iter().min().map(|(_, age)| Duration::from_secs(age))
}

async fn promoted(cx: &Cx<'_>, target: &mut Conn<'_>) -> Result<bool, ActError> {
    let end = Instant::now() + PROMOTE_MAX;
    while Instant::now() < end {
        match target.role().await {
            Ok(RoleReply::Master { .. }) => return Ok(true),
            Ok(_) => {}
            Err(_) => {
                let _ = target.again().await;
            }
        }
        cx.may_send()?;
        tokio::time::sleep(ROLE_EVERY).await;
    }
    Ok(false)
}

/// Before the promotion the server takes it back by itself; behind it there is only forward.
pub(super) async fn undo(cx: &Cx<'_>) -> Result<(), ActError> {
    match seen(cx).await? {
        (_, Scene::Fresh) => Ok(()),
        (_, Scene::Unclear(why)) => Err(ActError::Retry(why)),
        (_, other) => Err(ActError::Failed(format!("cannot be taken back: {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_youngest_link_of_the_host_counts_and_without_one_the_youngest_of_all() {
        let list = "id=3 addr=10.0.0.2:4100 laddr=10.0.0.1:6379 name= age=90 idle=0 flags=S\n\
                    id=7 addr=10.0.0.2:4200 laddr=10.0.0.1:6379 name= age=4 idle=0 flags=S\n\
                    id=9 addr=10.0.0.3:4300 laddr=10.0.0.1:6379 name= age=2 idle=1 flags=S\n";
        let age = |host: &str| link_age(list, host).map(|a| a.as_secs());
        assert_eq!(
            (age("10.0.0.2"), age("10.0.0.3"), age("10.9.9.9")),
            (Some(4), Some(2), Some(2))
        );
        assert_eq!(link_age("", "10.0.0.2"), None);
    }
}
