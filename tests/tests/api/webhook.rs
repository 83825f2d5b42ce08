//! The Alertmanager's way in: nothing it was told 2xx for is lost, nothing is counted twice.

use std::io::{Read, Write};
use std::net::TcpStream;

use reqwest::Method;
use serde_json::json;
use tests::wait;

use crate::world::{Answer, World, answered, message};

const PATH: &str = "/api/v1/intake/alertmanager";

async fn post(world: &World, token: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = world.bare(Method::POST, PATH).bearer_auth(token);
    answered(request.header("content-type", "application/json").body(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_message_is_told_apart_from_a_bad_sender() {
    let world = World::start().await;
    let token = world.new_token("intake", &["tenant:pay"]).await;
    for bad in ["{", "[]", "{\"version\":\"9\",\"alerts\":[]}"] {
        let answer = post(&world, &token, bad).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "CW-1000"), "{bad}");
    }
    let body = message("pay", "Custom", None).to_string();
    assert_eq!(answered(world.bare(Method::POST, PATH).body(body.clone())).await.status, 401);
    let other = post(&world, world.token("operator"), body.clone()).await;
    assert_eq!((other.status, other.code().as_str()), (403, "CW-1200"));
    let foreign = post(&world, &token, message("hr", "Custom", None).to_string()).await;
    assert_eq!(foreign.status, 403, "{}", foreign.text);
    let scrape = world.new_token("scrape", &["platform"]).await;
    assert_eq!(post(&world, &scrape, body).await.status, 403);
    assert_eq!(world.get("admin", "/alerts?q=Custom").await.json()["count"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_long_is_refused_before_it_is_read() {
    let world = World::start().await;
    let token = world.new_token("intake", &["platform"]).await;
    let announced = post(&world, &token, vec![b' '; (32 << 20) + 1]).await;
    assert_eq!((announced.status, announced.code().as_str()), (413, "CW-1002"));
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_repeats_are_one_alert() {
    let world = World::start().await;
    let token = world.new_token("intake", &["platform"]).await;
    let body = message("pay", "Custom", None).to_string();
    for _ in 0..20 {
        let answer = post(&world, &token, body.clone()).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    let alerts = world.get("operator", "/alerts?q=Custom").await.json();
    assert_eq!((&alerts["count"], &alerts["items"][0]["phase"]), (&json!(1), &json!("firing")));
    assert_eq!(world.get("foreign", "/alerts").await.json()["count"], 0);
}

/// Connections that announce the longest message and send none of it.
fn hold(world: &World, token: &str, n: usize) -> Vec<TcpStream> {
    let address = world.cw.url.trim_start_matches("http://").to_string();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{{",
        32 << 20
    );
    let open = |_| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    (0..n).map(open).collect()
}

/// The status line of a connection that was answered; panics when it is not 503.
fn status(mut stream: &TcpStream) -> Option<()> {
    stream.set_nonblocking(true).unwrap();
    let mut head = [0; 12];
    let n = stream.read(&mut head).ok().filter(|n| *n > 0)?;
    assert_eq!(&head[..n], b"HTTP/1.1 503");
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn over_capacity_is_503_with_a_time_to_come_back_and_nothing_is_lost() {
    let world = World::start().await;
    let token = world.new_token("intake", &["platform"]).await;
    let body = message("pay", "Custom", None).to_string();
    // One more than there are places: when it is refused, the others hold theirs.
    let held = hold(&world, &token, 5);
    wait::until("one of them is refused", || async { held.iter().find_map(status) }).await;
    let refused = post(&world, &token, body.clone()).await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "CW-1502"));
    assert!(refused.headers.contains_key("retry-after"));
    drop(held);
    wait::until("the sender's repeat is taken", || async {
        (post(&world, &token, body.clone()).await.status == 202).then_some(())
    })
    .await;
    assert_eq!(world.get("operator", "/alerts?q=Custom").await.json()["count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_reaches_a_live_stream_of_its_tenant_only() {
    let world = World::start().await;
    let token = world.new_token("intake", &["platform"]).await;
    let open = async |who: &str| {
        let request = world.request(who, Method::GET, "/live?topics=alerts");
        request.send().await.unwrap()
    };
    let (mut mine, mut foreign) = (open("operator").await, open("foreign").await);
    let mut heard = String::new();
    while !heard.contains("event: state") {
        heard.push_str(&String::from_utf8_lossy(&mine.chunk().await.unwrap().unwrap()));
    }
    assert!(!heard.contains("Custom"));
    post(&world, &token, message("pay", "Custom", None).to_string()).await;
    while !heard.contains("Custom") {
        heard.push_str(&String::from_utf8_lossy(&mine.chunk().await.unwrap().unwrap()));
    }
    // By now the other stream has looked at least as often: what it holds is all it was told.
    post(&world, &token, message("hr", "Theirs", None).to_string()).await;
    let mut told = String::new();
    while !told.contains("Theirs") {
        told.push_str(&String::from_utf8_lossy(&foreign.chunk().await.unwrap().unwrap()));
    }
    assert!(!told.contains("Custom"), "{told}");
    let refused = world.get("operator", "/live?topics=op:none").await;
    assert_eq!(refused.status, 404);
}
