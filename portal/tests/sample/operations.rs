//! Operations and plans.

use super::*;

pub fn operations(mood: Mood, text: &str) -> Vec<OperationItem> {
    if matches!(mood, Mood::Empty | Mood::Blind) {
        return vec![];
    }
    let one = |id: &str, kind: &str, title: &str, state, reason: &str, done, ago: i64, ms: i64| {
        OperationItem {
            id: id.into(),
            kind: kind.into(),
            service: "pay.cart".parse().unwrap(),
            title: title.into(),
            state,
            reason: reason.into(),
            steps_done: done,
            steps: 7,
            created_by: "runbook/replica-restart".into(),
            created_at: NOW - ago,
            ended_at: None,
            elapsed_ms: ms,
        }
    };
    vec![
        one(
            OP,
            "node_restart",
            &format!("Restart pay.cart@10.1.3.7:6379 {text}"),
            if mood == Mood::Trouble { OperationState::Running } else { OperationState::Done },
            "",
            if mood == Mood::Trouble { 3 } else { 7 },
            42_000,
            42_000,
        ),
        one(
            "0192f0aa-0000-7000-8000-000000000001",
            "switchover",
            "Switch pay.cart over to 10.1.2.7:6379",
            OperationState::Done,
            "",
            7,
            7_920_000,
            18_400,
        ),
        one(
            "0192f0aa-0000-7000-8000-000000000002",
            "switchover",
            "Switch pay.cart over to 10.1.3.7:6379",
            OperationState::Refused,
            "P3: replica 10.1.3.7:6379 is 84 MB behind, limit 1 MB",
            0,
            86_000_000,
            120,
        ),
        one(
            "0192f0aa-0000-7000-8000-000000000003",
            "switchover",
            "Switch pay.cart over to 10.1.2.7:6379",
            OperationState::Unwound,
            "clients kept writing for 3 s after the pause",
            2,
            190_000_000,
            9_800,
        ),
    ]
}

fn steps() -> Vec<PlannedStep> {
    let s = |kind: &str, title: &str, commands: &[&str], no_return: bool| PlannedStep {
        kind: kind.into(),
        target: "pay.cart@10.1.2.7:6379".into(),
        title: title.into(),
        args: json!({}),
        commands: commands.iter().map(|c| (*c).into()).collect(),
        timeout_ms: 5_000,
        tries: 3,
        repeatable: true,
        point_of_no_return: no_return,
    };
    vec![
        s("observe", "Read roles, offsets and epochs", &["ROLE", "INFO replication"], false),
        s(
            "steer",
            "Prefer the target among the replicas",
            &["CONFIG SET replica-priority 1", "CONFIG SET replica-priority 100   # the others"],
            false,
        ),
        s("fence", "Stop writes on the old master", &["CLIENT PAUSE 10000 WRITE"], false),
        s("wait", "Wait until the target has every byte", &["WAIT 1 2000"], false),
        s("promote", "Ask the Sentinels for the failover", &["SENTINEL FAILOVER cart"], true),
        s(
            "verify",
            "One master, all replicas on it",
            &["SENTINEL GET-MASTER-ADDR-BY-NAME cart", "ROLE"],
            false,
        ),
        s(
            "restore",
            "Give back the old priorities",
            &["CONFIG SET replica-priority 100", "CONFIG REWRITE"],
            false,
        ),
    ]
}

pub fn plan(mood: Mood, text: &str) -> Plan {
    let c = |check: &str, passed, seen: &str| Checked {
        check: check.into(),
        passed,
        seen: seen.into(),
    };
    Plan {
        kind: OperationKind::Switchover,
        kind_version: 1,
        service: "pay.cart".parse().unwrap(),
        params: json!({ "target": "pay.cart@10.1.2.7:6379" }),
        title: format!("Switch pay.cart over to 10.1.2.7:6379 {text}"),
        blast_radius: "1 service, 213 clients, writes stall ≤ 2.5 s, nothing acknowledged is lost"
            .into(),
        level: 3,
        confirm: "pay.cart".into(),
        world: json!({}),
        checks: vec![
            c("P1", true, "one master, 10.1.1.7:6379, run id 3f9c…"),
            c("P2", true, "3 of 3 Sentinels agree, quorum 2"),
            c(
                "P3",
                mood != Mood::Blind,
                if mood == Mood::Blind {
                    "replica is 84 MB behind, limit 1 MB"
                } else {
                    "replica is 1.2 kB behind, limit 1 MB"
                },
            ),
            c("P4", true, "no failover in the last 180 s"),
            c("P7", true, "az-2 holds no other master of pay.cart"),
        ],
        steps: steps(),
        locks: vec!["service:pay.cart".into()],
        made_at: NOW - 60_000,
        expires_at: if mood == Mood::Empty { NOW - 1_000 } else { NOW + 540_000 },
    }
}

