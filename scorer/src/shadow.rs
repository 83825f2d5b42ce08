//! Shadow scoring: what another policy would have made of the same moments.
//!
//! Invariant: `explain` and the roll-up of the live score answer, once with each policy, from the same
//! inputs, so the difference is the policy's alone. Grades are plain bands: stickiness is a matter of
//! watching. Refuses to know where moments come from and what changed in the document.

use std::sync::Arc;

use model::At;
use model::inventory::Inventory;
use model::row::Row;
use model::score::{Explained, Grade};
use model::score_policy::ShadowLine;
use model::service::Service;

use crate::explain::explain;
use crate::grade::{Sticky, band};
use crate::inputs::{Inputs, Seen};
use crate::policy::{Policies, Policy};
use crate::rollup;

/// A process at one moment: a node with what its score is made from, or a Sentinel without. The row
/// stands for the instance, and for what the roll-up reads of servers.
pub type Member = (Arc<Row>, Option<Arc<Inputs>>);

/// The processes of a service at one moment: its nodes, and the Sentinels that watch it.
#[derive(Debug, Clone)]
pub struct Scene {
    /// When.
    pub at: At,
    /// All of them.
    pub members: Vec<Member>,
}

/// Compares two policies of a service over moments, the present one first.
pub fn shadow(
    service: &Service,
    scenes: &[Scene],
    before: &Arc<Policy>,
    after: &Arc<Policy>,
) -> ShadowLine {
    let (old, new) = (Policies::one(service, before), Policies::one(service, after));
    let outcomes: Vec<(Arc<Explained>, Arc<Explained>)> = scenes
        .iter()
        .map(|scene| (play(service, scene, &old, before), play(service, scene, &new, after)))
        .collect();
    let old: Vec<Option<f64>> = outcomes.iter().map(|both| both.0.score).collect();
    let new: Vec<Option<f64>> = outcomes.iter().map(|both| both.1.score).collect();
    let compared: Vec<(f64, f64)> =
        old.iter().zip(&new).filter_map(|(old, new)| Some(((*old)?, (*new)?))).collect();
    let moved = compared.iter().filter(|(old, new)| band(*old) != band(*new)).count();
    let grade = |score: Option<f64>| score.map_or(Grade::Unknown, band);
    let (now_before, now_after) = (old.first().copied().flatten(), new.first().copied().flatten());
    ShadowLine {
        service: service.id.to_string(),
        score_before: now_before,
        score_after: now_after,
        grade_before: grade(now_before),
        grade_after: grade(now_after),
        mean_before: mean(&compared, |both| both.0),
        mean_after: mean(&compared, |both| both.1),
        lowest_before: lowest(&compared, |both| both.0),
        lowest_after: lowest(&compared, |both| both.1),
        moved: if compared.is_empty() { 0.0 } else { moved as f64 / compared.len() as f64 },
        moments: compared.len() as u32,
        cause: outcomes.first().map_or_else(String::new, |o| rollup::cause(&o.1).to_owned()),
    }
}

fn mean(compared: &[(f64, f64)], pick: fn(&(f64, f64)) -> f64) -> Option<f64> {
    let sum: f64 = compared.iter().map(pick).sum();
    let mean = sum / compared.len() as f64;
    (!compared.is_empty()).then(|| (mean * 100.0).round() / 100.0)
}

fn lowest(compared: &[(f64, f64)], pick: fn(&(f64, f64)) -> f64) -> Option<f64> {
    compared.iter().map(pick).min_by(f64::total_cmp)
}

/// The score of a service at a moment.
fn play(service: &Service, scene: &Scene, policies: &Policies, policy: &Policy) -> Arc<Explained> {
    let rows: Vec<Arc<Row>> = scene
        .members
        .iter()
        .map(|(row, inputs)| match inputs {
            Some(inputs) => Arc::new(judged(service, row, inputs, policy, scene.at)),
            None => row.clone(),
        })
        .collect();
    let mut part = Inventory::default();
    part.services.insert(service.id.clone(), service.clone());
    for row in &rows {
        part.instances.insert(row.instance.id.clone(), (*row.instance).clone());
    }
    rollup::of_service(&part, policies, &rows, service, scene.at)
}

/// A row as it would have been with that policy.
fn judged(service: &Service, row: &Row, inputs: &Inputs, policy: &Policy, at: At) -> Row {
    let inputs = required(inputs, policy.replicas.unwrap_or(service.replicas_wanted));
    let id = &row.instance.id;
    let score = explain(&inputs, policy, id, &mut Sticky::default(), at);
    let mut row = Row { verdict: inputs.verdict, score: Some(Arc::new(score)), ..row.clone() };
    // Who was master is told by the moment, not by the present reading.
    for reading in [Some(&mut row.reading), row.last_good.as_mut()].into_iter().flatten() {
        if reading.facts.role != inputs.role && inputs.role.is_some() {
            Arc::make_mut(reading).facts.role = inputs.role;
        }
    }
    row
}

