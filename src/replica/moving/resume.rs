//! Moves that were under way when the broker stopped go on (Kafka: `ReplicaManager.maybeAddLogDirFetchers`).

use std::sync::Arc;

use crate::base::clock;
use crate::base::error_code::ErrorCode;
use crate::base::ids::TopicPartition;
use crate::storage::log::Log;

use super::super::background::Buried;
use super::super::directories::HostDirectory;
use super::super::replicas::Replicas;
use super::super::upkeep::folder_delay_ms;
use super::Move;

impl Replicas {
    /// Takes up the moves whose copies were found at the start: `futures`, each in its directory. A copy that may hold what
    /// its source does not is made anew; one of a partition that is gone goes too. Blocks; to be called when all logs are
    /// hosted and before anything else is done with them.
    pub fn resume_moves(&self, futures: Vec<(Arc<HostDirectory>, Log)>) {
        let all_work = self.directories().iter().all(|one| !one.is_offline());
        for (directory, log) in futures {
            let name = log.partition().clone();
            let to = self
                .directories()
                .iter()
                .position(|one| Arc::ptr_eq(one, &directory));
            let partition = self.partition(&name.topic, name.partition);
            let (Some(to), Some(partition)) = (to, partition) else {
                if all_work {
                    self.bury_future(&directory, &log, "this broker has no replica of the partition");
                } else {
                    tracing::warn!(
                        "{} stays as it is: the partition may lie in the directory that is offline",
                        log.path().display()
                    );
                }
                continue;
            };
            if Arc::ptr_eq(partition.directory(), &directory) || self.moves.of(&name).is_some() {
                self.bury_future(&directory, &log, "the partition does not go there");
                continue;
            }
            if log.may_go_on_from(&partition.lock_blocking().log) {
                tracing::info!(partition = %name, to = %directory.path().display(), "a move goes on");
                let resumed = self.pause_and_add(&Move::new(&partition, to, &directory, log));
                tell(&name, resumed.err());
            } else {
                self.bury_future(&directory, &log, "it is made anew, as its source has changed");
                let begun = self.begin_moves(vec![(0, partition)], to, &directory, clock::now_ms());
                tell(&name, begun.into_iter().find(|error| !error.is_none()));
            }
        }
    }

    fn bury_future(&self, directory: &Arc<HostDirectory>, log: &Log, why: &str) {
        tracing::warn!("{} is deleted: {why}", log.path().display());
        let due_ms = clock::now_ms().saturating_add(folder_delay_ms(self.cluster()));
        // A failure has taken the directory offline.
        if let Ok(path) = log.mark_deleted() {
            self.bury(Buried::folder(Arc::clone(directory), path, due_ms));
            let _ = directory.sync();
        }
    }
}

fn tell(name: &TopicPartition, failure: Option<ErrorCode>) {
    if let Some(error) = failure {
        tracing::error!(partition = %name, "the move does not go on: {error}");
    }
}
