//! What a fetcher does with the leader's answers (Kafka: `AbstractFetcherThread.processFetchRequest`,
//! `handleOutOfRangeError`, `ReplicaFetcherThread.processPartitionData`).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{LeaderEpoch, Offset, TopicName, TopicPartition};
use crate::base::planted::planted;
use crate::replica::following::{Fetched, FollowError, Order, TakeError, Taken, ToCut};
use crate::replica::offsets::{EARLIEST, LATEST};
use crate::replica::partition::Partition;
use crate::storage::leader_epochs::EpochEnd;
use crate::wire::messages::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use crate::wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use crate::wire::text::Text;

use super::followed::Phase;
use super::leader::NoAnswer;
use super::task::Task;

/// The version of ListOffsets as of `inter.broker.protocol.version` 3.9.
const LIST_OFFSETS: i16 = 9;

impl Task {
    /// Takes the answer to a Fetch.
    pub(super) async fn take(&mut self, response: FetchResponse) {
        let error = ErrorCode::of_answer(response.error_code);
        let mut data = Vec::new();
        let mut nameless = false;
        for topic in response.responses {
            match self.name_of(&topic) {
                Some(name) => data.extend(topic.partitions.into_iter().map(|partition| {
                    let name = TopicPartition::new(TopicName::clone(&name), partition.partition_index);
                    (name, partition)
                })),
                None => nameless = true,
            }
        }
        let names: Vec<TopicPartition> = data.iter().map(|(name, _)| name.clone()).collect();
        let fits = self.session.answered(error, response.session_id, &names) && !nameless;
        if !fits {
            if nameless {
                self.session.broken();
            }
            self.useless += 1;
            tracing::debug!(%error, nameless, "an answer of the leader is thrown away");
            // The first time it may be a session that the leader has dropped; again and again it would be a storm.
            if self.useless > 1 {
                let text = format!("answers that do not fit the session ({error})");
                self.failed(&NoAnswer(text));
            }
            return;
        }
        self.useless = 0;
        let mut to_cut = Vec::new();
        for (name, partition) in data {
            self.take_partition(name, partition, &mut to_cut).await;
        }
        self.cut(to_cut).await;
    }

    fn name_of(&self, topic: &FetchableTopicResponse) -> Option<TopicName> {
        if topic.topic_id.is_zero() {
            Some(TopicName::from(topic.topic.as_str()))
        } else {
            self.names.get(&topic.topic_id).map(TopicName::clone)
        }
    }

    async fn take_partition(
        &mut self,
        name: TopicPartition,
        data: PartitionData,
        to_cut: &mut Vec<(TopicPartition, ToCut)>,
    ) {
        let Some(followed) = self.partitions.get(&name) else {
            return;
        };
        let (partition, epoch) = (&followed.partition, followed.epoch);
        let error = ErrorCode::of_answer(data.error_code);
        match error {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => {
                planted!("cluster-fetcher-ends", return self.remove(&name));
                return self.set_phase(&name, Phase::OutOfRange);
            }
            // The leader is of a later epoch, which the controller will tell of.
            ErrorCode::FencedLeaderEpoch => {
                tracing::info!(partition = %name, %epoch, "fenced by a later leader epoch; waiting for the controller");
                return self.remove(&name);
            }
            ErrorCode::UnknownLeaderEpoch
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId => return self.wait_for_leader(&name, error),
            error => {
                tracing::info!(partition = %name, %epoch, "the leader answers {error}");
                return self.delay(&name);
            }
        }
        if data.diverging_epoch.epoch >= 0 {
            let order = Order::Diverging(EpochEnd {
                epoch: LeaderEpoch(data.diverging_epoch.epoch),
                end_offset: Offset(data.diverging_epoch.end_offset),
            });
            let partition = Arc::clone(partition);
            to_cut.push((
                name,
                ToCut {
                    partition,
                    epoch,
                    order,
                },
            ));
            return;
        }
        let fetched = Fetched {
            epoch,
            offset: followed.offset,
            records: data.records,
            high_watermark: Offset(data.high_watermark),
            log_start: Offset(data.log_start_offset),
        };
        match partition.take_fetched(&fetched) {
            Ok(taken) => self.taken(&name, &fetched, taken).await,
            Err(TakeError::WithinBatch(first)) => {
                let partition = Arc::clone(partition);
                self.take_within_batch(&name, partition, first, &fetched).await;
            }
            Err(TakeError::Follow(error)) => self.gave_up(&name, &error),
        }
        // Others of this thread have their turn.
        if fetched.records.is_some_and(|records| !records.is_empty()) {
            tokio::task::yield_now().await;
        }
    }

