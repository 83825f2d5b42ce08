//! What somebody may have meant who named a thing that is not there.
//!
//! Invariant: pure, and proposes only out of the names it is given: those the asker sees.

/// Names proposed at most: more is a list, and lists have pages of their own.
const NAMES_MAX: usize = 3;
/// Names longer than this are not compared: the work grows with the square.
const LENGTH_MAX: usize = 120;

/// The names most like `wanted`, the nearest first; empty when none is near.
pub fn near<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let wanted = wanted.to_lowercase();
    if wanted.is_empty() || wanted.len() > LENGTH_MAX {
        return Vec::new();
    }
    let mut found: Vec<(usize, &str)> = names
        .filter(|n| n.len() <= LENGTH_MAX)
        .filter_map(|n| Some((distance(&wanted, &n.to_lowercase())?, n)))
        .collect();
    found.sort_unstable();
    found.truncate(NAMES_MAX);
    found.into_iter().map(|(_, n)| n).collect()
}

/// How far `name` is from `wanted`; none when too far to be meant. A name that holds the other
/// (`cart` in `pay.cart`) is near, and so is one a third of whose characters differ.
fn distance(wanted: &str, name: &str) -> Option<usize> {
    let within = name.contains(wanted) || wanted.contains(name);
    let edits = edits(wanted, name);
    let near = within && wanted.len() >= 2 || edits <= (wanted.chars().count() / 3).max(1);
    near.then_some(edits)
}

/// Characters to put in, take out, change, or swap with their neighbour.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first_and_far_ones_not_at_all() {
        let names = ["pay.cart", "pay.card", "pay.queue", "hr.cart", "hr.mail"];
        let found = |wanted: &str| near(wanted, names.into_iter());
        assert_eq!(found("pay.crt"), ["pay.cart", "pay.card"]);
        assert_eq!(found("pya.queue"), ["pay.queue"]);
        assert_eq!(found("cart"), ["hr.cart", "pay.cart"]);
        assert_eq!(found("PAY.QUEUES"), ["pay.queue"]);
        assert_eq!(found("nothing.like.it"), [""; 0]);
        assert_eq!(found(""), [""; 0]);
        assert_eq!(found(&"x".repeat(5_000)), [""; 0]);
    }
}
