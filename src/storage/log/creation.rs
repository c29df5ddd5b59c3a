//! Making a new log's `partition.metadata` durable: its topic's id must be on disk before any record is, so that records
//! are never taken for another topic's.
//!
//! Planned under the partition's lock, run outside it: early, by replica/, where it keeps nobody waiting, and otherwise
//! by the first append.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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
    written: Arc<Mutex<Option<TopicId>>>,
}

/// `partition.metadata` is durable.
#[derive(Debug)]
pub struct Created(TopicId);

/// Why `partition.metadata` is not written: a call failed just now, or the volume was offline before.
enum Unwritten {
    Failed(io::Error),
    Offline(LogIoError),
}

impl CreationWork {
    /// Writes and syncs the file.
    pub fn run(self) -> Result<Created, LogIoError> {
        self.write().map_err(|reason| self.failed(reason))
    }

    /// The same outside of the partition's lock, where the topic may be deleted meanwhile: `None` when the folder is no
    /// more where it was.
    pub fn run_unless_deleted(self) -> Result<Option<Created>, LogIoError> {
        match self.write() {
            Err(Unwritten::Failed(error))
                if error.kind() == io::ErrorKind::NotFound && !self.volume.disk().exists(&self.folder) =>
            {
                Ok(None)
            }
            written => written.map(Some).map_err(|reason| self.failed(reason)),
        }
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
        let staged = partition_metadata::stage(self.volume.disk(), &self.folder, self.topic_id);
        self.unless_gone(staged)
    }

    /// Second step, when what was staged is durable: puts it in its place.
    ///
    /// # Errors
    /// As of [`stage`](Self::stage).
    pub fn publish(&self) -> Result<(), LogIoError> {
        let published = partition_metadata::publish(self.volume.disk(), &self.folder);
        self.unless_gone(published)
    }

    /// Last step, when everything is durable.
    pub fn synced(self) -> Created {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.topic_id);
        Created(self.topic_id)
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
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if *written != Some(self.topic_id) {
            partition_metadata::write(self.volume.disk(), &self.folder, self.topic_id)
                .map_err(Unwritten::Failed)?;
            *written = Some(self.topic_id);
        }
        Ok(Created(self.topic_id))
    }

    fn failed(&self, reason: Unwritten) -> LogIoError {
        match reason {
            Unwritten::Failed(error) => {
                let path = self.folder.join(PARTITION_METADATA);
                self.volume.failed("write", &path, &error)
            }
            Unwritten::Offline(error) => error,
        }
    }
}

impl Log {
    /// What is still to be written for a new log.
    pub fn creation_work(&self) -> Option<CreationWork> {
        let topic_id = self.topic_id?;
        let written = Arc::clone(self.metadata_unwritten.as_ref()?);
        Some(CreationWork {
            volume: Arc::clone(self.volume()),
            folder: self.path().to_owned(),
            topic_id,
            written,
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
        let deleted = log.path().with_extension("0-delete");
        ground.disk().rename(log.path(), &deleted).unwrap();
        assert!(work.run_unless_deleted().unwrap().is_none());
        log.volume().check().unwrap();
    }
}