    /// The leader's log begins within a batch, and so did this one, which is empty: it begins anew with the whole batch.
    async fn take_within_batch(
        &mut self,
        name: &TopicPartition,
        partition: Arc<Partition>,
        first: Offset,
        fetched: &Fetched,
    ) {
        let to_cut = ToCut {
            partition: Arc::clone(&partition),
            epoch: fetched.epoch,
            order: Order::WithinBatch(first),
        };
        let cut = self.replicas.cut_logs(vec![to_cut]).await.pop();
        let fetched = Fetched {
            offset: first,
            records: fetched.records.clone(),
            ..*fetched
        };
        let taken = match cut.unwrap_or(Err(FollowError::Outdated)) {
            Ok(_) => partition.take_fetched(&fetched),
            Err(error) => Err(error.into()),
        };
        match taken {
            Ok(taken) => self.taken(name, &fetched, taken).await,
            Err(TakeError::Follow(error)) => self.gave_up(name, &error),
            Err(TakeError::WithinBatch(_)) => self.delay(name),
        }
    }

    async fn taken(&mut self, name: &TopicPartition, fetched: &Fetched, taken: Taken) {
        self.leader_knows(name);
        self.note_taken(name, fetched, &taken);
        if let Some(work) = taken.flush
            && let Some(followed) = self.partitions.get(name)
        {
            let partition = Arc::clone(&followed.partition);
            let pool = partition.pool().clone();
            if !matches!(pool.run(move || partition.run_flush(work)).await, Ok(true)) {
                return self.gave_up(name, &FollowError::Storage);
            }
        }
        self.fetch_from(name, &taken.position);
        self.choose_lane(name, fetched.records.as_ref().map_or(0, Bytes::len));
    }

    pub(super) fn gave_up(&mut self, name: &TopicPartition, error: &FollowError) {
        match error {
            FollowError::Outdated => self.remove(name),
            FollowError::Storage => {
                tracing::error!(partition = %name, "not followed any more: its log directory is offline");
                self.remove(name);
            }
            FollowError::MovedOn => self.look_again(name),
            FollowError::Stalled => self.delay(name),
            FollowError::Refused(text) => {
                tracing::error!(partition = %name, "records of the leader are refused: {text}");
                self.delay(name);
            }
        }
    }

    /// Cuts logs as the leader's answers want it.
    async fn cut(&mut self, to_cut: Vec<(TopicPartition, ToCut)>) {
        if to_cut.is_empty() {
            return;
        }
        let (names, orders): (Vec<_>, Vec<_>) = to_cut.into_iter().unzip();
        let replicas = Arc::clone(&self.replicas);
        let positions = replicas.cut_logs(orders).await;
        for (name, position) in names.iter().zip(positions) {
            match position {
                Ok(position) => self.fetch_from(name, &position),
                Err(error) => self.gave_up(name, &error),
            }
        }
    }

    /// Cuts logs that know no epochs to their high watermarks.
    pub(super) async fn cut_unknown(&mut self) {
        let names = std::mem::take(&mut self.unknown);
        let to_cut = names.into_iter().filter_map(|name| {
            let followed = self.partitions.get(&name)?;
            let to_cut = ToCut {
                partition: Arc::clone(&followed.partition),
                epoch: followed.epoch,
                order: Order::ToHighWatermark,
            };
            Some((name, to_cut))
        });
        let to_cut = to_cut.collect();
        self.cut(to_cut).await;
    }

