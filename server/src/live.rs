//! `GET /live`: the present state of topics, and again whenever it changes.
//!
//! Invariant: states, not deltas, so a reconnect misses nothing; who asks, his session and his
//! scope are looked at anew before each event, and the stream ends with them. Bounded in number; a
//! reader who does not read holds one event.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use model::At;
use model::audit::sha256_hex;
use model::caller::Caller;
use model::code::{Code, Problem};
use model::right::Right;
use model::view::List;
use serde_json::{Value, json};
use store::AlertFilter;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::api::ask::{Answer, Ask, Fail};
use crate::api::{Api, alert, operation, overview};
use crate::auth;

/// Streams at once.
pub const STREAMS_MAX: usize = 1_000;
/// Topics of one stream: a page shows few things.
const TOPICS_MAX: usize = 8;
/// A comment this often keeps proxies from closing the stream.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often operations are looked at, and everything else with every fifth look.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS_PER_SLOW: u64 = 5;
/// Firing alerts of the topic.
const ALERTS_MAX: usize = 500;
/// A reader who has not taken an event in this time is cut; he comes back and gets the state.
const SEND_TIME: Duration = Duration::from_secs(30);

/// Values kept for others who see the same: scopes × two topics, far above what is open at once.
const SHARED_MAX: usize = 512;
/// How long a value serves others.
const SHARED_MS: i64 = 900;

/// A value as it was read, and what is compared to see a change.
struct Read {
    value: Value,
    essence: String,
    at: At,
}

/// Values that streams of the same sight share: a wall of screens costs one reading a second.
#[derive(Default)]
pub struct Shared(Mutex<HashMap<(String, String), Arc<Read>>>);

impl Shared {
    fn get(&self, key: &(String, String), now: At) -> Option<Arc<Read>> {
        let map = self.0.lock().expect("no panic while held");
        map.get(key).filter(|r| (0..SHARED_MS).contains(&now.since_ms(r.at))).cloned()
    }

    fn put(&self, key: (String, String), read: &Arc<Read>, now: At) {
        let mut map = self.0.lock().expect("no panic while held");
        map.retain(|_, r| now.since_ms(r.at) < SHARED_MS);
        if map.len() < SHARED_MAX {
            map.insert(key, read.clone());
        }
    }
}

/// Something that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Topic {
    /// The overview.
    Kpi,
    /// Firing alerts.
    Alerts,
    /// One operation.
    Operation(String),
}

impl Topic {
    fn parse(word: &str) -> Option<Topic> {
        match word.split_once(':') {
            None if word == "kpi" => Some(Topic::Kpi),
            None if word == "alerts" => Some(Topic::Alerts),
            Some(("op", id)) if !id.is_empty() => Some(Topic::Operation(id.into())),
            _ => None,
        }
    }

    fn name(&self) -> String {
        match self {
            Topic::Kpi => "kpi".into(),
            Topic::Alerts => "alerts".into(),
            Topic::Operation(id) => format!("op:{id}"),
        }
    }

    /// Looked at with every look, not with every fifth.
    fn is_quick(&self) -> bool {
        matches!(self, Topic::Operation(_))
    }
}

/// Opens a stream; refuses an unknown topic, an operation out of scope, the stream too many.
pub async fn stream(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let topics = topics(ask.query("topics"))?;
    for topic in &topics {
        // Foreign and unknown things are answered before the stream begins.
        state(&api, &ask.caller, topic, ask.now).await?;
    }
    let place = api.streams.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{STREAMS_MAX} streams are open");
        Problem::new(Code::OverCapacity, detail, "Ask again in some seconds.")
    })?;
    let (sender, receiver) = mpsc::channel::<Result<Bytes, Infallible>>(1);
    let (headers, peer) = (ask.headers.clone(), ask.peer);
    tokio::spawn(async move {
        let _place = place;
        let pump = Pump { api, topics, headers, peer, sent: BTreeMap::new(), sender };
        pump.run().await;
    });
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(receiver)));
    let fields = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    Ok(Answer::stream(response))
}

fn topics(text: &str) -> Result<Vec<Topic>, Fail> {
    let words: Vec<&str> = text.split(',').filter(|w| !w.is_empty()).collect();
    if words.is_empty() || words.len() > TOPICS_MAX {
        let detail = format!("topics: expected 1 to {TOPICS_MAX} of kpi, alerts, op:ID");
        return Err(crate::api::ask::invalid("/topics", detail));
    }
    let unknown = |w: &str| {
        crate::api::ask::invalid("/topics", format!("{w:?}: expected kpi, alerts or op:ID"))
    };
    words.into_iter().map(|w| Topic::parse(w).ok_or_else(|| unknown(w))).collect()
}

/// The present of a topic, from whoever read it a moment ago with the same sight.
async fn state(api: &Api, caller: &Caller, topic: &Topic, now: At) -> Result<Arc<Read>, Fail> {
    let key = (topic.name(), sight_of(caller));
    if !topic.is_quick()
        && let Some(read) = api.shared.get(&key, now)
    {
        return Ok(read);
    }
    let value = fresh(api, caller, topic, now).await?;
    let read = Arc::new(Read { essence: essence(&value), value, at: now });
    if !topic.is_quick() {
        api.shared.put(key, &read, now);
    }
    Ok(read)
}

