//! The fenced failover of a Sentinel service: pause writes, drain, SENTINEL FAILOVER, demote the old
//! master ourselves, wait until every Sentinel tells the new one, only then let clients go.
//!
//! Invariants: the promoting command is sent only while writers are surely held for another second
//! and every electable replica has everything the master acknowledged; UNPAUSE is sent only after the
//! old master says it is a replica, or when nobody was promoted. Between PAUSE and UNPAUSE nothing is
//! asked of the store.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use link::reply::{self, role::RoleReply};
use model::InstanceId;

use super::cast::{Cast, Scene, SentinelPart, look, note_score};
use super::conn::{Conn, Trouble};
use super::demote::{self, Drained};
use super::pause::Pause;
use super::{ActError, Cx, Observed};
use crate::topology::{self, Snapshot};

/// Renewed each second; if we die, writers wait no longer than this.
const PAUSE: Duration = Duration::from_secs(3);
/// Every Sentinel hears of a failover with the next hello, every 2 s; measured 1.1–2.2 s.
const TELL_MAX: Duration = Duration::from_secs(10);
/// Between two looks at the replicas' roles; a promotion takes some 200 ms.
const ROLE_EVERY: Duration = Duration::from_millis(5);
/// Between two looks at the failover's own state and at what Sentinels tell.
const SENTINEL_EVERY: Duration = Duration::from_millis(100);
/// Beyond Sentinel's own failover-timeout, for its timers run 10 times a second only.
const TIMEOUT_SLACK: Duration = Duration::from_secs(2);

/// What the fleet shows of the fenced section.
pub(super) async fn observe(cx: &Cx<'_>) -> Observed {
    match seen(cx).await {
        Ok((_, scene)) => {
            // Before the first try it is somebody else's doing, with nothing of ours at stake.
            if let (Scene::Done(new), true) = (&scene, cx.step.attempt > 0) {
                demote::note_unknown(cx, new);
            }
            scene.observed()
        }
        Err(ActError::Failed(why)) => Observed::Other(why),
        Err(ActError::Retry(why)) => Observed::Unknown(why),
    }
}

async fn seen(cx: &Cx<'_>) -> Result<(Cast, Scene), ActError> {
    let cast = Cast::of(cx)?;
    let now = look(cx).await.map_err(ActError::Retry)?;
    let scene = scene(&cast, cast.sentinel()?, &now);
    Ok((cast, scene))
}

/// Judges one look. A node that says master beside the old one is believed only when a majority of
/// all Sentinels names it in a newer epoch.
fn scene(cast: &Cast, part: &SentinelPart, now: &Snapshot) -> Scene {
    let watches: Vec<_> = now.watches().map(|(_, w)| &w.master).collect();
    if watches.len() * 2 <= now.sentinels.len() {
        return Scene::Unclear("no majority of the Sentinels answers".into());
    }
    let busy = watches.iter().any(|m| m.flags.split(',').any(|f| f == "failover_in_progress"));
    let old_is_master = now.node(&cast.old).map(|n| n.master.is_none());
    match (cast.promoted(now).as_slice(), old_is_master) {
        ([], Some(true)) if busy => Scene::Unclear("a failover is in progress".into()),
        ([], Some(true)) => untouched(cast, part, now),
        ([], Some(false)) => Scene::Unclear(format!("{} is a replica, nobody is master", cast.old)),
        ([], None) => Scene::Unclear(format!("{} does not answer, nobody is promoted", cast.old)),
        ([new], old) => {
            let newer = |m: &&&model::reading::SentinelMaster| {
                m.address == new.address() && m.config_epoch > part.epoch as f64
            };
            let naming = watches.iter().filter(newer).count();
            match old {
                Some(false) if naming == watches.len() => Scene::Done((*new).clone()),
                Some(false) => Scene::Promoted((*new).clone()),
                _ if naming * 2 > now.sentinels.len() => Scene::Promoted((*new).clone()),
                _ if busy || naming > 0 => Scene::Unclear(format!(
                    "Sentinels do not agree yet: {}",
                    cast.offsets(now, new)
                )),
                None => Scene::Unclear(format!("{} does not answer", cast.old)),
                Some(true) => Scene::Contradiction(format!(
                    "two masters, and the Sentinels stand by the old one: {}",
                    cast.offsets(now, new)
                )),
            }
        }
        (several, _) => Scene::Contradiction(format!("several replicas say master: {several:?}")),
    }
}

