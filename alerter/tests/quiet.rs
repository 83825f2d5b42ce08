//! What judging costs while nothing changes: not one allocation.
#![allow(clippy::unwrap_used, reason = "clippy does not see that helpers here are tests too")]

mod stage;

use alerter::{Cell, evaluate};
use model::field::Field;
use model::reading::Facts;
use stage::*;

#[test]
fn nothing_is_allocated_while_nothing_changes() {
    let docs: Vec<_> =
        alerter::defaults::policies().iter().map(|d| serde_json::to_string(d).unwrap()).collect();
    let docs: Vec<&str> = docs.iter().map(String::as_str).collect();
    let b = Bench::of(&docs);
    let slot = &b.plan.slots[&id()];
    assert!(slot.rules.len() > 30);
    let mut cell = Cell::default();
    let rows: Vec<_> = (0..1_600)
        .map(|i| {
            let mut facts = Facts::default();
            for (field, value) in [
                (Field::UsedMemory, 4e9),
                (Field::Maxmemory, 10e9),
                (Field::UptimeInSeconds, 1e6 + f64::from(i)),
                (Field::MemFragmentationRatio, 1.1),
                (Field::ConnectedClients, 50.0),
                (Field::Maxclients, 1000.0),
                (Field::RejectedConnections, 0.0),
                (Field::UsedCpuSys, f64::from(i)),
                (Field::UsedCpuUser, f64::from(i)),
                (Field::RdbLastBgsaveStatus, 1.0),
                (Field::AofLastWriteStatus, 1.0),
                (Field::MasterLinkStatus, 1.0),
            ] {
                facts.values.set(field, value);
            }
            facts.slowlog.last_id = Some(7.0);
            facts.errors.push(("OOM".into(), 3.0));
            reading(i64::from(i) * STEP, true, facts)
        })
        .collect();
    // Six hours fill every window.
    for row in &rows[..1_500] {
        evaluate(slot, &mut cell, row, row.reading.at).unwrap();
    }
    let info = allocation_counter::measure(|| {
        for row in &rows[1_500..] {
            assert!(evaluate(slot, &mut cell, row, row.reading.at).unwrap().is_empty());
        }
    });
    assert_eq!(info.count_total, 0, "{} bytes", info.bytes_total);
}
