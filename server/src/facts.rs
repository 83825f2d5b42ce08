//! What the fleet's metrics page says besides rows: alerts, operations, decisions, thresholds.
//!
//! Invariant: a picture taken by a loop, so a scrape never asks the store; when the store is away
//! the last picture stays.

use std::collections::BTreeSet;
use std::sync::Arc;

use exporter::encode::{DriftPoint, ThresholdPoint};
use model::alert::Alert;
use model::incident::Verb;
use model::operation::{OperationKind, OperationState};
use model::risk::RiskClass;
use model::{At, InstanceId, ServiceId};

/// The picture.
#[derive(Default)]
pub(crate) struct FleetFacts {
    pub alerts: Vec<Alert>,
    pub operations: Vec<(OperationKind, OperationState, u64)>,
    pub refusals: Vec<(String, u64)>,
    pub decisions: Vec<(String, Verb, String, u64)>,
    pub thresholds: Vec<ThresholdPoint>,
    pub drift: Vec<DriftPoint>,
    pub maintenance: BTreeSet<InstanceId>,
    pub zone_risks: Arc<[(ServiceId, RiskClass, usize)]>,
    /// When those were judged.
    pub zone_risks_at: Option<At>,
}
