//! How a service is judged: one place for live scores and what-if alike; and a score in words, for mails.

use std::sync::Arc;

use model::board::Board;
use model::score::{Level, waterfall};
use model::service::Service;
use scorer::Policy;

use crate::app::App;

/// The policy in force for a service.
pub(crate) fn policy(app: &App, service: &Service) -> Arc<Policy> {
    app.policies.load().of(service).clone()
}

/// The waterfall of the instance, else of the service, that labels name.
pub(crate) fn explains(board: Arc<Board>) -> alerter::Explains {
    Box::new(move |labels| {
        let label = |name: &str| labels.get(name).map(String::as_str);
        let explained = match label("instance") {
            Some(id) => board.row(&id.parse().ok()?)?.score.clone()?,
            None => {
                let id = format!("{}.{}", label("tenant")?, label("service")?);
                board.rollup().levels.get(Level::Service, &id)?.clone()
            }
        };
        Some(waterfall(&explained))
    })
}
