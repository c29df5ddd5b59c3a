//! A cleaning whose disk fails, or that is killed, at each call in turn: at the next start a consumer is shown the same,
//! and the next cleaning gets to the end.

use std::cell::RefCell;
use std::io::ErrorKind;

use super::testing::*;
use super::{Cleaning, CleaningError};
use crate::base::disk::memory::Call;
use crate::base::ids::Offset;
use crate::config::LogConfig;
use crate::storage::log::testing::{Ground, NOW_MS, load_options};
use crate::storage::log::{LoadOptions, Log};

fn config() -> LogConfig {
    LogConfig {
        segment_ms: i64::MAX,
        ..compacted(600)
    }
}

/// A log with some segments, aborted and committed transactions and tombstones, all of it durable.
fn filled() -> (Ground, RefCell<Log>) {
    let ground = Ground::new();
    let mut log = ground.create(&config());
    log.flush(NOW_MS).unwrap();
    for round in 0..6_i32 {
        for key in 0..4_u8 {
            let value = [key; 30];
            put(&mut log, &[(&[key], Some(&value)), (b"often", Some(&value))]);
        }
        put_with(
            &mut log,
            &[(b"t", Some(b"in a transaction"))],
            &of_producer(7, 0, round, true),
        );
        put(&mut log, &[(&[round as u8 % 2], None)]);
        end_transaction(&mut log, 7, 0, round % 2 == 0);
    }
    log.roll(NOW_MS).unwrap();
    log.flush(NOW_MS).unwrap();
    assert!(log.segment_count() > 5);
    (ground, RefCell::new(log))
}

type View = std::collections::BTreeMap<Vec<u8>, (Offset, Option<Vec<u8>>)>;

fn view(log: &Log) -> View {
    let records = committed(log).into_iter();
    records
        .map(|(offset, (key, value))| (key, (offset, value)))
        .collect()
}

fn check_after_restart(ground: Ground, expected: &View, what: &str) {
    let options = LoadOptions {
        clean: false,
        ..load_options(&config())
    };
    let ground = ground.restart();
    let (log, _) = ground.load(&options).unwrap();
    let log = RefCell::new(log);
    assert_eq!(view(&log.borrow()), *expected, "{what}");
    let states = log.borrow().producer_states().clone();
    let known = states.get(crate::base::ids::ProducerId(7)).unwrap();
    assert_eq!(known.last_sequence(), 5);
    assert!(
        ground
            .files()
            .keys()
            .all(|name| !name.contains(".cleaned") && !name.contains(".swap")),
        "{what}"
    );
    let end = log.borrow().active_base_offset();
    assert_eq!(clean(&log, NOW_MS), end);
    assert_eq!(view(&log.borrow()), *expected, "{what}, cleaned");
}

#[test]
fn a_disk_that_fails_at_any_call_takes_the_directory_offline_and_loses_nothing() {
    for call in [
        Call::Open,
        Call::Read,
        Call::Write,
        Call::Sync,
        Call::Rename,
        Call::Remove,
    ] {
        let mut failures = 0;
        for after in 0.. {
            for power in [false, true] {
                let what = format!("{call:?} after {after}, power cut: {power}");
                let (ground, log) = filled();
                let expected = view(&log.borrow());
                ground
                    .memory
                    .fail(call, "/data/t-0", after, u64::MAX, ErrorKind::Other);
                let cleaned = clean_with(&log, NOW_MS, settings());
                ground.memory.heal();
                match cleaned {
                    Ok(_) => {
                        if !power {
                            continue;
                        }
                        assert!(failures > 3, "{call:?} failed {failures} times");
                        break;
                    }
                    Err(CleaningError::Io(_)) => failures += 1,
                    Err(error) => panic!("{what}: {error}"),
                }
                assert!(log.borrow().volume().failure().is_some(), "{what}");
                assert!(!log.borrow().is_uncleanable());
                drop(log);
                if power {
                    ground.memory.power_cut(|| false);
                }
                check_after_restart(ground, &expected, &what);
            }
            if failures <= after as usize {
                break;
            }
        }
    }
}

#[test]
fn a_kill_or_power_cut_after_any_step_loses_nothing() {
    for steps in 0.. {
        let mut over = false;
        for power in [false, true] {
            let what = format!("after {steps} steps, power cut: {power}");
            let (ground, log) = filled();
            let expected = view(&log.borrow());
            let mut cleaning = Cleaning::begin(&log, NOW_MS, settings()).unwrap().unwrap();
            for _ in 0..steps {
                let step = cleaning.step().unwrap();
                over |= step.cleaned_below.is_some();
            }
            drop(cleaning);
            drop(log);
            if power {
                ground.memory.power_cut(|| true);
            }
            check_after_restart(ground, &expected, &what);
        }
        if over {
            assert!(steps > 30);
            return;
        }
    }
}

#[test]
fn a_cleaning_never_writes_into_a_folder_that_took_its_place() {
    use super::{CleanerSettings, LogPlace};
    /// A log that is stopped at some point, as when its topic is deleted.
    struct Stoppable<'a>(&'a RefCell<Log>, &'a std::cell::Cell<bool>);
    impl LogPlace for Stoppable<'_> {
        fn with_log<T>(&self, act: impl FnOnce(&mut Log) -> T) -> Option<T> {
            (!self.1.get()).then(|| act(&mut self.0.borrow_mut()))
        }
    }
    let large = CleanerSettings {
        io_buffer_bytes: 300,
        ..settings()
    };
    for steps in 0.. {
        let (ground, log) = filled();
        let stopped = std::cell::Cell::new(false);
        let place = Stoppable(&log, &stopped);
        let mut cleaning = Cleaning::begin(place, NOW_MS, large).unwrap().unwrap();
        let mut over = false;
        for _ in 0..steps {
            over |= cleaning.step().unwrap().cleaned_below.is_some();
        }
        if over {
            assert!(steps > 20);
            return;
        }
        stopped.set(true);
        let deleted = "/data/t-0.0123456789abcdef0123456789abcdef-delete";
        let disk = ground.disk().clone();
        disk.rename("/data/t-0".as_ref(), deleted.as_ref()).unwrap();
        // The topic is made again at once.
        let other = ground.create(&config());
        let before = ground.files();
        while cleaning.step().is_ok() {}
        assert_eq!(ground.files(), before, "after {steps} steps");
        assert!(other.volume().failure().is_none());
    }
}
