//! How many series limits kept off the pages of instances: `cachewarden_series_dropped_total`.
//!
//! Invariant: each reading counts once, however many scrapers ask for its page; instances of which
//! nothing was ever left out take no memory, and those that left the inventory are forgotten.

use std::collections::BTreeMap;
use std::sync::Mutex;

use exporter::encode::Rendered;
use model::inventory::Inventory;
use model::{At, InstanceId};

/// Counts since the start of the process.
#[derive(Default)]
pub(crate) struct DroppedBook(Mutex<BTreeMap<InstanceId, Dropped>>);

struct Dropped {
    /// Time of the reading that was counted last.
    at: At,
    /// A family had too many label values: summed or left out.
    values: u64,
    /// The page was full.
    limit: u64,
}

impl DroppedBook {
    /// Counts what the page of a reading left out.
    pub(super) fn saw(&self, id: &InstanceId, at: At, page: &Rendered) {
        if page.dropped_values == 0 && page.dropped_limit == 0 {
            return;
        }
        let mut all = self.0.lock().expect("nobody panics with it");
        let none = || Dropped { at: At::EPOCH, values: 0, limit: 0 };
        let of = all.entry(id.clone()).or_insert_with(none);
        if of.at != at {
            of.at = at;
            of.values += u64::from(page.dropped_values);
            of.limit += u64::from(page.dropped_limit);
        }
    }

    /// Instance, reason, count.
    pub(super) fn all(&self, inventory: &Inventory) -> Vec<(InstanceId, &'static str, u64)> {
        let all = self.0.lock().expect("nobody panics with it");
        let of = |(id, d): (&InstanceId, &Dropped)| {
            [(id.clone(), "values", d.values), (id.clone(), "limit", d.limit)]
        };
        let known = all.iter().filter(|(id, _)| inventory.instances.contains_key(*id));
        known.flat_map(of).filter(|(_, _, count)| *count > 0).collect()
    }

    /// Forgets instances that are no more.
    pub(super) fn keep(&self, inventory: &Inventory) {
        let mut all = self.0.lock().expect("nobody panics with it");
        all.retain(|id, _| inventory.instances.contains_key(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(values: u32, limit: u32) -> Rendered {
        Rendered { body: Vec::new(), series: 0, dropped_limit: limit, dropped_values: values }
    }

    #[test]
    fn a_reading_counts_once_and_instances_that_left_are_forgotten() {
        let book = DroppedBook::default();
        let id = InstanceId::parse("pay.cart@10.0.0.1:1").unwrap();
        let mut inventory = Inventory::default();
        let instance = model::service::Instance {
            id: id.clone(),
            kind: model::service::InstanceKind::Redis,
            zone: model::ZoneId::parse("az-1").unwrap(),
            host: None,
            shard: 0,
        };
        inventory.instances.insert(id.clone(), instance);
        book.saw(&id, At::from_ms(1), &page(0, 0));
        assert!(book.all(&inventory).is_empty());
        for at in [5, 5, 6] {
            book.saw(&id, At::from_ms(at), &page(3, 0));
        }
        book.saw(&id, At::from_ms(7), &page(0, 2));
        assert_eq!(book.all(&inventory), [(id.clone(), "values", 6), (id.clone(), "limit", 2)]);
        assert!(book.all(&Inventory::default()).is_empty());
        book.keep(&Inventory::default());
        assert!(book.all(&inventory).is_empty());
    }
}
