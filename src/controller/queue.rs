//! What a broker is still to be told: a queue in which an UpdateMetadata takes up the one right before it.
//!
//! Kafka's queues hold every request until it is sent, and grow for as long as a broker is registered and does not answer.
//! What changes most are ISRs, of which every broker is told by an UpdateMetadata alone; so what waits of those is no more than
//! the latest state of each partition. Invariant: each request takes effect in its place among those of another kind, and no
//! deletion of a partition is left out. LeaderAndIsr and StopReplica are all kept, for each of them is answered, and one does
//! not say all that the one before it did: they come with elections, and go with the registration of the broker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::channels::Request;
use crate::base::ids::{TopicId, TopicName};
use crate::metadata::control::{PartitionMetadata, UpdateMetadata, UpdateMetadataTopic};

/// The requests for one broker; both ends share it.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<VecDeque<Waiting>>,
    came: Notify,
}

enum Waiting {
    Request(Request),
    /// Several requests in one.
    Metadata(Metadata),
}

/// UpdateMetadata requests, one after the other, as one.
struct Metadata {
    /// The last of them, without its topics.
    last: UpdateMetadata,
    topics: BTreeMap<TopicName, (TopicId, BTreeMap<i32, PartitionMetadata>)>,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a request behind the others.
    pub(super) fn push(&self, request: Request) {
        let mut waiting = self.waiting();
        let rest = match (request, waiting.back_mut()) {
            (Request::UpdateMetadata(request), Some(last)) => last.take(request).map(Request::UpdateMetadata),
            (request, _) => Some(request),
        };
        waiting.extend(rest.map(Waiting::Request));
        drop(waiting);
        self.came.notify_one();
    }

    /// The next request, when there is one. For one reader.
    pub(super) async fn next(&self) -> Request {
        loop {
            let next = self.waiting().pop_front();
            match next {
                Some(Waiting::Request(request)) => return request,
                Some(Waiting::Metadata(all)) => return Request::UpdateMetadata(all.request()),
                None => self.came.notified().await,
            }
        }
    }
}

impl Waiting {
    /// Takes up a request that comes right behind this one; yields it where it cannot.
    fn take(&mut self, request: UpdateMetadata) -> Option<UpdateMetadata> {
        if let Self::Request(Request::UpdateMetadata(first)) = self
            && is_without_deletions(first)
        {
            let topics = std::mem::take(&mut first.topics);
            let mut all = Metadata {
                last: first.clone(),
                topics: BTreeMap::new(),
            };
            all.add(topics);
            *self = Self::Metadata(all);
        }
        match self {
            Self::Metadata(all) if is_without_deletions(&request) && all.knows(&request) => {
                all.take(request);
                None
            }
            Self::Metadata(_) | Self::Request(_) => Some(request),
        }
    }
}

/// Who is told that a partition is gone drops what belongs to it: that must not be left out, though it comes again.
fn is_without_deletions(request: &UpdateMetadata) -> bool {
    let mut all = request.topics.iter().flat_map(|topic| &topic.partitions);
    all.all(|(_, partition)| matches!(partition, PartitionMetadata::State(_)))
}

impl Metadata {
    /// True when its topics are those of the request, and no later ones of the same names.
    fn knows(&self, request: &UpdateMetadata) -> bool {
        let is_same = |topic: &UpdateMetadataTopic| {
            let known = self.topics.get(&topic.name);
            known.is_none_or(|(id, _)| *id == topic.id)
        };
        request.topics.iter().all(is_same)
    }

    fn take(&mut self, mut request: UpdateMetadata) {
        let topics = std::mem::take(&mut request.topics);
        self.last = request;
        self.add(topics);
    }

    fn add(&mut self, topics: Vec<UpdateMetadataTopic>) {
        for topic in topics {
            let known = self.topics.entry(topic.name);
            let (_, partitions) = known.or_insert_with(|| (topic.id, BTreeMap::new()));
            partitions.extend(topic.partitions);
        }
    }

    fn request(self) -> UpdateMetadata {
        let topics = self.topics.into_iter();
        let topics = topics.map(|(name, (id, partitions))| UpdateMetadataTopic {
            name,
            id,
            partitions: partitions.into_iter().collect(),
        });
        UpdateMetadata {
            topics: topics.collect(),
            ..self.last
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicPartition};
    use crate::base::random::Random;
    use crate::metadata::PartitionImage;

    fn state(epoch: i32) -> PartitionMetadata {
        PartitionMetadata::State(Arc::new(PartitionImage {
            controller_epoch: ControllerEpoch(1),
            leader: Some(BrokerId(1)),
            leader_epoch: LeaderEpoch(epoch),
            partition_epoch: epoch,
            replicas: Vec::new(),
            isr: Vec::new(),
            offline_replicas: Vec::new(),
        }))
    }

    fn metadata(id: TopicId, partitions: Vec<(i32, PartitionMetadata)>) -> Request {
        let topic = UpdateMetadataTopic {
            name: "t".into(),
            id,
            partitions,
        };
        Request::UpdateMetadata(UpdateMetadata {
            controller: BrokerId(1),
            controller_epoch: ControllerEpoch(1),
            broker_epoch: BrokerEpoch(1),
            live_brokers: Vec::new(),
            topics: vec![topic],
        })
    }

    fn ends() -> Request {
        Request::LogEnds([(TopicPartition::new("t", 0), 1)].into())
    }

    /// What is told, in short: partitions and their epochs, −1 for one that is gone; nothing for another kind of request.
    async fn told(queue: &Queue) -> Vec<Vec<(i32, i32)>> {
        let mut told = Vec::new();
        while !queue.waiting().is_empty() {
            let short = |topic: &UpdateMetadataTopic| {
                let epoch = |partition: &PartitionMetadata| match partition {
                    PartitionMetadata::State(image) => image.partition_epoch,
                    PartitionMetadata::Deleted => -1,
                };
                let partitions = topic.partitions.iter();
                partitions
                    .map(|(number, one)| (*number, epoch(one)))
                    .collect::<Vec<_>>()
            };
            told.push(match queue.next().await {
                Request::UpdateMetadata(request) => request.topics.iter().flat_map(short).collect(),
                _ => Vec::new(),
            });
        }
        told
    }

    #[tokio::test]
    async fn what_waits_of_metadata_is_the_latest_state_of_each_partition_in_its_place() {
        let queue = Queue::default();
        let random = Random::from_seed(1);
        let (id, other) = (random.uuid(), random.uuid());
        for epoch in 0..1000 {
            queue.push(metadata(id, vec![(epoch % 2, state(epoch))]));
        }
        assert_eq!(queue.waiting().len(), 1);
        queue.push(ends());
        queue.push(metadata(id, vec![(0, state(1000))]));
        queue.push(metadata(id, vec![(1, state(1001))]));
        // Gone, and there again under another id: all of that is told.
        queue.push(metadata(id, vec![(0, PartitionMetadata::Deleted)]));
        queue.push(metadata(other, vec![(0, state(0))]));
        queue.push(metadata(other, vec![(0, state(1))]));
        queue.push(metadata(id, vec![(0, state(9))]));
        let expected: Vec<Vec<(i32, i32)>> = vec![
            vec![(0, 998), (1, 999)],
            vec![],
            vec![(0, 1000), (1, 1001)],
            vec![(0, -1)],
            vec![(0, 1)],
            vec![(0, 9)],
        ];
        assert_eq!(told(&queue).await, expected);
    }
}
