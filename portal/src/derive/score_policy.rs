//! The form of a score policy, the differences between its revisions, and the lines of its preview.
//!
//! Invariant: what the fields say is the document, no more; the way back is in `server`'s forms.

use std::collections::BTreeMap;

use model::score::Grade;
use model::score_policy::{
    EffectiveField, Off, PolicyFlaw, ScorePolicyDoc, ScorePolicyPage, ScorePolicyRevision,
    ShadowLine,
};
use model::service::Profile;
use serde_json::{Value, json};

const PROFILES: [Profile; 4] = [Profile::Cache, Profile::Store, Profile::Queue, Profile::Session];

/// What the template needs beyond the page's value.
pub(super) fn derive(page: &ScorePolicyPage) -> Value {
    let doc = &page.doc;
    let mut form = fields(doc);
    let option = |word: &str, here: bool| json!({ "value": word, "here": here });
    let picked = |p: &Profile| doc.profile == Some(*p);
    form["profiles"] = PROFILES.iter().map(|p| option(p.as_str(), picked(p))).collect();
    form["given"] = PROFILES.iter().map(|p| option(p.as_str(), page.profile == *p)).collect();
    let (set, rest): (Vec<&EffectiveField>, Vec<&EffectiveField>) = page
        .effective
        .iter()
        .partition(|f| !f.origin.starts_with("profile ") || !f.field.contains('.'));
    form["set"] = json!(set);
    form["rest"] = json!(rest);
    form["revisions"] = revisions(&page.revisions);
    form["service"] = json!(page.id.strip_prefix("service:"));
    let preview = page.preview.as_ref();
    let flaws = preview.map(|p| p.flaws.as_slice()).unwrap_or_default();
    form["lines"] = preview.map_or(json!([]), |p| p.services.iter().map(line).collect());
    form["saves"] = json!(preview.is_some() && flaws.is_empty());
    form["signs"] = json!(!flaws.is_empty() && flaws.iter().all(|f: &PolicyFlaw| f.signable));
    form
}

fn number(value: Option<impl ToString>) -> Value {
    value.map_or_else(String::new, |v| v.to_string()).into()
}

fn fields(doc: &ScorePolicyDoc) -> Value {
    let weight = |pick: fn(model::score_policy::Weights) -> f64| number(doc.weights.map(pick));
    let off = |(name, off): (&String, &Option<Off>)| match off {
        Some(off) => format!("{name}: until {} {}", off.until, off.reason),
        None => format!("{name}: on"),
    };
    let curves = doc.curves.iter().map(|(name, knots)| format!("{name}: {}", pairs(knots)));
    let gates = doc.gates.iter().map(|(name, cap)| format!("{name}: {cap}"));
    let lines = |all: Vec<String>| all.join("\n");
    json!({
        "weights": [
            { "name": "availability", "value": weight(|w| w.availability) },
            { "name": "memory", "value": weight(|w| w.memory) },
            { "name": "connections", "value": weight(|w| w.connections) },
            { "name": "slowlog", "value": weight(|w| w.slowlog) },
        ],
        "curves": lines(curves.collect()),
        "off": lines(doc.off.iter().map(off).collect()),
        "gates": lines(gates.collect()),
        "replicas": number(doc.required.replicas),
        "zones": number(doc.required.zones),
        "persistence": doc.required.persistence.map(|p| p.to_string()).unwrap_or_default(),
        "slowlog_limit_ms": number(doc.slowlog_limit_ms),
        "slo": number(doc.slo.map(|s| s.target)),
        "locked": doc.locked.iter().cloned().collect::<Vec<_>>().join(", "),
    })
}

fn pairs(knots: &[(f64, f64)]) -> String {
    knots.iter().map(|(x, loss)| format!("{x} {loss}")).collect::<Vec<_>>().join(", ")
}

