//! The forms of threshold policies: fields of a page into the bodies the API reads.
//!
//! Invariant: the document is passed on as the text that was typed; whoever reads it refuses it by line
//! and field.

use serde_json::{Value, json};

use super::form::{Fields, field};

/// Body of a check.
pub fn draft(f: &Fields) -> Value {
    // A browser ends lines by two characters; lines are counted as they are seen.
    let text = field(f, "text").replace("\r\n", "\n");
    json!({ "text": text, "policy": field(f, "policy"), "scope": field(f, "scope") })
}

/// Body of a backtest.
pub fn backtest(f: &Fields) -> Value {
    let mut body = draft(f);
    body["from"] = field(f, "from").into();
    let pages = field(f, "pages_per_week");
    body["pages_per_week"] = match (pages.trim(), pages.trim().parse::<f64>()) {
        ("", _) => Value::Null,
        (_, Ok(n)) => n.into(),
        (text, Err(_)) => text.into(),
    };
    body
}

/// Body of a change.
pub fn change(f: &Fields) -> Value {
    let mut body = draft(f);
    body["reason"] = field(f, "reason").into();
    body["rev"] = number(f, "rev");
    body
}

/// Body of what needs no document but its place.
pub fn place(f: &Fields) -> Value {
    let selector: Value = serde_json::from_str(&field(f, "selector")).unwrap_or_else(|_| json!({}));
    json!({
        "scope": field(f, "scope"), "selector": selector, "reason": field(f, "reason"),
        "rev": number(f, "rev"),
    })
}

/// A number; a text that is none is passed on, to be refused by its name.
fn number(f: &Fields, name: &str) -> Value {
    let text = field(f, name);
    match (text.trim(), text.trim().parse::<i64>()) {
        ("", _) => Value::Null,
        (_, Ok(n)) => n.into(),
        (text, Err(_)) => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::gate::pairs;
    use super::*;

    #[test]
    fn a_change_says_the_text_as_typed_and_the_revision_that_was_seen() {
        let f = pairs(
            "text=policy%3A+a%0D%0Ascope%3A+platform&reason=CHG-1&rev=3&policy=a&scope=platform",
        );
        assert_eq!(
            change(&f),
            json!({ "text": "policy: a\nscope: platform", "policy": "a", "scope": "platform",
                "reason": "CHG-1", "rev": 3 })
        );
        assert_eq!(place(&pairs("scope=tenant%3Apay&rev=x"))["rev"], "x");
    }
}
