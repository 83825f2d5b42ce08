//! Who is watched: one task per instance of the inventory, started and stopped as it changes.
//!
//! Invariant: at most one task per instance, so its row has one writer; each Sentinel has a second
//! one that hears its events and writes nothing. A panic in any of them ends the process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::InstanceId;
use model::service::InstanceKind;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::{descriptors, watch};

/// Another process of the same store may change the tree: its generation is asked this often.
const GENERATION_EVERY: Duration = Duration::from_secs(5);

/// Keeps the tasks as the inventory says, until `stop`; then waits for all of them.
pub(crate) async fn run(app: Arc<App>, stop: CancellationToken) {
    app.watching.grades.load(&app).await;
    watch_all(&app, stop).await;
    app.watching.grades.save_last(&app).await;
}

async fn watch_all(app: &Arc<App>, stop: CancellationToken) {
    let mut tasks: JoinSet<()> = JoinSet::new();
    let mut stops: BTreeMap<InstanceId, CancellationToken> = BTreeMap::new();
    loop {
        let moved = app.inventory_moved.notified();
        tokio::pin!(moved);
        // Registered before the tree is read, so that no change falls between.
        moved.as_mut().enable();
        follow(app, &stop, &mut tasks, &mut stops);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return drain(tasks).await,
                () = &mut moved => break,
                Some(ended) = tasks.join_next() => check(ended),
                () = tokio::time::sleep(GENERATION_EVERY) => ask_generation(app).await,
            }
        }
    }
}

fn follow(
    app: &Arc<App>,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
    stops: &mut BTreeMap<InstanceId, CancellationToken>,
) {
    let inventory = app.inventory();
    stops.retain(|id, token| {
        let stays = inventory.instances.contains_key(id);
        if !stays {
            token.cancel();
        }
        stays
    });
    app.watching.desks.keep(&inventory);
    for (id, instance) in &inventory.instances {
        if !stops.contains_key(id) {
            let token = stop.child_token();
            let desk = app.watching.desks.open(id);
            app.watching.grades.give(id, &desk);
            tasks.spawn(watch::watch(app.clone(), id.clone(), desk, token.clone()));
            if instance.kind == InstanceKind::Sentinel {
                tasks.spawn(watch::events::listen(app.clone(), id.clone(), token.clone()));
            }
            stops.insert(id.clone(), token);
        }
    }
    descriptors::check(&inventory);
}

async fn ask_generation(app: &App) {
    let began = std::time::Instant::now();
    let asked = async {
        let present = app.store.inventory_generation().await?;
        let items = app.store.item_generation().await?;
        let policies = app.store.score_policy_generation().await?;
        let documents = app.store.policy_generation().await?;
        let in_force = app.policy_generation.load(std::sync::atomic::Ordering::Relaxed);
        if documents != in_force
            || present != app.inventory.load().generation
            || items != app.items.load().generation
            || policies != app.policies.load().generation
        {
            app.reload_inventory().await?;
        }
        anyhow::Ok(())
    };
    let ended = asked.await;
    crate::loops::note(app, "watch", began.elapsed(), ended.err());
}

async fn drain(mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        check(ended);
    }
}

fn check(ended: Result<(), tokio::task::JoinError>) {
    if let Err(e) = ended
        && e.is_panic()
    {
        std::panic::resume_unwind(e.into_panic());
    }
}
