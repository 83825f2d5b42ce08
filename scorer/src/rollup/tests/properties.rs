//! What must hold for any fleet.

use proptest::prelude::*;

use super::*;
use crate::grade::SLACK_ROLLUP;

fn fleet() -> impl Strategy<Value = Vec<(u8, u8, Vec<Option<u8>>)>> {
    let node = prop_oneof![8 => (0..=100u8).prop_map(Some), 1 => Just(None), 2 => Just(Some(100))];
    let service = (0..4u8, 0..4u8, proptest::collection::vec(node, 1..4));
    proptest::collection::vec(service, 1..8)
}

fn grow(services: &[(u8, u8, Vec<Option<u8>>)]) -> Tree {
    const TIERS: [Tier; 4] = [Tier::Core, Tier::Important, Tier::General, Tier::Test];
    let mut tree = Tree::default();
    for (i, (tier, system, nodes)) in services.iter().enumerate() {
        let (id, replicas) = (format!("t{}.s{i}", system / 2), nodes.len() as u32 - 1);
        let system = format!("t{}.y{system}", system / 2);
        let tier = TIERS[usize::from(*tier)];
        tree.service(service(&id, &system, tier, Mode::Standalone, replicas));
        for (n, score) in nodes.iter().enumerate() {
            let role = if n == 0 { Role::Master } else { Role::Replica };
            let address = format!("10.0.0.{}:6379", n + 1);
            tree.node(instance(&id, &address, "az-1", 0), role, score.map(f64::from));
        }
    }
    tree
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn at_every_level_bars_add_up_and_a_worse_instance_never_helps(
        services in fleet(), which in any::<proptest::sample::Index>(), less in 1..=100u8,
    ) {
        let before = grow(&services).rollup();
        let mut worse = services.clone();
        let i = which.index(worse.len());
        let n = usize::from(less) % worse[i].2.len();
        worse[i].2[n] = worse[i].2[n].map(|s| s.saturating_sub(less));
        let after = grow(&worse).rollup();
        // Worsening may take the last sight of a master away: unknown, not better, and said so.
        let seen = |b: &Arc<Explained>| b.score.is_none() || like(&after, b).score.is_some();
        prop_assume!(before.levels.iter().all(seen));
        for new in after.levels.iter() {
            let key = (new.level, &new.id);
            if let Some(score) = new.score {
                prop_assert!((0.0..=100.0).contains(&score));
                prop_assert_eq!(sum(new), 10_000, "{:?}", key);
                for gate in new.gates.iter().filter(|g| g.holds) {
                    prop_assert!(score <= gate.cap, "{:?}: {} above {}", key, score, gate.gate);
                }
                if let Some(old) = like(&before, new).score {
                    prop_assert!(score <= old, "{:?}: {} after {}", key, score, old);
                }
            }
        }
    }

    #[test]
    fn the_path_above_changed_rows_is_what_rolling_everything_up_gives(
        services in fleet(), which in any::<proptest::sample::Index>(), node in 0..3usize,
        score in 0..=100u8,
    ) {
        let before = grow(&services);
        let published = before.rollup();
        let mut changed = services.clone();
        let i = which.index(services.len());
        let n = node % changed[i].2.len();
        changed[i].2[n] = Some(score);
        let after = grow(&changed);
        let service = after.inventory.services.values()
            .find(|s| s.id.as_str().ends_with(&format!(".s{i}"))).unwrap();
        let mine = after.rows.iter().filter(|r| r.instance.id.service() == service.id);
        let rows: Vec<Arc<Row>> = mine.cloned().collect();
        let as_is = |level: Level, id: &str| published.levels.get(level, id).cloned();
        let path = rollup_path(&after.inventory, &Policies::default(), &[service], &rows, &as_is, T0);
        let whole = after.rollup();
        prop_assert_eq!(path.levels.len(), 4, "its shard, itself, its system and its tenant");
        for explained in path.levels.iter() {
            prop_assert_eq!(&**explained, like(&whole, explained));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn an_instance_out_of_sight_never_raises_coverage_confidence_or_a_grade(
        services in fleet(), which in any::<proptest::sample::Index>(), node in 0..3usize,
    ) {
        let tree = grow(&services);
        let mut memory = RollupMemory::default();
        let mut step = |tree: &Tree, at| {
            rollup(&tree.inventory, &Policies::default(), &tree.rows, &mut memory, at)
        };
        let before = step(&tree, T0);
        let mut blind = services.clone();
        let i = which.index(blind.len());
        let n = node % blind[i].2.len();
        blind[i].2[n] = None;
        let blind = grow(&blind);
        let late = step(&blind, T0 + 15_000);
        let after = step(&blind, T0 + 600_000);
        for new in late.levels.iter().chain(after.levels.iter()) {
            let old = like(&before, new);
            let key = (new.level, &new.id);
            prop_assert!(new.coverage <= old.coverage, "{:?}: {:?} after {:?}", key, new.coverage,
                old.coverage);
            prop_assert!(new.confidence <= old.confidence + 1e-9, "{:?}", key);
            // What is less than the drift of a large roll-up counts as no loss of sight.
            let drift = old.coverage.zip(new.coverage).is_some_and(|(o, n)| o - n <= SLACK_ROLLUP);
            prop_assert!(drift || old.grade == Grade::Unknown
                || new.grade.number() <= old.grade.number(),
                "{:?}: {:?} after {:?}", key, new.grade, old.grade);
        }
    }
}
