//! Which of the six looks (ok, warn, crit, info, unknown, maint) a word of the product has.
//!
//! Invariant: a word that is not known here looks unknown, never fine.

/// A grade: A and B are fine, C needs attention, D and E are bad.
pub(crate) fn grade(grade: &str) -> &'static str {
    match grade {
        "A" | "B" => "ok",
        "C" => "warn",
        "D" | "E" => "crit",
        _ => "unknown",
    }
}

/// A verdict on an instance.
pub(crate) fn verdict(state: &str) -> &'static str {
    match state {
        "up" => "ok",
        "down" => "crit",
        _ => "unknown",
    }
}

/// A share of a limit; the bounds are those where the memory curve has lost 25 and 70 points.
pub(crate) fn ratio(ratio: f64) -> &'static str {
    match ratio {
        r if r >= 0.9 => "crit",
        r if r >= 0.8 => "warn",
        _ => "ok",
    }
}

/// A level of an alert.
fn level(level: &str) -> &'static str {
    match level {
        "critical" => "crit",
        "warning" => "warn",
        "info" => "info",
        _ => "unknown",
    }
}

fn operation(state: &str) -> &'static str {
    match state {
        "done" => "ok",
        "planned" | "queued" | "running" | "verifying" => "info",
        "awaiting_approval" | "paused" | "cancelled" => "maint",
        "refused" | "unwinding" | "unwound" => "warn",
        "stuck" => "crit",
        _ => "unknown",
    }
}

fn step(state: &str) -> &'static str {
    match state {
        "done" => "ok",
        "running" => "info",
        "pending" => "idle",
        "undoing" | "undone" => "warn",
        "failed" | "stuck" => "crit",
        _ => "unknown",
    }
}

fn other(family: &str, word: &str) -> &'static str {
    match (family, word) {
        ("phase", "firing") => "crit",
        ("phase", "pending" | "recovering") => "warn",
        ("phase", "resolved" | "inactive") => "ok",
        ("incident", "open") => "warn",
        ("incident", "acting") => "info",
        ("incident", "waiting") => "maint",
        ("incident", "escalated") => "crit",
        ("incident", "closed") => "ok",
        ("decision", "auto") => "info",
        ("decision", "ask" | "suppressed") => "maint",
        ("decision", "page_only") => "warn",
        ("delivery", "accepted" | "seen") => "ok",
        ("delivery", "waiting") => "info",
        ("delivery", "rejected") => "crit",
        ("silence" | "maintenance", "active" | "running") => "maint",
        ("silence" | "maintenance", "pending" | "planned") => "info",
        ("silence" | "maintenance", "expired" | "over") => "idle",
        ("calendar", "open") => "info",
        ("calendar", "closed") => "idle",
        ("check", "true") => "ok",
        ("check", "false") => "crit",
        _ => "unknown",
    }
}

/// The look of `word` in `family`.
pub(crate) fn of(family: &str, word: &str) -> &'static str {
    match family {
        "grade" => grade(word),
        "verdict" => verdict(word),
        "level" => level(word),
        "operation" => operation(word),
        "step" => step(word),
        _ => other(family, word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_never_looks_fine() {
        for family in ["grade", "verdict", "level", "operation", "step", "phase", "incident", "x"] {
            assert_eq!(of(family, "brand_new"), "unknown");
            assert_eq!(of(family, ""), "unknown");
        }
        assert_eq!(grade("?"), "unknown");
    }
}
