//! How a service is judged: one place for live scores and what-if alike.

use std::sync::Arc;

use model::service::Service;
use scorer::Policy;

use crate::app::App;

/// The policy in force for a service.
pub(crate) fn policy(app: &App, service: &Service) -> Arc<Policy> {
    app.policies.load().of(service).clone()
}
