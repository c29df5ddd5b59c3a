//! The table of offsets against a plain model, and its count of bytes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Committed, OffsetTable};
use crate::base::ids::Offset;
use crate::coordinator::EndedTransaction;
use crate::group::record::OffsetValue;
use crate::wire::text::Text;

/// A marker of a producer; what it changes is replicated or not.
fn ended(producer_id: i64, commit: bool, at: usize, replicated: bool) -> EndedTransaction {
    EndedTransaction {
        producer_id,
        producer_epoch: 0,
        commit,
        offset: Offset(at as i64),
        replicated,
    }
}

const GROUPS: [&str; 2] = ["g", "h"];
const TOPICS: [&str; 2] = ["t", "u"];

type Place = (usize, usize, i32);

#[derive(Clone, Debug)]
enum Change {
    Put(Place, usize),
    PutPending(i64, Place, usize),
    Remove(Place),
    End(i64, bool),
}

fn change() -> impl Strategy<Value = Change> {
    let place = || (0..GROUPS.len(), 0..TOPICS.len(), 0..2);
    prop_oneof![
        3 => (place(), 0..9usize).prop_map(|(place, note)| Change::Put(place, note)),
        3 => (0..3i64, place(), 0..9usize).prop_map(|(producer, place, note)| Change::PutPending(producer, place, note)),
        2 => place().prop_map(Change::Remove),
        2 => (0..3i64, any::<bool>()).prop_map(|(producer, commit)| Change::End(producer, commit)),
    ]
}

fn committed(at: usize, note: usize) -> Committed {
    Committed {
        value: OffsetValue {
            offset: at as i64,
            leader_epoch: -1,
            metadata: Text::from("n".repeat(note)),
            commit_timestamp_ms: 0,
            expire_timestamp_ms: None,
        },
        log_offset: Offset(at as i64),
    }
}

#[derive(Default)]
struct Model {
    committed: BTreeMap<Place, Committed>,
    pending: BTreeMap<(i64, Place), Committed>,
}

impl Model {
    fn end(&mut self, producer: i64, commit: bool) {
        let places: Vec<Place> = self
            .pending
            .keys()
            .filter(|(id, _)| *id == producer)
            .map(|(_, place)| *place)
            .collect();
        for place in places {
            let pending = self.pending.remove(&(producer, place)).unwrap();
            let later = self
                .committed
                .get(&place)
                .is_none_or(|known| known.log_offset < pending.log_offset);
            if commit && later {
                self.committed.insert(place, pending);
            }
        }
    }

