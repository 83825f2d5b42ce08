//! A password is rotated under clients that log in all the time: nobody is refused before, during and
//! after, also when a node restarts or the program dies in the middle; in the end only the new one works
//! and no password is written anywhere.
#![cfg(feature = "fault")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use link::{Link, Target};
use model::operation::{OperationState, StepState};
use model::reading::Reason;
use model::secret::Secret;
use serde_json::{Value, json};
use tests::inventory::{Listed, document};
use tests::nodes::{call, told};
use tests::stage::{NAME, SERVICE, Stage};
use tests::wait;
use tokio::task::JoinHandle;

const CALL: Duration = Duration::from_secs(5);
/// Nobody else is there to approve, owners are fast, and nothing waits to be cancelled.
const ALONE: &str = "[ops]\nsecond_person_from = 5\ndestroy_wait_s = 0";
const CLIENTS: usize = 3;

async fn login(address: &str, password: &str) -> Result<Link, link::Error> {
    let password = Some(Secret::new(password.into()));
    let target = Target { address: address.into(), user: String::new(), password, tls: None };
    link::dial(&target, CALL).await
}

/// Clients that log in, write and leave, over and over, with the password their owners gave them.
struct Clients {
    password: Arc<Mutex<String>>,
    stop: Arc<AtomicBool>,
    logins: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Vec<String>>>,
}

