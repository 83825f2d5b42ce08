//! Fault points of the steps: where a test makes this process crash, fail or hang.
//!
//! Invariant: compiled in by the feature `fault` only; without it passing a point costs nothing and
//! cannot fail. `before` = intent committed, nothing sent; `after` = sent, nothing journalled.

use model::operation::OperationKind;

/// The place of a step.
pub fn place(kind: OperationKind, step: &str) -> String {
    format!("{}.{step}", kind.as_str())
}

/// All places a successful operation of that kind passes, in order.
pub fn places(kind: OperationKind) -> Vec<String> {
    crate::plan::steps_of(kind).iter().map(|step| place(kind, step)).collect()
}

/// Passes `place` (`<kind>.<step>`); the error is the injected one.
pub fn point(place: &str, when: &str) -> Result<(), String> {
    #[cfg(feature = "fault")]
    return store::fault::point(place, when);
    #[cfg(not(feature = "fault"))]
    {
        let _ = (place, when);
        Ok(())
    }
}
