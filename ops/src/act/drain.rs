//! The switchover without Sentinels: pause writes, drain the target, promote it, attach everybody
//! else to it.
//!
//! Invariant: without Sentinels nobody arbitrates, so a half-done switchover found on resume goes
//! forward only when the old master took nothing since, back only when the target took nothing since,
//! and otherwise stops with both offsets.

use std::time::{Duration, Instant};

use link::reply::role::RoleReply;
use model::InstanceId;
use model::field::Field;

use super::cast::{Cast, Scene, look, note_score};
use super::conn::{Conn, Trouble};
use super::fence::Ended;
use super::pause::Pause;
use super::steer::rewrite_file;
use super::{ActError, Cx, Observed, demote};
use crate::topology::{Node, Snapshot};

/// Renewed each second; if we die, writers wait no longer than this.
const PAUSE: Duration = Duration::from_secs(5);
/// Between two looks at a node that changes its role; it takes milliseconds.
const ROLE_EVERY: Duration = Duration::from_millis(5);
/// A partial resynchronisation takes a second; a full one of a large data set does not fit here and
/// is waited for by the next look.
const ATTACH_MAX: Duration = Duration::from_secs(10);

/// What the fleet shows of the section.
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
    if let Some(stray) = cast.promoted(now).into_iter().find(|id| **id != cast.target) {
        return Scene::Contradiction(format!("{stray} says it is a master"));
    }
    let (Some(old), Some(target)) = (now.node(&cast.old), now.node(&cast.target)) else {
        return Scene::Unclear(format!("{} or {} does not answer", cast.old, cast.target));
    };
    match (&old.master, &target.master) {
        (None, Some(up)) if up == cast.old.address() => match cast.same_process(now, &cast.old) {
            true => Scene::Fresh,
            false => Scene::Contradiction(format!("{} was restarted since the plan", cast.old)),
        },
        (None, Some(up)) => Scene::Contradiction(format!("{} follows {up}", cast.target)),
        (Some(up), None) if up == cast.target.address() => match all_follow(cast, now) {
            true => Scene::Done(cast.target.clone()),
            false => Scene::Promoted(cast.target.clone()),
        },
        (Some(up), None) => Scene::Contradiction(format!("{} follows {up}", cast.old)),
        (Some(_), Some(_)) => Scene::Contradiction("nobody says it is a master".into()),
        (None, None) => two_masters(cast, now, old, target),
    }
}

fn all_follow(cast: &Cast, now: &Snapshot) -> bool {
    let follows = |id: &InstanceId| {
        now.node(id).and_then(|n| n.master.as_deref()) == Some(cast.target.address())
    };
    cast.others.iter().all(follows)
}

/// We died between the promotion and the demotion. The target's own record says where the histories
/// part; whoever did not go beyond it can be dropped without a loss.
fn two_masters(cast: &Cast, now: &Snapshot, old: &Node, target: &Node) -> Scene {
    let known = cast.same_process(now, &cast.old) && cast.same_process(now, &cast.target);
    let parted = target.get(Field::SecondReplOffset).filter(|o| *o > 0.0).map(|o| o - 1.0);
    match parted {
        Some(parted) if known && old.offset == parted => Scene::Promoted(cast.target.clone()),
        Some(parted)
            if known && target.offset == parted && now.replicas_of(&cast.target).is_empty() =>
        {
            Scene::GoBack
        }
        _ => {
            let offsets = cast.offsets(now, &cast.target);
            Scene::Contradiction(format!("two masters, both may have taken writes: {offsets}"))
        }
    }
}

/// Runs the section, or what is left of it.
pub(super) async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    match seen(cx).await? {
        (cast, Scene::Fresh) => {
            note_score(cx);
            begin(cx, &cast).await
        }
        (cast, Scene::Promoted(_)) => resume(cx, &cast).await,
        (cast, Scene::GoBack) => {
            go_back(cx, &cast).await?;
            Err(ActError::Retry(format!("{} follows again, once more from the start", cast.target)))
        }
        (_, Scene::Done(_)) => Ok(()),
        (_, Scene::Contradiction(why)) => Err(ActError::Failed(why)),
        (_, Scene::Unclear(why)) => Err(ActError::Retry(why)),
    }
}

