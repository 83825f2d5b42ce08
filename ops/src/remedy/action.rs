//! Which operation a runbook answers its alert with.
//!
//! Invariant: the operation is one a person could plan just so; a runbook chooses its input by the node
//! the alert is about and by constants, never by the alert's labels.

use model::InstanceId;
use model::operation::OperationKind;
use serde_json::{Value, json};

use super::book::{
    CLIENTS_HIGH, CLIENTS_REJECTED, EVICTIONS, Entry, FRAGMENTATION, MEMORY_HIGH, PERSISTENCE,
};

/// A connection that said nothing for that long is used by nobody, seconds.
const IDLE_S: i64 = 3_600;
/// One that holds memory is looked at sooner: a reader that does not read.
const HOARDER_IDLE_S: i64 = 300;
/// Buffers of such a one, bytes.
const HOARDER_BYTES: i64 = 1 << 20;

/// Kind and input.
pub(super) fn of(entry: &Entry, node: &InstanceId, up_for_s: u32) -> (OperationKind, Value) {
    use OperationKind::{Bgsave, ClientsKill, MemoryPurge, NodeRestart};
    let here = json!([node]);
    match entry.name {
        MEMORY_HIGH | EVICTIONS => (
            ClientsKill,
            json!({ "nodes": here, "idle_s_min": HOARDER_IDLE_S, "buffers_bytes_min": HOARDER_BYTES }),
        ),
        CLIENTS_HIGH | CLIENTS_REJECTED => {
            (ClientsKill, json!({ "nodes": here, "idle_s_min": IDLE_S }))
        }
        FRAGMENTATION => (MemoryPurge, json!({ "nodes": here })),
        PERSISTENCE => (Bgsave, json!({ "nodes": here })),
        _ => (NodeRestart, json!({ "instance": node, "up_for_s": up_for_s })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::book::{BOOK, Can};

    #[test]
    fn every_runbook_that_acts_has_an_operation_for_what_its_alert_is_about() {
        let node: InstanceId = "pay.cart@10.0.0.1:6379".parse().unwrap();
        for entry in BOOK.iter().filter(|e| e.can == Can::Act) {
            let (kind, params) = of(entry, &node, 60);
            assert_eq!(kind == OperationKind::NodeRestart, !entry.alive(), "{}", entry.name);
            assert!(params.to_string().contains(node.as_str()), "{}: {params}", entry.name);
        }
    }
}