fn untouched(cast: &Cast, part: &SentinelPart, now: &Snapshot) -> Scene {
    let stands = |m: &model::reading::SentinelMaster| {
        m.address == cast.old.address() && m.config_epoch == part.epoch as f64
    };
    if let Some((id, w)) = now.watches().find(|(_, w)| !stands(&w.master)) {
        let (address, epoch) = (&w.master.address, w.master.config_epoch);
        let why = format!("{id} names {address} in epoch {epoch}, planned was {}", part.epoch);
        return Scene::Contradiction(why);
    }
    if !cast.same_process(now, &cast.old) {
        return Scene::Contradiction(format!("{} was restarted since the plan", cast.old));
    }
    Scene::Fresh
}

/// Runs the section, or what is left of it.
pub(super) async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    match seen(cx).await? {
        (cast, Scene::Fresh) => {
            note_score(cx);
            begin(cx, &cast).await
        }
        (cast, Scene::Promoted(new)) => resume(cx, &cast, &new).await,
        (_, Scene::Done(_)) => Ok(()),
        (_, Scene::Contradiction(why)) => Err(ActError::Failed(why)),
        (_, Scene::Unclear(why)) => Err(ActError::Retry(why)),
        (_, Scene::GoBack) => Err(ActError::Failed("a Sentinel service never goes back".into())),
    }
}

/// Nothing is left to take back but a pause that ends by itself; once somebody is promoted there is
/// only forward.
pub(super) async fn undo(cx: &Cx<'_>) -> Result<(), ActError> {
    match seen(cx).await? {
        (_, Scene::Fresh) => Ok(()),
        (_, Scene::Unclear(why)) => Err(ActError::Retry(why)),
        (_, other) => Err(ActError::Failed(format!("cannot be taken back: {other:?}"))),
    }
}

/// How a section under the pause ended.
pub(super) enum Ended {
    /// The old master is a replica of this node: clients may go.
    Switched(InstanceId),
    /// Nobody was promoted: clients may go, the step failed.
    Aborted(String),
    /// It is not known, or the old master is not demoted: no UNPAUSE from here.
    Open(ActError),
}

/// Everything dialled and looked at before writers are held.
struct Stage<'c> {
    old: Conn<'c>,
    replicas: Vec<Conn<'c>>,
    sentinel: Conn<'c>,
}

async fn begin(cx: &Cx<'_>, cast: &Cast) -> Result<(), ActError> {
    demote::enough_lease(cx).await?;
    let mut stage = Stage::dial(cx, cast).await?;
    stage.recheck(cast).await?;
    let began = Instant::now();
    let (pause, keeper) = Pause::begin(cx, &cast.old, PAUSE).await?;
    crate::fault::point("switchover.fence.paused", "after").map_err(ActError::Retry)?;
    let ended = keeper.hold(&pause, stage.switch(cx, cast, &pause)).await;
    demote::release(cx, &mut stage.old, ended, began).await
}

/// Another run died between promotion and UNPAUSE: writers were let go since, and what the old
/// master took then is not in the new one.
async fn resume(cx: &Cx<'_>, cast: &Cast, new: &InstanceId) -> Result<(), ActError> {
    demote::enough_lease(cx).await?;
    let began = Instant::now();
    let mut old = Conn::dial(cx, &cast.old).await?;
    let (pause, keeper) = Pause::begin(cx, &cast.old, PAUSE).await?;
    let work = async {
        match demote::old_master(cx, &mut old, new, None).await {
            Ok(()) => {
                told(cx, cast, new).await;
                Ended::Switched(new.clone())
            }
            Err(error) => Ended::Open(error),
        }
    };
    let ended = keeper.hold(&pause, work).await;
    demote::release(cx, &mut old, ended, began).await
}

