//! "Lose this zone now", for those who see the fleet there.
//!
//! Invariant: answered from the tree cut to the caller, so nobody learns of another's services; changes
//! nothing. The work has a thread of its own: polls do not wait for it.

use std::sync::Arc;

use model::row::Row;
use model::{InstanceId, ZoneId};
use portal::Page;
use scorer::Load;

use super::Api;
use super::ask::{Answer, Ask, Fail};
use super::sight::{Sight, missing};

/// `GET /zones/{zone}/loss`.
pub async fn loss(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let sight = Sight::new(&api.app, &ask);
    let inventory = sight.inventory.clone();
    let asked = ask.path.get("zone").map(String::as_str).unwrap_or_default();
    let here = |zone: &ZoneId| inventory.instances.values().any(|i| i.zone == *zone);
    let zone = asked.parse::<ZoneId>().ok().filter(|z| inventory.zones.contains_key(z) || here(z));
    let zone =
        zone.ok_or_else(|| missing("zone", asked, inventory.zones.keys().map(|z| z.as_str())))?;
    let (app, now) = (api.app.clone(), ask.now);
    let work = tokio::task::spawn_blocking(move || {
        let rows: Vec<Arc<Row>> = app.board.rows();
        let mine = rows.into_iter().filter(|r| inventory.instances.contains_key(&r.instance.id));
        let rows: Vec<Arc<Row>> = mine.collect();
        let load = |id: &InstanceId| Load { cpu: app.rates.get(id).cpu_ratio };
        let policies = app.policies.load();
        scorer::lose_zone(&inventory, &policies, &rows, &zone, &load, now)
    });
    let loss = match work.await {
        Ok(loss) => loss,
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    };
    Ok(Answer::ok(loss).page(Page::ZoneLoss))
}
