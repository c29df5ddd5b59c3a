//! Opening all logs of a directory, several at a time (Kafka: `LogManager.loadLogs`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use super::{DirectoryError, LogDirectory, entry};
use crate::base::ids::TopicPartition;
use crate::base::task::Pool;
use crate::config::LogConfig;
use crate::storage::clean_shutdown;
use crate::storage::file_names::{
    CLEANER_CHECKPOINT, FOREIGN_FOLDERS, FolderState, HIGH_WATERMARK_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT,
    PartitionFolder, RECOVERY_POINT_CHECKPOINT,
};
use crate::storage::log::{LoadOptions, LoadReport, Log, OpenError, PROGRESS_BYTES};

/// How often progress is told: whenever so many logs more are open.
const LOGS_BETWEEN_MESSAGES: usize = 500;

/// The configs of a partition's topic.
pub type Configs = Arc<dyn Fn(&TopicPartition) -> Arc<LogConfig> + Send + Sync>;

/// How logs are opened.
#[derive(Clone)]
pub struct LoadSettings {
    /// `num.recovery.threads.per.data.dir`.
    pub threads: usize,
    /// The time.
    pub now_ms: i64,
    /// `producer.id.expiration.ms`.
    pub producer_expiration_ms: i64,
    /// What each log is kept by.
    pub configs: Configs,
}

/// What was found in a directory.
pub struct LoadedDirectory {
    /// The logs, by topic and partition.
    pub logs: Vec<Log>,
    /// What opening each of them did, in the same order.
    pub reports: Vec<LoadReport>,
    /// Folders of deleted partitions; they may be removed `log.segment.delete.delay.ms` from now on.
    pub deleted: Vec<PathBuf>,
    /// Half moved logs (`-future`), which are not served; one that cannot be opened is set aside.
    pub futures: Vec<Log>,
    /// Folders that are set aside (`-stray`): not served, not touched.
    pub set_aside: Vec<PathBuf>,
    /// The last stop was a clean one.
    pub clean: bool,
}

struct Opened {
    path: PathBuf,
    partition: TopicPartition,
    result: Result<(Log, LoadReport), OpenError>,
}

fn warn_set_aside(path: &Path, why: &str) {
    tracing::warn!(
        "{} is set aside: it is neither served nor touched{why}",
        path.display()
    );
}

impl LogDirectory {
    /// Opens the logs. The marker of a clean stop is taken away first, once it is clear that nothing foreign lies in the
    /// directory. Blocks until all logs are open, or have failed.
    pub fn load(&self, settings: &LoadSettings) -> Result<LoadedDirectory, DirectoryError> {
        self.volume.check()?;
        let mut current = Vec::new();
        let mut deleted = Vec::new();
        let mut future = Vec::new();
        let mut set_aside = Vec::new();
        for (path, folder) in self.folders()? {
            match folder.state {
                FolderState::Current => current.push((path, folder.partition)),
                FolderState::Deleted => deleted.push(path),
                FolderState::Future => future.push((path, folder.partition)),
                FolderState::Stray => {
                    warn_set_aside(&path, "");
                    set_aside.push(path);
                }
            }
        }
        let clean = clean_shutdown::take(self.volume.disk(), self.path())
            .map_err(|error| self.volume.failed("take the marker from", self.path(), &error))?;
        self.make_checkpoints()?;
        let opened = self.open_logs(current, clean, settings)?;
        let futures = self.open_futures(future, clean, settings, &mut set_aside)?;
        let mut logs = Vec::with_capacity(opened.len());
        let mut reports = Vec::with_capacity(opened.len());
        let mut errors = Vec::new();
        for one in opened {
            match one.result {
                Ok((log, report)) => {
                    logs.push(log);
                    reports.push(report);
                }
                Err(error) => errors.push(error),
            }
        }
        self.volume.check()?;
        if !errors.is_empty() {
            return Err(DirectoryError::Logs(errors));
        }
        Ok(LoadedDirectory {
            logs,
            reports,
            deleted,
            futures,
            set_aside,
            clean,
        })
    }

    /// Opens half moved logs. That one cannot be opened loses nothing: the partition is served from where it was.
    fn open_futures(
        &self,
        folders: Vec<(PathBuf, TopicPartition)>,
        clean: bool,
        settings: &LoadSettings,
        set_aside: &mut Vec<PathBuf>,
    ) -> Result<Vec<Log>, DirectoryError> {
        if folders.is_empty() {
            return Ok(Vec::new());
        }
        let mut futures = Vec::with_capacity(folders.len());
        for one in self.open_logs(folders, clean, settings)? {
            match one.result {
                Ok((log, _)) => futures.push(log),
                Err(OpenError::Io(error)) => return Err(error.into()),
                Err(error) => {
                    warn_set_aside(&one.path, &format!(": {error}"));
                    set_aside.push(one.path);
                }
            }
        }
        Ok(futures)
    }

