//! `/scrape?target=`: one instance's page, out of the Board.
//!
//! Invariant: the target is an instance of the inventory, by id or address, or the answer is 404;
//! no connection is opened anywhere. An instance without its first poll answers 503, never an empty page.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use exporter::encode::{self, Format};
use model::InstanceId;
use model::code::{Code, Problem};
use model::inventory::Inventory;

use super::access;
use super::around::refuse;
use super::encoding::Encoding;
use super::pages::answer;
use crate::app::App;

pub(super) async fn scrape(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let reader = match access::reader(&app, &headers, peer).await {
        Ok(reader) => reader,
        Err(problem) => return refuse(problem),
    };
    let Some(target) = query.get("target").filter(|t| !t.is_empty()) else {
        return refuse(Problem::new(
            Code::Malformed,
            "the parameter target is missing",
            "Name an instance: /scrape?target=pay.cart@10.1.0.7:6379.",
        ));
    };
    let inventory = app.inventory();
    let id = match find(&inventory, target, &|id| reader.sees(&inventory, id)) {
        Found::One(id) => id,
        Found::None => {
            return refuse(Problem::new(
                Code::NotFound,
                "the target is no instance of the inventory",
                "Targets are instance ids or addresses of the inventory; /sd lists them.",
            ));
        }
        Found::Several(n) => {
            return refuse(Problem::new(
                Code::Malformed,
                format!("{n} instances of the inventory have this address"),
                "Name one by its id, such as pay.cart@10.1.0.7:6379; /sd lists them.",
            ));
        }
    };
    let format = Format::from_accept(super::pages::accept(&headers));
    let Some(row) = app.board.row(&id) else { return not_polled_yet() };
    let page = encode::page(&row, &app.config.exporter, app.now(), format);
    app.pages.dropped.saw(&id, row.reading.at, &page);
    answer(page.body, format, Encoding::of(&headers))
}

/// Before the first poll nothing is known. An empty page would be a good scrape of nothing to
/// Prometheus and is no OpenMetrics; an error makes it show the target as down.
fn not_polled_yet() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "not polled yet\n").into_response()
}

/// What a target names, of what the reader sees: nobody learns that others have the address too.
#[derive(Debug, PartialEq)]
enum Found {
    One(InstanceId),
    Several(usize),
    None,
}

/// By id, or by address as redis_exporter takes it (`redis://` may stand before it).
fn find(inventory: &Inventory, target: &str, sees: &dyn Fn(&InstanceId) -> bool) -> Found {
    if let Ok(id) = InstanceId::parse(target) {
        // The usual way, thousands of times every interval.
        let known = inventory.instances.contains_key(&id) && sees(&id);
        return if known { Found::One(id) } else { Found::None };
    }
    let address = target.strip_prefix("redis://").unwrap_or(target).trim_end_matches('/');
    let mut all = inventory.instances.keys().filter(|i| i.address() == address).filter(|i| sees(i));
    match (all.next(), all.count()) {
        (None, _) => Found::None,
        (Some(one), 0) => Found::One(one.clone()),
        (Some(_), more) => Found::Several(more + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::service::{Instance, InstanceKind};

    #[test]
    fn an_instance_without_its_first_poll_is_no_good_scrape() {
        assert_eq!(not_polled_yet().status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn an_address_of_two_tenants_is_named_by_id_and_told_to_neither() {
        let mut tree = Inventory::default();
        for id in ["pay.cart@10.0.0.1:6379", "hr.mail@10.0.0.1:6379", "pay.cart@10.0.0.2:6379"] {
            let id = InstanceId::parse(id).unwrap();
            let instance = Instance {
                id: id.clone(),
                kind: InstanceKind::Redis,
                zone: "az-1".parse().unwrap(),
                host: None,
                shard: 0,
            };
            tree.instances.insert(id, instance);
        }
        let all = |_: &InstanceId| true;
        let pay = |id: &InstanceId| id.as_str().starts_with("pay.");
        let one = |id: &str| Found::One(InstanceId::parse(id).unwrap());
        assert_eq!(find(&tree, "10.0.0.1:6379", &all), Found::Several(2));
        assert_eq!(find(&tree, "redis://10.0.0.1:6379/", &pay), one("pay.cart@10.0.0.1:6379"));
        assert_eq!(find(&tree, "hr.mail@10.0.0.1:6379", &all), one("hr.mail@10.0.0.1:6379"));
        assert_eq!(find(&tree, "hr.mail@10.0.0.1:6379", &pay), Found::None);
        assert_eq!(find(&tree, "10.0.0.2:6379", &all), one("pay.cart@10.0.0.2:6379"));
        assert_eq!(find(&tree, "10.0.0.3:6379", &all), Found::None);
    }
}
