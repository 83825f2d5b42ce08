//! The inventory file as people write it: YAML (or JSON, which is YAML), with lines for its faults.

use std::collections::BTreeMap;
use std::fmt;

use model::apply::{Fault, InventoryDoc};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Longest file taken: 10 000 instances with their hosts are about 2 MiB.
pub const BYTES_MAX: usize = 16 << 20;

/// Parses a file; the message names line and column, what was found and what is allowed.
pub fn parse(text: &str) -> Result<InventoryDoc, String> {
    if text.len() > BYTES_MAX {
        return Err(format!("{} bytes; at most {BYTES_MAX}", text.len()));
    }
    // The lines around a fault are not quoted: one of them may hold a password.
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|e| e.to_string())
}

/// The faults with `line 12: ` before their detail, for those whose place is found in `text`.
pub fn placed(text: &str, faults: Vec<Fault>) -> Vec<Fault> {
    let lines = Lines::of(text);
    let with_line = |fault: Fault| match lines.at(&fault.pointer) {
        None => fault,
        Some(line) => Fault { detail: format!("line {line}: {}", fault.detail), ..fault },
    };
    faults.into_iter().map(with_line).collect()
}

/// Whether a text is a list and no single document.
pub(crate) fn is_list(text: &str) -> bool {
    Lines::of(text).0.is_some_and(|root| matches!(root.value, Node::List(_)))
}

/// Where things stand in a text; nothing of one that is no YAML.
pub(crate) struct Lines(Option<Spanned<Node>>);

impl Lines {
    /// Of a text.
    pub fn of(text: &str) -> Lines {
        Lines(serde_saphyr::from_str::<Spanned<Node>>(text).ok())
    }

    /// Line of the deepest node on the way to a pointer, from 1.
    pub fn at(&self, pointer: &str) -> Option<u64> {
        let line = line_of(self.0.as_ref()?, pointer);
        (line > 0).then_some(line)
    }
}

/// Line of the deepest node on the way to `pointer`, from 1; 0 when it is not known.
fn line_of(root: &Spanned<Node>, pointer: &str) -> u64 {
    let mut node = root;
    for step in pointer.split('/').skip(1) {
        let next = match &node.value {
            Node::Map(map) => map.get(step),
            Node::List(items) => step.parse::<usize>().ok().and_then(|i| items.get(i)),
            Node::Leaf => None,
        };
        let Some(next) = next else { break };
        node = next;
    }
    node.referenced.line()
}

/// The shape of a document, for its lines only.
enum Node {
    Map(BTreeMap<String, Spanned<Node>>),
    List(Vec<Spanned<Node>>),
    Leaf,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Node, D::Error> {
        d.deserialize_any(Shape)
    }
}

struct Shape;

macro_rules! leaves {
    ($($visit:ident $type:ty,)*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Node, E> {
            Ok(Node::Leaf)
        })*
    };
}

impl<'de> Visitor<'de> for Shape {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    leaves! { visit_bool bool, visit_i64 i64, visit_u64 u64, visit_f64 f64, visit_str &str, }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            entries.insert(key, map.next_value()?);
        }
        Ok(Node::Map(entries))
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Node, D::Error> {
        Node::deserialize(d)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Node, D::Error> {
        IgnoredAny::deserialize(d).map(|_| Node::Leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "version: 1
tenants:
- id: pay
  networks: [10.0.0.0/8]
  services:
  - id: cart
    system: shop
    instances:
    - {address: 10.0.0.1:6379, zone: az-1}
    - {address: 10.0.0.2:6379, zone: az-9}
";

    #[test]
    fn the_shipped_example_is_an_inventory() {
        let doc = parse(include_str!("../../deploy/inventory.example.yaml")).unwrap();
        assert_eq!((doc.hosts.len(), doc.tenants[0].services.len()), (3, 3));
        assert_eq!(doc.hosts[0].memory_bytes, 64 << 30);
    }

    #[test]
    fn a_fault_is_told_with_its_line() {
        let fault = |pointer: &str| Fault { pointer: pointer.into(), detail: "x".into() };
        let line = |pointer: &str| placed(FILE, vec![fault(pointer)])[0].detail.clone();
        assert_eq!(line("/tenants/0/services/0/instances/1/zone"), "line 10: x");
        assert_eq!(line("/tenants/0/services/0/sentinel/master_name"), "line 6: x");
        assert_eq!(line("/version"), "line 1: x");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_known_ones() {
        let bad = FILE.replace("    system: shop", "    sistem: shop");
        let said = parse(&bad).err().unwrap();
        assert!(
            said.contains("line 7") && said.contains("sistem") && said.contains("system"),
            "{said}"
        );
        assert!(!said.contains("pay"), "{said}");
        assert!(parse(FILE).is_ok());
    }
}
