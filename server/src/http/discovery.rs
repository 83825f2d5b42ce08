//! `/sd`: the targets, for Prometheus' `http_sd_configs`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use exporter::Shard;
use exporter::sd::{self, SdFilter};
use model::ServiceId;
use model::code::{Code, Problem};

use super::access;
use super::around::refuse;
use crate::app::App;

pub(super) async fn sd(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let reader = match access::reader(&app, &headers, peer).await {
        Ok(reader) => reader,
        Err(problem) => return refuse(problem),
    };
    let shard = match shard_of(&query) {
        Ok(shard) => shard,
        Err(detail) => return refuse(malformed(&detail)),
    };
    let service = match query.get("service").map(|s| s.parse::<ServiceId>()) {
        Some(Err(e)) => return refuse(malformed(&e.to_string())),
        Some(Ok(id)) => Some(id),
        None => None,
    };
    let inventory = app.inventory();
    let visible = |i: &model::service::Instance| reader.sees(&inventory, &i.id);
    let filter = SdFilter { shard, service, visible: &visible };
    let listen = app.public_host();
    let body = sd::targets(&inventory, &filter, &app.config.exporter.sd, &listen);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// `?shard=i/n`, or what is wrong with it.
pub(super) fn shard_of(query: &HashMap<String, String>) -> Result<Option<Shard>, String> {
    let Some(text) = query.get("shard") else { return Ok(None) };
    let shard = Shard::parse(text).map(Some);
    shard.ok_or_else(|| format!("shard={text:?}: expected i/n with i from 0 to n-1, such as 0/2"))
}

pub(super) fn malformed(detail: &str) -> Problem {
    Problem::new(Code::Malformed, detail, "Correct the parameter and ask again.")
}
