//! Scores with other inputs: what a caller sets, checked, and what comes of it.
//!
//! Invariant: an input that is not known, does not apply or belongs to another object is refused with
//! what is allowed; the inputs are those the score in force was made from. Changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::InstanceId;
use model::row::Row;
use model::score::{Explained, Level};
use model::service::{InstanceKind, Mode, Service};
use scorer::{BadOverride, Overrides};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Subject, not_yet};
use crate::api::ask::{Ask, Fail, invalid};
use crate::api::sight::Sight;
use crate::app::App;
use crate::scoring;

/// What parameters that set an input begin with.
const SET: &str = "set.";
/// Instances that may be changed at once: each is scored anew.
const INSTANCES_MAX: usize = 100;

/// Inputs to set, by instance.
#[derive(Debug, Default)]
pub(super) struct Wishes(BTreeMap<InstanceId, Overrides>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    overrides: Map<String, Value>,
}

impl Wishes {
    /// From `set.<input>=`, above the instance `set.<instance>.<input>=`. A field of a form that was
    /// left empty sets nothing.
    pub fn of_query(subject: &Subject, ask: &Ask) -> Result<Wishes, Fail> {
        let mut wanted: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        for (name, text) in &ask.query {
            let Some(rest) = name.strip_prefix(SET) else { continue };
            if text.trim().is_empty() {
                continue;
            }
            let (instance, input) = match rest.rsplit_once('.') {
                Some((instance, input)) => (instance, input),
                None if subject.level == Level::Instance => (subject.id.as_str(), rest),
                None => return Err(no_instance(name)),
            };
            let value = value_of(name, input, text.trim())?;
            wanted.entry(instance.to_owned()).or_default().insert(input.to_owned(), value);
        }
        Wishes::of(subject, wanted.into_iter().map(|(id, map)| (id, Value::Object(map))))
    }

    /// From `{overrides: {<input>: …}}`, above the instance `{overrides: {<instance>: {<input>: …}}}`.
    pub fn of_body(subject: &Subject, ask: &Ask) -> Result<Wishes, Fail> {
        let Body { overrides } = ask.json()?;
        if subject.level == Level::Instance {
            let own = [(subject.id.clone(), Value::Object(overrides))];
            return Wishes::of(subject, own.into_iter());
        }
        Wishes::of(subject, overrides.into_iter())
    }

    fn of(
        subject: &Subject,
        wanted: impl Iterator<Item = (String, Value)>,
    ) -> Result<Wishes, Fail> {
        let mut wishes = Wishes::default();
        for (instance, inputs) in wanted {
            let at = match subject.level {
                Level::Instance => "/overrides".to_owned(),
                _ => format!("/overrides/{instance}"),
            };
            let id: InstanceId = match instance.parse() {
                Ok(id) if subject.level != Level::Instance || instance == subject.id => id,
                _ => return Err(invalid(&at, format!("{instance:?} is not one of its instances"))),
            };
            // The error names the input and those that are allowed.
            let overrides: Overrides =
                serde_json::from_value(inputs).map_err(|e| invalid(&at, e.to_string()))?;
            if !overrides.is_empty() {
                wishes.0.insert(id, overrides);
            }
        }
        if wishes.0.len() > INSTANCES_MAX {
            let said = format!("at most {INSTANCES_MAX} instances can be changed at once");
            return Err(invalid("/overrides", said));
        }
        Ok(wishes)
    }

