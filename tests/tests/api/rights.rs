//! Route × role: each route answers each role what is stated, and foreign names never show.

use model::action::{ACTIONS, Need};
use reqwest::Method;
use serde_json::{Value, json};
use tests::wait;

use crate::world::{Answer, World, answered, message};

/// Reader and operator of `pay`, operator of `hr`, nobody.
const WHO: [&str; 4] = ["reader", "operator", "foreign", "anonymous"];

/// One row: action, path with its ids, body, and the status each of `WHO` gets.
type Row = (&'static str, String, Option<Value>, [u16; 4]);

fn rows(cart: &str, alert: &str, incident: &str) -> Vec<Row> {
    let get = |id, path: &str, statuses| (id, path.to_string(), None, statuses);
    let all = [200, 200, 200, 401];
    let mine = [200, 200, 404, 401];
    let whatif = |id, object: &str| {
        let nothing = Some(json!({ "overrides": {} }));
        (id, format!("{object}/health/whatif"), nothing, mine)
    };
    let none = [404, 404, 404, 401];
    let wish = json!({ "kind": "switchover", "service": "pay.cart", "params": {} });
    let mut start = wish.clone();
    start["plan"] = "0".repeat(64).into();
    start["confirm"] = "pay.cart".into();
    start["reason"] = "test".into();
    let item = item();
    let mut trial = item.clone();
    trial["instance"] = cart.into();
    let policy = json!({ "reason": "test", "doc": {
        "policy": "memory-used", "scope": "tenant:pay", "levels": { "warning": { "fire": 0.7, "clear": 0.6 } },
    } });
    let mode = json!({ "mode": "off", "scope": "tenant:pay", "reason": "test" });
    let switch = json!({ "on": true, "scope": "tenant:pay", "reason": "test" });
    vec![
        (
            "session.create",
            "/session".into(),
            Some(json!({ "name": "nobody", "password": "wrong" })),
            [401, 401, 401, 429],
        ),
        get("me.get", "/me", all),
        ("token.create", "/me/tokens".into(), Some(json!({ "name": "t" })), [201, 201, 201, 401]),
        get("overview.get", "/overview", all),
        get("tenant.list", "/tenants", all),
        get("tenant.get", "/tenants/pay", mine),
        get("tenant.health", "/tenants/pay/health", mine),
        whatif("tenant.whatif", "/tenants/pay"),
        get("system.list", "/systems", all),
        get("system.get", "/systems/pay.core", mine),
        get("system.health", "/systems/pay.core/health", mine),
        whatif("system.whatif", "/systems/pay.core"),
        get("service.list", "/services", all),
        get("service.get", "/services/pay.cart", mine),
        get("service.health", "/services/pay.cart/health", mine),
        whatif("service.whatif", "/services/pay.cart"),
        get("shard.health", "/services/pay.cart/shards/0/health", mine),
        whatif("shard.whatif", "/services/pay.cart/shards/0"),
        get("instance.list", "/instances", all),
        get("instance.get", &format!("/instances/{cart}"), mine),
        get("instance.health", &format!("/instances/{cart}/health"), mine),
        whatif("instance.whatif", &format!("/instances/{cart}")),
        (
            "instance.turbo",
            format!("/instances/{cart}/turbo"),
            Some(json!({ "minutes": 1 })),
            [403, 200, 404, 401],
        ),
        ("instance.turbo_end", format!("/instances/{cart}/turbo"), None, [403, 200, 404, 401]),
        get("service.topology", "/services/pay.cart/topology", mine),
        get("console.get", &format!("/instances/{cart}/console"), [403, 200, 404, 401]),
        (
            "console.run",
            format!("/instances/{cart}/console"),
            Some(json!({ "command": "PING" })),
            [403, 409, 404, 401],
        ),
        get("console.acl", &format!("/instances/{cart}/console/acl"), [403, 409, 404, 401]),
        get("parameter.list", "/services/pay.cart/parameters", mine),
        get("service.capacity", "/services/pay.cart/capacity", mine),
        get("service.slo", "/services/pay.cart/slo", mine),
        get("zone.loss", "/zones/az-1/loss", mine),
        get("backup.list", "/backups", all),
        get("service.zone_risk", "/services/pay.cart/zone-risk", mine),
        get("alert.list", "/alerts", all),
        get("alert.get", &format!("/alerts/{alert}"), mine),
        get("incident.list", "/incidents", all),
        get("incident.get", &format!("/incidents/{incident}"), mine),
        (
            "incident.approve",
            format!("/incidents/{incident}/approve"),
            Some(json!({ "plan": "none", "reason": "test" })),
            [403, 409, 404, 401],
        ),
        get("item.list", "/items", all),
        get("item.get", "/items/queue@tenant:pay", mine),
        ("item.check", "/items/check".into(), Some(item.clone()), [403, 200, 404, 401]),
        ("item.test", "/items/test".into(), Some(trial), [403, 200, 404, 401]),
        ("item.put", "/items/queue@tenant:pay".into(), Some(item), [403, 200, 404, 401]),
        (
            "item.restore",
            "/items/queue@tenant:pay/restore".into(),
            Some(json!({ "rev": 1 })),
            [403, 200, 404, 401],
        ),
        ("item.delete", "/items/queue@tenant:pay".into(), Some(json!({})), [403, 200, 404, 401]),
        get("score_policy.list", "/score-policies", all),
        get("score_policy.get", "/score-policies/tenant:pay", mine),
        get("score_policy.revisions", "/score-policies/tenant:pay/revisions", mine),
        (
            "score_policy.preview",
            "/score-policies/preview".into(),
            Some(json!({ "doc": { "scope": "tenant:pay" } })),
            [403, 200, 404, 401],
        ),
        (
            "score_policy.put",
            "/score-policies/tenant:pay".into(),
            Some(json!({ "doc": { "scope": "tenant:pay" }, "reason": "test" })),
            [403, 409, 404, 401],
        ),
        (
            "score_policy.restore",
            "/score-policies/tenant:pay/restore".into(),
            Some(json!({ "rev": 1, "reason": "test" })),
            [403, 422, 404, 401],
        ),
        (
            "service.profile",
            "/services/pay.cart/profile".into(),
            Some(json!({ "profile": "store" })),
            [403, 200, 404, 401],
        ),
        get("policy.list", "/policies", all),
        get("policy.effective", &format!("/policies/effective?instance={cart}"), mine),
        get("policy.get", "/policies/memory-used?scope=tenant:pay", mine),
        get("policy.revisions", "/policies/memory-used/revisions", all),
        ("policy.check", "/policies/check".into(), Some(policy.clone()), [403, 200, 404, 401]),
        (
            "policy.backtest",
            "/policies/backtest".into(),
            Some(json!({ "doc": policy["doc"] })),
            [403, 200, 404, 401],
        ),
        ("policy.put", "/policies/memory-used".into(), Some(policy), [403, 200, 404, 401]),
        (
            "policy.restore",
            "/policies/memory-used/restore".into(),
            Some(json!({ "scope": "tenant:pay", "rev": 1, "reason": "test" })),
            [403, 200, 404, 401],
        ),
        (
            "policy.retire",
            "/policies/memory-used/retire".into(),
            Some(json!({ "scope": "tenant:pay", "reason": "test" })),
            [403, 200, 404, 401],
        ),
        get("runbook.list", "/runbooks", all),
        ("runbook.mode", "/runbooks/replica-restart/mode".into(), Some(mode), [403, 200, 404, 401]),
        ("kill_switch.set", "/kill-switch".into(), Some(switch), [403, 200, 404, 401]),
        ("operation.plan", "/operations/plans".into(), Some(wish), [403, 409, 404, 401]),
        ("operation.create", "/operations".into(), Some(start), [403, 409, 404, 401]),
        get("operation.list", "/operations", all),
        get("operation.get", "/operations/none", none),
        (
            "operation.cancel",
            "/operations/none/cancel".into(),
            Some(json!({})),
            [403, 404, 404, 401],
        ),
        (
            "operation.approve",
            "/operations/none/approve".into(),
            Some(json!({ "plan": "0".repeat(64) })),
            [403, 403, 403, 401],
        ),
        ("operation.pause", "/operations/none/pause".into(), Some(json!({})), [403, 404, 404, 401]),
        (
            "operation.resume",
            "/operations/none/resume".into(),
            Some(json!({})),
            [403, 404, 404, 401],
        ),
        (
            "inventory.apply",
            "/apply".into(),
            Some(json!({ "version": 1, "tenants": [] })),
            [403, 403, 403, 401],
        ),
        (
            "service.adopt",
            "/services/adopt?dry_run=1".into(),
            Some(json!({ "tenant": "pay", "seeds": ["192.0.2.1:6379"] })),
            [403, 200, 404, 401],
        ),
        get("service.acl", "/services/pay.cart/acl", [422, 422, 404, 401]),
        (
            "service.acl_proof",
            "/services/pay.cart/acl/proof".into(),
            Some(json!({})),
            [403, 200, 404, 401],
        ),
        (
            "secret.put",
            "/services/pay.cart/secrets/redis".into(),
            Some(json!({ "password": "planted" })),
            [403, 403, 403, 401],
        ),
        ("secret.remove", "/services/pay.cart/secrets/redis".into(), None, [403, 403, 403, 401]),
        (
            "intake.alertmanager",
            "/intake/alertmanager".into(),
            Some(json!({ "version": "4", "alerts": [] })),
            [403, 403, 403, 401],
        ),
        get("audit.list", "/audit", [403, 403, 403, 401]),
        ("audit.verify", "/audit/verify".into(), Some(json!({})), [403, 403, 403, 401]),
        get("docs.list", "/docs", all),
        get("docs.get", "/docs/runbooks/nothing-like-it", none),
        get("live", "/live?topics=kpi", all),
        get("history.list", "/alerts/history", all),
        get("response.list", "/alerts/response", all),
        (
            "alert.ack",
            format!("/alerts/{alert}/ack"),
            Some(json!({ "note": "seen" })),
            [403, 200, 404, 401],
        ),
        get("quality.get", "/alerts/quality", all),
        get("rules.all", "/rules", none),
        get("rules.get", "/rules/cw-none.yml", none),
        get("silence.list", "/silences", all),
        (
            "silence.create",
            "/silences".into(),
            Some(json!({
                "scope": "tenant:pay", "matchers": ["alertname=X"], "duration": "1h",
                "comment": "test",
            })),
            [403, 201, 404, 401],
        ),
        ("silence.expire", "/silences/none".into(), None, [403, 404, 404, 401]),
        get("maintenance.list", "/maintenance", all),
        (
            "maintenance.create",
            "/maintenance".into(),
            Some(json!({ "scope": "tenant:pay", "duration": "1h", "reason": "test" })),
            [403, 201, 404, 401],
        ),
        ("maintenance.end", "/maintenance/none/end".into(), Some(json!({})), [403, 404, 404, 401]),
        get("calendar.list", "/calendars", all),
        get("calendar.get", "/calendars/none", none),
        (
            "calendar.put",
            "/calendars/c".into(),
            Some(json!({ "calendar": { "id": "c", "zone": "UTC", "windows": [
                { "start": "22:00", "duration": "8h", "repeat": "daily" },
            ] } })),
            [403, 403, 403, 401],
        ),
        ("calendar.delete", "/calendars/none".into(), None, [403, 403, 403, 401]),
        get("openapi", "/openapi.json", all),
        get("session.delete", "/session", [204, 204, 204, 401]),
    ]
}

/// An item of `pay`, as it is sent.
fn item() -> Value {
    json!({ "item": {
        "name": "queue", "scope": "tenant:pay", "source": { "command": { "args": ["LLEN", "q"] } },
    } })
}

async fn ask(world: &World, row: &Row, who: &str) -> u16 {
    let action = model::action::action(row.0).unwrap();
    let mut request = world.request(who, action.method.parse().unwrap(), &row.1);
    request = request.header("if-match", "*");
    if let Some(body) = &row.2 {
        request = request.json(body);
    }
    // A stream has no end: its head is enough.
    request.send().await.unwrap().status().as_u16()
}

/// An alert of `pay` and the incident it opened.
async fn trouble(world: &World) -> (String, String) {
    let token = world.new_token("intake", &["tenant:pay"]).await;
    let body = message("pay", "RedisDown", Some(&world.cart));
    let post = world.bare(Method::POST, "/api/v1/intake/alertmanager").bearer_auth(&token);
    let posted = answered(post.json(&body)).await;
    assert_eq!(posted.status, 202, "{}", posted.text);
    let incident = wait::until("an incident", || async {
        let list = world.get("admin", "/incidents").await.json();
        list["items"][0]["id"].as_str().map(str::to_string)
    })
    .await;
    let alerts = world.get("admin", "/alerts").await.json();
    (alerts["items"][0]["id"].as_str().unwrap().to_string(), incident)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_every_role_as_stated() {
    let world = World::start().await;
    let (alert, incident) = trouble(&world).await;
    let made = world.send("operator", Method::PUT, "/items/queue@tenant:pay", &item()).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let rows = rows(&world.cart, &alert, &incident);
    for action in ACTIONS {
        assert!(rows.iter().any(|r| r.0 == action.id), "{} has no row", action.id);
    }
    let mut wrong = Vec::new();
    for row in &rows {
        for (who, expected) in WHO.iter().zip(row.3) {
            let got = ask(&world, row, who).await;
            if got != expected {
                wrong.push(format!("{} {} as {who}: {got}, stated {expected}", row.0, row.1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_another_tenant_shows_in_lists_counts_pages_or_errors() {
    let world = World::start().await;
    trouble(&world).await;
    let mut paths: Vec<String> = ACTIONS
        .iter()
        .filter(|a| {
            a.method == "GET" && !a.path.contains('{') && a.id != "live" && a.id != "openapi"
        })
        .map(|a| format!("/api/v1{}", a.path))
        .collect();
    paths.extend(ACTIONS.iter().filter(|a| a.page && !a.path.contains('{')).map(|a| a.path.into()));
    for path in paths {
        let request = world.bare(Method::GET, &path).bearer_auth(world.token("foreign"));
        let answer = answered(request).await;
        for foreign in ["pay.cart", "pay.core", "\"pay\"", "tenant:pay", "127.0.1.1"] {
            assert!(!answer.text.contains(foreign), "{path} shows {foreign}: {}", answer.text);
        }
        // Runbooks and the manual are of the program, not of a tenant.
        if let Some(count) = answer.json()["count"].as_i64()
            && !["/runbooks", "/docs", "/policies"].iter().any(|own| path.ends_with(own))
        {
            // The shipped policies apply to everybody.
            // The platform, his tenant and its system have score policies; the rest has one of his.
            let own = if path.ends_with("/score-policies") { 3 } else { 1 };
            assert!(count <= own, "{path} counts {count}");
        }
    }
    let mine = world.get("foreign", "/overview").await.json();
    assert_eq!((&mine["services"], &mine["firing"]), (&json!(1), &json!([0, 0, 0])));
    for path in ["/services/pay.cart", "/services/pay.nothing"] {
        let answer = world.get("foreign", path).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "CW-1300"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reaches_anything_but_the_way_in() {
    let world = World::start().await;
    for action in ACTIONS.iter().filter(|a| a.need != Need::Nobody) {
        let method: Method = action.method.parse().unwrap();
        let path = action.path.replace("{id}", "pay.cart").replace("{name}", "x");
        let answer = answered(world.bare(method, &format!("/api/v1{path}"))).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "CW-1100"), "{path}");
        if action.page {
            let page = answered(world.bare(Method::GET, &path)).await;
            let to = page.headers["location"].to_str().unwrap();
            assert!(page.status == 303 && to.starts_with("/login?next="), "{path}: {to}");
        }
    }
    let status = |answer: Answer| (answer.status, answer.text);
    for path in ["/login", "/healthz", "/favicon.ico", portal::CSS_PATH] {
        let (got, text) = status(answered(world.bare(Method::GET, path)).await);
        assert_eq!(got, 200, "{path}: {text}");
    }
    let (got, _) = status(answered(world.bare(Method::GET, "/api/v1/nothing")).await);
    assert_eq!(got, 401);
    let secret = ["/metrics", "/scrape", "/sd", "/metrics/self"];
    for path in secret {
        // Through a proxy an address says nothing.
        let request = world.bare(Method::GET, path).header("x-forwarded-for", "127.0.0.1");
        assert_eq!(status(answered(request).await).0, 401, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_the_fields_the_interface_description_states() {
    let world = World::start().await;
    let (alert, incident) = trouble(&world).await;
    let cart = world.cart.clone();
    let one = |schema: &'static str, path: String| (schema, path, "");
    let item = |schema: &'static str, path: &str| (schema, path.to_string(), "items");
    let cases = [
        one("Me", "/me".into()),
        one("Overview", "/overview".into()),
        item("List", "/services"),
        item("TenantItem", "/tenants"),
        item("SystemItem", "/systems"),
        item("ServiceItem", "/services"),
        item("InstanceItem", "/instances"),
        one("ServicePage", "/services/pay.cart".into()),
        one("InstancePage", format!("/instances/{cart}")),
        one("CapacityPage", "/services/pay.cart/capacity".into()),
        one("SloPage", "/services/pay.cart/slo".into()),
        one("ZoneLoss", "/zones/az-1/loss".into()),
        one("Topology", "/services/pay.cart/topology".into()),
        one("HealthPage", "/services/pay.cart/health".into()),
        one("AlertPage", format!("/alerts/{alert}")),
        item("Alert", "/alerts"),
        one("IncidentPage", format!("/incidents/{incident}")),
        item("Incident", "/incidents"),
        item("Runbook", "/runbooks"),
        item("AuditRecord", "/audit"),
        one("QualityReport", "/alerts/quality".into()),
        item("PolicyItem", "/policies"),
        one("PolicyPage", "/policies/memory-used".into()),
        item("ScorePolicyItem", "/score-policies"),
        one("ScorePolicyPage", "/score-policies/tenant:pay".into()),
    ];
    for (schema, path, part) in cases {
        let value = world.get("admin", &path).await.json();
        let found = match (schema, part) {
            ("List", _) | (_, "") => &value,
            _ => &value["items"][0],
        };
        let mut got: Vec<&str> = found.as_object().unwrap().keys().map(String::as_str).collect();
        let mut stated = server::openapi::fields(schema);
        got.sort_unstable();
        stated.sort_unstable();
        assert_eq!(got, stated, "{path} is no {schema}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_drawn_from_the_value_the_api_answers() {
    let world = World::start().await;
    let (alert, incident) = trouble(&world).await;
    let paths = [
        ("/overview".to_string(), "pay.cart"),
        ("/services".into(), "pay.cart"),
        ("/services/pay.cart".into(), "pay.cart"),
        ("/services/pay.cart/health".into(), "pay.cart"),
        ("/services/pay.cart/shards/0/health".into(), "pay.cart/0"),
        (format!("/instances/{}/health", world.cart), "pay.cart"),
        ("/systems/pay.core/health".into(), "pay.core"),
        ("/tenants/pay/health".into(), "pay"),
        ("/alerts".into(), "RedisDown"),
        (format!("/alerts/{alert}"), "RedisDown"),
        ("/incidents".into(), "RedisDown"),
        (format!("/incidents/{incident}"), "RedisDown"),
        ("/operations".into(), "<html"),
        ("/items".into(), "<html"),
        ("/items/new".into(), "queue-length"),
        ("/alerts/quality".into(), "<html"),
        ("/policies".into(), "memory-used"),
        ("/policies/memory-used".into(), "platform, shipped"),
        ("/score-policies".into(), "tenant:pay"),
        ("/score-policies/service:pay.cart".into(), "tenant:pay"),
    ];
    for (path, holds) in paths {
        for choice in ["lang=en&theme=light", "lang=zh-CN&theme=dark"] {
            let request = world.bare(Method::GET, &format!("{path}?{choice}"));
            let page = answered(request.bearer_auth(world.token("reader"))).await;
            assert_eq!(page.status, 200, "{path}: {}", page.text);
            assert!(page.text.contains(holds), "{path} does not show {holds}");
            let kept = page.headers.get_all("set-cookie").iter().count();
            assert_eq!(kept, 2, "{path}: the choice of language and colours is kept");
        }
    }
}

#[test]
fn the_committed_interface_description_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/openapi.json");
    let fresh = format!("{:#}\n", server::openapi::document());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &fresh).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(kept == fresh, "docs/reference/openapi.json is stale: BLESS=1 rewrites it");
}
