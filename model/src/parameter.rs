//! Parameters of a service: what they should be, what its nodes run with, what their files say.

use serde::{Deserialize, Serialize};

use crate::service::word;
use crate::{At, InstanceId, ServiceId};

word! {
    /// How the value of one node stands to the others.
    ParameterState {
        /// As wished, or as everywhere; the file says the same.
        #[default]
        Same = "same",
        /// The node runs with another value than wished.
        Differs = "differs",
        /// Nothing is wished, and other nodes run with another value.
        Unlike = "unlike",
        /// The next start brings another value: the file does not say what runs.
        Volatile = "volatile",
        /// The node did not tell.
        Unknown = "unknown",
    }
}

/// The wish for one parameter of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredParameter {
    /// Name.
    pub name: String,
    /// Value, in the form the server answers.
    pub value: String,
    /// Nodes that lose it at their next start: they have no file to keep it in.
    pub volatile: Vec<InstanceId>,
    /// Operation that brought it about.
    pub operation: String,
    /// When.
    pub at: At,
}

/// A parameter on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterValue {
    /// Which.
    pub instance: InstanceId,
    /// What it runs with; none when it did not tell.
    pub running: Option<String>,
    /// What it would start with; none when its file cannot be read from here.
    pub file: Option<String>,
    /// How that stands to wish and neighbours.
    pub state: ParameterState,
}

/// A parameter over the nodes of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterRow {
    /// Name.
    pub name: String,
    /// Unit; empty without one.
    pub unit: String,
    /// `low`, `service` or `data`.
    pub risk: String,
    /// Whether it can be changed while the nodes run.
    pub mutable: bool,
    /// Default of the engine.
    pub default: String,
    /// The wish, when there is one.
    pub desired: Option<DesiredParameter>,
    /// Whether any node drifts.
    pub drift: bool,
    /// Its nodes, in id order.
    pub nodes: Vec<ParameterValue>,
}

/// A node that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterNode {
    /// Which.
    pub instance: InstanceId,
    /// Why it did not tell; empty when it did.
    pub error: String,
    /// Why its file was not read; empty when it was.
    pub file_error: String,
}

/// `GET /services/{id}/parameters`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterPage {
    /// Which service.
    pub service: ServiceId,
    /// The parameters, drifting ones first.
    pub items: Vec<ParameterRow>,
    /// The nodes asked.
    pub nodes: Vec<ParameterNode>,
    /// Parameters that drift.
    pub drifting: usize,
    /// When they were asked.
    pub as_of: At,
}
