//! Where the nodes of a service stand, and what that is worth when a zone or a host goes.
//!
//! Invariant: pure; a layout goes in, findings come out. Refuses to know how a layout was seen.

pub mod layout;
pub mod pick;
pub mod quorum;
pub mod risk;
pub mod slots;

pub use layout::{Layout, Spot};
