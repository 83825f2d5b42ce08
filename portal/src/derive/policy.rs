//! One policy: its revisions with what each changed, its layers, the outcomes of a backtest side by side.
//!
//! Invariant: a revision is held against the one before it of the same scope and selector.

use std::collections::BTreeMap;

use model::policy::{PolicyDoc, PolicyPage, PolicyRevision};
use serde_json::{Value, json};

/// What the template needs beyond the page's value.
pub(super) fn derive(page: &PolicyPage) -> Value {
    let passes = page.check.as_ref().is_some_and(|c| c.faults.is_empty());
    let outcomes = page.backtest.as_ref().map(|b| {
        let draft = json!({ "name": "backtest-draft", "of": b.draft });
        let current = b.current.as_ref();
        let current = current.map(|of| json!({ "name": "backtest-current", "of": of }));
        [draft].into_iter().chain(current).collect::<Vec<_>>()
    });
    let per_day = page.backtest.as_ref().map(|b| format!("{:+.1}", b.versus.per_day));
    json!({
        "passes": passes,
        "reason": "",
        "selector": selector(&page.doc.selector),
        "outcomes": outcomes.unwrap_or_default(),
        "per_day": per_day.unwrap_or_default(),
        "layers": page.layers.iter().map(layer).collect::<Vec<_>>(),
        "revisions": revisions(&page.revisions),
    })
}

/// As a query takes it; empty: everything of the scope.
fn selector(selector: &BTreeMap<String, Vec<String>>) -> String {
    match selector.is_empty() {
        true => String::new(),
        false => serde_json::to_string(selector).unwrap_or_default(),
    }
}

fn layer(r: &PolicyRevision) -> Value {
    json!({
        "scope": r.scope, "selector": selector(&r.selector), "rev": r.rev, "by": r.by,
        "reason": r.reason,
    })
}

fn revisions(all: &[PolicyRevision]) -> Value {
    let one = |(i, r): (usize, &PolicyRevision)| {
        let same = |o: &&PolicyRevision| o.scope == r.scope && o.selector == r.selector;
        let older = all[i + 1..].iter().find(same).and_then(|o| o.doc.as_ref());
        let newest = !all[..i].iter().any(|o| same(&o));
        let mut value = layer(r);
        value["at"] = json!(r.at);
        value["retired"] = json!(r.doc.is_none());
        value["opens"] = json!(r.doc.is_some() && !newest);
        value["changes"] = r.doc.as_ref().map_or(json!([]), |doc| changes(older, doc).into());
        value
    };
    all.iter().enumerate().map(one).collect()
}

/// Fields that differ, with both values.
fn changes(older: Option<&PolicyDoc>, newer: &PolicyDoc) -> Vec<Value> {
    let (old, new) = (older.map(PolicyDoc::fields).unwrap_or_default(), newer.fields());
    let mut fields: Vec<&String> = old.keys().chain(new.keys()).collect();
    fields.sort_unstable();
    fields.dedup();
    let text = |of: &BTreeMap<String, String>, field: &String| of.get(field).cloned();
    let moved = fields.into_iter().filter(|field| old.get(*field) != new.get(*field));
    moved
        .map(|field| {
            json!({
                "field": field, "before": text(&old, field).unwrap_or_default(),
                "after": text(&new, field).unwrap_or_default(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::At;

    #[test]
    fn a_revision_is_held_against_the_one_before_it_of_the_same_scope() {
        let revision = |seq: i64, rev, scope: &str, fire: Option<f64>| PolicyRevision {
            policy: "memory-used".into(),
            scope: scope.to_string().try_into().unwrap(),
            selector: BTreeMap::new(),
            rev,
            seq,
            doc: fire.map(|fire| {
                serde_json::from_value(json!({"policy": "memory-used", "scope": scope,
                    "levels": {"warning": {"fire": fire}}}))
                .unwrap()
            }),
            by: "a".into(),
            reason: "b".into(),
            at: At::EPOCH,
        };
        let all = [
            revision(4, 3, "tenant:pay", None),
            revision(3, 2, "tenant:pay", Some(0.7)),
            revision(2, 1, "tenant:hr", Some(0.9)),
            revision(1, 1, "tenant:pay", Some(0.8)),
        ];
        let told = revisions(&all);
        assert_eq!((&told[0]["retired"], &told[0]["opens"]), (&json!(true), &json!(false)));
        let change = &told[1]["changes"][0];
        assert_eq!((&change["before"], &change["after"]), (&json!("0.8"), &json!("0.7")));
        assert_eq!(told[2]["changes"][0]["before"], "");
        assert_eq!(told[1]["opens"], json!(true));
    }
}
