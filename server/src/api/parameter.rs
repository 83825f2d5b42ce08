//! Parameters of a service over its nodes: wish, running value, file.
//!
//! Invariant: the nodes are asked while the answer is made; what one did not tell is unknown, never
//! fine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::parameter::ParameterPage;
use model::service::Service;
use ops::params::{drift, look};
use portal::Page;

use super::ask::{Answer, Ask, Fail};
use super::sight::Sight;
use super::{Api, list};
use crate::app::App;

/// One poll deadline and a margin.
const LOOK: Duration = Duration::from_secs(4);

/// `GET /services/{id}/parameters`.
pub async fn list(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let service = Sight::new(&api.app, &ask).service(ask.id())?.clone();
    let mut page = look(&api.app, &ask, &service).await?;
    page.items.retain(|row| list::matches(ask.query("q"), &[&row.name]));
    Ok(Answer::ok(page).page(Page::Parameters))
}

async fn look(app: &App, ask: &Ask, service: &Service) -> Result<ParameterPage, Fail> {
    let desired = app.store.parameters(&ask.caller, &service.id).await?;
    let seen = look::service(app.engine.world(), service, Instant::now() + LOOK).await;
    Ok(drift::page(&service.id, &seen, &desired, ask.now))
}