impl Clients {
    fn start(nodes: &[String], password: &str) -> Clients {
        let password = Arc::new(Mutex::new(password.to_string()));
        let (stop, logins): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let tasks = (0..CLIENTS).map(|_| {
            let (nodes, password) = (nodes.to_vec(), Arc::clone(&password));
            let (stop, logins) = (Arc::clone(&stop), Arc::clone(&logins));
            tokio::spawn(async move {
                let mut refused = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    for node in &nodes {
                        let present = password.lock().expect("no panic").clone();
                        match login(node, &present).await {
                            Ok(mut link) => {
                                let _ = link.call(&["GET", "k"], CALL).await;
                                logins.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(e) if e.reason == Reason::Auth => {
                                refused.push(format!("{node}: {e}"))
                            }
                            // A node that restarts.
                            Err(_) => {}
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                refused
            })
        });
        Clients { tasks: tasks.collect(), password, stop, logins }
    }

    /// The owners change their applications.
    fn take(&self, password: &str) {
        *self.password.lock().expect("no panic") = password.to_string();
    }

    async fn go_on(&self) {
        let goal = self.logins.load(Ordering::Relaxed) + 50;
        wait::until("logins", || async {
            (self.logins.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    async fn refused(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for task in self.tasks {
            all.extend(task.await.expect("a client does not panic"));
        }
        all
    }
}

/// A service with a password, known to its Sentinels and to the program.
async fn stage(with_sentinels: bool, password: &str) -> Stage {
    let stage = match with_sentinels {
        true => Stage::restartable_sentinel(ALONE, "10m").await,
        false => Stage::restartable(ALONE, "10m").await,
    };
    for sentinel in &stage.sentinels {
        let set = ["SENTINEL", "SET", NAME, "auth-pass", password];
        call(sentinel, &set).await.expect("a Sentinel takes it");
    }
    for address in &stage.data {
        call(address, &["CONFIG", "SET", "masterauth", password]).await.expect("taken");
        call(address, &["CONFIG", "SET", "requirepass", password]).await.expect("taken");
        let mut link = login(address, password).await.expect("it takes its password");
        link.call(&["CONFIG", "REWRITE"], CALL).await.expect("it has a file");
    }
    let listed = Listed::new(NAME, stage.mode, stage.data.clone());
    let listed =
        Listed { sentinels: stage.sentinels.clone(), password: Some(password.into()), ..listed };
    stage.warden.apply(&document(&[listed], "10m")).await;
    stage
}

async fn staged(stage: &Stage, password: &str) {
    let path = format!("/services/{SERVICE}/secrets/redis-next");
    stage.warden.put(&path, &json!({ "password": password })).await;
}

async fn plan(stage: &Stage, gate_s: u32) -> Value {
    let params = json!({ "gate_s": gate_s, "deadline_s": 3600 });
    wait::until("a plan is possible", || async {
        stage.warden.plan("password_rotate", SERVICE, &params).await.ok()
    })
    .await
}

/// Every login is by the new password, none by the old one; replicas follow, Sentinels watch.
async fn only(stage: &Stage, new: &str, old: &str) {
    for address in &stage.data {
        let mut link = login(address, new).await.unwrap_or_else(|e| panic!("{address}: {e}"));
        let refused = login(address, old).await.err().expect("the old password is refused");
        assert_eq!(refused.reason, Reason::Auth, "{refused}");
        let info = link.call(&["INFO", "replication"], CALL).await.expect("it answers");
        let info = String::from_utf8_lossy(link::reply::bytes(&info).unwrap()).into_owned();
        let fine = info.contains("role:master") || info.contains("master_link_status:up");
        assert!(fine, "{address}: {info}");
    }
    for sentinel in &stage.sentinels {
        let flags = told(sentinel, NAME, "flags").await;
        assert_eq!(flags.as_deref(), Some("master"));
        call(sentinel, &["SENTINEL", "CKQUORUM", NAME]).await.expect("quorum");
    }
}

/// No password, and no hash of one, in anything the program wrote or answers.
async fn nowhere(stage: &Stage, id: &str, secrets: &[&str]) {
    let page = stage.warden.get(&format!("/operations/{id}")).await.to_string();
    let audit = stage.warden.get("/audit?limit=500").await.to_string();
    let store = std::fs::read(stage.warden.store()).expect("the store's file");
    let store = String::from_utf8_lossy(&store).into_owned();
    for secret in secrets {
        let hash = model::audit::sha256_hex(secret.as_bytes());
        for (place, text) in
            [("page", &page), ("audit", &audit), ("log", &stage.warden.log()), ("store", &store)]
        {
            assert!(!text.contains(secret), "a password is in the {place}");
            assert!(!text.contains(&hash), "the hash of a password is in the {place}");
        }
    }
}

async fn in_step(stage: &Stage, id: &str, kind: &str) {
    wait::until(&format!("step {kind} runs"), || async {
        let page = stage.warden.try_operation(id).await?;
        let step = page.steps.iter().find(|s| s.kind == kind)?;
        (step.state == StepState::Running).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_under_reconnecting_clients_causes_no_auth_error() {
    let (old, new) = ("first-password-of-cart", "second-password-of-cart");
    let stage = stage(true, old).await;
    let clients = Clients::start(&stage.data, old);
    clients.go_on().await;
    staged(&stage, new).await;
    let plan = plan(&stage, 5).await;
    let id = stage.warden.begin(&plan, "rotate").await.expect("it answers");
    in_step(&stage, &id, "gate").await;
    // Both hold: a node that restarts comes back with both, and follows.
    let replica = stage.data[1].clone();
    stage.nodes().kill(&replica).await;
    stage.nodes().begin(&replica).await;
    wait::until("it is back", || async { login(&replica, old).await.ok().map(drop) }).await;
    assert!(login(&replica, new).await.is_ok(), "its file kept the new one too");
    clients.go_on().await;
    clients.take(new);
    let over = stage.warden.over(&id).await;
    assert_eq!(over.operation.state, OperationState::Done, "{:#?}", over);
    clients.go_on().await;
    let refused = clients.refused().await;
    assert!(refused.is_empty(), "{refused:#?}");
    only(&stage, new, old).await;
    nowhere(&stage, &id, &[old, new]).await;
    // The files say so too.
    stage.nodes().kill(&replica).await;
    stage.nodes().begin(&replica).await;
    wait::until("it is back", || async { login(&replica, new).await.ok().map(drop) }).await;
    assert!(login(&replica, old).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_cancelled_at_its_gate_leaves_the_old_password_alone() {
    let (old, new) = ("first-password-of-cart", "second-password-of-cart");
    let stage = stage(false, old).await;
    staged(&stage, new).await;
    let plan = plan(&stage, 3_000).await;
    let id = stage.warden.begin(&plan, "rotate").await.expect("it answers");
    in_step(&stage, &id, "gate").await;
    let asked = stage.warden.post(&format!("/operations/{id}/cancel"), &json!({})).await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let over = stage.warden.over(&id).await;
    assert_eq!(over.operation.state, OperationState::Unwound, "{:#?}", over.operation.reason);
    only(&stage, old, new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_survives_a_crash_at_every_point() {
    let mut stage = stage(true, "password-number-0000").await;
    let mut number = 0;
    let password = |n: u32| format!("password-number-{n:04}");
    for step in ops::plan::password_rotate::STEPS {
        for when in ["before", "after"] {
            let (old, new) = (password(number), password(number + 1));
            number += 1;
            staged(&stage, &new).await;
            let plan = plan(&stage, 0).await;
            let point = format!("password_rotate.{step}:{when}");
            stage.warden.arm(&format!("{point}:crash"));
            let made = stage.warden.begin(&plan, &point).await;
            let patience = wait::PATIENCE * 3;
            wait::until_within(&format!("the program dies at {point}"), patience, || async {
                stage.warden.is_dead().then_some(())
            })
            .await;
            stage.warden.ended().await;
            stage.warden.disarm();
            stage.end_leases().await;
            stage.warden.start_again().await;
            let id = match made {
                Some(id) => id,
                None => stage.warden.begin(&plan, &point).await.expect("it answers"),
            };
            let over = stage.warden.over(&id).await;
            assert_eq!(over.operation.state, OperationState::Done, "{point}: {:#?}", over);
            only(&stage, &new, &old).await;
            nowhere(&stage, &id, &[&old, &new]).await;
            assert_eq!(stage.count("SELECT count(*) FROM operation_lock").await, 0, "{point}");
        }
    }
}
