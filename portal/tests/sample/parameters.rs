//! Parameters of a service: even, drifting, silent, none.

use model::parameter::{
    DesiredParameter, ParameterNode, ParameterPage, ParameterRow, ParameterState, ParameterValue,
};

use super::{Mood, NOW, OP};

pub fn parameter_page(mood: Mood, text: &str) -> ParameterPage {
    let nodes = ["pay.cart@10.1.1.7:6379", "pay.cart@10.1.2.7:6379"];
    let value = |n: usize, running: Option<String>, state: ParameterState| ParameterValue {
        instance: nodes[n].parse().unwrap(),
        running,
        file: (state == ParameterState::Volatile).then(|| format!("10 {text}")),
        state,
    };
    let (first, second) = match mood {
        Mood::Trouble => (ParameterState::Differs, ParameterState::Volatile),
        Mood::Blind => (ParameterState::Unknown, ParameterState::Unknown),
        _ => (ParameterState::Same, ParameterState::Same),
    };
    let running = || (mood != Mood::Blind).then(|| format!("20 {text}"));
    let row = |name: &str, mutable: bool| ParameterRow {
        name: name.into(),
        unit: "1/s".into(),
        risk: "low".into(),
        mutable,
        default: "10".into(),
        desired: (mood != Mood::Fine).then(|| DesiredParameter {
            name: name.into(),
            value: "20".into(),
            volatile: Vec::new(),
            operation: OP.into(),
            at: NOW - 60_000,
        }),
        drift: mood == Mood::Trouble,
        nodes: vec![value(0, running(), first), value(1, running(), second)],
    };
    let error = if mood == Mood::Blind { format!("timeout {text}") } else { String::new() };
    let told = |id: &&str| ParameterNode {
        instance: id.parse().unwrap(),
        error: error.clone(),
        file_error: String::new(),
    };
    let items = match mood {
        Mood::Empty => Vec::new(),
        _ => vec![row("hz", true), row("databases", false)],
    };
    ParameterPage {
        service: "pay.cart".parse().unwrap(),
        drifting: if mood == Mood::Trouble { 2 } else { 0 },
        items,
        nodes: nodes.iter().map(told).collect(),
        as_of: NOW,
    }
}

pub fn console_page(mood: Mood, text: &str) -> model::console::ConsolePage {
    let answer = || model::console::ConsoleAnswer {
        name: "hgetall".into(),
        class: "bounded".into(),
        value: serde_json::json!(["field", text]),
        text: format!("1) field\n2) {text}"),
        cut: true,
        masked: true,
        took_us: 412,
    };
    model::console::ConsolePage {
        instance: "pay.cart@10.1.1.7:6379".parse().unwrap(),
        service: "pay.cart".parse().unwrap(),
        role: if mood == Mood::Blind { String::new() } else { "slave".into() },
        user: "cw-console".into(),
        ready: mood != Mood::Empty,
        command: if mood == Mood::Trouble { format!("HGETALL {text}") } else { String::new() },
        answer: (mood == Mood::Trouble).then(answer),
    }
}
