//! Wish, running value and file of every node, compared.
//!
//! Invariant: pure; what is not known is never called drift and never called fine.

use std::collections::BTreeMap;

use model::parameter::{
    DesiredParameter, ParameterNode, ParameterPage, ParameterRow, ParameterState, ParameterValue,
};
use model::{At, ServiceId};

use super::look::Seen;
use super::{NODE, Param, Rule, SENTINEL};

/// Parameters that differ between nodes on purpose.
const OWN: [&str; 2] = ["port", "tls-port"];

/// The parameters of a service with what drifts, drifting ones first, then by name.
pub fn page(
    service: &ServiceId,
    seen: &[Seen],
    desired: &[DesiredParameter],
    at: At,
) -> ParameterPage {
    let of = |table: &'static [Param], sentinels: bool| {
        let nodes: Vec<&Seen> = seen.iter().filter(|s| s.is_sentinel == sentinels).collect();
        table
            .iter()
            .filter(|p| !matches!(p.rule, Rule::Never(_)) && !OWN.contains(&p.name))
            .filter_map(move |p| row(p, &nodes, desired.iter().find(|d| d.name == p.name)))
            .collect::<Vec<_>>()
    };
    let mut items = of(NODE, false);
    items.extend(of(SENTINEL, true));
    items.sort_by(|a, b| b.drift.cmp(&a.drift).then_with(|| a.name.cmp(&b.name)));
    let nodes = seen.iter().map(|s| ParameterNode {
        instance: s.id.clone(),
        error: s.running.as_ref().err().cloned().unwrap_or_default(),
        file_error: s.file.as_ref().err().cloned().unwrap_or_default(),
    });
    ParameterPage {
        service: service.clone(),
        drifting: items.iter().filter(|r| r.drift).count(),
        nodes: nodes.collect(),
        items,
        as_of: at,
    }
}

/// One parameter; none when no node has it.
fn row(param: &Param, nodes: &[&Seen], desired: Option<&DesiredParameter>) -> Option<ParameterRow> {
    let running = |s: &Seen| s.running.as_ref().ok()?.get(param.name).cloned();
    let usual = usual(nodes.iter().filter_map(|s| running(s)));
    usual.as_ref().or(desired.map(|d| &d.value))?;
    let values: Vec<ParameterValue> = nodes
        .iter()
        .map(|s| {
            let (running, file) = (running(s), s.starts_with(param));
            let state =
                state(param, running.as_deref(), file.as_deref(), desired, usual.as_deref());
            ParameterValue { instance: s.id.clone(), running, file, state }
        })
        .collect();
    let drifts =
        |v: &ParameterValue| !matches!(v.state, ParameterState::Same | ParameterState::Unknown);
    Some(ParameterRow {
        name: param.name.into(),
        unit: param.unit.into(),
        risk: param.risk.as_str().into(),
        mutable: param.is_mutable(),
        default: param.default.into(),
        desired: desired.cloned(),
        drift: values.iter().any(drifts),
        nodes: values,
    })
}

/// What most nodes run with; of equally many the first by text.
fn usual(values: impl Iterator<Item = String>) -> Option<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    values.for_each(|v| *counts.entry(v).or_default() += 1);
    let most = counts.values().max().copied()?;
    counts.into_iter().find(|(_, n)| *n == most).map(|(v, _)| v)
}

fn state(
    param: &Param,
    running: Option<&str>,
    file: Option<&str>,
    desired: Option<&DesiredParameter>,
    usual: Option<&str>,
) -> ParameterState {
    let Some(running) = running else { return ParameterState::Unknown };
    match desired {
        Some(wish) if !param.same(running, &wish.value) => return ParameterState::Differs,
        None if usual.is_some_and(|usual| !param.same(running, usual)) => {
            return ParameterState::Unlike;
        }
        _ => {}
    }
    match file {
        Some(file) if !param.same(running, file) => ParameterState::Volatile,
        _ => ParameterState::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::id;
    use crate::params::{Engine, file};

    fn node(n: usize, running: &[(&'static str, &str)], text: Option<&str>) -> Seen {
        Seen {
            id: id(n, 6379),
            is_sentinel: false,
            engine: Some(Engine { valkey: false, version: (7, 0) }),
            has_file: true,
            running: Ok(running.iter().map(|(k, v)| (*k, v.to_string())).collect()),
            file: text.map(file::read).ok_or_else(|| "no provider".into()),
        }
    }

    fn wish(name: &str, value: &str) -> DesiredParameter {
        DesiredParameter {
            name: name.into(),
            value: value.into(),
            volatile: Vec::new(),
            operation: "op".into(),
            at: At::EPOCH,
        }
    }

    fn states(seen: &[Seen], desired: &[DesiredParameter], name: &str) -> Vec<ParameterState> {
        let page = page(&"pay.cart".parse().unwrap(), seen, desired, At::EPOCH);
        let row = page.items.into_iter().find(|r| r.name == name).unwrap();
        row.nodes.into_iter().map(|n| n.state).collect()
    }

    #[test]
    fn each_kind_of_drift_has_its_word() {
        use ParameterState::*;
        let seen = [
            node(1, &[("hz", "10"), ("timeout", "5")], Some("hz 10\ntimeout 5\n")),
            node(2, &[("hz", "20"), ("timeout", "5")], Some("hz 20\n")),
            node(3, &[("hz", "10"), ("timeout", "5")], None),
        ];
        assert_eq!(states(&seen, &[], "hz"), [Same, Unlike, Same]);
        assert_eq!(states(&seen, &[], "timeout"), [Same, Volatile, Same], "0 after a restart");
        assert_eq!(states(&seen, &[wish("hz", "20")], "hz"), [Differs, Same, Differs]);
        let mut silent = seen.to_vec();
        silent[0].running = Err("timeout".into());
        assert_eq!(states(&silent, &[wish("hz", "10")], "hz"), [Unknown, Differs, Same]);
    }

    #[test]
    fn equal_values_in_other_words_are_no_drift() {
        let seen = [node(1, &[("maxmemory", "1073741824")], Some("maxmemory 1gb\n"))];
        let same = [ParameterState::Same];
        assert_eq!(states(&seen, &[wish("maxmemory", "1073741824")], "maxmemory"), same);
    }

    #[test]
    fn drifting_parameters_stand_first_and_are_counted() {
        let seen = [node(1, &[("hz", "10"), ("timeout", "5")], Some("timeout 0\n"))];
        let page = page(&"pay.cart".parse().unwrap(), &seen, &[], At::EPOCH);
        let first = &page.items[0];
        assert_eq!((page.drifting, first.name.as_str(), first.drift), (1, "timeout", true));
    }

    #[test]
    fn the_default_of_an_engine_that_chose_others_is_not_assumed() {
        let mut newer = node(1, &[("lazyfree-lazy-expire", "yes")], Some(""));
        newer.engine = Some(Engine { valkey: true, version: (7, 2) });
        assert_eq!(states(&[newer], &[], "lazyfree-lazy-expire"), [ParameterState::Same]);
    }
}
