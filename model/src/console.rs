//! The command console of one instance.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{InstanceId, ServiceId};

/// A reply with what was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConsoleAnswer {
    /// Command, lower case, as `config|get`.
    pub name: String,
    /// `read` or `bounded`.
    pub class: String,
    /// The reply: texts, numbers, null, arrays; errors as `{"error": …}`.
    pub value: Value,
    /// The same for people.
    pub text: String,
    /// Something was left out.
    pub cut: bool,
    /// A secret was replaced.
    pub masked: bool,
    /// How long the node took, µs.
    pub took_us: u64,
}

/// `GET` and `POST /instances/{id}/console`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConsolePage {
    /// Which.
    pub instance: InstanceId,
    /// Its service.
    pub service: ServiceId,
    /// master, slave; empty when unknown.
    pub role: String,
    /// User of Redis the console logs in as.
    pub user: String,
    /// Whether its password is stored.
    pub ready: bool,
    /// The line.
    pub command: String,
    /// The reply; none before a line.
    pub answer: Option<ConsoleAnswer>,
}
