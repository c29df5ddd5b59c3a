//! Cleanings against a model in memory: random records, transactions and cleanings, with restarts, kills and power cuts
//! between the steps of a cleaning.
//!
//! What the model knows: every record that was ever appended, and which transactions were aborted. After each step what
//! is in the log was appended, unchanged and at its offset; a consumer that reads committed records ends with the same
//! newest value of each key; tombstones are there until their time has come; and what a cleaning went through holds one
//! record a key.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::testing::*;
use super::{CleanerSettings, Cleaning};
use crate::base::format::Codec;
use crate::base::ids::{Offset, ProducerId};
use crate::config::LogConfig;
use crate::records::build::BatchOptions;
use crate::storage::log::testing::{Ground, NOW_MS, clean_stop, load_options};
use crate::storage::log::{LoadOptions, Log};

const RETENTION_MS: i64 = 100;

#[derive(Clone, Debug)]
enum Step {
    Put {
        by: By,
        /// Keys, and whether they have a value.
        keys: Vec<(u8, bool)>,
        codec: Codec,
    },
    End {
        producer: i64,
        commit: bool,
    },
    Roll,
    Wait(i64),
    Clean(Memory),
    /// So many steps of a cleaning; what follows meets it half done.
    BeginCleaning(Memory, usize),
    Reopen,
    Kill {
        snapshots: bool,
        checkpoint: bool,
    },
    PowerCut(u64),
}

#[derive(Clone, Copy, Debug)]
enum By {
    Nobody,
    Idempotent,
    Transactional(i64),
}

#[derive(Clone, Copy, Debug)]
struct Memory {
    keys: usize,
    io_bytes: usize,
}

impl Memory {
    fn settings(self) -> CleanerSettings {
        CleanerSettings {
            dedupe_buffer_bytes: super::offset_map::SLOT_BYTES * self.keys,
            load_factor: 0.9,
            io_buffer_bytes: self.io_bytes,
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let by = prop_oneof![
        3 => Just(By::Nobody),
        1 => Just(By::Idempotent),
        3 => (10..13_i64).prop_map(By::Transactional),
    ];
    let codec = prop_oneof![3 => Just(Codec::None), 1 => Just(Codec::Lz4), 1 => Just(Codec::Zstd)];
    let keys = prop::collection::vec((0..7_u8, prop::bool::weighted(0.8)), 1..5);
    let memory = (10..60_usize, 60..2000_usize).prop_map(|(keys, io_bytes)| Memory { keys, io_bytes });
    prop_oneof![
        20 => (by, keys, codec).prop_map(|(by, keys, codec)| Step::Put { by, keys, codec }),
        7 => (10..13_i64, any::<bool>()).prop_map(|(producer, commit)| Step::End { producer, commit }),
        4 => Just(Step::Roll),
        3 => (1..2 * RETENTION_MS).prop_map(Step::Wait),
        6 => memory.clone().prop_map(Step::Clean),
        3 => (memory, 0..40_usize).prop_map(|(memory, steps)| Step::BeginCleaning(memory, steps)),
        2 => Just(Step::Reopen),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(snapshots, checkpoint)| Step::Kill { snapshots, checkpoint }),
        2 => any::<u64>().prop_map(Step::PowerCut),
    ]
}

type Value = Option<Vec<u8>>;

struct Model {
    ground: Option<Ground>,
    log: Option<RefCell<Log>>,
    config: LogConfig,
    now_ms: i64,
    /// Everything that was ever appended.
    appended: BTreeMap<Offset, Stored>,
    /// Records that are part of a transaction: whether it was committed, once that is decided.
    decided: BTreeMap<Offset, bool>,
    open: BTreeMap<i64, Vec<Offset>>,
    sequences: BTreeMap<i64, i32>,
    /// When a cleaning first went over a tombstone.
    tombstones: BTreeMap<Offset, i64>,
    /// When the last cleaning was that may have removed something.
    last_cleaning_ms: i64,
    checkpoint: Option<Offset>,
}

impl Model {
    fn new(config: LogConfig) -> Self {
        let ground = Ground::new();
        let mut log = ground.create(&config);
        log.flush(NOW_MS).unwrap();
        Self {
            ground: Some(ground),
            log: Some(RefCell::new(log)),
            config,
            now_ms: NOW_MS,
            appended: BTreeMap::new(),
            decided: BTreeMap::new(),
            open: BTreeMap::new(),
            sequences: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            last_cleaning_ms: 0,
            checkpoint: None,
        }
    }

