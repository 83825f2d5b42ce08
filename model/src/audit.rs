//! The audit record and its chain (`tenancy.md` section 6).
//!
//! Invariant: `hash` = SHA-256 over `prev` + the canonical JSON of the record without `hash`; a
//! record names its predecessor, so an altered, missing or reordered one is found.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::At;
use crate::caller::{Actor, Via};

/// `prev` of the first record of a chain.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// From 1, gapless within the chain.
    pub seq: i64,
    /// Tenant id, or `platform`.
    pub chain: String,
    /// When.
    pub at: At,
    /// Who.
    pub actor: Actor,
    /// By which door.
    pub via: Via,
    /// From where; empty when unknown.
    pub address: String,
    /// Of the request.
    pub request_id: String,
    /// `operation.create`, `policy.publish`, `login` …
    pub action: String,
    /// Object: id as in `tenancy.md` section 1.
    pub target: String,
    /// `platform`, `tenant:pay` …
    pub scope: String,
    /// State before, masked; null when none.
    pub before: Value,
    /// State after, masked; null when none.
    pub after: Value,
    /// Plan hash of operations and approvals; empty otherwise.
    pub plan_hash: String,
    /// Who approved.
    pub approvers: Vec<String>,
    /// ok, refused, failed, unknown.
    pub result: String,
    /// Error code, empty when ok.
    pub code: String,
    /// Hash of the predecessor.
    pub prev: String,
    /// Own hash.
    pub hash: String,
}

impl AuditRecord {
    /// The hash this record must carry.
    pub fn computed_hash(&self) -> String {
        let mut value = serde_json::to_value(self).expect("a record is plain data");
        value.as_object_mut().expect("a record is an object").remove("hash");
        sha256_hex(format!("{}{}", self.prev, canonical(&value)).as_bytes())
    }
}

/// SHA-256 of something that comes in pieces.
#[derive(Debug, Clone, Default)]
pub struct Hash(Sha256);

impl Hash {
    /// The next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Of all pieces, hexadecimal.
    pub fn hex(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// Lower-case hex SHA-256.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// JSON with sorted keys and no blanks. Floats are written as serde_json prints them; records hold
/// integers only.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            let body: Vec<String> = keys
                .iter()
                .map(|k| format!("{}:{}", Value::String((*k).clone()), canonical(&map[*k])))
                .collect();
            format!("{{{}}}", body.join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn canonical_json_does_not_depend_on_key_order() {
        assert_eq!(
            canonical(&json!({"b": [1, null], "a": {"y": "é", "x": true}})),
            r#"{"a":{"x":true,"y":"é"},"b":[1,null]}"#
        );
    }
}
