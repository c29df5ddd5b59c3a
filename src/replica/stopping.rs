//! Replicas that the controller stops, or has deleted: StopReplica (Kafka: `ReplicaManager.stopReplicas`).
//!
//! Invariant: what is answered without error is done, durably. A directory that hangs is not waited for: its replicas are
//! answered with KAFKA_STORAGE_ERROR, as those that cannot be deleted now, and go when it answers again
//! ([`put_off`](super::put_off)); so one disk stops nothing that the controller says of the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::planted::planted;
use crate::base::task;
use crate::metadata::control::{ControlAnswer, StopReplica, TOPIC_IS_DELETED};

use super::background::{Buried, interval_ms};
use super::control::refused;
use super::directories::HostDirectory;
use super::partition::Partition;
use super::replicas::Replicas;

/// For how many times `log.dir.stall.ms` a directory is waited for in which nothing goes on: renamed folders are synced there,
/// which takes longer than a write.
const PATIENCE: u32 = 5;

/// How many replicas are done.
#[derive(Default)]
pub(super) struct Progress(AtomicUsize);

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
            let name = stop.partition;
            let Some(partition) = self.partition(&name.topic, name.partition) else {
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
            if directory.put_off.is_under_way() || directory.watch().is_stalled() {
                answers.extend(
                    here.iter()
                        .map(|one| (one.name().clone(), ErrorCode::KafkaStorageError)),
                );
                self.put_off_deletion(directory, here);
                continue;
            }
            let (progress, ending) = self.end(directory, here.clone());
            running.push((directory, here, progress, ending));
        }
        let stall = interval_ms(self.cluster().get().broker_config.log_dir_stall_ms);
        for (directory, here, progress, mut ending) in running {
            let ended = wait(&mut ending, &progress, stall * PATIENCE).await;
            let error = ended.unwrap_or(ErrorCode::KafkaStorageError);
            answers.extend(here.iter().map(|one| (one.name().clone(), error)));
            if ended.is_none() {
                self.put_off_ending(directory, here, ending);
            }
        }
        ControlAnswer {
            error: ErrorCode::None,
            partitions: answers,
        }
    }

    /// Begins to end replicas of one directory.
    pub(super) fn end(
        self: &Arc<Self>,
        directory: &Arc<HostDirectory>,
        here: Vec<Arc<Partition>>,
    ) -> (Arc<Progress>, Ending) {
        let progress = Arc::new(Progress::default());
        let (replicas, directory, counts) = (Arc::clone(self), Arc::clone(directory), Arc::clone(&progress));
        let pool = directory.pool().clone();
        let work = move || replicas.stop_all(&directory, &here, &counts);
        let ending = task::spawn(async move { pool.run(work).await.unwrap_or(ErrorCode::KafkaStorageError) });
        (progress, ending)
    }

    /// Ends partitions of one directory; their folders get their new names, durably with one sync. One whose folder keeps its
    /// name stays known, so that none is made beside it in another directory. Blocks; `progress` counts those that are done.
    pub(super) fn stop_all(
        self: &Arc<Self>,
        directory: &Arc<HostDirectory>,
        stopped: &[Arc<Partition>],
        progress: &Progress,
    ) -> ErrorCode {
        let mut result = Ok(());
        let (mut renamed, mut cleaned) = (false, Vec::new());
        for partition in stopped {
            partition.stop().dispatch();
            self.tell_resigned(partition.name(), None);
            self.end_move(partition.name(), clock::now_ms());
            // It stays there from now on; on its way to this pool it may have been moved.
            let lies_in = partition.directory();
            match partition.bury(clock::now_ms()) {
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
            progress.0.fetch_add(1, Ordering::AcqRel);
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

/// Waits for replicas to end; no longer when nothing goes on for so long.
async fn wait(ending: &mut Ending, progress: &Progress, patience: Duration) -> Option<ErrorCode> {
    let mut before = 0;
    loop {
        if let Some(ended) = clock::timeout(patience, &mut *ending).await {
            return Some(ended.unwrap_or(ErrorCode::KafkaStorageError));
        }
        let now = progress.0.load(Ordering::Acquire);
        if now == before {
            return None;
        }
        before = now;
    }
}
