//! Changes of the ISR, from the leader that wants them to the controller that makes them, and back (Kafka's
//! `AlterPartitionManager`, and the part of `Partition` that talks to it).
//!
//! Invariant: one request of a broker is in flight at a time, with all changes that wait then; a change that got no
//! certain answer is sent again, unchanged, until it gets one or a decision of the controller overtakes it. The
//! controller takes the same change twice for once, so a lost answer does no harm. A change that is refused again and
//! again is sent more and more seldom and holds up no other.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::base::clock::{self, Instant};
use crate::base::error_code::ErrorCode;
use crate::base::ids::{BrokerEpoch, BrokerId, LeaderEpoch, TopicId, TopicPartition};
use crate::base::shutdown::Shutdown;
use crate::base::task;

use super::directories::HostDirectory;
use super::leadership::{Answered, IsrChange, IsrState};
use super::partition::{Partition, State};
use super::replicas::Replicas;
use super::waiting::Wakes;

/// The pause before a change is sent again, the first time; it doubles each time up to the second one.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A change of a partition's ISR, as AlterPartition carries it. The replica's recovery is over (`RECOVERED`): a leader
/// here has nothing to recover that its log does not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IsrProposal {
    /// The partition.
    pub partition: TopicPartition,
    /// The topic's id; zero for a topic that has none.
    pub topic_id: TopicId,
    /// The change.
    pub change: IsrChange,
}

impl IsrProposal {
    /// The epoch of the leader that proposes it.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.change.leader_epoch
    }

    /// The partition epoch that it builds on.
    pub fn partition_epoch(&self) -> i32 {
        self.change.partition_epoch
    }

    /// The members, each with the broker epoch that it told in its last fetch, −1 where it told none. A controller of
    /// Kafka in ZooKeeper mode leaves these epochs aside; ours may compare them with the registrations (KIP-903).
    pub fn isr(&self) -> &[(BrokerId, BrokerEpoch)] {
        &self.change.isr
    }
}

/// The controller's answer: the partitions with the state they have, or with the error of each. One that is missing is
/// sent again. The error of the whole (no controller, not the controller, a stale broker epoch, no connection): all are
/// sent again after a pause, with what the partitions want then.
pub type IsrAnswers = Result<Vec<(TopicPartition, Result<IsrState, ErrorCode>)>, ErrorCode>;

/// Has the controller change ISRs.
pub trait IsrChanger: Send + Sync {
    /// Sends one AlterPartition to the active controller and waits for its answer, or for the end of its patience. Called
    /// again only after it has returned.
    fn alter<'a>(
        &'a self,
        proposals: Vec<IsrProposal>,
    ) -> Pin<Box<dyn Future<Output = IsrAnswers> + Send + 'a>>;
}

struct Waiting {
    proposal: IsrProposal,
    not_before: Option<Instant>,
    pause: Duration,
}

/// The changes that wait to be sent, one a partition.
#[derive(Default)]
pub struct IsrQueue {
    waiting: Mutex<BTreeMap<TopicPartition, Waiting>>,
    changed: Notify,
}

impl IsrQueue {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a change sent. An older one of the same partition was overtaken and is not sent any more.
    pub(super) fn propose(&self, proposal: IsrProposal) {
        let waiting = Waiting {
            not_before: None,
            pause: PAUSE,
            proposal,
        };
        let partition = waiting.proposal.partition.clone();
        self.waiting().insert(partition, waiting);
        self.changed.notify_one();
    }

    /// Puts back what was sent. What came in meanwhile is newer, and stays.
    fn again(&self, sent: Sent, now: Instant) {
        let waiting = Waiting {
            not_before: Some(now.after(sent.pause)),
            pause: (sent.pause * 2).min(PAUSE_MAX),
            proposal: sent.proposal,
        };
        let partition = waiting.proposal.partition.clone();
        self.waiting().entry(partition).or_insert(waiting);
    }

    /// Takes out what may be sent now, or says when something may.
    fn take(&self, now: Instant) -> (Vec<Sent>, Option<Instant>) {
        let mut all = self.waiting();
        let due = all.extract_if(.., |_, one| one.not_before.is_none_or(|at| at <= now));
        let due: Vec<Sent> = due
            .map(|(_, one)| Sent {
                proposal: one.proposal,
                pause: one.pause,
            })
            .collect();
        let next = all.values().filter_map(|one| one.not_before).min();
        (due, next)
    }
}

