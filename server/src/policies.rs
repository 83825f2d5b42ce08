//! Threshold policies of the process: documents in force with their revisions, what is checked before
//! one is published, documents as YAML.
//!
//! Invariant: what is checked is checked against every layer, also those the caller does not see, for
//! his change must not break them. Refuses to know requests.

use std::collections::BTreeSet;
use std::sync::Arc;

use alerter::publish::Present;
use alerter::{defaults, explain};
use model::At;
use model::caller::Caller;
use model::inventory::Inventory;
use model::policy::{PolicyDoc, PolicyFault, PolicyReach, PolicyRevision};

use crate::app::App;
use crate::inventory_file;

/// Longest text of documents, bytes: some hundred policies.
pub(crate) const TEXT_MAX: usize = 512 * 1024;
/// Faults told at once: a text wrong in one place is often wrong in many.
const FAULTS_MAX: usize = 100;

/// Everything a change is decided on.
pub(crate) struct World {
    /// The tree.
    pub inventory: Arc<Inventory>,
    /// Published documents in force, of all layers.
    pub revisions: Vec<PolicyRevision>,
    /// Revision of the whole platform they are of.
    pub generation: i64,
    /// Names of calendars.
    pub calendars: BTreeSet<String>,
    interval_ms: i64,
}

impl World {
    /// The present one.
    pub async fn load(app: &App, now: At) -> Result<World, store::Error> {
        let caller = Caller::system("policies", format!("policies-{}", now.ms()));
        // Before the documents: what is published in between makes the decision stale, not wrong.
        let generation = app.store.policy_generation().await?;
        Ok(World {
            inventory: app.inventory(),
            revisions: app.store.policies_in_force(&caller).await?,
            generation,
            calendars: calendars(app, &caller).await?,
            interval_ms: i64::from(app.config.exporter.interval_s) * 1000,
        })
    }

    /// Published documents, each with its revision.
    pub fn published(&self) -> impl Iterator<Item = &PolicyDoc> {
        self.revisions.iter().filter_map(|r| r.doc.as_ref())
    }

    /// The same below the shipped ones.
    pub fn all(&self) -> Vec<PolicyDoc> {
        defaults::policies().iter().chain(self.published()).cloned().collect()
    }

    /// Everything wrong with documents: (which, pointer into it, reason).
    pub fn faults(&self, docs: &[PolicyDoc], now: At) -> Vec<(usize, PolicyFault)> {
        let documents: Vec<PolicyDoc> = self.published().cloned().collect();
        let present = Present {
            inventory: &self.inventory,
            documents: &documents,
            interval_ms: self.interval_ms,
            now,
            calendars: &self.calendars,
        };
        let found = alerter::publish::faults(docs, &present);
        let fault = |(i, flaw): (usize, model::policy::check::Flaw)| {
            let place = flaw.place;
            let pointer = if place.is_empty() { place } else { format!("/{place}") };
            (i, PolicyFault { line: None, pointer, detail: flaw.reason })
        };
        found.into_iter().take(FAULTS_MAX).map(fault).collect()
    }

    /// Whom a document reaches.
    pub fn reach(&self, doc: &PolicyDoc) -> Vec<PolicyReach> {
        explain::reach(doc, false, &self.all(), &self.inventory)
    }
}

/// Names of the calendars there are.
pub(crate) async fn calendars(
    app: &App,
    caller: &Caller,
) -> Result<BTreeSet<String>, store::Error> {
    let all = app.store.calendar_list(caller).await?;
    Ok(all.into_iter().map(|row| row.calendar.id).collect())
}

/// Documents of a text.
#[derive(Debug)]
pub(crate) struct Text {
    /// The documents.
    pub docs: Vec<PolicyDoc>,
    /// It is a list, so pointers into it begin with a number.
    pub list: bool,
}

/// Reads a text: one document or a list of them, YAML or JSON.
pub(crate) fn read(text: &str) -> Result<Text, PolicyFault> {
    let fault = |line, detail: String| PolicyFault { line, pointer: String::new(), detail };
    if text.len() > TEXT_MAX {
        return Err(fault(None, format!("{} bytes; at most {TEXT_MAX}", text.len())));
    }
    let list = inventory_file::is_list(text);
    let read = match list {
        true => serde_saphyr::from_str::<Vec<PolicyDoc>>(text),
        false => serde_saphyr::from_str::<PolicyDoc>(text).map(|doc| vec![doc]),
    };
    match read {
        Ok(docs) if docs.is_empty() => Err(fault(None, "the list is empty".into())),
        Ok(docs) => Ok(Text { docs, list }),
        Err(e) => {
            let line = e.location().map(|l| l.line());
            Err(fault(line, plain(&e.without_snippet().to_string())))
        }
    }
}

/// The first line of a message: the others quote the text.
fn plain(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_string()
}

/// Faults of documents as faults of the text they stand in, with their lines.
pub(crate) fn placed(
    text: &str,
    list: bool,
    faults: Vec<(usize, PolicyFault)>,
) -> Vec<PolicyFault> {
    // What was sent as JSON has no lines.
    let lines = (!text.is_empty()).then(|| inventory_file::Lines::of(text));
    let one = |(i, fault): (usize, PolicyFault)| {
        let pointer = if list { format!("/{i}{}", fault.pointer) } else { fault.pointer };
        let line = lines.as_ref().and_then(|lines| lines.at(&pointer));
        PolicyFault { line, pointer, ..fault }
    };
    faults.into_iter().map(one).collect()
}

/// A document as people write it; which revision it is stands elsewhere.
pub(crate) fn yaml(doc: &PolicyDoc) -> String {
    let doc = PolicyDoc { meta: None, ..doc.clone() };
    serde_saphyr::to_string(&doc).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_policy_is_written_as_it_is_read() {
        for doc in defaults::policies() {
            let text = yaml(doc);
            let back = read(&text).unwrap_or_else(|e| panic!("{}: {e:?}\n{text}", doc.policy));
            assert_eq!(back.docs, std::slice::from_ref(doc), "{text}");
        }
    }

    #[test]
    fn a_fault_names_the_line_it_stands_in() {
        let text = "policy: memory-used\nscope: platform\nlevels:\n  critical:\n    fire: high\n";
        let fault = read(text).unwrap_err();
        assert_eq!(fault.line, Some(5), "{fault:?}");
        let unknown = read("policy: a\nscope: platform\nlevel: {}\n").unwrap_err();
        assert!(unknown.line == Some(3) && unknown.detail.contains("level"), "{unknown:?}");
        let text = "# two\n- policy: a\n  scope: platform\n- policy: b\n  scope: platform\n  window:\n    fn: rate\n    range: 1s\n";
        let found = read(text).unwrap();
        assert!(found.list && found.docs.len() == 2);
        let fault = PolicyFault { line: None, pointer: "/window/range".into(), detail: "x".into() };
        let placed = placed(text, true, vec![(1, fault)]);
        assert_eq!((placed[0].line, placed[0].pointer.as_str()), (Some(8), "/1/window/range"));
    }
}
