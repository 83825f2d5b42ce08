//! `/healthz`: the process answers. `/readyz`: it can do its work.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;

use crate::app::App;

/// A store that needs longer is not there for a request either.
const STORE_TIME: Duration = Duration::from_secs(2);

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, &'static str) {
    let unready = |why| (StatusCode::SERVICE_UNAVAILABLE, why);
    if app.shutdown.is_cancelled() {
        return unready("stopping\n");
    }
    if app.is_sealed() {
        return unready("sealed: the wrapping key is missing or wrong\n");
    }
    match tokio::time::timeout(STORE_TIME, app.store.inventory_generation()).await {
        Ok(Ok(_)) => (StatusCode::OK, "ok\n"),
        _ => unready("the store does not answer\n"),
    }
}