/// A change that is with the controller.
struct Sent {
    proposal: IsrProposal,
    pause: Duration,
}

impl Replicas {
    /// Starts what sends changes of the ISR, and what looks for followers that lag.
    pub(super) fn start_isr(self: &Arc<Self>, shutdown: &Shutdown, changer: Arc<dyn IsrChanger>) {
        let lag_max = self.surroundings().lag_max;
        let half = (lag_max / 2).max(Duration::from_millis(1));
        self.every(shutdown, half, half, |replicas, directory| {
            replicas.shrink_isrs(directory, Instant::now());
        });
        let replicas = Arc::clone(self);
        let shutdown = shutdown.clone();
        task::spawn(async move { replicas.send_isr_changes(&shutdown, &*changer).await });
    }

    /// Has followers that lag for too long leave the ISRs of the partitions in a directory (`maybeShrinkIsr`). Blocks.
    pub(super) fn shrink_isrs(&self, directory: &Arc<HostDirectory>, now: Instant) {
        for partition in self.all_in(directory) {
            if let Some(proposal) = partition.propose_shrinking(now) {
                self.isr.propose(proposal);
            }
            partition.settle_for_waiters().dispatch();
        }
    }

    async fn send_isr_changes(&self, shutdown: &Shutdown, changer: &dyn IsrChanger) {
        loop {
            let (sent, next) = self.isr.take(Instant::now());
            if sent.is_empty() {
                tokio::select! {
                    biased;
                    () = shutdown.wait() => return,
                    () = self.isr.changed.notified() => {}
                    () = until(next) => {}
                }
                continue;
            }
            let proposals = sent.iter().map(|one| one.proposal.clone()).collect();
            let answers = tokio::select! {
                biased;
                () = shutdown.wait() => return,
                answers = changer.alter(proposals) => answers,
            };
            self.take_isr_answers(sent, answers, Instant::now());
        }
    }

