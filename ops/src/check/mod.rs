//! Checks before (P1–P9) and after (V1–V5) a change, on a snapshot or the Board.
//!
//! Invariant: pure; each failed check names the node, the value and the limit. Refuses to ask
//! anybody anything.

pub mod after;
pub mod before;