/// What decides about the value of a shared topic: where the caller reads.
fn sight_of(caller: &Caller) -> String {
    let scopes = caller.scopes(Right::FleetRead);
    let mut scopes: Vec<String> = scopes.into_iter().map(|s| String::from(s.clone())).collect();
    scopes.sort_unstable();
    scopes.dedup();
    scopes.join(" ")
}

/// The whole present value of a topic, cut to the caller's scope.
async fn fresh(api: &Api, caller: &Caller, topic: &Topic, now: At) -> Result<Value, Fail> {
    let value = match topic {
        Topic::Kpi => serde_json::to_value(overview::value(&api.app, caller, now).await?),
        Topic::Alerts => {
            let firing = AlertFilter { phases: alert::FIRING.to_vec(), ..AlertFilter::default() };
            let items = api.app.store.alert_list(caller, &firing, ALERTS_MAX, None).await?;
            let count = api.app.store.alert_count(caller, &firing).await? as usize;
            serde_json::to_value(List { items, next: None, count, as_of: now })
        }
        Topic::Operation(id) => serde_json::to_value(operation::page(&api.app, caller, id).await?),
    };
    Ok(value.expect("values of the model are plain data"))
}

/// The value without the moment it was read: what is compared to see a change.
fn essence(value: &Value) -> String {
    let mut value = value.clone();
    if let Some(map) = value.as_object_mut() {
        map.remove("as_of");
    }
    sha256_hex(value.to_string().as_bytes())
}

struct Pump {
    api: Arc<Api>,
    topics: Vec<Topic>,
    headers: HeaderMap,
    peer: std::net::IpAddr,
    sent: BTreeMap<String, String>,
    sender: mpsc::Sender<Result<Bytes, Infallible>>,
}

impl Pump {
    async fn run(mut self) {
        let stop = self.api.app.shutdown.clone();
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut beat = tokio::time::interval(HEARTBEAT);
        let padding = format!(": {}\n\n", " ".repeat(2_048));
        if !self.send(padding).await {
            return;
        }
        let mut n = 0_u64;
        loop {
            let goes_on = tokio::select! {
                () = stop.cancelled() => false,
                () = self.sender.closed() => false,
                _ = beat.tick() => self.send(": \n\n".into()).await,
                _ = looks.tick() => {
                    n += 1;
                    self.look((n - 1).is_multiple_of(LOOKS_PER_SLOW)).await
                }
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Sends what changed; answers whether the stream goes on.
    async fn look(&mut self, all: bool) -> bool {
        let topics: Vec<Topic> =
            self.topics.iter().filter(|t| all || t.is_quick()).cloned().collect();
        if topics.is_empty() {
            return true;
        }
        let Ok((caller, _)) = auth::caller(&self.api.app, &self.headers, self.peer).await else {
            return false;
        };
        for topic in topics {
            let now = self.api.app.now();
            let read = match state(&self.api, &caller, &topic, now).await {
                Ok(read) => read,
                // Away for the moment: what was sent stands, the next look tries again.
                Err(Fail(p)) if p.status >= 500 => continue,
                Err(_) => return false,
            };
            if self.sent.get(&topic.name()) == Some(&read.essence) {
                continue;
            }
            let event = json!({ "topic": topic.name(), "value": read.value });
            if !self.send(format!("event: state\ndata: {event}\n\n")).await {
                return false;
            }
            self.sent.insert(topic.name(), read.essence.clone());
        }
        true
    }

    async fn send(&self, text: String) -> bool {
        let sent = self.sender.send(Ok(Bytes::from(text)));
        matches!(tokio::time::timeout(SEND_TIME, sent).await, Ok(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_a_closed_set() {
        let parsed = topics("kpi,alerts,op:1").ok().map(|t| t.iter().map(Topic::name).collect());
        assert_eq!(parsed, Some(vec!["kpi".to_string(), "alerts".into(), "op:1".into()]));
        for bad in ["", "kpi,x", "op:", "service:a", "kpi,kpi,kpi,kpi,kpi,kpi,kpi,kpi,kpi"] {
            assert!(topics(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_value_serves_those_who_see_the_same_for_a_moment_only() {
        let shared = Shared::default();
        let read = Arc::new(Read { value: json!(1), essence: "e".into(), at: At::from_ms(0) });
        let key = |sight: &str| ("kpi".to_string(), sight.to_string());
        shared.put(key("tenant:pay"), &read, At::from_ms(0));
        assert!(shared.get(&key("tenant:pay"), At::from_ms(SHARED_MS - 1)).is_some());
        assert!(shared.get(&key("tenant:pay"), At::from_ms(SHARED_MS)).is_none());
        assert!(shared.get(&key("tenant:hr"), At::from_ms(0)).is_none());
    }

    #[test]
    fn the_moment_of_reading_is_no_change() {
        let a = json!({ "as_of": "1", "x": 1 });
        assert_eq!(essence(&a), essence(&json!({ "as_of": "2", "x": 1 })));
        assert_ne!(essence(&a), essence(&json!({ "as_of": "1", "x": 2 })));
    }
}