/// Step `i` of a run that stands at `current`.
fn step(i: usize, p: PlannedStep, current: usize, mood: Mood, text: &str) -> Step {
    let stuck = i == current && mood == Mood::Blind;
    let state = match mood {
        _ if i < current => StepState::Done,
        Mood::Trouble if i == current => StepState::Running,
        Mood::Blind if i == current => StepState::Stuck,
        _ => StepState::Pending,
    };
    let begun = NOW - 30_000 + i as i64 * 4_000;
    Step {
        operation_id: OP.into(),
        seq: i as u32,
        kind: p.kind,
        target: p.target,
        title: p.title,
        args: p.args,
        commands: p.commands,
        timeout_ms: p.timeout_ms,
        tries: p.tries,
        repeatable: p.repeatable,
        point_of_no_return: p.point_of_no_return,
        state,
        attempt: u32::from(i <= current),
        undo_attempt: 0,
        started_at: (i <= current).then_some(begun),
        ended_at: (i < current).then_some(begun + 1_400),
        spent_ms: 0,
        before: json!({}),
        after: json!({}),
        error: if stuck { format!("no answer within 5 s {text}") } else { String::new() },
    }
}

fn journal(text: &str) -> Vec<OperationEvent> {
    let lines: [(Option<u32>, &str, &str); 7] = [
        (None, "planned", "plan 3f9c by local/lin.wei"),
        (None, "claimed", "cw-1, fence 4"),
        (Some(0), "intent", "observe pay.cart"),
        (Some(0), "outcome", "master 10.1.1.7:6379, 2 replicas, epoch 12"),
        (Some(1), "command", "CONFIG SET replica-priority 1"),
        (Some(2), "outcome", "paused for 10 s"),
        (Some(3), "intent", "wait for offset 88 213 401"),
    ];
    let event = |(i, (seq, what, line)): (usize, (Option<u32>, &str, &str))| OperationEvent {
        operation_id: OP.into(),
        n: i as i64 + 1,
        seq,
        at: NOW - 30_000 + i as i64 * 900,
        fence: 4,
        what: what.into(),
        line: format!("{line} {text}"),
    };
    lines.into_iter().enumerate().map(event).collect()
}

fn operation(state: OperationState, mood: Mood, text: &str) -> Operation {
    let plan = plan(Mood::Fine, text);
    let stuck = format!("step 5: no answer within 5 s {text}");
    let figures = json!({ "write_gap_ms": 1380, "new_master": "10.1.2.7:6379", "lost_writes": 0 });
    Operation {
        id: OP.into(),
        kind: OperationKind::Switchover,
        idem_key: "k".into(),
        tenant: "pay".parse().unwrap(),
        service: "pay.cart".parse().unwrap(),
        plan_hash: plan.hash(),
        plan,
        state,
        reason: if mood == Mood::Blind { stuck } else { String::new() },
        cancel_requested: false,
        lease_owner: "cw-1".into(),
        lease_until: NOW + 9_000,
        fence: 4,
        created_by: "local/lin.wei".into(),
        why: format!("kernel patch of host h-az-1-1 {text}"),
        created_at: NOW - 42_000,
        started_at: (mood != Mood::Empty).then_some(NOW - 31_000),
        ended_at: (mood == Mood::Fine).then_some(NOW - 2_000),
        incident: (mood == Mood::Blind).then(|| "77ab3c9d01e2f4".into()),
        outcome: if mood == Mood::Fine { figures } else { Value::Null },
        created_person: "staff/1001".into(),
        approvals_needed: u32::from(mood == Mood::Empty),
        approve_until: if mood == Mood::Empty { NOW + 3_600_000 } else { At::EPOCH },
        not_before: At::EPOCH,
        pause_requested: false,
        parent: None,
    }
}

pub fn operation_page(mood: Mood, text: &str) -> OperationPage {
    let (state, current) = match mood {
        Mood::Fine => (OperationState::Done, 7),
        Mood::Trouble => (OperationState::Running, 3),
        Mood::Blind => (OperationState::Stuck, 4),
        Mood::Empty => (OperationState::AwaitingApproval, 0),
    };
    let steps = steps().into_iter().enumerate().map(|(i, p)| step(i, p, current, mood, text));
    let begun = mood != Mood::Empty;
    OperationPage {
        operation: operation(state, mood, text),
        steps: if begun { steps.collect() } else { vec![] },
        events: if begun { journal(text) } else { vec![] },
        cancellable: mood == Mood::Trouble,
        approvals: (mood == Mood::Fine).then(|| approval(text)).into_iter().collect(),
        approvable: mood == Mood::Empty,
        pausable: mood == Mood::Trouble,
        resumable: mood == Mood::Blind,
        rows: if mood == Mood::Trouble { batch_rows(text) } else { vec![] },
    }
}

fn batch_rows(text: &str) -> Vec<model::batch::BatchRow> {
    let row = |wave: u32, state: Option<OperationState>| model::batch::BatchRow {
        service: "pay.cart".parse().unwrap(),
        title: format!("10.1.0.7:6379 → 10.2.0.7:6379 {text}"),
        wave,
        operation: state.map(|_| "0190c3d2-0000-7000-8000-000000000001".into()),
        state,
        reason: format!("no replica of it can be promoted {text}"),
        steps: (3, 7),
    };
    vec![row(1, Some(OperationState::Running)), row(2, None), row(0, None)]
}

fn approval(text: &str) -> model::operation::Approval {
    model::operation::Approval {
        decided_by: "local/chen.yu".into(),
        plan_hash: plan(Mood::Fine, text).hash(),
        approved: true,
        reason: format!("agreed in the change board {text}"),
        at: NOW - 60_000,
    }
}
