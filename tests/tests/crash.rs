//! The process dies at every point of every operation, under continuous writers; the next one must
//! bring each operation to a good end, and the fleet must show nothing of it.
//!
//! A fault point is armed in the running program, the operation is started over the API, the program
//! aborts there, writers go on, a new process takes the operation up. Then the fleet is asked, not
//! the program: one master, everybody on it directly, settings as before, nobody held, no command
//! twice that must not be sent twice, nothing acknowledged lost where nothing may be.
#![cfg(feature = "fault")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use link::reply::role::RoleReply;
use model::operation::{OperationKind, OperationState, StepState};
use model::view::OperationPage;
use serde_json::{Value, json};
use tests::load::Load;
use tests::nodes::{call, calls, config, link_to, role};
use tests::stage::{Stage, info_period};
use tests::wait;

const WRITERS: usize = 2;

/// Steps of the three kinds of switchover and of the restart, as the plans must list them.
const SENTINEL: &[&str] = &["steer", "fence", "priorities", "roles", "data", "health"];
const DRAIN: &[&str] = &["drain", "roles", "persist", "data", "health"];
const CLUSTER: &[&str] = &["cluster_failover", "roles", "data", "health"];
const RESTART: &[&str] = &["start", "rejoin", "healthy"];
const UPKEEP: [(&str, &[&str]); 4] = [
    ("slowlog_reset", &["slowlog"]),
    ("bgsave", &["snapshot"]),
    ("memory_purge", &["purge"]),
    ("clients_kill", &["kill_clients"]),
];
const PARAMETERS: &[&str] = &["lower", "set", "desired", "agree"];

/// Steps that only look: when what they want is there at the first look, they are not applied.
const LOOKING: &[&str] = &["roles", "rejoin", "healthy", "health", "agree"];

/// More writes than any operation makes.
const WRITES_MAX: usize = 60;

/// Operations on one service, each with a crash in it.
struct Course {
    stage: Stage,
    steps: &'static [&'static str],
    begun: usize,
}

/// One crash to be.
struct Fault {
    /// `<place>:<before|after>`.
    point: String,
    /// At which passage.
    n: usize,
    meanwhile: Meanwhile,
    /// A person asks to stop while the first step runs.
    cancelled: bool,
}

/// What happens between the death and the next start.
#[derive(Clone, Copy, PartialEq)]
enum Meanwhile {
    /// Nothing; the dead one's lease is taken away, for it is waited for elsewhere.
    Nothing,
    /// Its lease runs out by itself.
    LeaseEnds,
    /// Sentinel demotes the old master by itself.
    Demoted,
    /// Both masters take writes.
    BothWritten,
}

/// What must be the same afterwards, or be counted.
struct Before {
    master: String,
    target: String,
    priorities: BTreeMap<String, String>,
    epochs: Vec<u64>,
}

/// What a crash came to.
struct Crash {
    died: bool,
    page: OperationPage,
    lost: usize,
}

impl Crash {
    fn state(&self) -> OperationState {
        self.page.operation.state
    }

    /// Whether the operation says that something may be lost.
    fn tells_a_loss(&self) -> bool {
        let outcome = &self.page.operation.outcome;
        outcome["bytes_possibly_lost"].as_f64().is_some_and(|b| b > 0.0)
            || outcome["loss_unknown"].as_bool() == Some(true)
    }
}

/// A connection of an application, by name.
async fn victim(nodes: &[String]) -> link::Link {
    let mut link = link_to(&nodes[0]).await.expect("a node answers");
    // Its last command says what it is: a call would end with the PING behind it.
    let said = link::Pipeline::new(&[&["CLIENT", "SETNAME", "victim"], &["GET", "k"]]);
    link.pipeline(&said, wait::PATIENCE).await.expect("it answers");
    link
}

fn at(point: &str) -> Fault {
    Fault { point: point.into(), n: 1, meanwhile: Meanwhile::Nothing, cancelled: false }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} #{}", self.point, self.n)
    }
}

