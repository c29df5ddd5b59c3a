//! Making a new log's `partition.metadata` durable: its topic's id must be on disk before any record is, so that records
//! are never taken for another topic's.
//!
//! Planned under the partition's lock, run outside it: early, by replica/, where it keeps nobody waiting, and otherwise
//! by the first append.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Log;
use crate::base::ids::TopicId;
use crate::storage::file_names::PARTITION_METADATA;
use crate::storage::partition_metadata;
use crate::storage::volume::{LogIoError, Volume};

/// The writing of a new log's `partition.metadata`. The first append does it, unless it was done before, where it
/// keeps nobody waiting.
#[must_use = "nothing is written until it is run"]
pub struct CreationWork {
    volume: Arc<Volume>,
    folder: PathBuf,
    topic_id: TopicId,
    /// Two works may be out at a time, the early one and the first append's: they write one after the other, and
    /// what one has written the other does not.
    metadata: Arc<Mutex<Metadata>>,
}

/// How far `partition.metadata` of a new log is.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) enum Metadata {
    #[default]
    Unwritten,
    Written(TopicId),
    /// The log is deleted: what lies where its folder was is another log's, of a topic made again under the name.
    Deleted,
}

/// `partition.metadata` is durable, or nobody needs it any more.
#[derive(Debug)]
pub struct Created(TopicId);

/// Why `partition.metadata` is not written: a call failed just now, or the volume was offline before.
enum Unwritten {
    Failed(io::Error),
    Offline(LogIoError),
}

impl CreationWork {
    /// Writes and syncs the file. Outside of the partition's lock the log may be deleted meanwhile: nothing is written
    /// then.
    pub fn run(self) -> Result<Created, LogIoError> {
        self.write().map_err(|reason| self.failed(reason))
    }

    /// The folder of the log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// For who makes many logs durable with whole file systems instead of running each work, first step: writes the file
    /// beside its place. Then comes a sync, [`publish`](Self::publish), another sync, and [`synced`](Self::synced). The
    /// first append may run a work of its own at any time between.
    ///
    /// # Errors
    /// When the volume fails. That the folder is gone, with its topic, is none.
    pub fn stage(&self) -> Result<(), LogIoError> {
        self.volume.check()?;
        let metadata = self.metadata();
        if *metadata == Metadata::Deleted {
            return Ok(());
        }
        let staged = partition_metadata::stage(self.volume.disk(), &self.folder, self.topic_id);
        self.unless_gone(staged)
    }

    /// Second step, when what was staged is durable: puts it in its place.
    ///
    /// # Errors
    /// As of [`stage`](Self::stage).
    pub fn publish(&self) -> Result<(), LogIoError> {
        let metadata = self.metadata();
        if *metadata == Metadata::Deleted {
            return Ok(());
        }
        let published = partition_metadata::publish(self.volume.disk(), &self.folder);
        self.unless_gone(published)
    }

    /// Last step, when everything is durable.
    pub fn synced(self) -> Created {
        let mut metadata = self.metadata();
        if *metadata != Metadata::Deleted {
            *metadata = Metadata::Written(self.topic_id);
        }
        Created(self.topic_id)
    }

    fn metadata(&self) -> MutexGuard<'_, Metadata> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unless_gone(&self, result: io::Result<()>) -> Result<(), LogIoError> {
        match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed(Unwritten::Failed(error)))
            }
            _ => Ok(()),
        }
    }

    fn write(&self) -> Result<Created, Unwritten> {
        self.volume.check().map_err(Unwritten::Offline)?;
        let mut metadata = self.metadata();
        let wanted = Metadata::Written(self.topic_id);
        if *metadata != Metadata::Deleted && *metadata != wanted {
            partition_metadata::write(self.volume.disk(), &self.folder, self.topic_id)
                .map_err(Unwritten::Failed)?;
            *metadata = wanted;
        }
        Ok(Created(self.topic_id))
    }

    fn failed(&self, reason: Unwritten) -> LogIoError {
        match reason {
            Unwritten::Failed(error) => {
                let path = self.folder.join(PARTITION_METADATA);
                self.volume.not_opened("write", &path, &error)
            }
            Unwritten::Offline(error) => error,
        }
    }
}

impl Log {
    /// What is still to be written for a new log.
    pub fn creation_work(&self) -> Option<CreationWork> {
        let topic_id = self.topic_id?;
        let metadata = Arc::clone(self.metadata_unwritten.as_ref()?);
        Some(CreationWork {
            volume: Arc::clone(self.volume()),
            folder: self.path().to_owned(),
            topic_id,
            metadata,
        })
    }

    /// A [`CreationWork`] is done.
    pub fn created(&mut self, created: Created) {
        if self.topic_id == Some(created.0) {
            self.metadata_unwritten = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogConfig;
    use crate::storage::log::testing::Ground;

    /// The early work and the one of the first append once wrote the file at the same time, and the rename of the one
    /// took away the other's temporary file.
    #[test]
    fn two_works_write_the_topic_id_once() {
        let ground = Ground::new();
        let mut log = ground.create(&LogConfig::default());
        log.set_topic_id(crate::base::ids::Uuid([7; 16]));
        let (early, first_append) = (log.creation_work().unwrap(), log.creation_work().unwrap());
        let before = ground.memory.counts().writes;
        #[expect(clippy::disallowed_methods, reason = "the race needs threads")]
        let threads = [early, first_append].map(|work| std::thread::spawn(move || work.run()));
        for thread in threads {
            log.created(thread.join().unwrap().unwrap());
        }
        assert_eq!(ground.memory.counts().writes, before + 1);
        assert!(log.creation_work().is_none());
    }

    #[test]
    fn a_topic_deleted_before_its_id_is_written_does_not_take_the_volume_offline() {
        let ground = Ground::new();
        let mut log = ground.create(&LogConfig::default());
        log.set_topic_id(crate::base::ids::Uuid([7; 16]));
        let work = log.creation_work().unwrap();
        log.mark_deleted().unwrap();
        work.run().unwrap();
        log.volume().check().unwrap();
    }

    /// It once wrote into the folder of the topic that was made again under the name, and took the volume offline when
    /// that one's work was faster.
    #[test]
    fn a_topic_deleted_and_made_again_is_left_alone_by_the_first_ones_work() {
        let ground = Ground::new();
        let mut log = ground.create(&LogConfig::default());
        log.set_topic_id(crate::base::ids::Uuid([7; 16]));
        let late = || log.creation_work().unwrap();
        let (run, staged) = (late(), late());
        log.mark_deleted().unwrap();
        let again = ground.create(&LogConfig::default());
        assert_eq!(again.path(), run.folder());
        run.run().unwrap();
        staged.stage().unwrap();
        staged.publish().unwrap();
        staged.synced();
        assert!(!ground.disk().exists(&again.path().join(PARTITION_METADATA)));
        again.volume().check().unwrap();
    }
}
