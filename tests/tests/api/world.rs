//! A process with two tenants and a person of each role: made in its store before it starts.

use std::collections::BTreeMap;

use model::At;
use model::caller::{Actor, Caller, Via};
use model::right::{Grant, Rights, Role, Scope};
use model::secret::Secret;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use server::auth::opaque;
use server::auth::password::Hasher;
use store::{Config, Migrate, NewAccount, NewToken, Store, TokenKind};
use tests::fleet::free_port;
use tests::process::{Cachewarden, Options};
use tests::wait;

/// Password of everybody.
pub const PASSWORD: &str = "correct horse battery staple";

/// An answer.
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub text: String,
}

impl Answer {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The code of a problem.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_string()
    }

    /// The value of the cookie that is set.
    pub fn cookie(&self) -> Option<String> {
        let line = self.headers.get("set-cookie")?.to_str().ok()?;
        let value = line.strip_prefix("__Host-cw=")?.split(';').next()?;
        (!value.is_empty()).then(|| value.to_string())
    }
}

/// The process and tokens of its people.
pub struct World {
    /// The process.
    pub cw: Cachewarden,
    /// Instance of `pay.cart`.
    pub cart: String,
    tokens: BTreeMap<&'static str, String>,
    http: reqwest::Client,
}

/// Who there is: name, role, scope.
const PEOPLE: [(&str, Role, &str); 4] = [
    ("reader", Role::Reader, "tenant:pay"),
    ("operator", Role::Operator, "tenant:pay"),
    ("foreign", Role::Operator, "tenant:hr"),
    ("auditor", Role::Auditor, "platform"),
];

impl World {
    /// Starts it with tenants `pay` and `hr`, a service each that does not answer.
    pub async fn start() -> World {
        let mut cw = Cachewarden::prepared(&Options::default());
        let tokens = people(&cw).await;
        cw.spawn_with(&[]);
        cw.answers().await;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let address = format!("127.0.1.1:{}", free_port("127.0.1.1"));
        let other = format!("127.0.2.1:{}", free_port("127.0.2.1"));
        let world = World { cw, cart: format!("pay.cart@{address}"), tokens, http };
        let file = inventory(&address, &other);
        let applied = wait::until("the store takes it", || async {
            let answer = world.send("admin", Method::POST, "/apply", &file).await;
            (answer.status != 503).then_some(answer)
        });
        let applied = applied.await;
        assert_eq!(applied.status, 200, "{}", applied.text);
        wait::until("the score of pay.cart", || async {
            let path = "/services/pay.cart/health";
            (world.get("admin", path).await.status == 200).then_some(())
        })
        .await;
        world
    }

    /// The token of somebody.
    pub fn token(&self, who: &str) -> &str {
        &self.tokens[who]
    }