    fn log(&self) -> std::cell::RefMut<'_, Log> {
        self.log.as_ref().unwrap().borrow_mut()
    }

    fn put(&mut self, by: By, keys: &[(u8, bool)], codec: Codec) {
        let end = self.log().log_end_offset();
        let pairs: Vec<([u8; 1], Value)> = (0..)
            .zip(keys)
            .map(|(number, (key, has_value))| {
                let value = format!("value at {}", end.plus(number)).into_bytes();
                ([*key], has_value.then_some(value))
            })
            .collect();
        let pairs: Vec<Pair<'_>> = pairs
            .iter()
            .map(|(key, value)| (&key[..], value.as_deref()))
            .collect();
        let id = match by {
            By::Nobody => -1,
            By::Idempotent => 1,
            By::Transactional(id) => id,
        };
        let transactional = matches!(by, By::Transactional(_));
        let mut options = BatchOptions {
            codec,
            ..BatchOptions::default()
        };
        if id >= 0 {
            let sequence = self.sequences.entry(id).or_default();
            options = BatchOptions {
                codec,
                ..of_producer(id, 0, *sequence, transactional)
            };
            *sequence += pairs.len() as i32;
        }
        assert_eq!(put_with(&mut self.log(), &pairs, &options), end);
        for (number, (key, value)) in pairs.iter().enumerate() {
            let offset = end.plus(number as i64);
            let record = Stored {
                key: key.to_vec(),
                value: value.map(<[u8]>::to_vec),
                timestamp: NOW_MS + number as i64,
                headers: 1,
                control: None,
                producer_id: id,
            };
            self.appended.insert(offset, record);
            if transactional {
                self.open.entry(id).or_default().push(offset);
            }
        }
    }

    fn step(&mut self, step: &Step) {
        match step.clone() {
            Step::Put { by, keys, codec } => {
                self.put(by, &keys, codec);
            }
            Step::End { producer, commit } => {
                // A coordinator ends only what began.
                if let Some(offsets) = self.open.remove(&producer) {
                    end_transaction(&mut self.log(), producer, 0, commit);
                    self.decided
                        .extend(offsets.into_iter().map(|offset| (offset, commit)));
                }
            }
            Step::Roll => self.log().roll(self.now_ms).unwrap(),
            Step::Wait(time_ms) => self.now_ms += time_ms,
            Step::Clean(memory) => {
                let before = self.log().segment_count();
                let cleaned = clean_with(self.log.as_ref().unwrap(), self.now_ms, memory.settings());
                if let Some((below, stats)) = cleaned.unwrap() {
                    assert!(stats.segments_after <= stats.segments_before);
                    assert!(self.log().segment_count() <= before);
                    self.went_over(below);
                    self.checkpoint = Some(below);
                    assert_eq!(self.log().cleaner_checkpoint(), self.checkpoint);
                    self.check_one_record_a_key(below);
                }
            }
            Step::BeginCleaning(memory, steps) => {
                let begun = Cleaning::begin(self.log.as_ref().unwrap(), self.now_ms, memory.settings());
                let Some(mut cleaning) = begun.unwrap() else {
                    return;
                };
                for _ in 0..steps {
                    if let Some(below) = cleaning.step().unwrap().cleaned_below {
                        self.checkpoint = Some(below);
                        break;
                    }
                }
                let range = *cleaning.range();
                // Dropped, not given up: as a kill leaves it.
                drop(cleaning);
                self.went_over(range.end);
                self.restart(false, |_| ());
            }
            Step::Reopen => {
                clean_stop(&mut self.log());
                self.restart(true, |_| ());
            }
            Step::Kill {
                snapshots,
                checkpoint,
            } => {
                if checkpoint {
                    self.checkpoint = None;
                }
                self.restart(false, |ground| {
                    for name in ground.files().keys().filter(|name| name.ends_with(".snapshot")) {
                        if snapshots {
                            ground.remove(name);
                        }
                    }
                });
            }
            Step::PowerCut(seed) => {
                // What is lost without a cleaning is the log's own test.
                self.log().flush(NOW_MS).unwrap();
                let mut random = seed | 1;
                self.restart(false, |ground| {
                    ground.memory.power_cut(|| {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        random.is_multiple_of(2)
                    });
                });
            }
        }
    }

