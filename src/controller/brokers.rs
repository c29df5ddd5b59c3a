//! Brokers that come, go, bounce and move (Kafka: `KafkaController.processBrokerChange`, `onBrokerStartup`,
//! `onBrokerFailure`), and what they answer.
//!
//! A broker with another epoch than before is another one: it lost what it was told. Each change is worked out from all
//! registrations as they are now, so that changes in between that nobody saw do no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::active::{Active, Reason};
use super::channels::{Answer, Answered};
use super::context::New;
use super::reign::Lost;
use crate::base::ids::{BrokerId, TopicPartition};
use crate::metadata::BrokerImage;

/// What became of the brokers.
#[derive(Default, PartialEq, Eq, Debug)]
struct Changes {
    /// Those that are there with an epoch of their own since.
    came: Vec<BrokerId>,
    /// Those that are not there any more, or not with that epoch.
    went: Vec<BrokerId>,
    /// Those that are reached elsewhere, or lie in another rack.
    moved: Vec<BrokerId>,
}

fn changes(
    before: &BTreeMap<BrokerId, Arc<BrokerImage>>,
    now: &BTreeMap<BrokerId, Arc<BrokerImage>>,
) -> Changes {
    let mut changes = Changes::default();
    for (id, broker) in before {
        if now.get(id).is_none_or(|other| other.epoch != broker.epoch) {
            changes.went.push(*id);
        }
    }
    for (id, broker) in now {
        match before.get(id) {
            Some(known) if known.epoch == broker.epoch => {
                if known != broker {
                    changes.moved.push(*id);
                }
            }
            _ => changes.came.push(*id),
        }
    }
    changes
}

impl Active {
    /// Opens a channel to each other broker that is there.
    pub(super) fn open_channels(&mut self) {
        for id in self.others() {
            if let Some(broker) = self.context.brokers.get(&id) {
                self.channels.open(broker);
            }
        }
    }

    /// Brokers may have registered or gone: reads who is there, elects where that is needed, tells everybody.
    pub(super) async fn brokers_changed(&mut self) -> Result<(), Lost> {
        let now = self.read_brokers().await?;
        let changes = changes(&self.context.brokers, &now);
        if changes == Changes::default() {
            return Ok(());
        }
        tracing::info!(
            "brokers that came: {:?}, went: {:?}, moved: {:?}",
            changes.came,
            changes.went,
            changes.moved
        );
        for id in &changes.went {
            self.forget_broker(*id);
        }
        self.context.brokers = now;
        self.context.tellers = self.read_tellers().await?;
        self.open_channels();
        // Who is there, before anybody is to follow a new one. Who came learns it with everything else: a broker that knows
        // of others and of no topic would say that there is none.
        for id in self.others() {
            if !changes.came.contains(&id) {
                self.tell_metadata(id, &[]);
            }
        }
        self.update_own_metadata(&[]).await;
        let partitions = self.settled_partitions();
        let unclean = self.take_unclean_shutdowns(&changes.came).await?;
        let came: Vec<BrokerId> = self
            .others()
            .into_iter()
            .filter(|id| changes.came.contains(id))
            .collect();
        for id in &came {
            self.tell_metadata(*id, &partitions);
        }
        let elected = self.elect(&partitions, Reason::Changed).await?;
        self.keep_unclean_shutdowns(unclean).await?;
        self.tell(&elected, &New::new()).await?;
        let elected: BTreeSet<TopicPartition> = elected.into_iter().collect();
        let mut rest = partitions;
        rest.retain(|name| !elected.contains(name));
        for id in &came {
            // A log may have been made in a former life: nothing is new to it.
            self.tell_replicas(*id, &rest, &New::new());
        }
        rest.retain(|name| {
            self.has_replica_on(name, &changes.went) || self.has_replica_on(name, &changes.came)
        });
        if !rest.is_empty() {
            // Whether a replica is offline has changed.
            self.update_metadata(&rest).await;
        }
        self.resume_reassignments().await?;
        self.complete_deletions().await
    }

    fn has_replica_on(&self, name: &TopicPartition, brokers: &[BrokerId]) -> bool {
        let partition = self.context.partition(name);
        partition.is_some_and(|partition| partition.replicas.iter().any(|id| brokers.contains(id)))
    }

    /// Forgets what was known of a registration that is over.
    fn forget_broker(&mut self, id: BrokerId) {
        self.channels.close(id);
        self.context.leaving.remove(&id);
        self.context.offline.remove(&id);
        self.context.forget_ends(id);
        for brokers in self.context.stopping.values_mut() {
            brokers.remove(&id);
        }
    }

    /// Takes what a broker answered, if it is still the one that was asked.
    pub(super) async fn answered(&mut self, answered: Answered) -> Result<(), Lost> {
        let Answered {
            broker,
            broker_epoch,
            controller_epoch,
            answer,
        } = answered;
        let known = self.context.brokers.get(&broker);
        if controller_epoch != self.reign.epoch || known.is_none_or(|known| known.epoch != broker_epoch) {
            return Ok(());
        }
        match answer {
            Answer::LeaderAndIsr(answer) => {
                let failed = self.take_leader_and_isr_answer(broker, answer);
                if !failed.is_empty() {
                    tracing::warn!(
                        "{} replicas on broker {broker} do not work: their disk failed",
                        failed.len()
                    );
                    self.replace_leaders(&failed).await?;
                }
                Ok(())
            }
            Answer::StopReplica(number, answer) => {
                self.stopped(broker, number, &answer).await?;
                self.take_stop_replica_answer(broker, number, answer);
                self.finish_deletions().await
            }
            Answer::LogEnds(asked, ends) => self.take_log_ends(broker, asked, ends).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ids::BrokerEpoch;

    fn brokers(brokers: &[(i32, i64, Option<&str>)]) -> BTreeMap<BrokerId, Arc<BrokerImage>> {
        let image = |(id, epoch, rack): &(i32, i64, Option<&str>)| {
            let image = BrokerImage {
                id: BrokerId(*id),
                epoch: BrokerEpoch(*epoch),
                endpoints: Vec::new(),
                rack: rack.map(Arc::from),
            };
            (image.id, Arc::new(image))
        };
        brokers.iter().map(image).collect()
    }

    #[test]
    fn a_broker_with_another_epoch_went_and_came() {
        let before = brokers(&[(1, 10, None), (2, 20, None), (3, 30, None), (4, 40, None)]);
        let now = brokers(&[(1, 10, None), (2, 21, None), (3, 30, Some("r")), (5, 50, None)]);
        let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
        assert_eq!(
            changes(&before, &now),
            Changes {
                came: ids(&[2, 5]),
                went: ids(&[2, 4]),
                moved: ids(&[3]),
            }
        );
        assert_eq!(changes(&now, &now), Changes::default());
    }
}
