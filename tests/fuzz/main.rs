//! Throws damaged bytes at every decoder of bytes from outside. A run fails when a decoder panics, when it holds more
//! memory than 64 KiB and sixteen times its input, or when what it answers cannot be right: its target says so.
//!
//! Only where an input has compressed batches may a run hold more, and then no more than the codecs are given: what a batch
//! may decompress to, which the targets of records set to a mebibyte.
//!
//! That this would find a fault is shown with faults that are planted in the very decoders (`src/base/planted.rs`):
//! each must be found within the same number of executions, and must not show on inputs that are valid.
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

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once};

use barnabas::base::planted;
use fastrand::Rng;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// What a run may hold at most for an input of so many bytes.
fn allowance(input: usize) -> usize {
    64 * 1024 + 16 * input
}

struct Target {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    /// Gives a damaged input its lengths and checksums back, now and then, so that what is behind them is reached.
    mend: fn(&mut Rng, &mut Vec<u8>),
    /// What texts are made of, for a target that reads one.
    words: &'static [&'static str],
    run: fn(&[u8]),
    /// Bytes that a run on an input may hold beyond the allowance, for codecs that are at work.
    codec_bytes: fn(&[u8]) -> usize,
    /// The faults that are planted in what it runs.
    planted: &'static [&'static str],
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

thread_local! {
    /// Panics on this thread are what is looked for: they are caught, and not printed.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
}

/// What is wrong with a run on `input`, if anything.
fn fault(target: &Target, input: &[u8]) -> Option<String> {
    QUIET.set(true);
    let (outcome, peak) = allocator::peak_of(|| catch_unwind(AssertUnwindSafe(|| (target.run)(input))));
    QUIET.set(false);
    if let Err(panic) = outcome {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or_default();
        return Some(format!("panics: {text}"));
    }
    (peak > allowance(input.len()) + (target.codec_bytes)(input))
        .then(|| format!("holds {peak} bytes for an input of {}", input.len()))
}

/// Runs a target; the number of the run and the input that failed, or `None`.
fn fuzz(target: &Target, runs: u64, seed: u64) -> Option<(u64, Vec<u8>, String)> {
    let mut rng = Rng::with_seed(seed);
    assert!(!target.seeds.is_empty(), "{} has no seeds", target.name);
    for run in 1..=runs {
        let first = &target.seeds[rng.usize(..target.seeds.len())];
        let other = &target.seeds[rng.usize(..target.seeds.len())];
        let mut input = mutate::mutate(&mut rng, first, other, target.words, 1 << 20);
        (target.mend)(&mut rng, &mut input);
        if let Some(what) = fault(target, &input) {
            return Some((run, input, what));
        }
    }
    None
}

/// Does `work` for each number below `count`, on as many threads as there are processors; what went wrong.
fn on_all_processors(count: usize, work: impl Fn(usize) -> Option<String> + Sync) -> Vec<String> {
    quiet_panics();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let wrong = work(number);
                    failed.lock().unwrap().extend(wrong);
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

fn chosen() -> Vec<Target> {
    let only = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let mut targets = targets::all();
    targets.retain(|target| target.name.contains(&only));
    targets
}

#[test]
fn no_decoder_panics_or_lies_or_allocates_what_it_was_not_given() {
    let runs = setting("FUZZ_RUNS", 200_000);
    let seed = setting("FUZZ_SEED", 1);
    let targets = chosen();
    let failed = on_all_processors(targets.len(), |number| {
        let target = &targets[number];
        for (number, valid) in target.seeds.iter().enumerate() {
            if let Some(what) = fault(target, valid) {
                return Some(format!("{}: valid input {number} {what}", target.name));
            }
        }
        let Some((run, input, what)) = fuzz(target, runs, seed) else {
            println!(
                "{}: {runs} runs, {} valid inputs",
                target.name,
                target.seeds.len()
            );
            return None;
        };
        Some(format!(
            "{}: run {run} of seed {seed} {what}: {} bytes {:02x?}",
            target.name,
            input.len(),
            &input[..input.len().min(1024)]
        ))
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn planted_faults_are_found() {
    let runs = setting("FUZZ_RUNS", 200_000);
    let seed = setting("FUZZ_SEED", 1);
    let targets = chosen();
    let faults: Vec<(&Target, &'static str)> = targets
        .iter()
        .flat_map(|target| target.planted.iter().map(move |name| (target, *name)))
        .collect();
    let failed = on_all_processors(faults.len(), |number| {
        let (target, name) = faults[number];
        planted::choose(name);
        let shows = target
            .seeds
            .iter()
            .position(|valid| fault(target, valid).is_some());
        let found = fuzz(target, runs, seed);
        planted::choose("");
        match (shows, found) {
            (Some(valid), _) => Some(format!("{}: {name} shows on valid input {valid}", target.name)),
            (None, None) => Some(format!("{}: {name} is not found in {runs} runs", target.name)),
            (None, Some((run, _, what))) => {
                let what: String = what.lines().next().unwrap_or_default().chars().take(80).collect();
                println!("{}: {name} found in run {run}: {what}", target.name);
                None
            }
        }
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// No fault is planted that is not looked for, and every target has three of its own kind.
#[test]
fn every_planted_fault_is_looked_for() {
    fn visit(directory: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, found);
            } else if !path.ends_with("base/planted.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let names = text
                    .split("planted!(")
                    .skip(1)
                    .map(|rest| rest.split('"').nth(1).unwrap());
                // Those of clusters are looked for by the simulation.
                found.extend(
                    names
                        .filter(|name| !name.starts_with("cluster-"))
                        .map(str::to_owned),
                );
            }
        }
    }
    let mut in_code = Vec::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut in_code);
    in_code.sort();
    let before = in_code.len();
    in_code.dedup();
    assert_eq!(in_code.len(), before, "a name is given twice");
    let targets = targets::all();
    let mut looked_for: Vec<&str> = targets
        .iter()
        .flat_map(|target| target.planted)
        .copied()
        .collect();
    looked_for.sort_unstable();
    looked_for.dedup();
    assert_eq!(in_code, looked_for);
    for target in &targets {
        let others: Vec<&str> = targets
            .iter()
            .filter(|other| other.name != target.name)
            .flat_map(|other| other.planted)
            .copied()
            .collect();
        let own = target.planted.iter().filter(|name| !others.contains(name));
        assert!(own.count() >= 3, "{} has too few", target.name);
    }
}
