//! Signing in, sessions, forms, and requests that are repeated.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::world::{Answer, PASSWORD, World, answered};

fn csrf_of(answer: &Answer) -> String {
    answer.json()["csrf"].as_str().unwrap().to_string()
}

fn with(request: RequestBuilder, cookie: &str) -> RequestBuilder {
    request.header("cookie", format!("__Host-cw={cookie}"))
}

async fn alive(world: &World, cookie: &str) -> bool {
    answered(with(world.bare(Method::GET, "/api/v1/me"), cookie)).await.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setup_token_makes_one_account_and_then_nothing() {
    let cw = tests::process::Cachewarden::start("").await;
    let printed = cw.log();
    let setup = printed.lines().skip_while(|l| !l.contains("setup token")).nth(1).unwrap().trim();
    let http = reqwest::Client::new();
    let url = format!("{}/api/v1/session", cw.url);
    let send = async |name: &str, password: &str, token: &str| {
        let body = json!({ "setup_token": token, "name": name, "password": password });
        answered(http.post(&url).json(&body)).await
    };
    assert_eq!(send("boss", PASSWORD, &"0".repeat(64)).await.status, 401);
    let weak = send("boss", "short", setup).await;
    assert_eq!((weak.status, weak.code().as_str()), (422, "CW-1001"), "and the token is not spent");
    let made = send("boss", PASSWORD, setup).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(send("second", PASSWORD, setup).await.status, 401);
    let page = answered(http.get(format!("{}/login", cw.url))).await;
    assert!(!page.text.contains("name=\"setup_token\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_fresh_ends_when_told_and_is_not_in_the_database() {
    let world = World::start().await;
    let planted = "a".repeat(64);
    let body = json!({ "name": "reader", "password": PASSWORD });
    let request = with(world.bare(Method::POST, "/api/v1/session"), &planted).json(&body);
    let first = answered(request).await;
    let cookie = first.cookie().unwrap();
    assert_ne!(cookie, planted, "the client does not choose");
    assert!(alive(&world, &cookie).await && !alive(&world, &planted).await);
    let line = first.headers["set-cookie"].to_str().unwrap();
    for part in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(line.contains(part), "{line}");
    }
    for file in ["cw.db", "cw.db-wal"] {
        let bytes = std::fs::read(world.cw.dir.join(file)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        for secret in [&cookie, &csrf_of(&first), world.token("admin"), PASSWORD] {
            assert!(!text.contains(secret), "{file} holds a secret");
        }
    }
    let out = with(world.bare(Method::DELETE, "/api/v1/session"), &cookie);
    let out = out.header("origin", &world.cw.url).header("x-csrf-token", csrf_of(&first));
    assert_eq!(answered(out).await.status, 204);
    assert!(!alive(&world, &cookie).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fourth_session_ends_the_oldest() {
    let world = World::start().await;
    let mut cookies = Vec::new();
    for _ in 0..4 {
        cookies.push(world.sign_in("reader", PASSWORD).await.cookie().unwrap());
    }
    assert!(!alive(&world, &cookies[0]).await);
    for cookie in &cookies[1..] {
        assert!(alive(&world, cookie).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_a_cookie_needs_our_origin_and_the_sessions_token() {
    let world = World::start().await;
    let signed_in = world.sign_in("operator", PASSWORD).await;
    let (cookie, csrf) = (signed_in.cookie().unwrap(), csrf_of(&signed_in));
    let other = csrf_of(&world.sign_in("reader", PASSWORD).await);
    let ours = world.cw.url.clone();
    let body = json!({ "on": true, "scope": "tenant:pay", "reason": "test" });
    let cases = [
        (None, Some(&csrf), 403),
        (Some("https://evil.example"), Some(&csrf), 403),
        (Some("null"), Some(&csrf), 403),
        (Some(ours.as_str()), None, 403),
        (Some(ours.as_str()), Some(&other), 403),
        (Some(ours.as_str()), Some(&csrf), 200),
    ];
    for (origin, token, expected) in cases {
        let mut api = with(world.bare(Method::PUT, "/api/v1/kill-switch"), &cookie).json(&body);
        let fields = [("on", "true"), ("reason", "x"), ("csrf", token.map_or("", |t| t.as_str()))];
        let form: Vec<String> = fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let mut page = with(world.bare(Method::POST, "/kill-switch"), &cookie)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.join("&"));
        if let Some(origin) = origin {
            (api, page) = (api.header("origin", origin), page.header("origin", origin));
        }
        if let Some(token) = token {
            api = api.header("x-csrf-token", token);
        }
        let answer = answered(api).await;
        assert_eq!(answer.status, expected, "{origin:?}: {}", answer.text);
        if expected == 403 {
            assert_eq!(answer.code(), "CW-1201");
            assert_eq!(answered(page).await.status, 403, "{origin:?}, as a form");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_cannot_sign_somebody_in() {
    let world = World::start().await;
    let form = |origin: Option<&str>| {
        let request = world
            .bare(Method::POST, "/session")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!(
                "name=reader&password={}&next=//evil.example",
                PASSWORD.replace(' ', "+")
            ));
        match origin {
            Some(origin) => request.header("origin", origin),
            None => request,
        }
    };
    assert_eq!(answered(form(Some("https://evil.example"))).await.status, 403);
    assert_eq!(answered(form(None)).await.status, 403);
    let answer = answered(form(Some(&world.cw.url))).await;
    assert_eq!((answer.status, answer.headers["location"].to_str().unwrap()), (303, "/overview"));
    assert!(answer.cookie().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_logins_is_slowed_and_blocks_nobody_else() {
    let world = World::start().await;
    let from = |ip: &str| {
        let ip: std::net::IpAddr = ip.parse().unwrap();
        reqwest::Client::builder().no_proxy().local_address(ip).build().unwrap()
    };
    let (flood, owner) = (from("127.0.0.9"), from("127.0.0.8"));
    let url = format!("{}/api/v1/session", world.cw.url);
    let wrong = json!({ "name": "operator", "password": "wrong wrong wrong" });
    let tries = (0..200).map(|_| {
        let request = flood.post(&url).json(&wrong);
        tokio::spawn(async move { answered(request).await })
    });
    let tries: Vec<_> = tries.collect();
    // While it lasts: the same name from elsewhere, and the API.
    let right = json!({ "name": "operator", "password": PASSWORD });
    let entered = answered(owner.post(&url).json(&right)).await;
    assert_eq!(entered.status, 201, "{}", entered.text);
    assert_eq!(world.get("reader", "/overview").await.status, 200);
    let mut slowed = 0;
    for answer in tries {
        let answer = answer.await.unwrap();
        assert!([401, 429].contains(&answer.status), "{}", answer.text);
        if answer.status == 429 {
            slowed += 1;
            assert!(answer.headers.contains_key("retry-after"));
        }
    }
    assert!(slowed >= 190, "only {slowed} of 200 were slowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_is_answered_as_a_wrong_password_is() {
    let world = World::start().await;
    let wrong = world.sign_in("operator", "wrong wrong wrong").await;
    let unknown = world.sign_in("nobody-of-that-name", "wrong wrong wrong").await;
    let said = |a: &Answer| (a.status, a.code(), a.json()["detail"].clone());
    assert_eq!(said(&wrong), said(&unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_acts_once_over_a_restart_too() {
    let mut world = World::start().await;
    let make = async |world: &World, name: &str| {
        let request = world.request("operator", Method::POST, "/me/tokens");
        let body = json!({ "name": name, "days": 1 });
        answered(request.header("idempotency-key", "k-1").json(&body)).await
    };
    let first = make(&world, "a").await;
    assert!(first.json()["token"].is_string());
    world.cw.term().await;
    world.cw.restart().await;
    let again = make(&world, "a").await;
    assert_eq!((again.status, &again.json()["id"]), (201, &first.json()["id"]));
    assert!(again.json()["token"].is_null(), "the token was shown once");
    let other = make(&world, "b").await;
    assert_eq!((other.status, other.code().as_str()), (409, "CW-1403"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_is_set_on_the_revision_that_was_seen() {
    let world = World::start().await;
    let path = "/runbooks/replica-restart/mode";
    let body = json!({ "mode": "ask", "scope": "tenant:pay", "reason": "test" });
    let put = async |rev: Option<&str>| {
        let request = world.request("admin", Method::PUT, path).json(&body);
        answered(match rev {
            Some(rev) => request.header("if-match", rev),
            None => request,
        })
        .await
    };
    assert_eq!(put(None).await.code(), "CW-1411");
    let set = put(Some("\"0\"")).await;
    assert_eq!((set.status, set.headers["etag"].to_str().unwrap()), (200, "\"1\""));
    let moved = put(Some("\"0\"")).await;
    assert_eq!((moved.status, moved.code().as_str()), (409, "CW-1400"));
    assert_eq!(moved.json()["errors"][0]["rev"], 1, "the present value is inside");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_reaches_no_further_than_its_owner_and_ends_when_revoked() {
    let world = World::start().await;
    let body = json!({ "name": "t", "rights": ["fleet.read"], "scopes": ["tenant:hr"] });
    let denied = world.send("operator", Method::POST, "/me/tokens", &body).await;
    assert_eq!(denied.status, 404, "hr is none of his: {}", denied.text);
    let body = json!({ "name": "t", "rights": ["audit.read"], "scopes": ["tenant:pay"] });
    assert_eq!(world.send("operator", Method::POST, "/me/tokens", &body).await.status, 403);
    let body = json!({ "name": "t", "rights": ["fleet.read"], "scopes": ["tenant:pay"] });
    let made = world.send("operator", Method::POST, "/me/tokens", &body).await.json();
    let token = made["token"].as_str().unwrap();
    let as_token = |method: Method, path: &str| {
        answered(world.bare(method, &format!("/api/v1{path}")).bearer_auth(token))
    };
    assert_eq!(as_token(Method::GET, "/services").await.status, 200);
    assert_eq!(as_token(Method::POST, "/operations/plans").await.status, 403);
    assert_eq!(as_token(Method::DELETE, "/session").await.status, 204);
    assert_eq!(as_token(Method::GET, "/services").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_carries_the_security_headers() {
    let world = World::start().await;
    for path in ["/login", "/overview", "/services/pay.cart", "/nothing"] {
        let page = answered(world.bare(Method::GET, path).bearer_auth(world.token("reader"))).await;
        let csp = page.headers["content-security-policy"].to_str().unwrap();
        assert!(
            csp.contains("default-src 'none'") && csp.contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert_eq!(page.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(page.headers["referrer-policy"], "same-origin", "{path}");
        assert!(page.text.contains("<html"), "{path}: {}", page.text);
    }
}
