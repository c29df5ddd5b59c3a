use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::base::ids::LeaderEpoch;
use crate::records::batch::BatchHeader;

const TRANSACTIONAL: u8 = 0x10;
const CONTROL: u8 = 0x20;

fn header(producer: i64, sequence: i32, offset: i64, attributes: u8) -> BatchHeader {
    BatchHeader {
        magic: 2,
        size_in_bytes: 100,
        base_offset: Offset(offset),
        last_offset_delta: 0,
        partition_leader_epoch: LeaderEpoch(0),
        crc: 0,
        attributes,
        base_timestamp: 7,
        max_timestamp: 7,
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        base_sequence: sequence,
        record_count: 1,
    }
}

fn marker() -> Marker {
    Marker {
        is_abort: false,
        coordinator_epoch: 0,
    }
}

/// Appends without any check, as recovery does.
fn append(states: &mut ProducerStates, most: usize, header: &BatchHeader) {
    let marker = header.is_control().then(marker);
    let check = states.check(header, marker, Origin::Replication, Verification::Disabled);
    let Ok(Check::Append(update)) = check else {
        panic!("{check:?}");
    };
    if let Some(completed) = states.apply(update, most) {
        states.complete(&completed);
    }
    states.set_end_offset(header.next_offset());
}

fn known(states: &ProducerStates) -> Vec<i64> {
    states.producers().map(|(id, _)| id.get()).collect()
}

#[test]
fn the_one_that_wrote_least_recently_goes_and_is_unknown_then() {
    let mut states = ProducerStates::new(Offset::ZERO);
    for (offset, producer) in [1, 2, 3, 1, 4].into_iter().enumerate() {
        let sequence = i32::from(offset == 3);
        append(&mut states, 3, &header(producer, sequence, offset as i64, 0));
    }
    assert_eq!(known(&states), [1, 3, 4]);
    // Of 1 its last batches are known still; 2 may go on with any sequence, as nothing is known of it.
    let check = |header| states.check(&header, None, Origin::Client, Verification::Disabled);
    assert!(matches!(check(header(1, 0, 9, 0)), Ok(Check::Duplicate(_))));
    assert!(matches!(
        check(header(1, 5, 9, 0)),
        Err(ProducerError::OutOfOrderSequence { .. })
    ));
    assert!(matches!(check(header(2, 5, 9, 0)), Ok(Check::Append(_))));
}

#[test]
fn an_open_transaction_is_never_forgotten() {
    let mut states = ProducerStates::new(Offset::ZERO);
    append(&mut states, 2, &header(1, 0, 0, TRANSACTIONAL));
    append(&mut states, 2, &header(2, 0, 1, TRANSACTIONAL));
    append(&mut states, 2, &header(3, 0, 2, TRANSACTIONAL));
    assert_eq!(known(&states), [1, 2, 3]);
    // Who has just written stays, though nobody else may go.
    append(&mut states, 2, &header(4, 0, 3, 0));
    assert_eq!(known(&states), [1, 2, 3, 4]);
    append(&mut states, 2, &header(1, 0, 4, TRANSACTIONAL | CONTROL));
    assert_eq!(known(&states), [1, 2, 3]);
    assert_eq!(states.first_undecided_offset(), Some(Offset(1)));
    append(&mut states, 2, &header(5, 0, 5, 0));
    assert_eq!(known(&states), [2, 3, 5]);
    // A fresh start of the order: those that expired are gone from it.
    assert_eq!(states.expire(100, 1), 1);
    append(&mut states, 2, &header(6, 0, 6, 0));
    append(&mut states, 2, &header(7, 0, 7, 0));
    assert_eq!(known(&states), [2, 3, 7]);
}

#[test]
fn of_a_snapshot_with_more_the_newest_stay() {
    let mut states = ProducerStates::new(Offset::ZERO);
    for offset in 0..100_i64 {
        let attributes = if offset == 3 { TRANSACTIONAL } else { 0 };
        append(
            &mut states,
            usize::MAX,
            &header(1000 - offset, 0, offset, attributes),
        );
    }
    let restored = ProducerStates::from_snapshot(&states.to_snapshot(), Offset(100), 8, 100, 10);
    let mut expected: Vec<i64> = (91..100).map(|offset| 1000 - offset).rev().collect();
    expected.push(997);
    assert_eq!(known(&restored.unwrap()), expected);
    // Those that expired make room first.
    let none = ProducerStates::from_snapshot(&states.to_snapshot(), Offset(100), 107, 100, 10);
    assert_eq!(known(&none.unwrap()), [997]);
}

proptest! {
    /// The newest producers and those with an open transaction are known, whatever came before.
    #[test]
    fn the_newest_and_the_open_are_known(
        most in 1..6_usize,
        steps in proptest::collection::vec((0..12_i64, 0..4_u8), 0..120),
    ) {
        let mut states = ProducerStates::new(Offset::ZERO);
        let mut recent: Vec<i64> = Vec::new();
        let mut open = BTreeSet::new();
        for (offset, (producer, kind)) in steps.into_iter().enumerate() {
            let attributes = match kind {
                0 => { open.remove(&producer); TRANSACTIONAL | CONTROL }
                1 => { open.insert(producer); TRANSACTIONAL }
                _ => 0,
            };
            append(&mut states, most, &header(producer, 0, offset as i64, attributes));
            recent.retain(|other| *other != producer);
            recent.push(producer);
            while recent.len() > most {
                let last = recent.len() - 1;
                let Some(gone) = recent[..last].iter().position(|other| !open.contains(other)) else {
                    break;
                };
                recent.remove(gone);
            }
            let mut expected = recent.clone();
            expected.sort_unstable();
            prop_assert_eq!(known(&states), expected);
        }
    }
}