/// Takes back a promotion nobody used yet; a finished one is only gone forward from.
pub(super) async fn undo(cx: &Cx<'_>) -> Result<(), ActError> {
    match seen(cx).await? {
        (_, Scene::Fresh) => Ok(()),
        (cast, Scene::GoBack) => go_back(cx, &cast).await,
        (_, Scene::Unclear(why)) => Err(ActError::Retry(why)),
        (_, other) => Err(ActError::Failed(format!("cannot be taken back: {other:?}"))),
    }
}

async fn begin(cx: &Cx<'_>, cast: &Cast) -> Result<(), ActError> {
    demote::enough_lease(cx).await?;
    let mut old = Conn::dial(cx, &cast.old).await?;
    let mut target = [Conn::dial(cx, &cast.target).await?];
    demote::same_master(&mut old, cast).await?;
    demote::follows(&mut target[0], cast).await?;
    let began = Instant::now();
    let (pause, keeper) = Pause::begin(cx, &cast.old, PAUSE).await?;
    crate::fault::point("switchover.drain.paused", "after").map_err(ActError::Retry)?;
    let work = switch(cx, cast, &mut old, &mut target, &pause);
    let ended = keeper.hold(&pause, work).await;
    demote::release(cx, &mut old, ended, began).await?;
    attach_others(cx, cast).await
}

