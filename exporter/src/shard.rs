//! A part of the fleet, for several Prometheus servers: `?shard=i/n`.
//!
//! Invariant: each id belongs to exactly one of the n parts, the same one on every page.

/// Parts at most: of the largest fleet each would still hold ten instances.
const PARTS_MAX: u32 = 1_000;

/// Part `index` (from 0) of `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// Part `index` of `count`; none unless index < count and count is at most 1000.
    pub fn new(index: u32, count: u32) -> Option<Shard> {
        (index < count && count <= PARTS_MAX).then_some(Shard { index, count })
    }

    /// Reads `i/n` with i from 0 to n-1.
    pub fn parse(text: &str) -> Option<Shard> {
        let (index, count) = text.split_once('/')?;
        Shard::new(index.parse().ok()?, count.parse().ok()?)
    }

    /// Whether `id` belongs to this part.
    pub fn holds(self, id: &str) -> bool {
        let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        (hash ^ (hash >> 32)) % u64::from(self.count) == u64::from(self.index)
    }

    /// Whether this part shows what belongs to no object: counts over the whole fleet.
    pub fn is_first(self) -> bool {
        self.index == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_in_exactly_one_part() {
        for n in 1..6 {
            let parts: Vec<Shard> = (0..n).filter_map(|i| Shard::new(i, n)).collect();
            for i in 0..200 {
                let id = format!("pay.cart@10.0.0.{i}:6379");
                assert_eq!(parts.iter().filter(|p| p.holds(&id)).count(), 1);
            }
        }
    }

    #[test]
    fn nonsense_is_no_shard() {
        for bad in ["", "1", "1/1", "2/2", "0/0", "-1/2", "a/b", "0/2/3", "0/1001"] {
            assert_eq!(Shard::parse(bad), None, "{bad}");
        }
        assert_eq!(Shard::parse("1/2"), Shard::new(1, 2));
    }
}
