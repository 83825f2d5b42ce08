//! Slots of a cluster: which one a key lies in, and a key that lies in a given range.
//!
//! Invariant: counted by `link::slot`, as the servers count.

/// The slot of a key.
pub fn of(key: &str) -> u16 {
    link::slot::of(key.as_bytes())
}

/// A key `<prefix>{n}` in one of the ranges (inclusive); none when they are empty.
pub fn key_in(prefix: &str, ranges: &[(u16, u16)]) -> Option<String> {
    if ranges.is_empty() {
        return None;
    }
    // Every slot has such a key with n below 200 000 (checked below).
    let keys = (0..200_000u32).map(|n| format!("{prefix}{{{n}}}"));
    keys.into_iter().find(|key| {
        let slot = of(key);
        ranges.iter().any(|(from, to)| (*from..=*to).contains(&slot))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use link::slot::SLOTS;

    #[test]
    fn every_slot_has_a_key_of_ours() {
        let mut seen = vec![false; usize::from(SLOTS)];
        (0..200_000u32).for_each(|n| seen[usize::from(of(&format!("x{{{n}}}")))] = true);
        assert!(seen.iter().all(|s| *s));
        let key = key_in("__cachewarden:", &[(12_182, 12_182)]).unwrap();
        assert_eq!(of(&key), 12_182);
        assert_eq!(key_in("x", &[]), None);
    }
}