    /// Asks the leader for the ends of its logs, and has those that are out of them cut or begun anew.
    pub(super) async fn resolve_out_of_range(&mut self) {
        let names: Vec<_> = self.out_of_range.iter().cloned().collect();
        let ends = self.leader_offsets(&names, LATEST).await;
        let starts = match &ends {
            Ok(_) => self.leader_offsets(&names, EARLIEST).await,
            Err(error) => Err(error.clone()),
        };
        let (ends, starts) = match (ends, starts) {
            (Ok(ends), Ok(starts)) => (ends, starts),
            (Err(error), _) | (_, Err(error)) => return self.failed(&error),
        };
        let mut to_cut = Vec::new();
        for name in names {
            let Some(followed) = self.partitions.get(&name) else {
                continue;
            };
            let (Some(Ok(leader_end)), Some(Ok(leader_start))) = (ends.get(&name), starts.get(&name)) else {
                // Not the leader, or of another epoch, which the next fetch hears too.
                self.delay(&name);
                continue;
            };
            tracing::info!(
                partition = %name,
                offset = %followed.offset,
                "out of the leader's log, which is from {leader_start} to {leader_end}"
            );
            let partition = Arc::clone(&followed.partition);
            let order = Order::OutOfRange {
                leader_start: *leader_start,
                leader_end: *leader_end,
            };
            let epoch = followed.epoch;
            to_cut.push((
                name,
                ToCut {
                    partition,
                    epoch,
                    order,
                },
            ));
        }
        let before: Vec<_> = to_cut
            .iter()
            .filter_map(|(name, _)| Some((name.clone(), self.partitions.get(name)?.offset)))
            .collect();
        self.cut(to_cut).await;
        for (name, offset) in before {
            if let (Some(followed), Some(Ok(leader_end))) = (self.partitions.get(&name), ends.get(&name)) {
                let lag = leader_end.since(followed.offset);
                self.note_lag(&name, lag);
            }
            // Nothing to cut: the leader's log may have changed since. If not, it is asked less often.
            if self.partitions.get(&name).is_some_and(|one| one.offset == offset) {
                self.delay(&name);
            }
        }
    }

    async fn leader_offsets(
        &mut self,
        names: &[TopicPartition],
        timestamp: i64,
    ) -> Result<BTreeMap<TopicPartition, Result<Offset, ErrorCode>>, NoAnswer> {
        let mut topics: Vec<ListOffsetsTopic> = Vec::new();
        for name in names {
            let Some(followed) = self.partitions.get(name) else {
                continue;
            };
            if topics.last().is_none_or(|last| *last.name != *name.topic) {
                topics.push(ListOffsetsTopic {
                    name: Text::copy(&name.topic),
                    partitions: Vec::new(),
                });
            }
            if let Some(topic) = topics.last_mut() {
                topic.partitions.push(ListOffsetsPartition {
                    partition_index: name.partition,
                    current_leader_epoch: followed.epoch.get(),
                    timestamp,
                    ..ListOffsetsPartition::default()
                });
            }
        }
        let request = ListOffsetsRequest {
            replica_id: self.me.get(),
            topics,
            ..ListOffsetsRequest::default()
        };
        let timeout = self.settings.timeout;
        let answer = self.connection().list_offsets(LIST_OFFSETS, &request);
        let answer = clock::timeout(timeout, answer).await;
        let response = answer.unwrap_or_else(|| Err(NoAnswer("no answer in time".to_owned())))?;
        Ok(offsets_in(response))
    }
}

fn offsets_in(response: ListOffsetsResponse) -> BTreeMap<TopicPartition, Result<Offset, ErrorCode>> {
    let mut offsets = BTreeMap::new();
    for topic in response.topics {
        let name = TopicName::from(topic.name.as_str());
        for partition in topic.partitions {
            let error = ErrorCode::of_answer(partition.error_code);
            let found = if error.is_none() && partition.offset >= 0 {
                Ok(Offset(partition.offset))
            } else {
                Err(error)
            };
            offsets.insert(
                TopicPartition::new(TopicName::clone(&name), partition.partition_index),
                found,
            );
        }
    }
    offsets
}
