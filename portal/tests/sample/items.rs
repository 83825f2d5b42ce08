//! Custom items to draw.

use model::item::{
    ItemCost, ItemDoc, ItemFault, ItemFlaw, ItemItem, ItemPage, ItemPoint, ItemRevision, ItemTest,
};
use serde_json::json;

use super::{Mood, NOW};

fn doc(text: &str) -> ItemDoc {
    let source = match text {
        "" => json!({"command": {"args": ["XINFO", "GROUPS", "orders"], "path": "*.lag"}}),
        text => json!({"script": {"lua": text, "keys": [text], "path": text}}),
    };
    serde_json::from_value(json!({
        "name": "lag", "scope": "service:pay.cart", "unit": "entries", "source": source,
        "description": format!("Entries nobody has read yet. {text}"), "labels": {"group": "name"},
    }))
    .unwrap()
}

pub fn items(mood: Mood, text: &str) -> Vec<ItemItem> {
    if mood == Mood::Empty {
        return Vec::new();
    }
    let mut off = doc(text);
    off.enabled = mood == Mood::Fine;
    let one = |item: ItemDoc, with_fault| ItemItem {
        id: item.id().to_string(),
        item,
        rev: 3,
        by: format!("local/lin.wei{text}"),
        at: NOW - 3_600_000,
        with_value: 2,
        with_fault,
    };
    vec![one(doc(text), u32::from(mood == Mood::Trouble)), one(off, 0)]
}

fn point(text: &str, value: Option<f64>, fault: Option<ItemFault>) -> ItemPoint {
    ItemPoint {
        instance: "pay.cart@10.1.0.7:6379".parse().unwrap(),
        labels: format!("group=billing{text}"),
        value,
        fault,
        at: NOW - 9_000,
    }
}

pub fn item_page(mood: Mood, text: &str) -> ItemPage {
    let saved = mood != Mood::Empty;
    let revision = |rev, deleted| ItemRevision {
        rev,
        item: doc(text),
        deleted,
        by: "local/lin.wei".into(),
        reason: format!("CHG-12 {text}"),
        at: NOW - 3_600_000,
    };
    let fault = (mood == Mood::Trouble).then_some(ItemFault::WrongType);
    let test = ItemTest {
        instance: "pay.cart@10.1.0.7:6379".parse().unwrap(),
        commands: vec![format!("XINFO GROUPS orders{text}")],
        raw: format!("(list of 1)\n  (text of 7 bytes) {text}"),
        masked: mood == Mood::Fine,
        points: if fault.is_none() { vec![point(text, Some(7.0), None)] } else { vec![] },
        fault,
        detail: if fault.is_some() {
            format!("the key holds another type {text}")
        } else {
            "".into()
        },
        took_us: 310,
        ping_us: 180,
    };
    let flaw =
        ItemFlaw { pointer: "/source/command/args/0".into(), detail: format!("KEYS {text}") };
    ItemPage {
        as_of: NOW,
        id: if saved { "lag@service:pay.cart".into() } else { String::new() },
        item: doc(text),
        rev: if saved { 3 } else { 0 },
        flaws: if mood == Mood::Blind { vec![flaw] } else { vec![] },
        cost: ItemCost {
            instances: 6,
            asked: 1,
            commands_per_min: 1.0,
            commands_per_min_instance: 3.5,
            class: if mood == Mood::Blind { String::new() } else { "groups".into() },
            series_max: 64,
            series: 1,
            took_us: (mood == Mood::Fine).then_some(310),
        },
        instances: vec!["pay.cart@10.1.0.7:6379".parse().unwrap()],
        points: match mood {
            Mood::Empty => vec![],
            _ => vec![point(text, Some(7.0), None), point(text, None, Some(ItemFault::Budget))],
        },
        revisions: if saved {
            vec![revision(3, false), revision(2, true), revision(1, false)]
        } else {
            vec![]
        },
        test: (mood != Mood::Blind).then_some(test),
    }
}
