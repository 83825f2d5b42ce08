//! What a lost zone or host would cost a service.
//!
//! Invariant: judged from the inventory and the latest readings alone; nothing is asked for it.

use std::sync::Arc;

use model::risk::ZoneRisk;
use ops::placement::{Layout, risk};
use serde_json::json;

use super::Api;
use super::ask::{Answer, Ask, Fail};
use super::sight::Sight;

/// `GET /services/{id}/zone-risk`.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let sight = Sight::new(&api.app, &ask);
    let service = sight.service(ask.id())?;
    let mut value = serde_json::to_value(of(&api, &sight, &service.id)).expect("plain data");
    value["service"] = json!(service.id);
    value["as_of"] = json!(ask.now);
    Ok(Answer::ok(value))
}

/// The findings about a service in sight.
pub fn of(api: &Api, sight: &Sight<'_>, service: &model::ServiceId) -> ZoneRisk {
    let layout = Layout::on_board(&sight.inventory, &api.app.board, service);
    layout.map(|l| risk::judge(&l)).unwrap_or_default()
}