impl<'c> Stage<'c> {
    async fn dial(cx: &'c Cx<'c>, cast: &Cast) -> Result<Stage<'c>, Trouble> {
        let mut replicas = Vec::new();
        for id in cast.electable() {
            replicas.push(Conn::dial(cx, id).await?);
        }
        let part = cast.sentinel.as_ref();
        let part = part.ok_or_else(|| Trouble::Refused("the plan names no Sentinel".into()))?;
        let (old, sentinel) = (Conn::dial(cx, &cast.old).await?, Conn::dial(cx, &part.id).await?);
        Ok(Stage { old, replicas, sentinel })
    }

    /// The prechecks again, on the connections that will be used: the world moves.
    async fn recheck(&mut self, cast: &Cast) -> Result<(), ActError> {
        demote::same_master(&mut self.old, cast).await?;
        for replica in &mut self.replicas {
            demote::follows(replica, cast).await?;
        }
        let part = cast.sentinel()?;
        let master = self.master(part).await?;
        let flags = ["s_down", "o_down", "failover_in_progress"];
        let flag = master.flags.split(',').find(|f| flags.contains(f));
        let moved =
            master.address != cast.old.address() || master.config_epoch != part.epoch as f64;
        if flag.is_some() || moved {
            let (address, epoch) = (master.address, master.config_epoch);
            let why =
                format!("{} names {address} in epoch {epoch}, flags {}", part.id, master.flags);
            return Err(ActError::Failed(why));
        }
        self.sentinel.ask(&["SENTINEL", "CKQUORUM", &part.name]).await?;
        Ok(())
    }

    async fn master(
        &mut self,
        part: &SentinelPart,
    ) -> Result<model::reading::SentinelMaster, Trouble> {
        let value = self.sentinel.ask(&["SENTINEL", "MASTER", &part.name]).await?;
        topology::master_of(&value).map_err(Trouble::Refused)
    }

    /// The section under the pause.
    async fn switch(&mut self, cx: &Cx<'_>, cast: &Cast, pause: &Pause) -> Ended {
        let Ok(part) = cast.sentinel() else { return Ended::Aborted("no Sentinel".into()) };
        let drained = match demote::drain(&mut self.old, &mut self.replicas, pause).await {
            Ok(drained) => drained,
            Err(Trouble::Barred(error)) => return Ended::Open(error),
            Err(trouble) => return Ended::Aborted(trouble.to_string()),
        };
        cx.journal.figure("drained_offset", drained.offset);
        let asked = Instant::now();
        let accepted = match self.sentinel.send(&["SENTINEL", "FAILOVER", &part.name]).await {
            Ok(_) => true,
            Err(Trouble::Gone(why) | Trouble::Lost(why)) => {
                cx.journal.note(format!("{why}: may have been accepted"));
                false
            }
            Err(Trouble::Refused(why)) => return Ended::Aborted(why),
            Err(Trouble::Barred(error)) => return Ended::Open(error),
        };
        let new = match self.promoted(cx, part, accepted).await {
            Ok(Some(new)) => new,
            Ok(None) => return Ended::Aborted("the failover ended and promoted nobody".into()),
            Err(error) => return Ended::Open(error),
        };
        cx.journal.figure("promoted_ms", asked.elapsed().as_millis() as u64);
        if new != cast.target {
            cx.journal.note(format!("{new} was promoted instead of {}: accepted", cast.target));
        }
        self.after_promotion(cx, cast, &new, &drained).await
    }

    async fn after_promotion(
        &mut self,
        cx: &Cx<'_>,
        cast: &Cast,
        new: &InstanceId,
        drained: &Drained<'_>,
    ) -> Ended {
        if let Err(why) = crate::fault::point("switchover.fence.promoted", "after") {
            return Ended::Open(ActError::Retry(why));
        }
        let done = demote::old_master(cx, &mut self.old, new, Some(drained)).await;
        if let Err(error) = done {
            return Ended::Open(error);
        }
        if let Err(why) = crate::fault::point("switchover.fence.demoted", "after") {
            return Ended::Open(ActError::Retry(why));
        }
        told(cx, cast, new).await;
        Ended::Switched(new.clone())
    }

    /// Waits for a promotion. An accepted failover cannot be recalled, so writers stay held until
    /// somebody is master or Sentinel has given up.
    async fn promoted(
        &mut self,
        cx: &Cx<'_>,
        part: &SentinelPart,
        accepted: bool,
    ) -> Result<Option<InstanceId>, ActError> {
        let limit = Duration::from_millis(part.failover_timeout_ms) + TIMEOUT_SLACK;
        let end = (Instant::now() + limit).min(cx.deadline);
        let mut look_at = Instant::now() + SENTINEL_EVERY;
        let mut sure = accepted;
        loop {
            // Asked before the roles: when it says that nothing is in progress and then nobody is
            // master, nobody will be.
            let over = Instant::now() >= look_at && {
                look_at = Instant::now() + SENTINEL_EVERY;
                self.failover_over(part, &mut sure).await
            };
            if let Some(new) = self.master_among_replicas().await {
                return Ok(Some(new));
            }
            if over {
                return Ok(None);
            }
            cx.may_send()?;
            if Instant::now() >= end {
                return Err(ActError::Retry("nobody is promoted and the failover goes on".into()));
            }
            tokio::time::sleep(ROLE_EVERY).await;
        }
    }

    /// Whether the Sentinel says that no failover is in progress. After a lost reply it is asked on
    /// a fresh connection, and twice: the lost command may still lie in its queue.
    async fn failover_over(&mut self, part: &SentinelPart, sure: &mut bool) -> bool {
        match self.master(part).await {
            Ok(master) => {
                let over = !master.flags.split(',').any(|f| f == "failover_in_progress");
                let believed = over && *sure;
                *sure = true;
                believed
            }
            Err(_) => {
                *sure = false;
                let _ = self.sentinel.again().await;
                false
            }
        }
    }

    async fn master_among_replicas(&mut self) -> Option<InstanceId> {
        for replica in &mut self.replicas {
            match replica.role().await {
                Ok(RoleReply::Master { .. }) => return Some(replica.id.clone()),
                Ok(_) => {}
                // A promoted or moved node drops its clients: that is Sentinel's CLIENT KILL.
                Err(_) => {
                    let _ = replica.again().await;
                }
            }
        }
        None
    }
}

