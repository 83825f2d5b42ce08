//! The built-in notifier and the Watchdog's second path, on receivers that are watched.

use alerter::{Config, MailConfig, MailTls, ReceiverConfig, ReceiverKind, WatchdogConfig};
use model::silence::{Matcher, Silence};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;

fn receiver(name: &str, kind: ReceiverKind, url: &str) -> ReceiverConfig {
    ReceiverConfig {
        name: name.into(),
        kind,
        tenants: Vec::new(),
        url: url.into(),
        bearer_file: None,
        body_file: None,
        routing_key_file: None,
        to: Vec::new(),
        send_resolved: true,
        per_minute: 30,
    }
}

async fn start_with(store: &Arc<Store>, config: Config, inv: &Inventory, now: At) -> Alerter {
    config.check().expect("a good configuration");
    let alerter = Alerter::new(config, store.clone(), http(), PUBLIC.into());
    alerter.restore(now).await.expect("restores");
    alerter.rebuild(inv, &store.policies(&root()).await.expect("policies"), now);
    alerter
}

fn bodies(sink: &Sink) -> Vec<Value> {
    sink.bodies().iter().map(|b| serde_json::from_slice(b).expect("JSON")).collect()
}

/// Instances a webhook message names: (firing, resolved).
fn named(body: &Value) -> (usize, usize) {
    let alerts = body["alerts"].as_array().expect("alerts");
    let firing = alerts.iter().filter(|a| a["status"] == "firing").count();
    (firing, alerts.len() - firing)
}

#[tokio::test]
async fn without_an_alertmanager_groups_are_told_once_again_when_they_change_and_when_they_are_over()
 {
    let sink = Sink::start().await;
    let b = Bench::sqlite().await;
    let inv = inventory(3);
    let t0 = clock();
    let at = |s: i64| t0 + s * 1000;
    let config = Config {
        receiver: vec![receiver("hook", ReceiverKind::Webhook, &sink.url)],
        ..Config::default()
    };
    let alerter = start_with(&b.store, config.clone(), &inv, t0).await;
    assert!(alerter.notifies());
    for i in 0..2 {
        alerter.evaluate(&sample(i, at(0), false), at(0));
    }
    assert_eq!(alerter.notify(0, at(29)).await.expect("round"), 0, "it waits for others");
    sink.answer(503);
    assert_eq!(alerter.notify(0, at(30)).await.expect("round"), 0);
    assert_eq!(alerter.notify(0, at(30)).await.expect("round"), 0, "it is not tried at once again");
    sink.answer(200);
    assert_eq!(alerter.notify(0, at(40)).await.expect("round"), 1);
    let told = bodies(&sink);
    assert_eq!((told.len(), named(&told[1])), (2, (2, 0)), "one group, told once it was taken");
    assert_eq!(told[1]["version"], "4");
    assert_eq!(
        told[1]["groupLabels"],
        json!({"tenant": "pay", "service": "cart", "alertname": "RedisDown"})
    );
    alerter.round(at(41)).await.expect("written");
    drop(alerter);

    // A restart tells nothing twice.
    let alerter = start_with(&b.store, config, &inv, at(60)).await;
    assert_eq!(alerter.notify(0, at(61)).await.expect("round"), 0);
    alerter.evaluate(&sample(2, at(75), false), at(75));
    alerter.evaluate(&sample(0, at(90), true), at(90));
    assert_eq!(alerter.notify(0, at(200)).await.expect("round"), 0, "not within group_interval");
    assert_eq!(alerter.notify(0, at(341)).await.expect("round"), 1);
    assert_eq!(named(bodies(&sink).last().expect("told")), (2, 1));
    for i in 1..3 {
        alerter.evaluate(&sample(i, at(400), true), at(400));
    }
    assert_eq!(alerter.notify(0, at(700)).await.expect("round"), 1);
    let last = bodies(&sink).pop().expect("told");
    assert_eq!((named(&last), &last["status"]), ((0, 2), &json!("resolved")));
    assert_eq!(alerter.notify(0, at(9_999)).await.expect("round"), 0, "it is over");
    assert!(b.store.notifications(&root()).await.expect("rows").is_empty());
    alerter.round(at(701)).await.expect("written");
    let rows = b.store.alert_list(&root(), &AlertFilter::default(), 9, None).await.expect("rows");
    let log = b.store.deliveries(&root(), &rows[0].id).await.expect("log");
    assert_eq!((log[0].receiver.as_str(), log[0].state.as_str()), ("webhook:hook", "accepted"));
}

