//! Days to full and objectives on the page of the fleet.
//!
//! Invariant: a service that is not in the inventory, or not in this part of the fleet, has no series;
//! no end in sight is +Inf, and no target is no series. Refuses to know how they come about.

use model::ServiceId;

use super::fleet::{FleetPage, service_labels};
use super::writer::Writer;
use crate::catalog::Family;

/// When a resource of a shard will be full.
#[derive(Debug, Clone, PartialEq)]
pub struct CapacityPoint {
    /// Whose.
    pub service: ServiceId,
    /// Shard.
    pub shard: u32,
    /// `memory`, `connections`, `host_memory`.
    pub resource: &'static str,
    /// Days: low, mid, high; infinite: no end in sight.
    pub days: [f64; 3],
}

/// The objective of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct SloPoint {
    /// Whose.
    pub service: ServiceId,
    /// Good, bad and unknown seconds, without and with planned work running.
    pub seconds: [[f64; 3]; 2],
    /// Share of good seconds wanted.
    pub target: Option<f64>,
    /// Burn rate by window; none without a target.
    pub burn: Vec<(&'static str, Option<f64>)>,
    /// Unknown share by window.
    pub unknown: Vec<(&'static str, f64)>,
    /// Budget left: low, high.
    pub budget: Option<[f64; 2]>,
}

pub(super) fn write(w: &mut Writer, page: &FleetPage<'_>) {
    capacity(w, page);
    let labelled = |point: &'_ SloPoint| {
        let service = page.inventory.services.get(&point.service)?;
        page.wants(service.id.as_str()).then(|| service_labels(service))
    };
    let all: Vec<(Vec<u8>, &SloPoint)> =
        page.slo.iter().filter_map(|point| Some((labelled(point)?, point))).collect();
    w.family(Family::SloSeconds);
    for (labels, point) in &all {
        for (planned, seconds) in [("false", point.seconds[0]), ("true", point.seconds[1])] {
            for (state, value) in ["good", "bad", "unknown"].into_iter().zip(seconds) {
                w.sample_with(labels, &[("state", state), ("planned", planned)], value);
            }
        }
    }
    w.family(Family::SloTarget);
    for (labels, point) in &all {
        point.target.iter().for_each(|target| w.sample_with(labels, &[], *target));
    }
    w.family(Family::SloBurn);
    for (labels, point) in &all {
        for (window, burn) in &point.burn {
            burn.iter().for_each(|burn| w.sample_with(labels, &[("window", window)], *burn));
        }
    }
    w.family(Family::SloUnknown);
    for (labels, point) in &all {
        point
            .unknown
            .iter()
            .for_each(|(window, v)| w.sample_with(labels, &[("window", window)], *v));
    }
    w.family(Family::SloBudget);
    for (labels, point) in &all {
        for (bound, left) in ["low", "high"].into_iter().zip(point.budget.into_iter().flatten()) {
            w.sample_with(labels, &[("bound", bound)], left);
        }
    }
}

fn capacity(w: &mut Writer, page: &FleetPage<'_>) {
    w.family(Family::CapacityDays);
    for point in page.capacity.iter().filter(|p| page.wants(p.service.as_str())) {
        let Some(service) = page.inventory.services.get(&point.service) else { continue };
        let (labels, shard) = (service_labels(service), point.shard.to_string());
        for (bound, days) in ["low", "mid", "high"].into_iter().zip(point.days) {
            let more = [("shard", shard.as_str()), ("resource", point.resource), ("bound", bound)];
            w.sample_with(&labels, &more, days);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::At;
    use model::board::Rollup;

    use super::*;
    use crate::encode::{Format, fleet};
    use crate::fixture::inventory;

    #[test]
    fn no_end_is_infinite_and_no_target_is_no_series() {
        let (tree, rollup) = (inventory(), Rollup::default());
        let service: ServiceId = "pay.cart".parse().unwrap();
        let days = [6.5, f64::INFINITY, f64::INFINITY];
        let capacity =
            [CapacityPoint { service: service.clone(), shard: 1, resource: "memory", days }];
        let slo = [SloPoint {
            service,
            seconds: [[10.0, 2.0, 1.0], [0.0, 3.0, 0.0]],
            target: None,
            burn: vec![("5m", None)],
            unknown: vec![("5m", 0.25)],
            budget: None,
        }];
        let mut page = FleetPage::new(&tree, &[], &rollup, At::EPOCH);
        (page.capacity, page.slo) = (&capacity, &slo);
        let text = String::from_utf8(fleet(&page, Format::Text).body).unwrap();
        let cart = "tenant=\"pay\",system=\"shop\",service=\"cart\"";
        let full = format!(
            "cachewarden_capacity_days_to_full{{{cart},shard=\"1\",resource=\"memory\",bound=\"mid\"}} +Inf\n"
        );
        assert!(text.contains(&full), "{text}");
        let bad =
            format!("cachewarden_slo_seconds_total{{{cart},state=\"bad\",planned=\"true\"}} 3\n");
        assert!(text.contains(&bad), "{text}");
        assert!(!text.contains("cachewarden_slo_burn_rate{"));
        assert!(!text.contains("cachewarden_slo_target_ratio{"));
    }
}
