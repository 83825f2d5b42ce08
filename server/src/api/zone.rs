//! "Lose this zone now", for those who see the fleet there.
//!
//! Invariant: answered from the tree cut to the caller, so nobody learns of another's services; changes
//! nothing. The work has a thread of its own: polls do not wait for it.

use std::sync::Arc;

use model::inventory::Inventory;
use model::plan::Checked;
use model::row::Row;
use model::zone_loss::{Outcome, ZoneLoss};
use model::{At, InstanceId, ZoneId};
use portal::Page;
use scorer::Load;

use super::Api;
use super::ask::{Answer, Ask, Fail};
use super::sight::{Sight, missing};
use crate::app::App;

/// `GET /zones/{zone}/loss`.
pub async fn loss(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let sight = Sight::new(&api.app, &ask);
    let inventory = sight.inventory.clone();
    let asked = ask.path.get("zone").map(String::as_str).unwrap_or_default();
    let here = |zone: &ZoneId| inventory.instances.values().any(|i| i.zone == *zone);
    let zone = asked.parse::<ZoneId>().ok().filter(|z| inventory.zones.contains_key(z) || here(z));
    let zone =
        zone.ok_or_else(|| missing("zone", asked, inventory.zones.keys().map(|z| z.as_str())))?;
    Ok(Answer::ok(lost(&api.app, inventory, zone, ask.now).await).page(Page::ZoneLoss))
}

/// Services a check names one by one.
const NAMED_MAX: usize = 5;

/// What the zone's loss would mean right now, for the plan of an operation on it.
pub(super) async fn foretold(app: &Arc<App>, ask: &Ask, zone: &ZoneId) -> Checked {
    let inventory = Sight::new(app, ask).inventory.clone();
    let loss = lost(app, inventory, zone.clone(), ask.now).await;
    let down = loss.services.iter().filter(|s| s.outcome == Outcome::Down);
    let names: Vec<&str> = down.take(NAMED_MAX).map(|s| s.service.as_str()).collect();
    let more = if loss.down as usize > names.len() { ", …" } else { "" };
    let who =
        if names.is_empty() { String::new() } else { format!(" ({}{more})", names.join(", ")) };
    let seen = format!(
        "if {zone} were lost now: {} down{who}, {} degraded, {} as they are",
        loss.down, loss.degraded, loss.ok
    );
    Checked { check: "zone-loss".into(), passed: true, seen }
}

async fn lost(app: &Arc<App>, inventory: Arc<Inventory>, zone: ZoneId, now: At) -> ZoneLoss {
    let app = app.clone();
    let work = tokio::task::spawn_blocking(move || {
        let rows: Vec<Arc<Row>> = app.board.rows();
        let mine = rows.into_iter().filter(|r| inventory.instances.contains_key(&r.instance.id));
        let rows: Vec<Arc<Row>> = mine.collect();
        let load = |id: &InstanceId| Load { cpu: app.rates.get(id).cpu_ratio };
        let policies = app.policies.load();
        scorer::lose_zone(&inventory, &policies, &rows, &zone, &load, now)
    });
    match work.await {
        Ok(loss) => loss,
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}