    /// The partitions in use and their folders, by name. Reads only.
    ///
    /// # Errors
    /// A disk that fails, which takes the directory offline, or [`DirectoryError::ForeignFolder`].
    pub fn partitions(&self) -> Result<Vec<(TopicPartition, PathBuf)>, DirectoryError> {
        let current = |(path, folder): (PathBuf, PartitionFolder)| {
            (folder.state == FolderState::Current).then_some((folder.partition, path))
        };
        Ok(self.folders()?.into_iter().filter_map(current).collect())
    }

    /// The folders of partitions, by name.
    fn folders(&self) -> Result<Vec<(PathBuf, PartitionFolder)>, DirectoryError> {
        let entries = self.volume.disk().list(self.path());
        let entries = entries.map_err(|error| self.volume.failed("list", self.path(), &error))?;
        let mut folders = Vec::new();
        for entry in entries.iter().filter(|entry| entry.is_directory) {
            if FOREIGN_FOLDERS.contains(&entry.name.as_str()) {
                continue;
            }
            match PartitionFolder::parse(&entry.name) {
                Ok(folder) => folders.push((self.path().join(&entry.name), folder)),
                Err(folder) => {
                    return Err(DirectoryError::ForeignFolder {
                        path: self.path().to_owned(),
                        folder,
                    });
                }
            }
        }
        Ok(folders)
    }

    fn open_logs(
        &self,
        folders: Vec<(PathBuf, TopicPartition)>,
        clean: bool,
        settings: &LoadSettings,
    ) -> Result<Vec<Opened>, DirectoryError> {
        let recovery_points = self.read_checkpoint(RECOVERY_POINT_CHECKPOINT)?;
        let log_starts = self.read_checkpoint(LOG_START_OFFSET_CHECKPOINT)?;
        let high_watermarks = self.read_checkpoint(HIGH_WATERMARK_CHECKPOINT)?;
        let cleaner_checkpoints = self.read_checkpoint(CLEANER_CHECKPOINT)?;
        let count = folders.len();
        if count > 0 {
            tracing::info!(
                directory = %self.path().display(),
                "opening {count} logs after {} stop",
                if clean { "a clean" } else { "an unclean" }
            );
        }
        let pool = Pool::start("open-logs", settings.threads.clamp(1, count.max(1))).map_err(|error| {
            let error = io::Error::new(error.kind(), format!("no threads to open logs: {error}"));
            self.volume.failed("use", self.path(), &error)
        })?;
        let (sender, receiver) = mpsc::channel();
        let done = Arc::new(AtomicUsize::new(0));
        for (path, partition) in folders {
            let options = LoadOptions {
                config: (settings.configs)(&partition),
                now_ms: settings.now_ms,
                producer_expiration_ms: settings.producer_expiration_ms,
                clean,
                recovery_point: entry(&recovery_points, &partition),
                log_start_offset: entry(&log_starts, &partition),
                high_watermark: entry(&high_watermarks, &partition),
                cleaner_checkpoint: cleaner_checkpoints.get(&partition).copied(),
                progress_bytes: PROGRESS_BYTES,
            };
            let volume = Arc::clone(&self.volume);
            let sender = sender.clone();
            let done = Arc::clone(&done);
            pool.start_work(move || {
                let result = Log::load(&volume, path.clone(), partition.clone(), &options);
                let number = done.fetch_add(1, Ordering::Relaxed) + 1;
                if number.is_multiple_of(LOGS_BETWEEN_MESSAGES) {
                    tracing::info!(directory = %volume.path().display(), "{number} of {count} logs are open");
                }
                // The receiver lives until all senders are gone.
                let _ = sender.send(Opened {
                    path,
                    partition,
                    result,
                });
            });
        }
        drop(sender);
        let mut opened: Vec<Opened> = receiver.into_iter().collect();
        if opened.len() < count {
            // A thread died of a panic; what it was about is in its message.
            let error = io::Error::other(format!("{} logs were not opened", count - opened.len()));
            return Err(self.volume.failed("open the logs of", self.path(), &error).into());
        }
        opened.sort_by(|a, b| a.partition.cmp(&b.partition));
        Ok(opened)
    }
}