/// Waits until every Sentinel that answers names the new master.
async fn told(cx: &Cx<'_>, cast: &Cast, new: &InstanceId) {
    let Some(part) = &cast.sentinel else { return };
    let began = Instant::now();
    let inventory = (cx.world.inventory)();
    let ids: Vec<_> = inventory.sentinels(&cx.operation.service).map(|s| s.id.clone()).collect();
    while began.elapsed() < TELL_MAX && cx.may_send().is_ok() {
        let names = join_all(ids.iter().map(|id| named(cx, id, &part.name))).await;
        let behind = names.iter().flatten().filter(|address| *address != new.address()).count();
        if behind == 0 {
            cx.journal.figure("sentinels_told_ms", began.elapsed().as_millis() as u64);
            return;
        }
        tokio::time::sleep(SENTINEL_EVERY).await;
    }
    cx.journal.note(format!("not every Sentinel names {new} after {} ms", TELL_MAX.as_millis()));
}

async fn named(cx: &Cx<'_>, sentinel: &InstanceId, name: &str) -> Option<String> {
    let mut conn = Conn::dial(cx, sentinel).await.ok()?;
    let value = conn.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name]).await.ok()?;
    reply::sentinel::address(&value)
}

#[cfg(test)]
mod tests {
    use model::At;
    use model::service::Mode;

