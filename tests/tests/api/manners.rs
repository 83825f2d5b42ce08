//! How the API answers what is nearly right: near names, unknown words, other forms.

use reqwest::Method;
use serde_json::{Value, json};
use tests::wait;

use crate::world::{World, answered};

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_nearly_right_is_answered_with_the_names_in_sight_only() {
    let world = World::start().await;
    for (path, meant) in [
        ("/services/pay.crat", "pay.cart"),
        ("/services/cart", "pay.cart"),
        ("/tenants/pya", "pay"),
        ("/systems/pay.cor", "pay.core"),
        ("/runbooks/replica-restat/mode", "replica-restart"),
        ("/services?in=pay.crat", "pay.cart"),
        ("/alerts?in=pax", "pay"),
    ] {
        let answer = match path.ends_with("/mode") {
            false => world.get("reader", path).await,
            true => {
                let body = json!({ "mode": "off", "scope": "tenant:pay", "reason": "x" });
                let put = world.request("operator", Method::PUT, path).json(&body);
                answered(put.header("if-match", "*")).await
            }
        };
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
        let next = answer.json()["next"].as_str().unwrap().to_string();
        assert!(next.contains(meant), "{path}: {next}");
    }
    for path in ["/services/hr.cach", "/services/hr.cache", "/tenants/hr", "/alerts?in=hr"] {
        let answer = world.get("reader", path).await;
        assert_eq!(answer.status, 404, "{path}");
        let next = answer.json()["next"].as_str().unwrap().to_string();
        assert!(!next.contains("hr"), "another tenant's name: {next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_or_a_form_that_is_none_is_refused_with_what_is_allowed() {
    let world = World::start().await;
    let sort = world.get("reader", "/services?sort=memory").await;
    assert_eq!((sort.status, sort.code().as_str()), (422, "CW-1001"));
    assert!(sort.text.contains("name, score, mem, ops, clients, slow, alerts"), "{}", sort.text);
    let none = world.get("reader", "/alerts?sort=level").await;
    assert_eq!(none.status, 422, "{}", none.text);
    for path in ["/services?format=xml", "/overview?format=csv", "/services/pay.cart?format=csv"] {
        let answer = world.get("reader", path).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "CW-1000"), "{path}");
    }
    assert_eq!(world.get("reader", "/services?format=json").await.json()["count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_a_table_with_a_head_when_asked_for_one() {
    let world = World::start().await;
    let lists =
        ["tenants", "systems", "services", "instances", "alerts", "incidents", "operations"];
    for noun in lists {
        let answer = world.get("reader", &format!("/{noun}?format=csv")).await;
        assert_eq!(answer.status, 200, "{noun}: {}", answer.text);
        assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8");
        let head = answer.text.lines().next().unwrap();
        assert!(head.split(',').any(|c| c == "id"), "{noun}: {head}");
        assert!(!answer.text.contains("hr."), "{noun}: {}", answer.text);
        // An alert may begin between the two.
        wait::until(&format!("as many {noun} as rows"), || async {
            let table = world.get("reader", &format!("/{noun}?format=csv")).await;
            let rows = world.get("reader", &format!("/{noun}")).await.json()["count"].as_u64();
            (table.text.lines().count() as u64 == 1 + rows?).then_some(())
        })
        .await;
    }
    // Text of others is no formula.
    let token = world.new_token("intake", &["tenant:pay"]).await;
    let body = crate::world::message("pay", "=cmd|'/C calc'!A0", None);
    let post = world.bare(Method::POST, "/api/v1/intake/alertmanager").bearer_auth(&token);
    assert_eq!(answered(post.json(&body)).await.status, 202);
    let csv = world.get("reader", "/alerts?format=csv").await;
    assert!(csv.text.contains("'=cmd|") && !csv.text.contains(",=cmd|"), "{}", csv.text);
    let first = world.get("admin", "/instances?format=csv&limit=1").await;
    let link = first.headers["link"].to_str().unwrap();
    let path = link.trim_start_matches('<').split('>').next().unwrap();
    let path = path.trim_start_matches("/api/v1");
    let second = world.get("admin", path).await;
    assert_eq!((first.text.lines().count(), second.text.lines().count()), (2, 2));
    assert_ne!(first.text.lines().nth(1), second.text.lines().nth(1));
    assert!(!second.headers.contains_key("link"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_never_shorter_than_asked_without_a_word() {
    let world = World::start().await;
    let make = async |body: Value| world.send("operator", Method::POST, "/me/tokens", &body).await;
    let long = make(json!({ "name": "t", "days": 90 })).await;
    assert_eq!((long.status, long.code().as_str()), (422, "CW-1001"), "{}", long.text);
    let said = long.json();
    assert!(said["detail"].as_str().unwrap().contains("outlives"), "{said}");
    assert!(said["next"].as_str().unwrap().contains("login --days"), "{said}");
    let as_long = make(json!({ "name": "t" })).await;
    assert_eq!(as_long.status, 201, "{}", as_long.text);
    assert!(as_long.json()["expires_at"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manual_is_read_by_whoever_is_signed_in() {
    let world = World::start().await;
    let list = world.get("reader", "/docs").await;
    assert_eq!(list.status, 200, "{}", list.text);
    for item in list.json()["items"].as_array().unwrap() {
        let name = item["name"].as_str().unwrap();
        let page = world.get("reader", &format!("/docs/runbooks/{name}")).await;
        assert!(page.json()["text"].as_str().is_some_and(|t| t.len() > 100), "{name}");
        let drawn = world.bare(Method::GET, &format!("/docs/runbooks/{name}"));
        let drawn = answered(drawn.bearer_auth(world.token("reader"))).await;
        assert!(drawn.status == 200 && drawn.text.contains("<h1>"), "{name}: {}", drawn.status);
    }
    let anonymous = answered(world.bare(Method::GET, "/docs")).await;
    assert_eq!(anonymous.status, 303, "to the login");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_read_without_a_token_only_under_a_name_that_is_ours() {
    let world = World::start().await;
    for path in ["/metrics", "/metrics/self", "/sd", "/scrape?target=pay.cart"] {
        let by = |host: &'static str| world.bare(Method::GET, path).header("host", host);
        let stranger = answered(by("rebound.example:9850")).await;
        assert_eq!(stranger.status, 403, "{path}: {}", stranger.text);
        assert!(!stranger.text.contains("pay."), "{}", stranger.text);
        assert_ne!(answered(by("localhost:9850")).await.status, 403, "{path}");
    }
}
