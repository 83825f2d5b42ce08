//! Lists a server's clients can lengthen, cut to a limit with the rest summed.
//!
//! Invariant: the largest entries stay, so a flood of new names cannot push out what matters; the sum
//! over all label values stays the sum of the list.

use super::VALUES_MAX;
use super::writer::Writer;
use crate::catalog::Family;

/// Label value of the summed rest; a list cut by the parser already ends in an entry of that name.
pub(super) const OVERFLOW: &str = link::reply::info::OVERFLOW;

/// A list with the order in which its entries matter.
pub(super) struct Capped<'a, T> {
    items: &'a [T],
    /// Largest first; empty while all fit.
    order: Vec<u32>,
    limit: usize,
}

impl<'a, T> Capped<'a, T> {
    /// Cuts to the usual limit, one place of which is the rest's.
    pub(super) fn new(items: &'a [T], size: impl Fn(&T) -> f64) -> Capped<'a, T> {
        Capped::at(VALUES_MAX, items, size)
    }

    /// Cuts to `limit` label values.
    pub(super) fn at(limit: usize, items: &'a [T], size: impl Fn(&T) -> f64) -> Capped<'a, T> {
        let mut order: Vec<u32> = Vec::new();
        if items.len() > limit {
            order = (0..items.len() as u32).collect();
            let size = |i: &u32| size(&items[*i as usize]);
            order.sort_unstable_by(|a, b| size(b).total_cmp(&size(a)).then(a.cmp(b)));
        }
        Capped { items, order, limit }
    }

    fn kept(&self) -> usize {
        if self.order.is_empty() { self.items.len() } else { self.limit - 1 }
    }

    fn item(&self, at: usize) -> &'a T {
        self.order
            .get(at)
            .map_or(&self.items[at.min(self.items.len() - 1)], |i| &self.items[*i as usize])
    }

    /// One sample per kept entry, and one for the sum of the rest.
    pub(super) fn write<'t>(
        &self,
        w: &mut Writer,
        family: Family,
        label: &str,
        text: impl Fn(&'a T) -> &'t str,
        value: impl Fn(&T) -> Option<f64>,
    ) where
        'a: 't,
    {
        w.family(family);
        let (mut rest, mut any) = (0.0, false);
        for at in 0..self.items.len() {
            let item = self.item(at);
            let Some(number) = value(item) else { continue };
            let name = text(item);
            if at < self.kept() && name != OVERFLOW {
                w.sample(&[(label, name)], number);
            } else {
                rest += number;
                any = true;
                w.count_dropped_values(1);
            }
        }
        if any {
            w.sample(&[(label, OVERFLOW)], rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Format;

    fn page(items: &[(String, f64)]) -> (String, u32) {
        let mut w = Writer::new(Format::Text, 2000, 0);
        let capped = Capped::new(items, |e| e.1);
        capped.write(&mut w, Family::ErrorsTotal, "err", |e| e.0.as_str(), |e| Some(e.1));
        let page = w.finish();
        (String::from_utf8(page.body).unwrap(), page.dropped_values)
    }

    #[test]
    fn a_flood_of_names_is_summed_and_the_large_ones_stay() {
        let mut items: Vec<_> = (0..500).map(|i| (format!("E{i}"), 1.0)).collect();
        items.push(("OOM".into(), 7.0));
        let (text, dropped) = page(&items);
        assert!(text.contains("redis_errors_total{err=\"OOM\"} 7\n"));
        let samples: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
        assert_eq!(samples.len(), VALUES_MAX);
        let sum: f64 =
            samples.iter().map(|l| l.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
        assert_eq!((sum, dropped), (507.0, 501 - 127));
    }

    #[test]
    fn the_rest_is_one_series_even_when_the_parser_cut_already() {
        let items = vec![("A".to_string(), 1.0), (OVERFLOW.to_string(), 9.0)];
        let (text, _) = page(&items);
        assert_eq!(text.matches(OVERFLOW).count(), 1);
        assert!(text.contains("redis_errors_total{err=\"A\"} 1\n"));
    }
}