    use super::*;
    use crate::fixture::{self, follow, id, promote, service, watch};
    use crate::plan::switchover::{self, Params};

    fn planned() -> (Cast, Snapshot) {
        let now = service(Mode::Sentinel);
        let params = Params { target: Some(id(2, 6379)), ..Params::default() };
        let plan = switchover::make(&now, &params, None, At::EPOCH).unwrap();
        (serde_json::from_value(plan.steps[1].args.clone()).unwrap(), now)
    }

    fn judge(cast: &Cast, now: &Snapshot) -> Scene {
        scene(cast, cast.sentinel.as_ref().unwrap(), now)
    }

    fn tell(now: &mut Snapshot, sentinel: usize, node: usize) {
        let master = &mut watch(now, sentinel).master;
        (master.address, master.config_epoch) = (id(node, 6379).address().to_string(), 4.0);
    }

    #[test]
    fn an_untouched_service_is_fresh_and_a_restarted_master_is_not() {
        let (cast, mut now) = planned();
        assert_eq!(judge(&cast, &now), Scene::Fresh);
        fixture::edit(&mut now, 1).facts.text.run_id = "another".into();
        assert!(matches!(judge(&cast, &now), Scene::Contradiction(_)));
    }

    #[test]
    fn another_epoch_is_a_contradiction_and_a_running_failover_is_waited_for() {
        let (cast, mut now) = planned();
        watch(&mut now, 3).master.flags = "master,failover_in_progress".into();
        assert!(matches!(judge(&cast, &now), Scene::Unclear(_)));
        let (cast, mut now) = planned();
        watch(&mut now, 2).master.config_epoch = 4.0;
        assert!(matches!(judge(&cast, &now), Scene::Contradiction(_)));
    }

    #[test]
    fn two_masters_go_forward_only_when_most_sentinels_name_the_new_one_in_a_newer_epoch() {
        let (cast, mut now) = planned();
        promote(&mut now, 2, 0.0);
        let Scene::Contradiction(why) = judge(&cast, &now) else { panic!("{now:?}") };
        assert!(why.contains("at offset 5000000"), "{why}");
        tell(&mut now, 1, 2);
        assert!(matches!(judge(&cast, &now), Scene::Unclear(_)));
        tell(&mut now, 2, 2);
        assert_eq!(judge(&cast, &now), Scene::Promoted(id(2, 6379)));
        now.sentinels[2].seen = Err("timeout".into());
        assert_eq!(judge(&cast, &now), Scene::Promoted(id(2, 6379)));
        now.sentinels[1].seen = Err("timeout".into());
        assert!(matches!(judge(&cast, &now), Scene::Unclear(_)));
    }

    #[test]
    fn it_is_done_when_the_old_master_follows_and_every_sentinel_tells_it() {
        let (cast, mut now) = planned();
        promote(&mut now, 3, 0.0);
        follow(&mut now, 1, 3);
        assert_eq!(judge(&cast, &now), Scene::Promoted(id(3, 6379)));
        (1..=3).for_each(|s| tell(&mut now, s, 3));
        assert_eq!(judge(&cast, &now), Scene::Done(id(3, 6379)), "another than the target counts");
        promote(&mut now, 2, 0.0);
        assert!(matches!(judge(&cast, &now), Scene::Contradiction(_)));
    }

    #[test]
    fn a_silent_old_master_without_a_promotion_is_left_to_the_servers() {
        let (cast, mut now) = planned();
        now.nodes[0].seen = Err("refused".into());
        assert!(matches!(judge(&cast, &now), Scene::Unclear(_)));
    }
}
