//! The checks of a batch, in the order of Kafka, as clients, coordinators and followers meet them.

use super::*;
use crate::base::ids::LeaderEpoch;

const P: i64 = 7;
const VERIFIED: Verification = Verification::Disabled;
const UNVERIFIED: Verification = Verification::Required(None);

#[derive(Clone, Copy)]
struct Sent {
    epoch: i16,
    sequence: i32,
    offset: i64,
    count: i32,
    attributes: u8,
}

const PLAIN: u8 = 0;
const TRANSACTIONAL: u8 = 0x10;
const CONTROL: u8 = 0x30;

fn sent(epoch: i16, sequence: i32, offset: i64) -> Sent {
    Sent {
        epoch,
        sequence,
        offset,
        count: 1,
        attributes: PLAIN,
    }
}

impl Sent {
    fn records(self, count: i32) -> Self {
        Self { count, ..self }
    }

    fn transactional(self) -> Self {
        Self {
            attributes: TRANSACTIONAL,
            ..self
        }
    }

    fn control(self) -> Self {
        Self {
            attributes: CONTROL,
            sequence: -1,
            ..self
        }
    }

    fn header(self) -> BatchHeader {
        BatchHeader {
            magic: 2,
            size_in_bytes: 100,
            base_offset: Offset(self.offset),
            last_offset_delta: self.count - 1,
            partition_leader_epoch: LeaderEpoch(0),
            crc: 0,
            attributes: self.attributes,
            base_timestamp: 1000,
            max_timestamp: 1000 + self.offset,
            producer_id: ProducerId(P),
            producer_epoch: ProducerEpoch(self.epoch),
            base_sequence: self.sequence,
            record_count: self.count,
        }
    }
}

fn marker(is_abort: bool, coordinator_epoch: i32) -> Marker {
    Marker {
        is_abort,
        coordinator_epoch,
    }
}

fn append(states: &mut ProducerStates, batch: Sent) {
    append_as(states, batch, None, Origin::Client, VERIFIED).unwrap();
}

fn append_as(
    states: &mut ProducerStates,
    batch: Sent,
    marker: Option<Marker>,
    origin: Origin,
    verification: Verification,
) -> Result<(), ProducerError> {
    match states.check(&batch.header(), marker, origin, verification)? {
        Check::Append(update) => {
            if let Some(completed) = states.apply(update, usize::MAX) {
                states.complete(&completed);
            }
            states.set_end_offset(batch.header().next_offset());
        }
        Check::Duplicate(duplicate) => panic!("{duplicate:?}"),
    }
    Ok(())
}

fn error(states: &ProducerStates, batch: Sent) -> Option<ErrorCode> {
    error_as(states, batch, None, Origin::Client, VERIFIED)
}

fn error_as(
    states: &ProducerStates,
    batch: Sent,
    marker: Option<Marker>,
    origin: Origin,
    verification: Verification,
) -> Option<ErrorCode> {
    states
        .check(&batch.header(), marker, origin, verification)
        .err()
        .map(|error| error.code())
}

fn duplicate(states: &ProducerStates, batch: Sent) -> Option<(i64, i64, i64)> {
    match states.check(&batch.header(), None, Origin::Client, VERIFIED) {
        Ok(Check::Duplicate(found)) => {
            Some((found.first_offset.get(), found.last_offset.get(), found.timestamp))
        }
        _ => None,
    }
}

#[test]
fn an_unknown_producer_may_begin_anywhere() {
    let states = ProducerStates::default();
    assert_eq!(error(&states, sent(0, 0, 0)), None);
    assert_eq!(error(&states, sent(3, 4711, 0)), None);
}

