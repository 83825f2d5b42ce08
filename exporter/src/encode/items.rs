//! Custom items: on the fleet's page a series per value, and a reason where one is missing; on an
//! instance's page, when asked for, under the names redis_exporter has for the same.
//!
//! Invariant: label names were checked when the item was defined and clash with none of the
//! object's; a value that is not known is absent, never zero.

use model::item::ItemReading;

use super::VALUES_MAX;
use super::writer::Writer;
use crate::catalog::Family;

/// Families of redis_exporter that items fill.
const PEERS: [Family; 15] = [
    Family::KeySize,
    Family::KeyValue,
    Family::KeyMemory,
    Family::KeysCount,
    Family::StreamLength,
    Family::StreamRadixKeys,
    Family::StreamRadixNodes,
    Family::StreamGroups,
    Family::StreamAdded,
    Family::GroupConsumers,
    Family::GroupPending,
    Family::GroupLag,
    Family::GroupRead,
    Family::ConsumerPending,
    Family::ConsumerIdle,
];

/// One instance: its rendered labels, its items.
pub(super) type Of<'a> = (&'a [u8], &'a [ItemReading]);

/// Writes both families.
pub(super) fn write(w: &mut Writer, all: &[Of<'_>]) {
    w.family(Family::ItemValue);
    for (labels, items) in all {
        for item in *items {
            for series in &item.series {
                let mut own: Vec<(&str, &str)> = vec![("item", item.name.as_str())];
                own.extend(series.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
                w.sample_with(labels, &own, series.value);
            }
        }
    }
    w.family(Family::ItemError);
    for (labels, items) in all {
        for item in *items {
            if let Some(fault) = item.fault {
                let own = [("item", item.name.as_str()), ("reason", fault.as_str())];
                w.sample_with(labels, &own, 1.0);
            }
        }
    }
}

/// Writes what redis_exporter shows too, under its names. Two items that read the same are one series.
pub(super) fn as_peer(w: &mut Writer, items: &[ItemReading]) {
    for family in PEERS {
        let name = family.metric().name;
        let of = items.iter().filter_map(|item| Some((item, item.peer.as_deref()?)));
        let mut shown: Vec<(Vec<(&str, &str)>, f64)> = Vec::new();
        for (item, peer) in of.filter(|(_, peer)| peer.metric == name) {
            for series in &item.series {
                let mut labels: Vec<(&str, &str)> =
                    peer.labels.iter().map(|(n, v)| (*n, v.as_str())).collect();
                if let Some((theirs, ours)) = &peer.taken {
                    let taken = series.labels.iter().find(|(name, _)| name == ours);
                    labels.push((theirs, taken.map_or("", |(_, value)| value)));
                }
                match shown.iter().any(|(known, _)| *known == labels) || shown.len() >= VALUES_MAX {
                    true => w.count_dropped_values(1),
                    false => shown.push((labels, series.value * peer.scale)),
                }
            }
        }
        w.family(family);
        for (labels, value) in shown {
            w.sample(&labels, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::At;
    use std::sync::Arc;

    use model::item::{ItemFault, ItemName, ItemSeries, PeerSeries};

    use super::*;
    use crate::encode::Format;

    #[test]
    fn an_item_shows_its_values_and_says_why_one_is_missing() {
        let name = |n: &str| ItemName::parse(n).unwrap();
        let tags = vec![("group".to_string(), "a\"b".to_string())];
        let items = [
            ItemReading {
                name: name("lag"),
                at: At::EPOCH,
                series: vec![ItemSeries::new(tags, 7.0)],
                fault: None,
                peer: None,
            },
            ItemReading {
                name: name("gone"),
                at: At::EPOCH,
                series: vec![],
                fault: Some(ItemFault::WrongType),
                peer: None,
            },
        ];
        let mut w = Writer::new(Format::Text, 100, 0);
        write(&mut w, &[(b"tenant=\"pay\"", &items)]);
        let page = String::from_utf8(w.finish().body).unwrap();
        let samples: Vec<&str> = page.lines().filter(|l| !l.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                r#"cachewarden_item_value{tenant="pay",item="lag",group="a\"b"} 7"#,
                r#"cachewarden_item_error{tenant="pay",item="gone",reason="wrong_type"} 1"#,
            ]
        );
    }

    #[test]
    fn an_item_has_the_name_redis_exporter_gives_it_and_two_alike_are_one_series() {
        let peer = Arc::new(PeerSeries {
            metric: "redis_stream_group_consumer_idle_seconds",
            labels: vec![("db", "db0".into()), ("stream", "s".into()), ("group", "g".into())],
            taken: Some(("consumer", "who".into())),
            scale: 1e-3,
        });
        let reading = |name: &str| ItemReading {
            name: ItemName::parse(name).unwrap(),
            at: At::EPOCH,
            series: vec![ItemSeries::new(vec![("who".into(), "a".into())], 1500.0)],
            fault: None,
            peer: Some(peer.clone()),
        };
        let mut w = Writer::new(Format::Text, 100, 0);
        as_peer(&mut w, &[reading("idle"), reading("idle-too")]);
        let page = w.finish();
        let text = String::from_utf8(page.body).unwrap();
        let samples: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
        let series = "redis_stream_group_consumer_idle_seconds\
                      {db=\"db0\",stream=\"s\",group=\"g\",consumer=\"a\"} 1.5";
        assert_eq!((samples, page.dropped_values), (vec![series], 1));
    }
}
