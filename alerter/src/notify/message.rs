//! A notice in the words of each kind of receiver. Pure.
//!
//! Invariant: a webhook gets what Alertmanager would send, version 4, so nothing changes when one
//! comes; texts of strangers are cut to what a receiver takes and never leave their place in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::group::{Brief, Key, Notice};
use crate::template::render;

/// Longest summary PagerDuty takes, characters.
const SUMMARY_MAX: usize = 1_024;
/// Longest event PagerDuty takes, bytes.
const EVENT_MAX: usize = 512_000;
/// Alerts a mail names one by one: what a person reads.
const LINES_MAX: usize = 50;

/// `firing`, or `resolved` when nothing is left.
pub fn status(notice: &Notice) -> &'static str {
    if notice.firing.is_empty() { "resolved" } else { "firing" }
}

fn all(notice: &Notice) -> impl Iterator<Item = &Brief> {
    notice.firing.iter().chain(&notice.resolved)
}

/// What is the same in all of them.
fn common<'a>(
    mut maps: impl Iterator<Item = &'a BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let mut common = maps.next().cloned().unwrap_or_default();
    for map in maps {
        common.retain(|name, value| map.get(name) == Some(value));
    }
    common
}

/// Alertmanager's webhook message.
pub fn webhook(receiver: &str, key: &Key, notice: &Notice, public_url: &str) -> Value {
    let labels = common(all(notice).map(|b| &b.labels));
    let annotations = common(all(notice).map(|b| &b.annotations));
    let group = json!({ "alertname": key.alertname, "service": key.service, "tenant": key.tenant });
    let one = |b: &Brief| {
        let ends_at = b.ends_at.map_or("0001-01-01T00:00:00Z".to_string(), |at| at.to_string());
        json!({
            "status": if b.ends_at.is_some() { "resolved" } else { "firing" },
            "labels": b.labels, "annotations": b.annotations, "startsAt": b.starts_at,
            "endsAt": ends_at, "generatorURL": b.url, "fingerprint": b.fingerprint,
        })
    };
    json!({
        "version": "4",
        "groupKey": format!("{{}}:{{alertname={:?}, service={:?}, tenant={:?}}}",
            key.alertname, key.service, key.tenant),
        "truncatedAlerts": 0,
        "status": status(notice),
        "receiver": receiver,
        "groupLabels": group,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": public_url,
        "alerts": all(notice).map(one).collect::<Vec<_>>(),
    })
}

/// A webhook's own body: `template` with the words of the notice as `$labels`, each escaped as the
/// inside of a JSON string.
pub fn body(template: &str, key: &Key, notice: &Notice, public_url: &str) -> String {
    let inside = |text: &str| {
        let quoted = Value::from(text).to_string();
        quoted[1..quoted.len() - 1].to_string()
    };
    let words = [
        ("status", status(notice).to_string()),
        ("tenant", key.tenant.clone()),
        ("service", key.service.clone()),
        ("alertname", key.alertname.clone()),
        ("title", title(key, notice)),
        ("text", text(notice)),
        ("firing", notice.firing.len().to_string()),
        ("resolved", notice.resolved.len().to_string()),
        ("url", link(notice, public_url)),
    ];
    let words = words.map(|(name, value)| (name.to_string(), inside(&value))).into();
    render(template, &words, None)
}

/// `[FIRING:2] RedisDown pay/cart`.
pub fn title(key: &Key, notice: &Notice) -> String {
    let head = match (notice.acknowledge, notice.firing.len()) {
        (true, _) => "ACKNOWLEDGED".to_string(),
        (_, 0) => "RESOLVED".to_string(),
        (_, n) => format!("FIRING:{n}"),
    };
    let place = [key.tenant.as_str(), key.service.as_str()];
    let place: Vec<&str> = place.into_iter().filter(|p| !p.is_empty()).collect();
    let whole = format!("[{head}] {} {}", key.alertname, place.join("/"));
    plain(whole.trim_end())
}

/// A text without what could break a line or a header.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SUMMARY_MAX).collect()
}

