//! CLUSTER SHARDS and CLUSTER SLOT-STATS.

use model::detail::SlotUse;
use redis::Value;

use super::{bytes, items, number};

/// Health of a node in the words of Redis; what a server adds is left out.
const HEALTH: [&str; 4] = ["online", "loading", "failed", "fail"];
/// Slots of a cluster.
const SLOTS: f64 = 16_384.0;

/// How many nodes there are of each health.
pub type Healths = Vec<(Box<str>, u32)>;

/// Shards of CLUSTER SHARDS, with the nodes of each health; none when the reply is not one.
pub fn read(value: &Value) -> Option<(u32, Healths)> {
    let shards = items(value)?;
    let mut counts = [0u32; HEALTH.len()];
    for shard in shards {
        let nodes = field(items(shard)?, "nodes").and_then(items)?;
        for node in nodes {
            let health = field(items(node)?, "health").and_then(bytes)?;
            if let Some(at) = HEALTH.iter().position(|h| h.as_bytes() == health) {
                counts[at] += 1;
            }
        }
    }
    let seen = HEALTH.iter().zip(counts).filter(|(_, n)| *n > 0);
    Some((shards.len() as u32, seen.map(|(h, n)| ((*h).into(), n)).collect()))
}

fn field<'a>(pairs: &'a [Value], name: &str) -> Option<&'a Value> {
    let found = pairs.chunks_exact(2).find(|p| bytes(&p[0]) == Some(name.as_bytes()));
    found.map(|p| &p[1])
}

/// Slots of CLUSTER SLOT-STATS; none when the reply is not one.
pub fn slots(value: &Value) -> Option<Vec<SlotUse>> {
    items(value)?.iter().map(slot).collect()
}

fn slot(value: &Value) -> Option<SlotUse> {
    let parts = items(value)?;
    let slot = number(parts.first()?).filter(|n| (0.0..SLOTS).contains(n))? as u16;
    let of = items(parts.get(1)?)?;
    let get = |name: &str| field(of, name).and_then(number);
    Some(SlotUse {
        slot,
        keys: get("key-count")?,
        cpu_us: get("cpu-usec"),
        bytes_in: get("network-bytes-in"),
        bytes_out: get("network-bytes-out"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn nodes_are_counted_by_health_over_all_shards() {
        let node = |health| Value::Array(vec![word("id"), word("x"), word("health"), word(health)]);
        let shard = |nodes: Vec<Value>| {
            Value::Array(vec![
                word("slots"),
                Value::Array(vec![]),
                word("nodes"),
                Value::Array(nodes),
            ])
        };
        let all = Value::Array(vec![
            shard(vec![node("online"), node("failed")]),
            shard(vec![node("online"), node("odd")]),
        ]);
        let expected: Vec<(Box<str>, u32)> = vec![("online".into(), 2), ("failed".into(), 1)];
        assert_eq!(read(&all), Some((2, expected)));
        assert_eq!(read(&Value::Array(vec![Value::Int(1)])), None);
    }

    #[test]
    fn a_slot_without_counting_has_keys_only() {
        let one = |n, of: Vec<Value>| {
            Value::Array(vec![Value::Array(vec![Value::Int(n), Value::Array(of)])])
        };
        let read = slots(&one(325, vec![word("key-count"), Value::Int(7)])).unwrap();
        assert_eq!((read[0].slot, read[0].keys, read[0].cpu_us), (325, 7.0, None));
        assert_eq!(slots(&one(16_384, vec![word("key-count"), Value::Int(7)])), None);
    }
}