    /// A request to any path, as nobody.
    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.cw.url))
    }

    /// A request below `/api/v1` as `who`; `anonymous` sends nothing.
    pub fn request(&self, who: &str, method: Method, path: &str) -> RequestBuilder {
        let request = self.bare(method, &format!("/api/v1{path}"));
        match self.tokens.get(who) {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// `GET` below `/api/v1`.
    pub async fn get(&self, who: &str, path: &str) -> Answer {
        answered(self.request(who, Method::GET, path)).await
    }

    /// A JSON body below `/api/v1`.
    pub async fn send(&self, who: &str, method: Method, path: &str, body: &Value) -> Answer {
        answered(self.request(who, method, path).json(body)).await
    }

    /// Signs in by JSON: the answer with its cookie.
    pub async fn sign_in(&self, name: &str, password: &str) -> Answer {
        let body = json!({ "name": name, "password": password });
        self.send("anonymous", Method::POST, "/session", &body).await
    }

    /// A token of another kind for the administrator, for `scopes`.
    pub async fn new_token(&self, kind: &str, scopes: &[&str]) -> String {
        let body = json!({ "kind": kind, "name": "test", "days": 1, "scopes": scopes });
        let made = self.send("admin", Method::POST, "/me/tokens", &body).await;
        made.json()["token"].as_str().unwrap_or_else(|| panic!("{}", made.text)).to_string()
    }
}

/// Sends it.
pub async fn answered(request: RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Answer { status, headers, text: answer.text().await.unwrap() }
}

/// Opens the store of a process that does not run.
pub async fn open_store(cw: &Cachewarden) -> Store {
    let config = Config {
        url: format!("sqlite:{}", cw.dir.join("cw.db").display()),
        key_file: None,
        key_env: None,
        key_command: None,
    };
    Store::open(&config, Migrate::AtStart).await.unwrap()
}

async fn people(cw: &Cachewarden) -> BTreeMap<&'static str, String> {
    let store = open_store(cw).await;
    let hasher = Hasher::new();
    let phc = hasher.hash("", Secret::new(PASSWORD.into())).await.ok().unwrap();
    let now = At::from_ms(jiff::Timestamp::now().as_millisecond());
    let mut tokens = BTreeMap::new();
    let admin: Vec<Grant> = server::auth::setup::first_grants();
    let others = PEOPLE.map(|(name, role, scope)| {
        let scope = Scope::try_from(scope.to_string()).unwrap();
        (name, vec![Grant { role, scope, until: None }])
    });
    for (name, grants) in others.into_iter().chain([("admin", admin)]) {
        let new = NewAccount {
            subject: name.into(),
            display: name.into(),
            staff_id: String::new(),
            password: phc.clone(),
        };
        let caller = Caller::system("test", "test");
        let account = store.account_create(&caller, new, &grants, now).await.unwrap();
        let (id, token) = opaque::fresh_bearer();
        let new = NewToken {
            id,
            hash: opaque::hash(&token),
            kind: TokenKind::Api,
            name: "test".into(),
            rights: Rights::ALL,
            scopes: vec![Scope::Platform],
            expires_at: now + 86_400_000,
        };
        let owner = Caller {
            actor: Actor { token: None, ..account.actor() },
            via: Via::System,
            address: None,
            request_id: "test".into(),
            grants: grants.iter().map(|g| (g.role.rights(), g.scope.clone())).collect(),
        };
        store.token_create(&owner, new, None, now).await.unwrap();
        tokens.insert(name, token);
    }
    store.close().await;
    tokens
}

fn inventory(cart: &str, cache: &str) -> Value {
    let service = |id: &str, address: &str, zone: &str| {
        json!([{
            "id": id, "system": "core", "managed": true,
            "instances": [{ "address": address, "zone": zone }],
        }])
    };
    let tenant = |id: &str, services: Value| {
        json!({
            "id": id, "networks": ["127.0.0.0/8"], "systems": [{ "id": "core" }],
            "services": services,
        })
    };
    json!({
        "version": 1,
        "sites": [{ "id": "dc" }],
        "zones": [{ "id": "az-1", "site": "dc" }, { "id": "az-2", "site": "dc" }],
        "tenants": [
            tenant("pay", service("cart", cart, "az-1")),
            tenant("hr", service("cache", cache, "az-2")),
        ],
    })
}

/// A message of an Alertmanager with one firing alert.
pub fn message(tenant: &str, alertname: &str, instance: Option<&str>) -> Value {
    let now = jiff::Timestamp::now();
    let mut labels = json!({ "alertname": alertname, "tenant": tenant, "severity": "critical" });
    if let Some(instance) = instance {
        labels["instance"] = instance.into();
    }
    json!({
        "version": "4", "groupKey": "g", "truncatedAlerts": 0, "status": "firing",
        "receiver": "cachewarden", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://am",
        "alerts": [{
            "status": "firing", "labels": labels, "annotations": { "summary": "it is down" },
            "startsAt": now.to_string(), "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus/graph", "fingerprint": "0123456789abcdef",
        }],
    })
}
