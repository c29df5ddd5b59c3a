//! What the logs of one log directory share: its disk, the open files, and whether it still works.
//!
//! Invariant: after the first failed call the volume is offline for good, and nothing of it is written or
//! acknowledged any more. A failed sync is never tried again: the kernel may have dropped the pages (pitfall
//! "fsyncgate"). That there is no descriptor left for a file is no failure of the disk: what needs one is refused before it
//! has changed anything, or waits. Held by every log, made by the log directory.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;

use super::descriptors::Descriptors;
use crate::base::disk::{Disk, is_shortage};
use crate::base::random::Random;

/// A failed call to the disk, or the refusal because an earlier one failed. KAFKA_STORAGE_ERROR to a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogIoError {
    /// What was attempted, as a verb: `"write"`.
    pub action: &'static str,
    /// The file or folder it was about.
    pub path: PathBuf,
    /// What kind of failure it was.
    pub kind: io::ErrorKind,
    /// The system's words.
    pub message: String,
}

impl LogIoError {
    /// The failure `error` of doing `action` to `path`.
    pub fn new(action: &'static str, path: &Path, error: &io::Error) -> Self {
        Self {
            action,
            path: path.to_owned(),
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}

impl fmt::Display for LogIoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {} {}: {}",
            self.action,
            self.path.display(),
            self.message
        )
    }
}

impl std::error::Error for LogIoError {}

/// One entry of `log.dirs`, as its logs see it.
pub struct Volume {
    path: PathBuf,
    disk: Disk,
    descriptors: Arc<Descriptors>,
    random: Random,
    failure: OnceLock<LogIoError>,
    offline: watch::Sender<bool>,
}

impl Volume {
    /// The volume at `path`.
    pub fn new(path: PathBuf, disk: Disk, descriptors: Arc<Descriptors>, random: Random) -> Arc<Self> {
        Arc::new(Self {
            path,
            disk,
            descriptors,
            random,
            failure: OnceLock::new(),
            offline: watch::Sender::new(false),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The open files of all volumes.
    pub fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    /// The broker's source of randomness.
    pub fn random(&self) -> &Random {
        &self.random
    }

    /// Fails when the volume is offline.
    #[inline]
    pub fn check(&self) -> Result<(), LogIoError> {
        match self.failure.get() {
            None => Ok(()),
            Some(first) => Err(first.clone()),
        }
    }

    /// The failure that took the volume offline.
    pub fn failure(&self) -> Option<&LogIoError> {
        self.failure.get()
    }

    /// Takes the volume offline; the first failure is the one that is kept. True for that first one.
    pub fn take_offline(&self, failure: LogIoError) -> bool {
        let first = self.failure.set(failure).is_ok();
        if first {
            self.offline.send_replace(true);
        }
        first
    }

    /// Becomes true when the volume goes offline.
    pub fn offline(&self) -> watch::Receiver<bool> {
        self.offline.subscribe()
    }

    /// Makes an error of a failed call and takes the volume offline.
    pub fn failed(&self, action: &'static str, path: &Path, error: &io::Error) -> LogIoError {
        let failure = LogIoError::new(action, path, error);
        if self.take_offline(failure.clone()) {
            tracing::error!(
                directory = %self.path.display(),
                "log directory goes offline: {failure}"
            );
        }
        failure
    }

    /// The same for a call that opens a file, and before which nothing was changed: where it got no descriptor the volume
    /// stays online, and the call may be tried again.
    pub fn not_opened(&self, action: &'static str, path: &Path, error: &io::Error) -> LogIoError {
        if !is_shortage(error) {
            return self.failed(action, path, error);
        }
        let refusal = LogIoError::new(action, path, error);
        tracing::error!("{refusal}: see ulimit -n; what needs the file is refused");
        refusal
    }

    /// Says that a change ended in its middle for `failure`, whatever that was. What is known of the log and what is in its
    /// files differ now, so the volume goes offline.
    pub fn half_done(&self, failure: &LogIoError) {
        if self.take_offline(failure.clone()) {
            tracing::error!(
                directory = %self.path.display(),
                "log directory goes offline in the middle of a change: {failure}"
            );
        }
    }

    /// Does what needs a descriptor when there is one. Blocks until then: not for threads that serve connections.
    ///
    /// # Errors
    /// All others of the call.
    pub fn patiently<T>(&self, call: impl Fn(&Disk) -> io::Result<T>) -> io::Result<T> {
        loop {
            match call(&self.disk) {
                Err(error) if is_shortage(&error) => self.wait_for_descriptor(&error),
                done => return done,
            }
        }
    }

    /// The same for what makes its own error of [`not_opened`](Self::not_opened).
    ///
    /// # Errors
    /// Those that take the volume offline.
    pub fn until_opened<T>(&self, open: impl Fn() -> Result<T, LogIoError>) -> Result<T, LogIoError> {
        loop {
            match open() {
                Err(refusal) if self.check().is_ok() => self.wait_for_descriptor(&refusal),
                done => return done,
            }
        }
    }

    fn wait_for_descriptor(&self, why: &dyn fmt::Display) {
        const PAUSE: Duration = Duration::from_millis(20);
        tracing::error!(directory = %self.path.display(), "{why}: see ulimit -n; waiting for a file to be closed");
        self.descriptors.let_go();
        std::thread::park_timeout(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_takes_the_volume_offline_for_good() {
        let volume = Volume::new(
            "/data".into(),
            Disk::system(),
            Descriptors::new(4),
            Random::from_seed(1),
        );
        assert!(volume.check().is_ok());
        let offline = volume.offline();
        volume.failed("sync", Path::new("/data/a"), &io::ErrorKind::StorageFull.into());
        volume.failed("write", Path::new("/data/b"), &io::ErrorKind::NotFound.into());
        assert_eq!(volume.check().unwrap_err().action, "sync");
        assert!(*offline.borrow());
    }
}