impl Course {
    fn new(stage: Stage, steps: &'static [&'static str]) -> Course {
        Course { stage, steps, begun: 0 }
    }

    /// The program dies at `fault` in an operation of its own; a new process ends the operation.
    async fn crash(&mut self, fault: Fault) -> Crash {
        self.stage.shard = self.begun % self.stage.shards.len();
        self.begun += 1;
        if self.stage.kind == "param_change" {
            // Each goes further down than the one before.
            let limit = format!("{}mb", 900 - self.begun);
            self.stage.params = Some(json!({ "set": { "maxmemory": limit } }));
        }
        let victim = match self.stage.kind {
            "clients_kill" => Some(victim(self.stage.members()).await),
            _ => None,
        };
        let before = self.before().await;
        let load = Load::start(self.stage.find(&before.master), WRITERS).await;
        let plan = self.plan(&before.master).await;
        let key = format!("{fault} of operation {}", self.begun);
        self.stage.warden.arm(&format!("{}:crash:{}", fault.point, fault.n));
        let made = self.stage.warden.begin(&plan, &key).await;
        if let (Some(id), true) = (&made, fault.cancelled) {
            self.cancel(id).await;
        }
        let died = self.died_or_over(made.as_deref(), &fault).await;
        if died {
            load.goes_on().await;
            self.taken_up(&before, fault.meanwhile).await;
        }
        self.stage.warden.disarm();
        // When the answer died with the process, the same key asks for the same operation.
        let id = match made {
            Some(id) => id,
            None => self.stage.warden.begin(&plan, &key).await.expect("it answers"),
        };
        let page = self.stage.warden.over(&id).await;
        load.goes_on().await;
        let lost = load.stop().await.lost().await.len();
        let crash = Crash { died, page, lost };
        let (state, outcome) = (crash.state().as_str(), &crash.page.operation.outcome);
        let word = if died { "died" } else { "not passed" };
        println!("{fault}: {word}, {state}, {lost} lost, {outcome}");
        if let Some(mut victim) = victim {
            let closed = victim.call(&["PING"], Duration::from_secs(5)).await.is_err();
            assert!(closed, "{fault}: the connection that was listed is open");
        }
        if fault.meanwhile != Meanwhile::BothWritten {
            self.check(&fault, &before, &crash).await;
        }
        crash
    }

    async fn before(&self) -> Before {
        let stage = &self.stage;
        let master = stage.master().await;
        let target = stage.target(&master);
        for address in &stage.data {
            call(address, &["CONFIG", "RESETSTAT"]).await.expect("every node answers");
        }
        let (priorities, epochs) = (stage.priorities().await, stage.epochs().await);
        if let ("node_restart", Some(nodes)) = (stage.kind, &stage.nodes) {
            nodes.kill(&target).await;
        }
        Before { master, target, priorities, epochs }
    }

    async fn plan(&self, master: &str) -> Value {
        let plan = self.stage.plan(master).await;
        let listed = plan["plan"]["steps"].as_array().expect("steps");
        let mut listed: Vec<&str> = listed.iter().filter_map(|s| s["kind"].as_str()).collect();
        // A step for each node.
        listed.dedup();
        assert_eq!(listed, self.steps, "another plan than the points were made for");
        plan
    }

    async fn cancel(&self, id: &str) {
        wait::until("the first step runs", || async {
            let page = self.stage.warden.operation(id).await;
            (page.steps[0].state == StepState::Running).then_some(())
        })
        .await;
        let path = format!("/operations/{id}/cancel");
        let answer = self.stage.warden.post(&path, &json!({"reason": "a test"})).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }

    /// Whether the program died; false when the operation came to its end without.
    async fn died_or_over(&mut self, id: Option<&str>, fault: &Fault) -> bool {
        let warden = &mut self.stage.warden;
        let end = Instant::now() + 3 * wait::PATIENCE;
        loop {
            if warden.is_dead() {
                let status = warden.ended().await;
                assert!(status.code().is_none(), "{fault}: it ended with {status}");
                return true;
            }
            if let Some(page) = warden.try_operation(id.unwrap_or_default()).await
                && page.operation.state.is_final()
            {
                return false;
            }
            assert!(Instant::now() < end, "{fault}: neither dead nor over\n{}", warden.tail());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What happens to the fleet while nobody works on it; then a new process starts.
    async fn taken_up(&mut self, before: &Before, meanwhile: Meanwhile) {
        self.stage.warden.disarm();
        match meanwhile {
            Meanwhile::Nothing | Meanwhile::LeaseEnds => {}
            Meanwhile::Demoted => {
                wait::until("Sentinel demotes the old master", || async {
                    let role = role(&before.master).await?;
                    matches!(role, RoleReply::Replica { .. }).then_some(())
                })
                .await;
            }
            Meanwhile::BothWritten => {
                call(&before.master, &["SET", "here", "1"]).await.expect("a master");
                call(&before.target, &["SET", "there", "1"]).await.expect("a master, too");
            }
        }
        if meanwhile != Meanwhile::LeaseEnds {
            self.stage.end_leases().await;
        }
        self.stage.warden.start_again().await;
    }

    /// Everything the fleet and the store must show afterwards.
    async fn check(&self, fault: &Fault, before: &Before, crash: &Crash) {
        let stage = &self.stage;
        let story = || format!("{fault}: {:#?}\n{}", crash.page, stage.warden.tail());
        let wished = if fault.cancelled { OperationState::Unwound } else { OperationState::Done };
        assert_eq!(crash.state(), wished, "{}", story());
        let master = stage.master().await;
        let took = call(&master, &["SET", &stage.key(), "1"]).await;
        assert!(took.is_some(), "{fault}: the master takes no write");
        assert_eq!(stage.priorities().await, before.priorities, "{}", story());
        let moved = stage.kind == "switchover" && !fault.cancelled;
        assert_eq!(master, *if moved { &before.target } else { &before.master }, "{}", story());
        let silent = crash.lost > 0 && !crash.tells_a_loss();
        assert!(!silent, "{} writes lost in silence\n{}", crash.lost, story());
        if stage.kind == "param_change" {
            self.check_parameters(fault).await;
        }
        self.check_once(fault, before, moved).await;
        self.check_store(fault).await;
    }

    /// The last wish runs everywhere and stands in every file.
    async fn check_parameters(&self, fault: &Fault) {
        let (stage, wished) = (&self.stage, (900 - self.begun) << 20);
        for address in &stage.data {
            let has = config(address, "maxmemory").await;
            assert_eq!(has, wished.to_string(), "{fault}: {address}");
            let file = stage.nodes().conf_text(address);
            let lines: Vec<&str> = file.lines().filter(|l| l.starts_with("maxmemory ")).collect();
            let mb = format!("maxmemory {}mb", 900 - self.begun);
            let bytes = format!("maxmemory {wished}");
            assert!(lines == [mb.as_str()] || lines == [bytes.as_str()], "{fault}: {lines:?}");
        }
        let page = stage.warden.get("/services/demo.cart/parameters").await;
        let row =
            page["items"].as_array().and_then(|i| i.iter().find(|r| r["name"] == "maxmemory"));
        assert_eq!(
            row.map(|r| &r["desired"]["value"]),
            Some(&json!(wished.to_string())),
            "{fault}"
        );
    }

    /// No command that must not be repeated was sent twice.
    async fn check_once(&self, fault: &Fault, before: &Before, moved: bool) {
        let stage = &self.stage;
        let once = u64::from(moved);
        for (now, then) in stage.epochs().await.iter().zip(&before.epochs) {
            assert_eq!(*now, then + once, "{fault}: failovers of the Sentinels");
        }
        if stage.mode == "cluster" {
            let sent = calls(&before.target, "cluster|failover").await;
            assert_eq!(sent, once, "{fault}: CLUSTER FAILOVER");
        }
        if (stage.kind, stage.mode) == ("switchover", "standalone") {
            let sent = calls(&before.target, "replicaof").await;
            // Promoted; behind a promotion nobody used attached again, and promoted once more.
            let wished = if fault.point.contains("drain.promoted") { 3 } else { 1 };
            assert_eq!(sent, wished, "{fault}: REPLICAOF");
        }
        if let Some(nodes) = &stage.nodes {
            for address in stage.members() {
                let processes = nodes.processes(address);
                assert_eq!(processes.len(), 1, "{fault}: {address} has {processes:?}");
            }
        }
    }

    /// Nothing is held any more, each key made one operation, and every record is there and whole.
    async fn check_store(&self, fault: &Fault) {
        let stage = &self.stage;
        let locks = stage.count("SELECT count(*) FROM operation_lock").await;
        let leases = stage.count("SELECT count(*) FROM operation WHERE lease_until > 0").await;
        let made = stage.count("SELECT count(*) FROM operation").await;
        assert_eq!((locks, leases, made), (0, 0, self.begun as i64), "{fault}");
        let report = stage.warden.post("/audit/verify", &json!({})).await;
        assert!(report.status < 300, "{fault}: {report:?}");
        let text = report.body.to_string();
        assert!(text.contains("\"fault\":null"), "{fault}: {text}");
        assert_eq!(text.matches("\"fault\":").count(), text.matches("\"fault\":null").count());
    }

    /// Every step, before and after it acts.
    async fn crash_at_every_step(&mut self) {
        self.crash_at_steps("before").await;
        self.crash_at_steps("after").await;
    }

    async fn crash_at_steps(&mut self, when: &str) {
        for step in self.steps {
            let point = format!("{}.{step}:{when}", self.stage.kind);
            let crash = self.crash(at(&point)).await;
            assert!(crash.died || LOOKING.contains(step), "{point} was not passed");
            assert_eq!(crash.lost, 0, "{point}");
        }
    }

    /// Every write of the operation.
    async fn crash_at_every(&mut self, place: &str) {
        for n in 1..=WRITES_MAX {
            let crash = self.crash(Fault { n, ..at(place) }).await;
            assert_eq!(crash.lost, 0, "{place} #{n}");
            if !crash.died {
                assert!(n > 5, "{place}: an operation has more than {n} writes");
                return;
            }
        }
        panic!("{place}: more than {WRITES_MAX} writes");
    }

    /// After all that, an undisturbed operation still works.
    async fn works_as_before(mut self) {
        let crash = self.crash(at("nothing:before")).await;
        assert_eq!((crash.died, crash.lost), (false, 0));
    }
}

#[test]
fn every_place_of_every_operation_is_in_a_list_of_steps() {
    let all = |kinds: &[&[&str]], kind: OperationKind| {
        for place in ops::fault::places(kind) {
            let step = place.rsplit_once('.').expect("kind.step").1;
            assert!(kinds.iter().any(|k| k.contains(&step)), "{place} is in no list");
        }
    };
    all(&[SENTINEL, DRAIN, CLUSTER], OperationKind::Switchover);
    all(&[RESTART], OperationKind::NodeRestart);
    all(&[PARAMETERS], OperationKind::ParamChange);
    for (kind, steps) in UPKEEP {
        all(&[steps], OperationKind::parse(kind).expect("a kind"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_switchover_survives_a_crash_before_every_step() {
    let mut course = Course::new(Stage::new("sentinel").await, SENTINEL);
    course.crash_at_steps("before").await;
    course.works_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_switchover_survives_a_crash_after_every_step() {
    let mut course = Course::new(Stage::new("sentinel").await, SENTINEL);
    course.crash_at_steps("after").await;
    for point in ["switchover.fence.paused:after", "switchover.fence.demoted:after"] {
        let crash = course.crash(at(point)).await;
        assert_eq!((crash.died, crash.lost), (true, 0), "{point}");
    }
    course.works_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switchover_that_is_being_undone_survives_a_crash() {
    let mut course = Course::new(Stage::new("sentinel").await, SENTINEL);
    for when in ["before", "after"] {
        // With the last operation's priorities in a Sentinel's memory, steering would be over at once.
        info_period(&course.stage.sentinels, 1_000).await;
        course.stage.priorities_are_seen().await;
        info_period(&course.stage.sentinels, 10_000).await;
        let point = format!("switchover.steer.undo:{when}");
        let crash = course.crash(Fault { cancelled: true, ..at(&point) }).await;
        assert_eq!((crash.died, crash.lost), (true, 0), "{point}");
    }
    info_period(&course.stage.sentinels, 1_000).await;
    course.works_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_between_promotion_and_demotion_loses_is_told() {
    let mut course = Course::new(Stage::new("sentinel").await, SENTINEL);
    for meanwhile in [Meanwhile::Nothing, Meanwhile::Demoted, Meanwhile::LeaseEnds] {
        let fault = Fault { meanwhile, ..at("switchover.fence.promoted:after") };
        let crash = course.crash(fault).await;
        assert!(crash.died);
        // Otherwise the telling, which every crash is checked for, is not tested.
        assert!(crash.lost > 0, "the old master took no writes");
    }
    course.works_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_survives_a_crash_at_every_point() {
    let mut course = Course::new(Stage::new("standalone").await, DRAIN);
    course.crash_at_every_step().await;
    // Behind a promotion nobody used the new run goes back first and then once more from the start.
    for point in ["switchover.drain.paused:after", "switchover.drain.promoted:after"] {
        let crash = course.crash(at(point)).await;
        assert_eq!((crash.died, crash.lost), (true, 0), "{point}");
    }
    course.works_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_masters_that_both_took_writes_are_left_to_a_person() {
    let mut course = Course::new(Stage::new("standalone").await, DRAIN);
    let fault = at("switchover.drain.promoted:after");
    let crash = course.crash(Fault { meanwhile: Meanwhile::BothWritten, ..fault }).await;
    let operation = &crash.page.operation;
    assert_eq!(operation.state, OperationState::Stuck, "{operation:#?}");
    assert!(operation.reason.contains("two masters"), "{}", operation.reason);
    assert_eq!(operation.reason.matches("at offset").count(), 2, "{}", operation.reason);
    let master = &course.stage.members()[0];
    for (node, key) in [(master, "here"), (&course.stage.target(master), "there")] {
        let kept = call(node, &["GET", key]).await.as_ref().and_then(link::reply::text);
        assert_eq!(kept.as_deref(), Some("1"), "nobody chose which data to drop");
    }
    assert_eq!(crash.lost, 0, "the writers stayed with the old master");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_survives_a_crash_at_any_write_of_the_store() {
    let mut course = Course::new(Stage::new("standalone").await, DRAIN);
    course.crash_at_every("store.commit:before").await;
    // Behind a commit is in front of the next, but for the answers that are on their way; and within
    // one is in front of it, but for what is half done in memory.
    for place in ["store.commit:after", "audit.append:before"] {
        for n in [1, 2, 4] {
            let crash = course.crash(Fault { n, ..at(place) }).await;
            assert_eq!((crash.died, crash.lost), (true, 0), "{place} #{n}");
        }
    }
    course.works_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_failover_survives_a_crash_at_every_point() {
    let mut course = Course::new(Stage::new("cluster").await, CLUSTER);
    course.crash_at_every_step().await;
    course.works_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_restart_survives_a_crash_at_every_point() {
    let stage = Stage::restartable("[ops]\nup_for_s = 5", "10m").await;
    let mut course = Course::new(stage, RESTART);
    course.crash_at_every_step().await;
    course.works_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_parameters_survives_a_crash_at_every_point() {
    let mut stage = Stage::restartable("", "10m").await;
    stage.kind = "param_change";
    let mut course = Course::new(stage, PARAMETERS);
    course.crash_at_every_step().await;
    for point in ["param_change.lower.running:after", "param_change.set.running:after"] {
        let crash = course.crash(at(point)).await;
        assert_eq!((crash.died, crash.lost), (true, 0), "{point}");
    }
    course.works_as_before().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_survives_a_crash_at_every_point() {
    let mut course = Course::new(Stage::restartable("", "10m").await, UPKEEP[0].1);
    for (kind, steps) in UPKEEP {
        (course.stage.kind, course.steps) = (kind, steps);
        course.stage.params = Some(match kind {
            "memory_purge" => json!({ "ratio_min": 0.0, "bytes_min": 0 }),
            "clients_kill" => json!({ "name": "victim" }),
            _ => json!({}),
        });
        course.crash_at_every_step().await;
    }
    course.works_as_before().await;
}
