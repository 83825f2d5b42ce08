//! Votes over three zones: what is left when the fullest is gone.
//!
//! Invariant: the formula is checked against every possible placement by a test.

/// Zones of a site.
pub const ZONES: usize = 3;

/// Votes that decide, of `voters`.
pub fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// Whether `voters` can be placed over three zones so that any one may go: exactly for 3, and from 5.
pub fn survives_a_zone(voters: usize) -> bool {
    voters >= majority(voters) + voters.div_ceil(ZONES)
}

/// Whether these votes per zone keep their majority when the fullest zone goes.
pub fn holds<'a>(per_zone: impl IntoIterator<Item = &'a usize>) -> bool {
    let (mut all, mut most) = (0, 0);
    for n in per_zone {
        all += n;
        most = most.max(*n);
    }
    all - most >= majority(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_says_what_trying_every_placement_says() {
        for voters in 1..=199usize {
            let mut found = false;
            for a in 0..=voters {
                for b in 0..=voters - a {
                    found |= holds(&[a, b, voters - a - b]);
                }
            }
            assert_eq!(survives_a_zone(voters), found, "{voters} voters");
            assert_eq!(found, voters == 3 || voters >= 5, "{voters} voters");
        }
    }
}