    fn check(&self, table: &OffsetTable) {
        for (number, group) in GROUPS.iter().enumerate() {
            let ours: Vec<_> = self
                .committed
                .iter()
                .filter(|(place, _)| place.0 == number)
                .collect();
            assert_eq!(table.count(group), ours.len());
            let found: Vec<_> = table
                .iter(group)
                .map(|(topic, partition, one)| ((topic.to_string(), partition), one))
                .collect();
            let expected: Vec<_> = ours
                .iter()
                .map(|(place, one)| ((TOPICS[place.1].to_owned(), place.2), *one))
                .collect();
            assert_eq!(found, expected);
            let pending = self.pending.keys().any(|(_, place)| place.0 == number);
            assert_eq!(table.has_pending(group), pending);
            assert_eq!(table.contains(group), pending || !ours.is_empty());
            for (number_of_topic, topic) in TOPICS.iter().enumerate() {
                for partition in 0..2 {
                    let place = (number, number_of_topic, partition);
                    let pending = self.pending.keys().any(|(_, other)| *other == place);
                    assert_eq!(table.is_pending(group, topic, partition), pending);
                    assert_eq!(table.get(group, topic, partition), self.committed.get(&place));
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn the_table_is_as_the_log_says(changes in prop::collection::vec(change(), 0..60)) {
        let mut table = OffsetTable::default();
        let mut model = Model::default();
        for (at, change) in changes.into_iter().enumerate() {
            match change {
                Change::Put(place, note) => {
                    let one = committed(at, note);
                    model.committed.insert(place, one.clone());
                    table.put(GROUPS[place.0], TOPICS[place.1], place.2, one, true);
                }
                Change::PutPending(producer, place, note) => {
                    let one = committed(at, note);
                    model.pending.insert((producer, place), one.clone());
                    table.put_pending(producer, GROUPS[place.0], TOPICS[place.1], place.2, one);
                }
                Change::Remove(place) => {
                    model.committed.remove(&place);
                    table.remove(GROUPS[place.0], TOPICS[place.1], place.2);
                }
                Change::End(producer, commit) => {
                    model.end(producer, commit);
                    table.end_transaction(&ended(producer, commit, at, true));
                }
            }
            model.check(&table);
        }
        // Nothing is counted that is not there.
        for producer in 0..3 {
            table.end_transaction(&ended(producer, false, 0, true));
        }
        for place in model.committed.keys() {
            table.remove(GROUPS[place.0], TOPICS[place.1], place.2);
        }
        prop_assert_eq!(table.bytes(), 0);
    }
}

/// What others are told of one partition after each change, by the plainest rule: of what follows the last tombstone the last
/// that is replicated.
#[derive(Default)]
struct Told(Vec<(usize, Option<Committed>)>);

impl Told {
    fn told(&self, below: usize) -> Option<&Committed> {
        let removed = self.0.iter().rposition(|(_, change)| change.is_none());
        let left = self.0.get(removed.map_or(0, |at| at + 1)..).unwrap_or_default();
        let known = left.iter().rev().find(|(at, _)| *at < below);
        known.and_then(|(_, change)| change.as_ref())
    }

    fn is_unreplicated(&self, below: usize) -> bool {
        self.0
            .last()
            .is_some_and(|(at, change)| *at >= below && change.is_some())
    }
}

proptest! {
    #[test]
    fn what_is_told_is_what_the_replicas_have(
        changes in prop::collection::vec((change(), prop::option::of(0..4usize)), 0..60),
    ) {
        let mut table = OffsetTable::default();
        let mut model = Model::default();
        let mut told: BTreeMap<Place, Told> = BTreeMap::new();
        let mut below = 0;
        for (at, (change, lag)) in changes.into_iter().enumerate() {
            let before = model.committed.clone();
            match change {
                Change::Put(place, note) => {
                    let one = committed(at, note);
                    model.committed.insert(place, one.clone());
                    told.entry(place).or_default().0.push((at, Some(one.clone())));
                    table.put(GROUPS[place.0], TOPICS[place.1], place.2, one, false);
                }
                Change::PutPending(producer, place, note) => {
                    let one = committed(at, note);
                    model.pending.insert((producer, place), one.clone());
                    table.put_pending(producer, GROUPS[place.0], TOPICS[place.1], place.2, one);
                }
                Change::Remove(place) => {
                    model.committed.remove(&place);
                    told.entry(place).or_default().0.push((at, None));
                    table.remove(GROUPS[place.0], TOPICS[place.1], place.2);
                }
                Change::End(producer, commit) => {
                    model.end(producer, commit);
                    for (place, one) in &model.committed {
                        if before.get(place) != Some(one) {
                            told.entry(*place).or_default().0.push((at, Some(one.clone())));
                        }
                    }
                    table.end_transaction(&ended(producer, commit, at, false));
                }
            }
            if let Some(lag) = lag {
                below = below.max((at + 1).saturating_sub(lag));
                table.replicated(Offset(below as i64));
            }
            model.check(&table);
            for (place, told) in &told {
                let (group, topic) = (GROUPS[place.0], TOPICS[place.1]);
                prop_assert_eq!(table.told(group, topic, place.2), told.told(below));
                prop_assert_eq!(
                    table.is_unreplicated(group, topic, place.2),
                    told.is_unreplicated(below)
                );
            }
        }
        table.replicated(Offset(1_000));
        prop_assert_eq!(table.unreplicated_bytes(), 0);
    }
}
