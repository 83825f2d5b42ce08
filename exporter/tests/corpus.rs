//! The seeds of the fuzz targets, and damaged copies of them, before the same judges: what fuzzing
//! found once stays found without libFuzzer.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

use std::fs;
use std::path::Path;

#[path = "../../fuzz/judges.rs"]
mod judges;

use judges::JUDGES;

/// Seeds of a target: name and bytes.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let entries = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path());
    let mut all: Vec<_> = entries
        .map(|p| (p.file_name().unwrap().to_string_lossy().into_owned(), fs::read(p).unwrap()))
        .collect();
    all.sort();
    assert!(!all.is_empty(), "{} holds no seed", folder.display());
    all
}

#[test]
fn every_target_has_a_judge_and_every_judge_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<String> =
        entries.map(|p| p.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    files.sort();
    let mut names: Vec<&str> = JUDGES.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(files, names);
}

#[test]
fn every_seed_passes_its_judge() {
    for (target, judge) in JUDGES {
        for (name, bytes) in seeds(target) {
            eprintln!("{target}/{name}");
            judge(&bytes);
        }
    }
}

/// Damaged copies of each seed: enough to meet every kind of damage, few enough for each run.
const COPIES: usize = 40;

#[test]
fn damaged_copies_of_every_seed_pass_too() {
    let mut dice = 1u64;
    let mut roll = |below: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % below.max(1)
    };
    for (target, judge) in JUDGES {
        let all = seeds(target);
        for (_, bytes) in &all {
            for _ in 0..COPIES {
                let mut copy = bytes.clone();
                match roll(4) {
                    0 => copy.truncate(roll(copy.len())),
                    1 => {
                        let other = &all[roll(all.len())].1;
                        let at = roll(copy.len());
                        copy.splice(at..at, other[..roll(other.len())].iter().copied());
                    }
                    2 if !copy.is_empty() => {
                        let (from, to) = (roll(copy.len()), roll(copy.len()));
                        copy.drain(from.min(to)..from.max(to));
                    }
                    _ => {
                        for _ in 0..=roll(8) {
                            let at = roll(copy.len());
                            if let Some(byte) = copy.get_mut(at) {
                                *byte = roll(256) as u8;
                            }
                        }
                    }
                }
                judge(&copy);
            }
        }
    }
}
