//! The buffer between an act and the store: lines and figures of a step, written behind it.
//!
//! Invariant: appending never waits, so no store round trip stands between two commands of a
//! section in which clients are held. What a crash loses here is only words: the intent with the
//! planned commands is already committed, and the truth is observed again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};

/// Lines kept between two flushes; a step that writes more is a fault in it, and loses its oldest.
const LINES_MAX: usize = 1_000;
/// Longest line, bytes: what a server said is already cut at 200 characters.
const LINE_BYTES_MAX: usize = 2_000;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// A command that was sent (audited each), or a note.
    pub command: bool,
    /// `target> COMMAND …` or free words.
    pub line: String,
}

#[derive(Default)]
struct Buffer {
    entries: Vec<Entry>,
    figures: Map<String, Value>,
}

/// Journal of one step.
#[derive(Default)]
pub struct Journal(Mutex<Buffer>);

impl Journal {
    /// A command is about to be sent to `target`; `masked` holds no secret.
    pub fn command(&self, target: impl ToString, masked: impl Into<String>) {
        self.push(true, format!("{}> {}", target.to_string(), masked.into()));
    }

    /// Words for people.
    pub fn note(&self, line: impl Into<String>) {
        self.push(false, line.into());
    }

    /// A figure of the run, kept in the operation's outcome: `write_gap_ms`, `new_master` …
    pub fn figure(&self, name: &str, value: impl Into<Value>) {
        self.lock().figures.insert(name.into(), value.into());
    }

    /// Whether that figure waits to be written.
    pub fn has_figure(&self, name: &str) -> bool {
        self.lock().figures.contains_key(name)
    }

    /// Everything since the last call, to be written.
    pub fn take(&self) -> (Vec<Entry>, Map<String, Value>) {
        let mut buffer = self.lock();
        (std::mem::take(&mut buffer.entries), std::mem::take(&mut buffer.figures))
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        let buffer = self.lock();
        buffer.entries.is_empty() && buffer.figures.is_empty()
    }

    fn push(&self, command: bool, mut line: String) {
        if line.len() > LINE_BYTES_MAX {
            let cut = (0..=LINE_BYTES_MAX).rev().find(|i| line.is_char_boundary(*i)).unwrap_or(0);
            line.truncate(cut);
        }
        let mut buffer = self.lock();
        if buffer.entries.len() == LINES_MAX {
            buffer.entries.remove(0);
        }
        buffer.entries.push(Entry { command, line });
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_figures_are_taken_once_and_long_lines_are_cut_at_a_character() {
        let journal = Journal::default();
        journal.command("n1", "PING");
        journal.note("é".repeat(LINE_BYTES_MAX));
        journal.figure("write_gap_ms", 3);
        let (entries, figures) = journal.take();
        assert_eq!(entries[0], Entry { command: true, line: "n1> PING".into() });
        assert_eq!(entries[1].line.len(), LINE_BYTES_MAX);
        assert_eq!(figures["write_gap_ms"], 3);
        assert!(journal.is_empty() && journal.take().0.is_empty());
    }

    #[test]
    fn a_journal_that_is_never_flushed_keeps_its_newest_lines() {
        let journal = Journal::default();
        (0..=LINES_MAX).for_each(|i| journal.note(i.to_string()));
        let (entries, _) = journal.take();
        assert_eq!((entries.len(), entries[0].line.as_str()), (LINES_MAX, "1"));
    }
}
