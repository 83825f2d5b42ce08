//! What a policy judges. Written flat: the key that is there says which form it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::item::ItemName;
use crate::score::Level;
use crate::service::word;

/// What a policy judges.
#[derive(Debug, Clone, PartialEq)]
pub enum SignalRef {
    /// A series of the instance by its Prometheus name, perhaps divided by another
    /// (missing when that is 0).
    Metric {
        /// The first of these that is there.
        names: Vec<String>,
        /// Divided by the first of these that is there.
        over: Vec<String>,
        /// Only sub-series with these labels.
        pick: BTreeMap<String, String>,
        /// Labels folded away; of what they told apart the largest counts.
        without: Vec<String>,
    },
    /// A health score, or one dimension's points lost.
    Score {
        /// `score`, `availability`, `memory`, `connections`, `slowlog`.
        of: String,
        /// Whose.
        level: Level,
    },
    /// A custom item of the instance by its name; each of its series is judged.
    Item(ItemName),
    /// What the inventory and all readings together tell.
    Fact {
        /// Which.
        fact: Fact,
        /// Divided by.
        over: Option<Fact>,
    },
    /// Many instances' latest values as one.
    Aggregate(Aggregate),
    /// PromQL: of that what one instance's series decide.
    Expr(String),
}

impl SignalRef {
    /// One series as it is.
    pub fn metric(name: &str) -> SignalRef {
        SignalRef::Metric {
            names: vec![name.into()],
            over: Vec::new(),
            pick: BTreeMap::new(),
            without: Vec::new(),
        }
    }
}

word! {
    /// What the inventory and all readings together tell.
    Fact {
        /// 1 for an instance of the inventory that was not polled for 5 minutes.
        #[default]
        ExpectedWithoutReading = "expected_without_reading",
        /// 1 for an instance of the inventory whose latest poll failed, or that has none.
        Unanswered = "unanswered",
        /// Instances of a service that are masters.
        MastersSeen = "masters_seen",
        /// Masters a service should have.
        MastersExpected = "masters_expected",
        /// Replicas a master should have.
        ReplicasExpected = "replicas_expected",
        /// Largest share of a service's nodes in one zone; of services that must survive a zone.
        ZoneShare = "zone_share",
        /// 1 per parameter whose running value differs from the wished one.
        ConfigDrift = "config_drift",
        /// Evaluations of a policy that failed since the last look, per policy.
        EvaluationErrors = "evaluation_errors",
    }
}

word! {
    /// How many values become one.
    Fold {
        /// Sum.
        #[default]
        Sum = "sum",
        /// Largest.
        Max = "max",
        /// Smallest.
        Min = "min",
        /// Mean.
        Avg = "avg",
        /// How many there are.
        Count = "count",
    }
}

word! {
    /// What instances are put together by.
    By {
        /// Master and its replicas.
        Shard = "shard",
        /// Deployment.
        #[default]
        Service = "service",
        /// Business system.
        System = "system",
        /// Availability zone, over all tenants.
        Zone = "zone",
        /// Tenant.
        Tenant = "tenant",
    }
}

/// Many instances' latest values as one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// The signal of each instance; its sub-series are folded to the largest.
    pub of: Box<SignalRef>,
    /// How they become one.
    pub op: Fold,
    /// What instances are put together by.
    pub by: By,
    /// Fewer values than this are too few to say anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<u32>,
}

