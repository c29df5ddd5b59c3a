//! Throws damaged bytes at every decoder of bytes from outside. A run fails when a decoder panics, or when it holds more
//! memory than 64 KiB and sixteen times its input.
//!
//! `FUZZ_RUNS` sets the executions a target (200,000), `FUZZ_SEED` the seed, `FUZZ_TARGET` a part of a target's name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

mod allocator;
mod mutate;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// What a run may hold at most for an input of so many bytes.
fn allowance(input: usize) -> usize {
    64 * 1024 + 16 * input
}

struct Target {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    run: fn(&[u8]),
    /// Bytes that a run may hold beyond the allowance: a codec's window.
    extra_bytes: usize,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Runs a target; the number of the run and the input that failed, or `None`.
fn fuzz(target: &Target, runs: u64, seed: u64) -> Option<(u64, Vec<u8>, String)> {
    let mut rng = fastrand::Rng::with_seed(seed);
    assert!(!target.seeds.is_empty(), "{} has no seeds", target.name);
    for run in 0..runs {
        let first = &target.seeds[rng.usize(..target.seeds.len())];
        let other = &target.seeds[rng.usize(..target.seeds.len())];
        let input = mutate::mutate(&mut rng, first, other, 1 << 20);
        let (outcome, peak) = allocator::peak_of(|| catch_unwind(AssertUnwindSafe(|| (target.run)(&input))));
        if outcome.is_err() {
            return Some((run, input, "panics".to_owned()));
        }
        if peak > allowance(input.len()) + target.extra_bytes {
            return Some((run, input, format!("holds {peak} bytes for an input of its size")));
        }
    }
    None
}

#[test]
fn no_decoder_panics_or_allocates_what_it_was_not_given() {
    let runs = setting("FUZZ_RUNS", 200_000);
    let seed = setting("FUZZ_SEED", 1);
    let only = std::env::var("FUZZ_TARGET").unwrap_or_default();
    std::panic::set_hook(Box::new(|_| {}));
    let mut failed = Vec::new();
    for target in targets::all().iter().filter(|target| target.name.contains(&only)) {
        match fuzz(target, runs, seed) {
            Some((run, input, what)) => failed.push(format!(
                "{}: run {run} of seed {seed} {what}: {} bytes {:02x?}",
                target.name,
                input.len(),
                &input[..input.len().min(256)]
            )),
            None => println!("{}: {runs} runs", target.name),
        }
    }
    let _ = std::panic::take_hook();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The harness itself: a decoder that believes a length it was told, and one that allocates what it was told, are found
/// within the budget.
#[test]
fn planted_faults_are_found() {
    fn believes_a_length(input: &[u8]) {
        let Some(length) = input.first_chunk::<4>() else {
            return;
        };
        let length = u32::from_be_bytes(*length) as usize;
        if input.len() > 8 && length < 1 << 20 {
            std::hint::black_box(&input[4..4 + length]);
        }
    }
    fn allocates_a_count(input: &[u8]) {
        let Some(count) = input.first_chunk::<4>() else {
            return;
        };
        let count = u32::from_be_bytes(*count) as usize;
        if count < 1 << 24 {
            std::hint::black_box(Vec::<u64>::with_capacity(count));
        }
    }
    let mut seed = vec![0, 0, 0, 8];
    seed.extend_from_slice(&[7; 12]);
    for (name, run) in [
        ("a length", believes_a_length as fn(&[u8])),
        ("a count", allocates_a_count),
    ] {
        let target = Target {
            name,
            seeds: vec![seed.clone()],
            run,
            extra_bytes: 0,
        };
        assert!(
            fuzz(&target, 200_000, 1).is_some(),
            "{name} is believed and not found"
        );
    }
}