#[test]
fn recognises_the_last_five_batches() {
    let mut states = ProducerStates::default();
    for index in 0..6 {
        append(
            &mut states,
            sent(0, index * 2, 100 + i64::from(index) * 2).records(2),
        );
    }
    for index in 1..6 {
        let again = sent(0, index * 2, 999).records(2);
        let first = 100 + i64::from(index) * 2;
        assert_eq!(
            duplicate(&states, again),
            Some((first, first + 1, 1000 + first)),
            "{index}"
        );
    }
    // The first one is forgotten, and half a batch is no duplicate.
    let out_of_order = Some(ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(error(&states, sent(0, 0, 999).records(2)), out_of_order);
    assert_eq!(error(&states, sent(0, 10, 999)), out_of_order);
    assert_eq!(error(&states, sent(0, 10, 999).records(3)), out_of_order);
    // Only a client's batches are looked up.
    let replicated = states.check(
        &sent(0, 10, 999).records(2).header(),
        None,
        Origin::Replication,
        VERIFIED,
    );
    assert!(matches!(replicated, Ok(Check::Append(_))));
}

#[test]
fn sequences_must_follow_and_wrap() {
    let out_of_order = Some(ErrorCode::OutOfOrderSequenceNumber);
    let mut states = ProducerStates::default();
    append(&mut states, sent(0, i32::MAX - 2, 0).records(2));
    assert_eq!(error(&states, sent(0, 0, 2)), out_of_order);
    assert_eq!(error(&states, sent(0, i32::MAX - 1, 2).records(5)), out_of_order);
    append(&mut states, sent(0, i32::MAX, 2).records(3));
    assert_eq!(
        duplicate(&states, sent(0, i32::MAX, 9).records(3)),
        Some((2, 4, 1002))
    );
    assert_eq!(error(&states, sent(0, 1, 5)), out_of_order);
    append(&mut states, sent(0, 2, 5));
    append(&mut states, sent(0, 3, 6));
    assert_eq!(error(&states, sent(0, 5, 7)), out_of_order);

    let mut states = ProducerStates::default();
    append(&mut states, sent(0, i32::MAX, 0));
    assert_eq!(error(&states, sent(0, 0, 1)), None);
    assert_eq!(error(&states, sent(0, i32::MIN, 1)), out_of_order);
}

#[test]
fn a_new_epoch_begins_at_sequence_zero() {
    let mut states = ProducerStates::default();
    append(&mut states, sent(5, 0, 0));
    assert_eq!(
        error(&states, sent(4, 1, 1)),
        Some(ErrorCode::InvalidProducerEpoch)
    );
    assert_eq!(
        error(&states, sent(6, 1, 1)),
        Some(ErrorCode::OutOfOrderSequenceNumber)
    );
    append(&mut states, sent(6, 0, 1));
    assert_eq!(
        duplicate(&states, sent(5, 0, 9)),
        None,
        "batches of an older epoch are forgotten"
    );
    assert_eq!(
        error(&states, sent(5, 0, 2)),
        Some(ErrorCode::InvalidProducerEpoch)
    );
}

#[test]
fn after_a_marker_with_a_new_epoch_sequences_begin_again() {
    let mut states = ProducerStates::default();
    append(&mut states, sent(0, 0, 0).transactional());
    let abort = sent(1, -1, 1).control();
    append_as(
        &mut states,
        abort,
        Some(marker(true, 0)),
        Origin::Coordinator,
        UNVERIFIED,
    )
    .unwrap();
    assert!(states.get(ProducerId(P)).unwrap().batches().is_empty());
    assert_eq!(
        error(&states, sent(1, 1, 2)),
        Some(ErrorCode::OutOfOrderSequenceNumber)
    );
    assert_eq!(error(&states, sent(1, 0, 2)), None);
    assert_eq!(
        error(&states, sent(0, 1, 2)),
        Some(ErrorCode::InvalidProducerEpoch)
    );
}

#[test]
fn a_marker_of_the_same_epoch_keeps_the_batches() {
    let mut states = ProducerStates::default();
    append(&mut states, sent(0, 0, 0).transactional());
    let commit = sent(0, -1, 1).control();
    append_as(
        &mut states,
        commit,
        Some(marker(false, 0)),
        Origin::Coordinator,
        UNVERIFIED,
    )
    .unwrap();
    assert_eq!(
        duplicate(&states, sent(0, 0, 9).transactional()),
        Some((0, 0, 1000))
    );
    assert_eq!(error(&states, sent(0, 1, 2)), None);
}

#[test]
fn a_transaction_needs_a_vouched_guard_to_begin() {
    let mut states = ProducerStates::default();
    let first = sent(0, 0, 0).transactional();
    let refused = Some(ErrorCode::InvalidTxnState);
    for origin in [Origin::Client, Origin::Coordinator] {
        assert_eq!(error_as(&states, first, None, origin, UNVERIFIED), refused);
        assert_eq!(error_as(&states, first, None, origin, VERIFIED), None);
    }
    assert_eq!(
        error_as(&states, first, None, Origin::Replication, UNVERIFIED),
        None
    );

    let guard = states.begin_verification(ProducerId(P), ProducerEpoch(0), 0, 1);
    assert!(guard.is_some());
    assert_eq!(
        states.begin_verification(ProducerId(P), ProducerEpoch(0), 0, 2),
        guard,
        "the same verification"
    );
    assert_eq!(
        error_as(&states, first, None, Origin::Client, UNVERIFIED),
        refused
    );
    append_as(
        &mut states,
        first,
        None,
        Origin::Client,
        Verification::Required(guard),
    )
    .unwrap();

    // Open now: no guard is given or needed, until the marker. Then the old guard is worth nothing.
    assert_eq!(
        states.begin_verification(ProducerId(P), ProducerEpoch(0), 1, 3),
        None
    );
    let second = sent(0, 1, 1).transactional();
    append_as(&mut states, second, None, Origin::Client, UNVERIFIED).unwrap();
    let commit = sent(0, -1, 2).control();
    append_as(
        &mut states,
        commit,
        Some(marker(false, 0)),
        Origin::Coordinator,
        UNVERIFIED,
    )
    .unwrap();
    let third = sent(0, 2, 3).transactional();
    let old = Verification::Required(guard);
    assert_eq!(error_as(&states, third, None, Origin::Client, old), refused);
    let newer = states.begin_verification(ProducerId(P), ProducerEpoch(0), 2, 4);
    assert_ne!(newer, guard);
    assert_eq!(error_as(&states, third, None, Origin::Client, old), refused);
    append_as(
        &mut states,
        third,
        None,
        Origin::Client,
        Verification::Required(newer),
    )
    .unwrap();
}

#[test]
fn a_marker_ends_a_pending_verification() {
    let mut states = ProducerStates::default();
    let guard = states.begin_verification(ProducerId(P), ProducerEpoch(0), 0, 1);
    let abort = sent(0, -1, 0).control();
    append_as(
        &mut states,
        abort,
        Some(marker(true, 0)),
        Origin::Coordinator,
        UNVERIFIED,
    )
    .unwrap();
    assert_eq!(states.pending_verifications(), 0);
    let late = sent(0, 0, 1).transactional();
    assert_eq!(
        error_as(&states, late, None, Origin::Client, Verification::Required(guard)),
        Some(ErrorCode::InvalidTxnState)
    );
}

#[test]
fn the_batch_behind_one_that_is_tried_again_has_to_wait() {
    let mut states = ProducerStates::default();
    let verify = |states: &mut ProducerStates, epoch, sequence| {
        Verification::Required(states.begin_verification(ProducerId(P), ProducerEpoch(epoch), sequence, 1))
    };
    let guard = verify(&mut states, 0, 0);
    assert_eq!(verify(&mut states, 0, 5), guard);
    let later = sent(0, 5, 0).transactional();
    let out_of_order = Some(ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(
        error_as(&states, later, None, Origin::Client, guard),
        out_of_order
    );
    let first = sent(0, 0, 0).records(5).transactional();
    assert_eq!(error_as(&states, first, None, Origin::Client, guard), None);
    // A new epoch counts anew.
    verify(&mut states, 1, 3);
    assert_eq!(
        error_as(
            &states,
            sent(1, 3, 0).transactional(),
            None,
            Origin::Client,
            guard
        ),
        None
    );
    states.expire(100, 99);
    assert_eq!(states.pending_verifications(), 0);
}

#[test]
fn a_stale_epoch_is_told_before_a_missing_verification() {
    let mut states = ProducerStates::default();
    append(&mut states, sent(2, 0, 0));
    let stale = sent(1, 0, 1).transactional();
    assert_eq!(
        error_as(&states, stale, None, Origin::Client, UNVERIFIED),
        Some(ErrorCode::InvalidProducerEpoch)
    );
}

#[test]
fn nothing_plain_goes_into_an_open_transaction() {
    let mut states = ProducerStates::default();
    append(&mut states, sent(0, 0, 0).transactional());
    assert_eq!(error(&states, sent(0, 1, 1)), Some(ErrorCode::InvalidTxnState));
    assert_eq!(
        error(&states, sent(0, 2, 1)),
        Some(ErrorCode::OutOfOrderSequenceNumber)
    );
    assert_eq!(error(&states, sent(0, 1, 1).transactional()), None);
}

#[test]
fn markers_of_old_producers_and_coordinators_are_refused() {
    let mut states = ProducerStates::default();
    let commit = |epoch| sent(epoch, -1, 0).control();
    let coordinator = |states: &ProducerStates, epoch, coordinator_epoch| {
        let marker = Some(marker(false, coordinator_epoch));
        error_as(states, commit(epoch), marker, Origin::Coordinator, UNVERIFIED)
    };
    assert_eq!(coordinator(&states, 3, 5), None, "an unknown producer is fine");
    append_as(
        &mut states,
        commit(3),
        Some(marker(false, 5)),
        Origin::Coordinator,
        UNVERIFIED,
    )
    .unwrap();
    assert_eq!(coordinator(&states, 3, 5), None);
    assert_eq!(coordinator(&states, 4, 6), None);
    assert_eq!(coordinator(&states, 2, 6), Some(ErrorCode::InvalidProducerEpoch));
    let fenced = Some(ErrorCode::TransactionCoordinatorFenced);
    assert_eq!(coordinator(&states, 3, 4), fenced);
    assert_eq!(coordinator(&states, 3, -1), fenced);
    let replicated = error_as(
        &states,
        commit(2),
        Some(marker(false, 4)),
        Origin::Replication,
        UNVERIFIED,
    );
    assert_eq!(replicated, None);
}

#[test]
fn a_replicated_batch_is_taken_as_it_comes() {
    let mut states = ProducerStates::default();
    append(&mut states, sent(5, 0, 0).transactional());
    for batch in [sent(4, 9, 1), sent(5, 77, 2), sent(9, 3, 3).transactional()] {
        append_as(&mut states, batch, None, Origin::Replication, UNVERIFIED).unwrap();
    }
    let entry = states.get(ProducerId(P)).unwrap();
    assert_eq!((entry.epoch(), entry.last_sequence()), (ProducerEpoch(9), 3));
    assert_eq!(states.first_unstable_offset(), Some(Offset(0)));
}

#[test]
fn control_batches_without_a_marker_change_nothing() {
    let mut states = ProducerStates::default();
    append_as(
        &mut states,
        sent(0, -1, 0).control(),
        None,
        Origin::Replication,
        VERIFIED,
    )
    .unwrap();
    assert_eq!(states.count(), 0);
}

#[test]
fn the_last_stable_offset_waits_for_the_high_watermark() {
    let mut states = ProducerStates::default();
    append(&mut states, sent(0, 0, 10).transactional());
    assert_eq!(states.first_unstable_offset(), Some(Offset(10)));
    let abort = sent(0, -1, 11).control().header();
    let check = states.check(&abort, Some(marker(true, 0)), Origin::Coordinator, UNVERIFIED);
    let Ok(Check::Append(update)) = check else {
        panic!()
    };
    let completed = states.apply(update, usize::MAX).unwrap();
    // Until the index has the entry, the transaction holds the last stable offset, whatever the high watermark.
    states.on_high_watermark(Offset(100));
    assert_eq!(states.first_unstable_offset(), Some(Offset(10)));
    assert_eq!(states.aborted(&completed).unwrap().last_stable_offset, Offset(12));
    states.complete(&completed);
    states.on_high_watermark(Offset(11));
    assert_eq!(
        states.first_unstable_offset(),
        Some(Offset(10)),
        "the marker itself is not below it"
    );
    assert_eq!(states.first_undecided_offset(), None);
    states.on_high_watermark(Offset(12));
    assert_eq!(states.first_unstable_offset(), None);
}

#[test]
fn idle_producers_expire_but_not_with_an_open_transaction() {
    let mut states = ProducerStates::default();
    append(&mut states, sent(0, 0, 0).transactional());
    assert_eq!(states.expire(i64::MAX, 10), 0);
    let commit = sent(0, -1, 1).control();
    append_as(
        &mut states,
        commit,
        Some(marker(false, 0)),
        Origin::Coordinator,
        UNVERIFIED,
    )
    .unwrap();
    assert_eq!(states.expire(1010, 10), 0);
    assert_eq!(states.expire(1011, 10), 1);
    assert_eq!(error(&states, sent(0, 9, 2)), None);
}

#[test]
fn a_snapshot_keeps_the_last_batch_and_open_transactions() {
    let mut states = ProducerStates::default();
    append(&mut states, sent(0, 0, 0));
    append(&mut states, sent(0, 1, 1).records(2).transactional());
    let restored =
        ProducerStates::from_snapshot(&states.to_snapshot(), Offset(3), 1001, 10, usize::MAX).unwrap();
    assert_eq!(restored.first_unstable_offset(), Some(Offset(1)));
    assert_eq!(
        duplicate(&restored, sent(0, 1, 9).records(2).transactional()),
        Some((1, 2, 1001))
    );
    assert_eq!(duplicate(&restored, sent(0, 0, 9)), None);
    assert_eq!(error(&restored, sent(0, 3, 3).transactional()), None);
    assert_eq!(restored.end_offset(), Offset(3));
    assert_eq!(restored.to_snapshot(), states.to_snapshot());
}

#[test]
fn deleted_records_leave_their_producer_known() {
    let mut states = ProducerStates::default();
    append(&mut states, sent(0, 0, 0).records(10));
    states.on_log_start_offset(Offset(10), None);
    assert_eq!(error(&states, sent(0, 10, 10)), None);
    assert_eq!(
        error(&states, sent(0, 11, 10)),
        Some(ErrorCode::OutOfOrderSequenceNumber)
    );
    states.truncate_fully(Offset(50));
    assert_eq!((states.count(), states.end_offset()), (0, Offset(50)));
}