#[tokio::test]
async fn silenced_alerts_are_not_told_and_a_refused_message_is_dropped_alone() {
    let sink = Sink::start().await;
    let b = Bench::sqlite().await;
    let now = clock();
    let at = |s: i64| now + s * 1000;
    let config = Config {
        receiver: vec![receiver("hook", ReceiverKind::Webhook, &sink.url)],
        ..Config::default()
    };
    let silence = Silence {
        id: "s1".into(),
        matchers: vec![
            Matcher::equal("tenant", "pay"),
            Matcher::equal("instance", instance_id(0).as_str()),
        ],
        starts_at: now,
        ends_at: at(600),
        created_by: "test".into(),
        comment: "CHG-1".into(),
        keeper: String::new(),
    };
    b.store.silence_create(&root(), &silence, now).await.expect("kept");
    let alerter = start_with(&b.store, config, &inventory(2), now).await;
    alerter.evaluate(&sample(0, at(0), false), at(0));
    assert_eq!(alerter.notify(0, at(60)).await.expect("round"), 0, "silenced");
    sink.answer(400);
    alerter.evaluate(&sample(1, at(60), false), at(60));
    alerter.notify(0, at(90)).await.expect("round");
    assert_eq!(named(&bodies(&sink)[0]), (1, 0), "the other one alone");
    alerter.notify(0, at(200)).await.expect("round");
    assert_eq!(bodies(&sink).len(), 1, "what is refused for good is not repeated");
    sink.answer(200);
    b.store.silence_expire(&root(), "s1", at(300)).await.expect("expired");
    alerter.gate_round(at(400)).await.expect("round");
    alerter.notify(0, at(400)).await.expect("round");
    assert_eq!(named(&bodies(&sink)[1]), (2, 0), "the silence is over");
}

#[tokio::test]
async fn a_pager_is_triggered_acknowledged_and_resolved_under_one_key() {
    let sink = Sink::start().await;
    let b = Bench::sqlite().await;
    let key = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(key.path(), "R0UT1NG\n").expect("written");
    let pager = ReceiverConfig {
        routing_key_file: Some(key.path().display().to_string()),
        ..receiver("oncall", ReceiverKind::Pagerduty, &sink.url)
    };
    let t0 = clock();
    let at = |s: i64| t0 + s * 1000;
    let config = Config { receiver: vec![pager], ..Config::default() };
    let alerter = start_with(&b.store, config, &inventory(1), t0).await;
    alerter.evaluate(&sample(0, at(0), false), at(0));
    alerter.round(at(1)).await.expect("written");
    alerter.notify(0, at(30)).await.expect("round");
    let rows = b.store.alert_list(&root(), &AlertFilter::default(), 9, None).await.expect("rows");
    b.store.alert_ack(&root(), &rows[0].id, "on it", at(60)).await.expect("taken");
    alerter.notify(0, at(61)).await.expect("round");
    alerter.notify(0, at(62)).await.expect("round");
    alerter.evaluate(&sample(0, at(75), true), at(75));
    alerter.notify(0, at(331)).await.expect("round");
    let told = bodies(&sink);
    let actions: Vec<String> = told.iter().map(|e| text(&e["event_action"])).collect();
    assert_eq!(actions, ["trigger", "acknowledge", "resolve"]);
    assert!(told.iter().all(|e| e["dedup_key"] == "pay/cart/RedisDown"));
    assert!(told.iter().all(|e| e["routing_key"] == "R0UT1NG"));
    assert_eq!(told[0]["payload"]["severity"], "critical");
}

