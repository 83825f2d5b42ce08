//! Answers for people: columns, and one value as an indented text.
//!
//! Invariant: text out of data is printed without control characters, so that it cannot move the
//! cursor or colour the terminal.

use serde_json::Value;

/// A column: its head, and where its value stands (`health.score`).
pub type Column = (&'static str, &'static str);

/// Prints rows as aligned columns.
pub fn print(columns: &[Column], items: &[Value]) {
    print!("{}", table(columns, items));
}

fn table(columns: &[Column], items: &[Value]) -> String {
    let mut rows: Vec<Vec<String>> = vec![columns.iter().map(|(h, _)| h.to_string()).collect()];
    rows.extend(items.iter().map(|i| columns.iter().map(|(_, path)| cell(i, path)).collect()));
    let width = |n: usize| rows.iter().map(|r| r[n].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (text, width) in row.iter().zip(&widths) {
            let pad = width - text.chars().count();
            line.push_str(text);
            line.push_str(&" ".repeat(pad + 2));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn cell(item: &Value, path: &str) -> String {
    let mut value = item;
    for part in path.split('.') {
        match (part, part.split_once('@')) {
            ("+", _) => return sum(value),
            (_, Some((what, at))) => return pairs(value, what, at),
            _ => {}
        }
        value = match part.parse::<usize>() {
            Ok(n) => &value[n],
            Err(_) => &value[part],
        };
    }
    text(value)
}

/// Sum of the numbers of an object; unknown when one is.
fn sum(value: &Value) -> String {
    let numbers = value.as_object().into_iter().flat_map(|m| m.values());
    let all: Option<u64> = numbers.map(Value::as_u64).sum();
    all.filter(|_| value.is_object()).map_or("-".into(), |n| n.to_string())
}

/// `auto@tenant:demo,observe@platform` of a list of objects.
fn pairs(value: &Value, what: &str, at: &str) -> String {
    let items = value.as_array().into_iter().flatten();
    let words: Vec<String> =
        items.map(|i| format!("{}@{}", text(&i[what]), text(&i[at]))).collect();
    if words.is_empty() { "-".into() } else { words.join(",") }
}

/// Rows as aligned columns, as text.
pub fn rows(columns: &[Column], items: &[Value]) -> String {
    table(columns, items)
}

/// A scalar as text; unknown is `-`.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(s) if s.is_empty() => "-".into(),
        Value::String(s) => plain(s),
        Value::Number(n) => match n.as_f64() {
            Some(f) if n.is_f64() => format!("{f:.2}"),
            _ => n.to_string(),
        },
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Without control characters.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// One value, indented.
pub fn describe(value: &Value) {
    print!("{}", described(value, 0));
}

fn described(value: &Value, depth: usize) -> String {
    let pad = "  ".repeat(depth);
    let mut out = String::new();
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                match inner {
                    Value::Object(m) if !m.is_empty() => {
                        out.push_str(&format!("{pad}{name}:\n{}", described(inner, depth + 1)));
                    }
                    Value::Array(items) if items.iter().any(Value::is_object) => {
                        out.push_str(&format!("{pad}{name}:\n{}", described(inner, depth + 1)));
                    }
                    Value::Object(_) => out.push_str(&format!("{pad}{name}: -\n")),
                    _ => out.push_str(&format!("{pad}{name}: {}\n", text(inner))),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                let inner = described(item, depth + 1);
                let first = inner.trim_start();
                out.push_str(&format!("{pad}- {first}"));
            }
        }
        other => out.push_str(&format!("{pad}{}\n", text(other))),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_aligned_and_unknown_is_a_dash() {
        let items =
            [json!({"id": "pay.cart", "s": {"v": 87.5}}), json!({"id": "a", "s": {"v": null}})];
        let text = table(&[("ID", "id"), ("SCORE", "s.v")], &items);
        assert_eq!(text, "ID        SCORE\npay.cart  87.50\na         -\n");
    }

    #[test]
    fn a_column_may_add_up_numbers_or_name_pairs() {
        let item = json!({
            "v": {"up": 5, "down": 1, "unknown": 0},
            "modes": [{"mode": "observe", "scope": "platform"}, {"mode": "auto", "scope": "tenant:a"}],
        });
        let text = table(&[("N", "v.+"), ("M", "modes.mode@scope"), ("X", "w.+")], &[item]);
        assert_eq!(
            text,
            "N  M                               X\n6  observe@platform,auto@tenant:a  -\n"
        );
    }

    #[test]
    fn text_out_of_data_cannot_drive_the_terminal() {
        assert_eq!(text(&json!("a\u{1b}[2Jb\nc")), "a [2Jb c");
    }

    #[test]
    fn a_value_is_described_with_its_parts_indented() {
        let text = described(&json!({"a": 1, "b": {"c": []}, "d": [{"e": 2, "f": 3}]}), 0);
        assert_eq!(text, "a: 1\nb:\n  c: -\nd:\n  - e: 2\n    f: 3\n");
    }
}
