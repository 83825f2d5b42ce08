//! Values in the one form the server answers them in.

use super::Kind;

/// Classes of clients with an output buffer limit, as CONFIG GET names them, in its order.
const CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];
/// Letters of `notify-keyspace-events`, in the order the server answers them.
const EVENTS: &str = "AKEg$lshzxetdmn";
/// What `A` stands for.
const ALL_EVENTS: &str = "g$lshzxetd";

pub(super) fn normal(kind: Kind, value: &str, present: &str) -> Result<String, String> {
    if value.chars().any(char::is_control) {
        return Err("control characters are not allowed".into());
    }
    match kind {
        Kind::Integer(min, max) => {
            let n: i64 = value.parse().map_err(|_| "expected a whole number".to_string())?;
            within(n, min, max).map(|n| n.to_string())
        }
        Kind::Bytes(min, max) => within(bytes(value)?, min, max).map(|n| n.to_string()),
        Kind::BytesOrPercent => match value.strip_suffix('%') {
            Some(share) => {
                let n: i64 =
                    share.parse().map_err(|_| "expected a share such as 5%".to_string())?;
                within(n, 1, 100).map(|n| format!("{n}%"))
            }
            None => within(bytes(value)?, 0, i64::MAX).map(|n| n.to_string()),
        },
        Kind::Flag => word(value, &["yes", "no"]),
        Kind::Words(words) => word(value, words),
        Kind::Save => save(value),
        Kind::OutputBuffer => output_buffer(value, present),
        Kind::Events => events(value),
    }
}

fn within(n: i64, min: i64, max: i64) -> Result<i64, String> {
    match (min..=max).contains(&n) {
        true => Ok(n),
        false if max == i64::MAX => Err(format!("at least {min} is allowed")),
        false => Err(format!("allowed are {min} to {max}")),
    }
}

fn word(value: &str, words: &[&str]) -> Result<String, String> {
    let value = value.to_ascii_lowercase();
    match words.contains(&value.as_str()) {
        true => Ok(value),
        false => Err(format!("allowed are {}", words.join(", "))),
    }
}

/// Bytes as Redis reads them: `k` is 1000, `kb` is 1024.
pub(crate) fn bytes(value: &str) -> Result<i64, String> {
    let lower = value.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: i64 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return Err("expected bytes, or a number with k, kb, m, mb, g or gb".into()),
    };
    let n: i64 = digits.parse().map_err(|_| "expected bytes such as 100mb".to_string())?;
    // The server would wrap or clamp it in silence.
    n.checked_mul(unit).ok_or_else(|| "is more than any server takes".into())
}

fn save(value: &str) -> Result<String, String> {
    let words: Vec<&str> = value.split_whitespace().filter(|w| *w != "\"\"").collect();
    if !words.len().is_multiple_of(2) {
        return Err("expected pairs of seconds and changes, or nothing".into());
    }
    let fine = |w: &&str| w.parse::<i64>().is_ok_and(|n| (0..=i64::from(i32::MAX)).contains(&n));
    let seconds = words.iter().step_by(2).all(|w| fine(w) && *w != "0");
    if !words.iter().all(fine) || !seconds {
        return Err("expected pairs of seconds (at least 1) and changes".into());
    }
    Ok(words.join(" "))
}

fn output_buffer(value: &str, present: &str) -> Result<String, String> {
    let expected = || {
        "expected class, hard limit, soft limit, seconds; classes are normal, replica, \
                       pubsub"
            .to_string()
    };
    let mut limits: [Option<[i64; 3]>; 3] = [None; 3];
    for text in [present, value] {
        let words: Vec<&str> = text.split_whitespace().collect();
        if !words.len().is_multiple_of(4) {
            return Err(expected());
        }
        for part in words.chunks(4) {
            let class = if part[0].eq_ignore_ascii_case("replica") { "slave" } else { part[0] };
            let class = CLASSES.iter().position(|c| c.eq_ignore_ascii_case(class));
            let seconds = part[3].parse().map_err(|_| expected())?;
            let all = [bytes(part[1])?, bytes(part[2])?, within(seconds, 0, i64::from(i32::MAX))?];
            if all.iter().any(|n| *n < 0) {
                return Err(expected());
            }
            limits[class.ok_or_else(expected)?] = Some(all);
        }
    }
    let mut parts = Vec::new();
    for (class, limit) in CLASSES.iter().zip(limits) {
        if let Some([hard, soft, seconds]) = limit {
            parts.push(format!("{class} {hard} {soft} {seconds}"));
        }
    }
    match parts.is_empty() {
        true => Err(expected()),
        false => Ok(parts.join(" ")),
    }
}

