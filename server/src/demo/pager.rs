//! The pager of the demonstration: a small sink that counts what Alertmanager sends to people.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;

type Pages = Arc<Mutex<BTreeSet<String>>>;

/// A running sink.
pub(super) struct Pager {
    /// Where it listens.
    pub address: SocketAddr,
    pages: Pages,
}

impl Pager {
    /// Listens on a free loopback port.
    pub(super) async fn start() -> anyhow::Result<Pager> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let pages = Pages::default();
        let router = axum::Router::new().route("/page", post(page)).with_state(Arc::clone(&pages));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Pager { address, pages })
    }

    /// `alertname instance status` of everything that was paged so far.
    pub(super) fn pages(&self) -> BTreeSet<String> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn page(State(pages): State<Pages>, Json(body): Json<Value>) -> StatusCode {
    let mut pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
    for alert in body["alerts"].as_array().into_iter().flatten() {
        let label = |name: &str| alert["labels"][name].as_str().unwrap_or("-").to_string();
        let status = alert["status"].as_str().unwrap_or("-");
        pages.insert(format!("{} {} {status}", label("alertname"), label("instance")));
    }
    StatusCode::OK
}
