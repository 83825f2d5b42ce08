//! What of a reply is shown.
//!
//! Invariant: bounded in elements, bytes and depth whatever was answered; secrets are masked; text is
//! text, never markup or control bytes.

use link::Value as Reply;
use link::reply::config::is_secret;
use model::detail::MASKED;
use serde_json::{Value, json};

/// Elements shown.
const ELEMENTS_MAX: usize = 1_000;
/// Bytes of text shown.
const BYTES_MAX: usize = 1 << 20;
/// Arrays in arrays.
const DEPTH_MAX: u32 = 8;

/// A reply as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Texts, numbers, null, arrays; errors as `{"error": …}`.
    pub value: Value,
    /// Whether something was left out.
    pub cut: bool,
    /// Whether a secret was replaced.
    pub masked: bool,
}

struct Room {
    elements: usize,
    bytes: usize,
    cut: bool,
}

/// Cuts and masks the reply of that command.
pub fn shown(name: &str, reply: &Reply) -> Shown {
    let mut room = Room { elements: ELEMENTS_MAX, bytes: BYTES_MAX, cut: false };
    let mut value = room.take(reply, 0);
    let masked = name == "config|get" && mask(&mut value);
    Shown { value, cut: room.cut, masked }
}

impl Room {
    fn take(&mut self, reply: &Reply, depth: u32) -> Value {
        if self.elements == 0 || depth > DEPTH_MAX {
            self.cut = true;
            return Value::Null;
        }
        self.elements -= 1;
        match reply {
            Reply::Nil => Value::Null,
            Reply::Int(n) => json!(n),
            Reply::BulkString(bytes) => self.text(bytes),
            Reply::SimpleString(text) => self.text(text.as_bytes()),
            Reply::Okay => json!("OK"),
            Reply::Array(items) => self.list(items, depth),
            other => match link::reply::error(other) {
                Some(error) => json!({ "error": error }),
                None => self.text(format!("{other:?}").as_bytes()),
            },
        }
    }

    fn list(&mut self, items: &[Reply], depth: u32) -> Value {
        let mut out = Vec::new();
        for item in items {
            if self.elements == 0 {
                self.cut = true;
                break;
            }
            out.push(self.take(item, depth + 1));
        }
        Value::Array(out)
    }

    fn text(&mut self, bytes: &[u8]) -> Value {
        let kept = bytes.len().min(self.bytes);
        self.cut |= kept < bytes.len();
        self.bytes -= kept;
        let text = String::from_utf8_lossy(&bytes[..kept]);
        let plain = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
        Value::String(text.replace("\r\n", "\n").chars().map(plain).collect())
    }
}

/// Name, value, name, value: values of secrets become `***`.
fn mask(value: &mut Value) -> bool {
    let Some(flat) = value.as_array_mut() else { return false };
    let mut masked = false;
    for pair in flat.chunks_mut(2) {
        let secret = pair[0].as_str().is_some_and(is_secret);
        if let (true, Some(value)) = (secret, pair.get_mut(1))
            && value.as_str().is_some_and(|v| !v.is_empty())
        {
            *value = MASKED.into();
            masked = true;
        }
    }
    masked
}

/// As redis-cli prints it.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    print(value, 0, &mut out);
    out
}

fn print(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("(nil)"),
        Value::Number(n) => out.push_str(&format!("(integer) {n}")),
        Value::String(text) => out.push_str(text),
        Value::Array(items) if items.is_empty() => out.push_str("(empty array)"),
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                let front = format!("{}) ", n + 1);
                if n > 0 {
                    out.push('\n');
                    out.push_str(&" ".repeat(indent));
                }
                out.push_str(&front);
                print(item, indent + front.len(), out);
            }
        }
        other => out.push_str(&format!("(error) {}", other["error"].as_str().unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Reply {
        Reply::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_reply_is_cut_in_elements_bytes_and_depth() {
        let many = Reply::Array(vec![Reply::Int(1); 5_000]);
        let cut = shown("lrange", &many);
        assert_eq!((cut.value.as_array().map(Vec::len), cut.cut), (Some(ELEMENTS_MAX - 1), true));
        let long = shown("get", &bulk(&"x".repeat(BYTES_MAX + 1)));
        assert_eq!((long.value.as_str().map(str::len), long.cut), (Some(BYTES_MAX), true));
        let mut deep = Reply::Nil;
        for _ in 0..20 {
            deep = Reply::Array(vec![deep]);
        }
        assert!(shown("x", &deep).cut);
        assert!(!shown("get", &bulk("short")).cut);
    }

    #[test]
    fn secrets_of_config_are_masked_and_empty_ones_stay_empty() {
        let words = ["requirepass", "hunter2", "masterauth", "", "hz", "10"].map(bulk);
        let shown = shown("config|get", &Reply::Array(words.to_vec()));
        assert_eq!(shown.value, json!(["requirepass", "***", "masterauth", "", "hz", "10"]));
        assert!(shown.masked);
    }

    #[test]
    fn control_bytes_are_not_passed_on() {
        let shown = shown("get", &bulk("a\u{1b}[31mb\r\nc"));
        assert_eq!(shown.value, json!("a\u{fffd}[31mb\nc"));
    }
}
