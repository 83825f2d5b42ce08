//! How far each part of a batch is.
//!
//! Invariant: rows are those of the plan, in its order, whether begun or not; what was left out is shown
//! with its reason. Whoever may see the batch may see them.

use model::batch::{BatchRow, Move};
use model::operation::{Operation, StepState};
use serde_json::Value;

use super::ask::Fail;
use crate::app::App;

/// The rows of a batch; none for other operations.
pub(super) async fn rows(app: &App, operation: &Operation) -> Result<Vec<BatchRow>, Fail> {
    if !operation.kind.of_zone() {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    let parts = app.store.operation_parts(&operation.id).await?;
    let waves = operation.plan.steps.iter().enumerate().filter(|(_, s)| s.kind == "wave");
    for (seq, step) in waves {
        let moves: Vec<Move> =
            serde_json::from_value(step.args["rows"].clone()).unwrap_or_default();
        let wave = step.args["wave"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        for (n, row) in moves.into_iter().enumerate() {
            let key = format!("{}/{seq}/{n}", operation.id);
            let part = parts.iter().find(|p| p.idem_key == key);
            rows.push(begun(app, wave, row, part).await?);
        }
    }
    let left = operation.plan.steps.first().and_then(|s| s.args["left"].as_array());
    rows.extend(left.into_iter().flatten().filter_map(left_out));
    Ok(rows)
}

async fn begun(
    app: &App,
    wave: u32,
    row: Move,
    part: Option<&Operation>,
) -> Result<BatchRow, Fail> {
    let mut out = BatchRow {
        title: format!("{} → {}", row.from.address(), row.to.address()),
        service: row.service,
        wave,
        operation: part.map(|p| p.id.clone()),
        state: part.map(|p| p.state),
        reason: part.map(|p| p.reason.clone()).unwrap_or_default(),
        steps: (0, 0),
    };
    if let Some(part) = part {
        let steps = app.store.operation_steps_of(&part.id).await?;
        let done = steps.iter().filter(|s| s.state == StepState::Done).count();
        out.steps = (done as u32, steps.len() as u32);
    }
    Ok(out)
}

fn left_out(row: &Value) -> Option<BatchRow> {
    Some(BatchRow {
        service: row["service"].as_str()?.parse().ok()?,
        title: String::new(),
        wave: 0,
        operation: None,
        state: None,
        reason: row["reason"].as_str().unwrap_or_default().into(),
        steps: (0, 0),
    })
}