/// A mail server that takes one mail and answers what it was sent.
async fn mail_server() -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let task = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("a client");
        let (read, mut write) = socket.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 test\r\n").await.expect("said");
        let mut mail = String::new();
        let mut data = false;
        while let Ok(Some(line)) = lines.next_line().await {
            mail.push_str(&line);
            mail.push('\n');
            let answer = match (data, line.as_str()) {
                (true, ".") => {
                    data = false;
                    "250 taken\r\n"
                }
                (true, _) => continue,
                (_, "DATA") => {
                    data = true;
                    "354 go on\r\n"
                }
                (_, "QUIT") => break,
                (_, l) if l.starts_with("EHLO") => "250 test\r\n",
                _ => "250 ok\r\n",
            };
            if write.write_all(answer.as_bytes()).await.is_err() {
                break;
            }
            if answer.starts_with("250 taken") {
                break;
            }
        }
        mail
    });
    (port, task)
}

#[tokio::test]
async fn a_mail_says_what_fires_where_and_since_when() {
    let (port, mail) = mail_server().await;
    let b = Bench::sqlite().await;
    let now = clock();
    let to = vec!["On call <oncall@example.com>".into()];
    let config = Config {
        receiver: vec![ReceiverConfig { to, ..receiver("mail", ReceiverKind::Mail, "") }],
        mail: Some(MailConfig {
            host: "127.0.0.1".into(),
            port: Some(port),
            tls: MailTls::None,
            from: "cachewarden <cw@example.com>".into(),
            user: None,
            password_file: None,
        }),
        ..Config::default()
    };
    let alerter = start_with(&b.store, config, &inventory(1), now).await;
    alerter.explains_by(Box::new(|labels| Some(format!("-100.00 {}", labels["instance"]))));
    alerter.evaluate(&sample(0, now, false), now);
    assert_eq!(alerter.notify(0, now + 30_000).await.expect("round"), 1);
    let mail = mail.await.expect("a mail");
    let why = format!("-100.00 {}", instance_id(0));
    for word in ["Subject: [FIRING:1] RedisDown pay/cart", "oncall@example.com", "[critical]", &why]
    {
        assert!(mail.contains(word), "{word}: {mail}");
    }
}

#[tokio::test]
async fn a_watchdog_that_does_not_come_back_pages_by_the_second_path_and_says_when_it_is_back() {
    let (am, pager) = (Sink::start().await, Sink::start().await);
    let b = Bench::sqlite().await;
    let t0 = clock();
    let at = |s: i64| t0 + s * 1000;
    let config = Config {
        alertmanager: vec![super::am(&am.url)],
        receiver: vec![receiver("second", ReceiverKind::Webhook, &pager.url)],
        watchdog: Some(WatchdogConfig {
            receiver: "second".into(),
            evaluators: vec!["embedded".into()],
        }),
        ..Config::default()
    };
    let alerter = start_with(&b.store, config.clone(), &inventory(1), t0).await;
    assert!(!alerter.notifies(), "people are told by the Alertmanager");
    let back = |now: At| {
        let labels =
            json!({"alertname": "Watchdog", "evaluator": "embedded", "policy": "watchdog"});
        message(&[posted("firing", labels, now - 1_000, None)])
    };
    let sender = token(Scope::Platform, &[Right::IntakePost]);
    alerter.intake(&sender, "am", &back(at(60)), at(60)).await.expect("taken");
    alerter.watchdog_round(at(360)).await.expect("round");
    assert!(pager.bodies().is_empty(), "five minutes are not over");
    alerter.watchdog_round(at(361)).await.expect("round");
    alerter.watchdog_round(at(362)).await.expect("round");
    let told = bodies(&pager);
    assert_eq!((told.len(), named(&told[0])), (1, (1, 0)), "told once");
    assert_eq!(told[0]["alerts"][0]["labels"]["evaluator"], "embedded");
    drop(alerter);

    let alerter = start_with(&b.store, config, &inventory(1), at(400)).await;
    alerter.intake(&sender, "am", &back(at(500)), at(500)).await.expect("taken");
    alerter.watchdog_round(at(700)).await.expect("round");
    let told = bodies(&pager);
    assert_eq!((told.len(), named(&told[1])), (2, (0, 1)), "also over a restart");
}