/// Every field a document sets, as text.
fn texts(doc: &ScorePolicyDoc) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let value = serde_json::to_value(doc).unwrap_or_default();
    for field in doc.fields() {
        let path = field.split_once('.').map_or((field.as_str(), None), |(a, b)| (a, Some(b)));
        let found = match path {
            (group, Some(name)) => &value[group][name],
            (name, None) => &value[name],
        };
        let text = doc.curves.get(path.1.unwrap_or_default()).filter(|_| path.0 == "curves");
        let text = text.map_or_else(|| found.to_string(), |knots| pairs(knots));
        all.insert(field, text);
    }
    all
}

/// What a revision changed against the one before it.
fn changes(older: Option<&ScorePolicyDoc>, newer: &ScorePolicyDoc) -> Vec<Value> {
    let (old, new) = (older.map(texts).unwrap_or_default(), texts(newer));
    let mut fields: Vec<&String> = old.keys().chain(new.keys()).collect();
    fields.sort_unstable();
    fields.dedup();
    let moved = fields.into_iter().filter(|field| old.get(*field) != new.get(*field));
    let text = |of: &BTreeMap<String, String>, field: &String| of.get(field).cloned();
    moved
        .map(|field| {
            json!({
                "field": field, "before": text(&old, field).unwrap_or_default(),
                "after": text(&new, field).unwrap_or_default(),
            })
        })
        .collect()
}

fn revisions(all: &[ScorePolicyRevision]) -> Value {
    let one = |(i, r): (usize, &ScorePolicyRevision)| {
        json!({
            "rev": r.rev, "by": r.by, "approver": r.approver, "reason": r.reason, "at": r.at,
            "changes": changes(all.get(i + 1).map(|older| &older.doc), &r.doc),
            "newest": i == 0,
        })
    };
    all.iter().enumerate().map(one).collect()
}

fn line(line: &ShadowLine) -> Value {
    let brief = |score: Option<f64>, grade: Grade| json!({ "score": score, "grade": grade, "confidence": 1.0, "cause": "" });
    let gain = line.score_before.zip(line.score_after).map(|(before, after)| after - before);
    json!({
        "service": line.service,
        "before": brief(line.score_before, line.grade_before),
        "after": brief(line.score_after, line.grade_after),
        "gain": gain.map(|g| format!("{g:+.2}")).unwrap_or_default(),
        "mean_before": line.mean_before, "mean_after": line.mean_after,
        "lowest_before": line.lowest_before, "lowest_after": line.lowest_after,
        "moved": line.moved, "moments": line.moments, "cause": line.cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc(body: Value) -> ScorePolicyDoc {
        serde_json::from_value(body).unwrap()
    }

    #[test]
    fn a_difference_names_each_field_with_both_values() {
        let old = doc(json!({"scope": "tenant:pay", "slowlog_limit_ms": 10.0,
            "curves": {"M1": [[0.7, 0.0], [1.0, 100.0]]}}));
        let new = doc(json!({"scope": "tenant:pay", "slowlog_limit_ms": 5.0,
            "curves": {"M1": [[0.7, 0.0], [1.0, 100.0]]}, "required": {"zones": 3}}));
        let told = changes(Some(&old), &new);
        let told: Vec<_> =
            told.iter().map(|c| format!("{} {} {}", c["field"], c["before"], c["after"])).collect();
        assert_eq!(
            told,
            ["\"required.zones\" \"\" \"3\"", "\"slowlog_limit_ms\" \"10.0\" \"5.0\""]
        );
        assert_eq!(changes(None, &old).len(), 2);
    }

    #[test]
    fn the_form_says_the_document_in_lines() {
        let form = fields(&doc(json!({"scope": "tenant:pay", "off": {"S5": null},
            "curves": {"M1": [[0.7, 0.0], [1.0, 100.0]]}, "gates": {"no_replica": 60.0}})));
        assert_eq!(form["curves"], "M1: 0.7 0, 1 100");
        assert_eq!((&form["off"], &form["gates"]), (&json!("S5: on"), &json!("no_replica: 60")));
    }
}