/// The section under the pause.
async fn switch(
    cx: &Cx<'_>,
    cast: &Cast,
    old: &mut Conn<'_>,
    target: &mut [Conn<'_>; 1],
    pause: &Pause,
) -> Ended {
    let drained = match demote::drain(old, target, pause).await {
        Ok(drained) => drained,
        Err(Trouble::Barred(error)) => return Ended::Open(error),
        Err(trouble) => return Ended::Aborted(trouble.to_string()),
    };
    cx.journal.figure("drained_offset", drained.offset);
    match promote(cx, &mut target[0]).await {
        Ok(true) => {}
        Ok(false) => return Ended::Aborted(format!("{} stays a replica", cast.target)),
        Err(error) => return Ended::Open(error),
    }
    if let Err(why) = crate::fault::point("switchover.drain.promoted", "after") {
        return Ended::Open(ActError::Retry(why));
    }
    match demote::old_master(cx, old, &cast.target, Some(&drained)).await {
        Ok(()) => Ended::Switched(cast.target.clone()),
        Err(error) => Ended::Open(error),
    }
}

/// REPLICAOF NO ONE; false when it surely stays a replica. A lost reply is unknown: roles are read
/// until the node answers, twice as a replica before it counts as one, because the lost command may
/// still lie in its queue.
async fn promote(cx: &Cx<'_>, target: &mut Conn<'_>) -> Result<bool, ActError> {
    let asked = Instant::now();
    match target.send(&["REPLICAOF", "NO", "ONE"]).await {
        Ok(_) => {}
        Err(Trouble::Gone(why) | Trouble::Lost(why)) => {
            cx.journal.note(format!("{why}: may have been done"))
        }
        Err(Trouble::Refused(why)) => {
            cx.journal.note(why);
            return Ok(false);
        }
        Err(Trouble::Barred(error)) => return Err(error),
    }
    let mut replica_seen = 0;
    loop {
        match target.role().await {
            Ok(RoleReply::Master { .. }) => {
                cx.journal.figure("promoted_ms", asked.elapsed().as_millis() as u64);
                return Ok(true);
            }
            Ok(_) if replica_seen >= 2 => return Ok(false),
            Ok(_) => replica_seen += 1,
            Err(_) => {
                let _ = target.again().await;
            }
        }
        cx.may_send()?;
        tokio::time::sleep(ROLE_EVERY).await;
    }
}

/// Goes forward after a promotion by a run that died.
async fn resume(cx: &Cx<'_>, cast: &Cast) -> Result<(), ActError> {
    demote::enough_lease(cx).await?;
    let mut old = Conn::dial(cx, &cast.old).await?;
    if let RoleReply::Master { .. } = old.role().await? {
        let began = Instant::now();
        let (pause, keeper) = Pause::begin(cx, &cast.old, PAUSE).await?;
        let work = async {
            // Judged again now that writers are held: before, they were not.
            match seen(cx).await {
                Ok((_, Scene::Promoted(new))) => {
                    match demote::old_master(cx, &mut old, &new, None).await {
                        Ok(()) => Ended::Switched(new),
                        Err(error) => Ended::Open(error),
                    }
                }
                Ok((_, other)) => Ended::Aborted(format!("moved meanwhile: {other:?}")),
                Err(error) => Ended::Open(error),
            }
        };
        let ended = keeper.hold(&pause, work).await;
        demote::release(cx, &mut old, ended, began).await?;
    }
    attach_others(cx, cast).await
}

async fn attach_others(cx: &Cx<'_>, cast: &Cast) -> Result<(), ActError> {
    for id in &cast.others {
        let mut conn = Conn::dial(cx, id).await?;
        match conn.role().await? {
            RoleReply::Replica { master, .. } if master == cast.target.address() => {}
            RoleReply::Replica { .. } => demote::attach(&mut conn, &cast.target).await?,
            _ => return Err(ActError::Failed(format!("{id} is not a replica any more"))),
        }
    }
    Ok(())
}

async fn go_back(cx: &Cx<'_>, cast: &Cast) -> Result<(), ActError> {
    let mut target = Conn::dial(cx, &cast.target).await?;
    cx.journal.note(format!("{} took no writes and follows {} again", cast.target, cast.old));
    demote::attach(&mut target, &cast.old).await?;
    let end = Instant::now() + ATTACH_MAX;
    while Instant::now() < end {
        if let Ok(RoleReply::Replica { link, .. }) = target.role().await
            && link == "connected"
        {
            break;
        }
        tokio::time::sleep(ROLE_EVERY).await;
    }
    Ok(())
}

/// Whether the roles were written into the configuration files in this run. No server tells what is
/// in its file, so after a crash it is done again.
pub(super) fn observe_persist(cx: &Cx<'_>) -> Observed {
    let memo = cx.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match memo["rewritten"].as_bool() {
        Some(true) => Observed::Wished(serde_json::json!({ "rewritten": true })),
        _ => Observed::NotYet("the configuration files hold the old roles".into()),
    }
}

/// CONFIG REWRITE everywhere: nobody else keeps the roles, and a restart would bring the old master
/// back as one.
pub(super) async fn apply_persist(cx: &Cx<'_>) -> Result<(), ActError> {
    let cast = Cast::of(cx)?;
    for id in std::iter::once(&cast.target).chain([&cast.old]).chain(&cast.others) {
        rewrite_file(cx, &mut Conn::dial(cx, id).await?).await?;
    }
    let mut memo = cx.memo.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *memo = serde_json::json!({ "rewritten": true });
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::At;
    use model::service::Mode;

    use super::*;
    use crate::fixture::{edit, follow, id, promote, service};
    use crate::plan::switchover::{self, Discovery, Params};

    fn planned() -> (Cast, Snapshot) {
        let now = service(Mode::Standalone);
        let discovery = Some(Discovery::Manual);
        let params = Params { target: Some(id(2, 6379)), discovery, ..Params::default() };
        let plan = switchover::make(&now, &params, None, At::EPOCH).unwrap();
        (serde_json::from_value(plan.steps[0].args.clone()).unwrap(), now)
    }

    #[test]
    fn a_finished_promotion_still_wants_every_replica() {
        let (cast, mut now) = planned();
        assert_eq!(scene(&cast, &now), Scene::Fresh);
        promote(&mut now, 2, 0.0);
        follow(&mut now, 1, 2);
        assert_eq!(scene(&cast, &now), Scene::Promoted(id(2, 6379)));
        follow(&mut now, 3, 2);
        assert_eq!(scene(&cast, &now), Scene::Done(id(2, 6379)));
    }

    #[test]
    fn of_two_masters_only_one_that_took_nothing_since_is_dropped() {
        let (cast, mut now) = planned();
        promote(&mut now, 2, 100.0);
        assert_eq!(scene(&cast, &now), Scene::Promoted(id(2, 6379)), "the old one took nothing");
        edit(&mut now, 1).offset += 1.0;
        let Scene::Contradiction(why) = scene(&cast, &now) else { panic!("{now:?}") };
        assert!(why.contains("5000001") && why.contains("5000100"), "{why}");
        promote(&mut now, 2, 0.0);
        assert_eq!(scene(&cast, &now), Scene::GoBack, "the target took nothing");
        follow(&mut now, 3, 2);
        assert!(
            matches!(scene(&cast, &now), Scene::Contradiction(_)),
            "it has a replica of its own"
        );
    }

    #[test]
    fn a_stray_master_or_nobody_is_a_contradiction() {
        let (cast, mut now) = planned();
        promote(&mut now, 3, 0.0);
        assert!(matches!(scene(&cast, &now), Scene::Contradiction(_)));
        let (cast, mut now) = planned();
        follow(&mut now, 1, 3);
        assert!(matches!(scene(&cast, &now), Scene::Contradiction(_)));
    }
}
