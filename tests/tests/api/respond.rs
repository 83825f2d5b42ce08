//! What people do about alerts, through the interface: acknowledge, silence, maintain, look back.

use hmac::{Hmac, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use server::auth::opaque;
use sha2::Sha256;

use crate::world::{World, answered, message};

async fn alert(world: &World, name: &str) -> String {
    let token = world.new_token("intake", &["platform"]).await;
    let body = message("pay", name, None);
    let post = world.bare(Method::POST, "/api/v1/intake/alertmanager");
    // Alertmanagers that can do no better send the token as a password.
    let posted = answered(post.basic_auth("am", Some(&token)).json(&body)).await;
    assert_eq!(posted.status, 202, "{}", posted.text);
    let all = world.get("operator", &format!("/alerts?q={name}")).await.json();
    all["items"][0]["id"].as_str().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_never_reaches_further_than_its_makers_grants() {
    let world = World::start().await;
    alert(&world, "Custom").await;
    let body = json!({ "matchers": ["alertname=Custom"], "duration": "2h", "comment": "CHG-1" });
    let made = world.send("operator", Method::POST, "/silences", &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    assert_eq!(made["scope"], "tenant:pay", "the only scope he has is forced on");
    assert_eq!(made["text"], r#"tenant="pay", alertname="Custom""#);
    let listed = world.get("reader", "/silences").await.json();
    assert_eq!((&listed["count"], &listed["items"][0]["alerts"]), (&json!(1), &json!(1)));
    assert_eq!(listed["items"][0]["expirable"], false);
    assert_eq!(world.get("foreign", "/silences").await.json()["count"], 0);
    let path = format!("/silences/{}", made["id"].as_str().unwrap());
    assert_eq!(world.send("foreign", Method::DELETE, &path, &Value::Null).await.status, 404);
    for (scope, status) in [("platform", 404), ("tenant:hr", 404), ("nonsense", 422)] {
        let mut wide = body.clone();
        wide["scope"] = scope.into();
        let refused = world.send("operator", Method::POST, "/silences", &wide).await;
        assert_eq!(refused.status, status, "{scope}: {}", refused.text);
    }
    for bad in [json!({"matchers": ["a=~("]}), json!({"duration": "400d"}), json!({"comment": " "})]
    {
        let mut wrong = body.clone();
        for (name, value) in bad.as_object().unwrap() {
            wrong[name] = value.clone();
        }
        let refused = world.send("operator", Method::POST, "/silences", &wrong).await;
        assert_eq!(refused.status, 422, "{bad}: {}", refused.text);
    }
    let ended = world.send("operator", Method::DELETE, &path, &Value::Null).await;
    assert_eq!((ended.status, &ended.json()["state"]), (200, &json!("expired")), "{}", ended.text);
    let csv = world.get("operator", "/silences?format=csv").await.text;
    assert!(csv.starts_with("id,scope,state,text") && csv.contains("expired"), "{csv}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_maintenance_is_begun_seen_and_ended_by_those_it_concerns() {
    let world = World::start().await;
    let body = json!({ "scope": "service:pay.cart", "duration": "2h", "reason": "CHG-1" });
    let made = world.send("operator", Method::POST, "/maintenance", &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    assert_eq!((&made["state"], &made["instances"]), (&json!("running"), &json!(1)));
    assert_eq!(world.get("foreign", "/maintenance").await.json()["count"], 0);
    let page = world.bare(Method::GET, "/maintenance").bearer_auth(world.token("reader"));
    let page = answered(page).await;
    assert!(page.status == 200 && page.text.contains("service:pay.cart"), "{}", page.text);
    let end = format!("/maintenance/{}/end", made["id"].as_str().unwrap());
    assert_eq!(world.send("foreign", Method::POST, &end, &json!({})).await.status, 404);
    let ended = world.send("operator", Method::POST, &end, &json!({})).await;
    assert_eq!((ended.status, &ended.json()["state"]), (200, &json!("over")), "{}", ended.text);
    for bad in [
        json!({ "scope": "service:pay.cart", "reason": "no end" }),
        json!({ "scope": "service:pay.cart", "reason": "r", "duration": "32d" }),
        json!({ "scope": "service:pay.cart", "reason": "", "duration": "1h" }),
        json!({ "scope": "galaxy", "reason": "r", "duration": "1h" }),
    ] {
        let refused = world.send("operator", Method::POST, "/maintenance", &bad).await;
        assert_eq!(refused.status, 422, "{bad}: {}", refused.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_acknowledged_and_found_in_the_history() {
    let world = World::start().await;
    let id = alert(&world, "Custom").await;
    alert(&world, "Other").await;
    let ack = format!("/alerts/{id}/ack");
    let taken = world.send("operator", Method::POST, &ack, &json!({ "note": "on it" })).await;
    assert_eq!((taken.status, &taken.json()["note"]), (200, &json!("on it")), "{}", taken.text);
    let page = world.get("reader", &format!("/alerts/{id}")).await.json();
    assert_eq!(page["ack"]["note"], "on it");
    let count = async |query: &str| {
        let answer = world.get("reader", &format!("/alerts/history?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text);
        answer.json()["count"].as_u64().unwrap()
    };
    assert_eq!(count("from=7d&alertname=Custom").await, 1);
    assert_eq!(count("acknowledged=yes").await, 1);
    assert_eq!(count("acknowledged=no&alertname=Custom").await, 0);
    assert_eq!(count("in=pay&q=custom").await, 1);
    assert_eq!(world.get("foreign", "/alerts/history").await.json()["count"], 0);
    for bad in ["from=soon", "level=loud", "phase=odd", "acknowledged=perhaps", "page=x"] {
        let refused = world.get("reader", &format!("/alerts/history?{bad}")).await;
        assert_eq!(refused.status, 422, "{bad}: {}", refused.text);
    }
    let first = world.get("reader", "/alerts/history?limit=1").await.json();
    let next = first["next"].as_str().unwrap();
    let second = world.get("reader", &format!("/alerts/history?limit=1&page={next}")).await.json();
    assert_ne!(first["items"][0]["id"], second["items"][0]["id"]);
    let answered_to = world.get("reader", "/alerts/response?alertname=Custom").await.json();
    assert_eq!(
        (&answered_to["items"][0]["fired"], &answered_to["items"][0]["acknowledged"]),
        (&json!(1), &json!(1))
    );
    let csv = world.get("reader", "/alerts/history?format=csv").await.text;
    assert!(csv.starts_with("id,alertname,level") && csv.contains("on it"), "{csv}");
    for path in ["/alerts/history", "/silences", "/calendars", &format!("/alerts/{id}")] {
        let page =
            answered(world.bare(Method::GET, path).bearer_auth(world.token("operator"))).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.text.contains("</html>"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calendar_is_kept_by_revision_and_refused_when_it_cannot_be_meant() {
    let world = World::start().await;
    let calendar = |zone: &str| {
        json!({ "calendar": { "id": "patch", "zone": zone, "windows": [
            { "start": "02:00", "duration": "4h", "repeat": { "nth_weekday": { "n": 2, "day": "tue" } } },
        ] } })
    };
    let put = async |body: &Value, rev: Option<&str>| {
        let mut request = world.request("admin", Method::PUT, "/calendars/patch").json(body);
        if let Some(rev) = rev {
            request = request.header("if-match", rev);
        }
        answered(request).await
    };
    let bad = put(&calendar("Mars/Base"), None).await;
    assert_eq!((bad.status, &bad.json()["errors"][0]["pointer"]), (422, &json!("/calendar/zone")));
    let made = put(&calendar("Europe/Berlin"), None).await;
    assert_eq!((made.status, &made.json()["rev"]), (200, &json!(1)), "{}", made.text);
    assert!(made.json()["changes_at"].is_string());
    assert_eq!(put(&calendar("Asia/Shanghai"), None).await.status, 428);
    assert_eq!(put(&calendar("Asia/Shanghai"), Some("\"7\"")).await.status, 409);
    assert_eq!(put(&calendar("Asia/Shanghai"), Some("\"1\"")).await.json()["rev"], 2);
    let seen = world.get("reader", "/calendars").await.json();
    assert_eq!(seen["items"][0]["calendar"]["zone"], "Asia/Shanghai");
    let gone = world.request("admin", Method::DELETE, "/calendars/patch").header("if-match", "*");
    assert_eq!(answered(gone).await.status, 200);
    assert_eq!(world.get("reader", "/calendars/patch").await.status, 404);
}

/// The header of a message signed with what is kept of `token`.
fn signature(token: &str, at: jiff::Timestamp, nonce: &str, body: &str) -> String {
    let id = token.split('_').nth(1).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(opaque::hash(token).as_bytes()).unwrap();
    let ts = at.as_millisecond();
    mac.update(format!("{ts}\n{nonce}\n{body}").as_bytes());
    let sig = hex::encode(mac.finalize().into_bytes());
    format!("CW-HMAC-SHA256 id={id},ts={ts},nonce={nonce},sig={sig}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_message_is_taken_once_and_only_as_it_was_signed() {
    let world = World::start().await;
    let token = world.new_token("intake", &["tenant:pay"]).await;
    let body = message("pay", "Custom", None).to_string();
    let now = jiff::Timestamp::now();
    let send = async |path: &str, header: String, body: &str| {
        let post = world.bare(Method::POST, path).header("authorization", header);
        answered(post.body(body.to_string())).await.status
    };
    let path = "/api/v1/intake/alertmanager";
    let good = signature(&token, now, "n1", &body);
    assert_eq!(send(path, good.clone(), &body.replace("Custom", "Other")).await, 401);
    assert_eq!(send("/api/v1/operations/plans", good.clone(), &body).await, 401, "nothing else");
    assert_eq!(send(path, good.clone(), &body).await, 202);
    assert_eq!(send(path, good, &body).await, 401, "a replay");
    let old = now.checked_sub(jiff::Span::new().minutes(6)).unwrap();
    assert_eq!(send(path, signature(&token, old, "n2", &body), &body).await, 401);
    let other = world.token("operator");
    assert_eq!(send(path, signature(other, now, "n3", &body), &body).await, 401);
    assert_eq!(world.get("operator", "/alerts?q=Custom").await.json()["count"], 1);
}