fn events(value: &str) -> Result<String, String> {
    let value = if value == "\"\"" { "" } else { value };
    if let Some(bad) = value.chars().find(|c| !EVENTS.contains(*c)) {
        return Err(format!("{bad:?} is no class of events; allowed are {EVENTS}"));
    }
    let has = |c: char| value.contains(c) || (value.contains('A') && ALL_EVENTS.contains(c));
    let all = ALL_EVENTS.chars().all(has);
    // The server's order: A or its letters, then K, E, m, n.
    let mut out = String::new();
    if all {
        out.push('A');
    } else {
        out.extend(ALL_EVENTS.chars().filter(|c| has(*c)));
    }
    out.extend("KEmn".chars().filter(|c| has(*c)));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_same_size_in_any_unit_is_one_value() {
        let normal = |v: &str| normal(Kind::Bytes(0, i64::MAX), v, "");
        assert_eq!(normal("1gb").unwrap(), "1073741824");
        assert_eq!(normal("1GB").unwrap(), normal("1024mb").unwrap());
        assert_eq!(normal("1g").unwrap(), "1000000000");
        for bad in ["", "gb", "1tb", "1.5gb", "-1", "99999999999gb", "1 gb"] {
            assert!(normal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_part_of_the_output_buffer_limits_is_completed() {
        let present = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        let whole = normal(Kind::OutputBuffer, "replica 512mb 128mb 60", present).unwrap();
        assert_eq!(whole, "normal 0 0 0 slave 536870912 134217728 60 pubsub 33554432 8388608 60");
        assert!(normal(Kind::OutputBuffer, "admin 1 1 1", present).is_err());
    }

    #[test]
    fn save_points_are_pairs() {
        assert_eq!(normal(Kind::Save, "3600 1  300 100", "").unwrap(), "3600 1 300 100");
        assert_eq!(normal(Kind::Save, "", "").unwrap(), "");
        assert_eq!(normal(Kind::Save, "\"\"", "").unwrap(), "");
        for bad in ["3600", "a 1", "0 1", "60 -1"] {
            assert!(normal(Kind::Save, bad, "").is_err(), "{bad}");
        }
    }

    #[test]
    fn events_are_in_the_servers_order() {
        assert_eq!(normal(Kind::Events, "KEA", "").unwrap(), "AKE");
        assert_eq!(normal(Kind::Events, "Elg", "").unwrap(), "glE");
        assert!(normal(Kind::Events, "Q", "").is_err());
    }

    #[test]
    fn no_value_carries_a_second_line() {
        for kind in [Kind::Save, Kind::Events, Kind::OutputBuffer, Kind::Flag] {
            assert!(normal(kind, "yes\nrename-command FLUSHALL x", "").is_err());
        }
    }

    proptest! {
        #[test]
        fn a_normal_value_is_its_own_normal_form(value in "[a-z0-9 %]{0,24}") {
            let kinds = [
                Kind::Integer(0, 100_000), Kind::Bytes(0, i64::MAX), Kind::BytesOrPercent,
                Kind::Flag, Kind::Save, Kind::OutputBuffer, Kind::Events,
            ];
            for kind in kinds {
                if let Ok(once) = normal(kind, value.trim(), "") {
                    prop_assert_eq!(normal(kind, &once, ""), Ok(once));
                }
            }
        }
    }
}
