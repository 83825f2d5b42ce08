//! Fault points: places where a test makes the process crash, fail or hang. Compiled in by the
//! feature `fault` only.
//!
//! `CACHEWARDEN_FAULT=<place>:<before|after>:<crash|error|hang>[:n]`: at the n-th passage (default
//! the first) of that place. `CACHEWARDEN_FAULT=@<file>`: the same text out of a file that is looked
//! at on every passage, so that a running process can be armed; passages count from then on. What
//! hangs there goes on when the text changes or the file is gone.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Between two looks of somebody who hangs.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The text in force and how often its place was passed since.
#[derive(Default)]
struct Armed {
    text: String,
    passed: u64,
}

static ARMED: Mutex<Armed> = Mutex::new(Armed { text: String::new(), passed: 0 });

fn wanted() -> Option<String> {
    static SAID: OnceLock<Option<String>> = OnceLock::new();
    let said = SAID.get_or_init(|| std::env::var("CACHEWARDEN_FAULT").ok()).as_ref()?;
    match said.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).ok(),
        None => Some(said.clone()),
    }
}

/// What is to happen at this passage, if anything.
fn due(armed: &mut Armed, text: &str, place: &str, when: &str) -> Option<String> {
    if armed.text != text {
        *armed = Armed { text: text.to_string(), passed: 0 };
    }
    let mut parts = text.trim().split(':');
    let (at, on, what) = (parts.next()?, parts.next()?, parts.next()?);
    if at != place || on != when {
        return None;
    }
    armed.passed += 1;
    let n = parts.next().map_or(Some(1), |n| n.parse().ok())?;
    (armed.passed == n).then(|| what.to_string())
}

/// Passes `place`; crashes (as SIGKILL would), hangs, or answers an error when asked to.
pub fn point(place: &str, when: &str) -> Result<(), String> {
    let Some(text) = wanted() else { return Ok(()) };
    let due = due(&mut ARMED.lock().unwrap_or_else(PoisonError::into_inner), &text, place, when);
    let Some(what) = due else { return Ok(()) };
    eprintln!("fault: {place}:{when}:{what}");
    match what.as_str() {
        // abort gives no destructor, no flush and no atexit a chance, like SIGKILL.
        "crash" => std::process::abort(),
        "hang" => {
            hang(&text);
            Ok(())
        }
        _ => Err(format!("injected fault at {place}:{when}")),
    }
}

/// Holds up whoever passes, and nobody else: the runtime's other tasks go on.
fn hang(text: &str) {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let wait = || {
        while wanted().as_deref() == Some(text) {
            std::thread::sleep(LOOK_AGAIN);
        }
    };
    match Handle::try_current().map(|h| h.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        _ => wait(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_due_at_its_nth_passage_and_counts_anew_when_the_text_changes() {
        let mut armed = Armed::default();
        let mut pass = |text: &str, place: &str| due(&mut armed, text, place, "after");
        assert_eq!(pass("a.b:after:crash:2", "a.b"), None);
        assert_eq!(pass("a.b:after:crash:2", "other"), None);
        assert_eq!(pass("a.b:after:crash:2", "a.b").as_deref(), Some("crash"));
        assert_eq!(pass("a.b:after:crash:2", "a.b"), None);
        assert_eq!(pass("a.b:after:error\n", "a.b").as_deref(), Some("error"));
        assert_eq!(pass("a.b:before:error", "a.b"), None);
        assert_eq!(pass("", "a.b"), None);
    }
}
