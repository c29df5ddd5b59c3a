//! The clean stop of the log directories (Kafka: `LogManager.shutdown`).
//!
//! Invariant: a directory in which all is durable is said to be so at once: it waits for no other one. Called by the broker's
//! stop, when clients are let go.

use std::sync::Arc;

use super::directories::HostDirectory;
use super::replicas::Replicas;
use super::together;
use crate::base::clock;
use crate::base::task;
use crate::storage::volume::LogIoError;

impl Replicas {
    /// Ends cleanly: completes and syncs all logs of each directory that works, and writes its checkpoints. A directory is
    /// not begun with before `first` is over for it. Where all went well `closed` is called, on the directory's pool: it may be
    /// marked as cleanly stopped. No directory waits for another one.
    pub async fn close<F>(
        self: &Arc<Self>,
        mut first: impl FnMut(&Arc<HostDirectory>) -> F,
        closed: impl Fn(&HostDirectory) + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.begin_no_moves();
        let closed = Arc::new(closed);
        let mut running = Vec::new();
        for directory in self.directories() {
            if directory.is_offline() {
                continue;
            }
            let first = first(directory);
            let (replicas, directory) = (Arc::clone(self), Arc::clone(directory));
            let closed = Arc::clone(&closed);
            running.push(task::spawn(async move {
                first.await;
                let pool = directory.pool().clone();
                let close = move || {
                    // A failure has taken the directory offline and was told then.
                    if replicas.close_directory(&directory).is_ok() {
                        closed(&directory);
                    }
                };
                let _ = pool.run(close).await;
            }));
        }
        for task in running {
            let _ = task.await;
        }
    }

    /// Blocks. Only a partition that is about to be moved to or from a directory which does not answer has this one wait for
    /// that one.
    fn close_directory(&self, directory: &Arc<HostDirectory>) -> Result<(), LogIoError> {
        // First: what takes a partition's place here has done so then, or never will.
        self.close_copies(directory)?;
        let partitions = self.all_in(directory);
        // Those that are left are few, or cannot be done together.
        let _ = together::create(directory, &partitions)?;
        let mut works = Vec::new();
        for partition in partitions {
            if let Some(work) = partition.close(directory)? {
                works.push((partition, work));
            }
        }
        for (partition, flushed) in together::sync_works(directory, works)? {
            partition.closed(flushed, clock::now_ms());
        }
        self.checkpoint_recovery_points(directory);
        self.checkpoint_log_starts(directory);
        self.checkpoint_high_watermarks(directory);
        self.complete_cleaned(directory);
        directory.volume().check()
    }
}
