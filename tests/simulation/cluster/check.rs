//! Judges a run after Jepsen's kafka workload: from what clients learned, what the store was told, and the logs on the
//! disks in the end.

use std::collections::{BTreeMap, BTreeSet};

use barnabas::records::batch::Batches;
use bytes::Bytes;

use super::copies::{Copies, LogCopy};
use super::observed::{Known, Place};
use super::{NUMBERS, PARTITIONS};

/// A record in a log, with the leader's epoch of its batch.
struct Logged {
    value: Bytes,
    epoch: i32,
}

/// Who led in which epoch of which partition, as the store was told.
pub type Leaders = BTreeMap<(i32, i32), i32>;

/// The replicas of each partition.
pub type Assignments = BTreeMap<i32, Vec<i32>>;

/// Adds the records of a copy; those below `deleted` need not be there.
fn records(
    log: &LogCopy,
    partition: i32,
    deleted: i64,
    into: &mut BTreeMap<Place, Logged>,
) -> Result<(), String> {
    let mut next = log.batches.first().map_or(0, |batch| batch.base);
    if next > deleted {
        return Err(format!(
            "{partition} begins at {next}; records were deleted below {deleted}"
        ));
    }
    for batch in &log.batches {
        let mut batches = Batches::new(&batch.bytes);
        let view = batches.next().unwrap().unwrap();
        let mut records = view.records(None).unwrap();
        while let Some(record) = records.next().unwrap() {
            let offset = record.offset.get();
            if offset != next {
                return Err(format!("{partition}: offset {offset} comes where {next} should"));
            }
            next += 1;
            if offset < deleted {
                continue;
            }
            let value = Bytes::copy_from_slice(record.value.unwrap());
            let epoch = batch.epoch;
            into.insert((partition, offset), Logged { value, epoch });
        }
    }
    Ok(())
}

/// Two copies are the same where both have something that is not deleted: what lies below is read by nobody, and not by a
/// follower either, that was away when the others gave it up.
fn differ(one: &LogCopy, other: &LogCopy, deleted: i64) -> Option<String> {
    if one.end != other.end {
        return Some(format!("one ends at {}, the other at {}", one.end, other.end));
    }
    let mut pairs = one.batches.iter().rev().zip(other.batches.iter().rev());
    let (mine, theirs) =
        pairs.find(|(mine, theirs)| mine != theirs && mine.last.max(theirs.last) >= deleted)?;
    Some(format!(
        "batch {} of epoch {} here, {} of {} there",
        mine.base, mine.epoch, theirs.base, theirs.epoch
    ))
}

/// All that is wrong.
pub fn judge(known: &Known, copies: &[Copies], leaders: &Leaders, assignments: &Assignments) -> Vec<String> {
    let mut wrong = known.violations.clone();
    let mut logged = BTreeMap::new();
    for partition in 0..NUMBERS {
        for (copies, id) in copies.iter().zip(1..) {
            let folders = copies.folders(partition).len();
            // One that was away when it ceased to be a replica may have its copy still, as with Kafka.
            if folders > 1 {
                wrong.push(format!(
                    "two-folders: broker {id} has {partition} in {folders} directories"
                ));
            }
        }
        let replicas = assignments.get(&partition).into_iter().flatten();
        let logs: Vec<(i32, LogCopy)> = replicas
            .filter_map(|id| Some((*id, copies[*id as usize - 1].copy(partition)?)))
            .collect();
        for (id, log) in logs.iter().skip(1) {
            if let Some(how) = differ(&logs[0].1, log, known.deleted_below(partition)) {
                wrong.push(format!(
                    "log-matching: {partition} of brokers {} and {id}: {how}",
                    logs[0].0
                ));
            }
        }
        // The longest, so that what one copy lacks is not told twice.
        let longest = logs
            .iter()
            .map(|(_, log)| log)
            .max_by_key(|log| (log.end, log.batches.len()));
        if let Some(log) = longest {
            let added = records(log, partition, known.deleted_below(partition), &mut logged);
            wrong.extend(added.err().map(|what| format!("lost-write: {what}")));
        }
    }
    for (what, committed) in [
        ("lost-write", &known.acknowledged),
        ("read-then-gone", &known.read),
    ] {
        for (place, record) in committed {
            match logged.get(place) {
                Some(there) if there.value == record.value => {}
                _ if known.may_be_lost(*place, record) => {}
                there => wrong.push(format!(
                    "{what}: {place:?} {:?} from broker {} at {} with ISR {:?}; now {:?}",
                    record.value,
                    record.broker,
                    record.at_ms,
                    record.isr,
                    there.map(|there| &there.value)
                )),
            }
        }
    }
    for (place, record) in known.acknowledged.iter().filter(|(_, record)| record.once) {
        if let Some(there) = logged.get(place).filter(|there| there.value == record.value)
            && let Some(leader) = leaders.get(&(place.0, there.epoch))
            && *leader != record.broker
        {
            wrong.push(format!(
                "foreign-epoch: {place:?} of epoch {} acknowledged by {}, led by {leader}",
                there.epoch, record.broker
            ));
        }
    }
    unique_and_ordered(known, &logged, &mut wrong);
    epochs(&logged, leaders, &mut wrong);
    wrong
}

fn unique_and_ordered(known: &Known, logged: &BTreeMap<Place, Logged>, wrong: &mut Vec<String>) {
    let mut places = BTreeMap::new();
    let mut last: BTreeMap<(i32, String), u64> = BTreeMap::new();
    for (place, record) in logged.iter().filter(|(place, _)| place.0 < PARTITIONS) {
        if !known.sent.contains(&record.value) {
            wrong.push(format!("unsent: nobody sent {place:?} {:?}", record.value));
            continue;
        }
        if let Some(other) = places.insert(&record.value, place) {
            wrong.push(format!(
                "duplicate: {:?} at {other:?} and {place:?}",
                record.value
            ));
        }
        let text = String::from_utf8_lossy(&record.value).into_owned();
        let mut words = text.split(' ');
        let (producer, number) = (
            words.next().unwrap().to_owned(),
            words.next().unwrap().parse().unwrap(),
        );
        if let Some(before) = last.insert((place.0, producer), number)
            && before >= number
        {
            wrong.push(format!(
                "nonmonotonic-sends: {place:?} {text} behind number {before}"
            ));
        }
    }
}

fn epochs(logged: &BTreeMap<Place, Logged>, leaders: &Leaders, wrong: &mut Vec<String>) {
    let mut last = BTreeMap::new();
    let mut unknown = BTreeSet::new();
    for (place, record) in logged {
        if place.0 < PARTITIONS
            && !leaders.contains_key(&(place.0, record.epoch))
            && unknown.insert((place.0, record.epoch))
        {
            wrong.push(format!(
                "foreign-epoch: {place:?} is of epoch {}, which nobody led",
                record.epoch
            ));
        }
        if let Some(before) = last.insert(place.0, record.epoch)
            && before > record.epoch
        {
            wrong.push(format!(
                "foreign-epoch: {place:?} has {} behind {before}",
                record.epoch
            ));
        }
    }
}
