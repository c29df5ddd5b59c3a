//! AlterReplicaLogDirs: what is to be moved (Kafka: `ReplicaManager.alterReplicaLogDirs`).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::{TopicPartition, Uuid};
use crate::storage::file_names::{FolderState, marked_folder};

use super::super::directories::HostDirectory;
use super::super::partition::Partition;
use super::super::replicas::Replicas;
use super::Move;

/// The longest name of a folder; the topic's part of a future log's is not cut (KAFKA-4893).
const FOLDER_NAME_MAX_BYTES: usize = 255;

impl Replicas {
    /// Has partitions moved to the log directory at `path`; answers an error code for each, in order. A partition that is
    /// there already stays, and its move elsewhere ends; one that this broker does not have is made there should it come.
    pub async fn alter_directories(self: &Arc<Self>, path: &str, names: &[TopicPartition]) -> Vec<ErrorCode> {
        let _alone = self.moves.requests.lock().await;
        let mut answers = Vec::with_capacity(names.len());
        for name in names {
            answers.push(match self.alter_directory(path, name).await {
                Ok(()) => ErrorCode::None,
                Err(error) => error,
            });
        }
        answers
    }

    async fn alter_directory(self: &Arc<Self>, path: &str, name: &TopicPartition) -> Result<(), ErrorCode> {
        // The paths are those of DescribeLogDirs.
        let known = self
            .directories()
            .iter()
            .position(|one| one.path() == Path::new(path));
        let (to, directory) = known
            .and_then(|at| Some((at, self.directories().get(at)?)))
            .ok_or(ErrorCode::LogDirNotFound)?;
        if marked_folder(name, Uuid::ZERO, FolderState::Future).len() > FOLDER_NAME_MAX_BYTES {
            return Err(ErrorCode::InvalidTopicException);
        }
        if directory.is_offline() || directory.watch().is_stalled() {
            return Err(ErrorCode::KafkaStorageError);
        }
        let Some(partition) = self.partition(&name.topic, name.partition) else {
            self.moves.prefer(name, to);
            return Err(self.missing(&name.topic, name.partition));
        };
        if partition.directory().is_offline() {
            return Err(ErrorCode::KafkaStorageError);
        }
        if let Some(other) = self.moves.of(name) {
            if other.to == to {
                return Ok(());
            }
            let (replicas, pool) = (Arc::clone(self), other.directory.pool().clone());
            let given_up = pool.run(move || replicas.give_up(&other, clock::now_ms())).await;
            given_up.map_err(|_| ErrorCode::KafkaStorageError)?;
        }
        if Arc::ptr_eq(partition.directory(), directory) {
            return Ok(());
        }
        let (replicas, directory) = (Arc::clone(self), Arc::clone(directory));
        let pool = directory.pool().clone();
        let begun = pool
            .run(move || replicas.begin_move(&partition, to, &directory, clock::now_ms()))
            .await;
        begun.unwrap_or(Err(ErrorCode::KafkaStorageError))
    }

    /// Begins a move. Blocks.
    pub(super) fn begin_move(
        &self,
        partition: &Arc<Partition>,
        to: usize,
        directory: &Arc<HostDirectory>,
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        if self.moves.closing.load(Ordering::Acquire) {
            return Err(ErrorCode::KafkaStorageError);
        }
        let future = {
            let mut source = partition.lock_on_pool()?;
            let log = &mut source.state.log;
            let future = log
                .create_future(directory.volume(), now_ms)
                .map_err(|_| ErrorCode::KafkaStorageError)?;
            log.pause_cleaning();
            future
        };
        self.register_move(&Move::new(partition, to, directory, future));
        let made = directory.sync();
        made.map_err(|_| ErrorCode::KafkaStorageError)?;
        tracing::info!(partition = %partition.name(), to = %directory.path().display(), "moving a replica");
        Ok(())
    }

    /// Takes a move up whose partition is not compacted from now on. Blocks.
    pub(super) fn register_move(&self, one: &Arc<Move>) {
        self.moves.add(one);
        // What was said of an earlier life of the partition in that directory is not said of the copy.
        self.checkpoint_recovery_points(&one.directory);
        self.checkpoint_log_starts(&one.directory);
        self.checkpoint_cleaned(&one.directory);
        // The partition may have been stopped meanwhile, by somebody who did not see the move.
        if one.partition.lock_on_pool().is_err() && !one.partition.directory().is_offline() {
            self.give_up(one, clock::now_ms());
        }
    }
}