    fn take_isr_answers(&self, sent: Vec<Sent>, answers: IsrAnswers, now: Instant) {
        let mut answers: BTreeMap<_, _> = match answers {
            Ok(answers) => answers.into_iter().collect(),
            Err(error) => {
                tracing::info!(changes = sent.len(), "changes of the ISR are sent again: {error}");
                BTreeMap::new()
            }
        };
        for one in sent {
            let partition = &one.proposal.partition;
            let answer = answers
                .remove(partition)
                .unwrap_or(Err(ErrorCode::UnknownServerError));
            let Some(found) = self.partition(&partition.topic, partition.partition) else {
                continue;
            };
            let (answered, wakes) = found.isr_answered(&one.proposal, answer, now);
            wakes.dispatch();
            if answered == Answered::Again {
                self.isr.again(one, now);
            }
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => clock::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl State {
    /// Proposes that a follower that has just fetched comes into the ISR, if it may.
    pub(super) fn propose_expansion(&mut self, follower: BrokerId, now: Instant) -> Option<IsrChange> {
        // Nearly always it is in it already, or not so far.
        if !self.leadership.could_expand(follower) {
            return None;
        }
        let image = self.surroundings.cluster.get();
        let registered = image.brokers.get(&follower).map(|broker| broker.epoch);
        let high_watermark = self.log.high_watermark();
        self.leadership
            .propose_expansion(follower, high_watermark, registered, now)
    }
}

impl Partition {
    /// A change, as it is sent to the controller.
    pub(super) fn proposal(&self, change: IsrChange) -> IsrProposal {
        let topic_id = self.lock().ok().and_then(|locked| locked.state.log.topic_id());
        IsrProposal {
            partition: self.name().clone(),
            topic_id: topic_id.unwrap_or_default(),
            change,
        }
    }

    fn propose_shrinking(&self, now: Instant) -> Option<IsrProposal> {
        let mut locked = self.lock().ok()?;
        let state = &mut *locked.state;
        let log_end = state.log.log_end_offset();
        let lag_max = state.surroundings.lag_max;
        let (change, out) = state.leadership.propose_shrinking(log_end, now, lag_max)?;
        let high_watermark = state.log.high_watermark();
        drop(locked);
        tracing::info!(
            partition = %self.name(),
            %log_end,
            %high_watermark,
            "brokers {out:?} lag and are to leave the ISR"
        );
        Some(self.proposal(change))
    }

    /// A follower that was waited for may be gone, or lag by now.
    fn settle_for_waiters(&self) -> Wakes {
        match self.lock() {
            Ok(mut locked) if !locked.state.waiters.is_empty() => locked.state.settle(),
            _ => Wakes::default(),
        }
    }

    /// Takes the controller's answer to a change of the ISR. The high watermark may move by it, and who waits for it is to
    /// be woken (KAFKA-13091).
    fn isr_answered(
        &self,
        proposal: &IsrProposal,
        answer: Result<IsrState, ErrorCode>,
        now: Instant,
    ) -> (Answered, Wakes) {
        let Ok(mut locked) = self.lock() else {
            // Its directory never will answer: then nobody leads it. Else it does not just now, or does again by now.
            let answered = if self.directory().is_offline() {
                Answered::Outdated
            } else {
                Answered::Again
            };
            return (answered, Wakes::default());
        };
        let error = answer.as_ref().err().copied();
        let state = &mut *locked.state;
        let is_namesake = !proposal.topic_id.is_zero() && state.log.topic_id() != Some(proposal.topic_id);
        let answered = match is_namesake {
            true => Answered::Outdated,
            false => state.leadership.isr_answered(&proposal.change, answer, now),
        };
        let wakes = match answered {
            Answered::Committed | Answered::Refused => {
                let mut wakes = state.settle();
                // Who was throttled may be in sync now, and is sent everything from now on.
                if state.leads_throttled(self.name().partition) {
                    wakes.merge(state.waiters.wake_all());
                }
                wakes
            }
            _ => Wakes::default(),
        };
        let decided = state.leadership.decided();
        let (isr, partition_epoch) = (decided.isr.clone(), decided.partition_epoch);
        drop(locked);
        match (answered, error) {
            (Answered::Committed, _) => {
                tracing::info!(partition = %self.name(), partition_epoch, "the ISR is {isr:?}");
            }
            (_, Some(error)) => {
                tracing::info!(partition = %self.name(), ?answered, "the ISR was not changed: {error}");
            }
            _ => {}
        }
        (answered, wakes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::Uuid;

    fn proposal(partition: i32, serial: u64) -> IsrProposal {
        IsrProposal {
            partition: TopicPartition::new("t", partition),
            topic_id: Uuid::ZERO,
            change: IsrChange {
                leader_epoch: LeaderEpoch(1),
                partition_epoch: 0,
                isr: Vec::new(),
                serial,
            },
        }
    }

    fn taken(queue: &IsrQueue, now: Instant) -> (Vec<(i32, u64)>, Option<Instant>) {
        let (sent, next) = queue.take(now);
        let told = sent
            .iter()
            .map(|one| (one.proposal.partition.partition, one.proposal.change.serial))
            .collect();
        (told, next)
    }

    #[tokio::test]
    async fn what_failed_is_sent_again_after_a_growing_pause_and_holds_up_no_other() {
        let queue = IsrQueue::default();
        let start = Instant::now();
        let mut now = start;
        queue.propose(proposal(0, 1));
        queue.propose(proposal(1, 1));
        let (sent, _) = queue.take(now);
        assert_eq!(sent.len(), 2);
        let mut stubborn = sent.into_iter().next().unwrap();
        for pause in [50, 100, 200, 400, 800, 1000, 1000] {
            queue.again(stubborn, now);
            let due = now.after(Duration::from_millis(pause));
            assert_eq!(taken(&queue, now), (vec![], Some(due)));
            queue.propose(proposal(7, 1));
            assert_eq!(taken(&queue, now), (vec![(7, 1)], Some(due)));
            now = due;
            let (mut sent, _) = queue.take(now);
            stubborn = sent.remove(0);
        }
    }

    #[tokio::test]
    async fn the_newest_change_of_a_partition_is_sent() {
        let queue = IsrQueue::default();
        let now = Instant::now();
        queue.propose(proposal(0, 1));
        let (mut sent, _) = queue.take(now);
        // One that came while the first was under way is not put aside by it.
        queue.propose(proposal(0, 2));
        queue.again(sent.remove(0), now);
        assert_eq!(taken(&queue, now).0, [(0, 2)]);
    }
}