/// The written form.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Flat {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metric: Option<Names>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    score: Option<ScoreName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    level: Option<Level>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    item: Option<ItemName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fact: Option<Fact>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aggregate: Option<Aggregate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expr: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    over: Option<Names>,
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pick: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    without: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Many(Vec<String>),
    /// As documents before the flat form had it; still read, never written.
    Nested {
        name: String,
        #[serde(default)]
        over: Option<String>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ScoreName {
    Plain(String),
    /// As documents before the flat form had it; still read, never written.
    Nested {
        of: String,
    },
}

impl Names {
    fn list(self) -> Vec<String> {
        match self {
            Names::One(name) | Names::Nested { name, .. } => vec![name],
            Names::Many(names) => names,
        }
    }

    fn written(names: &[String]) -> Option<Names> {
        match names {
            [] => None,
            [one] => Some(Names::One(one.clone())),
            many => Some(Names::Many(many.to_vec())),
        }
    }
}

const FORMS: &str = "expected exactly one of metric, score, item, fact, aggregate, expr";

impl TryFrom<Flat> for SignalRef {
    type Error = String;
    fn try_from(mut flat: Flat) -> Result<SignalRef, String> {
        let level = flat.level.take();
        let over = flat.over.take();
        let (pick, without) = (std::mem::take(&mut flat.pick), std::mem::take(&mut flat.without));
        let alone = |what: &str| -> Result<(), String> {
            match () {
                () if over.is_some() => Err(format!("over goes with metric or fact, not {what}")),
                () if !pick.is_empty() => Err(format!("where goes with metric, not {what}")),
                () if !without.is_empty() => Err(format!("without goes with metric, not {what}")),
                () => Ok(()),
            }
        };
        if level.is_some() && flat.score.is_none() {
            return Err("level goes with score".into());
        }
        match (flat.metric, flat.score, flat.item, flat.fact, flat.aggregate, flat.expr) {
            (Some(Names::Nested { name, over: inner }), None, None, None, None, None) => {
                alone("the nested form")?;
                let over = inner.into_iter().collect();
                Ok(SignalRef::Metric { names: vec![name], over, pick, without })
            }
            (Some(names), None, None, None, None, None) => {
                let over = over.map(Names::list).unwrap_or_default();
                Ok(SignalRef::Metric { names: names.list(), over, pick, without })
            }
            (None, Some(name), None, None, None, None) => {
                alone("score")?;
                let (ScoreName::Plain(of) | ScoreName::Nested { of }) = name;
                Ok(SignalRef::Score { of, level: level.unwrap_or_default() })
            }
            (None, None, Some(item), None, None, None) => {
                alone("item").map(|()| SignalRef::Item(item))
            }
            (None, None, None, Some(fact), None, None) => {
                let over = match over.map(Names::list).as_deref() {
                    None => None,
                    Some([one]) => {
                        Some(Fact::parse(one).ok_or_else(|| format!("over {one:?} is no fact"))?)
                    }
                    Some(_) => return Err("over of a fact is one fact".into()),
                };
                Ok(SignalRef::Fact { fact, over })
            }
            (None, None, None, None, Some(aggregate), None) => {
                alone("aggregate").map(|()| SignalRef::Aggregate(aggregate))
            }
            (None, None, None, None, None, Some(expr)) => {
                alone("expr").map(|()| SignalRef::Expr(expr))
            }
            _ => Err(FORMS.into()),
        }
    }
}

impl Serialize for SignalRef {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut flat = Flat::default();
        match self {
            SignalRef::Metric { names, over, pick, without } => {
                flat.metric = Names::written(names);
                flat.over = Names::written(over);
                (flat.pick, flat.without) = (pick.clone(), without.clone());
            }
            SignalRef::Score { of, level } => {
                flat.score = Some(ScoreName::Plain(of.clone()));
                flat.level = (*level != Level::Instance).then_some(*level);
            }
            SignalRef::Item(item) => flat.item = Some(*item),
            SignalRef::Fact { fact, over } => {
                flat.fact = Some(*fact);
                flat.over = over.map(|fact| Names::One(fact.as_str().into()));
            }
            SignalRef::Aggregate(aggregate) => flat.aggregate = Some(aggregate.clone()),
            SignalRef::Expr(expr) => flat.expr = Some(expr.clone()),
        }
        flat.serialize(s)
    }
}

impl<'de> Deserialize<'de> for SignalRef {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<SignalRef, D::Error> {
        SignalRef::try_from(Flat::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<SignalRef, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn every_form_is_written_as_it_is_read() {
        for json in [
            r#"{"metric":"redis_up"}"#,
            r#"{"metric":["a","b"],"over":"c","where":{"err":"OOM"},"without":["x"]}"#,
            r#"{"score":"memory"}"#,
            r#"{"score":"score","level":"service"}"#,
            r#"{"item":"queue"}"#,
            r#"{"fact":"masters_seen","over":"masters_expected"}"#,
            r#"{"aggregate":{"of":{"fact":"unanswered"},"op":"avg","by":"zone","at_least":5}}"#,
            r#"{"expr":"a > b"}"#,
        ] {
            assert_eq!(serde_json::to_string(&read(json).unwrap()).unwrap(), json);
        }
    }

    #[test]
    fn a_document_in_the_older_nested_form_is_still_read() {
        let nested = read(r#"{"metric":{"name":"a","over":"b"}}"#).unwrap();
        assert_eq!(nested, read(r#"{"metric":"a","over":"b"}"#).unwrap());
        assert_eq!(read(r#"{"score":{"of":"memory"}}"#), read(r#"{"score":"memory"}"#));
    }

    #[test]
    fn a_signal_that_is_nothing_or_two_things_is_refused() {
        for (json, said) in [
            ("{}", FORMS),
            (r#"{"metric":"a","item":"b"}"#, FORMS),
            (r#"{"expr":"a","over":"b"}"#, "over goes with"),
            (r#"{"item":"a","where":{"x":"y"}}"#, "where goes with"),
            (r#"{"metric":"a","level":"service"}"#, "level goes with score"),
            (r#"{"fact":"masters_seen","over":"b"}"#, "no fact"),
            (r#"{"metrc":"a"}"#, "unknown field"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(said), "{json}: {error}");
        }
    }
}
