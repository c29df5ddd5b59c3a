//! AlterReplicaLogDirs: what is to be moved (Kafka: `ReplicaManager.alterReplicaLogDirs`).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{TopicPartition, Uuid};
use crate::base::task::Pace;
use crate::storage::file_names::{FolderState, marked_folder};
use crate::storage::log::Log;

use super::super::directories::HostDirectory;
use super::super::partition::Partition;
use super::super::replicas::Replicas;
use super::Move;

/// The longest name of a folder; the topic's part of a future log's is not cut (KAFKA-4893).
const FOLDER_NAME_MAX_BYTES: usize = 255;
/// The folder of a topic with a name like this fits, whatever the partition's number is.
const SHORT_NAME_BYTES: usize = 200;

impl Replicas {
    /// Has partitions moved to the log directory at `path`; answers an error code for each, in order. A partition that is
    /// there already stays, and its move elsewhere ends; one that this broker does not have is made there should it come.
    pub async fn alter_directories(self: &Arc<Self>, path: &str, names: &[TopicPartition]) -> Vec<ErrorCode> {
        let _alone = self.moves.requests.lock().await;
        // The paths are those of DescribeLogDirs.
        let known = self
            .directories()
            .iter()
            .position(|one| one.path() == Path::new(path));
        let place = known.and_then(|at| Some((at, Arc::clone(self.directories().get(at)?))));
        let mut answers = Vec::with_capacity(names.len());
        let mut to_move = Vec::new();
        let mut pace = Pace::new();
        for name in names {
            pace.did(Pace::LOOK_UP).await;
            answers.push(match self.look_at(name, place.as_ref()).await {
                Ok(None) => ErrorCode::None,
                Ok(Some(partition)) => {
                    to_move.push((answers.len(), partition));
                    ErrorCode::None
                }
                Err(error) => error,
            });
        }
        if let Some((to, directory)) = place
            && !to_move.is_empty()
        {
            let places: Vec<usize> = to_move.iter().map(|(at, _)| *at).collect();
            let replicas = Arc::clone(self);
            let pool = directory.pool().clone();
            let begun = pool
                .run(move || replicas.begin_moves(to_move, to, &directory, clock::now_ms()))
                .await;
            // They come in the same order.
            let begun = begun.unwrap_or_else(|_| vec![ErrorCode::KafkaStorageError; places.len()]);
            for (at, error) in places.into_iter().zip(begun) {
                if let Some(answer) = answers.get_mut(at) {
                    *answer = error;
                }
            }
        }
        answers
    }

    /// Yields the partition if it is to be moved; `None` where there is nothing to do.
    async fn look_at(
        self: &Arc<Self>,
        name: &TopicPartition,
        place: Option<&(usize, Arc<HostDirectory>)>,
    ) -> Result<Option<Arc<Partition>>, ErrorCode> {
        if name.topic.len() > SHORT_NAME_BYTES
            && marked_folder(name, Uuid::ZERO, FolderState::Future).len() > FOLDER_NAME_MAX_BYTES
        {
            return Err(ErrorCode::InvalidTopicException);
        }
        let (to, directory) = place.ok_or(ErrorCode::LogDirNotFound)?;
        if directory.is_offline() || directory.hangs() {
            return Err(ErrorCode::KafkaStorageError);
        }
        let Some(partition) = self.partition(&name.topic, name.partition) else {
            self.moves.prefer(name, *to);
            // kafka-reassign-partitions asks again after this code, and only after this.
            return Err(match self.missing(&name.topic, name.partition) {
                ErrorCode::NotLeaderOrFollower => ErrorCode::ReplicaNotAvailable,
                error => error,
            });
        };
        if partition.directory().is_offline() {
            return Err(ErrorCode::KafkaStorageError);
        }
        if let Some(other) = self.moves.of(name) {
            if other.to == *to && Arc::ptr_eq(&other.partition, &partition) {
                return Ok(None);
            }
            let (replicas, pool) = (Arc::clone(self), other.directory.pool().clone());
            let given_up = pool.run(move || replicas.give_up(&other, clock::now_ms())).await;
            given_up.map_err(|_| ErrorCode::KafkaStorageError)?;
        }
        if Arc::ptr_eq(partition.directory(), directory) {
            return Ok(None);
        }
        // A copy that was begun before may lie in the one that is offline, and would go on from there at the next start.
        if self.directories().iter().any(|one| one.is_offline()) {
            return Err(ErrorCode::KafkaStorageError);
        }
        Ok(Some(partition))
    }

    /// Begins moves to one directory. Blocks.
    pub(super) fn begin_moves(
        &self,
        partitions: Vec<(usize, Arc<Partition>)>,
        to: usize,
        directory: &Arc<HostDirectory>,
        now_ms: i64,
    ) -> Vec<ErrorCode> {
        let _call = directory.watch().begin();
        let names: Vec<_> = partitions.iter().map(|(_, one)| one.name().clone()).collect();
        self.forget_former_lives(directory, &names);
        let begun: Vec<_> = partitions
            .iter()
            .map(|(_, partition)| self.begin_move(partition, to, directory, now_ms))
            .collect();
        let synced = directory.sync();
        begun
            .into_iter()
            .map(|begun| match (begun, &synced) {
                (Ok(()), Ok(())) => ErrorCode::None,
                (Err(error), _) => error,
                (Ok(()), Err(_)) => ErrorCode::KafkaStorageError,
            })
            .collect()
    }

    /// Begins a move; its folder is durable after a sync of the directory. Blocks.
    fn begin_move(
        &self,
        partition: &Arc<Partition>,
        to: usize,
        directory: &Arc<HostDirectory>,
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        if self.moves.closing.load(Ordering::Acquire) {
            return Err(ErrorCode::KafkaStorageError);
        }
        let (topic_id, config) = {
            let source = partition.lock_on_pool()?;
            (source.state.log.topic_id(), Arc::clone(source.state.log.config()))
        };
        let name = partition.name().clone();
        // Without the partition's lock: nobody who needs that waits for this directory.
        let future = Log::create_future(directory.volume(), name, topic_id, config, now_ms)
            .map_err(|_| ErrorCode::KafkaStorageError)?;
        let one = Move::new(partition, to, directory, future);
        if let Err(error) = self.pause_and_add(&one) {
            self.give_up(&one, now_ms);
            return Err(error);
        }
        tracing::info!(partition = %partition.name(), to = %directory.path().display(), "moving a replica");
        Ok(())
    }

    /// Takes a move up; the partition's log is not compacted from now on. Blocks.
    pub(super) fn pause_and_add(&self, one: &Arc<Move>) -> Result<(), ErrorCode> {
        let mut source = one.partition.lock_on_pool()?;
        // Under the lock: who stops the partition sees the move, or this sees that it is stopped.
        if !self.moves.add(one) {
            return Err(ErrorCode::KafkaStorageError);
        }
        source.state.log.pause_cleaning();
        Ok(())
    }
}