    /// A cleaning now may have gone over all that lies below.
    fn went_over(&mut self, below: Offset) {
        self.last_cleaning_ms = self.now_ms;
        for (offset, record) in self.appended.range(..below) {
            if record.value.is_none() {
                self.tombstones.entry(*offset).or_insert(self.now_ms);
            }
        }
    }

    fn restart(&mut self, clean: bool, between: impl FnOnce(&Ground)) {
        let recovery_point = self.log().recovery_point();
        self.log = None;
        let ground = self.ground.take().unwrap();
        between(&ground);
        let ground = ground.restart();
        let options = LoadOptions {
            clean,
            recovery_point,
            cleaner_checkpoint: self.checkpoint,
            ..load_options(&self.config)
        };
        let (log, report) = ground.load(&options).unwrap();
        if clean {
            assert_eq!(report.repairs, Vec::<String>::new());
        }
        assert!(
            ground
                .files()
                .keys()
                .all(|name| !name.contains(".cleaned") && !name.contains(".swap"))
        );
        self.ground = Some(ground);
        self.log = Some(RefCell::new(log));
    }

    /// What a read_committed consumer may be shown, by key: the newest record.
    fn newest(&self) -> BTreeMap<Vec<u8>, (Offset, Value)> {
        let stable = self.log().last_stable_offset();
        let mut newest = BTreeMap::new();
        for (offset, record) in self.appended.range(..stable) {
            if self.decided.get(offset).copied().unwrap_or(true) {
                newest.insert(record.key.clone(), (*offset, record.value.clone()));
            }
        }
        newest
    }

    fn check(&self) {
        let log = self.log();
        let stored = stored(&log);
        for (offset, record) in &stored {
            if record.control.is_none() {
                assert_eq!(Some(record), self.appended.get(offset), "at {offset}");
            }
        }
        let committed = committed(&log);
        for offset in committed.keys() {
            assert_ne!(self.decided.get(offset), Some(&false), "{offset} was aborted");
        }
        for (id, next) in &self.sequences {
            let known = log.producer_states().get(ProducerId(*id)).unwrap();
            assert_eq!(known.last_sequence() + 1, *next, "producer {id}");
        }
        drop(log);
        let mut shown: BTreeMap<Vec<u8>, (Offset, Value)> = BTreeMap::new();
        for (offset, (key, value)) in committed {
            shown.insert(key, (offset, value));
        }
        for (key, (offset, value)) in self.newest() {
            let there = shown.remove(&key);
            let may_be_gone = value.is_none()
                && self
                    .tombstones
                    .get(&offset)
                    .is_some_and(|first| first + RETENTION_MS <= self.last_cleaning_ms);
            if there.is_none() && may_be_gone {
                continue;
            }
            assert_eq!(there, Some((offset, value)), "key {key:?}");
        }
        assert_eq!(shown.into_iter().next(), None, "a key came back");
    }

    fn check_one_record_a_key(&self, below: Offset) {
        let mut seen: BTreeMap<Vec<u8>, Offset> = BTreeMap::new();
        for (offset, record) in stored(&self.log()).range(..below) {
            if record.control.is_none()
                && let Some(earlier) = seen.insert(record.key.clone(), *offset)
            {
                panic!("key {:?} is at {earlier} and {offset}", record.key);
            }
        }
    }
}

proptest! {
    #[test]
    fn keeps_the_newest_of_each_key_whatever_happens(
        steps in prop::collection::vec(step(), 1..80),
        segment_bytes in prop_oneof![Just(300_u32), Just(900), Just(100_000)],
    ) {
        let config = LogConfig {
            delete_retention_ms: RETENTION_MS,
            segment_ms: i64::MAX,
            ..compacted(segment_bytes)
        };
        let mut model = Model::new(config);
        for step in &steps {
            model.step(step);
            model.check();
        }
    }
}
