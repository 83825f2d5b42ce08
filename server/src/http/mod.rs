//! The way in from the network: listener, what wraps every request, and the pages Prometheus reads.
//!
//! Invariant: every request is counted, bounded in time and number, and has an id; nothing here
//! dials a Redis. Refuses to know what the API's handlers do.

mod access;
mod around;
mod discovery;
mod dropped;
mod encoding;
mod health;
pub(crate) mod listener;
mod opening;
mod pages;
mod scrape;
pub(crate) mod tls;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::App;

pub(crate) use pages::PageCache;

/// Every route of the process.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/scrape", get(scrape::scrape))
        .route("/sd", get(discovery::sd))
        .route("/metrics", get(pages::fleet))
        .route("/metrics/self", get(pages::own))
        .merge(crate::api::router(app.clone()))
        .layer(CatchPanicLayer::custom(around::panicked))
        .layer(from_fn_with_state(app.clone(), around::around))
        .with_state(app)
}