    /// One instance's.
    pub fn one(id: InstanceId, overrides: Overrides) -> Wishes {
        Wishes(BTreeMap::from([(id, overrides)]))
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What an input of an instance is set to.
    pub fn set(&self, instance: &InstanceId, input: &str) -> Option<f64> {
        serde_json::to_value(self.0.get(instance)?).ok()?.get(input)?.as_f64()
    }

    /// As the body of the API would have them.
    pub fn to_json(&self, subject: &Subject) -> Value {
        let own = subject.level == Level::Instance;
        match self.0.first_key_value() {
            Some((_, overrides)) if own => json!(overrides),
            _ => json!(self.0),
        }
    }
}

fn no_instance(parameter: &str) -> Fail {
    let shown: String = parameter.chars().take(60).collect();
    let said = format!("{shown}: above the instance write set.<instance>.<input>");
    invalid(&format!("/{shown}"), said)
}

fn value_of(parameter: &str, input: &str, text: &str) -> Result<Value, Fail> {
    if input == "gates_cleared" {
        return Ok(text.split(',').map(|g| g.trim().to_owned()).collect());
    }
    // Counts are whole numbers, also when they are written as 2.0 or 1e4.
    let whole = |x: &f64| x.fract() == 0.0 && (0.0..9e15).contains(x);
    let number = text.parse::<f64>().ok().map(|x| match whole(&x) {
        true => Value::from(x as u64),
        false => Value::from(x),
    });
    number.filter(Value::is_number).ok_or_else(|| {
        let (shown, text): (String, String) =
            (parameter.chars().take(120).collect(), text.chars().take(40).collect());
        invalid(&format!("/{shown}"), format!("{shown}={text:?}: expected a number"))
    })
}

/// The score of `subject` with what is wished.
pub(super) fn evaluate(
    app: &App,
    sight: &Sight<'_>,
    subject: &Subject,
    wishes: &Wishes,
) -> Result<Explained, Fail> {
    let mut changed: BTreeMap<&InstanceId, Arc<Explained>> = BTreeMap::new();
    for (id, overrides) in &wishes.0 {
        if !subject.holds(sight, id) {
            let said = format!("{id} is not an instance of {}", subject.id);
            return Err(invalid(&format!("/overrides/{id}"), said));
        }
        let explained = instance(app, sight, id, overrides)?;
        changed.insert(id, Arc::new(explained));
    }
    if subject.level == Level::Instance {
        let own = changed.into_values().next();
        return own.map(|e| Explained::clone(&e)).ok_or_else(|| not_yet(&subject.id));
    }
    let mut services: Vec<&Service> =
        wishes.0.keys().filter_map(|id| sight.inventory.services.get(&id.service())).collect();
    services.dedup_by(|a, b| a.id == b.id);
    let rows = rows(sight, &services, &changed);
    let as_is = |level: Level, id: &str| sight.rolled(level, id);
    let policies = app.policies.load();
    let path =
        scorer::rollup_path(&sight.inventory, &policies, &services, &rows, &as_is, sight.now);
    let levels = path.levels;
    let found = levels.get(subject.level, &subject.id);
    found.map(|e| Explained::clone(e)).ok_or_else(|| not_yet(&subject.id))
}

/// One instance with its overrides.
fn instance(
    app: &App,
    sight: &Sight<'_>,
    id: &InstanceId,
    overrides: &Overrides,
) -> Result<Explained, Fail> {
    let judged = app.watching.desks.of(id).and_then(|desk| desk.judged());
    let judged = judged.ok_or_else(|| not_yet(id.as_str()))?;
    overrides.check(&judged.inputs).map_err(|e: BadOverride| {
        invalid(&format!("/overrides/{}", e.input), format!("{id}: {e}"))
    })?;
    let service = sight.service(id.service().as_str())?;
    let policy = scoring::policy(app, service);
    Ok(scorer::whatif(&judged.inputs, overrides, &policy, id, judged.at))
}

/// All rows of the services and of the Sentinels that may watch them, the changed ones with their new
/// score.
fn rows(
    sight: &Sight<'_>,
    services: &[&Service],
    changed: &BTreeMap<&InstanceId, Arc<Explained>>,
) -> Vec<Arc<Row>> {
    let watched = services.iter().any(|s| s.mode == Mode::Sentinel);
    let watchers =
        sight.inventory.services.values().filter(|s| watched && s.mode == Mode::Sentinels);
    let all = services.iter().copied().chain(watchers);
    let rows = all.flat_map(|s| sight.inventory.of_service(&s.id)).filter_map(|i| sight.row(&i.id));
    let with_change = |row: Arc<Row>| match changed.get(&row.instance.id) {
        Some(score) if row.instance.kind == InstanceKind::Redis => {
            Arc::new(Row { score: Some(score.clone()), ..Row::clone(&row) })
        }
        _ => row,
    };
    rows.map(with_change).collect()
}
