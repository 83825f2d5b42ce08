//! Custom items on the fleet's page: a series per value, and a reason where one is missing.
//!
//! Invariant: label names were checked when the item was defined and clash with none of the
//! object's; a value that is not known is absent, never zero.

use model::item::ItemReading;

use super::writer::Writer;
use crate::catalog::Family;

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

#[cfg(test)]
mod tests {
    use model::At;
    use model::item::{ItemFault, ItemName, ItemSeries};

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
            },
            ItemReading {
                name: name("gone"),
                at: At::EPOCH,
                series: vec![],
                fault: Some(ItemFault::WrongType),
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
}
