//! Producer state against a model that keeps every batch and looks for the answer in all of them.

use proptest::prelude::*;

use super::*;
use crate::base::ids::LeaderEpoch;
use crate::records::batch::BatchHeader;

#[derive(Clone, Debug)]
enum Step {
    Data {
        producer: i64,
        epoch: i16,
        ahead: i32,
        count: i32,
        transactional: bool,
    },
    Resend {
        producer: i64,
        back: usize,
    },
    Marker {
        producer: i64,
        epoch: i16,
        is_abort: bool,
    },
    HighWatermark(i64),
    Restore,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..3_i64, 0..3_i16, prop_oneof![6 => Just(0), 1 => -2..3], 1..4_i32, any::<bool>())
            .prop_map(|(producer, epoch, ahead, count, transactional)|
                Step::Data { producer, epoch, ahead, count, transactional }),
        3 => (0..3_i64, 0..8_usize).prop_map(|(producer, back)| Step::Resend { producer, back }),
        3 => (0..3_i64, 0..3_i16, any::<bool>())
            .prop_map(|(producer, epoch, is_abort)| Step::Marker { producer, epoch, is_abort }),
        2 => (0..200_i64).prop_map(Step::HighWatermark),
        1 => Just(Step::Restore),
    ];
    proptest::collection::vec(step, 0..80)
}

/// What was appended.
#[derive(Clone, Copy, Debug)]
struct Appended {
    header: BatchHeader,
    /// For a marker: where its transaction began.
    ended: Option<Offset>,
}

#[derive(Default)]
struct Model {
    log: Vec<Appended>,
    /// Batches below this index are known from a snapshot, which keeps the last of each producer only.
    snapshot_at: usize,
    high_watermark: i64,
}

impl Model {
    fn end(&self) -> i64 {
        self.log.last().map_or(0, |last| last.header.next_offset().get())
    }

    fn of(&self, producer: i64) -> impl DoubleEndedIterator<Item = (usize, &Appended)> {
        self.log
            .iter()
            .enumerate()
            .filter(move |(_, appended)| appended.header.producer_id.get() == producer)
    }

    fn epoch(&self, producer: i64) -> Option<i16> {
        self.of(producer)
            .next_back()
            .map(|(_, last)| last.header.producer_epoch.get())
    }

    /// The batches of the current epoch that can be recognised, the newest first.
    fn recent(&self, producer: i64) -> Vec<BatchHeader> {
        let Some(epoch) = self.epoch(producer) else {
            return Vec::new();
        };
        let mut from_snapshot = 0;
        self.of(producer)
            .rev()
            .take_while(|(_, batch)| batch.header.producer_epoch.get() == epoch)
            .filter(|(_, batch)| !batch.header.is_control())
            .take_while(|(index, _)| {
                from_snapshot += usize::from(*index < self.snapshot_at);
                from_snapshot <= 1
            })
            .take(5)
            .map(|(_, batch)| batch.header)
            .collect()
    }

    /// A snapshot has one timestamp a producer, that of its last batch or marker, and so the batch gets it.
    fn timestamp(&self, known: &BatchHeader) -> i64 {
        let restored = self
            .log
            .iter()
            .take(self.snapshot_at)
            .any(|batch| batch.header.base_offset == known.base_offset);
        let mut before = self
            .of(known.producer_id.get())
            .filter(|(index, _)| *index < self.snapshot_at);
        match before.next_back() {
            Some((_, last)) if restored => last.header.max_timestamp,
            _ => known.max_timestamp,
        }
    }

    fn open(&self, producer: i64) -> Option<Offset> {
        let since_marker = self
            .of(producer)
            .rev()
            .take_while(|(_, batch)| !batch.header.is_control());
        since_marker
            .filter(|(_, batch)| batch.header.is_transactional())
            .map(|(_, batch)| batch.header.base_offset)
            .last()
    }

    fn first_unstable(&self) -> Option<Offset> {
        let open = (0..3).filter_map(|producer| self.open(producer));
        let unreplicated = self
            .log
            .iter()
            .skip(self.snapshot_at)
            .filter(|batch| batch.header.base_offset.get() >= self.high_watermark)
            .filter_map(|batch| batch.ended);
        open.chain(unreplicated).min()
    }
}

fn header(producer: i64, epoch: i16, sequence: i32, offset: i64, count: i32, attributes: u8) -> BatchHeader {
    BatchHeader {
        magic: 2,
        size_in_bytes: 100,
        base_offset: Offset(offset),
        last_offset_delta: count - 1,
        partition_leader_epoch: LeaderEpoch(0),
        crc: 0,
        attributes,
        base_timestamp: offset,
        max_timestamp: offset,
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        record_count: count,
    }
}

