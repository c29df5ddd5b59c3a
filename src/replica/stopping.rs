//! Replicas that the controller stops, or has deleted: StopReplica (Kafka: `ReplicaManager.stopReplicas`).
//!
//! Invariant: what is answered without error is done, durably. A directory that hangs is not waited for: its replicas are
//! answered with KAFKA_STORAGE_ERROR, as those that cannot be deleted now, and go when it answers again
//! ([`put_off`](super::put_off)); so one disk stops nothing that the controller says of the others.

use std::sync::Arc;

use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::planted::planted;
use crate::base::task;
use crate::metadata::control::{ControlAnswer, StopReplica, TOPIC_IS_DELETED};

use super::background::Buried;
use super::control::refused;
use super::directories::HostDirectory;
use super::partition::Partition;
use super::replicas::Replicas;

/// The end of replicas of one directory, under way on its pool.
pub(super) type Ending = tokio::task::JoinHandle<ErrorCode>;

impl Replicas {
    /// Stops replicas: those that are not deleted are followed no more, until LeaderAndIsr says so again. The others go:
    /// their folders are renamed now, and removed after `log.segment.delete.delay.ms`.
    pub async fn stop_replica(self: &Arc<Self>, request: StopReplica) -> ControlAnswer {
        let mut seen = self.control.lock().await;
        if let Err(error) = seen.check(&request.sender) {
            return refused(error);
        }
        let any_offline = self.directories().iter().any(|directory| directory.is_offline());
        let mut answers = Vec::new();
        let mut stopped = Vec::new();
        for stop in request.partitions {
            let name = stop.partition.clone();
            let Some(partition) = self.partition(&name.topic, name.partition) else {
                if let Some(error) = self.stop_making(&stop) {
                    answers.push((name, error));
                    continue;
                }
                if stop.delete {
                    self.make_no_more(&name);
                }
                // It may lie in the directory that is offline, and a topic that is made anew would have two folders here when
                // that is back.
                let is_unknown = stop.delete && any_offline;
                let error = if is_unknown {
                    ErrorCode::KafkaStorageError
                } else {
                    ErrorCode::None
                };
                answers.push((name, error));
                continue;
            };
            let is_stale = stop.leader_epoch != TOPIC_IS_DELETED
                && stop.leader_epoch.get() >= 0
                && planted!(
                    "cluster-stop-of-before",
                    false,
                    stop.leader_epoch < partition.newest_epoch()
                );
            if is_stale {
                answers.push((name, ErrorCode::FencedLeaderEpoch));
                continue;
            }
            self.fetchers.leave(&name);
            if !stop.delete {
                // It stays what it is, and where it is: a later decision has it followed again.
                answers.push((name, ErrorCode::None));
                continue;
            }
            stopped.push(partition);
        }
        let mut running = Vec::new();
        for directory in self.directories() {
            let (here, elsewhere): (Vec<_>, Vec<_>) = stopped
                .into_iter()
                .partition(|partition| Arc::ptr_eq(partition.directory(), directory));
            stopped = elsewhere;
            if here.is_empty() {
                continue;
            }
            if directory.put_off.is_under_way() || directory.hangs() {
                answers.extend(
                    here.iter()
                        .map(|one| (one.name().clone(), ErrorCode::KafkaStorageError)),
                );
                self.put_off_deletion(directory, here);
                continue;
            }
            running.push((directory, here.clone(), self.end(directory, here)));
        }
        for (directory, here, mut ending) in running {
            let ended = tokio::select! {
                biased;
                ended = &mut ending => Some(ended.unwrap_or(ErrorCode::KafkaStorageError)),
                () = directory.begins_to_hang() => None,
            };
            let error = ended.unwrap_or(ErrorCode::KafkaStorageError);
            answers.extend(here.iter().map(|one| (one.name().clone(), error)));
            if ended.is_none() {
                self.put_off_ending(directory, here, ending);
            }
        }
        ControlAnswer {
            partitions: answers,
            ..ControlAnswer::default()
        }
    }

    /// Begins to end replicas of one directory.
    pub(super) fn end(self: &Arc<Self>, directory: &Arc<HostDirectory>, here: Vec<Arc<Partition>>) -> Ending {
        let (replicas, place) = (Arc::clone(self), Arc::clone(directory));
        let running = directory.pool().begin(move || replicas.stop_all(&place, &here));
        let directory = Arc::clone(directory);
        task::spawn(async move {
            let _work = directory.work().queue();
            running.await.unwrap_or(ErrorCode::KafkaStorageError)
        })
    }

    /// Ends partitions of one directory; their folders get their new names, durably with one sync. One whose folder keeps its
    /// name stays known, so that none is made beside it in another directory. Blocks.
    pub(super) fn stop_all(
        self: &Arc<Self>,
        directory: &Arc<HostDirectory>,
        stopped: &[Arc<Partition>],
    ) -> ErrorCode {
        let _work = directory.work().begin();
        let mut result = Ok(());
        let (mut renamed, mut cleaned) = (false, Vec::new());
        for partition in stopped {
            partition.stop().dispatch();
            self.tell_resigned(partition.name(), None);
            self.end_move(partition.name(), clock::now_ms());
            // It stays there from now on; on its way to this pool it may have been moved.
            let lies_in = partition.directory();
            let call = lies_in.watch().begin();
            let buried = partition.bury(clock::now_ms());
            drop(call);
            match buried {
                Ok((path, due_ms)) => {
                    self.forget(&partition.name().topic, partition.name().partition);
                    if partition.was_cleaned() && !cleaned.iter().any(|one| Arc::ptr_eq(one, lies_in)) {
                        cleaned.push(Arc::clone(lies_in));
                    }
                    self.bury(Buried::folder(Arc::clone(lies_in), path, due_ms));
                    if Arc::ptr_eq(lies_in, directory) {
                        renamed = true;
                    } else if let Err(error) = lies_in.sync() {
                        result = Err(error);
                    }
                }
                Err(error) => result = Err(error),
            }
            directory.work().goes_on();
        }
        if renamed && result.is_ok() {
            result = directory.sync();
        }
        // A log that is made under the same name was not cleaned.
        for directory in &cleaned {
            self.checkpoint_cleaned(directory);
        }
        match result {
            Ok(()) => ErrorCode::None,
            // The volume has said why.
            Err(_) => ErrorCode::KafkaStorageError,
        }
    }
}
