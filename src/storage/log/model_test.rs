//! A log against a model in memory: random steps with clean stops, kills, power cuts and failing disks.
//!
//! What the model knows: every batch that was acknowledged, in order, and up to where the log said that a power cut
//! loses nothing. After each step the log must hold exactly the model's batches; after a kill all of them; after a power
//! cut a beginning of them that reaches the promise; never anything else.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use bytes::Bytes;
use proptest::prelude::*;

use super::testing::*;
use super::{AppendError, Bound, FlushWork, LoadOptions, Log};
use crate::base::disk::memory::Call;
use crate::base::ids::{LeaderEpoch, Offset, ProducerId};
use crate::config::LogConfig;
use crate::records::batch::Batch;
use crate::storage::producer_state::Origin;

#[derive(Clone, Debug)]
enum Step {
    Append {
        records: usize,
        value_bytes: usize,
        timestamp: i64,
        by: By,
    },
    Duplicate,
    End {
        producer: i64,
        commit: bool,
    },
    NewEpoch,
    Roll,
    PlanFlush,
    FinishFlush,
    Checkpoint,
    RaiseHighWatermark(f64),
    RaiseStart(f64),
    Retain,
    Truncate(f64),
    Reopen,
    Kill,
    PowerCut(u64),
    Fail {
        call: Call,
        after: u64,
        full: bool,
    },
}

#[derive(Clone, Copy, Debug)]
enum By {
    Nobody,
    Idempotent,
    Transactional(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let by = prop_oneof![
        2 => Just(By::Nobody),
        2 => Just(By::Idempotent),
        3 => (10..13_i64).prop_map(By::Transactional),
    ];
    let append =
        (1..5_usize, 0..120_usize, 0..5000_i64, by).prop_map(|(records, value_bytes, timestamp, by)| {
            Step::Append {
                records,
                value_bytes,
                timestamp,
                by,
            }
        });
    let call = prop_oneof![
        Just(Call::Write),
        Just(Call::Sync),
        Just(Call::Rename),
        Just(Call::Open),
        Just(Call::Read)
    ];
    prop_oneof![
        24 => append,
        2 => Just(Step::Duplicate),
        4 => (10..13_i64, any::<bool>()).prop_map(|(producer, commit)| Step::End { producer, commit }),
        1 => Just(Step::NewEpoch),
        2 => Just(Step::Roll),
        3 => Just(Step::PlanFlush),
        3 => Just(Step::FinishFlush),
        3 => Just(Step::Checkpoint),
        3 => (0.0..1.0).prop_map(Step::RaiseHighWatermark),
        1 => (0.0..1.0).prop_map(Step::RaiseStart),
        1 => Just(Step::Retain),
        1 => (0.0..1.0).prop_map(Step::Truncate),
        2 => Just(Step::Reopen),
        2 => Just(Step::Kill),
        3 => any::<u64>().prop_map(Step::PowerCut),
        1 => (call, 0..6_u64, any::<bool>()).prop_map(|(call, after, full)| Step::Fail { call, after, full }),
    ]
}

/// What lies in the directory's checkpoints.
#[derive(Clone, Copy, Default)]
struct Checkpoints {
    recovery_point: Offset,
    log_start: Offset,
    high_watermark: Offset,
}

struct Model {
    ground: Option<Ground>,
    log: Option<Log>,
    config: LogConfig,
    /// All batches ever acknowledged and not truncated, as they are in the log.
    batches: Vec<Vec<u8>>,
    end: Offset,
    /// A power cut loses nothing below.
    durable: Offset,
    /// A batch that was refused because the disk failed: it may be there after a restart.
    refused: Option<Bytes>,
    checkpoints: Checkpoints,
    flush: Option<FlushWork>,
    sequences: BTreeMap<i64, i32>,
    last_idempotent: Option<(Bytes, Offset)>,
    epoch: i32,
    /// The highest start the log ever had: what is below may be gone, or back.
    highest_start: Offset,
    faulty: bool,
}

fn parsed(bytes: &[u8]) -> Batch<'_> {
    Batch::parse(bytes).unwrap().unwrap()
}

