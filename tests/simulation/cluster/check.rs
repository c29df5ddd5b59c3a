//! Judges a run after Jepsen's kafka workload: from what clients learned, what the store was told, and the logs on the
//! disks in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use barnabas::base::disk::Disk;
use barnabas::records::batch::Batches;
use bytes::Bytes;

use super::observed::{Known, Place, may_be_lost};
use super::{PARTITIONS, TOPIC};

/// The bytes of a partition's log on a disk, and the offset behind its last whole batch.
pub fn log(disk: &Disk, directory: &str, partition: i32) -> (Vec<u8>, i64) {
    let folder = format!("{directory}/{TOPIC}-{partition}");
    let folder = Path::new(&folder);
    let mut bytes = Vec::new();
    for entry in disk.list(folder).unwrap_or_default() {
        if entry.name.ends_with(".log") {
            bytes.extend(disk.read(&folder.join(entry.name), usize::MAX).unwrap());
        }
    }
    let mut end = 0;
    for batch in Batches::new(&bytes) {
        let Ok(batch) = batch else { break };
        if batch.check_crc().is_err() {
            break;
        }
        end = batch.header().base_offset.get() + i64::from(batch.header().last_offset_delta) + 1;
    }
    (bytes, end)
}

/// A record in a log, with the leader's epoch of its batch.
struct Logged {
    value: Bytes,
    epoch: i32,
}

fn records(bytes: &[u8], partition: i32, into: &mut BTreeMap<Place, Logged>) -> Result<(), String> {
    let mut next = 0;
    for batch in Batches::new(bytes) {
        let batch = batch.map_err(|error| format!("{partition}: {error:?} behind offset {next}"))?;
        let epoch = batch.header().partition_leader_epoch.get();
        let mut records = batch.records(None).unwrap();
        while let Some(record) = records.next().unwrap() {
            let offset = record.offset.get();
            if offset != next {
                return Err(format!("{partition}: offset {offset} comes where {next} should"));
            }
            next += 1;
            let value = Bytes::copy_from_slice(record.value.unwrap());
            into.insert((partition, offset), Logged { value, epoch });
        }
    }
    Ok(())
}

/// Who led in which epoch of which partition, as the store was told.
pub type Leaders = BTreeMap<(i32, i32), i32>;

/// All that is wrong.
pub fn judge(known: &Known, disks: &[(Disk, String)], leaders: &Leaders) -> Vec<String> {
    let mut wrong = known.violations.clone();
    let mut logged = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let logs: Vec<_> = disks
            .iter()
            .map(|(disk, directory)| log(disk, directory, partition))
            .collect();
        for (number, (bytes, end)) in logs.iter().enumerate() {
            if *bytes != logs[0].0 {
                wrong.push(format!(
                    "log matching: {partition} of broker {} ends at {end} and of broker 1 at {}, and they differ from byte {}",
                    number + 1,
                    logs[0].1,
                    bytes.iter().zip(&logs[0].0).take_while(|(one, other)| one == other).count(),
                ));
            }
        }
        // The longest, so that what one copy lacks is not told twice.
        let (bytes, _) = logs.iter().max_by_key(|(_, end)| *end).unwrap();
        wrong.extend(records(bytes, partition, &mut logged).err());
    }
    for (what, committed) in [
        ("lost-write", &known.acknowledged),
        ("read and then gone", &known.read),
    ] {
        for (place, record) in committed {
            match logged.get(place) {
                Some(there) if there.value == record.value => {}
                _ if may_be_lost(&known.cuts, *place, record) => {}
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
    for (place, record) in &known.acknowledged {
        if let Some(there) = logged.get(place).filter(|there| there.value == record.value)
            && let Some(leader) = leaders.get(&(place.0, there.epoch))
            && *leader != record.broker
            && known.repeated == 0
        {
            wrong.push(format!(
                "{place:?} of epoch {} acknowledged by {}, led by {leader}",
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
    for (place, record) in logged {
        if !known.sent.contains(&record.value) {
            wrong.push(format!("nobody sent {place:?} {:?}", record.value));
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
                "nonmonotonic sends: {place:?} {text} behind number {before}"
            ));
        }
    }
}

fn epochs(logged: &BTreeMap<Place, Logged>, leaders: &Leaders, wrong: &mut Vec<String>) {
    let mut last = BTreeMap::new();
    let mut unknown = BTreeSet::new();
    for (place, record) in logged {
        if !leaders.contains_key(&(place.0, record.epoch)) && unknown.insert((place.0, record.epoch)) {
            wrong.push(format!(
                "{place:?} is of epoch {}, which nobody led",
                record.epoch
            ));
        }
        if let Some(before) = last.insert(place.0, record.epoch)
            && before > record.epoch
        {
            wrong.push(format!(
                "epochs go back: {place:?} has {} behind {before}",
                record.epoch
            ));
        }
    }
}
