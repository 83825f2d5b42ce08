//! What this process saw last of each session and token: the time of its last use, and who it was
//! when the store cannot be asked.
//!
//! Invariant: a grant is asked for anew with every request; only while the store is away does the
//! last answer stand in, never beyond the absolute limit. Changes need the store anyway.

use std::collections::HashMap;
use std::sync::Mutex;

use model::At;

/// Sessions and tokens remembered, ≈ 1 KiB each.
const KNOWN_MAX: usize = 10_000;
/// Uses are noted in the store at most this often: a write per read would make reading expensive.
const TOUCH_MS: i64 = 60_000;

struct Entry<T> {
    row: T,
    expires_at: At,
    used_at: At,
    noted_at: At,
}

/// Rows by the hash that finds them.
pub struct Known<T>(Mutex<HashMap<String, Entry<T>>>);

impl<T> Default for Known<T> {
    fn default() -> Known<T> {
        Known(Mutex::default())
    }
}

impl<T: Clone> Known<T> {
    /// Takes what the store answered; `used_at` is the store's knowledge of the last use. Answers
    /// the last use known here or there.
    pub fn saw(&self, hash: &str, row: &T, used_at: At, expires_at: At, now: At) -> At {
        let mut map = self.0.lock().expect("no panic while held");
        if map.len() >= KNOWN_MAX && !map.contains_key(hash) {
            map.retain(|_, e| e.expires_at > now);
            // All alive: forget them; each comes back with its next request.
            if map.len() >= KNOWN_MAX {
                map.clear();
            }
        }
        let entry = map.entry(hash.to_string()).or_insert(Entry {
            row: row.clone(),
            expires_at,
            used_at,
            noted_at: used_at,
        });
        entry.row = row.clone();
        entry.used_at = entry.used_at.max(used_at);
        entry.used_at
    }

    /// Notes a use; answers whether it is time to note it in the store too.
    pub fn used(&self, hash: &str, now: At) -> bool {
        let mut map = self.0.lock().expect("no panic while held");
        let Some(entry) = map.get_mut(hash) else { return false };
        entry.used_at = now;
        let due = now.since_ms(entry.noted_at) >= TOUCH_MS;
        if due {
            entry.noted_at = now;
        }
        due
    }

    /// The last answer, for the time the store is away.
    pub fn last(&self, hash: &str, now: At) -> Option<(T, At)> {
        let map = self.0.lock().expect("no panic while held");
        map.get(hash).filter(|e| e.expires_at > now).map(|e| (e.row.clone(), e.used_at))
    }

    /// Forgets one that ended.
    pub fn forget(&self, hash: &str) {
        self.0.lock().expect("no panic while held").remove(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> At {
        At::from_ms(s * 1_000)
    }

    #[test]
    fn a_use_is_noted_in_the_store_once_a_minute_and_known_here_at_once() {
        let known = Known::default();
        assert_eq!(known.saw("h", &1, at(0), at(1_000), at(0)), at(0));
        assert!(!known.used("h", at(59)));
        assert_eq!(known.saw("h", &1, at(0), at(1_000), at(59)), at(59));
        assert!(known.used("h", at(61)));
        assert!(!known.used("h", at(62)));
    }

    #[test]
    fn nothing_is_known_beyond_the_absolute_limit_or_after_its_end() {
        let known = Known::default();
        known.saw("h", &1, at(0), at(100), at(0));
        assert!(known.last("h", at(99)).is_some());
        assert!(known.last("h", at(100)).is_none());
        known.forget("h");
        assert!(known.last("h", at(1)).is_none());
    }
}