impl Model {
    fn new(config: LogConfig) -> Self {
        let ground = Ground::new();
        let mut log = ground.create(&config);
        log.flush(NOW_MS).unwrap();
        Self {
            ground: Some(ground),
            log: Some(log),
            config,
            batches: Vec::new(),
            end: Offset(0),
            durable: Offset(0),
            refused: None,
            checkpoints: Checkpoints::default(),
            flush: None,
            sequences: BTreeMap::new(),
            last_idempotent: None,
            epoch: 0,
            highest_start: Offset(0),
            faulty: false,
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn ground(&self) -> &Ground {
        self.ground.as_ref().unwrap()
    }

    fn append(&mut self, records: &Bytes, origin: Origin) -> bool {
        let epoch = LeaderEpoch(self.epoch);
        let end = self.end;
        let verification = crate::storage::producer_state::Verification::Disabled;
        let appended = self
            .log()
            .append_as_leader(records, epoch, origin, verification, NOW_MS, None);
        match appended {
            Ok(info) => {
                assert!(!info.is_duplicate);
                assert_eq!(info.first_offset, Some(end));
                let mut stored = records.to_vec();
                stored[..8].copy_from_slice(&end.get().to_be_bytes());
                stored[12..16].copy_from_slice(&self.epoch.to_be_bytes());
                self.end = parsed(&stored).next_offset();
                assert_eq!(info.last_offset, self.end.plus(-1));
                self.batches.push(stored);
                if info.flush.is_some() {
                    self.flush = info.flush;
                }
                true
            }
            Err(AppendError::Io(error)) => {
                assert!(self.faulty, "{error}");
                self.refused = Some(records.clone());
                false
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// A producer whose records are deleted may be forgotten, and then be known by a marker only.
    fn next_sequence(&self, id: i64) -> i32 {
        let states = self.log.as_ref().unwrap().producer_states();
        match states.get(ProducerId(id)) {
            Some(known) => known.last_sequence() + 1,
            None => *self.sequences.get(&id).unwrap_or(&0),
        }
    }

    fn step(&mut self, step: &Step) {
        match step.clone() {
            Step::Append {
                records,
                value_bytes,
                timestamp,
                by,
            } => {
                let producer = match by {
                    By::Nobody => None,
                    By::Idempotent => Some((1, 0, self.next_sequence(1))),
                    By::Transactional(id) => Some((id, 0, self.next_sequence(id))),
                };
                let sent = batch(&Send {
                    records,
                    value_bytes,
                    timestamp_ms: timestamp,
                    producer,
                    transactional: matches!(by, By::Transactional(_)),
                });
                let at = self.end;
                if self.append(&sent, Origin::Client)
                    && let Some((id, _, sequence)) = producer
                {
                    self.sequences.insert(id, sequence + records as i32);
                    if id == 1 {
                        self.last_idempotent = Some((sent, at));
                    }
                }
            }
            Step::Duplicate => {
                if let Some((sent, at)) = self.last_idempotent.clone()
                    && at >= self.highest_start
                {
                    match append_bytes(self.log(), &sent, Origin::Client) {
                        Ok(info) => {
                            assert!(info.is_duplicate);
                            assert_eq!(info.first_offset, Some(at));
                        }
                        Err(AppendError::Io(_)) if self.faulty => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            Step::End { producer, commit } => {
                self.append(&marker((producer, 0), commit), Origin::Coordinator);
            }
            Step::NewEpoch => {
                self.epoch += 1;
                let epoch = LeaderEpoch(self.epoch);
                self.log().assign_epoch(epoch);
            }
            Step::Roll => self.may_fail(|log| log.roll(NOW_MS).is_ok()),
            Step::PlanFlush => self.flush = self.log().flush_plan(),
            Step::FinishFlush => self.finish_flush(),
            Step::Checkpoint => {
                let log = self.log();
                let checkpoints = Checkpoints {
                    recovery_point: log.recovery_point(),
                    log_start: log.log_start_offset(),
                    high_watermark: log.high_watermark(),
                };
                self.checkpoints = checkpoints;
            }
            Step::RaiseHighWatermark(share) => {
                let target = self.between(self.log.as_ref().unwrap().high_watermark(), self.end, share);
                self.log().raise_high_watermark(target);
            }
            Step::RaiseStart(share) => {
                let log = self.log.as_ref().unwrap();
                let target = self.between(log.log_start_offset(), log.high_watermark(), share);
                self.log().raise_log_start_offset(target).unwrap();
            }
            Step::Retain => self.may_fail(|log| match log.retain(NOW_MS) {
                Ok(report) => report.files.remove().is_ok(),
                Err(_) => false,
            }),
            Step::Truncate(share) => self.truncate(share),
            Step::Reopen => self.reopen(),
            Step::Kill => self.kill(),
            Step::PowerCut(seed) => self.power_cut(seed),
            Step::Fail { call, after, full } => {
                let kind = if full {
                    ErrorKind::StorageFull
                } else {
                    ErrorKind::Other
                };
                self.ground()
                    .memory
                    .fail(call, "/data/t-0", after, u64::MAX, kind);
                self.faulty = true;
            }
        }
        if self.log.as_ref().unwrap().volume().failure().is_some() {
            assert!(self.faulty);
            // Nothing is acknowledged any more, whatever the disk says from now on.
            self.ground().memory.heal();
            assert!(matches!(
                append(self.log(), &Send::default()),
                Err(AppendError::Io(_))
            ));
            assert!(self.log().flush_plan().is_none_or(|work| work.run().is_err()));
            self.kill();
        }
    }

    fn may_fail(&mut self, act: impl FnOnce(&mut Log) -> bool) {
        assert!(act(self.log()) || self.faulty);
    }

    fn between(&self, low: Offset, high: Offset, share: f64) -> Offset {
        low.plus((high.since(low) as f64 * share).round() as i64)
    }

    fn finish_flush(&mut self) {
        if let Some(work) = self.flush.take() {
            match work.run() {
                Ok(flushed) => {
                    self.log().flushed(flushed, NOW_MS);
                    self.durable = self.durable.max(self.log().recovery_point());
                }
                Err(error) => assert!(self.faulty, "{error}"),
            }
        }
    }

    /// To a batch's beginning: as leader epochs lead followers to do.
    fn truncate(&mut self, share: f64) {
        let floor = self.log().log_start_offset();
        let target = self.between(floor, self.end, share);
        let keep = self
            .batches
            .iter()
            .take_while(|bytes| parsed(bytes).next_offset() <= target)
            .count();
        let target = match keep.checked_sub(1) {
            Some(last) => parsed(&self.batches[last]).next_offset(),
            None => Offset(0),
        };
        if target < floor {
            return;
        }
        match self.log().truncate_to(target, NOW_MS, EXPIRATION_MS) {
            Ok(truncated) => {
                if truncated.files.remove().is_err()
                    || truncated.flush.is_some_and(|work| match work.run() {
                        Ok(flushed) => {
                            self.log.as_mut().unwrap().flushed(flushed, NOW_MS);
                            false
                        }
                        Err(_) => true,
                    })
                {
                    assert!(self.faulty);
                    // Whether it reached the disk is not known; the test ends the uncertainty.
                    self.settle_truncation(target);
                    return;
                }
                self.cut_model(keep, target);
                self.checkpoints.recovery_point = self.log().recovery_point();
            }
            Err(error) => {
                assert!(self.faulty, "{error}");
                self.settle_truncation(target);
            }
        }
    }

    /// The disk failed in a truncation: after the restart all or part of what was to go may be there.
    fn settle_truncation(&mut self, target: Offset) {
        self.checkpoints.recovery_point = self.checkpoints.recovery_point.min(target);
        self.durable = self.durable.min(target);
        self.ground().memory.heal();
        self.faulty = false;
        self.restart(false, |_| true);
        let found = read_all(
            self.log.as_ref().unwrap(),
            self.log.as_ref().unwrap().log_start_offset(),
            Bound::LogEnd,
        );
        let end = self.log.as_ref().unwrap().log_end_offset();
        let keep = self
            .batches
            .iter()
            .take_while(|bytes| parsed(bytes).next_offset() <= end)
            .count();
        let kept = &self.batches[..keep];
        assert!(found.len() <= kept.len() && kept.ends_with(&found));
        self.cut_model(keep, end);
        // The failed sync left it open what a power cut brings back.
        self.log().flush(NOW_MS).unwrap();
    }

    fn cut_model(&mut self, keep: usize, end: Offset) {
        self.batches.truncate(keep);
        self.end = end;
        self.durable = self.durable.min(end);
        self.flush = None;
        self.forget_producers_behind();
    }

    /// What the model expects of producers, from the batches that are left.
    fn forget_producers_behind(&mut self) {
        self.sequences.clear();
        let start = self.highest_start;
        let last_idempotent = self.last_idempotent.take();
        for bytes in &self.batches {
            let batch = parsed(bytes);
            if batch.producer_id.get() >= 0 && !batch.is_control() {
                self.sequences
                    .insert(batch.producer_id.get(), batch.last_sequence() + 1);
                if batch.producer_id.get() == 1
                    && let Some((sent, at)) = &last_idempotent
                    && *at == batch.base_offset
                    && batch.last_offset() >= start
                {
                    self.last_idempotent = Some((sent.clone(), *at));
                }
            }
        }
    }

    fn options(&self, clean: bool) -> LoadOptions {
        LoadOptions {
            clean,
            recovery_point: self.checkpoints.recovery_point,
            log_start_offset: self.checkpoints.log_start,
            high_watermark: self.checkpoints.high_watermark,
            ..load_options(&self.config)
        }
    }

    fn reopen(&mut self) {
        let log = self.log.as_mut().unwrap();
        let stopped = match log.close() {
            Ok(Some(work)) => match work.run() {
                Ok(flushed) => {
                    log.flushed(flushed, NOW_MS);
                    true
                }
                Err(_) => false,
            },
            Ok(None) => true,
            Err(_) => false,
        };
        assert!(stopped || self.faulty);
        if stopped {
            assert_eq!(log.recovery_point(), self.end.max(log.log_start_offset()));
            self.step(&Step::Checkpoint);
            self.durable = self.end;
            self.ground().memory.heal();
            self.faulty = false;
            self.restart(true, |_| true);
        }
    }

    fn kill(&mut self) {
        self.ground().memory.heal();
        self.faulty = false;
        self.restart(false, |_| true);
        let log = self.log.as_ref().unwrap();
        let end = log.log_end_offset();
        assert!(
            end >= self.end,
            "acknowledged up to {}, there up to {end}",
            self.end
        );
        self.take_refused(end);
    }

    /// What was refused is allowed to be there.
    fn take_refused(&mut self, end: Offset) {
        if end > self.end {
            let refused = self.refused.take().expect("more than was ever sent");
            let log = self.log.as_ref().unwrap();
            let found = read_all(log, self.end, Bound::LogEnd);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0][21..], refused[21..]);
            let batch = parsed(&found[0]);
            assert_eq!(batch.base_offset, self.end);
            if batch.producer_id.get() >= 0 && !batch.is_control() {
                self.sequences
                    .insert(batch.producer_id.get(), batch.last_sequence() + 1);
                if batch.producer_id.get() == 1 {
                    self.last_idempotent = Some((refused, self.end));
                }
            }
            self.batches.extend(found);
            self.end = end;
        }
        self.refused = None;
    }

    fn power_cut(&mut self, seed: u64) {
        let mut random = seed | 1;
        self.ground().memory.heal();
        self.faulty = false;
        self.restart(false, |ground| {
            ground.memory.power_cut(|| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random.is_multiple_of(2)
            });
            true
        });
        let end = self.log.as_ref().unwrap().log_end_offset();
        assert!(
            end >= self.durable,
            "promised up to {}, there up to {end}",
            self.durable
        );
        if end > self.end {
            self.take_refused(end);
        } else {
            self.keep_what_survived(end);
        }
        self.refused = None;
    }

    /// Segments lose what was not synced each for itself, as in Kafka: a later one may have kept more than an earlier.
    /// Nothing that was promised is gone, nothing is there that was not sent, and the order is kept.
    fn keep_what_survived(&mut self, end: Offset) {
        let log = self.log.as_ref().unwrap();
        let start = log.log_start_offset();
        let found = read_all(log, start, Bound::LogEnd);
        let mut left = found.iter().peekable();
        let durable = self.durable;
        self.batches.retain(|bytes| {
            let batch = parsed(bytes);
            let there = left.next_if(|found| *found == bytes).is_some();
            assert!(there || batch.last_offset() >= durable || batch.last_offset() < start);
            there || batch.last_offset() < start
        });
        assert_eq!(left.next(), None, "something that was never acknowledged");
        self.end = end;
        self.flush = None;
        self.forget_producers_behind();
    }

    fn restart(&mut self, clean: bool, between: impl FnOnce(&Ground) -> bool) {
        self.flush = None;
        self.log = None;
        let ground = self.ground.take().unwrap();
        between(&ground);
        let ground = ground.restart();
        let (log, report) = ground.load(&self.options(clean)).unwrap();
        if clean {
            // A transaction whose beginning was deleted was forgotten; looking through the whole segment finds it again.
            let known =
                |repair: &&String| self.highest_start > Offset(0) && repair.contains("transaction index");
            assert_eq!(report.repairs.iter().find(|repair| !known(repair)), None);
            assert_eq!(report.recovered_segments, 0);
        }
        self.ground = Some(ground);
        self.log = Some(log);
    }

    fn check(&mut self) {
        let log = self.log.as_mut().unwrap();
        let start = log.log_start_offset();
        self.highest_start = self.highest_start.max(start);
        assert_eq!(log.log_end_offset(), self.end);
        assert!(start <= log.last_stable_offset());
        assert!(log.last_stable_offset() <= log.high_watermark());
        assert!(log.high_watermark() <= self.end);
        assert!(log.recovery_point() <= self.end);
        if self.faulty {
            return;
        }
        let expected: Vec<&Vec<u8>> = self
            .batches
            .iter()
            .filter(|bytes| parsed(bytes).last_offset() >= start)
            .collect();
        let found = read_all(log, start, Bound::LogEnd);
        let ranges = |batches: Vec<&Vec<u8>>| -> Vec<(i64, i64)> {
            batches
                .iter()
                .map(|bytes| (parsed(bytes).base_offset.get(), parsed(bytes).last_offset().get()))
                .collect()
        };
        let found: Vec<&Vec<u8>> = found.iter().collect();
        assert_eq!(ranges(found.clone()), ranges(expected.clone()));
        assert!(found == expected);
        // By time, against a linear scan.
        let mut records = Vec::new();
        for bytes in &expected {
            let batch = parsed(bytes);
            let mut each = batch.records(None).unwrap();
            while let Some(record) = each.next().unwrap() {
                records.push((record.offset, record.timestamp));
            }
        }
        for time in [0, 1000, 2500, 4000, NOW_MS] {
            let by_scan = records
                .iter()
                .find(|(offset, at)| *offset >= start && *at >= time)
                .map(|one| one.0);
            let found = log.offset_for_timestamp(time).unwrap().map(|found| found.offset);
            assert_eq!(found, by_scan, "at {time}");
        }
        self.check_transactions();
    }

    fn check_transactions(&mut self) {
        let log = self.log.as_mut().unwrap();
        let mut open: BTreeMap<i64, Offset> = BTreeMap::new();
        let mut aborted = Vec::new();
        let mut unsure = Vec::new();
        for bytes in &self.batches {
            let batch = parsed(bytes);
            if !batch.is_transactional() {
                continue;
            }
            let id = batch.producer_id.get();
            if !batch.is_control() {
                open.entry(id).or_insert(batch.base_offset);
            } else if let Some(first) = open.remove(&id) {
                let marker = crate::records::control::EndTransactionMarker::of_batch(&batch)
                    .unwrap()
                    .unwrap();
                if first < self.highest_start {
                    // The beginning may be deleted: then the rest counts as all of it.
                    unsure.push(batch.base_offset);
                } else if !marker.commit {
                    aborted.push((id, first, batch.base_offset));
                }
            }
        }
        let found: Vec<_> = log
            .aborted_transactions(log.log_start_offset(), Offset(i64::MAX))
            .unwrap()
            .iter()
            .filter(|one| !unsure.contains(&one.last_offset))
            .map(|one| (one.producer_id.get(), one.first_offset, one.last_offset))
            .collect();
        assert_eq!(found, aborted);
        // Records of open transactions stay unseen; what was deleted of them may be forgotten.
        if let Some(first) = open.values().min().filter(|first| **first >= self.highest_start) {
            assert!(log.last_stable_offset() <= *first);
        }
        // Settled means readable: with the high watermark at the end only open transactions hold the bound back.
        let nothing_deleted = self.highest_start == Offset(0);
        if nothing_deleted && open.is_empty() && log.high_watermark() == log.log_end_offset() {
            assert_eq!(log.last_stable_offset(), log.high_watermark());
        }
        // What was written last is known of each producer, unless it may be deleted.
        for (id, next) in &self.sequences {
            let written = self
                .batches
                .iter()
                .rev()
                .map(|bytes| parsed(bytes))
                .find(|batch| batch.producer_id.get() == *id && !batch.is_control());
            if written.is_some_and(|batch| batch.base_offset >= self.highest_start) {
                let known = log.producer_states().get(ProducerId(*id)).unwrap();
                assert_eq!(known.last_sequence() + 1, *next, "producer {id}");
            }
        }
    }
}

proptest! {
    #[test]
    fn holds_what_it_acknowledged(
        steps in prop::collection::vec(step(), 1..60),
        preallocate in any::<bool>(),
        index_bytes in prop_oneof![Just(10 << 20), Just(48_u32), Just(0)],
    ) {
        let config = LogConfig {
            preallocate,
            segment_index_bytes: index_bytes,
            retention_bytes: 3000,
            segment_ms: i64::MAX,
            retention_ms: -1,
            ..small_segments(1500)
        };
        let mut model = Model::new(config);
        for step in &steps {
            model.step(step);
            model.check();
        }
    }
}