fn summary(brief: &Brief) -> String {
    let own = brief.annotations.get("summary").or_else(|| brief.labels.get("instance"));
    plain(own.or_else(|| brief.labels.get("alertname")).map_or("", String::as_str))
}

fn link(notice: &Notice, public_url: &str) -> String {
    match all(notice).next() {
        Some(brief) if !brief.url.is_empty() => brief.url.clone(),
        _ => format!("{public_url}/alerts"),
    }
}

/// Scores that a mail explains: the whole waterfall of each is a dozen lines.
const WHYS_MAX: usize = 3;

/// Why the scores of what fires are what they are, each object once.
pub fn why(notice: &Notice, explains: &crate::Explains) -> String {
    let mut seen = BTreeSet::new();
    let mut out = String::new();
    for text in notice.firing.iter().filter_map(|b| explains(&b.labels)) {
        if seen.len() < WHYS_MAX && seen.insert(text.clone()) {
            out.push_str(&format!("\nWhy the score is what it is:\n{text}"));
        }
    }
    out
}

/// The lines of a mail.
pub fn text(notice: &Notice) -> String {
    let mut out = String::new();
    for (head, briefs) in [("Firing", &notice.firing), ("Resolved", &notice.resolved)] {
        if briefs.is_empty() {
            continue;
        }
        out.push_str(&format!("{head}:\n"));
        for b in briefs.iter().take(LINES_MAX) {
            let level = b.labels.get("level").map_or("", String::as_str);
            let began = b.annotations.get("first_started_at").cloned();
            let began = began.unwrap_or_else(|| b.starts_at.to_string());
            let ended = b.ends_at.map_or(String::new(), |at| format!(", ended {at}"));
            out.push_str(&format!("- {} [{level}] since {began}{ended}\n", summary(b)));
            for name in ["description", "runbook_url"] {
                if let Some(more) = b.annotations.get(name) {
                    out.push_str(&format!("  {}\n", plain(more)));
                }
            }
            out.push_str(&format!("  {}\n", b.url));
        }
        if briefs.len() > LINES_MAX {
            out.push_str(&format!("and {} more\n", briefs.len() - LINES_MAX));
        }
        out.push('\n');
    }
    out
}

/// An event of PagerDuty's Events API, version 2, without its key.
pub fn pager(key: &Key, notice: &Notice, public_url: &str) -> Value {
    let action = match (notice.acknowledge, notice.firing.is_empty()) {
        (true, _) => "acknowledge",
        (_, true) => "resolve",
        _ => "trigger",
    };
    let mut event = json!({ "event_action": action, "dedup_key": key.text() });
    if action != "trigger" {
        return event;
    }
    let first = &notice.firing[0];
    let label = |name: &str| first.labels.get(name).map_or("", String::as_str);
    let place = [key.tenant.as_str(), key.service.as_str()];
    let source = place.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("/");
    let title = match notice.firing.len() {
        1 => format!("{}: {}", key.alertname, summary(first)),
        n => format!("{}: {n} alerts, first: {}", key.alertname, summary(first)),
    };
    event["payload"] = json!({
        "summary": plain(&title),
        "source": if source.is_empty() { "cachewarden" } else { &source },
        "severity": severity(notice),
        "timestamp": first.starts_at,
        "component": label("instance"),
        "group": key.service,
        "class": label("dimension"),
        "custom_details": {
            "firing": notice.firing.iter().map(details).collect::<Vec<_>>(),
            "resolved": notice.resolved.iter().map(details).collect::<Vec<_>>(),
        },
    });
    let link = link(notice, public_url);
    event["links"] = json!([{ "href": link, "text": "cachewarden" }]);
    event["client"] = "cachewarden".into();
    event["client_url"] = public_url.into();
    if event.to_string().len() > EVENT_MAX {
        event["payload"]["custom_details"] = json!({ "too_long_see": link });
    }
    event
}

fn details(brief: &Brief) -> Value {
    json!({ "labels": brief.labels, "annotations": brief.annotations,
        "starts_at": brief.starts_at, "ends_at": brief.ends_at, "url": brief.url })
}

