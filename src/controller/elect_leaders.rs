//! Elections that a client asks for (Kafka: `KafkaController.processReplicaLeaderElection`): the first replica is to lead,
//! or whoever can where nobody does. Called by the queue of events.

use std::collections::{BTreeMap, BTreeSet};

use super::active::{Active, Reason};
use super::context::New;
use super::reign::Lost;
use super::request::{AdminError, Answers, ElectionType};
use crate::base::error_code::ErrorCode;
use crate::base::ids::TopicPartition;

impl Active {
    /// Elects leaders and tells of them. An answer per partition; one that is named twice is elected once.
    pub(super) async fn elect_leaders(
        &mut self,
        partitions: &[TopicPartition],
        election: ElectionType,
    ) -> Result<Answers<()>, Lost> {
        let mut refused = BTreeMap::new();
        for name in partitions {
            if let Some(error) = self.why_no_election(name, election) {
                refused.insert(name.clone(), error);
            }
        }
        let wanted: BTreeSet<&TopicPartition> = partitions
            .iter()
            .filter(|name| !refused.contains_key(*name))
            .collect();
        let wanted: Vec<TopicPartition> = wanted.into_iter().cloned().collect();
        let reason = match election {
            ElectionType::Preferred => Reason::Preferred,
            ElectionType::Unclean => Reason::Unclean,
        };
        let changed = self.elect(&wanted, reason).await?;
        if !changed.is_empty() {
            self.tell(&changed, &New::new()).await?;
        }
        let answers = partitions.iter().map(|name| match refused.get(name) {
            Some(error) => Err(error.clone()),
            None => self.outcome(name, election),
        });
        Ok(answers.collect())
    }

    /// Why a partition is not even tried.
    fn why_no_election(&self, name: &TopicPartition, election: ElectionType) -> Option<AdminError> {
        let Some(partition) = self.context.partition(name) else {
            return Some(AdminError::new(
                ErrorCode::UnknownTopicOrPartition,
                "There is no such partition.",
            ));
        };
        if self.context.deleting.contains(&name.topic) {
            return Some(AdminError::new(
                ErrorCode::InvalidTopicException,
                format!("Topic '{}' is being deleted.", name.topic),
            ));
        }
        let leader = partition.state.as_ref().and_then(|written| written.state.leader);
        let is_right = match election {
            ElectionType::Preferred => leader.is_some() && leader == partition.replicas.first().copied(),
            ElectionType::Unclean => leader.is_some_and(|leader| self.context.brokers.contains_key(&leader)),
        };
        is_right.then(|| AdminError {
            code: ErrorCode::ElectionNotNeeded,
            message: Some("The partition has the leader that it should have.".to_owned()),
        })
    }

    /// What a partition that was tried has come to.
    fn outcome(&self, name: &TopicPartition, election: ElectionType) -> Result<(), AdminError> {
        let partition = self.context.partition(name);
        let leader = partition.and_then(|partition| partition.state.as_ref()?.state.leader);
        let first = partition.and_then(|partition| partition.replicas.first().copied());
        match election {
            ElectionType::Preferred if leader.is_some() && leader == first => Ok(()),
            ElectionType::Unclean if leader.is_some() => Ok(()),
            ElectionType::Preferred => Err(AdminError::new(
                ErrorCode::PreferredLeaderNotAvailable,
                format!("The first replica of {name} is not online and in sync."),
            )),
            ElectionType::Unclean => Err(AdminError::new(
                ErrorCode::EligibleLeadersNotAvailable,
                format!("No replica of {name} is online."),
            )),
        }
    }
}
