//! The same ways in on PostgreSQL: one SQL text for both engines.

use model::At;
use model::caller::Caller;
use model::right::Place;
use reqwest::Method;
use serde_json::json;
use store::{AuditEntry, Config, Migrate, Store};
use tests::pg::Postgres;
use tests::process::{Cachewarden, Options, binary, inventory};

use crate::world::answered;

#[tokio::test(flavor = "multi_thread")]
async fn accounts_sessions_tokens_repeats_and_the_trail_work_on_postgresql() {
    let pg = Postgres::start().await;
    let options = Options { store_url: Some(pg.url()), ..Options::default() };
    let mut cw = Cachewarden::prepared(&options);
    let migrated = std::process::Command::new(binary())
        .args(["migrate", "--config"])
        .arg(cw.config())
        .output()
        .unwrap();
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    cw.spawn_with(&[]);
    cw.answers().await;
    // Setup token, session and token, then the tree.
    cw.apply(&inventory(json!([]))).await;
    let http = reqwest::Client::new();
    let token = cw.token().await.to_string();
    let request = |method: Method, path: &str| {
        http.request(method, format!("{}/api/v1{path}", cw.url)).bearer_auth(&token)
    };
    let make = async |name: &str| {
        let body = json!({ "name": name, "days": 1 });
        let post = request(Method::POST, "/me/tokens").header("idempotency-key", "k");
        answered(post.json(&body)).await
    };
    let (first, again, other) = (make("a").await, make("a").await, make("b").await);
    assert_eq!((first.status, again.status, other.status), (201, 201, 409), "{}", other.text);
    assert_eq!(first.json()["id"], again.json()["id"]);
    let body = json!({ "name": "test-admin", "password": "correct horse battery staple" });
    let session = format!("{}/api/v1/session", cw.url);
    let mut cookies = Vec::new();
    for _ in 0..4 {
        cookies.push(answered(http.post(&session).json(&body)).await.cookie().unwrap());
    }
    let me = async |cookie: &str| {
        let get = http.get(format!("{}/api/v1/me", cw.url));
        answered(get.header("cookie", format!("__Host-cw={cookie}"))).await
    };
    assert_eq!(me(&cookies[0]).await.status, 401, "the fourth ended the first");
    let mine = me(&cookies[3]).await;
    assert!(mine.json()["last_login"][0].is_string(), "{}", mine.text);
    let trail = answered(request(Method::GET, "/audit?limit=2")).await.json();
    assert!(trail["count"].as_i64().unwrap() > 5 && trail["next"].is_string(), "{trail}");
    let next = trail["next"].as_str().unwrap();
    let more = answered(request(Method::GET, &format!("/audit?limit=2&page={next}"))).await.json();
    assert_ne!(more["items"][0], trail["items"][1]);
    let verified = answered(request(Method::POST, "/audit/verify").json(&json!({}))).await.json();
    assert!(verified["items"].as_array().unwrap().iter().all(|c| c["fault"].is_null()));
    for noun in ["overview", "alerts", "incidents", "operations", "runbooks"] {
        let answer = answered(request(Method::GET, &format!("/{noun}"))).await;
        assert_eq!(answer.status, 200, "{noun}: {}", answer.text);
    }
    assert_eq!(answered(request(Method::DELETE, "/session")).await.status, 204);
    assert_eq!(answered(request(Method::GET, "/me")).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_record_is_passed_over_where_the_database_orders_text_by_a_language() {
    let pg = Postgres::start().await;
    let url = pg.spoken_url();
    let config = Config { url, key_file: None, key_env: None, key_command: None };
    let store = Store::open(&config, Migrate::Now).await.unwrap();
    let caller = Caller::system("test", "test");
    // Of one moment, in tenants whose order differs between bytes and words.
    let at = At::from_ms(1);
    for (n, tenant) in ["pay-z", "payb", "payc", "pay-d"].iter().enumerate() {
        let place = Place::tenant(&tenant.parse().unwrap());
        let entry = AuditEntry::new("test.write", n, place);
        store.audit_write(&caller, entry, at).await.unwrap();
    }
    let (mut seen, mut next) = (Vec::new(), None::<String>);
    loop {
        let page = store.audit_list(&caller, next.as_deref(), 1).await.unwrap();
        assert_eq!(page.count, 4);
        seen.extend(page.records.into_iter().map(|r| r.chain));
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["pay-d", "pay-z", "payb", "payc"]);
}