fn run(steps: Vec<Step>) {
    let mut model = Model::default();
    let mut states = ProducerStates::default();
    for step in steps {
        let end = model.end();
        let (batch, marker) = match step {
            Step::Data {
                producer,
                epoch,
                ahead,
                count,
                transactional,
            } => {
                // Near the end of the numbers, so that they wrap.
                let next = match model.recent(producer).first() {
                    Some(last) if model.epoch(producer) == Some(epoch) => {
                        crate::records::batch::increment_sequence(last.last_sequence(), 1)
                    }
                    None if model.epoch(producer).is_none() => i32::MAX - 3,
                    _ => 0,
                };
                let sequence = crate::records::batch::increment_sequence(next, ahead).max(0);
                (
                    header(
                        producer,
                        epoch,
                        sequence,
                        end,
                        count,
                        u8::from(transactional) << 4,
                    ),
                    None,
                )
            }
            Step::Resend { producer, back } => {
                let Some((_, sent)) = model.of(producer).rev().nth(back) else {
                    continue;
                };
                if sent.header.is_control() {
                    continue;
                }
                (
                    BatchHeader {
                        base_offset: Offset(end),
                        ..sent.header
                    },
                    None,
                )
            }
            Step::Marker {
                producer,
                epoch,
                is_abort,
            } => (
                header(producer, epoch, -1, end, 1, 0x30),
                Some(Marker {
                    is_abort,
                    coordinator_epoch: 0,
                }),
            ),
            Step::HighWatermark(to) => {
                model.high_watermark = model.high_watermark.max(to.min(end));
                states.on_high_watermark(Offset(model.high_watermark));
                continue;
            }
            Step::Restore => {
                let snapshot = states.to_snapshot();
                states =
                    ProducerStates::from_snapshot(&snapshot, Offset(end), 0, i64::MAX, usize::MAX).unwrap();
                model.snapshot_at = model.log.len();
                continue;
            }
        };
        let origin = if marker.is_some() {
            Origin::Coordinator
        } else {
            Origin::Client
        };
        let before = states.to_snapshot();
        let check = states.check(&batch, marker, origin, Verification::Disabled);
        assert_eq!(states.to_snapshot(), before, "a check changes nothing");
        match expected(&model, &batch) {
            Err(code) => assert_eq!(check.unwrap_err().code(), code),
            Ok(Some(known)) => {
                let Ok(Check::Duplicate(found)) = check else {
                    panic!("{check:?}")
                };
                assert_eq!(found.first_offset, known.base_offset);
                assert_eq!(found.last_offset, known.last_offset());
                assert_eq!(found.timestamp, model.timestamp(&known));
            }
            Ok(None) => {
                let Ok(Check::Append(update)) = check else {
                    panic!("{check:?}")
                };
                let open = model.open(batch.producer_id.get());
                let completed = states.apply(update, usize::MAX);
                let ended = if marker.is_some() { open } else { None };
                assert_eq!(completed.map(|completed| completed.first_offset), ended);
                model.log.push(Appended { header: batch, ended });
                if let Some(completed) = completed {
                    let others = (0..3).filter(|id| *id != batch.producer_id.get());
                    let stable = others.filter_map(|id| model.open(id)).min();
                    assert_eq!(
                        states.last_stable_offset(&completed),
                        stable.unwrap_or(batch.next_offset())
                    );
                    states.complete(&completed);
                }
            }
        }
        assert_eq!(states.first_unstable_offset(), model.first_unstable());
    }
}

fn expected(
    model: &Model,
    batch: &BatchHeader,
) -> Result<Option<BatchHeader>, crate::base::error_code::ErrorCode> {
    use crate::base::error_code::ErrorCode;
    let producer = batch.producer_id.get();
    let (epoch, current) = (batch.producer_epoch.get(), model.epoch(producer));
    let recent = model.recent(producer);
    if !batch.is_control() && current == Some(epoch) {
        let same = |known: &&BatchHeader| {
            known.base_sequence == batch.base_sequence && known.last_sequence() == batch.last_sequence()
        };
        if let Some(known) = recent.iter().rev().find(same) {
            return Ok(Some(*known));
        }
    }
    if current.is_some_and(|current| epoch < current) {
        return Err(ErrorCode::InvalidProducerEpoch);
    }
    if batch.is_control() {
        return Ok(None);
    }
    let wanted = match current {
        None => batch.base_sequence,
        Some(current) if current != epoch => 0,
        Some(_) => recent.first().map_or(0, |last| {
            crate::records::batch::increment_sequence(last.last_sequence(), 1)
        }),
    };
    if batch.base_sequence != wanted {
        return Err(ErrorCode::OutOfOrderSequenceNumber);
    }
    if !batch.is_transactional() && model.open(producer).is_some() {
        return Err(ErrorCode::InvalidTxnState);
    }
    Ok(None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn agrees_with_a_model_that_keeps_everything(steps in steps()) {
        run(steps);
    }
}