/// Inputs as the server makes them when that many replicas are required.
fn required(inputs: &Inputs, replicas: u32) -> Inputs {
    let mut inputs = inputs.clone();
    let is_master = inputs.role == Some(model::reading::Role::Master);
    inputs.replicas_required = match inputs.replicas_required {
        Seen::Known(_) | Seen::NotApplicable(_) if is_master => match replicas {
            0 => Seen::NotApplicable("no replicas required"),
            n => Seen::Known(n),
        },
        seen => seen,
    };
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{T0, healthy, instance, row, service};
    use model::reading::Role;
    use model::service::{Mode, Profile, Tier};

    fn scene(at: At, used: f64) -> Scene {
        let node = instance("pay.cart", "10.0.0.1:6379", "az-1", 0);
        let mut inputs = healthy();
        inputs.replicas_required = Seen::NotApplicable("no replicas required");
        inputs.used_memory_bytes = Seen::Known(used);
        let row = row(&node, Role::Master, Some(100.0));
        Scene { at, members: vec![(Arc::new(row), Some(Arc::new(inputs)))] }
    }

    fn strict() -> Arc<Policy> {
        let mut policy = Policy::for_profile(Profile::Store);
        let knots = vec![(0.7, 0.0), (0.8, 25.0), (0.9, 70.0), (0.95, 90.0), (1.0, 100.0)];
        policy.set_curve(crate::Signal::M1, knots).unwrap();
        Arc::new(policy)
    }

    #[test]
    fn the_same_moments_are_scored_with_both_policies() {
        let cart = service("pay.cart", "pay.shop", Tier::Core, Mode::Standalone, 0);
        let scenes = [scene(T0, 8.8e9), scene(T0 - 60_000, 1e9), scene(T0 - 120_000, 9.0e9)];
        let usual = Arc::new(Policy::for_profile(Profile::Store));
        let line = shadow(&cart, &scenes, &usual, &strict());
        // 88 %: 52 or 61 points of loss by 0.25; 10 %: none; 90 %: 60 or 70.
        assert_eq!((line.score_before, line.score_after), (Some(87.0), Some(84.75)));
        assert_eq!((line.grade_before, line.grade_after), (Grade::B, Grade::B));
        assert_eq!((line.lowest_before, line.lowest_after), (Some(85.0), Some(82.5)));
        assert_eq!((line.mean_before, line.mean_after), (Some(90.67), Some(89.08)));
        assert_eq!((line.moments, line.moved), (3, 0.0));
        assert!(line.cause.contains("88 % of maxmemory"), "{}", line.cause);
        let same = shadow(&cart, &scenes, &usual, &usual);
        assert_eq!((same.score_before, same.mean_before), (same.score_after, same.mean_after));
    }

    #[test]
    fn a_required_replica_that_does_not_exist_costs_the_master_and_the_shard() {
        let cart = service("pay.cart", "pay.shop", Tier::Core, Mode::Standalone, 0);
        let mut one = scene(T0, 1e9);
        let inputs = Arc::make_mut(one.members[0].1.as_mut().unwrap());
        inputs.replicas_healthy = Seen::Known(0);
        let usual = Arc::new(Policy::for_profile(Profile::Store));
        let mut wants = (*usual).clone();
        wants.replicas = Some(1);
        let wants = Arc::new(wants);
        let line = shadow(&cart, &[one], &usual, &wants);
        assert_eq!(line.score_before, Some(100.0));
        // The master loses 70 × 0.40, the missing replica 15 points, and then the gate caps at 69.
        assert_eq!((line.score_after, line.moved), (Some(61.2), 1.0));
    }

    #[test]
    fn a_moment_in_which_a_member_was_not_watched_is_not_compared() {
        let cart = service("pay.cart", "pay.shop", Tier::Core, Mode::Standalone, 0);
        let mut blind = scene(T0 - 60_000, 1e9);
        let inputs = Arc::make_mut(blind.members[0].1.as_mut().unwrap());
        inputs.probes = Seen::Unknown { reason: "auth", needs: "" };
        let usual = Arc::new(Policy::for_profile(Profile::Store));
        let line = shadow(&cart, &[scene(T0, 1e9), blind], &usual, &strict());
        assert_eq!(line.moments, 1);
    }
}
