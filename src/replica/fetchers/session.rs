//! The follower's side of a fetch session (KIP-227; Kafka: `FetchSessionHandler`): what of the partitions the leader still
//! has to be told. Decisions only.
//!
//! Invariant: the members are what the leader knows, once the request that is being made was answered; whatever is not
//! certain to be so ends the session. A request names only what changed, and costs nothing for what did not.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::error_code::ErrorCode;
use crate::base::ids::{TopicId, TopicPartition};
use crate::replica::fetch_session::{INITIAL_EPOCH, NO_SESSION, next_epoch};

/// The follower's side of a session.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    epoch: i32,
    /// The partitions that the leader knows, by the topic ids that it knows them by.
    members: BTreeMap<TopicPartition, TopicId>,
    /// Those that the next request takes out.
    forgotten: BTreeMap<TopicPartition, TopicId>,
}

impl Session {
    /// The session's part of the next request: id and epoch.
    pub(super) fn id_and_epoch(&self) -> (i32, i32) {
        (self.id, self.epoch)
    }

    /// True when the next request names all partitions.
    pub(super) fn is_full(&self) -> bool {
        self.epoch == INITIAL_EPOCH
    }

    /// The next request is a full one with these partitions.
    pub(super) fn begin_full(&mut self, members: impl Iterator<Item = (TopicPartition, TopicId)>) {
        self.members = members.collect();
        self.forgotten.clear();
    }

    /// The next request names this partition: it is new or its offset changed.
    pub(super) fn name(&mut self, partition: &TopicPartition, id: TopicId) {
        match self.members.insert(partition.clone(), id) {
            // The topic was made anew: the leader knows another one by this name.
            Some(earlier) if earlier != id => {
                self.forgotten.insert(partition.clone(), earlier);
            }
            _ => {
                if self.forgotten.get(partition) == Some(&id) {
                    self.forgotten.remove(partition);
                }
            }
        }
    }

    /// The partition is not to be fetched any more.
    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        if let Some(id) = self.members.remove(partition) {
            self.forgotten.insert(partition.clone(), id);
        }
    }

    /// What the next request takes out of the session.
    pub(super) fn take_forgotten(&mut self) -> BTreeMap<TopicPartition, TopicId> {
        std::mem::take(&mut self.forgotten)
    }

    /// Takes the session's part of an answer. False when the answer is to be thrown
    /// away: then the next request is a full one.
    pub(super) fn answered(
        &mut self,
        error: ErrorCode,
        session_id: i32,
        answered: &[TopicPartition],
    ) -> bool {
        if !error.is_none() {
            if error == ErrorCode::FetchSessionIdNotFound {
                self.reset();
            } else {
                self.broken();
            }
            return false;
        }
        let known = answered.iter().all(|one| self.members.contains_key(one));
        if self.is_full() {
            let named: BTreeSet<&TopicPartition> = answered.iter().collect();
            if !known || named.len() != self.members.len() {
                self.broken();
                return false;
            }
            self.id = session_id;
            self.epoch = if session_id == NO_SESSION {
                INITIAL_EPOCH
            } else {
                next_epoch(INITIAL_EPOCH)
            };
            return true;
        }
        if !known {
            self.broken();
            return false;
        }
        if session_id == NO_SESSION {
            // The leader has closed it.
            self.reset();
        } else {
            self.epoch = next_epoch(self.epoch);
        }
        true
    }

    /// No session is left.
    fn reset(&mut self) {
        self.id = NO_SESSION;
        self.epoch = INITIAL_EPOCH;
    }

    /// It is not known what the leader knows: the next request closes the session and begins another one.
    pub(super) fn broken(&mut self) {
        self.epoch = INITIAL_EPOCH;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Uuid;

    const ID: TopicId = Uuid([1; 16]);
    const OTHER: TopicId = Uuid([2; 16]);

    fn name(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    fn opened() -> Session {
        let mut session = Session::default();
        session.begin_full([(name(0), ID), (name(1), ID)].into_iter());
        assert!(session.answered(ErrorCode::None, 7, &[name(1), name(0)]));
        assert_eq!(session.id_and_epoch(), (7, 1));
        session
    }

    #[test]
    fn a_session_counts_its_requests() {
        let mut session = opened();
        assert!(!session.is_full());
        assert!(session.answered(ErrorCode::None, 7, &[]));
        assert!(session.answered(ErrorCode::None, 7, &[name(1)]));
        assert_eq!(session.id_and_epoch(), (7, 3));
        session.epoch = i32::MAX;
        assert!(session.answered(ErrorCode::None, 7, &[]));
        assert_eq!(session.id_and_epoch(), (7, 1));
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "rows of a table")]
    fn answers_that_do_not_fit_end_the_session() {
        let all = [name(0), name(1)];
        // Full or incremental, the answer; whether it counts, and id and epoch of the next request.
        let full: [(&[TopicPartition], i32, bool, (i32, i32)); 4] = [
            (&all, 0, true, (0, 0)),
            (&all[..1], 7, false, (0, 0)),
            (&[name(0), name(1), name(2)], 7, false, (0, 0)),
            (&[name(0), name(0)], 7, false, (0, 0)),
        ];
        for (answered, id, counts, next) in full {
            let mut session = Session::default();
            session.begin_full(all.clone().into_iter().map(|name| (name, ID)));
            assert_eq!(session.answered(ErrorCode::None, id, answered), counts);
            assert_eq!(session.id_and_epoch(), next, "{answered:?}");
        }
        let incremental: [(ErrorCode, &[TopicPartition], i32, bool, (i32, i32)); 5] = [
            (ErrorCode::None, &[name(2)], 7, false, (7, 0)),
            (ErrorCode::None, &all, 0, true, (0, 0)),
            (ErrorCode::FetchSessionIdNotFound, &[], 0, false, (0, 0)),
            (ErrorCode::InvalidFetchSessionEpoch, &[], 0, false, (7, 0)),
            (ErrorCode::FetchSessionTopicIdError, &[], 0, false, (7, 0)),
        ];
        for (error, answered, id, counts, next) in incremental {
            let mut session = opened();
            assert_eq!(session.answered(error, id, answered), counts);
            assert_eq!(session.id_and_epoch(), next, "{error} {answered:?}");
            assert!(session.is_full());
        }
    }

    #[test]
    fn the_leader_is_told_of_what_goes_and_of_topics_made_anew() {
        let mut session = opened();
        session.forget(&name(0));
        session.name(&name(1), OTHER);
        session.name(&name(2), ID);
        session.forget(&name(9));
        let forgotten: Vec<_> = session.take_forgotten().into_iter().collect();
        assert_eq!(forgotten, [(name(0), ID), (name(1), ID)]);
        assert!(session.answered(ErrorCode::None, 7, &[name(1), name(2)]));
        assert!(session.take_forgotten().is_empty());
        // One that goes and comes back before the next request stays.
        session.forget(&name(2));
        session.name(&name(2), ID);
        assert!(session.take_forgotten().is_empty());
    }
}