/// The gravest of them in PagerDuty's words.
fn severity(notice: &Notice) -> &'static str {
    let level = |word: &str| {
        let of = |b: &Brief| b.labels.get("level").is_some_and(|l| l == word);
        notice.firing.iter().any(of)
    };
    match () {
        () if level("critical") => "critical",
        () if level("warning") => "warning",
        () if level("info") => "info",
        () => "error",
    }
}

#[cfg(test)]
mod tests {
    use model::At;

    use super::*;

    const T0: At = At::from_ms(1_763_800_000_000);

    fn brief(level: &str, summary: &str) -> Brief {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
        };
        Brief {
            id: "1".into(),
            fingerprint: "f".into(),
            labels: map(&[("alertname", "RedisDown"), ("level", level), ("instance", "i")]),
            annotations: map(&[("summary", summary)]),
            starts_at: T0,
            ends_at: None,
            url: "http://w/alerts/1".into(),
        }
    }

    fn key() -> Key {
        Key { tenant: "pay".into(), service: "cart".into(), alertname: "RedisDown".into() }
    }

    fn notice(firing: Vec<Brief>, resolved: Vec<Brief>) -> Notice {
        Notice { firing, resolved, acknowledge: false }
    }

    #[test]
    fn our_webhook_message_is_read_by_our_own_intake() {
        let over = Brief { ends_at: Some(T0 + 5), ..brief("warning", "b") };
        let sent =
            webhook("r", &key(), &notice(vec![brief("critical", "a")], vec![over]), "http://w");
        let read = crate::intake::parse(sent.to_string().as_bytes()).unwrap();
        let told: Vec<_> = read.alerts.iter().map(|a| (a.resolved, a.ends_at)).collect();
        assert_eq!(told, [(false, None), (true, Some(T0 + 5))]);
        assert_eq!(sent["commonLabels"], json!({"alertname": "RedisDown", "instance": "i"}));
        assert_eq!((&sent["status"], &sent["version"]), (&json!("firing"), &json!("4")));
    }

    #[test]
    fn a_pager_is_triggered_with_the_gravest_level_acknowledged_and_resolved_under_one_key() {
        let both = notice(vec![brief("warning", "a"), brief("critical", "b")], vec![]);
        let event = pager(&key(), &both, "http://w");
        assert_eq!(event["payload"]["severity"], "critical");
        assert_eq!(event["payload"]["source"], "pay/cart");
        let ack = Notice { acknowledge: true, ..both };
        for (notice, action) in
            [(ack, "acknowledge"), (notice(vec![], vec![brief("warning", "a")]), "resolve")]
        {
            let next = pager(&key(), &notice, "http://w");
            assert_eq!(next["event_action"], action);
            assert_eq!(next["dedup_key"], event["dedup_key"]);
            assert!(next.get("payload").is_none());
        }
    }

    #[test]
    fn what_is_too_long_for_a_pager_is_cut_and_its_details_become_a_link() {
        let long = "x".repeat(600_000);
        let event = pager(&key(), &notice(vec![brief("critical", &long)], vec![]), "http://w");
        assert_eq!(event["payload"]["summary"].as_str().unwrap().chars().count(), SUMMARY_MAX);
        assert_eq!(event["payload"]["custom_details"]["too_long_see"], "http://w/alerts/1");
        assert!(event.to_string().len() < EVENT_MAX);
    }

    #[test]
    fn a_title_is_one_line_and_an_own_body_stays_json_whatever_strangers_wrote() {
        let bad = Key { alertname: "a\r\nBcc: x@y\"".into(), ..key() };
        let both = notice(vec![brief("critical", "\"}\n{{ $labels.x }}")], vec![]);
        assert!(!title(&bad, &both).contains(['\r', '\n']));
        let sent = body(r#"{"text": "{{ $labels.title }} {{ $labels.text }}"}"#, &bad, &both, "");
        let read: Value = serde_json::from_str(&sent).unwrap();
        assert!(read["text"].as_str().unwrap().contains("{{ $labels.x }}"));
    }
}
