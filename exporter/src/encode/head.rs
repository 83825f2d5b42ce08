//! HELP, TYPE and UNIT lines, rendered once per process.

use std::sync::LazyLock;

use model::field::Field;

use super::Format;
use crate::catalog::{self, Family, Kind, Metric, Page};

/// Lines before the first sample of a family.
pub(super) fn of_family(family: Family, format: Format) -> &'static [u8] {
    static HEADS: LazyLock<[Vec<Vec<u8>>; 2]> = LazyLock::new(|| {
        [Format::Text, Format::OpenMetrics]
            .map(|format| Family::ALL.iter().map(|f| head(f.metric(), format)).collect())
    });
    &HEADS[format as usize][family as usize]
}

/// A scalar fact: the lines before it and its name, ready to be followed by a value.
pub(super) struct FieldHead {
    /// HELP, TYPE, UNIT.
    pub(super) head: Vec<u8>,
    /// Name of the sample.
    pub(super) name: &'static str,
    /// Part of the lean profile.
    pub(super) lean: bool,
    /// Carries master_host and master_port.
    pub(super) names_master: bool,
}

/// By `Field as usize`.
pub(super) fn of_fields(format: Format) -> &'static [FieldHead] {
    static HEADS: LazyLock<[Vec<FieldHead>; 2]> = LazyLock::new(|| {
        [Format::Text, Format::OpenMetrics]
            .map(|format| Field::all().iter().map(|f| of_field(*f, format)).collect())
    });
    &HEADS[format as usize]
}

fn of_field(field: Field, format: Format) -> FieldHead {
    let metric = catalog::of_field(field);
    FieldHead {
        head: head(&metric, format),
        name: metric.name,
        lean: metric.lean,
        names_master: catalog::names_master(field),
    }
}

fn head(metric: &Metric, format: Format) -> Vec<u8> {
    lines(metric.name, metric, format)
}

/// The lines of `metric` under `name` (families whose name comes from the reply).
pub(super) fn lines(name: &str, metric: &Metric, format: Format) -> Vec<u8> {
    debug_assert!(metric.page == Page::Scrape || metric.page == Page::Metrics);
    let help = metric.help.replace('\\', "\\\\").replace('\n', "\\n");
    let kind = metric.kind.as_str();
    if format == Format::Text {
        return format!("# HELP {name} {help}\n# TYPE {name} {kind}\n").into_bytes();
    }
    // OpenMetrics knows a counter by its `_total`; redis_exporter's counters without one are shown
    // under their own name, so their type cannot be said.
    let (family, kind) = match (metric.kind, name.strip_suffix("_total")) {
        (Kind::Counter, Some(stem)) => (stem, "counter"),
        (Kind::Counter, None) => (name, "unknown"),
        _ => (name, kind),
    };
    let mut out =
        format!("# HELP {family} {}\n# TYPE {family} {kind}\n", help.replace('"', "\\\""));
    let unit = metric.unit();
    if !unit.is_empty() && family.ends_with(unit) {
        out.push_str(&format!("# UNIT {family} {unit}\n"));
    }
    out.into_bytes()
}
