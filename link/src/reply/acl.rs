//! ACL LIST and ACL LOG.
//!
//! Invariant: no password hash and no text of an entry is kept, only counts: ACL LOG holds bytes of
//! clients that never signed in.

use model::detail::Accounts;
use redis::Value;

use super::{bytes, items, number};

/// Counts the users of ACL LIST; none when the reply is not one.
pub fn accounts(value: &Value) -> Option<Accounts> {
    let mut out = Accounts::default();
    for line in items(value)? {
        let words: Vec<&[u8]> = bytes(line)?.split(|b| *b == b' ').collect();
        let has = |word: &str| words.contains(&word.as_bytes());
        out.all += 1;
        if !has("on") {
            continue;
        }
        out.enabled += 1;
        out.without_password += u32::from(has("nopass"));
        out.unlimited += u32::from(has("+@all") && has("~*"));
    }
    Some(out)
}

/// Reasons of ACL LOG; what a server adds is left out.
const REASONS: [&str; 4] = ["auth", "channel", "command", "key"];

/// Refusals by reason, of the entries the log holds; none when the reply is not one.
pub fn denials(value: &Value) -> Option<Vec<(Box<str>, f64)>> {
    let mut counts = [0.0; REASONS.len()];
    for entry in items(value)? {
        let (mut count, mut reason) = (None, None);
        for pair in items(entry)?.chunks_exact(2) {
            match bytes(&pair[0]) {
                Some(b"count") => count = number(&pair[1]),
                Some(b"reason") => {
                    let said = bytes(&pair[1]);
                    reason = REASONS.iter().position(|r| said == Some(r.as_bytes()));
                }
                _ => {}
            }
        }
        if let (Some(count), Some(reason)) = (count, reason) {
            counts[reason] += count;
        }
    }
    Some(REASONS.iter().map(|r| (*r).into()).zip(counts).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn accounts_are_counted_by_what_they_may_do() {
        let list = [
            "user default on nopass sanitize-payload ~* &* +@all",
            "user app on #2bb8 ~app:* resetchannels -@all +@read",
            "user old off nopass ~* &* +@all",
            "user ops on #2bb8 ~* &* +@all",
        ];
        let read = accounts(&Value::Array(list.map(word).to_vec())).unwrap();
        let expected = Accounts { all: 4, enabled: 3, without_password: 1, unlimited: 2 };
        assert_eq!(read, expected);
        assert_eq!(accounts(&Value::Int(1)), None);
    }

    #[test]
    fn denials_are_summed_by_reason() {
        let entry = |n, reason: &str| {
            Value::Array(vec![word("count"), Value::Int(n), word("reason"), word(reason)])
        };
        let log =
            Value::Array(vec![entry(2, "auth"), entry(3, "key"), entry(4, "auth"), entry(1, "?")]);
        let read = denials(&log).unwrap();
        assert_eq!(read.iter().map(|d| d.1).collect::<Vec<_>>(), [6.0, 0.0, 0.0, 3.0]);
    }
}
